//! Operations that compute with other numbers than they keep in memory: arguments are widened before, results rounded after them.

use super::launch::{Module, Output, Target, launch};
use super::source::{Source, THREADS};
use super::{Call, DeviceKernel};
use crate::Result;
use crate::dtype::Dtype;
use crate::ops::kernel::{MAX_INPUTS, Ports, Sizes};
use crate::ops::spec::Spec;

/// Scratch pieces before these belong to the operation itself.
const FIRST_PIECE: usize = 1 << 8;

/// An operation on f32, for numbers of sixteen bits.
pub(crate) struct Converted {
    pub inner: Box<dyn DeviceKernel>,
    module: Module,
    ports: Ports,
}

pub(crate) fn source(storage: Dtype) -> String {
    Source::checked(storage).finish(&[include_str!("../../../kernels/ops/sums.cu")])
}

impl Converted {
    pub fn new(inner: Box<dyn DeviceKernel>, spec: &Spec, target: &Target) -> Result<Converted> {
        Ok(Converted { inner, module: target.module("sums", &source(spec.storage))?, ports: spec.ports()? })
    }

    /// A piece of scratch memory with `n` numbers of an argument, or none where it has none.
    fn widened(&self, call: &mut Call, piece: usize, from: u64, n: usize) -> Result<u64> {
        if from == 0 {
            return Ok(0);
        }
        let to = call.reserve(FIRST_PIECE + piece, n * size_of::<f32>())?;
        let count = n as u64;
        launch!(self.module, "widen_all", call, [n.div_ceil(THREADS), 1, 1], THREADS, [from, count, to]);
        Ok(to)
    }

    /// Runs a pass on f32. Results are by input, and that of the output's shape last.
    fn run(
        &self,
        call: &mut Call,
        cotangent: u64,
        results: &[Output],
        pass: impl FnOnce(&mut Call, u64, &[Output]) -> Result<()>,
    ) -> Result<()> {
        let (sizes, n) = (call.sizes, self.ports.inputs.len());
        let len = |k: usize| self.ports.inputs.get(k).unwrap_or(&self.ports.output).len(sizes);
        let (mut inputs, mut directions, mut to) =
            ([0; MAX_INPUTS], [0; MAX_INPUTS], [Output::default(); MAX_INPUTS + 1]);
        for (k, (value, direction)) in inputs.iter_mut().zip(&mut directions).enumerate().take(n) {
            *value = self.widened(call, k, call.inputs[k], len(k))?;
            *direction = self.widened(call, MAX_INPUTS + k, call.directions[k], len(k))?;
        }
        let cotangent = self.widened(call, 2 * MAX_INPUTS, cotangent, len(n))?;
        for (k, _) in results.iter().enumerate().filter(|(_, r)| r.wanted()) {
            let piece = FIRST_PIECE + 2 * MAX_INPUTS + 1 + k;
            to[k] = Output::inner(call.reserve(piece, len(k) * size_of::<f32>())?);
        }
        let Call { lists, stream, memory, .. } = call;
        let mut inner = Call { sizes, inputs: &inputs[..n], directions: &directions[..n], lists, stream, memory };
        pass(&mut inner, cotangent, &to[..results.len()])?;
        for (k, &result) in results.iter().enumerate().filter(|(_, r)| r.wanted()) {
            let (one, count, from) = (1_u32, len(k) as u64, to[k].to);
            let grid = [len(k).div_ceil(THREADS), 1, 1];
            launch!(self.module, "sum_rows_stored", call, grid, THREADS, [from, one, count, result]);
        }
        Ok(())
    }
}

impl DeviceKernel for Converted {
    fn prepare(&self, sizes: Sizes, indices: &[&[u32]]) -> Vec<Vec<u32>> {
        self.inner.prepare(sizes, indices)
    }

    fn forward(&self, call: &mut Call, out: Output) -> Result<()> {
        let n = call.inputs.len();
        let mut results = [Output::default(); MAX_INPUTS + 1];
        results[n] = out;
        self.run(call, 0, &results[..=n], |call, _, to| self.inner.forward(call, to[n]))
    }

    fn backward(&self, call: &mut Call, cotangent: u64, gradients: &[Output]) -> Result<()> {
        self.run(call, cotangent, gradients, |call, cotangent, to| self.inner.backward(call, cotangent, to))
    }

    fn double_backward(&self, call: &mut Call, cotangent: u64, seconds: &[Output]) -> Result<()> {
        self.run(call, cotangent, seconds, |call, cotangent, to| self.inner.double_backward(call, cotangent, to))
    }
}
