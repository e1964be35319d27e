// The basis B, its derivatives ∂B_b/∂r, and design rows. A block has one centre at a time.
//
// The Jacobian of a chunk of centres is written out, (edges of the chunk, N_BASIS of the part, 3), and summed into
// rows atom by atom: no two threads write to one place, and every sum has a fixed order.

// Sparse maps of one part, see `src/stage/couple.rs`.
struct Coupling {
  // Monomial k + 1 is (parent, v).
  const u32* monomials;
  u32 n_monomials, n_derivatives;
  const u32 *basis_first, *basis_column;
  const double* basis_value;
  const u32 *derivative_first, *derivative_column;
  const double* derivative_value;
  // The v of each derivative, and which derivatives belong to b.
  const u32 *derivative_v, *derivative_of;
};

DEVICE real sum_row(const u32* first, const u32* column, const double* value, u32 row, const real* x) {
  real s = 0;
  for (u32 k = first[row]; k < first[row + 1]; k++) s += real(value[k]) * x[column[k]];
  return s;
}

// B of the centres from `centre0` on, and where asked for the derivatives by A: (centres, n_derivatives).
#define BASIS_ACE(P)                                                             \
KERNEL __launch_bounds__(THREADS)                                                \
basis_##P(Parts parts, Coupling map, u32 centre0, const u32* first, const u32* neighbour, const u32* species, \
          const real3* r, double* basis, u32 width, real* monomials, real* derivatives) { \
  __shared__ real a[P::ROOM];                                                     \
  u32 centre = centre0 + blockIdx.x, z = N_SPECIES > 1 ? species[centre] : 0;    \
  const Part& part = parts.part[P::INDEX];                                       \
  if (threadIdx.x < 32) {                                                        \
    Site site = {neighbour, species, r, threadIdx.x, first[centre], first[centre + 1]}; \
    real mine[P::ROOM];                                                           \
    P::forward(site, part, part.matrix + z * (N_SPECIES * P::PAIR_STRIDE), part.pairs + z * (N_SPECIES * PAIR_SIZE), mine); \
    _Pragma("unroll") for (int v = 0; v < P::N_A; v++) if (threadIdx.x == v % 32) a[v] = mine[v]; \
  }                                                                              \
  __syncthreads();                                                               \
  real* x = monomials + u64(blockIdx.x) * map.n_monomials;                       \
  for (u32 k = threadIdx.x; k < map.n_monomials; k += THREADS) {                 \
    real product = 1;                                                            \
    for (u32 m = k; m > 0; m = map.monomials[2 * m - 2]) product *= a[map.monomials[2 * m - 1]]; \
    x[k] = product;                                                              \
  }                                                                              \
  __syncthreads();                                                               \
  for (u32 b = threadIdx.x; b < P::N_BASIS; b += THREADS)                        \
    basis[u64(blockIdx.x) * width + b] = sum_row(map.basis_first, map.basis_column, map.basis_value, b, x); \
  if (derivatives) {                                                             \
    for (u32 d = threadIdx.x; d < map.n_derivatives; d += THREADS)               \
      derivatives[u64(blockIdx.x) * map.n_derivatives + d] =                     \
          sum_row(map.derivative_first, map.derivative_column, map.derivative_value, d, x); \
  }                                                                              \
}

// ∂B_b/∂r of the edges of these centres; TILE edges at a time have their ∂A/∂r in shared memory.
#define TOGETHER 8
#define JACOBIAN_ACE(P)                                                          \
KERNEL __launch_bounds__(THREADS)                                                \
jacobian_##P(Parts parts, Coupling map, u32 centre0, u32 edge0, const u32* first, const u32* neighbour, \
             const u32* species, const real3* r, const real* derivatives, double* jacobian, u32 width) { \
  extern __shared__ __align__(16) char shared[];                                 \
  real* da = (real*)shared;                                                      \
  constexpr int LD = 3 * P::TILE + 1;                                            \
  u32 centre = centre0 + blockIdx.x, z = N_SPECIES > 1 ? species[centre] : 0;    \
  const Part& part = parts.part[P::INDEX];                                       \
  Site site = {neighbour, species, r, 0, first[centre], first[centre + 1]};      \
  const real* d = derivatives + u64(blockIdx.x) * map.n_derivatives;             \
  for (u32 e0 = site.begin; e0 < site.end; e0 += P::TILE) {                      \
    __syncthreads();                                                             \
    if (threadIdx.x < P::TILE) {                                                 \
      u32 e = e0 + threadIdx.x;                                                  \
      real* out = da + 3 * threadIdx.x;                                          \
      Edge edge = e < site.end ? site.edge(e) : Edge{0, 0, 0, P::RCUT, 0};          \
      if (edge.r < P::RCUT) {                                                    \
        P::derivatives(edge, site.species_of(e), part, part.matrix + z * (N_SPECIES * P::PAIR_STRIDE), \
                       part.pairs + z * (N_SPECIES * PAIR_SIZE), out, LD);       \
      } else {                                                                   \
        for (int v = 0; v < P::N_A; v++) out[v * LD] = out[v * LD + 1] = out[v * LD + 2] = 0; \
      }                                                                          \
    }                                                                            \
    __syncthreads();                                                             \
    for (u32 b = threadIdx.x; b < P::N_BASIS; b += THREADS) {                    \
      u32 from = map.derivative_of[b], to = map.derivative_of[b + 1];            \
      for (u32 s = 0; s < P::TILE && e0 + s < site.end; s += TOGETHER) {         \
        real g[TOGETHER][3] = {};                                                \
        for (u32 k = from; k < to; k++) {                                        \
          real x = d[k];                                                         \
          const real* row = da + map.derivative_v[k] * LD + 3 * s;               \
          _Pragma("unroll") for (int e = 0; e < TOGETHER; e++)                   \
            _Pragma("unroll") for (int c = 0; c < 3; c++) g[e][c] += x * row[3 * e + c]; \
        }                                                                        \
        _Pragma("unroll") for (int e = 0; e < TOGETHER; e++) {                   \
          if (e0 + s + e < site.end) {                                           \
            double* out = jacobian + (u64(e0 + s + e - edge0) * width + b) * 3;  \
            out[0] = g[e][0], out[1] = g[e][1], out[2] = g[e][2];                \
          }                                                                      \
        }                                                                        \
      }                                                                          \
    }                                                                            \
  }                                                                              \
}

