// Numbers of the operations: plain, or with a derivative along one direction, and how they are kept in memory.
// Rust defines SINGLE and STORAGE (0: as computed, 1: f16, 2: bf16); `cuda.cuh` stands before this file.

#if SINGLE
typedef float real;
#else
typedef double real;
#endif

#define NONE 0xffffffffu

#if STORAGE == 0
typedef real stored;
DEVICE real widen(stored x) { return x; }
DEVICE stored narrow(real x) { return x; }
#else
typedef u16 stored;
#if STORAGE == 1
DEVICE real widen(stored x) { return from_f16(x); }
DEVICE stored narrow(real x) { return to_f16(x); }
#else
DEVICE real widen(stored x) { return from_bf16(x); }
DEVICE stored narrow(real x) { return to_bf16(x); }
#endif
#endif

// A value and its derivative along a direction: what `double_backward` computes with.
template <class R> struct Dual { R v, d; };
typedef Dual<real> dual;

// A factor of the type of another argument.
template <class R> struct Same { typedef R type; };

template <class R> DEVICE Dual<R> operator+(Dual<R> a, Dual<R> b) { return {a.v + b.v, a.d + b.d}; }
template <class R> DEVICE Dual<R> operator-(Dual<R> a, Dual<R> b) { return {a.v - b.v, a.d - b.d}; }
template <class R> DEVICE Dual<R> operator*(Dual<R> a, Dual<R> b) { return {a.v * b.v, a.v * b.d + a.d * b.v}; }
template <class R> DEVICE Dual<R> operator*(typename Same<R>::type a, Dual<R> b) { return {a * b.v, a * b.d}; }
template <class R> DEVICE Dual<R> operator*(Dual<R> a, typename Same<R>::type b) { return {a.v * b, a.d * b}; }
template <class R> DEVICE Dual<R>& operator+=(Dual<R>& a, Dual<R> b) { a.v += b.v, a.d += b.d; return a; }

// `s += a b` in as few multiply–adds as it takes.
DEVICE void add_product(real& s, real a, real b) { s += a * b; }
DEVICE void add_product(dual& s, dual a, dual b) { s.v += a.v * b.v, s.d += a.v * b.d, s.d += a.d * b.v; }
DEVICE void add_product(dual& s, dual a, real b) { s.v += a.v * b, s.d += a.d * b; }
DEVICE void add_product(dual& s, real a, dual b) { add_product(s, b, a); }

template <class R> DEVICE Dual<R> shuffle(Dual<R> x, int k) { return {shuffle(x.v, k), shuffle(x.d, k)}; }

// 1/√x
template <class R> DEVICE R inverse_root(R x) { return R(1) / sqrt(x); }
template <class R> DEVICE Dual<R> inverse_root(Dual<R> x) {
  R y = inverse_root(x.v);
  return {y, R(-0.5) * x.d * y * y * y};
}

// The value, and what a pass is after: the value of a plain number, the derivative of a dual one.
template <class R> DEVICE R value(R x) { return x; }
template <class R> DEVICE R value(Dual<R> x) { return x.v; }
template <class R> DEVICE R outcome(R x) { return x; }
template <class R> DEVICE R outcome(Dual<R> x) { return x.d; }

template <class T> DEVICE T zero() { return T{}; }

// An input: values and, where T has derivatives, the direction; without an address it is zero.
struct Input { const stored* v; const stored* d; };
// What is written: the values of plain numbers, the derivatives of dual ones. Without an address nothing is. Where CHECKED is defined, a
// number that is not finite leaves a mark, if there is a place for it.
#ifdef CHECKED
struct Output { stored* to; u32* mark; };
#if STORAGE == 0
DEVICE bool is_finite(stored x) { return x - x == real(0); }
#else
#define EXPONENT (STORAGE == 1 ? 0x7c00 : 0x7f80)
DEVICE bool is_finite(stored x) { return (x & EXPONENT) != EXPONENT; }
#endif
DEVICE void mark(const Output& out, bool finite) {
  if (!finite && out.mark) *out.mark = 1;
}
#else
struct Output { stored* to; };
DEVICE bool is_finite(stored) { return true; }
DEVICE void mark(const Output&, bool) {}
#endif
DEVICE void write(const Output& out, u64 k, stored x) {
  out.to[k] = x;
  mark(out, is_finite(x));
}

template <class T> DEVICE T load(const Input& from, u64 k);
template <> DEVICE real load<real>(const Input& from, u64 k) { return widen(from.v[k]); }
template <> DEVICE dual load<dual>(const Input& from, u64 k) {
  return {widen(from.v[k]), from.d ? widen(from.d[k]) : real(0)};
}
template <class T> DEVICE void store(const Output& out, u64 k, T x) { write(out, k, narrow(outcome(x))); }

// What later kernels sum, in full precision; of dual numbers the derivatives.
struct Scratch { real* to; };
template <class T> DEVICE void store(const Scratch& out, u64 k, T x) { out.to[k] = outcome(x); }

// Component q of channel u of a row that starts at `row`: blocks of irreps lie side by side, in either layout.
#define AT(NAME, row, q, u) ((row) + NAME##_base[q] + u64(u) * NAME##_stride[q])

// The sum over the lanes of a warp, in every lane.
template <class T> DEVICE T reduce(T x) {
#pragma unroll
  for (int k = 1; k < 32; k *= 2) x = x + shuffle(x, k);
  return x;
}

// The sum over the lanes of a warp of N numbers, N a power of two up to 32: lane k ends with entry k·N/32.
// Half of the entries go to the other half of the lanes in each step (K lanes away), so that it takes N shuffles, not 5 N.
template <int N, int K = 16, class T> DEVICE T reduce_entries(T* x) {
  if constexpr (K == 0) {
    return x[0];
  } else if constexpr (N == 1) {
    x[0] = x[0] + shuffle(x[0], K);
    return reduce_entries<1, K / 2>(x);
  } else {
    bool upper = threadIdx.x & K;
#pragma unroll
    for (int q = 0; q < N / 2; q++) {
      T keep = upper ? x[q + N / 2] : x[q], give = upper ? x[q] : x[q + N / 2];
      x[q] = keep + shuffle(give, K);
    }
    return reduce_entries<N / 2, K / 2>(x);
  }
}
