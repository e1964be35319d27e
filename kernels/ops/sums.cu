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
