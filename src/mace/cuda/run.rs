//! What the launches of a call have in common.

use super::{GraphAt, Kernels, LANES, source};
use crate::Result;
use crate::device::cuda::context::reals;
use crate::device::cuda::kernel::{Grid, Module, arguments};
use crate::device::cuda::stream::{Argument, Place, Stream};

/// What is done with the adjoints of rows that were exchanged.
pub type Back<'a> = Option<&'a mut dyn FnMut(&mut [f64]) -> Result<()>>;

/// What launches of a call have in common.
pub struct Run<'a> {
    pub at: GraphAt,
    /// A species for all.
    pub zeros: u64,
    pub kernels: &'a Kernels,
    pub stream: &'a Stream,
    /// Of the workspace.
    pub allocation: u64,
}

impl Run<'_> {
    pub fn queue(
        &self,
        module: &Module,
        kernel: &str,
        blocks: [usize; 3],
        threads: usize,
        arguments: &[Argument],
    ) -> Result<()> {
        let grid = Grid { blocks: 0, threads, shared: 0 };
        // SAFETY: arguments are what `kernels/mace` and `kernels/ops` declare; `Layout` has made room, the graph is the caller's.
        unsafe { module.launch_blocks(kernel, blocks, grid, self.stream, arguments) }
    }

    /// A block for each centre.
    pub fn over_rows(&self, kernel: &str, arguments: &[Argument]) -> Result<()> {
        self.queue(&self.kernels.atoms, kernel, [self.at.n_centres, 1, 1], source::THREADS, arguments)
    }

    /// Some lanes for each centre.
    pub fn over_lanes(&self, kernel: &str, arguments: &[Argument]) -> Result<()> {
        self.over(kernel, self.at.n_centres * LANES, arguments)
    }

    /// A thread for each of `n`.
    pub fn over(&self, kernel: &str, n: usize, arguments: &[Argument]) -> Result<()> {
        self.queue(&self.kernels.atoms, kernel, [n.div_ceil(source::THREADS), 1, 1], source::THREADS, arguments)
    }

    /// `x += rows`, or `x = rows`, with the rows of the species of the centres or of themselves.
    pub fn add_rows(&self, width: usize, by_species: bool, rows: u64, x: u64, assign: bool) -> Result<()> {
        let (width, species, assign) =
            (width as u32, if by_species { self.at.graph.species } else { 0 }, u32::from(assign));
        self.over_rows("add_rows", arguments![width, species, rows, x, assign])
    }

    /// Hands a row of features for each atom to the host and takes it back.
    pub fn exchange(
        &self,
        address: u64,
        width: usize,
        single: bool,
        f: impl FnOnce(&mut [f64]) -> Result<()>,
    ) -> Result<()> {
        let n = self.at.n_atoms * width;
        let mut bytes = vec![0_u8; n * if single { 4 } else { 8 }];
        let on_device = Place { address, allocation: self.allocation };
        if n > 0 {
            let host = Place { address: bytes.as_mut_ptr().addr() as u64, allocation: 0 };
            // SAFETY: `Layout` has room for the rows of all atoms, the host for as many bytes, which is looked at after the wait.
            unsafe { self.stream.download(host, on_device, bytes.len()) }?;
            self.stream.wait()?;
        }
        let mut rows: Vec<f64> = match single {
            true => bytes.as_chunks().0.iter().map(|&b| f64::from(f32::from_ne_bytes(b))).collect(),
            false => bytes.as_chunks().0.iter().map(|&b| f64::from_ne_bytes(b)).collect(),
        };
        f(&mut rows)?;
        if n == 0 {
            return Ok(());
        }
        let bytes = reals(&rows, single);
        let host = Place { address: bytes.as_ptr().addr() as u64, allocation: 0 };
        // SAFETY: as above; the bytes live until the copy is done.
        unsafe { self.stream.upload(on_device, host, bytes.len()) }?;
        self.stream.wait()
    }

    pub fn clear(&self, address: u64, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: as in `queue`.
        unsafe { self.stream.fill(Place { address, allocation: self.allocation }, 0, bytes) }
    }
}
