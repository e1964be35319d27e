// Linear maps between blocks of equal irrep, `out_b[v,m] = Σ_a s_ab Σ_u W_ab[u,v] x_a[u,m]`, weights for all nodes or by species.
// A block of threads has ROWS nodes of one species, COLUMNS channels and one component m of an output block: a product of matrices
// in tiles, with 8 × 8 sums a thread; 4 × 8 threads make a warp, 2 × 2 warps the block.

#define ROWS 64
#define COLUMNS 128
#define DEPTH 8
#define PER 8

// Four numbers that are loaded at once: as they are computed with, and as they are in memory.
struct alignas(4 * sizeof(real)) Four { real x[4]; };
struct alignas(4 * sizeof(stored)) Quad { stored x[4]; };

// Three numbers up to four in one register.
struct Counts {
  u32 bits;
  DEVICE void set(int k, int n) { bits |= u32(n) << 4 * k; }
  DEVICE int operator[](int k) const { return bits >> 4 * k & 7; }
};

// How many of four numbers from k on are there, of n.
DEVICE int present(u32 k, u32 n) { return max(0, min(4, int(n) - int(k))); }
// May numbers that lie side by side be loaded by fours: all distances and the address are whole fours?
DEVICE bool fours(const stored* base, u32 distances) { return distances % 4 == 0 && u64(base) % sizeof(Quad) == 0; }

// Four numbers `step` apart, of which n are there; the others are anything: they come from a place inside, as a branch would wait for its load.
DEVICE Quad fetch_four(const stored* from, u64 step, int n, bool at_once, const stored* inside) {
  Quad q;
  if (at_once) {
    q = *(const Quad*)(n > 0 ? from : inside);
  } else {
#pragma unroll
    for (int k = 0; k < 4; k++) q.x[k] = *(k < n ? from + k * step : inside);
  }
  return q;
}
DEVICE Four scaled(const Quad& q, int n, real scale) {
  Four y;
#pragma unroll
  for (int k = 0; k < 4; k++) y.x[k] = k < n ? scale * widen(q.x[k]) : real(0);
  return y;
}
// Rows and columns of the sums of a thread: columns in two fours, half of a warp's 64 columns apart, so that banks do not collide.
DEVICE u32 own_row() { return threadIdx.x / 64 * 32 + threadIdx.x % 32 / 8 * PER; }
DEVICE u32 own_column(int j) { return threadIdx.x / 32 % 2 * 64 + j / 4 * 32 + threadIdx.x % 8 * 4 + j % 4; }

// One output block: where its rows start and how far channels and components lie apart, its input blocks, its bias (NONE: none).
struct Target { u32 at, mul, n_m, channel, component, first_term, n_terms, bias; };
// An input block and its weights W[u, v] at `weight + z · species + u · row + v · column`.
struct Term { u32 at, mul, channel, component, weight, species, row, column; real scale; u32 pad; };

// Nodes in blocks of ROWS of one species, filled up with NONE; without an order all nodes, which then have one species.
struct Nodes { const u32* order; const u32* species; u32 n; };

DEVICE u32 node_of(const Nodes& nodes, u32 k) {
  if (nodes.order) return nodes.order[k];
  return k < nodes.n ? k : NONE;
}
// Of the first node in a block; a block whose first node is NONE has no others.
DEVICE u32 species_of(const Nodes& nodes, u32 node) { return nodes.order ? nodes.species[node] : 0; }

struct Tiles {
  alignas(32) real a[2][DEPTH][ROWS + 4];
  alignas(32) real b[2][DEPTH][COLUMNS];
};

DEVICE void multiply(const Tiles& tiles, int set, real (&sum)[PER][PER]) {
  // In double precision there are no registers to look far ahead.
#pragma unroll (SINGLE ? DEPTH : 2)
  for (int k = 0; k < DEPTH; k++) {
    Four x[2], y[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
      x[h] = *(const Four*)&tiles.a[set][k][own_row() + 4 * h];
      y[h] = *(const Four*)&tiles.b[set][k][own_column(4 * h)];
    }
#pragma unroll
    for (int i = 0; i < PER; i++) {
#pragma unroll
      for (int j = 0; j < PER; j++) sum[i][j] += x[i / 4].x[i % 4] * y[j / 4].x[j % 4];
    }
  }
}

