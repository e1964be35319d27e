//! MACE on CUDA devices: a sequence of launches over all atoms, forwards and backwards.
//!
//! Channels lie side by side; a thread has a channel. Convolutions go by receiver, and what flows back to senders lies with the edges,
//! of which a bounded number is worked on at a time, until it is summed by sender: no atomics, the same result every time. Radial nets are
//! tables, as on the processor. The linear maps and the symmetric contraction are the kernels of the operations.

mod layer;
mod maps;
mod readouts;
mod run;
mod source;
mod tables;

pub(crate) use maps::ROWS;

use super::network::Network;
use crate::device::cuda::context::{Buffer, Context};
use crate::device::cuda::kernel::{KernelSource, Module, arguments};
use crate::device::cuda::staging::Pinned;
use crate::device::cuda::stream::Stream;
use crate::dtype::{Arithmetic, Dtype, to_bytes};
use crate::graph::Exchange;
use crate::precision::Precision;
use crate::{Error, Result};
use layer::{FirstAddresses, FirstRows, Kept, Rows, Shared, Step};
use readouts::Readouts;
use run::{Features, Run, SLICE, Slice, Through, slice, slots};
use std::sync::Arc;

/// The first architecture whose tensor cores have TF32 and bf16.
const FIRST_TENSOR: u32 = 80;
/// How much adjoints in f16 are magnified: those of a unit energy in the middle of what it holds.
const F16_GAIN: f64 = 64.0;

/// Lanes that share an atom, as in `kernels/mace/atoms.cu`.
const LANES: usize = 8;

/// The struct `Graph` of the kernels. Vectors are in the working precision.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Graph {
    pub first: u64,
    pub neighbour: u64,
    pub species: u64,
    pub r: u64,
}

/// A graph on the device.
#[derive(Clone, Copy)]
pub(crate) struct GraphAt {
    pub graph: Graph,
    pub n_owned: usize,
    pub n_centres: usize,
    pub n_atoms: usize,
    /// At most.
    pub n_edges: usize,
    pub incoming_first: u64,
    pub incoming: u64,
    /// Centres by species in blocks of [`ROWS`]; 0 with a single species.
    pub order: u64,
    pub n_slots: usize,
}

/// Where results go; 0 where they are not wanted.
#[derive(Clone, Copy)]
pub(crate) struct Results {
    /// (centres), f64, zero for ghosts.
    pub energies: u64,
    /// `∂E/∂r_ij`, (edges, 3), in the working precision.
    pub gradients: u64,
    /// The scalars of all layers, (centres, layers × channels), f64.
    pub descriptors: u64,
}

struct Kernels {
    linear: Module,
    atoms: Module,
}

/// A network on a device.
pub(crate) struct DeviceNetwork {
    network: Arc<Network>,
    device: Arc<Context>,
    precision: Precision,
    kernels: Kernels,
    steps: Vec<Step>,
    readouts: Readouts,
    /// (heads, species).
    e0: Buffer<f64>,
    /// Constants of the pairs of species in the repulsion.
    repulsion: Buffer<f64>,
}

/// A head, and the features of species under a charge and a spin.
pub(crate) struct Embedded {
    head: usize,
    up: Buffer<u8>,
    first: FirstAddresses,
    /// What `first` points to.
    _rows: [Buffer<u8>; 2],
}

/// Places in a piece of memory, 256 bytes apart at least.
pub(crate) struct Arena {
    at: u64,
}

impl Arena {
    fn take(&mut self, bytes: usize) -> u64 {
        let at = self.at;
        self.at += bytes.next_multiple_of(256) as u64;
        at
    }
}

/// What a call needs memory for.
#[derive(Default)]
struct Layout {
    y: u64,
    y_bar: u64,
    /// Features before and after each layer but the first.
    next: Vec<u64>,
    up: Vec<u64>,
    kept: Vec<Kept>,
    bars: [u64; 2],
    up_bar: u64,
    shared: Shared,
    sums: u64,
    zeros: u64,
    order: u64,
}

