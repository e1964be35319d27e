// Real spherical harmonics of a unit vector, and the gradients of sums of them. The code before this file defines LMAX, N_Y, Y_FIRST (the first of
// them), the tables TOP and RECURSION, and GRADIENT(TERM) with TERM(d, c, b, a) for `∂_d Y_b = Σ c Y_a` of solid harmonics.

template <class T> DEVICE void evaluate_harmonics(T x, T y, T z, T* out) {
  T r2 = x * x + y * y + z * z;
  out[0] = T{real(Y_FIRST)};
#pragma unroll
  for (int l = 1; l <= LMAX; l++) {
    const int row = l * l + l, below = l * l - l;
    T c = out[below + l - 1], s = l > 1 ? out[below - (l - 1)] : zero<T>();
    const real k = TOP[l];
    out[row + l] = k * x * c - k * y * s;
    out[row - l] = k * x * s + k * y * c;
#pragma unroll
    for (int m = 0; m < l; m++) {
      const int at = l * (l + 1) / 2 + m, two = below - (2 * l - 2);
      T za = RECURSION[at][0] * z, rb = RECURSION[at][1] * r2;
      out[row + m] = za * out[below + m] - (m + 2 <= l ? rb * out[m + 2 <= l ? two + m : 0] : zero<T>());
      if (m > 0) out[row - m] = za * out[below - m] - (m + 2 <= l ? rb * out[m + 2 <= l ? two - m : 0] : zero<T>());
    }
  }
}

// `Σ bar ∇Y` by the vector `a / inverse`, where a has length 1: `(Σ bar ∇S − Σ l bar Y a) · inverse`.
template <class T> DEVICE void pull_harmonics(const real* bar, const T* y, const T (&a)[3], T inverse, T (&to)[3]) {
  T d[3] = {zero<T>(), zero<T>(), zero<T>()}, along = zero<T>();
#define TERM(axis, c, b, q) d[axis] += real(c) * bar[b] * y[q];
  GRADIENT(TERM)
#undef TERM
#pragma unroll
  for (int l = 1; l <= LMAX; l++) {
#pragma unroll
    for (int k = l * l; k < (l + 1) * (l + 1); k++) along += real(l) * bar[k] * y[k];
  }
#pragma unroll
  for (int k = 0; k < 3; k++) to[k] = (d[k] - along * a[k]) * inverse;
}
