//! What the launches of a call have in common.

use super::{GraphAt, Kernels, LANES, ROWS, source};
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

/// Centres that layers work on at a time, so that messages, by far the widest rows, are there for so many alone.
pub const SLICE: usize = 1 << 15;

/// Centres that are worked on together.
#[derive(Clone, Copy)]
pub struct Slice {
    pub begin: usize,
    pub n: usize,
    /// Their edges; of all centres in one slice, as many as there are at most.
    pub edges: [usize; 2],
    /// Centres by species in blocks of [`ROWS`], counted from the first.
    pub order: u64,
    pub n_slots: usize,
}

impl Slice {
    /// Where the rows of its centres are, of `bytes` each; 0 for rows that are not there.
    pub fn of(&self, rows: u64, bytes: usize) -> u64 {
        if rows == 0 { 0 } else { rows + (self.begin * bytes) as u64 }
    }
}

/// How many centres a slice has. Slices of owned ones have few others: the last layer is for these alone.
pub fn slice(n_owned: usize, n_centres: usize) -> usize {
    match n_owned < n_centres && n_centres > SLICE {
        true => n_owned.div_ceil(n_owned.div_ceil(SLICE).max(1)).max(SLICE / 2),
        false => SLICE,
    }
}

/// Slots of a slice where there are several.
pub fn slots(n_species: usize) -> usize {
    SLICE + n_species * ROWS
}

/// What launches of a call have in common.
pub struct Run<'a> {
    pub at: GraphAt,
    pub slices: Vec<Slice>,
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

    /// All centres, by no species.
    pub fn all(&self) -> Slice {
        Slice { begin: 0, n: self.at.n_centres, edges: [0, self.at.n_edges], order: 0, n_slots: 0 }
    }

    /// The slices that owned centres are in.
    pub fn owned(&self) -> &[Slice] {
        &self.slices[..self.slices.partition_point(|slice| slice.begin < self.at.n_owned)]
    }

    /// Of the centres of a slice.
    pub fn species(&self, slice: &Slice) -> u64 {
        slice.of(self.at.graph.species, 4)
    }

    /// Cuts centres into slices, with room for the order of all at `order`. More than one, and it waits for the edges to be counted.
    pub fn cut(&mut self, n_species: usize, order: u64) -> Result<()> {
        let GraphAt { n_owned, n_centres, n_edges, graph, .. } = self.at;
        let n32 = n_centres as u32;
        if n_centres <= SLICE {
            let (mut order, mut n_slots) = (order, n_centres.next_multiple_of(ROWS));
            if self.at.order == 0 {
                let slots = n_slots as u32;
                self.over("count", n_slots, arguments![n32, slots, order])?;
            } else {
                (order, n_slots) = (self.at.order, self.at.n_slots);
            }
            self.slices = vec![Slice { begin: 0, n: n_centres, edges: [0, n_edges], order, n_slots }];
            return Ok(());
        }
        let (size, n_slots) = (slice(n_owned, n_centres), slots(n_species));
        let (slice, block, slots, species) = (size as u32, ROWS as u32, n_slots as u32, graph.species);
        let n_slices = n_centres.div_ceil(size);
        let arguments = arguments![n32, slice, block, slots, species, order];
        self.queue(&self.kernels.atoms, "arrange", [n_slices, 1, 1], 1024, arguments)?;
        let begins: Vec<usize> = (0..=n_slices).map(|k| (k * size).min(n_centres)).collect();
        let mut edges = vec![0_u32; begins.len()];
        for (begin, to) in begins.iter().zip(&mut edges) {
            let host = Place { address: std::ptr::from_mut(to).addr() as u64, allocation: 0 };
            let from = Place { address: graph.first + 4 * *begin as u64, allocation: self.allocation };
            // SAFETY: there is an offset for each centre and one more; the word is looked at after the wait.
            unsafe { self.stream.download(host, from, 4) }?;
        }
        self.stream.wait()?;
        self.slices = (0..n_slices)
            .map(|k| Slice {
                begin: begins[k],
                n: begins[k + 1] - begins[k],
                edges: [edges[k] as usize, edges[k + 1] as usize],
                order: order + (4 * k * n_slots) as u64,
                n_slots,
            })
            .collect();
        Ok(())
    }

    /// A block for each centre of a slice.
    pub fn over_rows(&self, slice: &Slice, kernel: &str, arguments: &[Argument]) -> Result<()> {
        self.queue(&self.kernels.atoms, kernel, [slice.n, 1, 1], source::THREADS, arguments)
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
    pub fn add_rows(
        &self,
        slice: &Slice,
        width: usize,
        by_species: bool,
        [rows, x]: [u64; 2],
        assign: bool,
    ) -> Result<()> {
        let (width, species, assign) =
            (width as u32, if by_species { self.species(slice) } else { 0 }, u32::from(assign));
        self.over_rows(slice, "add_rows", arguments![width, species, rows, x, assign])
    }

    /// Features before a layer: rows of owned atoms go to the host, those of the others come back.
    pub fn exchange_forward(&self, through: &mut Through, layer: usize, to: Features) -> Result<()> {
        let (owned, all) = (self.at.n_owned, self.at.n_atoms);
        let Through { exchange, host } = through;
        self.exchange(host, to, 0..owned, owned..all, |rows| {
            // What nobody fills in is no number, and is found.
            rows[owned * to.width..].fill(f64::NAN);
            exchange.forward(layer, to.width, rows)
        })
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
