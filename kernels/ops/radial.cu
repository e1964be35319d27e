// Functions of distances, in f64 with two derivatives, whatever the type of the distances. A thread has a distance.
//
// The code before this file defines N (functions), R_MAX, BASIS (one of IDENTITY, CONSTANT, BESSEL, GAUSSIAN, CHEBYSHEV), the table WEIGHT (frequencies or
// centres), SCALE (the factor of Bessel functions, the γ of Gaussians), CUTOFF (its exponent, 0 for none), TRANSFORM (one of NO_TRANSFORM, AGNESI,
// SOFT) with the table RADIUS and PARAMETERS, and THREADS.

struct Jet { double v, d, dd; };

DEVICE Jet constant(double x) { return {x, 0, 0}; }
DEVICE Jet operator+(Jet a, Jet b) { return {a.v + b.v, a.d + b.d, a.dd + b.dd}; }
DEVICE Jet operator-(Jet a, Jet b) { return {a.v - b.v, a.d - b.d, a.dd - b.dd}; }
DEVICE Jet operator*(double k, Jet a) { return {k * a.v, k * a.d, k * a.dd}; }
DEVICE Jet operator*(Jet a, Jet b) { return {a.v * b.v, a.v * b.d + a.d * b.v, a.v * b.dd + 2 * a.d * b.d + a.dd * b.v}; }
// f with `a` inside, given f and its derivatives there.
DEVICE Jet chain(Jet a, double f, double df, double ddf) { return {f, df * a.d, ddf * a.d * a.d + df * a.dd}; }
DEVICE Jet inverse(Jet a) { double x = 1 / a.v; return chain(a, x, -x * x, 2 * x * x * x); }
DEVICE Jet sine(Jet a) { double s, c; sincos(a.v, &s, &c); return chain(a, s, c, -s); }
DEVICE Jet exponential(Jet a) { double e = exp(a.v); return chain(a, e, e, e); }
DEVICE Jet tangent(Jet a) { double t = tanh(a.v), d = 1 - t * t; return chain(a, t, d, -2 * t * d); }
DEVICE Jet power(Jet a, double p) { double y = pow(a.v, p); return chain(a, y, p * y / a.v, p * (p - 1) * y / (a.v * a.v)); }
// By a whole number: of order 0 and 1 there is no power left to take.
DEVICE double whole(double x, int n) { double y = n < 0 ? 0 : 1; for (int k = 0; k < n; k++) y *= x; return y; }
DEVICE Jet whole_power(Jet a, int n) { return chain(a, whole(a.v, n), n * whole(a.v, n - 1), double(n) * (n - 1) * whole(a.v, n - 2)); }

DEVICE Jet cutoff(Jet r) {
  if (r.v >= R_MAX) return constant(0);
  const double q = CUTOFF;
  Jet u = (1 / R_MAX) * r, inner = constant((q + 1) * (q + 2) / 2) - (q * (q + 2)) * u + (q * (q + 1) / 2) * (u * u);
  return constant(1) - whole_power(u, CUTOFF) * inner;
}

DEVICE Jet transformed(Jet r, u32 i, u32 j) {
#if TRANSFORM == AGNESI
  const double parameters[3] = PARAMETERS, a = parameters[0], q = parameters[1], p = parameters[2];
  Jet s = (2 / (RADIUS[i] + RADIUS[j])) * r, one = constant(1);
  return inverse(one + a * power(s, q) * inverse(one + power(s, q - p)));
#elif TRANSFORM == SOFT
  const double parameters[1] = PARAMETERS, r0 = RADIUS[i] + RADIUS[j], p0 = 0.75 * r0, p1 = 4.0 / 3.0 * r0;
  Jet s = (parameters[0] / (p1 - p0)) * (r - constant(0.5 * (p0 + p1)));
  return constant(p0) + 0.5 * ((r - constant(p0)) * (constant(1) + tangent(s)));
#else
  return r;
#endif
}

// Calls f(n, e_n) for the functions of one distance.
template <class F> DEVICE void evaluate(double distance, u32 i, u32 j, F f) {
  Jet r = {distance, 1, 0}, t = transformed(r, i, j), c = CUTOFF > 0 ? cutoff(r) : constant(1);
#if BASIS == IDENTITY
  f(0, t * c);
#elif BASIS == CONSTANT
  f(0, c);
#elif BASIS == BESSEL
  Jet factor = SCALE * inverse(t) * c;
  for (int n = 0; n < N; n++) f(n, sine(WEIGHT[n] * t) * factor);
#elif BASIS == GAUSSIAN
  for (int n = 0; n < N; n++) {
    Jet d = t - constant(WEIGHT[n]);
    f(n, exponential(SCALE * (d * d)) * c);
  }
#else
  Jet below = constant(1), now = t;
  for (int n = 0; n < N; n++) {
    f(n, now * c);
    Jet next = 2 * (t * now) - below;
    below = now, now = next;
  }
#endif
}

// `species` of both ends, without addresses where there is no transform.
struct Ends { const u32* i; const u32* j; };

#define ARGUMENTS Input r, const u32 *i, const u32 *j, u32 n
#define ROW                                                    \
  u64 row = u64(blockIdx.x) * THREADS + threadIdx.x;           \
  if (row >= n) return;                                        \
  const u32 zi = i ? i[row] : 0, zj = j ? j[row] : 0;          \
  const double distance = widen(r.v[row]);

KERNEL __launch_bounds__(THREADS) radial_forward(ARGUMENTS, Output out) {
  ROW
  evaluate(distance, zi, zj, [&](int k, Jet e) { store(out, row * N + k, real(e.v)); });
}

KERNEL __launch_bounds__(THREADS) radial_backward(ARGUMENTS, Input out_bar, Output r_bar) {
  ROW
  double sum = 0;
  evaluate(distance, zi, zj, [&](int k, Jet e) { sum += e.d * load<real>(out_bar, row * N + k); });
  store(r_bar, row, real(sum));
}

// Derivatives along the direction of r: of the gradient and, where they are wanted, of the functions.
KERNEL __launch_bounds__(THREADS) radial_twice(ARGUMENTS, Input out_bar, Output r_bar, Output out) {
  ROW
  const double along = r.d ? double(widen(r.d[row])) : 0;
  double sum = 0;
  evaluate(distance, zi, zj, [&](int k, Jet e) {
    sum += e.dd * load<real>(out_bar, row * N + k);
    if (out.to) store(out, row * N + k, real(along * e.d));
  });
  if (r_bar.to) store(r_bar, row, real(along * sum));
}