// The same for a pair part; `jacobian` may be missing.
#define BASIS_PAIR(P)                                                            \
KERNEL __launch_bounds__(THREADS)                                                \
basis_##P(Parts parts, u32 centre0, u32 edge0, const u32* first, const u32* neighbour, const u32* species, \
          const real3* r, double* basis, u32 basis_width, double* jacobian, u32 width) { \
  u32 centre = centre0 + blockIdx.x, z = N_SPECIES > 1 ? species[centre] : 0;    \
  Site site = {neighbour, species, r, 0, first[centre], first[centre + 1]};      \
  const Part& part = parts.part[P::INDEX];                                       \
  for (u32 b = threadIdx.x; b < P::N_BASIS; b += THREADS) {                      \
    double sum = 0;                                                              \
    for (u32 e = site.begin; e < site.end; e++) {                                \
      Edge edge = site.edge(e);                                                  \
      real f = 0, df = 0;                                                        \
      if (edge.r < P::RCUT) P::function(edge.r, z, site.species_of(e), part, b, f, df); \
      sum += f;                                                                  \
    }                                                                            \
    basis[u64(blockIdx.x) * basis_width + b] = sum;                              \
  }                                                                              \
  if (!jacobian) return;                                                         \
  for (u32 k = threadIdx.x; k < (site.end - site.begin) * P::N_BASIS; k += THREADS) { \
    u32 e = site.begin + k / P::N_BASIS, b = k % P::N_BASIS;                     \
    Edge edge = site.edge(e);                                                    \
    real f = 0, df = 0;                                                          \
    if (edge.r < P::RCUT) P::function(edge.r, z, site.species_of(e), part, b, f, df); \
    real s = df * edge.inv;                                                        \
    double* out = jacobian + (u64(e - edge0) * width + b) * 3;                   \
    out[0] = s * edge.x, out[1] = s * edge.y, out[2] = s * edge.z;               \
  }                                                                              \
}

FOR_ACES(BASIS_ACE)
FOR_ACES(JACOBIAN_ACE)
FOR_PAIRS(BASIS_PAIR)

KERNEL __launch_bounds__(THREADS)
centres(u32 n, const u32* first, u32* centre) {
  u32 i = blockIdx.x * (THREADS / 8) + threadIdx.x / 8;
  if (i >= n) return;
  for (u32 e = first[i] + threadIdx.x % 8; e < first[i + 1]; e += 8) centre[e] = i;
}

// The columns of parameters of rows that are complete; what is not finite leaves a trace in `flag`. Block (column).
KERNEL __launch_bounds__(THREADS)
weigh_rows(u32 n_rows, double* rows, u64 step, double weight, double* flag) {
  double* column = rows + blockIdx.x * step;
  for (u32 i = threadIdx.x; i < n_rows; i += THREADS) {
    double x = column[i] * weight;
    column[i] = x;
    if (!isfinite(x)) *flag = x;
  }
}

// A triangle (n, n), row-major, into the first n rows of a column-major matrix, and back. What is below the diagonal is zero.
KERNEL __launch_bounds__(THREADS)
triangle_in(u32 n, const double* r, double* matrix, u64 step) {
  u64 k = u64(blockIdx.x) * THREADS + threadIdx.x, i = k % n, j = k / n;
  if (j < n) matrix[i + j * step] = i <= j ? r[i * n + j] : 0;
}

