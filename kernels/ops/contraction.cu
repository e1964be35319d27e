// The symmetric contraction, `B[M] = Σ_k W[z,k] Σ U[M,q1…qν,k] Π A[q]` in every channel of every node. A thread has one channel of a few nodes of
// one species (NODES, NODES_BACKWARD, NODES_DUAL), which share the coefficients.
//
// Weights are folded first: `c[e] = Σ_k U[e,k] W[z,k]` for every entry e, an (M, monomial) of the symmetrised couplings. Each M is a polynomial
// in nested form. The code before this file defines N_IN, N_OUT, N_ENTRIES, N_PATHS (rows of weights a species, MUL numbers each), MUL, DIM_IN, DIM_OUT,
// the tables IN_base, IN_stride, OUT_base, OUT_stride, and
// PROGRAM(BEGIN, OPEN, LEAF, CLOSE, END): BEGIN(M), OPEN(parent, node, factor), LEAF(node, entry, factor), CLOSE(parent, node, factor), END(M), the root is node 0;
// where TRAINING is set, GROUPS(BEGIN, ROOT, NODE, ENTRY, END): BEGIN(g), ROOT(node, M), NODE(parent, node, factor), ENTRY(number in the group, node, factor), END(g).

template <class T, int R> struct Pack { T x[R]; };
#define EACH _Pragma("unroll") for (int r = 0; r < R; r++)
// A cotangent has no derivative: what begins with it is plain.
template <class A, class T, int R> DEVICE Pack<T, R> operator*(const Pack<A, R>& a, const Pack<T, R>& b) { Pack<T, R> c; EACH c.x[r] = a.x[r] * b.x[r]; return c; }
template <class T, class B, int R> DEVICE void add(Pack<T, R>& s, const Pack<T, R>& a, const Pack<B, R>& b) { EACH add_product(s.x[r], a.x[r], b.x[r]); }
template <class T, class B, int R> DEVICE void add(Pack<T, R>& s, T c, const Pack<B, R>& b) { EACH add_product(s.x[r], c, b.x[r]); }
template <class T, int R> DEVICE Pack<T, R> all(T c) { Pack<T, R> p; EACH p.x[r] = c; return p; }

// Nodes in blocks of one species; NONE fills a block up.
struct Nodes { const u32* order; const u32* species; };

template <class T> struct Coefficients {
  const real* v;
  const real* d;
  u64 at;
  DEVICE T operator[](int e) const;
};
template <> DEVICE real Coefficients<real>::operator[](int e) const { return __ldg(v + at + e * MUL); }
template <> DEVICE dual Coefficients<dual>::operator[](int e) const {
  return {__ldg(v + at + e * MUL), d ? __ldg(d + at + e * MUL) : real(0)};
}

template <class T, int R> DEVICE u32 read(const Nodes& nodes, const Input& a, u32 u, u32* node, Pack<T, R>* x) {
  EACH node[r] = nodes.order[blockIdx.x * R + r];
#pragma unroll
  for (int q = 0; q < N_IN; q++) EACH x[q].x[r] = node[r] == NONE ? zero<T>() : load<T>(a, AT(IN, u64(node[r]) * DIM_IN, q, u));
  return node[0] == NONE ? NONE : nodes.species[node[0]];
}

template <class T, int R> DEVICE void forward(const Nodes& nodes, const Input& a, const real* c_v, const real* c_d, const Output& out) {
  u32 u = blockIdx.y * blockDim.x + threadIdx.x, node[R];
  if (u >= MUL) return;
  Pack<T, R> x[N_IN];
  u32 z = read<T, R>(nodes, a, u, node, x);
  if (z == NONE) return;
  Coefficients<T> c{c_v, c_d, u64(z) * N_ENTRIES * MUL + u};
#define BEGIN(M) { Pack<T, R> s0 = all<T, R>(zero<T>());
#define OPEN(up, d, v) { Pack<T, R> s##d = all<T, R>(zero<T>());
#define LEAF(d, k, v) add(s##d, c[k], x[v]);
#define CLOSE(up, d, v) add(s##up, s##d, x[v]); }
#define END(M) EACH if (node[r] != NONE) store(out, AT(OUT, u64(node[r]) * DIM_OUT, M, u), s0.x[r]); }
  PROGRAM(BEGIN, OPEN, LEAF, CLOSE, END)
#undef BEGIN
#undef OPEN
#undef LEAF
#undef CLOSE
#undef END
}