impl DeviceNetwork {
    /// # Errors
    /// What the driver and the compiler say; a readout that is too wide for the kernels.
    pub fn new(network: Arc<Network>, precision: Precision, device: &Arc<Context>) -> Result<DeviceNetwork> {
        super::evaluator::check_built()?;
        check(&network)?;
        check_tensor_cores(precision, device.architecture)?;
        let stream = Stream::new(device)?;
        let load = |source: KernelSource| Module::load(device, &source);
        let kernels =
            Kernels { linear: load(maps::source(precision))?, atoms: load(source::atoms(&network, precision))? };
        let steps = (0..network.layers.len()).map(|t| Step::new(&network, t, precision, device, &stream));
        let steps = steps.collect::<Result<Vec<_>>>()?;
        let (mut e0, mut repulsion) = (Buffer::new(device), Buffer::new(device));
        e0.upload(&network.e0.concat(), &stream)?;
        if let Some(zbl) = &network.zbl {
            let nz = network.species.len();
            let pairs: Vec<f64> = (0..nz * nz).flat_map(|k| zbl.constants(k / nz, k % nz)).collect();
            repulsion.upload(&pairs, &stream)?;
        }
        let readouts = Readouts::new(&network, device, &stream)?;
        stream.wait()?;
        Ok(DeviceNetwork { network, device: device.clone(), precision, kernels, steps, readouts, e0, repulsion })
    }

    pub fn bytes(&self) -> usize {
        self.steps.iter().map(Step::bytes).sum()
    }

    /// Numbers in the longest row of an exchange.
    pub fn n_exchanged(&self) -> usize {
        self.steps[1..].iter().map(Step::up_width).max().unwrap_or(0)
    }

    /// What depends on the conditions of a call.
    ///
    /// # Errors
    /// A property beyond its table; out of memory.
    pub fn embed(&self, head: usize, properties: &[i64]) -> Result<Embedded> {
        let net = &self.network;
        let k = net.embedding.len() / net.species.len();
        let mut h = net.embedding.clone();
        if let Some(extra) = &net.extra {
            let add = extra.features(properties, k).map_err(Error::Argument)?;
            h.chunks_mut(k).for_each(|row| row.iter_mut().zip(&add).for_each(|(x, a)| *x += a));
        }
        let rows = FirstRows::new(&net.layers[0], &h);
        let stream = Stream::new(&self.device)?;
        let upload = |x: Option<&Vec<f64>>| -> Result<Buffer<u8>> {
            let mut buffer = Buffer::new(&self.device);
            if let Some(x) = x {
                buffer.upload(&to_bytes(x, self.precision.storage), &stream)?;
            }
            Ok(buffer)
        };
        let (up, skip, residual) =
            (upload(Some(&rows.up))?, upload(rows.skip.as_ref())?, upload(rows.residual.as_ref())?);
        stream.wait()?;
        let first = FirstAddresses { skip: skip.ptr, residual: residual.ptr };
        Ok(Embedded { head, up, first, _rows: [skip, residual] })
    }

    /// Makes the tables for these species. To be called before [`DeviceNetwork::launch`].
    ///
    /// # Errors
    /// As [`tables::DeviceTables::prepare`].
    pub fn prepare(&self, species: &[u32], stream: &Stream) -> Result<()> {
        let mut there = vec![false; self.network.species.len()];
        species.iter().for_each(|&z| there[z as usize] = true);
        let there: Vec<usize> = (0..there.len()).filter(|&z| there[z]).collect();
        self.steps.iter().try_for_each(|step| step.tables.prepare(&there, stream))
    }

    /// Device memory that an evaluation takes.
    pub fn call_bytes(&self, n_atoms: usize, n_edges: usize, gradients: bool) -> usize {
        let graph = Graph { first: 0, neighbour: 0, species: 0, r: 0 };
        let n = n_atoms;
        let at = GraphAt {
            graph,
            n_owned: n,
            n_centres: n,
            n_atoms: n,
            n_edges,
            incoming_first: 0,
            incoming: 0,
            order: 0,
            n_slots: 0,
        };
        self.layout(&at, gradients, 0).1
    }

