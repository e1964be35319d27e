// Sums of rows in a fixed order: what the blocks of another kernel have left behind.

// Row c of out is the sum of the rows c · chunk … of `rows` (n_rows, n).
KERNEL sum_rows(const real* rows, u32 n_rows, u64 n, u32 chunk, real* out) {
  u64 k = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (k >= n) return;
  u32 begin = blockIdx.y * chunk, end = min(n_rows, begin + chunk);
  real sum = 0;
  for (u32 r = begin; r < end; r++) sum += rows[r * n + k];
  out[blockIdx.y * n + k] = sum;
}

// Into the caller's type.
KERNEL sum_rows_stored(const real* rows, u32 n_rows, u64 n, Output out) {
  u64 k = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (k >= n) return;
  real sum = 0;
  for (u32 r = 0; r < n_rows; r++) sum += rows[r * n + k];
  store(out, k, sum);
}

// Row i of out is the sum of the rows at `position` from first[i] to first[i + 1], each of `width` numbers.
KERNEL gather_rows(const u32* first, const u32* position, const real* rows, u32 width, Output out) {
  u32 i = blockIdx.x;
  for (u32 k = threadIdx.x; k < width; k += blockDim.x) {
    real sum = 0;
    for (u32 j = first[i]; j < first[i + 1]; j++) sum += rows[u64(position[j]) * width + k];
    store(out, u64(i) * width + k, sum);
  }
}

// From the type of memory to that of computing.
KERNEL widen_all(const stored* from, u64 n, real* to) {
  u64 k = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (k < n) to[k] = widen(from[k]);
}
