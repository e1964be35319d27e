// The many-body part of a site: A, products, and their adjoint. The code before this file defines the layout:
// SHELLS(X) with X(l, t0, n, a0), the products, harmonics() and harmonics_pullback().
// GROUP lanes share a centre, each has some of its edges.

// R_t = Σ_q w_q M[t, q]; the rows of a species pair start at `rows`.
#ifdef SPLINE
#define ROW(w, t) row_sum(rows, t, w)
DEVICE real row_sum(const real* rows, int t, const real* w) {
  real f = 0;
#pragma unroll
  for (int q = 0; q < N_TERMS; q++) f += w[q] * __ldg(rows + q * N_T + t);
  return f;
}
#define ROWS(shared, zj, first) (matrix + (first) * N_T)
#elif defined(FIXED_ROWS)
// One pair of species: the rows are part of the code, and no loads stand between the multiplications.
__device__ constexpr real fixed_rows[] = {FIXED_ROWS};
#define ROW(w, t) row_sum(t, w)
DEVICE real row_sum(int t, const real* w) {
  real f = 0;
#pragma unroll
  for (int q = 0; q < N_TERMS; q++) f += w[q] * fixed_rows[t * ROW_SIZE + q];
  return f;
}
#define ROWS(shared, zj, first) shared
#else
#define ROW(w, t) row_sum(rows, t, w)
DEVICE real row_sum(const real* rows, int t, const real* w) {
  constexpr int N = 16 / sizeof(real);
  struct alignas(16) Pack { real x[N]; };
  real f = 0;
#pragma unroll
  for (int q = 0; q < N_TERMS; q += N) {
    Pack m = *(const Pack*)(rows + t * ROW_SIZE + q);
#pragma unroll
    for (int k = 0; k < N; k++) {
      if (q + k < N_TERMS) f += w[q + k] * m.x[k];
    }
  }
  return f;
}
#define ROWS(shared, zj, first) (shared + (zj) * PAIR_STRIDE)
#endif

// Where the A of this species of neighbours begins, if each has its own.
#define CHANNEL(zj) (N_CHANNEL < N_A ? (zj) * N_CHANNEL : 0)

// r^(−l), for spherical harmonics.
#define POWER(l) (SPHERICAL ? power<real>(inv, l) : real(1))

DEVICE void forward(const Site& site, const Part& part, const real* slab, const double* pairs, real* a) {
  const real* matrix = part.matrix;
  // `a` itself may be in memory.
  real sum[ROOM] = {};
  real3 ahead = site.first_vector();
#pragma unroll 1
  for (u32 e = site.begin + site.lane; e < site.end; e += GROUP) {
    Edge edge = site.next(ahead, e);
    if (edge.r >= RCUT) continue;
    u32 zj = site.species_of(e);
    real w[N_TERMS], y[N_Y];
    u32 first = weights<false>(pairs + zj * PAIR_SIZE, edge.r, w, w);
    harmonics(edge.x, edge.y, edge.z, y);
    const real* rows = ROWS(slab, zj, first);
    real inv = edge.inv;
#define SHELL(l, t0, n, a0)                                                      \
    _Pragma("unroll") for (int k = 0; k < n; k++) {                              \
      real f = ROW(w, t0 + k) * POWER(l);                                        \
      _Pragma("unroll") for (int m = 0; m < 2 * l + 1; m++) sum[CHANNEL(zj) + a0 + k * (2 * l + 1) + m] += f * y[l * l + m]; \
    }
    SHELLS(SHELL)
#undef SHELL
  }
#pragma unroll
  for (int v = 0; v < N_A; v++) a[v] = sum_lanes<GROUP>(sum[v]);
}

