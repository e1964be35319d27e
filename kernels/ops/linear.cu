// Linear maps between blocks of equal irrep, `out_b[v,m] = s_b Σ_a Σ_u W_ab[u,v] x_a[u,m]`, weights for all nodes or by species.
// A block of threads has ROWS nodes of one species, COLUMNS channels and one component m of an output block: `tiles.cuh` stands before this file.

// One output block: where its rows start and how far channels and components lie apart, its input blocks, its bias (NONE: none).
struct Target { u32 at, mul, n_m, channel, component, first_term, n_terms, bias; };
// An input block and its weights W[u, v] at `weight + z · species + u · row + v · column`; one of row and column is 1. All terms of a target have one scale.
struct Term { u32 at, mul, channel, component, weight, species, row, column; real scale; u32 pad; };

// Nodes in blocks of ROWS of one species, filled up with NONE; without an order all nodes, which then have one species.
struct Nodes { const u32* order; const u32* species; u32 n; };

DEVICE u32 node_of(const Nodes& nodes, u32 k) {
  if (nodes.order) return nodes.order[k];
  return k < nodes.n ? k : NONE;
}
// Of the first node in a block; a block whose first node is NONE has no others.
DEVICE u32 species_of(const Nodes& nodes, u32 node) { return nodes.order ? nodes.species[node] : 0; }

// `targets[blockIdx.z]` gives the block and, of its components, the one to compute. TURNED: matrices are used transposed, `row` is 1, else `column` is.
template <bool TURNED>
DEVICE void map(const Target* targets, const u32* component, const Term* terms, const Nodes& nodes, const stored* x, u32 dim_x, const stored* w,
                const stored* bias, const Output& out, u32 dim_out, u32 accumulate) {
  typedef Panel<ROWS, true> A;
  typedef Panel<COLUMNS, TURNED> B;
  __shared__ A a;
  __shared__ B b;
  const u32 column0 = blockIdx.y * COLUMNS, mul = targets[blockIdx.z].mul, first_term = targets[blockIdx.z].first_term;
  if (column0 >= mul) return;
  const u32 first_node = node_of(nodes, blockIdx.x * ROWS);
  if (first_node == NONE) return;
  const u32 z = species_of(nodes, first_node);
  // What is read for a node that is not there goes to a row that is not written. Nodes are looked up while other tables are on their way.
  u32 node[A::PIECES];
#pragma unroll
  for (int h = 0; h < A::PIECES; h++) {
    node[h] = node_of(nodes, blockIdx.x * ROWS + A::row(h));
    if (node[h] == NONE) node[h] = first_node;
  }
  const stored* from_x[A::PIECES];
  u32 which = first_term, channel, across, at_w;
  // Depths of the term that are still to be fetched.
  int left = 0;
  bool quads_a, quads_b;
  const u32 end = first_term + targets[blockIdx.z].n_terms;
  auto open = [&]() {
    const Term term = terms[which];
    const u32 at_x = term.at + component[blockIdx.z] * term.component;
    left = term.mul, channel = term.channel, across = TURNED ? term.column : term.row;
#pragma unroll
    for (int h = 0; h < A::PIECES; h++) from_x[h] = x + u64(node[h]) * dim_x + at_x + A::depth() * channel;
    quads_a = channel == 1 && aligned<WIDTH>(x, at_x | dim_x);
    at_w = term.weight + z * term.species;
    quads_b = aligned<WIDTH>(w, at_w | across);
    at_w += TURNED ? (column0 + B::row(0)) * across + B::depth() : B::depth() * across + column0 + B::row(0);
  };
  if (which < end) open();
  Pieces<A> pieces_a;
  Pieces<B> pieces_b;
  auto fetch = [&](u32 stage) {
    if (left <= 0) {
      if (++which >= end) return false;
      open();
    }
#pragma unroll
    for (int h = 0; h < A::PIECES; h++) {
      pieces_a.begin(a, stage, h, from_x[h], channel, present(A::depth(), left), quads_a, x);
      from_x[h] += DEPTH * channel;
    }
#pragma unroll
    for (int h = 0; h < B::PIECES; h++) {
      const stored* from = w + (at_w + h * B::STEP * (TURNED ? across : 1));
      const u32 v = column0 + B::row(h);
      const int n = TURNED ? (v < mul ? present(B::depth(), left) : 0) : (int(B::depth()) < left ? present(v, mul) : 0);
      pieces_b.begin(b, stage, h, from, 1, n, quads_b, w);
    }
    at_w += TURNED ? DEPTH : DEPTH * across;
    left -= DEPTH;
    return true;
  };
  auto keep = [&](u32 stage) { pieces_a.end(a, stage), pieces_b.end(b, stage); };
  real sum[OWN_ROWS][OWN_COLUMNS];
  product(a, b, fetch, keep, sum);
  // Not before: registers are scarce.
  const Target target = targets[blockIdx.z];
  const real scale = target.n_terms > 0 ? terms[target.first_term].scale : real(0);
  const bool biased = bias && target.bias != NONE;
  const u32 first = target.at + component[blockIdx.z] * target.component;
  const bool together = target.channel == 1 && aligned<TOGETHER>(out.to, first | dim_out | target.mul);
#pragma unroll
  for (int i = 0; i < OWN_ROWS; i++) {
    const u32 own = node_of(nodes, blockIdx.x * ROWS + own_row(i));
    if (own == NONE) continue;
    const u64 row_out = u64(own) * dim_out + first;
#pragma unroll
    for (int j = 0; j < OWN_COLUMNS; j += TOGETHER) {
      const u32 v = column0 + own_column(j);
      const int n = present(v, target.mul, TOGETHER);
      if (n == 0) continue;
      Some<TOGETHER> y;
#pragma unroll
      for (int q = 0; q < TOGETHER; q++) y.x[q] = scale * sum[i][j + q] + (biased && q < n ? widen(bias[target.bias + v + q]) : real(0));
      if (together) {
        Stored<TOGETHER>& to = *(Stored<TOGETHER>*)(out.to + row_out + v);
        Stored<TOGETHER> result;
        if (accumulate) result = to;
        bool finite = true;
#pragma unroll
        for (int q = 0; q < TOGETHER; q++) {
          result.x[q] = narrow(accumulate ? y.x[q] + widen(result.x[q]) : y.x[q]);
          finite &= is_finite(result.x[q]);
        }
        to = result;
        mark(out, finite);
      } else {
#pragma unroll
        for (int q = 0; q < TOGETHER; q++) {
          const u64 to = row_out + (v + q) * target.channel;
          if (q < n) store(out, to, accumulate ? y.x[q] + widen(out.to[to]) : y.x[q]);
        }
      }
    }
  }
}