    /// Queues an evaluation. Memory is reserved before anything is queued. With an exchange of features of atoms without edges it waits for
    /// that, and may not be recorded.
    ///
    /// # Errors
    /// What the driver says.
    #[allow(clippy::too_many_arguments)]
    pub fn launch(
        &self,
        at: &GraphAt,
        conditions: &Embedded,
        to: Results,
        exchange: Option<&mut dyn Exchange>,
        stream: &Stream,
        memory: &mut Buffer<u8>,
        host: &mut Pinned,
    ) -> Result<()> {
        let gradients = to.gradients != 0;
        if exchange.is_some() && self.stored() == 2 {
            let message = format!("precision {}: features in 16 bits are not exchanged", self.precision);
            return Err(Error::Argument(message));
        }
        let mut through = exchange.map(|exchange| Through { exchange, host });
        let bytes = self.layout(at, gradients, 0).1;
        let base = memory.reserve(bytes)?;
        let layout = self.layout(at, gradients, base).0;
        let (net, n, last) = (&self.network, at.n_centres, self.steps.len() - 1);
        let mut run = Run {
            at: *at,
            slices: Vec::new(),
            zeros: layout.zeros,
            kernels: &self.kernels,
            stream,
            allocation: memory.place(0).allocation,
        };
        let (n32, owned32, graph, y, sums) = (n as u32, at.n_owned as u32, at.graph, layout.y, layout.sums);
        run.cut(net.species.len(), layout.order)?;
        run.clear(layout.zeros, 4 * n.min(SLICE))?;
        run.clear(sums, 8 * n)?;
        run.over("harmonics", at.n_edges, arguments![graph, n32, y])?;
        let head = conditions.head;
        let (scale, shift) = (net.scale[head], net.shift[head]);
        // Adjoints are magnified where f16 would lose the small ones.
        let gain = if self.precision.storage == Dtype::F16 { F16_GAIN } else { 1.0 };
        let rows = |t: usize| Rows {
            h: if t == 0 { 0 } else { layout.next[t - 1] },
            up: if t == 0 { conditions.up.ptr } else { layout.up[t] },
            next: layout.next[t],
        };
        let slices = |t: usize| if t == last { run.owned() } else { &run.slices };
        let first = |t: usize| if t == 0 { conditions.first } else { FirstAddresses::default() };
        if gradients {
            run.clear(layout.bars[0], n * self.steps[last].next_width() * self.stored())?;
        }
        for (t, step) in self.steps.iter().enumerate() {
            step.forward(&run, slices(t), y, rows(t), layout.kept[t], layout.shared, first(t))?;
            let bar = if gradients && t == last { layout.bars[0] } else { 0 };
            self.readouts.read(&run, (head, t), at.n_owned, step, layout.next[t], scale * gain, [sums, bar])?;
            if t < last {
                let next = &self.steps[t + 1];
                if at.n_atoms > n {
                    // Nobody needs the features of atoms without edges; they must be numbers all the same.
                    let width = next.up_width() * self.stored();
                    run.clear(layout.up[t + 1] + (n * width) as u64, (at.n_atoms - n) * width)?;
                }
                next.up.forward(&run, &run.all(), layout.next[t], layout.up[t + 1], false)?;
                if let Some(through) = &mut through {
                    let features =
                        Features { address: layout.up[t + 1], width: next.up_width(), single: self.stored() == 4 };
                    run.exchange_forward(through, t + 1, features)?;
                }
            }
        }
        if to.descriptors != 0 {
            let all: usize = self.steps.iter().map(|s| s.k).sum();
            let mut at = 0;
            for (step, &next) in self.steps.iter().zip(&layout.next) {
                let (width, k, all, start) = (step.next_width() as u32, step.k as u32, all as u32, at as u32);
                run.over_rows(&run.all(), "scalars", arguments![width, k, next, all, start, to.descriptors])?;
                at += step.k;
            }
        }
        if gradients {
            let [mut bar, mut before] = layout.bars;
            // The last layer assigns the adjoints of its edges, the others add to them.
            if let [.., end] = run.slices[run.owned().len()..] {
                let done = run.owned().last().map_or(0, |slice| slice.edges[1]);
                let size = (net.lmax + 1).pow(2) * self.precision.arithmetic.bytes();
                run.clear(layout.y_bar + (done * size) as u64, (end.edges[1] - done) * size)?;
            }
            for (t, step) in self.steps.iter().enumerate().rev() {
                let bars = (y, layout.y_bar, t < last);
                let exchange = through.as_mut().map(|through| (t, through));
                let up = (before, layout.up_bar);
                step.backward(&run, slices(t), bars, rows(t), bar, up, exchange, layout.kept[t], layout.shared)?;
                if t > 0 {
                    let below = &self.steps[t - 1];
                    self.readouts.read(
                        &run,
                        (head, t - 1),
                        at.n_owned,
                        below,
                        layout.next[t - 1],
                        scale * gain,
                        [0, before],
                    )?;
                }
                std::mem::swap(&mut bar, &mut before);
            }
        }
        if gradients || net.zbl.is_some() {
            let (pairs, y_bar) = (self.repulsion.ptr, if gradients { layout.y_bar } else { 0 });
            let unit = 1.0 / gain;
            let arguments = arguments![graph, n32, owned32, pairs, scale, y, y_bar, unit, sums, to.gradients];
            run.over_lanes("edge_gradients", arguments)?;
        }
        let (species, energies) = (graph.species, to.energies);
        let e0 = self.e0.ptr + (8 * head * net.species.len()) as u64;
        run.over("finish", n, arguments![n32, owned32, species, e0, scale, shift, sums, energies])
    }

