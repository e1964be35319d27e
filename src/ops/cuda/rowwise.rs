//! Operations on the rows of a single input, each for itself: `kernels/ops/harmonics.cu`, `radial.cu`, `gate.cu`.

use super::launch::{Input, Module, Output, Target, launch};
use super::{Call, DeviceKernel};
use crate::Result;
use crate::ops::kernel::Sizes;

/// Threads of a block.
pub(crate) const THREADS: usize = 128;

/// The kernels of one operation.
pub(crate) struct Kernels {
    pub name: &'static str,
    /// For values and for duals.
    pub forward: [&'static str; 2],
    pub backward: [&'static str; 2],
}

/// The names of kernels that begin with that of the operation.
macro_rules! kernels {
    ($name:literal) => {
        $crate::ops::cuda::rowwise::Kernels {
            name: $name,
            forward: [concat!($name, "_forward"), concat!($name, "_forward_dual")],
            backward: [concat!($name, "_backward"), concat!($name, "_backward_dual")],
        }
    };
}
pub(crate) use kernels;

pub(crate) struct Rowwise {
    kernels: Kernels,
    module: Module,
    /// Threads of a row.
    across: usize,
    /// Whether kernels take two lists of indices, which may be empty.
    indexed: bool,
}

impl Rowwise {
    pub fn new(kernels: Kernels, source: &str, across: usize, indexed: bool, target: &Target) -> Result<Rowwise> {
        Ok(Rowwise { module: target.module(kernels.name, source)?, kernels, across, indexed })
    }

    fn grid(&self, call: &Call) -> [usize; 3] {
        [(call.sizes.rows * self.across).div_ceil(THREADS), 1, 1]
    }

    /// Addresses of the two lists, 0 where there are none.
    fn lists(call: &Call) -> [u64; 2] {
        [0, 1].map(|k| if k < call.lists.count() { call.lists.address(k) } else { 0 })
    }

    fn out(&self, call: &mut Call, dual: bool, out: Output) -> Result<()> {
        if !out.wanted() {
            return Ok(());
        }
        let (kernel, grid) = (self.kernels.forward[usize::from(dual)], self.grid(call));
        let ([i, j], x, n) = (Rowwise::lists(call), call.input(0, dual), call.sizes.rows as u32);
        match self.indexed {
            true => launch!(self.module, kernel, call, grid, THREADS, [x, i, j, n, out]),
            false => launch!(self.module, kernel, call, grid, THREADS, [x, n, out]),
        }
        Ok(())
    }

    fn gradient(&self, call: &mut Call, dual: bool, cotangent: u64, to: Output) -> Result<()> {
        if !to.wanted() {
            return Ok(());
        }
        let (kernel, grid, g) = (self.kernels.backward[usize::from(dual)], self.grid(call), Input::constant(cotangent));
        let ([i, j], x, n) = (Rowwise::lists(call), call.input(0, dual), call.sizes.rows as u32);
        match self.indexed {
            true => launch!(self.module, kernel, call, grid, THREADS, [x, i, j, n, g, to]),
            false => launch!(self.module, kernel, call, grid, THREADS, [x, n, g, to]),
        }
        Ok(())
    }
}

impl DeviceKernel for Rowwise {
    fn prepare(&self, _: Sizes, indices: &[&[u32]]) -> Vec<Vec<u32>> {
        indices.iter().map(|i| i.to_vec()).collect()
    }

    fn forward(&self, call: &mut Call, out: Output) -> Result<()> {
        self.out(call, false, out)
    }

    fn backward(&self, call: &mut Call, cotangent: u64, gradients: &[Output]) -> Result<()> {
        self.gradient(call, false, cotangent, gradients[0])
    }

    fn double_backward(&self, call: &mut Call, cotangent: u64, seconds: &[Output]) -> Result<()> {
        self.out(call, true, seconds[1])?;
        self.gradient(call, true, cotangent, seconds[0])
    }
}