// `targets[blockIdx.z]` gives the block and, of its components, the one to compute.
KERNEL __launch_bounds__(THREADS, SINGLE ? 3 : 2)
linear(const Target* targets, const u32* component, const Term* terms, Nodes nodes, const stored* x, u32 dim_x, const stored* w, const stored* bias,
       Output out, u32 dim_out, u32 accumulate) {
  __shared__ Tiles tiles;
  const Target target = targets[blockIdx.z];
  const u32 m = component[blockIdx.z], t = threadIdx.x, column0 = blockIdx.y * COLUMNS;
  if (column0 >= target.mul) return;
  const u32 first_node = node_of(nodes, blockIdx.x * ROWS);
  if (first_node == NONE) return;
  const u32 z = species_of(nodes, first_node);
  static_assert(THREADS == COLUMNS && THREADS == 2 * ROWS && THREADS == 16 * DEPTH, "what a thread fetches");
  real sum[PER][PER];
#pragma unroll
  for (int i = 0; i < PER; i++) {
#pragma unroll
    for (int j = 0; j < PER; j++) sum[i][j] = 0;
  }
  // Thread t fetches four numbers, at depths from t % 2 · 4 on, of node t / 2, and eight of the matrix: at depth t / 16 of columns from
  // t % 16 · 4 and 64 more on or, where the matrix is transposed, at depths from 0 and 4 on of column t. Addresses are made once for a term.
  const u32 node = node_of(nodes, blockIdx.x * ROWS + t / 2), depth_a = t % 2 * 4;
  u32 which = 0, k0 = 0, set = 0, depth, channel, row;
  bool along, quads_a, quads_b;
  real scale;
  const stored *from_x, *from_w;
  Quad next_a, next_b[2];
  Counts n;
  auto open = [&]() {
    const Term term = terms[target.first_term + which];
    const u32 at = term.at + m * term.component;
    k0 = 0, depth = term.mul, channel = term.channel, row = term.row, along = term.column == 1, scale = term.scale;
    from_x = x + (node == NONE ? 0 : u64(node) * dim_x) + at + depth_a * channel;
    quads_a = channel == 1 && fours(x, at | dim_x | depth);
    from_w = w + term.weight + u64(z) * term.species + (along ? u64(t / 16) * row + column0 + t % 16 * 4 : u64(column0 + t) * term.column);
    quads_b = along ? fours(w, term.weight | term.species | row | target.mul) : row == 1 && fours(w, term.weight | term.species | term.column | depth);
  };
  auto fetch = [&]() {
    n = Counts{0};
    n.set(0, node == NONE ? 0 : present(k0 + depth_a, depth));
    next_a = fetch_four(from_x, channel, n[0], quads_a, x);
#pragma unroll
    for (int h = 0; h < 2; h++) {
      n.set(1 + h, along ? (k0 + t / 16 < depth ? present(column0 + t % 16 * 4 + 64 * h, target.mul) : 0)
                          : (column0 + t < target.mul ? present(k0 + 4 * h, depth) : 0));
      next_b[h] = fetch_four(from_w + h * (along ? 64 : 4 * row), along ? 1 : row, n[1 + h], quads_b, w);
    }
    from_x += DEPTH * channel, from_w += u64(DEPTH) * row;
  };
  auto keep = [&]() {
    const Four a = scaled(next_a, n[0], 1);
#pragma unroll
    for (int q = 0; q < 4; q++) tiles.a[set][depth_a + q][t / 2] = a.x[q];
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const Four b = scaled(next_b[h], n[1 + h], scale);
      if (along) {
        *(Four*)&tiles.b[set][t / 16][t % 16 * 4 + 64 * h] = b;
      } else {
#pragma unroll
        for (int q = 0; q < 4; q++) tiles.b[set][4 * h + q][t] = b.x[q];
      }
    }
  };
  if (target.n_terms > 0) {
    open(), fetch(), keep();
    __syncthreads();
    while (true) {
      k0 += DEPTH;
      bool more = k0 < depth;
      // Where `keep` puts what is fetched depends on the term, so the next one opens before.
      if (!more && which + 1 < target.n_terms) which++, open(), more = true;
      if (more) fetch();
      multiply(tiles, set, sum);
      if (!more) break;
      set ^= 1;
      keep();
      __syncthreads();
    }
  }
  const bool biased = bias && target.bias != NONE;
  const u32 first = target.at + m * target.component;
  const bool quads = target.channel == 1 && fours(out.to, first | dim_out | target.mul);