// The adjoint of A and, where RESULT, what `forward` gives, which costs few sums more: in f64 there are no registers for it. The root of each polynomial
// is the cotangent of its M.
template <class T, int R, bool RESULT>
DEVICE void backward(const Nodes& nodes, const Input& a, const real* c_v, const real* c_d, const Input& out_bar, const Output& a_bar, const Output& out) {
  u32 u = blockIdx.y * blockDim.x + threadIdx.x, node[R];
  if (u >= MUL) return;
  Pack<T, R> x[N_IN], bar[N_IN];
  u32 z = read<T, R>(nodes, a, u, node, x);
  if (z == NONE) return;
  Coefficients<T> c{c_v, c_d, u64(z) * N_ENTRIES * MUL + u};
#pragma unroll
  for (int q = 0; q < N_IN; q++) bar[q] = all<T, R>(zero<T>());
#define BEGIN(M) { Pack<real, R> p0; EACH p0.x[r] = node[r] == NONE ? real(0) : load<real>(out_bar, AT(OUT, u64(node[r]) * DIM_OUT, M, u)); Pack<T, R> s0 = all<T, R>(zero<T>());
#define OPEN(up, d, v) { Pack<T, R> p##d = p##up * x[v], s##d = all<T, R>(zero<T>());
#define LEAF(d, k, v) { T f = c[k]; add(s##d, f, x[v]); add(bar[v], f, p##d); }
#define CLOSE(up, d, v) add(s##up, s##d, x[v]); add(bar[v], s##d, p##up); }
#define END(M) if constexpr (RESULT) EACH if (node[r] != NONE && out.to) store(out, AT(OUT, u64(node[r]) * DIM_OUT, M, u), s0.x[r]); }
  PROGRAM(BEGIN, OPEN, LEAF, CLOSE, END)
#undef BEGIN
#undef OPEN
#undef LEAF
#undef CLOSE
#undef END
#pragma unroll
  for (int q = 0; q < N_IN; q++) EACH if (node[r] != NONE) store(a_bar, AT(IN, u64(node[r]) * DIM_IN, q, u), bar[q].x[r]);
}

#if TRAINING
// `Σ_nodes B̄[M] · monomial` of some entries over some nodes of one species: what the adjoint of the weights is made of.
template <class T> DEVICE void moments(const Nodes& nodes, const u32* chunk_first, const Input& a, const Input& out_bar, const Scratch& out) {
  u32 u = blockIdx.z * blockDim.x + threadIdx.x;
  if (u >= MUL) return;
  T sum[GROUP];
#pragma unroll
  for (int k = 0; k < GROUP; k++) sum[k] = zero<T>();
  for (u32 n = chunk_first[blockIdx.x]; n < chunk_first[blockIdx.x + 1]; n++) {
    u32 node = nodes.order[n];
    if (node == NONE) continue;
    T x[N_IN];
    real bar[N_OUT];
#pragma unroll
    for (int q = 0; q < N_IN; q++) x[q] = load<T>(a, AT(IN, u64(node) * DIM_IN, q, u));
#pragma unroll
    for (int q = 0; q < N_OUT; q++) bar[q] = load<real>(out_bar, AT(OUT, u64(node) * DIM_OUT, q, u));
    switch (blockIdx.y) {
#define BEGIN(g) case g: {
#define ROOT(n, M) real p##n = bar[M];
#define NODE(up, n, v) T p##n = p##up * x[v];
#define ENTRY(k, n, v) add_product(sum[k], p##n, x[v]);
#define END(g) break; }
      GROUPS(BEGIN, ROOT, NODE, ENTRY, END)
#undef BEGIN
#undef ROOT
#undef NODE
#undef ENTRY
#undef END
    }
  }
  for (int k = 0; k < GROUP; k++) {
    u32 e = blockIdx.y * GROUP + k;
    if (e < N_ENTRIES) store(out, (u64(blockIdx.x) * N_ENTRIES + e) * MUL + u, sum[k]);
  }
}
#endif