// The products are written out, in N_PIECES pieces: FOR_PIECES(X) with X(i), and for each TRIE_i(OPEN, AGAIN, LEAF, CLOSE) and USES_i(X)
// with X(v). One piece is part of the kernel, with A in registers. Compilers need minutes for a long one; so several are functions of
// their own, to which A and from which its adjoint goes through memory. A piece begins where the last one stopped, below nodes that are
// opened AGAIN, without their coefficients.
#if N_PIECES > 1
#define PIECE static __device__ __noinline__
#define BEGIN(i) const real* c = C_SHARED ? coefficients() : folded; real x[ROOM]; USES_##i(FETCH)
#define FETCH(v) x[v] = a[v];
#define A(v) x[v]
#define ADJOINT real b[ROOM] = {};
#define BAR(v) b[v]
#define END(i) if (GRAD) { USES_##i(STORE) }
#define STORE(v) bar[(v) * STRIDE] += b[v];
DEVICE const real* coefficients() {
  extern __shared__ __align__(16) char shared[];
  return (const real*)(shared + AT_C);
}
#else
#define PIECE DEVICE
#define BEGIN(i) const real* c = folded;
#define A(v) a[v]
#define ADJOINT
#define BAR(v) bar[(v) * STRIDE]
#define END(i)
#endif
#define EACH(text) _Pragma("unroll") for (int p = 0; p < N_DENSITIES; p++) { text }

#ifdef EMBEDDED
// Coefficient k of Σ_p u_p ρ_p.
#define C(k) weighted(c + (k) * N_DENSITIES, w)
DEVICE real weighted(const real* c, const real* u) {
  real sum = 0;
  EACH(sum += c[p] * u[p];)
  return sum;
}

// ρ_p = Σ_k c[k, p] AA_k in nested form.
#define OPEN(up, d, k, v) { real s##d[N_DENSITIES]; EACH(s##d[p] = c[(k) * N_DENSITIES + p];)
#define AGAIN(up, d, v) { real s##d[N_DENSITIES]; EACH(s##d[p] = 0;)
#define LEAF(d, k, v) EACH(s##d[p] += c[(k) * N_DENSITIES + p] * A(v);)
#define CLOSE(up, d, v) EACH(s##up[p] += s##d[p] * A(v);) }
#define DENSITIES(i)                                                             \
PIECE void densities_##i(const real* folded, const real* a, real* rho) {         \
  BEGIN(i)                                                                       \
  real s0[N_DENSITIES];                                                          \
  EACH(s0[p] = rho[p];)                                                          \
  TRIE_##i(OPEN, AGAIN, LEAF, CLOSE)                                             \
  EACH(rho[p] = s0[p];)                                                          \
}
FOR_PIECES(DENSITIES)
#undef DENSITIES
#undef OPEN
#undef AGAIN
#undef LEAF
#undef CLOSE

DEVICE void densities(const real* c, const real* a, real* rho) {
  EACH(rho[p] = c[p];)
#define DENSITIES(i) densities_##i(c, a, rho);
  FOR_PIECES(DENSITIES)
#undef DENSITIES
}
#define WEIGHTS real w[N_DENSITIES]; EACH(w[p] = u[p];)
#else
#define C(k) c[k]
#define WEIGHTS
#endif

// E = Σ_k c_k AA_k in nested form and, where GRAD, its adjoint; with an embedding for the weights u of the densities.
#define OPEN(up, d, k, v) { const real p##d = p##up * A(v); real s##d = C(k);
#define AGAIN(up, d, v) { const real p##d = p##up * A(v); real s##d = 0;
#define LEAF(d, k, v) { const real ck = C(k); s##d += ck * A(v); if (GRAD) BAR(v) += ck * p##d; }
#define CLOSE(up, d, v) s##up += s##d * A(v); if (GRAD) BAR(v) += s##d * p##up; }
#define PRODUCTS(i)                                                              \
template <bool GRAD> PIECE real products_##i(const real* folded, const real* a, real* bar, const real* u, real s0) { \
  WEIGHTS                                                                        \
  BEGIN(i)                                                                       \
  ADJOINT                                                                        \
  const real p0 = 1;                                                             \
  TRIE_##i(OPEN, AGAIN, LEAF, CLOSE)                                             \
  END(i)                                                                         \
  return s0;                                                                     \
}
FOR_PIECES(PRODUCTS)
#undef PRODUCTS
#undef OPEN
#undef AGAIN
#undef LEAF
#undef CLOSE

