// Radial functions of one part: w_q(r), the weights of the rows that are summed, and their slopes.
//
// Rust defines AGNESI, PACE or PLAIN for what takes r to y and the envelope, N_TERMS, RECURSION(FIRST, SECOND, NEXT) or SPLINE, and POWER_P,
// POWER_K, ENVELOPE, POWER_1, POWER_2, and Q0 … Q11, all of which are constants where the pairs agree. A pair has PAIR_SIZE numbers, see
// src/part/cuda/radial.rs.

#ifdef AGNESI
struct Dual { real value, slope; };

// s^(p−1)/(1 + s^k) and s^k/(1 + s^k).
struct Ratios { length p, k; };
template <class T> DEVICE Ratios ratios(T s, int p, int k) {
  T sk = power(s, k), f = k == 0 ? T(0.5) : reciprocal(1 + sk);
  return {length(power(s, p - 1) * f), length(sk * f)};
}

// Between −1 and 1.
DEVICE length clamped(length y) { return fmin(fmax(y, length(-1)), length(1)); }

// y(r) in a precision of its own, since the polynomials magnify its error.
DEVICE length transform(const double* q, length r, real& slope) {
  length rin = Q0, ds = Q1, a = Q2, b0 = Q3, b1 = Q4;
  slope = 0;
  if (r <= rin) return clamped(b1 + b0);
  int p = POWER_P, k = POWER_K;
  length s = (r - rin) * ds;
  // High powers overflow in single precision.
  Ratios t = p > 12 ? ratios<double>(s, p, k) : ratios<length>(s, p, k);
  length x = reciprocal(1 + a * (t.p * s));
  length y = b1 * x + b0;
  if (fabs(y) > 1) return clamped(y);
  real e = x;
  slope = real(-b1 * a * ds) * real(t.p) * (p - k * real(t.k)) * e * e;
  return y;
}

DEVICE Dual envelope(const double* q, length r, length y, real dy) {
  int kind = ENVELOPE, p1 = POWER_1, p2 = POWER_2;
  if (kind == 0) {
    length x1 = Q5, x2 = Q6;
    if (!(x1 < y && y < x2)) return {0, 0};
    real a = y - x1, b = x2 - y, scale = Q7;
    real a1 = power(a, p1 - 1), b1 = power(b, p2 - 1);
    return {scale * a1 * a * b1 * b, scale * (p1 * a1 * b1 * b - p2 * a1 * a * b1) * dy};
  }
  if (r >= length(Q5)) return {0, 0};
  if (kind == 1) {
    length f = Q6, s = r * f, t = reciprocal(s), u = power(t, p1);
    return {real((u - 1) * (1 - s)), real((-p1 * u * t * (1 - s) - (u - 1)) * f)};
  }
  length f = Q6, s = r * f, c = length(Q5) * f, t = reciprocal(s), w = reciprocal(c), u = power(t, p1), v = power(w, p1);
  length uc = p1 * v * w;
  return {real(u - v + uc * (s - c)), real((-p1 * u * t + uc) * f)};
}

#endif

// The weights at r, their slopes where GRAD; returns the first row (0 for polynomials).
template <bool GRAD> DEVICE u32 weights(const double* q, real distance, real* w, real* dw) {
  length r = distance;
#if defined(AGNESI)
  real dy;
  length position = transform(q, r, dy);
  Dual env = envelope(q, r, position, dy);
  real y = position, e = env.value, de = env.slope;
#elif defined(PACE)
  real dy, e, de;
  length position;
  base(q, r, position, dy, e, de);
  real y = position;
#else
  // The distance itself, but at least that of the first node.
  length position = fmax(r, length(Q0));
  real y = position, dy = r < length(Q0) ? 0 : 1, e = 1, de = 0;
#endif
#ifdef SPLINE
  length x0 = Q8, h = Q9, n = Q10;
  length s = fmin(fmax((position - x0) / h, length(0)), n);
  length node = fmin(floor(s), n - 1);
  real u = s - node, v = 1 - u, step = h;
  real f[4] = {(1 + 2 * u) * v * v, u * v * v * step, u * u * (3 - 2 * u), -u * u * v * step};
  real df[4] = {-6 * u * v / step, v * (1 - 3 * u), 6 * u * v / step, u * (3 * u - 2)};
#pragma unroll
  for (int k = 0; k < 4; k++) {
    w[k] = e * f[k];
    if (GRAD) dw[k] = de * f[k] + e * df[k] * dy;
  }
  return u32(Q11) + 2 * u32(node);
#else
  // The recursion is linear: started from the envelope it yields w = e P and dw = d(e P)/dr.
#define FIRST(A) w[0] = real(A) * e; if (GRAD) dw[0] = real(A) * de;
#define SECOND(A, B) { real f = real(A) * y + real(B); w[1] = f * e; if (GRAD) dw[1] = f * de + real(A) * dy * e; }
#define NEXT(k, A, B, C) {                                                       \
    real f = real(A) * y + real(B);                                              \
    w[k] = f * w[k - 1] + real(C) * w[k - 2];                                    \
    if (GRAD) dw[k] = real(A) * dy * w[k - 1] + (f * dw[k - 1] + real(C) * dw[k - 2]); }
  RECURSION(FIRST, SECOND, NEXT)
#undef FIRST
#undef SECOND
#undef NEXT
  return 0;
#endif
}