#pragma unroll
  for (int i = 0; i < PER; i++) {
    u32 own = node_of(nodes, blockIdx.x * ROWS + own_row() + i);
    if (own == NONE) continue;
    const u64 row_out = u64(own) * dim_out + first;
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const u32 v = column0 + own_column(4 * h);
      const int n = present(v, target.mul);
      if (n == 0) continue;
      Four y;
#pragma unroll
      for (int q = 0; q < 4; q++) y.x[q] = sum[i][4 * h + q];
      if (biased) {
#pragma unroll
        for (int q = 0; q < 4; q++) y.x[q] += q < n ? widen(bias[target.bias + v + q]) : real(0);
      }
      if (accumulate) {
        const Four old = scaled(fetch_four(out.to + row_out + v * target.channel, target.channel, n, quads, out.to), n, 1);
#pragma unroll
        for (int q = 0; q < 4; q++) y.x[q] += old.x[q];
      }
      if (quads) {
        Quad to;
#pragma unroll
        for (int q = 0; q < 4; q++) to.x[q] = narrow(y.x[q]);
        *(Quad*)(out.to + row_out + v) = to;
        mark(out, is_finite(to.x[0]) & is_finite(to.x[1]) & is_finite(to.x[2]) & is_finite(to.x[3]));
      } else {
#pragma unroll
        for (int q = 0; q < 4; q++) {
          if (q < n) store(out, row_out + (v + q) * target.channel, y.x[q]);
        }
      }
    }
  }
}

// The adjoint of the weights of one pair of blocks over the nodes of a chunk, all of one species: `Σ_n Σ_m x[n,u,m] ḡ[n,v,m]`, to be summed by species.
// `pairs` has the term and the target of blockIdx.z / (tiles of u), `offset` where its (mul, mul) numbers start in a row of `out`.
struct Pair { u32 term, target, first_tile, offset; };

