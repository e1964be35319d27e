//! The gate of nonlinear blocks.

use crate::mace::network::{Gate, silu};
use crate::simd::{Lanes, Real, as_reals, as_reals_mut};

pub struct GateStep {
    scalar: f64,
    gate: f64,
    /// Degrees of the gated blocks.
    ls: Vec<usize>,
}

fn sigmoid(x: f64) -> [f64; 2] {
    let s = 1.0 / (1.0 + (-x).exp());
    [s, s * (1.0 - s)]
}

impl GateStep {
    pub fn new(gate: &Gate) -> GateStep {
        let ls = gate.after.from.ls[1..].to_vec();
        GateStep { scalar: gate.scalar_constant, gate: gate.gate_constant, ls }
    }

    /// Components of the input: a scalar, a gate for each block, the blocks.
    fn n_in(&self) -> usize {
        self.n_out() + self.ls.len()
    }

    fn n_out(&self) -> usize {
        1 + self.ls.iter().map(|l| 2 * l + 1).sum::<usize>()
    }

    /// `y` (rows, n_out) of `x` (rows, n_in), a row for each atom and channel block.
    pub fn forward<V: Lanes>(&self, x: &[V], y: &mut [V]) {
        let (n_in, n_out) = (self.n_in() * V::N, self.n_out() * V::N);
        for (x, y) in as_reals(x).chunks(n_in).zip(as_reals_mut(y).chunks_mut(n_out)) {
            for lane in 0..V::N {
                y[lane] = V::Real::of(self.scalar * silu(x[lane].to_f64())[0]);
                self.for_gated::<V>(lane, |gate, input, output| {
                    let g = V::Real::of(self.gate * sigmoid(x[gate].to_f64())[0]);
                    y[output] = g * x[input];
                });
            }
        }
    }

    /// Overwrites `x_bar` with the gradient for that of `y`.
    pub fn backward<V: Lanes>(&self, x: &[V], y_bar: &[V], x_bar: &mut [V]) {
        let (n_in, n_out) = (self.n_in() * V::N, self.n_out() * V::N);
        x_bar.fill(V::zero());
        let bars = as_reals(y_bar).chunks(n_out).zip(as_reals_mut(x_bar).chunks_mut(n_in));
        for (x, (y, bar)) in as_reals(x).chunks(n_in).zip(bars) {
            for lane in 0..V::N {
                bar[lane] = y[lane] * V::Real::of(self.scalar * silu(x[lane].to_f64())[1]);
                self.for_gated::<V>(lane, |gate, input, output| {
                    let [g, slope] = sigmoid(x[gate].to_f64()).map(|g| V::Real::of(self.gate * g));
                    bar[input] = g * y[output];
                    bar[gate] += slope * (x[input] * y[output]);
                });
            }
        }
    }

    /// Gate, input and output of every gated component.
    #[inline(always)]
    fn for_gated<V: Lanes>(&self, lane: usize, mut f: impl FnMut(usize, usize, usize)) {
        let (mut input, mut output) = (1 + self.ls.len(), 1);
        for (k, l) in self.ls.iter().enumerate() {
            for _ in 0..2 * l + 1 {
                f((1 + k) * V::N + lane, input * V::N + lane, output * V::N + lane);
                (input, output) = (input + 1, output + 1);
            }
        }
    }
}
