// Activations, in f64 whatever the type of what is activated: the value and two derivatives.
struct Curve { double f, d, dd; };

DEVICE double sigmoid(double x) { return 1 / (1 + exp(-x)); }

DEVICE Curve curve_identity(double x) { return {x, 1, 0}; }
DEVICE Curve curve_silu(double x) {
  double s = sigmoid(x), d = s * (1 - s);
  return {x * s, s + x * d, d * (2 + x * (1 - 2 * s))};
}
DEVICE Curve curve_sigmoid(double x) {
  double s = sigmoid(x), d = s * (1 - s);
  return {s, d, d * (1 - 2 * s)};
}
DEVICE Curve curve_tanh(double x) {
  double t = tanh(x), d = 1 - t * t;
  return {t, d, -2 * t * d};
}
DEVICE Curve curve_relu(double x) { return {x < 0 ? 0 : x, x > 0 ? 1.0 : 0.0, 0}; }
// Beside the maximum of x and 0: log 2 is what it is at 0.
DEVICE Curve curve_ssp(double x) {
  double s = sigmoid(x);
  return {(x < 0 ? 0 : x) + log1p(exp(-fabs(x))) - 0.69314718055994530942, s, s * (1 - s)};
}
DEVICE Curve curve_abs(double x) { return {fabs(x), x == 0 ? 0 : x < 0 ? -1.0 : 1.0, 0}; }

// `k φ` of a number and its slope there, with their derivatives where the number has one.
template <class T> struct Activated { T y, slope; };
template <class R> DEVICE Activated<R> activated(const Curve& c, double k, R) { return {R(k * c.f), R(k * c.d)}; }
template <class R> DEVICE Activated<Dual<R>> activated(const Curve& c, double k, Dual<R> x) {
  return {{R(k * c.f), R(k * c.d * x.d)}, {R(k * c.d), R(k * c.dd * x.d)}};
}
