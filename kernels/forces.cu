// From edge gradients to forces and virial, and sums over atoms, all in fixed orders and double precision.
// LANES lanes share an atom.

#define ATOMS (THREADS / LANES)
#define SUMS 10

// Adds −g ⊗ x to the virial.
DEVICE void add_virial(double* v, real3 g, real3 x) {
  v[0] -= g.x * x.x, v[1] -= g.x * x.y, v[2] -= g.x * x.z;
  v[3] -= g.y * x.x, v[4] -= g.y * x.y, v[5] -= g.y * x.z;
  v[6] -= g.z * x.x, v[7] -= g.z * x.y, v[8] -= g.z * x.z;
}

// Results go to the places that `atom` names, if it is there; gradients of incoming edges are where `place` says, likewise.
// F_i = Σ_(i→j) g − Σ_(j→i) g; per block the sums of energy and of −g ⊗ r.
KERNEL __launch_bounds__(THREADS)
forces(u32 n_atoms, u32 n_centres, const u32* first, const u32* last, const u32* incoming_first, const u32* incoming, const u32* place,
       const real3* gradients, const real3* r, const double* energies, const u32* atom, double3* out, double* site_energies,
       double* partial) {
  u32 i = blockIdx.x * ATOMS + threadIdx.x / LANES, lane = threadIdx.x % LANES;
  double f[3] = {0, 0, 0}, v[SUMS] = {0};
  if (i < n_centres) {
    if (lane == 0) {
      v[9] = energies[i];
      if (atom) site_energies[atom[i]] = v[9];
    }
    for (u32 e = first[i] + lane; e < last[i]; e += LANES) {
      real3 g = gradients[e];
      f[0] += g.x, f[1] += g.y, f[2] += g.z;
      add_virial(v, g, r[e]);
    }
  }
  if (i < n_atoms) {
    for (u32 k = incoming_first[i] + lane; k < incoming_first[i + 1]; k += LANES) {
      u32 e = incoming[k];
      if (place) e = place[e];
      if (e == NONE) continue;
      real3 g = gradients[e];
      f[0] -= g.x, f[1] -= g.y, f[2] -= g.z;
    }
  }
#pragma unroll
  for (int k = 0; k < 3; k++) f[k] = sum_lanes<LANES>(f[k]);
  if (i < n_atoms && lane == 0) out[atom ? atom[i] : i] = {f[0], f[1], f[2]};
#pragma unroll
  for (int k = 0; k < SUMS; k++) {
    double s = sum_block(v[k]);
    if (threadIdx.x == 0) partial[blockIdx.x * SUMS + k] = s;
  }
}

// Per block the sum of energies; the virial is left zero.
KERNEL __launch_bounds__(THREADS)
energy_sums(u32 n_centres, const double* energies, const u32* atom, double* site_energies, double* partial) {
  double e = 0;
#pragma unroll
  for (u32 k = 0; k < 8; k++) {
    u32 i = (blockIdx.x * 8 + k) * THREADS + threadIdx.x;
    if (i < n_centres) {
      double own = energies[i];
      e += own;
      if (atom) site_energies[atom[i]] = own;
    }
  }
  e = sum_block(e);
  if (threadIdx.x < SUMS) partial[blockIdx.x * SUMS + threadIdx.x] = 0;
  __syncthreads();
  if (threadIdx.x == 0) partial[blockIdx.x * SUMS + 9] = e;
}

// Block k sums column k of (n, SUMS).
KERNEL __launch_bounds__(THREADS)
totals(u32 n, const double* partial, double* out) {
  double s = 0;
  for (u32 i = threadIdx.x; i < n; i += THREADS) s += partial[i * SUMS + blockIdx.x];
  s = sum_block(s);
  if (threadIdx.x == 0) out[blockIdx.x] = s;
}

// The virial of each of the structures side by side, whose atoms begin at `starts`; a block has one.
KERNEL __launch_bounds__(THREADS)
virials(const u32* starts, const u32* first, const real3* gradients, const real3* r, double* out) {
  double v[9] = {0};
  for (u32 e = first[starts[blockIdx.x]] + threadIdx.x; e < first[starts[blockIdx.x + 1]]; e += THREADS) add_virial(v, gradients[e], r[e]);
#pragma unroll
  for (int k = 0; k < 9; k++) {
    double s = sum_block(v[k]);
    if (threadIdx.x == 0) out[blockIdx.x * 9 + k] = s;
  }
}
