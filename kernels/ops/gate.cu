// The gate: scalars pass an activation, every other channel is multiplied by an activated scalar of its own. Rows are scalars, gates, gated blocks;
// the gates do not come out.
//
// The code before this file defines N_SCALARS, N_GATES, DIM_IN, DIM_OUT, THREADS, the activations SCALAR and GATE with the factors SCALAR_CONSTANT and
// GATE_CONSTANT, and by gated block the tables BLOCK_first (its first gate; the end of the last one), BLOCK_dim, IN_base, IN_component,
// IN_channel, OUT_base, OUT_component, OUT_channel. A thread has a scalar or a gated channel.

template <class T> DEVICE Activated<T> scalar(T x) { return activated(SCALAR(value(x)), SCALAR_CONSTANT, x); }
template <class T> DEVICE Activated<T> gate(T x) { return activated(GATE(value(x)), GATE_CONSTANT, x); }

// A row, and a scalar or gate of it; for a gate the block and the channel that it is for.
struct Place { u64 in, out; u32 scalar, block, channel; };

DEVICE bool find(u32 n, Place& p) {
  const u32 across = N_SCALARS + N_GATES > 0 ? N_SCALARS + N_GATES : 1;
  u64 k = u64(blockIdx.x) * THREADS + threadIdx.x, row = k / across;
  p.in = row * DIM_IN, p.out = row * DIM_OUT, p.scalar = k % across, p.block = 0;
  if (p.scalar >= N_SCALARS) {
    u32 g = p.scalar - N_SCALARS;
    while (g >= BLOCK_first[p.block + 1]) p.block++;
    p.channel = g - BLOCK_first[p.block];
  }
  return row < n;
}
DEVICE u64 in_at(const Place& p, u32 m) { return p.in + IN_base[p.block] + m * IN_component[p.block] + p.channel * IN_channel[p.block]; }
DEVICE u64 out_at(const Place& p, u32 m) { return p.out + OUT_base[p.block] + m * OUT_component[p.block] + p.channel * OUT_channel[p.block]; }

template <class T> DEVICE void forward(const Input& x, u32 n, const Output& out) {
  Place p;
  if (!find(n, p)) return;
  T own = load<T>(x, p.in + p.scalar);
  if (p.scalar < N_SCALARS) return store(out, p.out + p.scalar, scalar(own).y);
  T factor = gate(own).y;
  for (u32 m = 0; m < BLOCK_dim[p.block]; m++) store(out, out_at(p, m), factor * load<T>(x, in_at(p, m)));
}

// The gradients, or their derivatives; beside them, where they are wanted, the derivatives of the result.
template <class T> DEVICE void backward(const Input& x, u32 n, const Input& out_bar, const Output& x_bar, const Output& out) {
  if (out.to) forward<T>(x, n, out);
  Place p;
  if (!find(n, p) || !x_bar.to) return;
  T own = load<T>(x, p.in + p.scalar);
  if (p.scalar < N_SCALARS) return store(x_bar, p.in + p.scalar, load<real>(out_bar, p.out + p.scalar) * scalar(own).slope);
  Activated<T> factor = gate(own);
  T sum = zero<T>();
  for (u32 m = 0; m < BLOCK_dim[p.block]; m++) {
    real bar = load<real>(out_bar, out_at(p, m));
    sum += bar * load<T>(x, in_at(p, m));
    store(x_bar, in_at(p, m), bar * factor.y);
  }
  store(x_bar, p.in + p.scalar, factor.slope * sum);
}

KERNEL __launch_bounds__(THREADS) gate_forward(Input x, u32 n, Output out) { forward<real>(x, n, out); }
KERNEL __launch_bounds__(THREADS) gate_backward(Input x, u32 n, Input out_bar, Output x_bar) { backward<real>(x, n, out_bar, x_bar, Output{}); }
KERNEL __launch_bounds__(THREADS) gate_twice(Input x, u32 n, Input out_bar, Output x_bar, Output out) { backward<dual>(x, n, out_bar, x_bar, out); }
