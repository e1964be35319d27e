// What every kernel shares. Rust defines SINGLE and MIXED (0 or 1) in front of this file.

typedef unsigned int u32;
typedef unsigned long long u64;

#if SINGLE
typedef float real;
#else
typedef double real;
#endif
// Of the transform of distances.
#if MIXED
typedef float length;
#else
typedef double length;
#endif

#define NONE 0xffffffffu
#define KERNEL extern "C" __global__ void
#define DEVICE __device__ __forceinline__
#define FULL 0xffffffffu

struct real3 { real x, y, z; };

// The sum over the `n` lanes that share an aligned group, in every one of them, in a fixed order.
template <int n, class T> DEVICE T sum_lanes(T x) {
#pragma unroll
  for (int k = 1; k < n; k *= 2) x += __shfl_xor_sync(FULL, x, k);
  return x;
}

// x^n for small n.
template <class T> DEVICE T power(T x, int n) {
  T y = 1;
#pragma unroll
  for (int k = 0; k < n; k++) y *= x;
  return y;
}

// 1/x and 1/√x of positive numbers that are neither huge nor tiny, to the last bit or two.
DEVICE float reciprocal(float x) { return __frcp_rn(x); }
DEVICE float reciprocal_root(float x) {
  float y = rsqrtf(x);
  return y * (1.5f - 0.5f * x * y * y);
}
DEVICE double reciprocal(double x) {
  double y;
  asm("rcp.approx.ftz.f64 %0, %1;" : "=d"(y) : "d"(x));
#pragma unroll
  for (int k = 0; k < 2; k++) y = fma(fma(-x, y, 1.0), y, y);
  return y;
}
DEVICE double reciprocal_root(double x) {
  double y;
  asm("rsqrt.approx.ftz.f64 %0, %1;" : "=d"(y) : "d"(x));
#pragma unroll
  for (int k = 0; k < 2; k++) y = fma(fma(-0.5 * x * y, y, 0.5), y, y);
  return y;
}

// The sum over a block of THREADS, in a fixed order, valid in all of them.
DEVICE double sum_block(double x) {
  __shared__ double sums[THREADS / 32];
  x = sum_lanes<32>(x);
  __syncthreads();
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = x;
  __syncthreads();
  x = 0;
  for (int k = 0; k < THREADS / 32; k++) x += sums[k];
  return x;
}