    /// Bytes of a number in a row of an atom.
    fn stored(&self) -> usize {
        self.precision.storage.bytes()
    }

    /// Addresses from `base` on, and how many bytes there are.
    fn layout(&self, at: &GraphAt, gradients: bool, base: u64) -> (Layout, usize) {
        let (n, stored, mut arena) = (at.n_centres, self.stored(), Arena { at: base });
        let harmonics = (self.network.lmax + 1).pow(2) * at.n_edges * self.precision.arithmetic.bytes();
        let mut layout = Layout { y: arena.take(harmonics), ..Layout::default() };
        layout.y_bar = arena.take(if gradients { harmonics } else { 0 });
        let most = |f: &dyn Fn(&Step) -> usize| self.steps.iter().map(|s| f(s) * stored).max().unwrap_or(0);
        for (t, step) in self.steps.iter().enumerate() {
            layout.next.push(arena.take(n * step.next_width() * stored));
            layout.up.push(arena.take(if t > 0 { at.n_atoms * step.up_width() * stored } else { 0 }));
            layout.kept.push(step.kept(&mut arena, n));
        }
        let bars = if gradients { n * most(&Step::next_width) } else { 0 };
        layout.bars = [arena.take(bars), arena.take(bars)];
        layout.up_bar = arena.take(if gradients { at.n_atoms * most(&Step::up_width) } else { 0 });
        layout.shared = Step::shared(&self.steps, &mut arena, [n, at.n_atoms, at.n_edges], gradients);
        layout.sums = arena.take(8 * n);
        layout.zeros = arena.take(4 * n.min(SLICE));
        let n_slots = match n <= SLICE {
            true => n.next_multiple_of(ROWS),
            false => n.div_ceil(slice(at.n_owned, n)) * slots(self.network.species.len()),
        };
        layout.order = arena.take(4 * n_slots);
        (layout, (arena.at - base) as usize)
    }
}

/// # Errors
/// What kernels have no room for.
fn check(net: &Network) -> Result<()> {
    let [width, layers] = source::readout_sizes(net);
    match width * (2 * layers + 2) * 8 * (source::THREADS / 32) <= 48 << 10 {
        true => Ok(()),
        false => Err(Error::Device(format!(
            "CUDA: a MACE readout of {layers} hidden layers of up to {width} numbers is too wide"
        ))),
    }
}

/// # Errors
/// Products of matrices that the tensor cores of the device do not know.
fn check_tensor_cores(precision: Precision, architecture: u32) -> Result<()> {
    match precision.matrices != Arithmetic::Full && architecture < FIRST_TENSOR {
        true => Err(Error::Device(format!(
            "CUDA: precision {precision} is for sm_{FIRST_TENSOR} and later, not for sm_{architecture}"
        ))),
        false => Ok(()),
    }
}

/// Every kernel file of a network, for compiling without a device.
pub(crate) fn sources(network: &Network, precision: Precision) -> Vec<KernelSource> {
    let mut all = vec![maps::source(precision), source::atoms(network, precision)];
    for (t, layer) in network.layers.iter().enumerate() {
        all.push(source::convolution(network, t, precision));
        all.push(source::contraction(layer, precision).0);
    }
    all
}
