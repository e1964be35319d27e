// What is between the matrices of a perceptron: bias, norm and activation, forwards and backwards. Numbers are in the type of computing; norms and
// activations are in f64, as norms amplify what rounding leaves. A warp has a row.
//
// The code before this file defines ACTIVATION with the factor ACTIVATION_CONSTANT, NORM (whether there are biases and norms), EPSILON, THREADS.

#define WARPS (THREADS / 32)
typedef Dual<double> wide_dual;

// Numbers and, where there are any, their derivatives.
struct Both { real* v; real* d; };
DEVICE void put(const Both& to, u64 k, double x) { to.v[k] = real(x); }
DEVICE void put(const Both& to, u64 k, wide_dual x) { to.v[k] = real(x.v), to.d[k] = real(x.d); }

template <class W> DEVICE W wide(const Input& x, u64 k);
template <> DEVICE double wide<double>(const Input& x, u64 k) { return x.v[k]; }
template <> DEVICE wide_dual wide<wide_dual>(const Input& x, u64 k) { return {double(x.v[k]), x.d ? double(x.d[k]) : 0}; }
template <class W> DEVICE W wide(const Both& x, u64 k) { return wide<W>(Input{x.v, x.d}, k); }

template <class W> DEVICE Activated<W> activate(W x) { return activated(ACTIVATION(value(x)), ACTIVATION_CONSTANT, x); }

// The parameters of a layer, one number a column each.
struct Parameters { Input bias, scale, shift; };
// Mean and inverse deviation of a row.
template <class W> struct Norm { W mean, inverse; };

template <class W> DEVICE W argument(const Input& before, u64 row, u32 j, const Parameters& p) {
  W a = wide<W>(before, row + j);
  return NORM ? a + wide<W>(p.bias, j) : a;
}

template <class W> DEVICE Norm<W> norm_of(const Input& before, u64 row, u32 width, const Parameters& p) {
  W sum = zero<W>(), square = zero<W>();
  if (!NORM) return {sum, sum};
  for (u32 j = threadIdx.x % 32; j < width; j += 32) sum += argument<W>(before, row, j, p);
  W mean = (1.0 / width) * reduce(sum);
  for (u32 j = threadIdx.x % 32; j < width; j += 32) {
    W d = argument<W>(before, row, j, p) - mean;
    square += d * d;
  }
  W variance = (1.0 / width) * reduce(square);
  return {mean, inverse_root(variance + W{double(EPSILON)})};
}

template <class W> DEVICE void forward(u32 n, u32 width, const Input& before, const Parameters& p, const Both& after) {
  u64 i = u64(blockIdx.x) * WARPS + threadIdx.x / 32, row = i * width;
  if (i >= n) return;
  Norm<W> norm = norm_of<W>(before, row, width, p);
  for (u32 j = threadIdx.x % 32; j < width; j += 32) {
    W a = argument<W>(before, row, j, p);
    if (NORM) a = (a - norm.mean) * norm.inverse * wide<W>(p.scale, j) + wide<W>(p.shift, j);
    put(after, row + j, activate(a).y);
  }
}

// From the gradient `h` after the activation: with a norm, `h` becomes that of the activation's argument and `normed` the normed numbers; `bar`
// becomes the gradient before it all.
template <class W> DEVICE void backward(u32 n, u32 width, const Input& before, const Parameters& p, const Both& h, const Both& normed, const Both& bar) {
  u64 i = u64(blockIdx.x) * WARPS + threadIdx.x / 32, row = i * width;
  if (i >= n) return;
  Norm<W> norm = norm_of<W>(before, row, width, p);
  W plain = zero<W>(), along = zero<W>();
  for (u32 j = threadIdx.x % 32; j < width; j += 32) {
    W a = argument<W>(before, row, j, p), h_bar = wide<W>(h, row + j);
    if (!NORM) {
      put(bar, row + j, activate(a).slope * h_bar);
      continue;
    }
    W y = (a - norm.mean) * norm.inverse, scale = wide<W>(p.scale, j);
    W c_bar = activate(y * scale + wide<W>(p.shift, j)).slope * h_bar, y_bar = c_bar * scale;
    plain += y_bar, along += y_bar * y;
    put(normed, row + j, y);
    put(h, row + j, c_bar);
  }
  if (!NORM) return;
  plain = (1.0 / width) * reduce(plain), along = (1.0 / width) * reduce(along);
  // Every lane reads what it wrote.
  for (u32 j = threadIdx.x % 32; j < width; j += 32) {
    W y = wide<W>(normed, row + j), y_bar = wide<W>(h, row + j) * wide<W>(p.scale, j);
    put(bar, row + j, (y_bar - plain - y * along) * norm.inverse);
  }
}

// Sums over rows from blockIdx.y · chunk on of `x`, times `y` if that has an address.
template <class T> DEVICE void columns(u32 n, u32 width, u32 chunk, const Input& x, const Input& y, const Scratch& out) {
  u32 j = blockIdx.x * blockDim.x + threadIdx.x;
  if (j >= width) return;
  T sum = zero<T>();
  for (u32 i = blockIdx.y * chunk; i < min(n, (blockIdx.y + 1) * chunk); i++) {
    T a = load<T>(x, u64(i) * width + j);
    sum += y.v ? a * load<T>(y, u64(i) * width + j) : a;
  }
  store(out, u64(blockIdx.y) * width + j, sum);
}

#define ARGUMENTS u32 n, u32 width, Input before, Parameters p
KERNEL __launch_bounds__(THREADS) mlp_forward(ARGUMENTS, Both after) { forward<double>(n, width, before, p, after); }
KERNEL __launch_bounds__(THREADS) mlp_forward_dual(ARGUMENTS, Both after) { forward<wide_dual>(n, width, before, p, after); }
KERNEL __launch_bounds__(THREADS) mlp_backward(ARGUMENTS, Both h, Both normed, Both bar) { backward<double>(n, width, before, p, h, normed, bar); }
KERNEL __launch_bounds__(THREADS) mlp_backward_dual(ARGUMENTS, Both h, Both normed, Both bar) {
  backward<wide_dual>(n, width, before, p, h, normed, bar);
}
KERNEL mlp_columns(u32 n, u32 width, u32 chunk, Input x, Input y, Scratch out) { columns<real>(n, width, chunk, x, y, out); }
KERNEL mlp_columns_dual(u32 n, u32 width, u32 chunk, Input x, Input y, Scratch out) { columns<dual>(n, width, chunk, x, y, out); }

// The bias of the last layer, or its direction, if it has an address.
KERNEL mlp_bias(u64 n, u32 width, const real* rows, const real* bias, Output out) {
  u64 k = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (k < n) store(out, k, bias ? rows[k] + bias[k % width] : rows[k]);
}
