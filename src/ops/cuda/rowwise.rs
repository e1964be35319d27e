//! Operations on the rows of a single input, each for itself: `kernels/ops/harmonics.cu`, `radial.cu`, `gate.cu`.

use super::launch::{Input, Module, Output, Target, launch};
use super::{Call, DeviceKernel};
use crate::Result;
use crate::ops::kernel::Sizes;

/// Threads of a block, but for operations that need fewer.
pub(crate) const THREADS: usize = 128;

/// The kernels of one operation: forward, backward, and both derivatives of double backward at once.
pub(crate) struct Kernels {
    pub name: &'static str,
    pub forward: &'static str,
    pub backward: &'static str,
    pub twice: &'static str,
}

/// The names of kernels that begin with that of the operation.
macro_rules! kernels {
    ($name:literal) => {
        $crate::ops::cuda::rowwise::Kernels {
            name: $name,
            forward: concat!($name, "_forward"),
            backward: concat!($name, "_backward"),
            twice: concat!($name, "_twice"),
        }
    };
}
pub(crate) use kernels;

pub(crate) struct Rowwise {
    kernels: Kernels,
    module: Module,
    threads: usize,
    /// Threads of a row.
    across: usize,
    /// Whether kernels take two lists of indices, which may be empty.
    indexed: bool,
}

impl Rowwise {
    pub fn new(kernels: Kernels, source: &str, shape: [usize; 2], indexed: bool, target: &Target) -> Result<Rowwise> {
        let [threads, across] = shape;
        Ok(Rowwise { module: target.module(kernels.name, source)?, kernels, threads, across, indexed })
    }

    fn grid(&self, call: &Call) -> [usize; 3] {
        [(call.sizes.rows * self.across).div_ceil(self.threads), 1, 1]
    }

    /// Addresses of the two lists, 0 where there are none.
    fn lists(call: &Call) -> [u64; 2] {
        [0, 1].map(|k| if k < call.lists.count() { call.lists.address(k) } else { 0 })
    }
}

impl DeviceKernel for Rowwise {
    fn prepare(&self, _: Sizes, indices: &[&[u32]]) -> Vec<Vec<u32>> {
        indices.iter().map(|i| i.to_vec()).collect()
    }

    fn forward(&self, call: &mut Call, out: Output) -> Result<()> {
        let (kernel, grid, threads) = (self.kernels.forward, self.grid(call), self.threads);
        let ([i, j], x, n) = (Rowwise::lists(call), call.input(0, false), call.sizes.rows as u32);
        match self.indexed {
            true => launch!(self.module, kernel, call, grid, threads, [x, i, j, n, out]),
            false => launch!(self.module, kernel, call, grid, threads, [x, n, out]),
        }
        Ok(())
    }

    fn backward(&self, call: &mut Call, cotangent: u64, gradients: &[Output]) -> Result<()> {
        let to = gradients[0];
        if !to.wanted() {
            return Ok(());
        }
        let (kernel, grid, threads) = (self.kernels.backward, self.grid(call), self.threads);
        let ([i, j], x, n) = (Rowwise::lists(call), call.input(0, false), call.sizes.rows as u32);
        let g = Input::constant(cotangent);
        match self.indexed {
            true => launch!(self.module, kernel, call, grid, threads, [x, i, j, n, g, to]),
            false => launch!(self.module, kernel, call, grid, threads, [x, n, g, to]),
        }
        Ok(())
    }

    fn double_backward(&self, call: &mut Call, cotangent: u64, seconds: &[Output]) -> Result<()> {
        let &[to, out] = seconds else { unreachable!("one input and the cotangent") };
        if !to.wanted() && !out.wanted() {
            return Ok(());
        }
        let (kernel, grid, threads) = (self.kernels.twice, self.grid(call), self.threads);
        let ([i, j], x, n) = (Rowwise::lists(call), call.input(0, true), call.sizes.rows as u32);
        let g = Input::constant(cotangent);
        match self.indexed {
            true => launch!(self.module, kernel, call, grid, threads, [x, i, j, n, g, to, out]),
            false => launch!(self.module, kernel, call, grid, threads, [x, n, g, to, out]),
        }
        Ok(())
    }
}
