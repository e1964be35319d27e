// What MACE does with edges and with rows of atoms beside convolutions, contractions and linear maps. Channels lie side by side.
//
// The code before this file defines what `harmonics.cuh` and `activation.cuh` of the operations need, READ_WIDTH and READ_LAYERS (hidden numbers and layers of readouts at most), and for ZBL the flag
// HAS_ZBL with ZBL_POWER, ZBL_C and ZBL_B.

#define LANES 8
#define WARPS (THREADS / 32)

DEVICE u32 atom_of_lanes() { return (blockIdx.x * THREADS + threadIdx.x) / LANES; }
template <int n, class T> DEVICE T sum_lanes(T x) {
#pragma unroll
  for (int k = 1; k < n; k *= 2) x += __shfl_xor_sync(FULL, x, k);
  return x;
}

// Of the opposite of r; axes (x, y, z) of the model are (y, z, x) of the recursion. Component normalised.
KERNEL __launch_bounds__(THREADS) harmonics(Graph g, u32 n, real* to) {
  u32 e = blockIdx.x * THREADS + threadIdx.x;
  if (e >= g.first[n]) return;
  real3 r = g.r[e];
  real inverse = real(-1) / norm(r), out[N_Y];
  evaluate_harmonics(r.z * inverse, r.x * inverse, r.y * inverse, out);
#pragma unroll
  for (int k = 0; k < N_Y; k++) to[u64(e) * N_Y + k] = out[k];
}

#if HAS_ZBL
// Of a pair of species: where it ends, the screening length, ½ e²/4πε0 Z Z.
struct Screened { double cutoff, length, charge; };

// The centre's share of the energy of a pair, and its derivative by r.
DEVICE double repulsion(const Screened& p, double r, double& slope) {
  slope = 0;
  if (r >= p.cutoff) return 0;
  const double b[4] = ZBL_B, c[4] = ZBL_C, q = ZBL_POWER;
  double phi = 0, dphi = 0, u = r / p.cutoff, up = pow(u, q - 1);
  for (int k = 0; k < 4; k++) {
    double x = c[k] * exp(-b[k] / p.length * r);
    phi += x, dphi -= b[k] / p.length * x;
  }
  double f = 1 - 0.5 * (q + 1) * (q + 2) * up * u + q * (q + 2) * up * u * u - 0.5 * q * (q + 1) * up * u * u * u;
  double df = 0.5 * q * (q + 1) * (q + 2) / p.cutoff * up * (2 * u - 1 - u * u), e = p.charge / r;
  slope = e * (dphi * f + phi * df - phi * f / r);
  return e * phi * f;
}
#else
struct Screened { double none; };
#endif

// The repulsion of nuclei is added to the energies. With `y_bar`, the adjoint of Y and of the distance, `∂E/∂r` of every edge;
// these adjoints are in units of `unit`.
KERNEL __launch_bounds__(THREADS)
edge_gradients(Graph g, u32 n, u32 n_owned, const Screened* pairs, double scale, const real* y, const real* y_bar, double unit, double* energies, real3* out) {
  u32 i = atom_of_lanes(), lane = threadIdx.x % LANES;
  double energy = 0;
  if (i < n) {
    u32 zi = g.species[i];
    for (u32 e = g.first[i] + lane; e < g.first[i + 1]; e += LANES) {
      real3 r = g.r[e];
      real length = norm(r);
      double radial = 0;
#if HAS_ZBL
      if (i < n_owned) {
        double slope;
        energy += repulsion(pairs[g.species[g.neighbour[e]] * N_SPECIES + zi], length, slope);
        radial = scale * slope;
      }
#endif
      if (!y_bar) continue;
      real inverse = real(-1) / length, a[3] = {r.z * inverse, r.x * inverse, r.y * inverse}, d[3] = {0, 0, 0};
      if (length < real(CUTOFF)) {
        pull_harmonics(y_bar + u64(e) * N_Y, y + u64(e) * N_Y, a, inverse, d);
        radial += unit * y_bar[u64(e) * N_Y];
      }
#pragma unroll
      for (int k = 0; k < 3; k++) d[k] = real(unit) * d[k] - real(radial) * a[k];
      out[e] = {d[1], d[2], d[0]};
    }
  }
  energy = sum_lanes<LANES>(energy);
  if (HAS_ZBL && lane == 0 && i < n_owned) energies[i] += energy;
}

DEVICE real density(const Table& table, Place p, real& slope) {
  const real* c = table.density + 6 * p.interval;
  slope = (c[1] + p.t * (2 * c[2] + p.t * (3 * c[3] + p.t * (4 * c[4] + p.t * 5 * c[5])))) * real(table.inverse_step);
  return c[0] + p.t * (c[1] + p.t * (c[2] + p.t * (c[3] + p.t * (c[4] + p.t * c[5]))));
}

