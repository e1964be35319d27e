// Radial functions of one part: w_q(r), the weights of the rows that are summed, and their slopes.
//
// Rust defines N_TERMS, RECURSION(FIRST, SECOND, NEXT) or SPLINE, and POWER_P, POWER_K, ENVELOPE, POWER_1, POWER_2,
// and Q0 … Q11, all of which are constants where the pairs agree. A pair has PAIR_SIZE numbers, see src/cuda/radial.rs.

struct Dual { real value, slope; };

// y(r) in double precision, since the polynomials magnify its error; the rest may be coarser.
DEVICE double transform(const double* q, double r, real& slope) {
  double rin = Q0, ds = Q1, a = Q2, b0 = Q3, b1 = Q4;
  slope = 0;
  if (r <= rin) return fmin(fmax(b1 + b0, -1.0), 1.0);
  int p = POWER_P, k = POWER_K;
  double s = (r - rin) * ds;
  double sp = power(s, p - 1), sk = power(s, k);
  double f = k == 0 ? 0.5 : reciprocal(1 + sk), d = sp * s * f;
  double x = reciprocal(1 + a * d);
  double y = b1 * x + b0;
  if (fabs(y) > 1) return fmin(fmax(y, -1.0), 1.0);
  real e = f * x;
  slope = real(-b1 * a * ds) * real(sp) * (p * real(1 + sk) - k * real(sk)) * e * e;
  return y;
}

DEVICE Dual envelope(const double* q, double r, double y, real dy) {
  int kind = ENVELOPE, p1 = POWER_1, p2 = POWER_2;
  if (kind == 0) {
    double x1 = Q5, x2 = Q6;
    if (!(x1 < y && y < x2)) return {0, 0};
    real a = y - x1, b = x2 - y, scale = Q7;
    real a1 = power(a, p1 - 1), b1 = power(b, p2 - 1);
    return {scale * a1 * a * b1 * b, scale * (p1 * a1 * b1 * b - p2 * a1 * a * b1) * dy};
  }
  if (r >= Q5) return {0, 0};
  if (kind == 1) {
    double f = Q6, s = r * f, t = reciprocal(s), u = power(t, p1);
    return {real((u - 1) * (1 - s)), real((-p1 * u * t * (1 - s) - (u - 1)) * f)};
  }
  double f = Q6, s = r * f, c = Q5 * f, t = reciprocal(s), w = reciprocal(c), u = power(t, p1), v = power(w, p1);
  double uc = p1 * v * w;
  return {real(u - v + uc * (s - c)), real((-p1 * u * t + uc) * f)};
}

// The weights at r, their slopes where GRAD; returns the first row (0 for polynomials).
template <bool GRAD> DEVICE u32 weights(const double* q, real distance, real* w, real* dw) {
  double r = distance;
  real dy;
  double position = transform(q, r, dy);
  Dual env = envelope(q, r, position, dy);
  real y = position, e = env.value, de = env.slope;
#ifdef SPLINE
  double x0 = Q8, h = Q9, n = Q10;
  double s = fmin(fmax((position - x0) / h, 0.0), n);
  double node = fmin(floor(s), n - 1);
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
