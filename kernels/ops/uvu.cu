// The channelwise product of two tensors of irreps, `out_p[u,c] = w[p,u] Σ_ab C[a,b,c] x[u,a] y[b]`, alone (a row of each for each
// edge) or as a convolution (x gathered from the sender, out summed at the receiver). A thread has one channel of one receiver.
//
// The code before this file defines the sizes N_X, N_Y, N_OUT (components a channel), N_PATHS, N_T, N_TERMS, MUL, DIM_X, DIM_Y, DIM_OUT,
// DIM_W, the flags GRAPH and SHARED_WEIGHTS, and the tables X_base, X_stride, OUT_base, OUT_stride, Y_at, W_base, T_coefficient, T_index.
// `T[k] = Σ_b C[a,b,c] y[b]` for each pair (a, c) that a path couples is the same for all channels: a block evaluates it once.
// PATHS(OPEN, ROW, TERM, CLOSE) goes through the paths: OPEN(p), for each a: ROW(x), for each c: TERM(t, out), CLOSE(p).
// ADJOINT(OPEN, ROW, TERM, END, CLOSE) has ROW(x) and END(x) around the terms of an a.
// COUPLINGS(OPEN, TERM) does for the adjoint of y: OPEN(p, x), then TERM(coefficient, y, out).

#define TILE 8

// The edges of a receiver, their number in the caller's order, and the senders by that number.
struct Edges { const u32* first; const u32* edge; const u32* sender; };

// Some edges of a receiver: their numbers, the rows of x, T.
template <class T> struct Tile { T t[TILE][N_T]; u32 edge[TILE], sender[TILE]; };

// The edges e0 .. e0 + n, by all threads of the block.
template <class T> DEVICE void fill(Tile<T>& tile, const Edges& edges, u32 e0, u32 n, const Input& y) {
  __syncthreads();
  if (threadIdx.x < n) {
    u32 e = GRAPH ? edges.edge[e0 + threadIdx.x] : e0 + threadIdx.x;
    tile.edge[threadIdx.x] = e, tile.sender[threadIdx.x] = GRAPH ? edges.sender[e] : e;
  }
  for (u32 k = threadIdx.x; k < n * N_T; k += blockDim.x) {
    u32 j = k / N_T, q = k % N_T;
    u64 row = u64(GRAPH ? edges.edge[e0 + j] : e0 + j) * DIM_Y;
    T sum = zero<T>();
#pragma unroll
    for (int s = 0; s < N_TERMS; s++) add_product(sum, T_coefficient[q][s], load<T>(y, row + T_index[q][s]));
    tile.t[j][q] = sum;
  }
  __syncthreads();
}

// What edge j of a tile reads of x and the weights.
template <class T> DEVICE void read(const Input& x, const Input& w, const Tile<T>& tile, u32 j, u32 u, T* xs, T* ws) {
  u64 row = u64(tile.sender[j]) * DIM_X, weights = SHARED_WEIGHTS ? 0 : u64(tile.edge[j]) * DIM_W;
#pragma unroll
  for (int p = 0; p < N_PATHS; p++) ws[p] = load<T>(w, weights + W_base[p] + u);
#pragma unroll
  for (int q = 0; q < N_X; q++) xs[q] = load<T>(x, AT(X, row, q, u));
}