template <bool GRAD> DEVICE real products(const real* c, const real* a, real* bar, const real* u) {
  if (GRAD) {
#pragma unroll
    for (int v = 0; v < N_A; v++) bar[v * STRIDE] = 0;
  }
  WEIGHTS
  real energy = C(0);
#define PRODUCTS(i) energy = products_##i<GRAD>(c, a, bar, u, energy);
  FOR_PIECES(PRODUCTS)
#undef PRODUCTS
  return energy;
}
#undef C
#undef WEIGHTS
#undef EACH
#undef PIECE
#undef BEGIN
#undef FETCH
#undef A
#undef ADJOINT
#undef BAR
#undef END
#undef STORE

#ifndef EMBEDDED
constexpr bool DIRECT = false;
struct State {};
template <bool GRAD> DEVICE real readout(const Site&, u32, const real* c, const real* a, real* bar, State&) {
  return products<GRAD>(c, a, bar, nullptr);
}
DEVICE real3 direct(const Edge&, u32, u32, u32, const State&) { return {0, 0, 0}; }
#endif

// ∂E/∂r of one edge, given the adjoint of A.
DEVICE real3 pullback(const Edge& edge, u32 zj, const Part& part, const real* slab, const double* pairs, const real* bar) {
  const real* matrix = part.matrix;
  real w[N_TERMS], dw[N_TERMS], y[N_Y], y_bar[N_Y];
  u32 first = weights<true>(pairs + zj * PAIR_SIZE, edge.r, w, dw);
  harmonics(edge.x, edge.y, edge.z, y);
  const real* rows = ROWS(slab, zj, first);
  real inv = edge.inv, radial = 0;
#pragma unroll
  for (int k = 0; k < N_Y; k++) y_bar[k] = 0;
#define SHELL(l, t0, n, a0)                                                      \
  _Pragma("unroll") for (int k = 0; k < n; k++) {                                \
    real f = ROW(w, t0 + k) * POWER(l), df = ROW(dw, t0 + k) * POWER(l), sum = 0; \
    if (SPHERICAL) df -= real(l) * inv * f;                                      \
    _Pragma("unroll") for (int m = 0; m < 2 * l + 1; m++) {                      \
      real b = bar[(CHANNEL(zj) + a0 + k * (2 * l + 1) + m) * STRIDE];           \
      y_bar[l * l + m] += b * f;                                                 \
      sum += b * y[l * l + m];                                                   \
    }                                                                            \
    radial += sum * df;                                                          \
  }
  SHELLS(SHELL)
#undef SHELL
  real3 g = harmonics_pullback(y, y_bar);
  real k = radial * inv;
  return {g.x + k * edge.x, g.y + k * edge.y, g.z + k * edge.z};
}

// ∂A_v/∂r of one edge into out[v · stride].
DEVICE void derivatives(const Edge& edge, u32 zj, const Part& part, const real* slab, const double* pairs, real* out, int stride) {
  const real* matrix = part.matrix;
  real w[N_TERMS], dw[N_TERMS], y[N_Y];
  real3 dy[N_Y];
  u32 first = weights<true>(pairs + zj * PAIR_SIZE, edge.r, w, dw);
  harmonics(edge.x, edge.y, edge.z, y);
  harmonics_gradients(y, dy);
  const real* rows = ROWS(slab, zj, first);
  real inv = edge.inv;
#define SHELL(l, t0, n, a0)                                                      \
  for (int k = 0; k < n; k++) {                                                  \
    real f = ROW(w, t0 + k) * POWER(l), df = ROW(dw, t0 + k) * POWER(l);         \
    if (SPHERICAL) df -= real(l) * inv * f;                                      \
    df *= inv;                                                                   \
    _Pragma("unroll") for (int m = 0; m < 2 * l + 1; m++) {                      \
      real* to = out + (CHANNEL(zj) + a0 + k * (2 * l + 1) + m) * stride;        \
      real b = df * y[l * l + m];                                                \
      to[0] = b * edge.x + f * dy[l * l + m].x;                                  \
      to[1] = b * edge.y + f * dy[l * l + m].y;                                  \
      to[2] = b * edge.z + f * dy[l * l + m].z;                                  \
    }                                                                            \
  }
  SHELLS(SHELL)
#undef SHELL
}

#undef ROW
#undef ROWS
#undef POWER
#undef CHANNEL
