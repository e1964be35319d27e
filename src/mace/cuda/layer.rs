//! A layer on a device: what is queued for it, forwards and backwards.

use super::maps::{DeviceMap, apply};
use super::run::{SLICE, Slice};
use super::source;
use super::tables::DeviceTables;
use super::{Arena, Features, Run, Through};
use crate::Result;
use crate::device::cuda::context::{Buffer, Context, reals};
use crate::device::cuda::kernel::{Module, arguments};
use crate::device::cuda::stream::Stream;
use crate::mace::network::{Layer, Network, Norm};
use crate::precision::Precision;
use std::sync::Arc;

/// Bytes of the adjoints of edges' features that exist at a time, about.
const EDGE_BYTES: usize = 1 << 30;

pub struct Step {
    convolution: Module,
    contraction: Module,
    pub tables: DeviceTables,
    pub up: DeviceMap,
    message: DeviceMap,
    norm: Option<Norm>,
    gate: Option<Gate>,
    coefficients: Buffer<u8>,
    by_species: bool,
    atoms_of_a_thread: [usize; 2],
    linear: DeviceMap,
    skip: Option<DeviceMap>,
    is_first: bool,
    /// Bytes of a number that is computed with, and of one in a row.
    real: usize,
    stored: usize,
    /// Channels, and those of edges.
    pub k: usize,
    pub k_edge: usize,
    /// Components of edges' features, of messages, of the gate's input or `A`, of `A`, of products, of the next features.
    n_x: usize,
    n_m: usize,
    n_mid: usize,
    n_a: usize,
    n_b: usize,
    pub n_next: usize,
    /// Numbers in a row of features before.
    h_width: usize,
}

struct Gate {
    residual: DeviceMap,
    after: DeviceMap,
    scalar: f64,
    gated: f64,
    lmax: u32,
}

/// The first layer reads features that the species alone decides: rows by species, in double precision on the host.
pub struct FirstRows {
    pub up: Vec<f64>,
    /// What the skip connection and the residual of the gate make of them.
    pub skip: Option<Vec<f64>>,
    pub residual: Option<Vec<f64>>,
}

impl FirstRows {
    pub fn new(layer: &Layer, h: &[f64]) -> FirstRows {
        let k = layer.up.from.k;
        let rows = |f: &dyn Fn(usize, &[f64]) -> Vec<f64>| -> Vec<f64> {
            h.chunks(k).enumerate().flat_map(|(z, row)| f(z, row)).collect()
        };
        let up = rows(&|_, row| apply(&layer.up, row));
        let skip = Layer::of_species(&layer.skip, 0)
            .map(|_| rows(&|z, row| apply(Layer::of_species(&layer.skip, z).expect("one for each species"), row)));
        let residual = layer.gate.as_ref().map(|g| rows(&|_, row| apply(&g.residual, &apply(&layer.up, row))));
        FirstRows { up, skip, residual }
    }
}

/// The same on the device, 0 where there is none.
#[derive(Clone, Copy, Default)]
pub struct FirstAddresses {
    pub skip: u64,
    pub residual: u64,
}

/// Where a layer keeps what it needs on the way back.
#[derive(Clone, Copy, Default)]
pub struct Kept {
    a: u64,
    message: u64,
    gated: u64,
    norm: u64,
}

/// Memory that all layers share.
#[derive(Clone, Copy, Default)]
pub struct Shared {
    messages: u64,
    mid: [u64; 2],
    products: u64,
    density_bar: u64,
    edges: u64,
    /// The first and last edge that ends in each atom; how many atoms a range of edges ends in, and which.
    spans: u64,
    touched: u64,
}

/// What a layer reads and writes.
#[derive(Clone, Copy)]
pub struct Rows {
    /// Features, and those of edges made of them (of species, in the first layer).
    pub h: u64,
    pub up: u64,
    pub next: u64,
}

