// LANES lanes share an atom where its edges are found or visited; each keeps KEPT edges from counting to writing.
//
// The neighbour list: atoms sorted into the cells of a grid (slots), edges found from cell to cell, their reverses,
// and the order in which centres are evaluated. Everything is in slot order; `atom` says which atom a slot holds.
// The result depends on the structure alone: counters are whole numbers, and atoms are sorted within their cells.

struct Cells {
  // The compact lattice (rows), its inverse, and the grid: cell = (fractional − origin) · scale.
  double vectors[9], inverse[9], origin[3], scale[3];
  int n[3], reach[3], periodic[3];
};

// Words of the status: the first atom that is not finite, the first that shares its place with another, whether one
// has moved too far for the list; NONE if there is none. The fourth is padding.
#define NOT_FINITE 0
#define COINCIDENT 1
#define MOVED 2
#define STATUS 4

// Threads of the single block that sorts a small system.
#define SMALL 1024


DEVICE double3 fractional(const Cells& c, double3 x) {
  const double* m = c.inverse;
  return {x.x * m[0] + x.y * m[3] + x.z * m[6], x.x * m[1] + x.y * m[4] + x.z * m[7], x.x * m[2] + x.y * m[5] + x.z * m[8]};
}

DEVICE double3 wraps(const Cells& c, double3 f) {
  return {c.periodic[0] ? floor(f.x) : 0, c.periodic[1] ? floor(f.y) : 0, c.periodic[2] ? floor(f.z) : 0};
}

DEVICE double3 combine(const double* m, double a, double b, double c) {
  return {a * m[0] + b * m[3] + c * m[6], a * m[1] + b * m[4] + c * m[7], a * m[2] + b * m[5] + c * m[8]};
}

DEVICE int cell_along(const Cells& c, int d, double f) {
  int k = int((f - c.origin[d]) * c.scale[d]);
  return min(max(k, 0), c.n[d] - 1);
}

// Per block, the smallest and largest fractional coordinates.
KERNEL __launch_bounds__(THREADS)
bounds(Cells c, u32 n, const double3* x, double* out) {
  __shared__ double all[THREADS];
  for (int k = 0; k < 6; k++) {
    double m = 1e300;
    for (u32 i = blockIdx.x * THREADS + threadIdx.x; i < n; i += gridDim.x * THREADS) {
      double3 f = fractional(c, x[i]);
      double v = k % 3 == 0 ? f.x : k % 3 == 1 ? f.y : f.z;
      m = fmin(m, k < 3 ? v : -v);
    }
    all[threadIdx.x] = m;
    __syncthreads();
    for (int s = THREADS / 2; s > 0; s /= 2) {
      if (threadIdx.x < s) all[threadIdx.x] = fmin(all[threadIdx.x], all[threadIdx.x + s]);
      __syncthreads();
    }
    if (threadIdx.x == 0) out[blockIdx.x * 6 + k] = all[0];
    __syncthreads();
  }
}

// The cell of atom i.
DEVICE u32 cell_of(const Cells& c, u32 i, double3 p, u32* status) {
  if (!(isfinite(p.x) && isfinite(p.y) && isfinite(p.z))) {
    atomicMin(status + NOT_FINITE, i);
    p = {0, 0, 0};
  }
  double3 f = fractional(c, p), w = wraps(c, f);
  int a = cell_along(c, 0, f.x - w.x), b = cell_along(c, 1, f.y - w.y), d = cell_along(c, 2, f.z - w.z);
  return (u32(d) * c.n[1] + b) * c.n[0] + a;
}

KERNEL __launch_bounds__(THREADS)
bin(Cells c, u32 n, const double3* x, u32* key, u32* count, u32* status) {
  u32 i = blockIdx.x * THREADS + threadIdx.x;
  if (i >= n) return;
  key[i] = cell_of(c, i, x[i], status);
  atomicAdd(count + key[i], 1);
}

