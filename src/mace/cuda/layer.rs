//! A layer on a device: what is queued for it, forwards and backwards.

use super::maps::{DeviceMap, apply};
use super::source;
use super::tables::DeviceTables;
use super::{Arena, Features, Run, Through};
use crate::Result;
use crate::device::cuda::context::{Buffer, Context, reals};
use crate::device::cuda::kernel::{Module, arguments};
use crate::device::cuda::stream::Stream;
use crate::mace::network::{Layer, Network, Norm};
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
    real: usize,
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
    pub fn new(net: &Network, t: usize, single: bool, device: &Arc<Context>, stream: &Stream) -> Result<Step> {
        let layer = &net.layers[t];
        let (text, order) = source::contraction(layer, single);
        let c = &layer.product;
        let k = c.from.k;
        let n_sets = c.coefficients.len() / (c.terms.len() * k).max(1);
        let mut sorted = Vec::with_capacity(c.coefficients.len());
        for z in 0..n_sets {
            let own = c.of_species(z);
            order.iter().for_each(|&term| sorted.extend_from_slice(&own[term * k..][..k]));
        }
        let mut coefficients = Buffer::new(device);
        coefficients.upload(&reals(&sorted, single), stream)?;
        let map = |maps: &[_]| DeviceMap::new(maps, single, device, stream);
        let one = |m| map(std::slice::from_ref(m));
        let gate = layer.gate.as_ref().map(|g| -> Result<Gate> {
            let lmax = g.after.from.ls.len() as u32 - 1;
            let (scalar, gated) = (g.scalar_constant, g.gate_constant);
            Ok(Gate { residual: one(&g.residual)?, after: one(&g.after)?, scalar, gated, lmax })
        });
        Ok(Step {
            convolution: Module::load(device, &source::convolution(net, t, single))?,
            contraction: Module::load(device, &text)?,
            tables: DeviceTables::new(&layer.radial, layer.edge().k, single, device)?,
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
            real: if single { 4 } else { 8 },
            k,
            k_edge: layer.edge().k,
            n_x: layer.edge().components(),
            n_m: layer.messages().components(),
            n_mid: layer.message[0].to.components(),
            n_a: c.from.components(),
            n_b: c.to.components(),
            n_next: layer.linear.to.components(),
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
        let r = self.real;
        let gate = if self.gate.is_some() { self.mid_width() } else { 0 };
        Kept {
            a: arena.take(n * self.n_a * self.k * r),
            message: arena.take(n * gate * r),
            gated: arena.take(n * gate * r),
            norm: arena.take(if self.norm.is_some() { n * r } else { 0 }),
        }
    }

    /// Room for any of the layers.
    pub fn shared(steps: &[Step], arena: &mut Arena, n: usize, n_edges: usize, gradients: bool) -> Shared {
        let most = |f: &dyn Fn(&Step) -> usize| steps.iter().map(|s| f(s) * s.real).max().unwrap_or(0);
        let mid = most(&|s| s.k * s.n_mid.max(s.n_a)) * n;
        let chunk = |s: &Step| if s.is_first { 0 } else { s.up_width() * s.chunk().min(n_edges) };
        Shared {
            messages: arena.take(n * most(&|s| s.n_m * s.k_edge)),
            mid: [arena.take(mid), arena.take(if gradients { mid } else { 0 })],
            products: arena.take(n * most(&|s| s.n_b * s.k)),
            density_bar: arena.take(8 * n),
            edges: arena.take(if gradients { most(&chunk) } else { 0 }),
        }
    }

    /// Edges whose adjoints of features are there at a time.
    fn chunk(&self) -> usize {
        (EDGE_BYTES / (self.up_width() * self.real)).max(1)
    }

    /// From the features to the next ones.
    pub fn forward(
        &self,
        run: &Run,
        y: u64,
        rows: Rows,
        kept: Kept,
        shared: Shared,
        first: FirstAddresses,
    ) -> Result<()> {
        let (n, tables) = (run.at.n_centres, self.tables.address);
        let threads = source::threads(self.k_edge);
        let grid = [n, self.k_edge.div_ceil(threads), 1];
        let (graph, up, messages) = (run.at.graph, rows.up, shared.messages);
        run.queue(&self.convolution, "convolve", grid, threads, arguments![graph, tables, y, up, messages])?;
        let to = if self.gate.is_some() { kept.message } else { kept.a };
        self.message.forward(run, messages, to, false)?;
        let width = self.mid_width() as u32;
        if let Some(Norm { alpha, beta }) = self.norm {
            let (n32, norm) = (n as u32, kept.norm);
            run.over_lanes("densities", arguments![graph, n32, tables, alpha, beta, norm])?;
            run.over_rows("divide", arguments![width, norm, to])?;
        }
        if let Some(gate) = &self.gate {
            let gated = kept.gated;
            match first.residual {
                0 => gate.residual.forward(run, rows.up, gated, false)?,
                table => run.add_rows(self.mid_width(), true, table, gated, true)?,
            }
            run.add_rows(self.mid_width(), false, kept.message, gated, false)?;
            let (k, lmax, mid) = (self.k as u32, gate.lmax, shared.mid[0]);
            run.over_rows("gate", arguments![k, lmax, gate.scalar, gate.gated, gated, mid])?;
            gate.after.forward(run, mid, kept.a, false)?;
        }
        self.contract(run, "contraction_forward", 0, kept.a, None, shared.products)?;
        self.linear.forward(run, shared.products, rows.next, false)?;
        match (&self.skip, first.skip) {
            (Some(skip), 0) => skip.forward(run, rows.h, rows.next, true),
            (Some(_), table) => run.add_rows(self.next_width(), true, table, rows.next, false),
            (None, _) => Ok(()),
        }
    }

    /// From the adjoint of the next features to those of edges, and, but for the first layer, to that of the features, assigned.
    #[allow(clippy::too_many_arguments)]
    pub fn backward(
        &self,
        run: &Run,
        (y, y_bar, add): (u64, u64, bool),
        rows: Rows,
        next_bar: u64,
        (h_bar, up_bar): (u64, u64),
        exchange: Option<(usize, &mut Through)>,
        kept: Kept,
        shared: Shared,
    ) -> Result<()> {
        self.linear.transposed(run, next_bar, shared.products, false)?;
        let [bar, other] = shared.mid;
        self.contract(run, "contraction_backward", 1, kept.a, Some(shared.products), bar)?;
        let mut own = false;
        if let Some(gate) = &self.gate {
            gate.after.transposed(run, bar, other, false)?;
            let (k, lmax, gated) = (self.k as u32, gate.lmax, kept.gated);
            run.over_rows("gate_back", arguments![k, lmax, gate.scalar, gate.gated, gated, other, bar])?;
            if !self.is_first {
                gate.residual.transposed(run, bar, up_bar, false)?;
                own = true;
            }
        }
        let (n32, width, tables, graph) =
            (run.at.n_centres as u32, self.mid_width() as u32, self.tables.address, run.at.graph);
        if let Some(Norm { beta, .. }) = self.norm {
            let message = if self.gate.is_some() { kept.message } else { kept.a };
            let (norm, density_bar) = (kept.norm, shared.density_bar);
            run.over_rows("divide_back", arguments![width, beta, norm, message, bar, density_bar])?;
        }
        self.message.transposed(run, bar, shared.messages, false)?;
        // Rows of atoms without edges are for others.
        let n_rows = if exchange.is_some() { run.at.n_atoms } else { run.at.n_centres };
        let row = self.up_width() * self.real;
        if own && n_rows > run.at.n_centres {
            run.clear(up_bar + (run.at.n_centres * row) as u64, (n_rows - run.at.n_centres) * row)?;
        }
        let threads = source::threads(self.k_edge);
        let (up, messages, chunk) =
            (rows.up, shared.messages, if self.is_first { run.at.n_edges } else { self.chunk() });
        for begin in (0..run.at.n_edges).step_by(chunk.max(1)) {
            let [begin32, end] = [begin, begin + chunk].map(|e| u32::try_from(e).unwrap_or(u32::MAX));
            let (edges, add) = (if self.is_first { 0 } else { shared.edges }, u32::from(add));
            let arguments = arguments![graph, tables, y, up, messages, y_bar, edges, begin32, end, add];
            run.queue(&self.convolution, "convolve_back", [run.at.n_centres, 1, 1], threads, arguments)?;
            if !self.is_first {
                let (first, incoming, add) = (run.at.incoming_first, run.at.incoming, u32::from(own || begin > 0));
                let arguments = arguments![first, incoming, edges, begin32, end, add, up_bar];
                run.queue(&self.convolution, "collect", [n_rows, 1, 1], threads, arguments)?;
            }
        }
        if self.norm.is_some() {
            let density_bar = shared.density_bar;
            run.over_lanes("densities_back", arguments![graph, n32, tables, density_bar, y_bar])?;
        }
        if self.is_first {
            return Ok(());
        }
        if run.at.n_edges == 0 && !own {
            run.clear(up_bar, n_rows * row)?;
        }
        if let Some((layer, through)) = exchange {
            let features = Features { address: up_bar, width: self.up_width(), single: self.real == 4 };
            run.exchange_backward(through, layer, features)?;
        }
        self.up.transposed(run, up_bar, h_bar, false)?;
        match &self.skip {
            Some(skip) => skip.transposed(run, next_bar, h_bar, true),
            None => Ok(()),
        }
    }

    fn contract(&self, run: &Run, kernel: &str, way: usize, a: u64, bar: Option<u64>, to: u64) -> Result<()> {
        let threads = source::threads(self.k);
        let grid = [run.at.n_slots.div_ceil(self.atoms_of_a_thread[way]), self.k.div_ceil(threads), 1];
        let species = if self.by_species { run.at.graph.species } else { run.zeros };
        let (order, a, none, c) = (run.at.order, [a, 0], 0_u64, self.coefficients.ptr);
        match bar {
            None => run.queue(&self.contraction, kernel, grid, threads, arguments![order, species, a, c, none, to]),
            Some(bar) => {
                let bar = [bar, 0];
                run.queue(&self.contraction, kernel, grid, threads, arguments![order, species, a, c, none, bar, to])
            }
        }
    }
}