impl Step {
    /// # Errors
    /// What the driver and the compiler say.
    pub fn new(net: &Network, t: usize, precision: Precision, device: &Arc<Context>, stream: &Stream) -> Result<Step> {
        let layer = &net.layers[t];
        let (text, order) = source::contraction(layer, precision);
        let c = &layer.product;
        let k = c.from.k;
        let n_sets = c.coefficients.len() / (c.terms.len() * k).max(1);
        let mut sorted = Vec::with_capacity(c.coefficients.len());
        for z in 0..n_sets {
            let own = c.of_species(z);
            order.iter().for_each(|&term| sorted.extend_from_slice(&own[term * k..][..k]));
        }
        let mut coefficients = Buffer::new(device);
        coefficients.upload(&reals(&sorted, precision.is_single()), stream)?;
        let map = |maps: &[_]| DeviceMap::new(maps, precision.storage, device, stream);
        let one = |m| map(std::slice::from_ref(m));
        let gate = layer.gate.as_ref().map(|g| -> Result<Gate> {
            let lmax = g.after.from.ls.len() as u32 - 1;
            let (scalar, gated) = (g.scalar_constant, g.gate_constant);
            Ok(Gate { residual: one(&g.residual)?, after: one(&g.after)?, scalar, gated, lmax })
        });
        Ok(Step {
            convolution: Module::load(device, &source::convolution(net, t, precision))?,
            contraction: Module::load(device, &text)?,
            tables: DeviceTables::new(&layer.radial, layer.edge().k, precision, device)?,
            up: one(&layer.up)?,
            message: map(&layer.message)?,
            norm: layer.norm,
            gate: gate.transpose()?,
            coefficients,
            by_species: c.by_species,
            atoms_of_a_thread: source::atoms_of_a_thread(layer),
            linear: one(&layer.linear)?,
            skip: if layer.skip.is_empty() { None } else { Some(map(&layer.skip)?) },
            is_first: t == 0,
            real: precision.arithmetic.bytes(),
            stored: precision.storage.bytes(),
            k,
            k_edge: layer.edge().k,
            n_x: layer.edge().components(),
            n_m: layer.messages().components(),
            n_mid: layer.message[0].to.components(),
            n_a: c.from.components(),
            n_b: c.to.components(),
            n_next: layer.linear.to.components(),
            h_width: layer.up.from.components() * layer.up.from.k,
        })
    }

    pub fn bytes(&self) -> usize {
        let maps = [&self.up, &self.message, &self.linear].into_iter().chain(&self.skip);
        let gate = self.gate.iter().flat_map(|g| [&g.residual, &g.after]);
        maps.chain(gate).map(DeviceMap::bytes).sum::<usize>() + self.coefficients.capacity() + self.tables.bytes()
    }

    /// Numbers in a row of features of edges.
    pub fn up_width(&self) -> usize {
        self.n_x * self.k_edge
    }

    pub fn next_width(&self) -> usize {
        self.n_next * self.k
    }

    /// Rows of what comes out of the map of the messages.
    fn mid_width(&self) -> usize {
        self.n_mid * self.k
    }

    pub fn kept(&self, arena: &mut Arena, n: usize) -> Kept {
        let r = self.stored;
        let gate = if self.gate.is_some() { self.mid_width() } else { 0 };
        Kept {
            a: arena.take(n * self.n_a * self.k * r),
            message: arena.take(n * gate * r),
            gated: arena.take(n * gate * r),
            norm: arena.take(if self.norm.is_some() { n * self.real } else { 0 }),
        }
    }