KERNEL __launch_bounds__(THREADS)
triangle_out(u32 n, const double* matrix, u64 step, double* r) {
  u64 k = u64(blockIdx.x) * THREADS + threadIdx.x, i = k % n, j = k / n;
  if (j < n) r[i * n + j] = i <= j ? matrix[i + j * step] : 0;
}

// Adds what a chunk of edges [edge0, edge1) contributes to the force rows; columns start at `column`,
// those of species z at column + z · n. Entry (row, c) is at row · step[0] + c · step[1].
KERNEL __launch_bounds__(THREADS)
force_rows(u32 n_centres, u32 edge0, u32 edge1, const u32* first, const u32* incoming_first, const u32* incoming,
           const u32* centre, const u32* species, const double* jacobian, u32 n, u32 tiles, double* rows, u64 step0,
           u64 step1, u32 column) {
  u32 i = blockIdx.x / tiles, b = blockIdx.x % tiles * THREADS + threadIdx.x;
  if (b >= n) return;
  u32 own = species[i];
  u32 from = 0, to = 0;
  if (i < n_centres) from = max(first[i], edge0), to = min(first[i + 1], edge1);
  for (u32 z = 0; z < N_SPECIES; z++) {
    double f[3] = {0, 0, 0};
    if (z == own) {
      for (u32 e = from; e < to; e++) {
        const double* g = jacobian + (u64(e - edge0) * n + b) * 3;
        f[0] += g[0], f[1] += g[1], f[2] += g[2];
      }
    }
    for (u32 k = incoming_first[i]; k < incoming_first[i + 1]; k++) {
      u32 e = incoming[k];
      if (e < edge0 || e >= edge1 || (N_SPECIES > 1 && species[centre[e]] != z)) continue;
      const double* g = jacobian + (u64(e - edge0) * n + b) * 3;
      f[0] -= g[0], f[1] -= g[1], f[2] -= g[2];
    }
    for (int a = 0; a < 3; a++) rows[(3 * u64(i) + a) * step0 + (column + z * n + b) * step1] += f[a];
  }
}

// Energy row: entry column + z · n + b gains Σ_i B_b over the centres of species z in the chunk. Block (z, b).
KERNEL __launch_bounds__(THREADS)
energy_row(u32 centre0, u32 n_chunk, const u32* species, const double* basis, u32 n, double* row, u32 column) {
  u32 z = blockIdx.x / n, b = blockIdx.x % n;
  double s = 0;
  for (u32 i = threadIdx.x; i < n_chunk; i += THREADS) {
    if (species[centre0 + i] == z) s += basis[u64(i) * n + b];
  }
  s = sum_block(s);
  if (threadIdx.x == 0) row[column + z * n + b] += s;
}

// Virial rows in the order xx, yy, zz, yz, xz, xy: what each of SHARES shares of the edges contributes,
// (n_species, SHARES, n, 6). Block (share, tile of functions).
KERNEL __launch_bounds__(THREADS)
virial_shares(u32 edge0, u32 edge1, const u32* centre, const u32* species, const real3* r, const double* jacobian, u32 n,
              u32 tiles, double* shares) {
  u32 share = blockIdx.x / tiles, b = blockIdx.x % tiles * THREADS + threadIdx.x;
  if (b >= n) return;
  u32 each = (edge1 - edge0 + SHARES - 1) / SHARES;
  u32 from = min(edge1, edge0 + share * each), to = min(edge1, from + each);
  for (u32 z = 0; z < N_SPECIES; z++) {
    double s[6] = {0, 0, 0, 0, 0, 0};
    for (u32 e = from; e < to; e++) {
      if (N_SPECIES > 1 && species[centre[e]] != z) continue;
      const double* g = jacobian + (u64(e - edge0) * n + b) * 3;
      real3 x = r[e];
      s[0] -= g[0] * x.x, s[1] -= g[1] * x.y, s[2] -= g[2] * x.z;
      s[3] -= g[1] * x.z, s[4] -= g[0] * x.z, s[5] -= g[0] * x.y;
    }
    double* out = shares + ((u64(z) * SHARES + share) * n + b) * 6;
    for (int k = 0; k < 6; k++) out[k] = s[k];
  }
}

// Adds the shares to the rows, (6, n_params). One thread for each species, function and component.
KERNEL __launch_bounds__(THREADS)
virial_rows(u32 n, const double* shares, double* rows, u32 width, u32 column) {
  u32 i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= N_SPECIES * n * 6) return;
  u32 z = i / (6 * n), at = i % (6 * n);
  double s = 0;
  for (u32 share = 0; share < SHARES; share++) s += shares[(u64(z) * SHARES + share) * (6 * n) + at];
  rows[u64(at % 6) * width + column + z * n + at / 6] += s;
}