KERNEL __launch_bounds__(THREADS, SINGLE ? 3 : 2)
linear_weights(const Target* targets, const Term* terms, const Pair* pairs, u32 n_pairs, Nodes nodes, const u32* chunk_first, const stored* x, u32 dim_x,
               const stored* g, u32 dim_g, u64 n_weights, real* out) {
  __shared__ Tiles tiles;
  u32 which = 0;
  while (which + 1 < n_pairs && pairs[which + 1].first_tile <= blockIdx.z) which++;
  const Pair pair = pairs[which];
  const Term term = terms[pair.term];
  const Target target = targets[pair.target];
  const u32 t = threadIdx.x, row0 = (blockIdx.z - pair.first_tile) * ROWS, column0 = blockIdx.y * COLUMNS;
  if (column0 >= target.mul) return;
  real sum[PER][PER];
#pragma unroll
  for (int i = 0; i < PER; i++) {
#pragma unroll
    for (int j = 0; j < PER; j++) sum[i][j] = 0;
  }
  const u32 begin = chunk_first[blockIdx.x], n_k = (chunk_first[blockIdx.x + 1] - begin) * target.n_m;
  // Depth is the component of a node: thread t fetches, at depth t / 16, four channels u and eight channels v.
  const u32 u = row0 + t % 16 * 4, v = column0 + t % 16 * 4;
  const bool quads_a = term.channel == 1 && fours(x, term.at | term.component | dim_x | term.mul);
  const bool quads_b = target.channel == 1 && fours(g, target.at | target.component | dim_g | target.mul);
  Quad next_a, next_b[2];
  Counts n;
  auto fetch = [&](u32 k0) {
    const u32 k = k0 + t / 16, node = k < n_k ? node_of(nodes, begin + k / target.n_m) : NONE, m = k % target.n_m;
    n = Counts{0};
    n.set(0, node == NONE ? 0 : present(u, term.mul));
    next_a = fetch_four(x + u64(node) * dim_x + term.at + m * term.component + u * term.channel, term.channel, n[0], quads_a, x);
#pragma unroll
    for (int h = 0; h < 2; h++) {
      n.set(1 + h, node == NONE ? 0 : present(v + 64 * h, target.mul));
      next_b[h] = fetch_four(g + u64(node) * dim_g + target.at + m * target.component + (v + 64 * h) * target.channel, target.channel, n[1 + h], quads_b, g);
    }
  };
  auto keep = [&](u32 set) {
    *(Four*)&tiles.a[set][t / 16][t % 16 * 4] = scaled(next_a, n[0], 1);
#pragma unroll
    for (int h = 0; h < 2; h++) *(Four*)&tiles.b[set][t / 16][t % 16 * 4 + 64 * h] = scaled(next_b[h], n[1 + h], 1);
  };
  fetch(0);
  keep(0);
  __syncthreads();
  u32 set = 0;
  for (u32 k0 = DEPTH;; k0 += DEPTH) {
    if (k0 < n_k) fetch(k0);
    multiply(tiles, set, sum);
    if (k0 >= n_k) break;
    set ^= 1;
    keep(set);
    __syncthreads();
  }
  const bool quads = (u32(n_weights) | pair.offset | target.mul) % 4 == 0;
#pragma unroll
  for (int i = 0; i < PER; i++) {
    u32 row = row0 + own_row() + i;
    if (row >= term.mul) continue;
#pragma unroll
    for (int h = 0; h < 2; h++) {
      real* to = out + blockIdx.x * n_weights + pair.offset + u64(row) * target.mul + column0 + own_column(4 * h);
      const int n = present(column0 + own_column(4 * h), target.mul);
      Four y;
#pragma unroll
      for (int q = 0; q < 4; q++) y.x[q] = term.scale * sum[i][4 * h + q];
      if (quads && n > 0) {
        *(Four*)to = y;
      } else {
#pragma unroll
        for (int q = 0; q < 4; q++) {
          if (q < n) to[q] = y.x[q];
        }
      }
    }
  }
}

// W̄ of one species in the caller's order: the sum over its chunks, added to what is there or not. `pairs` as above, one for each blockIdx.y.
KERNEL linear_weights_sum(const Target* targets, const Term* terms, const Pair* pairs, const u32* species_chunk, u64 n_weights, const real* partial, Output w_bar,
                          u32 accumulate) {
  const Pair pair = pairs[blockIdx.y];
  const Term term = terms[pair.term];
  const u32 mul = targets[pair.target].mul, k = blockIdx.x * blockDim.x + threadIdx.x, z = blockIdx.z;
  if (k >= term.mul * mul) return;
  real sum = 0;
  for (u32 chunk = species_chunk[z]; chunk < species_chunk[z + 1]; chunk++) sum += partial[chunk * n_weights + pair.offset + k];
  const u64 to = u64(term.weight) + u64(z) * term.species + u64(k / mul) * term.row + u64(k % mul) * term.column;
  store(w_bar, to, accumulate ? sum + widen(w_bar.to[to]) : sum);
}

// The adjoint of a bias: the sum over all nodes.
KERNEL linear_bias(const Target* targets, u32 n, const stored* g, u32 dim_g, u32 chunk, real* out, u32 n_bias) {
  const Target target = targets[blockIdx.z];
  u32 v = blockIdx.x * blockDim.x + threadIdx.x;
  if (target.bias == NONE || v >= target.mul) return;
  real sum = 0;
  for (u32 i = blockIdx.y * chunk; i < min(n, (blockIdx.y + 1) * chunk); i++) sum += widen(g[u64(i) * dim_g + target.at + v * target.channel]);
  out[blockIdx.y * n_bias + target.bias + v] = sum;
}