    /// Room for any of the layers, with so many centres, atoms and edges.
    pub fn shared(steps: &[Step], arena: &mut Arena, [n, n_atoms, n_edges]: [usize; 3], gradients: bool) -> Shared {
        let most = |f: &dyn Fn(&Step) -> usize| steps.iter().map(|s| f(s) * s.stored).max().unwrap_or(0);
        let rows = n.min(SLICE);
        let mid = most(&|s| s.k * s.n_mid.max(s.n_a)) * rows;
        let gated = gradients && steps.iter().any(|s| s.gate.is_some());
        let chunk = |s: &Step| if s.is_first { 0 } else { s.up_width() * s.chunk().min(n_edges) };
        Shared {
            messages: arena.take(rows * most(&|s| s.n_m * s.k_edge)),
            mid: [arena.take(mid), arena.take(if gated { mid } else { 0 })],
            products: arena.take(rows * most(&|s| s.n_b * s.k)),
            density_bar: arena.take(8 * n),
            edges: arena.take(if gradients { most(&chunk) } else { 0 }),
            spans: arena.take(if gradients { 8 * n_atoms } else { 0 }),
            touched: arena.take(if gradients { 4 * (1 + n_atoms) } else { 0 }),
        }
    }

    /// Edges whose adjoints of features are there at a time.
    fn chunk(&self) -> usize {
        (EDGE_BYTES / (self.up_width() * self.stored)).max(1)
    }

    /// From the features to the next ones, of the centres of these slices.
    #[allow(clippy::too_many_arguments)]
    pub fn forward(
        &self,
        run: &Run,
        slices: &[Slice],
        y: u64,
        rows: Rows,
        kept: Kept,
        shared: Shared,
        first: FirstAddresses,
    ) -> Result<()> {
        if let Some(Norm { alpha, beta }) = self.norm {
            let (n32, norm) = (run.at.n_centres as u32, kept.norm);
            run.over_lanes("densities", arguments![run.at.graph, n32, self.tables.address, alpha, beta, norm])?;
        }
        slices.iter().try_for_each(|slice| self.forward_slice(run, slice, y, rows, kept, shared, first))
    }

    #[allow(clippy::too_many_arguments)]
    fn forward_slice(
        &self,
        run: &Run,
        slice: &Slice,
        y: u64,
        rows: Rows,
        kept: Kept,
        shared: Shared,
        first: FirstAddresses,
    ) -> Result<()> {
        let kept = self.of_slice(slice, kept);
        let next = slice.of(rows.next, self.next_width() * self.stored);
        let threads = source::threads(self.k_edge);
        let grid = [slice.n, self.k_edge.div_ceil(threads), 1];
        let (graph, begin, tables, up, messages) =
            (run.at.graph, slice.begin as u32, self.tables.address, rows.up, shared.messages);
        run.queue(&self.convolution, "convolve", grid, threads, arguments![graph, begin, tables, y, up, messages])?;
        let to = if self.gate.is_some() { kept.message } else { kept.a };
        self.message.forward(run, slice, messages, to, false)?;
        let mid_width = self.mid_width();
        if self.norm.is_some() {
            let (width, norm) = (mid_width as u32, kept.norm);
            run.over_rows(slice, "divide", arguments![width, norm, to])?;
        }
        if let Some(gate) = &self.gate {
            let gated = kept.gated;
            match first.residual {
                0 => {
                    let up = slice.of(rows.up, self.up_width() * self.stored);
                    gate.residual.forward(run, slice, up, gated, false)?;
                }
                table => run.add_rows(slice, mid_width, true, [table, gated], true)?,
            }
            run.add_rows(slice, mid_width, false, [kept.message, gated], false)?;
            let (k, lmax, mid) = (self.k as u32, gate.lmax, shared.mid[0]);
            run.over_rows(slice, "gate", arguments![k, lmax, gate.scalar, gate.gated, gated, mid])?;
            gate.after.forward(run, slice, mid, kept.a, false)?;
        }
        self.contract(run, slice, "contraction_forward", 0, kept.a, None, shared.products)?;
        self.linear.forward(run, slice, shared.products, next, false)?;
        match (&self.skip, first.skip) {
            (Some(skip), 0) => skip.forward(run, slice, slice.of(rows.h, self.h_width * self.stored), next, true),
            (Some(_), table) => run.add_rows(slice, self.next_width(), true, [table, next], false),
            (None, _) => Ok(()),
        }
    }