template <class T> DEVICE void forward(const Input& x, const Input& y, const Input& w, const Edges& edges, const Output& out) {
  __shared__ Tile<T> tile;
  u32 i = blockIdx.x, u = blockIdx.y * THREADS + threadIdx.x;
  u32 begin = GRAPH ? edges.first[i] : i, end = GRAPH ? edges.first[i + 1] : i + 1;
  T sum[N_OUT];
#pragma unroll
  for (int q = 0; q < N_OUT; q++) sum[q] = zero<T>();
  for (u32 e0 = begin; e0 < end; e0 += TILE) {
    u32 n = min(u32(TILE), end - e0);
    fill(tile, edges, e0, n, y);
    if (u >= MUL) continue;
#pragma unroll 2
    for (u32 j = 0; j < n; j++) {
      T xs[N_X], ws[N_PATHS], row;
      const T* t = tile.t[j];
      read(x, w, tile, j, u, xs, ws);
#define OPEN(p) { T weight = ws[p];
#define ROW(x) row = weight * xs[x];
#define TERM(k, q) add_product(sum[q], row, t[k]);
#define CLOSE(p) }
      PATHS(OPEN, ROW, TERM, CLOSE)
#undef OPEN
#undef ROW
#undef TERM
#undef CLOSE
    }
  }
  if (u >= MUL) return;
#pragma unroll
  for (int q = 0; q < N_OUT; q++) store(out, AT(OUT, u64(i) * DIM_OUT, q, u), sum[q]);
}

// The adjoints of x, y and w for the edges of one receiver. Sums that cross threads are left to later kernels: that of x goes to `x_bar`, (N_X, MUL)
// for each edge in the order of the receivers, to be summed by sender; that of y to `y_bar`, (n_edges, DIM_Y) for each chunk of channels; that
// of shared weights to `shared_bar`, a row for each receiver.
template <class T>
DEVICE void backward(const Input& x, const Input& y, const Input& w, const Edges& edges, const Input& out_bar, const Scratch& x_bar,
                     const Scratch& y_bar, const Output& w_bar, const Scratch& shared_bar, u32 n_edges) {
  constexpr int WARPS = THREADS / 32, N_REDUCED = N_Y <= 1 ? 1 : N_Y <= 2 ? 2 : N_Y <= 4 ? 4 : N_Y <= 8 ? 8 : N_Y <= 16 ? 16 : 32;
  constexpr int PIECES = (N_Y + 31) / 32;
  __shared__ Tile<T> tile;
  __shared__ T sums[TILE][WARPS][PIECES * N_REDUCED];
  u32 i = blockIdx.x, u = blockIdx.y * THREADS + threadIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  u32 begin = GRAPH ? edges.first[i] : i, end = GRAPH ? edges.first[i + 1] : i + 1;
  bool active = u < MUL;
  T shared[N_PATHS];
  real g[N_OUT];
#pragma unroll
  for (int q = 0; q < N_OUT; q++) g[q] = active ? load<real>(out_bar, AT(OUT, u64(i) * DIM_OUT, q, u)) : real(0);
#pragma unroll
  for (int p = 0; p < N_PATHS; p++) shared[p] = zero<T>();
  for (u32 e0 = begin; e0 < end; e0 += TILE) {
    u32 n = min(u32(TILE), end - e0);
    fill(tile, edges, e0, n, y);
    for (u32 j = 0; j < n; j++) {
      T xs[N_X], ws[N_PATHS], bar[N_X], s;
      const T* t = tile.t[j];
      u32 e = tile.edge[j];
#pragma unroll
      for (int q = 0; q < N_X; q++) xs[q] = bar[q] = zero<T>();
#pragma unroll
      for (int p = 0; p < N_PATHS; p++) ws[p] = zero<T>();
      if (active) read(x, w, tile, j, u, xs, ws);
#define OPEN(p) { T weight = ws[p], weight_bar = zero<T>();
#define ROW(x) s = zero<T>();
#define TERM(k, q) add_product(s, g[q], t[k]);
#define END(x) add_product(bar[x], weight, s), add_product(weight_bar, xs[x], s);
#define CLOSE(p)                                                                                                      \
  if (SHARED_WEIGHTS) shared[p] += weight_bar;                                                                        \
  else if (active && w_bar.to) store(w_bar, u64(e) * DIM_W + W_base[p] + u, weight_bar);                              \
  }
      ADJOINT(OPEN, ROW, TERM, END, CLOSE)
#undef OPEN
#undef ROW
#undef TERM
#undef END
#undef CLOSE
      if (active && x_bar.to) {
#pragma unroll
        for (int q = 0; q < N_X; q++) store(x_bar, (u64(e0 + j) * N_X + q) * MUL + u, bar[q]);
      }
      if (!y_bar.to) continue;
      T yb[PIECES * N_REDUCED], v;
#pragma unroll
      for (int q = 0; q < PIECES * N_REDUCED; q++) yb[q] = zero<T>();
#define OPEN(p, x) v = ws[p] * xs[x];
#define TERM(c, b, q) add_product(yb[b], real(c) * g[q], v);
      COUPLINGS(OPEN, TERM)
#undef OPEN
#undef TERM
#pragma unroll
      for (int k = 0; k < PIECES; k++) {
        T sum = reduce_entries<N_REDUCED>(yb + k * N_REDUCED);
        if (lane % (32 / N_REDUCED) == 0) sums[j][warp][k * N_REDUCED + lane / (32 / N_REDUCED)] = sum;
      }
    }
    if (!y_bar.to) continue;
    __syncthreads();
    for (u32 k = threadIdx.x; k < n * N_Y; k += blockDim.x) {
      u32 j = k / N_Y, b = k % N_Y;
      T sum = zero<T>();
      for (int s = 0; s < WARPS; s++) sum += sums[j][s][b];
      store(y_bar, (u64(blockIdx.y) * n_edges + tile.edge[j]) * DIM_Y + Y_at[b], sum);
    }
  }
  if (SHARED_WEIGHTS && active && shared_bar.to) {
#pragma unroll
    for (int p = 0; p < N_PATHS; p++) store(shared_bar, u64(i) * DIM_W + W_base[p] + u, shared[p]);
  }
}

