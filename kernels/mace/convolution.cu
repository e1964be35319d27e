// The convolution of a layer of MACE, `out_p[c] = Σ_j w_p(r) Σ_ab C[a,b,c] x_j[a] Y_b`, and its adjoint. A thread has one channel of one
// receiver; what is in memory has channels side by side. Radial weights come from tables, so nothing of the size edges × weights exists.
//
// The code before this file defines TILE (edges that are prepared at once), FIRST (whether x is by species, and has no adjoint), UNROLL, BLOCKS (that share a multiprocessor, at least), N_X, N_OUT (components), N_PATHS, N_T, N_TERMS, MUL, THREADS, the tables
// T_coefficient, T_index and the programs PATHS, ADJOINT and COUPLINGS, all as in `kernels/ops/uvu.cu`.

// Some edges of a receiver: `Σ_b C[a,b,c] Y_b`, the same for all channels; the polynomials, the place among them and the row of x. Those beyond
// the cutoff are left out: `slot` says where an edge is, or NONE.
struct Tile {
  alignas(16) real t[TILE][(N_T + 3) / 4 * 4];
  const Two* row[TILE];
  real at[TILE], inverse_step[TILE];
  u32 source[TILE], edge[TILE], slot[TILE], n;
};

// With up to TILE edges from e0 on.
DEVICE void fill(Tile& tile, const Graph& g, u32 receiver, u32 e0, u32 n, const Table* tables, const real* y) {
  static_assert(TILE <= 32, "a warp looks at all edges of a tile");
  __syncthreads();
  if (threadIdx.x < 32) {
    u32 e = e0 + threadIdx.x, sender = 0, j = 0;
    Table table;
    Place p = {NONE, 0};
    if (threadIdx.x < n) {
      j = g.neighbour[e], sender = g.species[j];
      table = table_of(tables, sender, receiver);
      p = place(table, norm(g.r[e]));
    }
    u32 within = __ballot_sync(FULL, p.interval != NONE), at = __popc(within & ((1u << threadIdx.x) - 1));
    if (threadIdx.x < n) tile.slot[threadIdx.x] = p.interval == NONE ? NONE : at;
    if (p.interval != NONE) {
      tile.row[at] = table.rows + u64(p.interval) * (N_PATHS * PAIRS * MUL);
      tile.at[at] = p.t;
      tile.inverse_step[at] = real(table.inverse_step);
      tile.source[at] = FIRST ? sender : j;
      tile.edge[at] = e;
    }
    if (threadIdx.x == 0) tile.n = __popc(within);
  }
  __syncthreads();
  for (u32 k = threadIdx.x; k < tile.n * N_T; k += THREADS) {
    u32 j = k / N_T, q = k % N_T;
    real sum = 0;
#pragma unroll
    for (int s = 0; s < N_TERMS; s++) sum += T_coefficient[q][s] * y[u64(tile.edge[j]) * N_Y + T_index[q][s]];
    tile.t[j][q] = sum;
  }
  __syncthreads();
}

// A polynomial of path p at t, with its derivative.
DEVICE real value_and_slope(const Two* row, int p, real t, real& slope) {
#if PACKED
  const Two c = __ldg(row + p * MUL);
  // Last bytes: of c.x, and of c.y three times.
  const real last = __uint_as_float(__byte_perm(__float_as_uint(c.x), __float_as_uint(c.y), 0x0444)), s = c.y + t * last;
  slope = s + t * last;
  return c.x + t * s;
#else
  Two c[PAIRS];
#pragma unroll
  for (int k = 0; k < PAIRS; k++) c[k] = __ldg(row + (PAIRS * p + k) * MUL);
  real w = 0;
  slope = 0;
#pragma unroll
  for (int k = PAIRS - 1; k >= 0; k--) {
    slope = slope * t + w;
    w = w * t + c[k].y;
    slope = slope * t + w;
    w = w * t + c[k].x;
  }
  return w;
#endif
}

