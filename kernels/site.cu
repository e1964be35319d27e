// One pass over every centre: its energy and, in `site_gradients`, the gradient of each edge.
//
// A block has centres of one species. GROUP lanes share a centre and split its edges: 1 lane in large systems,
// a whole warp in small ones. A stays in registers, its adjoint in registers or shared memory.

#define CENTRES (THREADS / GROUP)

// What a block needs of its species, in the order that Rust laid out.
DEVICE void copy(real* to, const real* from, int n) {
  for (int k = threadIdx.x; k < n; k += THREADS) to[k] = from[k];
}
DEVICE void copy_pairs(double* to, const double* from, int n) {
  for (int k = threadIdx.x; k < n; k += THREADS) to[k] = from[k];
}

// False for a block without centres.
DEVICE bool open(Site& site, u32& centre, u32& z, const u32* order, const u32* first, const u32* last, u32 n_slots) {
  u32 slot = blockIdx.x * CENTRES + threadIdx.x / GROUP;
#if N_SPECIES > 1
  if (order[blockIdx.x * CENTRES] == NONE) return false;
  z = site.species[order[blockIdx.x * CENTRES]];
  centre = slot < n_slots ? order[slot] : NONE;
#else
  z = 0;
  centre = slot < n_slots ? slot : NONE;
#endif
  site.lane = threadIdx.x % GROUP;
  site.begin = site.end = 0;
  if (centre != NONE) {
    site.begin = first[centre];
    // Another way of reading it, and the registers do not suffice.
    site.end = __ldg(last + centre);
  }
  return true;
}

// Copies the coefficients of species z of one many-body part into shared memory.
#define LOAD(P)                                                                  \
  real* slab = (real*)(shared + P::AT_ROWS);                                     \
  double* pairs = (double*)(shared + P::AT_PAIRS);                               \
  __syncthreads();                                                               \
  if (P::C_SHARED) copy((real*)(shared + P::AT_C), parts.part[P::INDEX].folded + z * P::N_C, P::N_C); \
  copy_pairs(pairs, parts.part[P::INDEX].pairs + z * (N_SPECIES * PAIR_SIZE), N_SPECIES * PAIR_SIZE); \
  if (P::ROWS_SHARED) copy(slab, parts.part[P::INDEX].matrix + z * (N_SPECIES * P::PAIR_STRIDE), N_SPECIES * P::PAIR_STRIDE); \
  const real* c = P::C_SHARED ? (real*)(shared + P::AT_C) : parts.part[P::INDEX].folded + z * P::N_C; \
  const real* rows = P::ROWS_SHARED ? slab : parts.part[P::INDEX].matrix + z * (N_SPECIES * P::PAIR_STRIDE); \
  __syncthreads();

KERNEL __launch_bounds__(THREADS, BLOCKS_ENERGY)
site_energies(Parts parts, const u32* order, u32 n_slots, const u32* first, const u32* last, const u32* neighbour, const u32* species,
              const real3* r, double* energies) {
  extern __shared__ __align__(16) char shared[];
  Site site = {neighbour, species, r};
  u32 centre, z;
  if (!open(site, centre, z, order, first, last, n_slots)) return;
  real energy = 0;
#define PAIR(P)                                                                  \
  for (u32 e = site.begin + site.lane; e < site.end; e += GROUP) {               \
    Edge edge = site.edge(e);                                                    \
    if (edge.r >= P::RCUT) continue;                                            \
    real f, df;                                                                  \
    P::evaluate<false>(edge.r, z, site.species_of(e), parts.part[P::INDEX], f, df); \
    energy += f;                                                                 \
  }
  FOR_PAIRS(PAIR)
#undef PAIR
  energy = sum_lanes<GROUP>(energy);
#define ACE(P) {                                                                 \
    LOAD(P)                                                                      \
    real a[P::ROOM];                                                             \
    P::forward(site, parts.part[P::INDEX], rows, pairs, a);                      \
    P::State state;                                                              \
    energy += P::readout<false>(site, z, c, a, (real*)nullptr, state);           \
  }
  FOR_ACES(ACE)
#undef ACE
  if (centre != NONE && site.lane == 0) energies[centre] = parts.e0[z] + double(energy);
}

KERNEL __launch_bounds__(THREADS, BLOCKS_GRADIENT)
site_gradients(Parts parts, const u32* order, u32 n_slots, const u32* first, const u32* last, const u32* neighbour, const u32* species,
               const real3* r, double* energies, real3* gradients) {
  extern __shared__ __align__(16) char shared[];
  Site site = {neighbour, species, r};
  u32 centre, z;
  if (!open(site, centre, z, order, first, last, n_slots)) return;
  real energy = 0, pair_energy = 0;
  bool fresh = true;
  // The pair parts ride along with the first many-body part.
#define PAIR(P)                                                                  \
  if (edge.r < P::RCUT) {                                                       \
    real f, df;                                                                  \
    P::evaluate<true>(edge.r, z, zj, parts.part[P::INDEX], f, df);               \
    pair_energy += f;                                                            \
    real k = df * edge.inv;                                              \
    g = {g.x + k * edge.x, g.y + k * edge.y, g.z + k * edge.z};                  \
  }
#define ACE(P) {                                                                 \
    LOAD(P)                                                                      \
    real a[P::ROOM];                                                             \
    P::State state;                                                              \
    P::forward(site, parts.part[P::INDEX], rows, pairs, a);                      \
    if (P::STRIDE == 1) {                                                       \
      real bar[P::ROOM];                                                         \
      energy += P::readout<true>(site, z, c, a, bar, state);                     \
      EDGES(P, bar)                                                              \
    } else {                                                                     \
      real* bar = (real*)(shared + AT_BAR) + threadIdx.x;                        \
      energy += P::readout<true>(site, z, c, a, bar, state);                     \
      EDGES(P, bar)                                                              \
    }                                                                            \
    fresh = false;                                                               \
  }
#define EDGES(P, bar)                                                            \
  real3 ahead = site.first_vector();                                           \
  _Pragma("unroll 1") for (u32 e = site.begin + site.lane; e < site.end; e += GROUP) { \
    Edge edge = site.next(ahead, e);                                             \
    u32 zj = site.species_of(e);                                                 \
    real3 g = fresh ? real3{0, 0, 0} : gradients[e];                             \
    if (edge.r < P::RCUT) {                                                     \
      real3 h = P::pullback(edge, zj, parts.part[P::INDEX], rows, pairs, bar);   \
      g = {g.x + h.x, g.y + h.y, g.z + h.z};                                     \
      if (P::DIRECT) {                                                           \
        h = P::direct(edge, e, z, zj, state);                                    \
        g = {g.x + h.x, g.y + h.y, g.z + h.z};                                   \
      }                                                                          \
    }                                                                            \
    if (fresh) { FOR_PAIRS(PAIR) }                                               \
    gradients[e] = g;                                                            \
  }
  FOR_ACES(ACE)
#if N_ACES == 0
  for (u32 e = site.begin + site.lane; e < site.end; e += GROUP) {
    Edge edge = site.edge(e);
    u32 zj = site.species_of(e);
    real3 g = {0, 0, 0};
    FOR_PAIRS(PAIR)
    gradients[e] = g;
  }
#endif
  energy += sum_lanes<GROUP>(pair_energy);
  if (centre != NONE && site.lane == 0) energies[centre] = parts.e0[z] + double(energy);
}
