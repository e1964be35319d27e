// Base functions of pacemaker: coordinate and envelope of a distance, see src/stage/base.rs. Q0 … Q8 are the cutoff and its inverse, three
// numbers of the functions, where the outer cutoff function begins and the inverse of its length, where the inner one begins and the
// inverse of its length; POWER_P is the kind of functions.

DEVICE void sine_cosine(double x, double& s, double& c) { sincospi(x, &s, &c); }
DEVICE void sine_cosine(float x, float& s, float& c) { sincospif(x, &s, &c); }

DEVICE void base(const double* q, length r, length& y, real& dy, real& e, real& de) {
  const length pi = 3.14159265358979323846, one = 1;
  length rcut = Q0, inv = Q1, gap = fmax(rcut - r, length(0)), u = gap * inv, s, c, f = 1, df = 0, slope = 0;
  int kind = POWER_P;
  y = 0;
  if (kind == 0) {
    length decay = exp(length(Q2) * (1 - u));
    y = length(Q4) - length(Q3) * decay;
    slope = -length(Q3) * length(Q2) * inv * decay;
    sine_cosine(u / 2, s, c);
    f = s * s;
    df = -pi * inv * s * c;
    if (r > length(Q5)) {
      length v = fmin(gap * length(Q6), one);
      sine_cosine(v / 2, s, c);
      length d = v < 1 ? -pi * length(Q6) * s * c : length(0);
      df = df * s * s + f * d;
      f *= s * s;
    }
  } else if (kind == 1) {
    length low = pow(fmax(u, length(1e-30)), length(Q2) - 1);
    y = 1 - 2 * low * u;
    slope = 2 * length(Q2) * low * inv;
  } else if (kind == 2) {
    y = u;
    slope = -inv;
  } else if (kind == 3) {
    sine_cosine(u / 2, s, c);
    y = 2 * s * s - 1;
    slope = -pi * inv * 2 * s * c;
    f = 2 * s * c / (pi * r * inv);
    df = (y - f) / r;
  }
  if (length(Q8) > 0) {
    length z = fmin(fmax((r - length(Q7)) * length(Q8), length(0)), one), t = 1 - 2 * z, t2 = t * t;
    length rise = length(0.5) - length(15.0 / 4) * t * (length(0.25) - t2 / 6 + t2 * t2 / 20);
    length d = length(15.0 / 8) * length(Q8) * (1 - t2) * (1 - t2);
    df = df * rise + f * d;
    f *= rise;
  }
  bool inside = r < rcut && r > length(Q7);
  e = inside ? real(f) : real(0);
  de = inside ? real(df) : real(0);
  dy = slope;
}
