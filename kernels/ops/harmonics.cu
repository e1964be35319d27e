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

template <class T> DEVICE void forward(const Input& v, u32 n, const Output& out) {
  u64 row = u64(blockIdx.x) * THREADS + threadIdx.x;
  if (row >= n) return;
  T a[3], y[N_Y];
  direction(v, row, a);
  evaluate_harmonics(a[0], a[1], a[2], y);
#pragma unroll
  for (int k = 0; k < N_Y; k++) store(out, row * N_Y + k, y[k]);
}

template <class T> DEVICE void backward(const Input& v, u32 n, const Input& out_bar, const Output& v_bar) {
  u64 row = u64(blockIdx.x) * THREADS + threadIdx.x;
  if (row >= n) return;
  T a[3], y[N_Y], to[3];
  real bar[N_Y];
  T inverse = direction(v, row, a);
  evaluate_harmonics(a[0], a[1], a[2], y);
#pragma unroll
  for (int k = 0; k < N_Y; k++) bar[k] = load<real>(out_bar, row * N_Y + k);
  pull_harmonics(bar, y, a, inverse, to);
  const int axis[3] = {AXIS_0, AXIS_1, AXIS_2};
#pragma unroll
  for (int k = 0; k < 3; k++) store(v_bar, row * 3 + axis[k], to[k]);
}

KERNEL __launch_bounds__(THREADS) harmonics_forward(Input v, u32 n, Output out) { forward<real>(v, n, out); }
KERNEL __launch_bounds__(THREADS) harmonics_forward_dual(Input v, u32 n, Output out) { forward<dual>(v, n, out); }
KERNEL __launch_bounds__(THREADS) harmonics_backward(Input v, u32 n, Input out_bar, Output v_bar) { backward<real>(v, n, out_bar, v_bar); }
KERNEL __launch_bounds__(THREADS) harmonics_backward_dual(Input v, u32 n, Input out_bar, Output v_bar) { backward<dual>(v, n, out_bar, v_bar); }