#define ARGUMENTS Input x, Input y, Input w, const u32 *first, const u32 *edge, const u32 *sender
#define EDGES Edges{first, edge, sender}

// Blocks that a multiprocessor holds at least, where sums leave registers for it: 64 of them a thread forwards, 128 backwards.
#define BLOCKS_FORWARD (SINGLE && N_OUT + N_X + N_PATHS <= 56 ? 1024 / THREADS : 1)
#define BLOCKS_BACKWARD (SINGLE && N_OUT + N_Y + 2 * (N_X + N_PATHS) <= 88 ? 512 / THREADS : 1)

KERNEL __launch_bounds__(THREADS, BLOCKS_FORWARD) uvu_forward(ARGUMENTS, Output out) { forward<real>(x, y, w, EDGES, out); }

// The adjoint of the cotangent.
KERNEL __launch_bounds__(THREADS) uvu_forward_dual(ARGUMENTS, Output out) { forward<dual>(x, y, w, EDGES, out); }

KERNEL __launch_bounds__(THREADS, BLOCKS_BACKWARD)
uvu_backward(ARGUMENTS, Input out_bar, Scratch x_bar, Scratch y_bar, Output w_bar, Scratch shared_bar, u32 n_edges) {
  backward<real>(x, y, w, EDGES, out_bar, x_bar, y_bar, w_bar, shared_bar, n_edges);
}

KERNEL __launch_bounds__(THREADS)
uvu_backward_dual(ARGUMENTS, Input out_bar, Scratch x_bar, Scratch y_bar, Output w_bar, Scratch shared_bar, u32 n_edges) {
  backward<dual>(x, y, w, EDGES, out_bar, x_bar, y_bar, w_bar, shared_bar, n_edges);
}

// The adjoint of x: the rows of the edges that start at an atom, summed in their order.
KERNEL gather(const u32* first, const u32* position, const real* rows, Output x_bar) {
  u32 i = blockIdx.x;
  for (u32 k = threadIdx.x; k < N_X * MUL; k += blockDim.x) {
    real sum = 0;
    for (u32 j = first[i]; j < first[i + 1]; j++) sum += rows[u64(position[j]) * (N_X * MUL) + k];
    store(x_bar, AT(X, u64(i) * DIM_X, k / MUL, k % MUL), sum);
  }
}
