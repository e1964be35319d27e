// The fully connected product, `out_k[w,c] = Σ_paths Σ_uv W[u,v,w] Σ_ab C[a,b,c] x[u,a] y[v,b]`, alone (a row of each for each edge) or as a convolution
// (x gathered from the sender, out summed at the receiver).
//
// The code before this file defines DIM_X, DIM_Y, DIM_OUT, DIM_W, SHARED_WEIGHTS, MOST_M and MOST_D (numbers of `M`, components of a result, of any path),
// THREADS, N_PATHS, what is in the tables of paths, of results (the blocks that have paths) and of tiles, and the couplings: entry e of all
// `M[a,c]`, path after path, has the terms ENTRY_first[e] … ENTRY_first[e + 1], with TERM_value, TERM_y (the component b) and TERM_entry (of its path).
//
// For an edge, a path and a channel v of y, `M[a,c] = Σ_b C y[v,b]`, `t[u,c] = Σ_a x[u,a] M[a,c]`, `out[w,c] += Σ_u W[u,v,w] t[u,c]`;
// a block has UNITS channels u at a time.

#define UNITS 16
#define WARPS (THREADS / 32)

// Where the blocks of a path are, as in `AT`; where its weights and its entries start.
struct Block { u32 at, component, channel, mul, dim; };
struct Path { Block x, y, out; u32 w, first_entry; };
// Paths of one block of the result.
struct Result { u32 first, n; };
// Some channels u, and one v, of a path.
struct Tile { u32 path, v, u; };

__device__ constexpr Path PATHS[] = {PATH_TABLE};
__device__ constexpr Result RESULTS[] = {RESULT_TABLE};
__device__ constexpr Tile TILES[] = {TILE_TABLE};

// The edges in the order of their receivers: first, number in the caller's order; senders and receivers by that number.
struct Edges { const u32* first; const u32* edge; const u32* sender; const u32* receiver; };

DEVICE u64 at(const Block& b, u32 component, u32 channel) { return u64(b.at) + component * b.component + channel * b.channel; }
DEVICE u64 weight_at(const Path& p, u32 e, u32 u, u32 v, u32 w) {
  return (SHARED_WEIGHTS ? 0 : u64(e) * DIM_W) + p.w + (u64(u) * p.y.mul + v) * p.out.mul + w;
}

// M, by all threads.
template <class T> DEVICE void couple(const Path& p, const Input& y, u32 e, u32 v, T* m) {
  __syncthreads();
  for (u32 k = threadIdx.x; k < p.x.dim * p.out.dim; k += THREADS) {
    T sum = zero<T>();
    for (u32 s = ENTRY_first[p.first_entry + k]; s < ENTRY_first[p.first_entry + k + 1]; s++)
      sum += TERM_value[s] * load<T>(y, u64(e) * DIM_Y + at(p.y, TERM_y[s], v));
    m[k] = sum;
  }
  __syncthreads();
}

template <class T> DEVICE T inner(const Path& p, const Input& x, u32 sender, u32 u, u32 c, const T* m) {
  T sum = zero<T>();
  for (u32 a = 0; a < p.x.dim; a++) sum += load<T>(x, u64(sender) * DIM_X + at(p.x, a, u)) * m[a * p.out.dim + c];
  return sum;
}

// t of edge e, by all threads, added to what is there or not.
template <class T>
DEVICE void features(const Path& p, const Input& x, const Input& y, const Edges& edges, u32 e, u32 u0, u32 n, u32 v, bool add, T* m, T (*t)[MOST_D]) {
  couple(p, y, e, v, m);
  for (u32 k = threadIdx.x; k < n * p.out.dim; k += THREADS) {
    u32 u = k / p.out.dim, c = k % p.out.dim;
    T sum = inner(p, x, edges.sender[e], u0 + u, c, m);
    t[u][c] = add ? t[u][c] + sum : sum;
  }
  __syncthreads();
}

