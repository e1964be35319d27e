// The steps of training that are no operations: numbers one by one, or by row. In double precision whatever they are kept in.

struct Bend { double factor, shift; u64 kind; };

// `Curve` of src/mace/train/tape.rs.
DEVICE Curve bent(const Bend& b, double x) {
  if (b.kind == 0) return {b.factor * x + b.shift, b.factor, 0};
  if (b.kind == 1) return {1 / x, -1 / (x * x), 2 / (x * x * x)};
  if (b.kind == 2) {
    Curve c = curve_silu(x);
    return {b.factor * c.f, b.factor * c.d, b.factor * c.dd};
  }
  double f = tanh(x * x), slope = 1 - f * f;
  return {f, 2 * x * slope, 2 * slope * (1 - 4 * x * x * f)};
}

DEVICE double number(const stored* x, u64 k) { return double(widen(x[k])); }
// Nothing is zero.
DEVICE double number_or_zero(const stored* x, u64 k) { return x ? number(x, k) : 0; }
DEVICE void put(stored* out, u64 k, double x) { out[k] = narrow(real(x)); }
DEVICE u64 thread() { return u64(blockIdx.x) * blockDim.x + threadIdx.x; }

// Derivative `order` at x, times y and z where these are.
KERNEL tape_map(Bend bend, u32 order, const stored* x, const stored* y, const stored* z, u64 n, stored* out) {
  u64 k = thread();
  if (k >= n) return;
  Curve c = bent(bend, number(x, k));
  double value = order == 0 ? c.f : order == 1 ? c.d : c.dd;
  if (y) value *= number(y, k);
  if (z) value *= number(z, k);
  put(out, k, value);
}

// φ(s) a + φ'(s) ds b
KERNEL tape_scale(Bend bend, u32 width, const stored* s, const stored* ds, const stored* a, const stored* b, u64 n, stored* out) {
  u64 k = thread();
  if (k >= n) return;
  u64 row = k / width;
  Curve c = bent(bend, number(s, row));
  double value = a ? c.f * number(a, k) : 0;
  if (ds && b) value += c.d * number(ds, row) * number(b, k);
  put(out, k, value);
}

// φ'(s) ⟨c, a⟩ + φ''(s) ds ⟨c, b⟩; a warp has a row.
KERNEL tape_contract(Bend bend, u32 width, const stored* s, const stored* ds, const stored* c, const stored* a, const stored* b, u64 n, stored* out) {
  u64 row = thread() / 32;
  if (row >= n) return;
  double first = 0, second = 0;
  for (u32 u = threadIdx.x % 32; u < width; u += 32) {
    u64 k = row * width + u;
    double own = number(c, k);
    first += own * number_or_zero(a, k), second += own * number_or_zero(b, k);
  }
  first = reduce(first), second = reduce(second);
  if (threadIdx.x % 32) return;
  Curve at = bent(bend, number(s, row));
  put(out, row, at.d * first + at.dd * number_or_zero(ds, row) * second);
}

KERNEL tape_add(const stored* x, u64 n, stored* to) {
  u64 k = thread();
  if (k < n) put(to, k, number(to, k) + number(x, k));
}

// Columns of n rows: `width` of them, from where the rows begin with the first.
KERNEL tape_columns(const stored* from, u32 from_width, stored* to, u32 to_width, u32 width, u64 n) {
  u64 k = thread();
  if (k < n * width) to[k / width * to_width + k % width] = from[k / width * from_width + k % width];
}

// The columns of one part of several; others are zero.
KERNEL tape_part(const stored* x, u32 width, u32 own, u32 parts, u64 n, stored* out) {
  u64 k = thread();
  if (k < n) put(out, k, k % width * parts / width == own ? number(x, k) : 0);
}
