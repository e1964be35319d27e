//! What the launches of a call have in common.

use super::{GraphAt, Kernels, LANES, source};
use crate::Result;
use crate::device::cuda::kernel::{Grid, Module, arguments};
use crate::device::cuda::staging::Pinned;
use crate::device::cuda::stream::{Argument, Place, Stream};
use crate::graph::Exchange;
use std::ops::Range;

/// An exchange of features, and memory of the host that they go through.
pub struct Through<'a> {
    pub exchange: &'a mut dyn Exchange,
    pub host: &'a mut Pinned,
}

/// A row of so many numbers for each atom, on the device.
#[derive(Clone, Copy)]
pub struct Features {
    pub address: u64,
    pub width: usize,
    pub single: bool,
}

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

    /// Features before a layer: rows of owned atoms go to the host, those of the others come back.
    pub fn exchange_forward(&self, through: &mut Through, layer: usize, to: Features) -> Result<()> {
        let (owned, all) = (self.at.n_owned, self.at.n_atoms);
        let Through { exchange, host } = through;
        self.exchange(host, to, 0..owned, owned..all, |rows| exchange.forward(layer, to.width, rows))
    }

    /// Their adjoints: rows of all atoms go to the host, those of owned atoms come back.
    pub fn exchange_backward(&self, through: &mut Through, layer: usize, to: Features) -> Result<()> {
        let (owned, all) = (self.at.n_owned, self.at.n_atoms);
        let Through { exchange, host } = through;
        self.exchange(host, to, 0..all, 0..owned, |rows| exchange.backward(layer, to.width, rows))
    }

    fn exchange(
        &self,
        host: &mut Pinned,
        Features { address, width, single }: Features,
        from: Range<usize>,
        to: Range<usize>,
        f: impl FnOnce(&mut [f64]) -> Result<()>,
    ) -> Result<()> {
        let n = self.at.n_atoms * width;
        let [from, to] = [from, to].map(|rows| rows.start * width..rows.end * width);
        // Double precision for the exchange, and behind it, in single precision, what travels.
        let words = n + if single { n.div_ceil(2) } else { 0 };
        host.reserve(words)?;
        let Place { address: start, allocation } = host.place();
        let (size, start) = if single { (4, start + 8 * n as u64) } else { (8, start) };
        let at = |numbers: &Range<usize>| {
            let offset = (numbers.start * size) as u64;
            let on_device = Place { address: address + offset, allocation: self.allocation };
            (Place { address: start + offset, allocation }, on_device, numbers.len() * size)
        };
        let (on_host, on_device, bytes) = at(&from);
        if bytes > 0 {
            // SAFETY: `Layout` has room for the rows of all atoms, and so has the host, who looks at them after the wait.
            unsafe { self.stream.download(on_host, on_device, bytes) }?;
        }
        self.stream.wait()?;
        let (rows, narrow) = host.reserve(words)?.split_at_mut(n);
        // SAFETY: two numbers of single precision in the place of one.
        let narrow: &mut [f32] =
            unsafe { std::slice::from_raw_parts_mut(narrow.as_mut_ptr().cast(), if single { n } else { 0 }) };
        if single {
            rows[from.clone()].iter_mut().zip(&narrow[from]).for_each(|(x, &y)| *x = y.into());
        }
        f(rows)?;
        if single {
            narrow[to.clone()].iter_mut().zip(&rows[to.clone()]).for_each(|(x, &y)| *x = y as f32);
        }
        let (on_host, on_device, bytes) = at(&to);
        match bytes {
            0 => Ok(()),
            // SAFETY: as above; nobody writes there before the stream was waited for, by the next exchange or for the results.
            _ => unsafe { self.stream.upload(on_device, on_host, bytes) },
        }
    }

    pub fn clear(&self, address: u64, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: as in `queue`.
        unsafe { self.stream.fill(Place { address, allocation: self.allocation }, 0, bytes) }
    }
}