    /// From the adjoint of the next features of the centres of these slices, zero for all others, to those of edges, and, but for the first
    /// layer, to that of the features, assigned.
    #[allow(clippy::too_many_arguments)]
    pub fn backward(
        &self,
        run: &Run,
        slices: &[Slice],
        (y, y_bar, add): (u64, u64, bool),
        rows: Rows,
        next_bar: u64,
        (h_bar, up_bar): (u64, u64),
        exchange: Option<(usize, &mut Through)>,
        kept: Kept,
        shared: Shared,
    ) -> Result<()> {
        // Rows of atoms without edges are for others.
        let n_rows = if exchange.is_some() { run.at.n_atoms } else { run.at.n_centres };
        let row = self.up_width() * self.stored;
        let ranges = |slice: &Slice| if self.is_first { vec![[0, usize::MAX]] } else { self.ranges(slice.edges) };
        let own = self.gate.is_some() && !self.is_first;
        // The adjoint of x is assigned by what comes first, or added to zeros.
        let several = !matches!((slices, &run.slices[..]), ([slice], [_]) if ranges(slice).len() == 1);
        if !self.is_first && several {
            run.clear(up_bar, n_rows * row)?;
            let (n, first, incoming, span) = (n_rows as u32, run.at.incoming_first, run.at.incoming, shared.spans);
            let (blocks, threads) = ([n_rows.div_ceil(self.threads()), 1, 1], self.threads());
            run.queue(&self.convolution, "spans", blocks, threads, arguments![n, first, incoming, span])?;
        } else if own && n_rows > run.at.n_centres {
            run.clear(up_bar + (run.at.n_centres * row) as u64, (n_rows - run.at.n_centres) * row)?;
        }
        for slice in slices {
            self.messages_back(run, slice, next_bar, (up_bar, several), kept, shared)?;
            let (graph, begin, tables, up, messages) =
                (run.at.graph, slice.begin as u32, self.tables.address, rows.up, shared.messages);
            for range in ranges(slice) {
                let [first, last] = range.map(|e| u32::try_from(e).unwrap_or(u32::MAX));
                let (edges, add) = (if self.is_first { 0 } else { shared.edges }, u32::from(add));
                let arguments = arguments![graph, begin, tables, y, up, messages, y_bar, edges, first, last, add];
                run.queue(&self.convolution, "convolve_back", [slice.n, 1, 1], self.threads(), arguments)?;
                if !self.is_first {
                    self.collect(run, n_rows, [first, last], (several, own), shared, up_bar)?;
                }
            }
        }
        if self.norm.is_some() {
            let n32 = slices.last().map_or(0, |slice| slice.begin + slice.n) as u32;
            let (tables, density_bar) = (self.tables.address, shared.density_bar);
            run.over_lanes("densities_back", arguments![run.at.graph, n32, tables, density_bar, y_bar])?;
        }
        if self.is_first {
            return Ok(());
        }
        if let Some((layer, through)) = exchange {
            let features = Features { address: up_bar, width: self.up_width(), single: self.stored == 4 };
            run.exchange_backward(through, layer, features)?;
        }
        self.up.transposed(run, &run.all(), up_bar, h_bar, false)?;
        let Some(skip) = &self.skip else { return Ok(()) };
        slices.iter().try_for_each(|slice| {
            let [from, to] = [self.next_width(), self.h_width].map(|width| width * self.stored);
            skip.transposed(run, slice, slice.of(next_bar, from), slice.of(h_bar, to), true)
        })
    }

