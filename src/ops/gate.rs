//! The gate: scalars pass an activation, every other channel is multiplied by an activated scalar of its own.
//!
//! Input: scalars (s), gates (g, one a gated channel), gated blocks. Output: `κ_φ φ(s)`, then each gated block times `κ_σ σ(g)`.

use super::activation::Activation;
use super::irreps::{Block, Irrep, Irreps};
use super::kernel::{Call, Extent, Kernel, Pass, Port, Ports, Sizes, Wanted, for_parts};
use super::scratch::Scratch;
use crate::parallel::Disjoint;
use crate::simd::Real;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Of rows `x`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Blocks `0e`.
    pub scalars: Irreps,
    pub gated: Irreps,
    pub activation: Activation,
    /// `κ_φ`, which rescales the activation.
    pub constant: f64,
    pub gate_activation: Activation,
    /// `κ_σ`
    pub gate_constant: f64,
}

impl Gate {
    pub(crate) fn n_gates(&self) -> usize {
        self.gated.blocks().iter().map(|b| b.mul).sum()
    }

    fn irreps(&self, gates: bool) -> Result<Irreps> {
        let gates = gates.then_some(Block { mul: self.n_gates(), irrep: Irrep::SCALAR });
        Irreps::new(
            self.scalars.blocks().iter().copied().chain(gates).chain(self.gated.blocks().iter().copied()).collect(),
        )
    }

    pub(crate) fn ports(&self) -> Result<Ports> {
        if let Some(b) = self.scalars.blocks().iter().find(|b| b.irrep != Irrep::SCALAR) {
            return Err(Error::Argument(format!("scalars: {}, expected 0e", b.irrep)));
        }
        if !(self.constant.is_finite() && self.gate_constant.is_finite()) {
            return Err(Error::Argument("constant, gate_constant: expected finite numbers".into()));
        }
        let inputs = vec![Port::of_irreps("x", Extent::Rows, &self.irreps(true)?)];
        Ok(Ports { inputs, indices: vec![], output: Port::of_irreps("out", Extent::Rows, &self.irreps(false)?) })
    }

    pub(crate) fn kernel<T: Real>(&self) -> Box<dyn Kernel<T>> {
        let scalars = self.scalars.dim();
        let gated = self.gated.blocks().iter().zip(self.gated.slices());
        Box::new(GateKernel {
            scalars,
            gates: self.n_gates(),
            gated: gated.map(|(b, slice)| (slice.start, b.irrep.dim(), b.mul)).collect(),
            width: self.gated.dim(),
            functions: [(self.activation, self.constant), (self.gate_activation, self.gate_constant)],
        })
    }
}

struct GateKernel {
    scalars: usize,
    gates: usize,
    /// Start, components, channels of each gated block.
    gated: Vec<(usize, usize, usize)>,
    width: usize,
    functions: [(Activation, f64); 2],
}

/// Rows that a thread takes at a time.
const ROWS: usize = 32;

impl GateKernel {
    fn eval(&self, which: usize, x: f64) -> [f64; 3] {
        let (activation, constant) = self.functions[which];
        activation.eval(x).map(|y| constant * y)
    }

    /// Runs `scalar(x, out, φ…)` and `gated(gate, x, out, σ…)` with the places of the numbers.
    fn run<T: Real>(
        &self,
        call: Call<T>,
        scalar: impl Fn(usize, usize, [f64; 3]) + Sync,
        gated: impl Fn(usize, usize, usize, [f64; 3]) + Sync,
    ) {
        let x = call.inputs[0];
        let (x_width, out_width) = (self.scalars + self.gates + self.width, self.scalars + self.width);
        for_parts(call.sizes.rows, ROWS, |part| {
            for row in part {
                let (from, to) = (row * x_width, row * out_width);
                for s in 0..self.scalars {
                    scalar(from + s, to + s, self.eval(0, x[from + s].to_f64()));
                }
                let mut gate = from + self.scalars;
                for &(start, components, channels) in &self.gated {
                    for u in 0..channels {
                        let f = self.eval(1, x[gate].to_f64());
                        for m in 0..components {
                            let at = start + m * channels + u;
                            gated(gate, from + self.scalars + self.gates + at, to + self.scalars + at, f);
                        }
                        gate += 1;
                    }
                }
            }
        });
    }
}

impl<T: Real> Kernel<T> for GateKernel {
    fn scratch(&self, _: Sizes, _: Pass, _: usize) -> usize {
        0
    }

    fn forward(&self, call: Call<T>, out: &mut [T], _: Scratch) {
        let (x, out) = (call.inputs[0], Disjoint::new(out));
        // SAFETY: `run` visits every row in one task.
        let put = |at: usize, value: f64| unsafe { *out.entry(at) = T::of(value) };
        self.run(call, |_, to, f| put(to, f[0]), |_, from, to, f| put(to, f[0] * x[from].to_f64()));
    }

    fn backward(&self, call: Call<T>, cotangent: &[T], gradients: Wanted<T>, _: Scratch) {
        let Some(bar) = &mut gradients[0] else { return };
        bar.fill(T::default());
        let (x, bar) = (call.inputs[0], Disjoint::new(bar));
        // SAFETY: as in `forward`.
        let add = |at: usize, value: f64| unsafe { *bar.entry(at) += T::of(value) };
        let o = |at: usize| cotangent[at].to_f64();
        self.run(
            call,
            |from, to, f| add(from, f[1] * o(to)),
            |gate, from, to, f| {
                add(gate, f[1] * x[from].to_f64() * o(to));
                add(from, f[0] * o(to));
            },
        );
    }

    fn double_backward(
        &self,
        call: Call<T>,
        cotangent: &[T],
        directions: &[Option<&[T]>],
        seconds: Wanted<T>,
        _: Scratch,
    ) {
        let x = |at: usize| call.inputs[0][at].to_f64();
        let dx = |at: usize| directions[0].map_or(0.0, |d| d[at].to_f64());
        let o = |at: usize| cotangent[at].to_f64();
        let [bar, out] = seconds else { unreachable!("one input and the cotangent") };
        if let Some(out) = out {
            let out = Disjoint::new(out);
            // SAFETY: as in `forward`.
            let put = |at: usize, value: f64| unsafe { *out.entry(at) = T::of(value) };
            self.run(
                call,
                |from, to, f| put(to, f[1] * dx(from)),
                |gate, from, to, f| put(to, f[1] * dx(gate) * x(from) + f[0] * dx(from)),
            );
        }
        if let Some(bar) = bar {
            bar.fill(T::default());
            let bar = Disjoint::new(bar);
            // SAFETY: as in `forward`.
            let add = |at: usize, value: f64| unsafe { *bar.entry(at) += T::of(value) };
            self.run(
                call,
                |from, to, f| add(from, f[2] * dx(from) * o(to)),
                |gate, from, to, f| {
                    add(gate, (f[2] * dx(gate) * x(from) + f[1] * dx(from)) * o(to));
                    add(from, f[1] * dx(gate) * o(to));
                },
            );
        }
    }
}
