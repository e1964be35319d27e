// A part that is nothing but repulsion, as pair.cuh has it.

template <bool GRAD> DEVICE void evaluate(real r, u32 zi, u32 zj, const Part&, real& f, real& df) {
  const double* q = CORE_PAIRS[zi * N_SPECIES + zj];
  Value v = r < q[6] ? core(q, r) : Value{0, 0};
  f = v.f;
  df = v.df;
}