    /// From the adjoint of the next features of some centres to that of their messages; with a gate, to that of their edges' features.
    fn messages_back(
        &self,
        run: &Run,
        slice: &Slice,
        next_bar: u64,
        (up_bar, several): (u64, bool),
        kept: Kept,
        shared: Shared,
    ) -> Result<()> {
        let kept = self.of_slice(slice, kept);
        let next_bar = slice.of(next_bar, self.next_width() * self.stored);
        self.linear.transposed(run, slice, next_bar, shared.products, false)?;
        let [bar, other] = shared.mid;
        self.contract(run, slice, "contraction_backward", 1, kept.a, Some(shared.products), bar)?;
        if let Some(gate) = &self.gate {
            gate.after.transposed(run, slice, bar, other, false)?;
            let (k, lmax, gated) = (self.k as u32, gate.lmax, kept.gated);
            run.over_rows(slice, "gate_back", arguments![k, lmax, gate.scalar, gate.gated, gated, other, bar])?;
            if !self.is_first {
                let up_bar = slice.of(up_bar, self.up_width() * self.stored);
                gate.residual.transposed(run, slice, bar, up_bar, several)?;
            }
        }
        if let Some(Norm { beta, .. }) = self.norm {
            let message = if self.gate.is_some() { kept.message } else { kept.a };
            let (width, norm, density_bar) =
                (self.mid_width() as u32, kept.norm, slice.of(shared.density_bar, self.real));
            run.over_rows(slice, "divide_back", arguments![width, beta, norm, message, bar, density_bar])?;
        }
        self.message.transposed(run, slice, bar, shared.messages, false)
    }

    /// Sums by sender what a range of edges has.
    fn collect(
        &self,
        run: &Run,
        n_rows: usize,
        [begin, end]: [u32; 2],
        (several, own): (bool, bool),
        shared: Shared,
        up_bar: u64,
    ) -> Result<()> {
        let (n, first, incoming, rows) = (n_rows as u32, run.at.incoming_first, run.at.incoming, shared.edges);
        let (add, mut atoms, mut blocks) = (u32::from(own || several), 0, n_rows);
        if several {
            (atoms, blocks) = (shared.touched, n_rows.min(2 * SLICE));
            run.clear(atoms, 4)?;
            let (span, grid) = (shared.spans, [n_rows.div_ceil(self.threads()), 1, 1]);
            run.queue(&self.convolution, "touched", grid, self.threads(), arguments![n, span, begin, end, atoms])?;
        }
        let arguments = arguments![n, atoms, first, incoming, rows, begin, end, add, up_bar];
        run.queue(&self.convolution, "collect", [blocks, 1, 1], self.threads(), arguments)
    }

    /// Ranges of edges whose adjoints of features there is room for.
    fn ranges(&self, [begin, end]: [usize; 2]) -> Vec<[usize; 2]> {
        let n = (end - begin).div_ceil(self.chunk()).max(1);
        let share = (end - begin).div_ceil(n).max(1);
        (begin..end).step_by(share).map(|e| [e, (e + share).min(end)]).collect()
    }

    fn threads(&self) -> usize {
        source::threads(self.k_edge)
    }

    fn of_slice(&self, slice: &Slice, kept: Kept) -> Kept {
        let mid = self.mid_width() * self.stored;
        Kept {
            a: slice.of(kept.a, self.n_a * self.k * self.stored),
            message: slice.of(kept.message, mid),
            gated: slice.of(kept.gated, mid),
            norm: slice.of(kept.norm, self.real),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn contract(
        &self,
        run: &Run,
        slice: &Slice,
        kernel: &str,
        way: usize,
        a: u64,
        bar: Option<u64>,
        to: u64,
    ) -> Result<()> {
        let threads = source::threads(self.k);
        let grid = [slice.n_slots.div_ceil(self.atoms_of_a_thread[way]), self.k.div_ceil(threads), 1];
        let species = if self.by_species { run.species(slice) } else { run.zeros };
        let (order, a, none, c) = (slice.order, [a, 0], 0_u64, self.coefficients.ptr);
        match bar {
            None => run.queue(&self.contraction, kernel, grid, threads, arguments![order, species, a, c, none, to]),
            Some(bar) => {
                let bar = [bar, 0];
                run.queue(&self.contraction, kernel, grid, threads, arguments![order, species, a, c, none, bar, to])
            }
        }
    }
}
