// Linear maps between blocks of equal irrep, `out_b[v,m] = Σ_a s_ab Σ_u W_ab[u,v] x_a[u,m]`, weights for all nodes or by species.
// A block of threads has ROWS nodes of one species, COLUMNS channels and one component m of an output block: a product of matrices
// in tiles, with 8 × 8 sums a thread; 4 × 8 threads make a warp, 2 × 2 warps the block.

#define ROWS 64
#define COLUMNS 128
#define DEPTH 8
#define PER 8

// Four numbers that are loaded at once.
struct alignas(4 * sizeof(real)) Four { real x[4]; };
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
#pragma unroll
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
  static_assert(THREADS == COLUMNS, "a thread fetches a column");
  constexpr int N_A = ROWS * DEPTH / THREADS, N_B = COLUMNS * DEPTH / THREADS;
  stored next_a[N_A], next_b[N_B];
  real sum[PER][PER];
#pragma unroll
  for (int i = 0; i < PER; i++) {
#pragma unroll
    for (int j = 0; j < PER; j++) sum[i][j] = 0;
  }
  // Thread t fetches depth t % DEPTH of some nodes, and of the matrix either column t, or depth t % DEPTH of some columns where it is transposed.
  // Addresses are made once for a term: between the multiplications there is no time for it. What lies outside is loaded from a place inside, and
  // becomes zero when it is put down: a branch would wait for its load.
  u64 row_of[N_A];
  bool is_node[N_A];
#pragma unroll
  for (int i = 0; i < N_A; i++) {
    u32 node = node_of(nodes, blockIdx.x * ROWS + (t + i * THREADS) / DEPTH);
    is_node[i] = node != NONE;
    row_of[i] = is_node[i] ? u64(node) * dim_x : 0;
  }
  u32 which = 0, k0 = 0, set = 0, depth, channel, row;
  u64 step_w;
  bool along;
  real scale;
  const stored *from_x, *from_w;
  auto open = [&]() {
    const Term term = terms[target.first_term + which];
    k0 = 0, depth = term.mul, channel = term.channel, row = term.row, along = term.column == 1, scale = term.scale;
    from_x = x + term.at + m * term.component + t % DEPTH * term.channel;
    u64 first_v = column0 + (along ? t : t / DEPTH);
    from_w = w + term.weight + u64(z) * term.species + first_v * term.column + (along ? 0 : t % DEPTH * term.row);
    step_w = along ? term.row : u64(THREADS / DEPTH) * term.column;
  };
  auto has_row = [&](int i) { return is_node[i] && k0 + t % DEPTH < depth; };
  auto has_column = [&](int i) {
    u32 k = along ? i : t % DEPTH, v = along ? t : (t + i * THREADS) / DEPTH;
    return k0 + k < depth && column0 + v < target.mul;
  };
  auto fetch = [&]() {
#pragma unroll
    for (int i = 0; i < N_A; i++) next_a[i] = *(has_row(i) ? from_x + row_of[i] : x);
#pragma unroll
    for (int i = 0; i < N_B; i++) next_b[i] = *(has_column(i) ? from_w + i * step_w : w);
    from_x += DEPTH * channel, from_w += u64(DEPTH) * row;
  };
  auto keep = [&]() {
#pragma unroll
    for (int i = 0; i < N_A; i++) tiles.a[set][t % DEPTH][(t + i * THREADS) / DEPTH] = has_row(i) ? widen(next_a[i]) : real(0);
#pragma unroll
    for (int i = 0; i < N_B; i++) {
      u32 k = along ? i : t % DEPTH, v = along ? t : (t + i * THREADS) / DEPTH;
      tiles.b[set][k][v] = has_column(i) ? scale * widen(next_b[i]) : real(0);
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
#pragma unroll
  for (int i = 0; i < PER; i++) {
    u32 node = node_of(nodes, blockIdx.x * ROWS + own_row() + i);
    if (node == NONE) continue;
    const u64 row_out = u64(node) * dim_out + target.at + m * target.component;
#pragma unroll
    for (int j = 0; j < PER; j++) {
      u32 v = column0 + own_column(j);
      if (v >= target.mul) continue;
      real y = sum[i][j] + (biased ? widen(bias[target.bias + v]) : real(0));
      const u64 to = row_out + v * target.channel;
      store(out, to, accumulate ? y + widen(out.to[to]) : y);
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
  constexpr int N_A = ROWS * DEPTH / THREADS, N_B = COLUMNS * DEPTH / THREADS;
  stored next_a[N_A], next_b[N_B];
  real sum[PER][PER];
#pragma unroll
  for (int i = 0; i < PER; i++) {
#pragma unroll
    for (int j = 0; j < PER; j++) sum[i][j] = 0;
  }
  const u32 begin = chunk_first[blockIdx.x], n_k = (chunk_first[blockIdx.x + 1] - begin) * target.n_m;
  const u32 u = row0 + t % ROWS, v = column0 + t;
  const stored *from_x = x + term.at + u * term.channel, *from_g = g + target.at + v * target.channel;
  // Depth is the component of a node; what lies outside as above.
  bool has_a[N_A], has_b[N_B];
  auto fetch = [&](u32 k0) {
#pragma unroll
    for (int i = 0; i < N_A; i++) {
      u32 k = k0 + t / ROWS + i * (THREADS / ROWS), node = k < n_k ? node_of(nodes, begin + k / target.n_m) : NONE;
      has_a[i] = node != NONE && u < term.mul;
      next_a[i] = *(has_a[i] ? from_x + u64(node) * dim_x + k % target.n_m * term.component : x);
    }
#pragma unroll
    for (int i = 0; i < N_B; i++) {
      u32 k = k0 + i, node = k < n_k ? node_of(nodes, begin + k / target.n_m) : NONE;
      has_b[i] = node != NONE && v < target.mul;
      next_b[i] = *(has_b[i] ? from_g + u64(node) * dim_g + k % target.n_m * target.component : g);
    }
  };
  auto keep = [&](u32 set) {
#pragma unroll
    for (int i = 0; i < N_A; i++) tiles.a[set][t / ROWS + i * (THREADS / ROWS)][t % ROWS] = has_a[i] ? widen(next_a[i]) : real(0);
#pragma unroll
    for (int i = 0; i < N_B; i++) tiles.b[set][i][t] = has_b[i] ? widen(next_b[i]) : real(0);
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
#pragma unroll
  for (int i = 0; i < PER; i++) {
    u32 row = row0 + own_row() + i;
    if (row >= term.mul) continue;
    real* to = out + blockIdx.x * n_weights + pair.offset + u64(row) * target.mul + column0;
#pragma unroll
    for (int j = 0; j < PER; j++) {
      if (column0 + own_column(j) < target.mul) to[own_column(j)] = term.scale * sum[i][j];
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