// Puts atoms into their cells, in any order; `cursor` starts at zero.
KERNEL __launch_bounds__(THREADS)
place(u32 n, const u32* key, const u32* start, u32* cursor, u32* atom) {
  u32 i = blockIdx.x * THREADS + threadIdx.x;
  if (i < n) atom[start[key[i]] + atomicAdd(cursor + key[i], 1)] = i;
}

// Sorts the atoms of a cell.
DEVICE void settle_cell(u32 begin, u32 end, u32* atom) {
  for (u32 k = begin + 1; k < end; k++) {
    u32 a = atom[k], to = k;
    for (; to > begin && atom[to - 1] > a; to--) atom[to] = atom[to - 1];
    atom[to] = a;
  }
}

KERNEL __launch_bounds__(THREADS)
settle(u32 n_cells, const u32* start, u32* atom) {
  u32 c = blockIdx.x * THREADS + threadIdx.x;
  if (c < n_cells) settle_cell(start[c], start[c + 1], atom);
}

// What is known of the atoms, in slot order.
struct Slots {
  u32* atom;
  // Translation into the first cell, and the position there.
  double3 *home, *sorted;
  // Position at the time of the build.
  double3* built;
  u32* species;
};

DEVICE void move_in_slot(const Cells& c, u32 s, const double3* x, const u32* species, const Slots& slots) {
  double3 p = x[slots.atom[s]], w = wraps(c, fractional(c, p));
  double3 t = combine(c.vectors, w.x, w.y, w.z);
  slots.home[s] = {-t.x, -t.y, -t.z};
  slots.sorted[s] = {p.x - t.x, p.y - t.y, p.z - t.z};
  slots.built[s] = p;
  slots.species[s] = species[slots.atom[s]];
}

KERNEL __launch_bounds__(THREADS)
move_in(Cells c, u32 n, const double3* x, const u32* species, Slots slots) {
  u32 s = blockIdx.x * THREADS + threadIdx.x;
  if (s < n) move_in_slot(c, s, x, species, slots);
}

// New positions for an old list; raises a flag where one has moved too far.
KERNEL __launch_bounds__(THREADS)
refresh(u32 n, double limit, const double3* x, const u32* atom, const double3* home, const double3* built,
        double3* sorted, u32* status) {
  u32 s = blockIdx.x * THREADS + threadIdx.x;
  if (s >= n) return;
  double3 p = x[atom[s]], h = home[s], b = built[s];
  sorted[s] = {p.x + h.x, p.y + h.y, p.z + h.z};
  double dx = p.x - b.x, dy = p.y - b.y, dz = p.z - b.z;
  if (!(dx * dx + dy * dy + dz * dz <= limit)) status[MOVED] = 0;
}

