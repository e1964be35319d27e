// Edge vectors of a graph of the host, whose edges stay on the device while its atoms move. LANES lanes share a centre.

// Rows of the cell.
struct Cell { double rows[9]; };

// x_j − x_i + shift · cell, rounded as on the processor; without shifts where these are null.
DEVICE double3 between(const Cell& cell, const short* shift, u64 e, double3 a, double3 b) {
  double3 v = {b.x - a.x, b.y - a.y, b.z - a.z};
  if (!shift) return v;
  double s[3] = {double(shift[3 * e]), double(shift[3 * e + 1]), double(shift[3 * e + 2])}, t[3];
#pragma unroll
  for (int k = 0; k < 3; k++)
    t[k] = __dadd_rn(__dadd_rn(__dmul_rn(s[0], cell.rows[k]), __dmul_rn(s[1], cell.rows[3 + k])), __dmul_rn(s[2], cell.rows[6 + k]));
  return {__dadd_rn(v.x, t[0]), __dadd_rn(v.y, t[1]), __dadd_rn(v.z, t[2])};
}

// All vectors.
KERNEL __launch_bounds__(THREADS)
edge_vectors(Cell cell, u32 n, const u32* first, const u32* neighbour, const short* shift, const double3* x, real3* r) {
  u32 i = blockIdx.x * ATOMS + threadIdx.x / LANES;
  if (i >= n) return;
  for (u32 e = first[i] + threadIdx.x % LANES; e < first[i + 1]; e += LANES) {
    double3 v = between(cell, shift, e, x[i], x[neighbour[e]]);
    r[e] = {real(v.x), real(v.y), real(v.z)};
  }
}

// Those of owned centres that are shorter than a length, given its square, at the beginning of their row, which then ends at `last`;
// `near` are their neighbours, and `place` says where an edge has gone, NONE where it is left out.
KERNEL __launch_bounds__(THREADS)
near_edges(Cell cell, u32 n, u32 n_owned, double square, const u32* first, const u32* neighbour, const short* shift, const double3* x,
           u32* last, u32* near, u32* place, real3* r) {
  u32 i = blockIdx.x * ATOMS + threadIdx.x / LANES, lane = threadIdx.x % LANES;
  if (i >= n) return;
  const u32 all = (1u << LANES) - 1, shared = threadIdx.x % 32 - lane;
  u32 end = first[i + 1], at = first[i];
  double3 a = x[i];
  for (u32 k = at; k < end; k += LANES) {
    u32 e = k + lane, j = 0;
    double3 v = {0, 0, 0};
    bool inside = false;
    if (e < end) {
      j = neighbour[e];
      v = between(cell, shift, e, a, x[j]);
      inside = i < n_owned && v.x * v.x + v.y * v.y + v.z * v.z < square;
    }
    u32 votes = __ballot_sync(all << shared, inside) >> shared & all, to = at + __popc(votes & ((1u << lane) - 1));
    if (inside) {
      r[to] = {real(v.x), real(v.y), real(v.z)};
      near[to] = j;
    }
    if (e < end) place[e] = inside ? to : NONE;
    at += __popc(votes);
  }
  if (lane == 0 && i < n_owned) last[i] = at;
}