// `α + β Σ_j` density.
KERNEL __launch_bounds__(THREADS) densities(Graph g, u32 n, const Table* tables, double alpha, double beta, real* out) {
  u32 i = atom_of_lanes(), lane = threadIdx.x % LANES;
  double sum = 0;
  if (i < n) {
    for (u32 e = g.first[i] + lane; e < g.first[i + 1]; e += LANES) {
      const Table table = table_of(tables, g.species[g.neighbour[e]], g.species[i]);
      Place p = place(table, norm(g.r[e]));
      real slope;
      if (p.interval != NONE) sum += density(table, p, slope);
    }
  }
  sum = sum_lanes<LANES>(sum);
  if (i < n && lane == 0) out[i] = real(alpha + beta * sum);
}

// Adds to the derivatives by distances what comes through the densities.
KERNEL __launch_bounds__(THREADS) densities_back(Graph g, u32 n, const Table* tables, const real* density_bar, real* y_bar) {
  u32 i = atom_of_lanes(), lane = threadIdx.x % LANES;
  if (i >= n) return;
  for (u32 e = g.first[i] + lane; e < g.first[i + 1]; e += LANES) {
    const Table table = table_of(tables, g.species[g.neighbour[e]], g.species[i]);
    Place p = place(table, norm(g.r[e]));
    real slope;
    if (p.interval == NONE) continue;
    density(table, p, slope);
    y_bar[u64(e) * N_Y] += density_bar[i] * slope;
  }
}

// Rows over their norms.
KERNEL __launch_bounds__(THREADS) divide(u32 width, const real* norm, stored* x) {
  real inverse = real(1) / norm[blockIdx.x];
  for (u32 k = threadIdx.x; k < width; k += THREADS) x[u64(blockIdx.x) * width + k] = narrow(widen(x[u64(blockIdx.x) * width + k]) * inverse);
}

// The same for adjoints, with that of the density.
KERNEL __launch_bounds__(THREADS) divide_back(u32 width, double beta, const real* norm, const stored* message, stored* bar, real* density_bar) {
  __shared__ double sums[WARPS];
  const u64 row = u64(blockIdx.x) * width;
  real inverse = real(1) / norm[blockIdx.x];
  double dot = 0;
  for (u32 k = threadIdx.x; k < width; k += THREADS) {
    dot += double(widen(bar[row + k])) * double(widen(message[row + k]));
    bar[row + k] = narrow(widen(bar[row + k]) * inverse);
  }
  dot = sum_lanes<32>(dot);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = dot;
  __syncthreads();
  if (threadIdx.x > 0) return;
  dot = 0;
  for (int w = 0; w < WARPS; w++) dot += sums[w];
  density_bar[blockIdx.x] = real(-beta * dot * double(inverse));
}

// Adds to each row that of its species or, without species, rows to rows; or assigns them.
KERNEL __launch_bounds__(THREADS) add_rows(u32 width, const u32* species, const stored* rows, stored* x, u32 assign) {
  u64 from = species ? species[blockIdx.x] : blockIdx.x;
  for (u32 k = threadIdx.x; k < width; k += THREADS) {
    stored& to = x[u64(blockIdx.x) * width + k];
    to = narrow((assign ? real(0) : widen(to)) + widen(rows[from * width + k]));
  }
}

// The gate: a scalar, a gate for each block up to `lmax`, those blocks; the scalar and the blocks come out.
KERNEL __launch_bounds__(THREADS) gate(u32 k, u32 lmax, double scalar, double gated, const stored* x, stored* y) {
  const u32 n_out = (lmax + 1) * (lmax + 1), n_in = n_out + lmax;
  for (u32 u = threadIdx.x; u < k; u += THREADS) {
    const stored* from = x + u64(blockIdx.x) * n_in * k + u;
    stored* to = y + u64(blockIdx.x) * n_out * k + u;
    to[0] = narrow(real(scalar * curve_silu(widen(from[0])).f));
    for (u32 l = 1; l <= lmax; l++) {
      real factor = real(gated * sigmoid(widen(from[l * k])));
      for (u32 q = l * l; q < (l + 1) * (l + 1); q++) to[q * k] = narrow(factor * widen(from[(q + lmax) * k]));
    }
  }
}

KERNEL __launch_bounds__(THREADS) gate_back(u32 k, u32 lmax, double scalar, double gated, const stored* x, const stored* y_bar, stored* x_bar) {
  const u32 n_out = (lmax + 1) * (lmax + 1), n_in = n_out + lmax;
  for (u32 u = threadIdx.x; u < k; u += THREADS) {
    const u64 in = u64(blockIdx.x) * n_in * k + u, out = u64(blockIdx.x) * n_out * k + u;
    x_bar[in] = narrow(real(scalar * curve_silu(widen(x[in])).d * double(widen(y_bar[out]))));
    for (u32 l = 1; l <= lmax; l++) {
      Curve h = curve_sigmoid(widen(x[in + l * k]));
      real factor = real(gated * h.f), slope = real(gated * h.d), sum = 0;
      for (u32 q = l * l; q < (l + 1) * (l + 1); q++) {
        const real bar = widen(y_bar[out + q * k]);
        sum += widen(x[in + (q + lmax) * k]) * bar;
        x_bar[in + (q + lmax) * k] = narrow(factor * bar);
      }
      x_bar[in + l * k] = narrow(slope * sum);
    }
  }
}

