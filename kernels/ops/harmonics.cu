// Real spherical harmonics of rows of vectors. The code before this file defines what `harmonics.cuh` needs, THREADS, and AXIS_0, AXIS_1 and AXIS_2, the
// places of its x, y and z in a vector. A thread has a vector.

// One over the length, and the direction.
template <class T> DEVICE T direction(const Input& v, u64 row, T (&a)[3]) {
  const int axis[3] = {AXIS_0, AXIS_1, AXIS_2};
#pragma unroll
  for (int k = 0; k < 3; k++) a[k] = load<T>(v, row * 3 + axis[k]);
  T inverse = inverse_root(a[0] * a[0] + a[1] * a[1] + a[2] * a[2]);
#pragma unroll
  for (int k = 0; k < 3; k++) a[k] = a[k] * inverse;
  return inverse;
}

// The rows of a block, side by side in memory. All threads come here.
template <class T> DEVICE void store_rows(const T* y, u32 n, const Output& out) {
  __shared__ stored rows[THREADS][N_Y | 1];
  const u64 first = u64(blockIdx.x) * THREADS;
#pragma unroll
  for (int k = 0; k < N_Y; k++) rows[threadIdx.x][k] = narrow(outcome(y[k]));
  __syncthreads();
  const u32 numbers = min(u64(THREADS), n - first) * N_Y;
  for (u32 k = threadIdx.x; k < numbers; k += THREADS) write(out, first * N_Y + k, rows[k / N_Y][k % N_Y]);
}

// Rows beyond the last are those of the last one: nothing of them is stored.
DEVICE u64 own_row(u32 n) { return min(u64(blockIdx.x) * THREADS + threadIdx.x, u64(n) - 1); }

template <class T> DEVICE void forward(const Input& v, u32 n, const Output& out) {
  T a[3], y[N_Y];
  direction(v, own_row(n), a);
  evaluate_harmonics(a[0], a[1], a[2], y);
  store_rows(y, n, out);
}

// The gradients, or their derivatives; beside them, where they are wanted, the derivatives of the harmonics.
template <class T> DEVICE void backward(const Input& v, u32 n, const Input& out_bar, const Output& v_bar, const Output& out) {
  const u64 row = own_row(n);
  T a[3], y[N_Y], to[3];
  T inverse = direction(v, row, a);
  evaluate_harmonics(a[0], a[1], a[2], y);
  if (out.to) store_rows(y, n, out);
  if (!v_bar.to || row < u64(blockIdx.x) * THREADS + threadIdx.x) return;
  real bar[N_Y];
#pragma unroll
  for (int k = 0; k < N_Y; k++) bar[k] = load<real>(out_bar, row * N_Y + k);
  pull_harmonics(bar, y, a, inverse, to);
  const int axis[3] = {AXIS_0, AXIS_1, AXIS_2};
#pragma unroll
  for (int k = 0; k < 3; k++) store(v_bar, row * 3 + axis[k], to[k]);
}

KERNEL __launch_bounds__(THREADS) harmonics_forward(Input v, u32 n, Output out) { forward<real>(v, n, out); }
KERNEL __launch_bounds__(THREADS) harmonics_backward(Input v, u32 n, Input out_bar, Output v_bar) { backward<real>(v, n, out_bar, v_bar, Output{}); }
KERNEL __launch_bounds__(THREADS) harmonics_twice(Input v, u32 n, Input out_bar, Output v_bar, Output out) {
  backward<dual>(v, n, out_bar, v_bar, out);
}
