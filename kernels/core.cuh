// Repulsion at short distances, in double precision, as few edges are that short. The code before this file defines CORE (0: none; 1:
// density, 2: distance, 3: zbl) and CORE_PAIRS by ordered pair: see src/part/cuda/embedding.rs.

struct Value { double f, df; };

// 1 up to h − w, 0 from h on.
DEVICE Value fall(double x, double h, double w) {
  if (x <= h - w) return {1, 0};
  if (x >= h) return {0, 0};
  double t = 1 - 2 * (1 + (x - h) / w), t2 = t * t;
  return {0.5 + 15.0 / 4 * t * (0.25 - t2 / 6 + t2 * t2 / 20), -15.0 / 8 / w * (1 - t2) * (1 - t2)};
}

#if CORE > 0
DEVICE Value times(Value a, Value b) { return {a.f * b.f, a.f * b.df + a.df * b.f}; }

// The repulsion of a pair: numbers q are cutoff, its width, inner cutoff, its width, prefactor, λ, reach, then charges, inverse length, A/3,
// B/4, C of that between nuclei, and the number of nodes of upstream's table or 0.
DEVICE Value exact_core(const double* q, double r) {
  double rcut = q[0], dcut = q[1], prefactor = q[4];
  if (r >= rcut || prefactor == 0) return {0, 0};
#if CORE == 3
  double k = q[8], phi = 0, d_phi = 0;
  const double terms[4][2] = {{0.18175, 3.1998}, {0.50986, 0.94229}, {0.28022, 0.4029}, {0.02817, 0.20162}};
#pragma unroll
  for (int n = 0; n < 4; n++) {
    double term = terms[n][0] * exp(-terms[n][1] * k * r);
    phi += term;
    d_phi -= terms[n][1] * k * term;
  }
  double u = fmax(r - rcut + dcut, 0.0);
  Value v = {q[7] * phi / r + u * u * u * (q[9] + u * q[10]) + q[11],
             q[7] * (d_phi - phi / r) / r + u * u * (3 * q[9] + 4 * u * q[10])};
  v = times(v, fall(r, rcut, dcut));
  return {0.5 * prefactor * v.f, 0.5 * prefactor * v.df};
#else
  double x = fabs(q[5]) * r * r;
  if (x >= 50) return {0, 0};
  double bare = fabs(prefactor) * exp(-x) / r, s, c, pi = 3.14159265358979323846;
  sincospi(r / rcut, &s, &c);
  Value v = times({bare, -bare * (2 * x + 1) / r}, {0.5 * (1 + c), -0.5 * pi / rcut * s});
  return CORE == 2 ? times(v, fall(r, q[2], q[3])) : v;
#endif
}

DEVICE Value core(const double* q, double r) {
  double n = q[12];
  if (n == 0) return exact_core(q, r);
  if (r >= q[0]) return {0, 0};
  double h = q[0] / n, node = fmax(floor(r / h), 1.0), u = fmax(r / h - node, 0.0), v = 1 - u;
  Value a = node >= n ? Value{0, 0} : exact_core(q, node * h), b = node + 1 >= n ? Value{0, 0} : exact_core(q, (node + 1) * h);
  double f = (1 + 2 * u) * v * v * a.f + u * v * v * h * a.df + u * u * (3 - 2 * u) * b.f - u * u * v * h * b.df;
  double df = 6 * u * v * (b.f - a.f) / h + v * (1 - 3 * u) * a.df + u * (3 * u - 2) * b.df;
  return {f, r < h ? 0 : df};
}
#endif