// A readout: matrices (in, n_out[l]) each with a bias after it, `κ silu` between them, the last one with a single column. A warp has an atom. Adds
// to the energies, if they have an address; with `bar`, adds the gradient times `scale` to the scalars of its row.
KERNEL __launch_bounds__(THREADS)
readout(u32 n, u32 width, u32 channels, u32 n_layers, const u32* n_out, const double* weights, double constant, double scale, const stored* x,
        double* energies, stored* bar) {
  __shared__ double act[WARPS][READ_LAYERS][READ_WIDTH], slope[WARPS][READ_LAYERS][READ_WIDTH], back[WARPS][2][READ_WIDTH];
  const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32, i = blockIdx.x * WARPS + warp;
  if (i >= n) return;
  const stored* row = x + u64(i) * width;
  const double* w = weights;
  u32 n_in = channels;
  double result = 0;
  for (u32 l = 0; l < n_layers; l++) {
    u32 m = n_out[l];
    for (u32 h = 0; h < m; h++) {
      double sum = 0;
      for (u32 k = lane; k < n_in; k += 32) sum += w[k * m + h] * (l ? act[warp][l - 1][k] : double(widen(row[k])));
      sum = sum_lanes<32>(sum) + w[n_in * m + h];
      if (l + 1 == n_layers) {
        result = sum;
      } else if (lane == 0) {
        Curve silu = curve_silu(sum);
        act[warp][l][h] = constant * silu.f;
        slope[warp][l][h] = constant * silu.d;
      }
    }
    __syncwarp();
    w += u64(n_in) * m + m;
    n_in = m;
  }
  if (lane == 0 && energies) energies[i] += result;
  if (!bar) return;
  if (lane == 0) back[warp][0][0] = 1;
  __syncwarp();
  u32 now = 0;
  for (u32 l = n_layers; l-- > 0;) {
    u32 m = n_out[l], before = l ? n_out[l - 1] : channels;
    w -= u64(before) * m + m;
    for (u32 k = lane; k < before; k += 32) {
      double sum = 0;
      for (u32 h = 0; h < m; h++) sum += w[k * m + h] * back[warp][now][h];
      if (l) back[warp][1 - now][k] = sum * slope[warp][l - 1][k];
      else bar[u64(i) * width + k] = narrow(widen(bar[u64(i) * width + k]) + real(scale * sum));
    }
    now = 1 - now;
    __syncwarp();
  }
}

// From sums of readouts to energies; ghosts have none.
KERNEL __launch_bounds__(THREADS)
finish(u32 n, u32 n_owned, const u32* species, const double* e0, double scale, double shift, const double* sums, double* energies) {
  u32 i = blockIdx.x * THREADS + threadIdx.x;
  if (i < n) energies[i] = i < n_owned ? e0[species[i]] + (scale * sums[i] + shift) : 0;
}

// The scalars of rows, to where descriptors are.
KERNEL __launch_bounds__(THREADS) scalars(u32 width, u32 channels, const stored* x, u32 width_out, u32 at, double* out) {
  for (u32 k = threadIdx.x; k < channels; k += THREADS) out[u64(blockIdx.x) * width_out + at + k] = widen(x[u64(blockIdx.x) * width + k]);
}

// 0, 1, … n − 1, then NONE.
KERNEL __launch_bounds__(THREADS) count(u32 n, u32 n_slots, u32* order) {
  u32 k = blockIdx.x * THREADS + threadIdx.x;
  if (k < n_slots) order[k] = k < n ? k : NONE;
}

// Of slices of atoms, a block each, the numbers within the slice by species, each species filled up to multiples of `block` with NONE.
KERNEL __launch_bounds__(1024) arrange(u32 n, u32 slice, u32 block, u32 n_slots, const u32* species, u32* order) {
  __shared__ u32 start[N_SPECIES + 1];
  const u32 begin = blockIdx.x * slice, own = min(slice, n - begin), lane = threadIdx.x % 32;
  species += begin, order += u64(blockIdx.x) * n_slots;
  for (u32 z = threadIdx.x; z <= N_SPECIES; z += 1024) start[z] = 0;
  for (u32 k = threadIdx.x; k < n_slots; k += 1024) order[k] = NONE;
  __syncthreads();
  for (u32 k = threadIdx.x; k < own; k += 1024) atomicAdd(start + species[k] + 1, 1);
  __syncthreads();
  if (threadIdx.x == 0) {
    for (u32 z = 1; z <= N_SPECIES; z++) start[z] = start[z - 1] + (start[z] + block - 1) / block * block;
  }
  __syncthreads();
  for (u32 z = threadIdx.x / 32; z < N_SPECIES; z += 32) {
    u32 at = start[z];
    if (at == start[z + 1]) continue;
    for (u32 k0 = 0; k0 < own; k0 += 32) {
      const bool is = k0 + lane < own && species[k0 + lane] == z;
      const u32 all = __ballot_sync(FULL, is);
      if (is) order[at + __popc(all & ((1u << lane) - 1))] = k0 + lane;
      at += __popc(all);
    }
  }
}