#define ARGUMENTS const u32 *order, const u32 *species, Input a

KERNEL __launch_bounds__(THREADS) contraction_forward(ARGUMENTS, const real* c, const real* c_d, Output out) {
  forward<real, NODES>(Nodes{order, species}, a, c, c_d, out);
}
#if TRAINING
KERNEL __launch_bounds__(THREADS) contraction_forward_dual(ARGUMENTS, const real* c, const real* c_d, Output out) {
  forward<dual, NODES_DUAL>(Nodes{order, species}, a, c, c_d, out);
}
#endif
KERNEL __launch_bounds__(THREADS) contraction_backward(ARGUMENTS, const real* c, const real* c_d, Input out_bar, Output a_bar) {
  backward<real, NODES_BACKWARD, false>(Nodes{order, species}, a, c, c_d, out_bar, a_bar, a_bar);
}
#if TRAINING
KERNEL __launch_bounds__(THREADS) contraction_backward_dual(ARGUMENTS, const real* c, const real* c_d, Input out_bar, Output a_bar, Output out) {
  backward<dual, NODES_DUAL, SINGLE>(Nodes{order, species}, a, c, c_d, out_bar, a_bar, out);
}
KERNEL __launch_bounds__(THREADS) contraction_moments(ARGUMENTS, const u32* chunk_first, Input out_bar, Scratch out) {
  moments<real>(Nodes{order, species}, chunk_first, a, out_bar, out);
}
KERNEL __launch_bounds__(THREADS) contraction_moments_dual(ARGUMENTS, const u32* chunk_first, Input out_bar, Scratch out) {
  moments<dual>(Nodes{order, species}, chunk_first, a, out_bar, out);
}

// c[z, e, u] = Σ_k U[e, k] W[z, k, u].
KERNEL contraction_fold(const u32* first, const u32* path, const real* value, Input w, real* c, real* c_d) {
  u32 u = blockIdx.x * blockDim.x + threadIdx.x, e = blockIdx.y, z = blockIdx.z;
  if (u >= MUL) return;
  dual sum = {0, 0};
  for (u32 i = first[e]; i < first[e + 1]; i++) sum += value[i] * load<dual>(w, (u64(z) * N_PATHS + path[i]) * MUL + u);
  u64 to = (u64(z) * N_ENTRIES + e) * MUL + u;
  c[to] = sum.v;
  if (c_d) c_d[to] = sum.d;
}

// W̄[z, k, u] = Σ_e U[e, k] Σ_chunks moments: the transpose of `contraction_fold`.
KERNEL contraction_unfold(const u32* first, const u32* entry, const real* value, const u32* species_chunk, const real* moments, Output w_bar) {
  u32 u = blockIdx.x * blockDim.x + threadIdx.x, k = blockIdx.y, z = blockIdx.z;
  if (u >= MUL) return;
  real sum = 0;
  for (u32 i = first[k]; i < first[k + 1]; i++) {
    real m = 0;
    for (u32 chunk = species_chunk[z]; chunk < species_chunk[z + 1]; chunk++) m += moments[(u64(chunk) * N_ENTRIES + entry[i]) * MUL + u];
    sum += value[i] * m;
  }
  store(w_bar, (u64(z) * N_PATHS + k) * MUL + u, sum);
}
#endif
