// The pair part of a site: one function a species pair, the readout folded into its rows.

template <bool GRAD> DEVICE void evaluate(real r, u32 zi, u32 zj, const Part& part, real& f, real& df) {
  real w[N_TERMS], dw[N_TERMS];
  u32 pair = zi * N_SPECIES + zj;
  u32 first = weights<GRAD>(part.pairs + pair * PAIR_SIZE, r, w, dw);
#ifndef SPLINE
  first = pair * N_TERMS;
#endif
  f = 0;
  df = 0;
#pragma unroll
  for (int q = 0; q < N_TERMS; q++) {
    real m = __ldg(part.folded + first + q);
    f += w[q] * m;
    if (GRAD) df += dw[q] * m;
  }
}

// The same without folding: function t and its slope.
DEVICE void function(double r, u32 zi, u32 zj, const Part& part, int t, real& f, real& df) {
  real w[N_TERMS], dw[N_TERMS];
  u32 pair = zi * N_SPECIES + zj;
  u32 first = weights<true>(part.pairs + pair * PAIR_SIZE, r, w, dw);
#ifdef SPLINE
  const real* rows = part.matrix + first * N_T + t;
  const int step = N_T;
#else
  const real* rows = part.matrix + pair * PAIR_STRIDE + t * ROW_SIZE;
  const int step = 1;
#endif
  f = 0;
  df = 0;
#pragma unroll
  for (int q = 0; q < N_TERMS; q++) {
    f += w[q] * rows[q * step];
    df += dw[q] * rows[q * step];
  }
}