DEVICE int floor_divide(int a, int b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

// Calls f(j, square, image) for every atom in reach that is not farther than the cutoff; LANES lanes share the rows
// of cells.
template <class F>
DEVICE void for_near(const Cells& c, u32 key, const u32* start, const double3* x, double3 p, double rcut2, F f) {
  int cx = key % c.n[0], cy = key / c.n[0] % c.n[1], cz = key / c.n[0] / c.n[1];
  int width = 2 * c.reach[1] + 1, rows = width * (2 * c.reach[2] + 1);
  for (int k = threadIdx.x % LANES; k < rows; k += LANES) {
    int y = cy - c.reach[1] + k % width, z = cz - c.reach[2] + k / width;
    if (!c.periodic[2] && (z < 0 || z >= c.n[2])) continue;
    if (!c.periodic[1] && (y < 0 || y >= c.n[1])) continue;
    int ky = floor_divide(y, c.n[1]), kz = floor_divide(z, c.n[2]);
    u32 row = (u32(z - kz * c.n[2]) * c.n[1] + (y - ky * c.n[1])) * c.n[0];
    int low = cx - c.reach[0], high = cx + c.reach[0];
    if (!c.periodic[0]) low = max(low, 0), high = min(high, c.n[0] - 1);
    for (int kx = floor_divide(low, c.n[0]); kx <= floor_divide(high, c.n[0]); kx++) {
      int from = max(low - kx * c.n[0], 0), to = min(high - kx * c.n[0], c.n[0] - 1);
      double3 t = combine(c.vectors, kx, ky, kz);
      u32 image = u32(kx + 128) | u32(ky + 128) << 8 | u32(kz + 128) << 16;
      for (u32 j = start[row + from]; j < start[row + to + 1]; j++) {
        double3 q = x[j];
        double dx = q.x - p.x + t.x, dy = q.y - p.y + t.y, dz = q.z - p.z + t.z;
        // Rounded alike from either end of an edge.
        double square = __dadd_rn(__dadd_rn(__dmul_rn(dx, dx), __dmul_rn(dy, dy)), __dmul_rn(dz, dz));
        if (square <= rcut2) f(j, square, image);
      }
    }
  }
}

// Edges that each lane finds, (n, LANES), and that each atom has. The first KEPT of each lane are kept, (n, LANES, KEPT).
KERNEL __launch_bounds__(THREADS)
count_edges(Cells c, u32 n, double rcut2, const u32* key, const u32* start, Slots slots, uint2* kept, u32* by_lane, u32* degree,
            u32* status) {
  u32 i = blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES, lane = threadIdx.x % LANES;
  u32 edges = 0, same = 0;
  if (i < n) {
    for_near(c, key[slots.atom[i]], start, slots.sorted, slots.sorted[i], rcut2, [&](u32 j, double square, u32 code) {
      if (square > 1e-20) {
        if (edges < KEPT) kept[(i * LANES + lane) * KEPT + edges] = {j, code};
        edges++;
      } else {
        same++;
      }
    });
    by_lane[i * LANES + lane] = edges;
  }
  edges = sum_lanes<LANES>(edges);
  same = sum_lanes<LANES>(same);
  if (i < n && lane == 0) {
    degree[i] = edges;
    if (same > 1) atomicMin(status + COINCIDENT, slots.atom[i]);
  }
}

DEVICE double3 vector(const Cells& c, double3 p, double3 q, u32 code) {
  double3 t = combine(c.vectors, int(code & 255) - 128, int(code >> 8 & 255) - 128, int(code >> 16) - 128);
  return {q.x - p.x + t.x, q.y - p.y + t.y, q.z - p.z + t.z};
}

// Edges beyond `room` are left out. Where edges are kept, their vectors are written as well; else `vectors` does that faster.
KERNEL __launch_bounds__(THREADS)
fill_edges(Cells c, u32 n, double rcut2, const u32* key, const u32* start, Slots slots, const uint2* kept, const u32* by_lane,
           const u32* first, u32 room, u32* neighbour, u32* image, real3* r) {
  u32 i = blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES, lane = threadIdx.x % LANES;
  u32 before = i < n ? by_lane[i * LANES + lane] : 0, own = before;
#pragma unroll
  for (int k = 1; k < LANES; k *= 2) {
    u32 other = __shfl_up_sync(FULL, before, k, LANES);
    if (lane >= k) before += other;
  }
  if (i >= n) return;
  u32 e = first[i] + before - own;
  double3 p = slots.sorted[i];
  auto put = [&](u32 j, u32 code) {
    if (e >= room) return;
    neighbour[e] = j;
    image[e] = code;
    if (KEPT > 0) {
      double3 v = vector(c, p, slots.sorted[j], code);
      r[e] = {real(v.x), real(v.y), real(v.z)};
    }
    e++;
  };
  if (own <= KEPT) {
    for (u32 k = 0; k < own; k++) {
      uint2 edge = kept[(i * LANES + lane) * KEPT + k];
      put(edge.x, edge.y);
    }
    return;
  }
  for_near(c, key[slots.atom[i]], start, slots.sorted, p, rcut2, [&](u32 j, double square, u32 code) {
    if (square > 1e-20) put(j, code);
  });
}

// The edge j → i that belongs to each edge i → j.
KERNEL __launch_bounds__(THREADS)
reverse_edges(u32 n, const u32* first, const u32* neighbour, const u32* image, u32* reverse) {
  u32 i = blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES;
  if (i >= n) return;
  for (u32 e = first[i] + threadIdx.x % LANES; e < first[i + 1]; e += LANES) {
    u32 j = neighbour[e], code = image[e];
    // 128 − (k − 128) for each byte.
    u32 opposite = (256 - (code & 255)) | (256 - (code >> 8 & 255)) << 8 | (256 - (code >> 16)) << 16;
    u32 k = first[j], end = first[j + 1];
    // Four at a time, so that their latencies overlap.
    for (; k < end; k += 4) {
      u32 found = 4;
#pragma unroll
      for (int s = 3; s >= 0; s--) {
        u32 at = min(k + s, end - 1);
        if (neighbour[at] == i && image[at] == opposite) found = at - k;
      }
      if (found < 4) {
        k += found;
        break;
      }
    }
    reverse[e] = k;
  }
}

// Edge vectors.
KERNEL __launch_bounds__(THREADS)
vectors(Cells c, u32 n, const u32* first, const u32* neighbour, const u32* image, const double3* x, real3* r) {
  u32 i = blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES;
  if (i >= n) return;
  for (u32 e = first[i] + threadIdx.x % LANES; e < first[i + 1]; e += LANES) {
    double3 v = vector(c, x[i], x[neighbour[e]], image[e]);
    r[e] = {real(v.x), real(v.y), real(v.z)};
  }
}

// Exclusive sums of n numbers, in three steps: within chunks, over the chunks, both added. Entry n is the total.
#define CHUNK (8 * THREADS)

template <int THREADS_> DEVICE u32 scan_block(u32 x, u32& total) {
  __shared__ u32 sums[THREADS_ / 32];
  u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, sum = x;
  for (int k = 1; k < 32; k *= 2) {
    u32 y = __shfl_up_sync(FULL, sum, k);
    if (lane >= k) sum += y;
  }
  __syncthreads();
  if (lane == 31) sums[warp] = sum;
  __syncthreads();
  u32 before = 0;
  total = 0;
  for (u32 w = 0; w < THREADS_ / 32; w++) {
    if (w < warp) before += sums[w];
    total += sums[w];
  }
  return before + sum - x;
}

KERNEL __launch_bounds__(THREADS)
scan_chunks(u32 n, const u32* in, u32* out, u32* sums) {
  u32 base = blockIdx.x * CHUNK + threadIdx.x * 8, x[8], sum = 0, total;
#pragma unroll
  for (int k = 0; k < 8; k++) {
    x[k] = base + k < n ? in[base + k] : 0;
    sum += x[k];
  }
  u32 before = scan_block<THREADS>(sum, total);
#pragma unroll
  for (int k = 0; k < 8; k++) {
    if (base + k < n) out[base + k] = before;
    before += x[k];
  }
  if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

// One block: the sums of the chunks become exclusive; `total` is counted in 64 bits.
KERNEL __launch_bounds__(THREADS)
scan_sums(u32 n_chunks, u32* sums, u64* total) {
  u64 carry = 0;
  for (u32 base = 0; base < n_chunks; base += THREADS) {
    u32 k = base + threadIdx.x, all;
    u32 before = scan_block<THREADS>(k < n_chunks ? sums[k] : 0, all);
    if (k < n_chunks) sums[k] = u32(carry) + before;
    carry += all;
    __syncthreads();
  }
  if (threadIdx.x == 0) *total = carry;
}

// A total of more than `room` leaves zeros: a graph without edges, to be built again.
KERNEL __launch_bounds__(THREADS)
scan_add(u32 n, u32* out, const u32* sums, const u64* total, u32 room) {
  u32 base = blockIdx.x * CHUNK;
  bool fits = *total <= room;
  for (int k = base + threadIdx.x; k < base + CHUNK && k < n; k += THREADS) out[k] = fits ? out[k] + sums[blockIdx.x] : 0;
  if (blockIdx.x == 0 && threadIdx.x == 0) out[n] = fits ? u32(*total) : 0;
}

// All three steps for few numbers, in one block.
KERNEL __launch_bounds__(SMALL)
scan_small(u32 n, const u32* in, u32* out, u64* total, u32 room) {
  u32 each = (n + SMALL - 1) / SMALL, from = min(n, threadIdx.x * each), to = min(n, from + each), sum = 0, all;
  for (u32 k = from; k < to; k++) sum += in[k];
  u32 before = scan_block<SMALL>(sum, all);
  for (u32 k = from; k < to; k++) {
    out[k] = all <= room ? before : 0;
    before += in[k];
  }
  if (threadIdx.x == 0) {
    out[n] = all <= room ? all : 0;
    *total = all;
  }
}

// Slots sorted by species, each species filled up to whole blocks of `block`: how many of each there are by chunk …
KERNEL __launch_bounds__(THREADS)
order_count(u32 n, u32 n_species, const u32* species, u32* count) {
  u32 i = blockIdx.x * THREADS + threadIdx.x;
  u32 z = i < n ? species[i] : NONE;
  for (u32 s = 0; s < n_species; s++) {
    u32 here = __syncthreads_count(z == s);
    if (threadIdx.x == 0) count[s * gridDim.x + blockIdx.x] = here;
  }
}

// … and, from the exclusive sums of these counts, their places.
KERNEL __launch_bounds__(THREADS)
order_place(u32 n, u32 n_species, u32 block, const u32* species, const u32* before, u32* order) {
  u32 i = blockIdx.x * THREADS + threadIdx.x, total;
  u32 z = i < n ? species[i] : NONE, padding = 0;
  for (u32 s = 0; s < n_species; s++) {
    u32 rank = scan_block<THREADS>(z == s, total);
    if (z == s) order[before[s * gridDim.x + blockIdx.x] + padding + rank] = i;
    u32 all = before[(s + 1) * gridDim.x] - before[s * gridDim.x];
    padding += (block - all % block) % block;
  }
}

// All of the sorting for a small system, in one block; the counters of the cells are in shared memory.
KERNEL __launch_bounds__(SMALL)
sort_small(Cells c, u32 n, u32 n_cells, const double3* x, const u32* species, u32* key, u32* start, Slots slots, u32* status,
           u32 n_species, u32 block, u32 n_slots, u32* order) {
  extern __shared__ u32 count[];
  u32 thread = threadIdx.x, all;
  if (thread < STATUS) status[thread] = NONE;
  for (u32 k = thread; k < n_cells; k += SMALL) count[k] = 0;
  for (u32 k = thread; k < n_slots && n_species > 1; k += SMALL) order[k] = NONE;
  __syncthreads();
  for (u32 i = thread; i < n; i += SMALL) {
    key[i] = cell_of(c, i, x[i], status);
    atomicAdd(count + key[i], 1);
  }
  __syncthreads();
  u32 each = (n_cells + SMALL - 1) / SMALL, from = min(n_cells, thread * each), to = min(n_cells, from + each), sum = 0;
  for (u32 k = from; k < to; k++) sum += count[k];
  u32 before = scan_block<SMALL>(sum, all);
  for (u32 k = from; k < to; k++) {
    u32 here = count[k];
    start[k] = count[k] = before;
    before += here;
  }
  if (thread == 0) start[n_cells] = n;
  __syncthreads();
  for (u32 i = thread; i < n; i += SMALL) slots.atom[atomicAdd(count + key[i], 1)] = i;
  __syncthreads();
  // Placing has moved every start to the next one.
  for (u32 k = thread; k < n_cells; k += SMALL) settle_cell(k ? count[k - 1] : 0, count[k], slots.atom);
  __syncthreads();
  for (u32 s = thread; s < n; s += SMALL) move_in_slot(c, s, x, species, slots);
  if (n_species == 1) return;
  __syncthreads();
  each = (n + SMALL - 1) / SMALL, from = min(n, thread * each), to = min(n, from + each);
  u32 base = 0;
  for (u32 z = 0; z < n_species; z++) {
    sum = 0;
    for (u32 s = from; s < to; s++) sum += slots.species[s] == z;
    u32 at = base + scan_block<SMALL>(sum, all);
    for (u32 s = from; s < to; s++) {
      if (slots.species[s] == z) order[at++] = s;
    }
    base += (all + block - 1) / block * block;
  }
}