#define ARGUMENTS                                                                                                                                 \
  const Target *targets, const u32 *component, const Term *terms, Nodes nodes, const stored *x, u32 dim_x, const stored *w, const stored *bias, \
      Output out, u32 dim_out, u32 accumulate
KERNEL __launch_bounds__(THREADS, SINGLE ? 3 : 2) linear(ARGUMENTS) {
  map<false>(targets, component, terms, nodes, x, dim_x, w, bias, out, dim_out, accumulate);
}
KERNEL __launch_bounds__(THREADS, !SINGLE || STORAGE ? 2 : 3) linear_turned(ARGUMENTS) {
  map<true>(targets, component, terms, nodes, x, dim_x, w, bias, out, dim_out, accumulate);
}
#undef ARGUMENTS

// The adjoint of the weights of one pair of blocks over the nodes of some chunks, all of one species: `Σ_n Σ_m x[n,u,m] ḡ[n,v,m]`, to be summed by species.
// `pairs` has the term and the target of blockIdx.z / (tiles of u), `offset` where its (mul, mul) numbers start in a row of `out`. Pairs with few
// components take several chunks together, from every `chunks`th of a species on: all blocks have about as much to do.
struct Pair { u32 term, target, first_tile, offset, chunks; };

// WHOLE: channels lie side by side, in multiples of ROWS and COLUMNS, all distances and addresses are multiples of 16 bytes.
template <bool WHOLE>
DEVICE void weights(const Target* targets, const Term* terms, const Pair* pairs, u32 n_pairs, const Nodes& nodes, const u32* chunk_first,
                    const u32* species_chunk, const stored* x, u32 dim_x, const stored* g, u32 dim_g, u64 n_weights, real* out) {
  typedef Panel<ROWS, false> A;
  typedef Panel<COLUMNS, false> B;
  __shared__ A a;
  __shared__ B b;
  u32 which = 0;
  while (which + 1 < n_pairs && pairs[which + 1].first_tile <= blockIdx.z) which++;
  const Pair pair = pairs[which];
  const u32 begin = chunk_first[blockIdx.x], z = species_of(nodes, node_of(nodes, begin));
  if ((blockIdx.x - species_chunk[z]) % pair.chunks) return;
  const u32 end = chunk_first[min(blockIdx.x + pair.chunks, species_chunk[z + 1])];
  const Term term = terms[pair.term];
  const Target target = targets[pair.target];
  const u32 row0 = (blockIdx.z - pair.first_tile) * ROWS, column0 = blockIdx.y * COLUMNS;
  if (column0 >= target.mul) return;
  // Depth is the component of a node. What a thread brings is of one: this, and the next one's node, as it may have to be looked up.
  const u32 n_m = target.n_m;
  u32 k0 = begin * n_m, at = begin + A::depth() / n_m, m = A::depth() % n_m, node = at < end ? node_of(nodes, at) : NONE;
  const bool quads_a = term.channel == 1 && aligned<WIDTH>(x, term.at | term.component | dim_x);
  const bool quads_b = target.channel == 1 && aligned<WIDTH>(g, target.at | target.component | dim_g);
  Pieces<A> pieces_a;
  Pieces<B> pieces_b;
  auto fetch = [&](u32 stage) {
    if (k0 >= end * n_m) return false;
    const stored* row_x = x + (node == NONE ? 0 : u64(node) * dim_x) + term.at + m * term.component;
    const stored* row_g = g + (node == NONE ? 0 : u64(node) * dim_g) + target.at + m * target.component;
#pragma unroll
    for (int h = 0; h < A::PIECES; h++) {
      const u32 u = row0 + A::row(h);
      const int n = node == NONE ? 0 : WHOLE ? WIDTH : present(u, term.mul);
      pieces_a.begin(a, stage, h, row_x + (WHOLE ? u : u64(u) * term.channel), WHOLE ? 1 : term.channel, n, WHOLE || quads_a, x);
    }
#pragma unroll
    for (int h = 0; h < B::PIECES; h++) {
      const u32 v = column0 + B::row(h);
      const int n = node == NONE ? 0 : WHOLE ? WIDTH : present(v, target.mul);
      pieces_b.begin(b, stage, h, row_g + (WHOLE ? v : u64(v) * target.channel), WHOLE ? 1 : target.channel, n, WHOLE || quads_b, g);
    }
    k0 += DEPTH, at += DEPTH / n_m, m += DEPTH % n_m;
    if (m >= n_m) m -= n_m, at++;
    node = at < end ? node_of(nodes, at) : NONE;
    return true;
  };
  auto keep = [&](u32 stage) { pieces_a.end(a, stage), pieces_b.end(b, stage); };
  real sum[OWN_ROWS][OWN_COLUMNS];
  product(a, b, fetch, keep, sum);
  const bool together = (u32(n_weights) | pair.offset | target.mul) % TOGETHER == 0;
#pragma unroll
  for (int i = 0; i < OWN_ROWS; i++) {
    const u32 row = row0 + own_row(i);
    if (row >= term.mul) continue;
#pragma unroll
    for (int j = 0; j < OWN_COLUMNS; j += TOGETHER) {
      const u32 v = column0 + own_column(j);
      const int n = present(v, target.mul, TOGETHER);
      real* to = out + blockIdx.x * n_weights + pair.offset + u64(row) * target.mul + v;
      Some<TOGETHER> y;
#pragma unroll
      for (int q = 0; q < TOGETHER; q++) y.x[q] = term.scale * sum[i][j + q];
      if (together && n > 0) {
        *(Some<TOGETHER>*)to = y;
      } else {
#pragma unroll
        for (int q = 0; q < TOGETHER; q++) {
          if (q < n) to[q] = y.x[q];
        }
      }
    }
  }
}