// Of the centres from `begin` on, the rows of which are those of `out`.
KERNEL __launch_bounds__(THREADS)
convolve(Graph g, u32 begin, const Table* tables, const real* y, const stored* x, stored* out) {
  __shared__ Tile tile;
  const u32 i = begin + blockIdx.x, u = blockIdx.y * THREADS + threadIdx.x, own = min(u, u32(MUL) - 1), receiver = g.species[i], end = g.first[i + 1];
  real sum[N_OUT];
#pragma unroll
  for (int q = 0; q < N_OUT; q++) sum[q] = 0;
  for (u32 e0 = g.first[i]; e0 < end; e0 += TILE) {
    u32 n = min(u32(TILE), end - e0);
    fill(tile, g, receiver, e0, n, tables, y);
#pragma unroll 2
    for (u32 j = 0; j < tile.n; j++) {
      const Two* table = tile.row[j] + own;
      const real* t = tile.t[j];
      const stored* from = x + u64(tile.source[j]) * (N_X * MUL) + own;
      real xs[N_X], row;
#pragma unroll
      for (int q = 0; q < N_X; q++) xs[q] = widen(from[q * MUL]);
#define OPEN(p) { real slope, weight = value_and_slope(table, p, tile.at[j], slope);
#define ROW(x) row = weight * xs[x];
#define TERM(k, q) sum[q] += row * t[k];
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
  for (int q = 0; q < N_OUT; q++) out[(u64(blockIdx.x) * N_OUT + q) * MUL + u] = narrow(sum[q]);
}

// Of the edges `begin` to `end` of the centres from `centre` on, whose rows are those of `out_bar`: the adjoint of Y, and in the place of that of Y_00, a constant, the derivative by the distance, (edges, N_Y),
// assigned or added; the adjoint of x, (edges of the range, N_X, MUL), to be summed by sender.
KERNEL __launch_bounds__(THREADS, BLOCKS)
convolve_back(Graph g, u32 centre, const Table* tables, const real* y, const stored* x, const stored* out_bar, real* y_bar, stored* x_bar, u32 begin, u32 end,
              u32 add) {
  constexpr int WARPS = THREADS / 32, CHUNKS = (MUL + THREADS - 1) / THREADS, PIECES = (N_Y + 31) / 32;
  constexpr int N_REDUCED = N_Y <= 1 ? 1 : N_Y <= 2 ? 2 : N_Y <= 4 ? 4 : N_Y <= 8 ? 8 : N_Y <= 16 ? 16 : 32;
  __shared__ Tile tile;
  __shared__ real sums[TILE][WARPS][PIECES * N_REDUCED];
  const u32 i = centre + blockIdx.x, receiver = g.species[i], warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const u32 first = max(g.first[i], begin), last = min(g.first[i + 1], end);
  if (first >= last) return;
  real m_bar[N_OUT];
  auto read = [&](u32 u) {
#pragma unroll
    for (int q = 0; q < N_OUT; q++) m_bar[q] = u < MUL ? widen(out_bar[(u64(blockIdx.x) * N_OUT + q) * MUL + u]) : real(0);
  };
  if (CHUNKS == 1) read(threadIdx.x);
  for (u32 e0 = first; e0 < last; e0 += TILE) {
    u32 n = min(u32(TILE), last - e0);
    fill(tile, g, receiver, e0, n, tables, y);
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
      // Threads without a channel have the last one with an adjoint of zero.
      const u32 u = chunk * THREADS + threadIdx.x, own = min(u, u32(MUL) - 1);
      if (CHUNKS > 1) read(u);
#pragma unroll UNROLL
      for (u32 j = 0; j < tile.n; j++) {
        real bars[PIECES * N_REDUCED], xs[N_X], xs_bar[N_X], ws[N_PATHS], slopes[N_PATHS], s, v, radial = 0;
        const Two* table = tile.row[j] + own;
        const real* t = tile.t[j];
      const stored* from = x + u64(tile.source[j]) * (N_X * MUL) + own;
#pragma unroll
        for (int q = 0; q < N_X; q++) xs[q] = widen(from[q * MUL]);
#pragma unroll
        for (int p = 0; p < N_PATHS; p++) ws[p] = value_and_slope(table, p, tile.at[j], slopes[p]);
#pragma unroll
        for (int q = 0; q < PIECES * N_REDUCED; q++) bars[q] = 0;
#pragma unroll
        for (int q = 0; q < N_X; q++) xs_bar[q] = 0;
#define OPEN(p) { real weight = ws[p], weight_bar = 0;
#define ROW(x) s = 0;
#define TERM(k, q) s += m_bar[q] * t[k];
#define END(x) xs_bar[x] += weight * s; weight_bar += xs[x] * s;
#define CLOSE(p) radial += weight_bar * slopes[p]; }
        ADJOINT(OPEN, ROW, TERM, END, CLOSE)
#undef OPEN
#undef ROW
#undef TERM
#undef END
#undef CLOSE
#define OPEN(p, x) v = ws[p] * xs[x];
#define TERM(c, b, q) if (b > 0) bars[b] += real(c) * (v * m_bar[q]);
        COUPLINGS(OPEN, TERM)
#undef OPEN
#undef TERM
        bars[0] = radial;
        if (!FIRST && u < MUL) {
          stored* to = x_bar + u64(tile.edge[j] - begin) * (N_X * MUL) + u;
#pragma unroll
          for (int q = 0; q < N_X; q++) to[q * MUL] = narrow(xs_bar[q]);
        }
#pragma unroll
        for (int k = 0; k < PIECES; k++) {
          real sum = reduce_entries<N_REDUCED>(bars + k * N_REDUCED);
          if (lane % (32 / N_REDUCED) == 0) {
            real& to = sums[j][warp][k * N_REDUCED + lane / (32 / N_REDUCED)];
            to = chunk ? to + sum : sum;
          }
        }
      }
    }
    __syncthreads();
    for (u32 k = threadIdx.x; k < n * N_Y; k += THREADS) {
      u32 j = tile.slot[k / N_Y], b = k % N_Y;
      real sum = 0;
      if (j != NONE) {
        for (int w = 0; w < WARPS; w++) sum += sums[j][w][b];
        if (b == 0) sum *= tile.inverse_step[j];
      }
      real& to = y_bar[u64(e0) * N_Y + k];
      to = add ? to + sum : sum;
    }
    // What is summed by sender is there for all edges.
    for (u32 j = 0; !FIRST && tile.n < n && j < n; j++) {
      if (tile.slot[j] != NONE) continue;
      for (u32 k = threadIdx.x; k < N_X * MUL; k += THREADS) x_bar[u64(e0 + j - begin) * (N_X * MUL) + k] = 0;
    }
  }
}

// The first and the last of the edges that end in an atom, so that it can be told whether any are in a range.
KERNEL __launch_bounds__(THREADS) spans(u32 n, const u32* incoming_first, const u32* incoming, uint2* span) {
  u32 i = blockIdx.x * THREADS + threadIdx.x, least = NONE, most = 0;
  if (i >= n) return;
  for (u32 s = incoming_first[i]; s < incoming_first[i + 1]; s++) least = min(least, incoming[s]), most = max(most, incoming[s]);
  span[i] = {least, most};
}

// Atoms that the edges `begin` to `end` may end in: their number, 0 before, and they, in any order.
KERNEL __launch_bounds__(THREADS) touched(u32 n, const uint2* span, u32 begin, u32 end, u32* atoms) {
  u32 i = blockIdx.x * THREADS + threadIdx.x, lane = threadIdx.x % 32, at = 0;
  const bool is = i < n && span[i].x < end && span[i].y >= begin && span[i].x <= span[i].y;
  const u32 all = __ballot_sync(FULL, is);
  if (lane == 0 && all) at = atomicAdd(atoms, __popc(all));
  at = __shfl_sync(FULL, at, 0);
  if (is) atoms[1 + at + __popc(all & ((1u << lane) - 1))] = i;
}

// Adds to the adjoint of x of each atom, or of these, what the edges `begin` to `end` that end in it have, in their order; or assigns.
KERNEL __launch_bounds__(THREADS)
collect(u32 n, const u32* atoms, const u32* incoming_first, const u32* incoming, const stored* rows, u32 begin, u32 end, u32 add, stored* x_bar) {
  if (atoms) n = atoms[0];
  for (u32 a = blockIdx.x; a < n; a += gridDim.x) {
    const u32 i = atoms ? atoms[1 + a] : a, first = incoming_first[i], last = incoming_first[i + 1];
    for (u32 k = threadIdx.x; k < N_X * MUL; k += THREADS) {
      stored& to = x_bar[u64(i) * (N_X * MUL) + k];
      real sum = add ? widen(to) : real(0);
      for (u32 s = first; s < last; s++) {
        u32 e = incoming[s];
        if (e >= begin && e < end) sum += widen(rows[u64(e - begin) * (N_X * MUL) + k]);
      }
      to = narrow(sum);
    }
  }
}