// A block has THREADS channels of one block of the result of one receiver.
template <class T> DEVICE void forward(const Input& x, const Input& y, const Input& w, const Edges& edges, const Output& out) {
  __shared__ T m[MOST_M], t[UNITS][MOST_D];
  const Result result = RESULTS[blockIdx.z];
  const Block block = PATHS[result.first].out;
  const u32 i = blockIdx.x, k = blockIdx.y * THREADS + threadIdx.x, begin = edges.first[i], end = edges.first[i + 1];
  if (blockIdx.y * THREADS >= block.mul) return;
  T sum[MOST_D];
#pragma unroll
  for (int c = 0; c < MOST_D; c++) sum[c] = zero<T>();
  for (u32 q = result.first; q < result.first + result.n; q++) {
    const Path p = PATHS[q];
    for (u32 v = 0; v < p.y.mul; v++) {
      for (u32 u0 = 0; u0 < p.x.mul; u0 += UNITS) {
        const u32 n = min(u32(UNITS), p.x.mul - u0);
        for (u32 k0 = begin; k0 < end; k0++) {
          const u32 e = edges.edge[k0];
          features(p, x, y, edges, e, u0, n, v, SHARED_WEIGHTS && k0 > begin, m, t);
          // Where weights are shared, they multiply the sum over the edges.
          if ((SHARED_WEIGHTS && k0 + 1 < end) || k >= block.mul) continue;
#pragma unroll 4
          for (u32 u = 0; u < n; u++) {
            T weight = load<T>(w, weight_at(p, e, u0 + u, v, k));
#pragma unroll
            for (int c = 0; c < MOST_D; c++) {
              if (c < block.dim) sum[c] += weight * t[u][c];
            }
          }
        }
      }
    }
  }
  if (k >= block.mul) return;
#pragma unroll
  for (int c = 0; c < MOST_D; c++) {
    if (c < block.dim) store(out, u64(i) * DIM_OUT + at(block, c, k), sum[c]);
  }
}

// The adjoints of x (a row for each edge in the order of receivers, to be summed by sender), of y and of the weights of an edge. A warp has the channel u.
template <class T>
DEVICE void backward(const Input& x, const Input& y, const Input& w, const Edges& edges, const Input& out_bar, const Scratch& x_bar, const Scratch& y_bar,
                     const Output& w_bar) {
  __shared__ T m[MOST_M], t_bar[UNITS][MOST_D];
  __shared__ real m_bar[MOST_M];
  const u32 e = edges.edge[blockIdx.x], i = edges.receiver[e], j = edges.sender[e], warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const u64 x_row = u64(blockIdx.x) * DIM_X, y_row = u64(e) * DIM_Y;
  if (x_bar.to) for (u32 k = threadIdx.x; k < DIM_X; k += THREADS) x_bar.to[x_row + k] = 0;
  if (y_bar.to) for (u32 k = threadIdx.x; k < DIM_Y; k += THREADS) y_bar.to[y_row + k] = 0;
  for (u32 q = 0; q < N_PATHS; q++) {
    const Path p = PATHS[q];
    const u32 n_m = p.x.dim * p.out.dim;
    for (u32 v = 0; v < p.y.mul; v++) {
      couple(p, y, e, v, m);
      for (u32 k = threadIdx.x; k < n_m; k += THREADS) m_bar[k] = 0;
      for (u32 u0 = 0; u0 < p.x.mul; u0 += UNITS) {
        const u32 n = min(u32(UNITS), p.x.mul - u0);
        __syncthreads();
        for (u32 u = warp; u < n; u += WARPS) {
          T bar[MOST_D], own[MOST_D];
#pragma unroll
          for (int c = 0; c < MOST_D; c++) bar[c] = own[c] = zero<T>();
          if (w_bar.to) {
#pragma unroll
            for (int c = 0; c < MOST_D; c++) if (c < p.out.dim) own[c] = inner(p, x, j, u0 + u, c, m);
          }
          for (u32 k = lane; k < p.out.mul; k += 32) {
            T weight = load<T>(w, weight_at(p, e, u0 + u, v, k)), product = zero<T>();
#pragma unroll
            for (int c = 0; c < MOST_D; c++) {
              if (c >= p.out.dim) continue;
              real o = load<real>(out_bar, u64(i) * DIM_OUT + at(p.out, c, k));
              bar[c] += o * weight;
              product += o * own[c];
            }
            if (w_bar.to) store(w_bar, weight_at(p, e, u0 + u, v, k), product);
          }
#pragma unroll
          for (int c = 0; c < MOST_D; c++) {
            if (c >= p.out.dim) continue;
            T sum = reduce(bar[c]);
            if (lane == 0) t_bar[u][c] = sum;
          }
        }
        __syncthreads();
        if (x_bar.to) {
          for (u32 k = threadIdx.x; k < n * p.x.dim; k += THREADS) {
            u32 u = k / p.x.dim, a = k % p.x.dim;
            T sum = zero<T>();
            for (u32 c = 0; c < p.out.dim; c++) sum += m[a * p.out.dim + c] * t_bar[u][c];
            x_bar.to[x_row + at(p.x, a, u0 + u)] += outcome(sum);
          }
        }
        if (y_bar.to) {
          for (u32 k = threadIdx.x; k < n_m; k += THREADS) {
            u32 a = k / p.out.dim, c = k % p.out.dim;
            T sum = zero<T>();
            for (u32 u = 0; u < n; u++) sum += load<T>(x, u64(j) * DIM_X + at(p.x, a, u0 + u)) * t_bar[u][c];
            m_bar[k] += outcome(sum);
          }
        }
      }
      __syncthreads();
      if (!y_bar.to) continue;
      const u32 begin = ENTRY_first[p.first_entry], end = ENTRY_first[p.first_entry + n_m];
      for (u32 b = threadIdx.x; b < p.y.dim; b += THREADS) {
        real sum = 0;
        for (u32 s = begin; s < end; s++) sum += TERM_y[s] == b ? TERM_value[s] * m_bar[TERM_entry[s]] : real(0);
        y_bar.to[y_row + at(p.y, b, v)] += sum;
      }
    }
  }
}

