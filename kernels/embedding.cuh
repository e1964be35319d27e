// What makes an energy of densities: embedding, and the repulsion at short distances that may take its place; in double precision, as
// few edges are that short. The code before this file defines N_DENSITIES, DENSITY[species · N_DENSITIES + p], SWITCH by species (see
// src/part/cuda/embedding.rs), and is core.cuh.

// Do edges have a gradient that does not go through A?
constexpr bool DIRECT = CORE > 0;

// w F(ρ).
DEVICE Value embed(const double* d, double rho) {
  double a = fabs(rho), w = d[0], m = d[2], f, df;
  int kind = int(d[1]);
  if (kind == 0) return {w * rho, w};
  if (kind == 1) {
    // A power, made linear where a is below about 1/ω.
    double omega = 1e6, slope = d[3], q = omega * a * (omega * a) * (omega * a);
    f = slope * a;
    df = slope;
    if (a > 1e-10) {
      double power = pow(a, m), below = m * pow(a, m - 1);
      double gamma = q > 30 ? 0.0 : exp(-q), d_gamma = -3 * omega * (omega * a) * (omega * a) * gamma;
      df = (1 - gamma) * below + gamma * slope + d_gamma * (f - power);
      f = (1 - gamma) * power + gamma * f;
    }
  } else {
    double decay = exp(-a), x = d[3] * decay, y = d[4] * decay, base = x + a;
    double power = m == 0.5 ? sqrt(base) : pow(base, m);
    f = power - y;
    df = y + m * (1 - x) * (power / base);
  }
  return {rho < 0 ? -w * f : w * f, w * df};
}

// What the edges of a centre need: the factor of the slopes of the repulsion; the edge that decides, and its slope.
struct State {
  double factor, slope;
  u32 closest;
};

// The energy of a centre and, where GRAD, the adjoint of A.
template <bool GRAD> DEVICE real readout(const Site& site, u32 z, const real* c, const real* a, real* bar, State& state) {
  real rho[N_DENSITIES], u[N_DENSITIES];
  densities(c, a, rho);
  double energy = 0, share = 1;
  state = {0, 0, NONE};
#pragma unroll
  for (int p = 0; p < N_DENSITIES; p++) {
    Value e = embed(DENSITY[z * N_DENSITIES + p], rho[p]);
    energy += e.f;
    u[p] = e.df;
  }
#if CORE > 0
  double sum = 0, depth = 1e30;
  for (u32 e = site.begin + site.lane; e < site.end; e += GROUP) {
    double r = site.edge(e).r;
    const double* q = CORE_PAIRS[z * N_SPECIES + site.species_of(e)];
    if (r < q[6]) sum += core(q, r).f;
#if CORE == 3
    if (r < q[0] && r - (q[2] - q[3]) < depth) {
      depth = r - (q[2] - q[3]);
      state.closest = e;
    }
#endif
  }
  sum = sum_lanes<GROUP>(sum);
#if CORE == 3
#pragma unroll
  for (int k = 1; k < GROUP; k *= 2) {
    double other = __shfl_xor_sync(FULL, depth, k);
    u32 at = __shfl_xor_sync(FULL, state.closest, k);
    if (other < depth || (other == depth && at < state.closest)) {
      depth = other;
      state.closest = at;
    }
  }
  if (state.closest != NONE) {
    const double* q = CORE_PAIRS[z * N_SPECIES + site.species_of(state.closest)];
    Value f = fall(site.edge(state.closest).r, q[2], q[3]);
    share = 1 - f.f;
    state.slope = -f.df * (energy - sum);
  }
  state.factor = 1 - share;
  energy = share * energy + (1 - share) * sum;
#else
  Value f = fall(sum, SWITCH[z][0], SWITCH[z][1]);
  share = f.f;
  state.factor = 1 + energy * f.df;
  energy = share * energy + sum;
#endif
#endif
  if (GRAD) {
#pragma unroll
    for (int p = 0; p < N_DENSITIES; p++) u[p] *= share;
    products<true>(c, a, bar, u);
  }
  return energy;
}

// ∂E/∂r of one edge that does not go through A.
DEVICE real3 direct(const Edge& edge, u32 e, u32 z, u32 zj, const State& state) {
#if CORE > 0
  const double* q = CORE_PAIRS[z * N_SPECIES + zj];
  double slope = e == state.closest ? state.slope : 0.0;
  if (edge.r < q[6]) slope += state.factor * core(q, edge.r).df;
  real k = slope * edge.inv;
  return {k * edge.x, k * edge.y, k * edge.z};
#else
  return {0, 0, 0};
#endif
}