#define ARGUMENTS                                                                                                                            \
  const Target *targets, const Term *terms, const Pair *pairs, u32 n_pairs, Nodes nodes, const u32 *chunk_first, const u32 *species_chunk, \
      const stored *x, u32 dim_x, const stored *g, u32 dim_g, u64 n_weights, real *out
#define WAY(NAME, WHOLE)                                                                                                            \
  KERNEL __launch_bounds__(THREADS, SINGLE ? 3 : 2) NAME(ARGUMENTS) {                                                               \
    weights<WHOLE>(targets, terms, pairs, n_pairs, nodes, chunk_first, species_chunk, x, dim_x, g, dim_g, n_weights, out);          \
  }
WAY(linear_weights, false)
WAY(linear_weights_whole, true)
#undef WAY
#undef ARGUMENTS

// W̄ of one species in the caller's order: the sum over its chunks, added to what is there or not. `pairs` as above, one for each blockIdx.y. Each of
// 8 warps sums every eighth chunk.
KERNEL __launch_bounds__(256) linear_weights_sum(const Target* targets, const Term* terms, const Pair* pairs, const u32* species_chunk, u64 n_weights,
                                                  const real* partial, Output w_bar, u32 accumulate) {
  __shared__ real sums[8][32];
  const Pair pair = pairs[blockIdx.y];
  const Term term = terms[pair.term];
  const u32 mul = targets[pair.target].mul, lane = threadIdx.x % 32, warp = threadIdx.x / 32, k = blockIdx.x * 32 + lane, z = blockIdx.z;
  const bool there = k < term.mul * mul;
  const u32 end = species_chunk[z + 1], step = 8 * pair.chunks;
  real sum = 0;
#pragma unroll 4
  for (u32 chunk = species_chunk[z] + warp * pair.chunks; chunk < end; chunk += step) {
    if (there) sum += partial[chunk * n_weights + pair.offset + k];
  }
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || !there) return;
#pragma unroll
  for (int i = 1; i < 8; i++) sum += sums[i][lane];
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