// The adjoint of shared weights over the receivers of a chunk, to be summed. A block has UNITS channels u, one v, THREADS channels w of a path.
template <class T>
DEVICE void weights(const Input& x, const Input& y, const Edges& edges, const Input& out_bar, u32 n_nodes, u32 chunk, const Scratch& w_bar) {
  __shared__ T m[MOST_M], t[UNITS][MOST_D];
  const Tile tile = TILES[blockIdx.y];
  const Path p = PATHS[tile.path];
  const u32 k = blockIdx.z * THREADS + threadIdx.x, n = min(u32(UNITS), p.x.mul - tile.u);
  if (blockIdx.z * THREADS >= p.out.mul) return;
  real sum[UNITS];
#pragma unroll
  for (int u = 0; u < UNITS; u++) sum[u] = 0;
  for (u32 i = blockIdx.x * chunk; i < min(n_nodes, (blockIdx.x + 1) * chunk); i++) {
    const u32 begin = edges.first[i], end = edges.first[i + 1];
    if (begin == end) continue;
    for (u32 k0 = begin; k0 < end; k0++) features(p, x, y, edges, edges.edge[k0], tile.u, n, tile.v, k0 > begin, m, t);
    if (k >= p.out.mul) continue;
    for (u32 c = 0; c < p.out.dim; c++) {
      real o = load<real>(out_bar, u64(i) * DIM_OUT + at(p.out, c, k));
#pragma unroll
      for (int u = 0; u < UNITS; u++) sum[u] += u < n ? o * outcome(t[u][c]) : real(0);
    }
  }
  if (k >= p.out.mul) return;
#pragma unroll
  for (int u = 0; u < UNITS; u++) {
    if (u < n) w_bar.to[u64(blockIdx.x) * DIM_W + weight_at(p, 0, tile.u + u, tile.v, k)] = sum[u];
  }
}

#define ARGUMENTS Input x, Input y, Input w, const u32 *first, const u32 *edge, const u32 *sender, const u32 *receiver
#define EDGES Edges{first, edge, sender, receiver}

KERNEL __launch_bounds__(THREADS) uvw_forward(ARGUMENTS, Output out) { forward<real>(x, y, w, EDGES, out); }
KERNEL __launch_bounds__(THREADS) uvw_forward_dual(ARGUMENTS, Output out) { forward<dual>(x, y, w, EDGES, out); }
KERNEL __launch_bounds__(THREADS) uvw_backward(ARGUMENTS, Input out_bar, Scratch x_bar, Scratch y_bar, Output w_bar) {
  backward<real>(x, y, w, EDGES, out_bar, x_bar, y_bar, w_bar);
}
KERNEL __launch_bounds__(THREADS) uvw_backward_dual(ARGUMENTS, Input out_bar, Scratch x_bar, Scratch y_bar, Output w_bar) {
  backward<dual>(x, y, w, EDGES, out_bar, x_bar, y_bar, w_bar);
}
#if SHARED_WEIGHTS
KERNEL __launch_bounds__(THREADS) uvw_weights(ARGUMENTS, Input out_bar, u32 n_nodes, u32 chunk, Scratch w_bar) {
  weights<real>(x, y, EDGES, out_bar, n_nodes, chunk, w_bar);
}
KERNEL __launch_bounds__(THREADS) uvw_weights_dual(ARGUMENTS, Input out_bar, u32 n_nodes, u32 chunk, Scratch w_bar) {
  weights<dual>(x, y, EDGES, out_bar, n_nodes, chunk, w_bar);
}
#endif
