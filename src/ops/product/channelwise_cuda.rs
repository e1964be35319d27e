//! The channelwise product on a device: a thread has one channel of one receiver (`kernels/ops/uvu.cu`).

use super::channelwise::Channelwise;
use super::paths::Path;
use crate::Result;
use crate::ops::coupling::Entry;
use crate::ops::cuda::launch::{Input, Module, Output, Target, launch};
use crate::ops::cuda::source::{BlockAt, Source, THREADS, across, blocks_at};
use crate::ops::cuda::{Call, DeviceKernel, clear};
use crate::ops::kernel::Sizes;
use crate::ops::linear::cuda::compute_bytes;
use crate::ops::spec::Spec;
use crate::ops::species::counting_sort;
use std::collections::HashMap;
use std::fmt::Write;

/// Threads side by side at most.
const MOST_ACROSS: usize = 256;
/// Rows that one thread sums.
const SUM_CHUNK: usize = 64;

/// Blocks of `x` with the same number of channels.
struct Class {
    module: Module,
    /// Channels, components of one in `x`, threads side by side.
    mul: usize,
    n_x: usize,
    across: usize,
}

pub(crate) struct ChannelwiseOnDevice {
    classes: Vec<Class>,
    sums: Module,
    /// Numbers in a row of `x`, `y` and the weights; bytes of one, and of one in scratch memory.
    dims: [usize; 3],
    bytes: usize,
    compute: usize,
    shared_weights: bool,
    convolution: bool,
}

/// The kernel files, one for each number of channels.
pub(crate) fn sources(op: &Channelwise, spec: &Spec) -> Result<Vec<(&'static str, String)>> {
    let paths = op.paths(spec.convention);
    classes(&paths).into_iter().map(|mul| Ok(("uvu", source(op, spec, &paths, mul)?))).collect()
}

/// The numbers of channels.
fn classes(paths: &[Path]) -> Vec<usize> {
    let mut muls: Vec<usize> = paths.iter().map(|p| p.mul[0]).filter(|&mul| mul > 0).collect();
    muls.sort_unstable();
    muls.dedup();
    muls
}

fn source(op: &Channelwise, spec: &Spec, paths: &[Path], mul: usize) -> Result<String> {
    let ports = spec.ports()?;
    let x = blocks_at(&ports.inputs[0], spec.layout);
    let y = blocks_at(&ports.inputs[1], spec.layout);
    let out = blocks_at(&ports.output, spec.layout_out.unwrap_or(spec.layout));
    // Components of one channel, numbered through.
    let number = |blocks: &[BlockAt]| {
        let mut at = Vec::new();
        let firsts: Vec<usize> = blocks
            .iter()
            .map(|b| {
                let first = at.len();
                at.extend(if b.mul == mul { b.components().collect() } else { vec![] });
                first
            })
            .collect();
        (firsts, at)
    };
    let ((x_first, x_at), (out_first, out_at)) = (number(&x), number(&out));
    let own: Vec<&Path> = paths.iter().filter(|p| p.mul[0] == mul).collect();
    let mut program = Paths::default();
    for (p, path) in own.iter().enumerate() {
        let [a, b, c] = path.blocks;
        program.add(p, &path.coupling, path.dim, [x_first[a], y[b].start, out_first[c]]);
    }
    let mut source = Source::checked(spec.storage);
    for (name, value) in [
        ("N_X", x_at.len()),
        ("N_Y", op.irreps_in2.dim()),
        ("N_OUT", out_at.len()),
        ("N_PATHS", own.len()),
        ("MUL", mul),
        ("DIM_X", op.irreps_in1.dim()),
        ("DIM_Y", op.irreps_in2.dim()),
        ("DIM_OUT", ports.output.width),
        ("DIM_W", ports.inputs[2].width),
        ("GRAPH", usize::from(op.convolution)),
        ("SHARED_WEIGHTS", usize::from(op.shared_weights)),
        ("THREADS", across(mul, MOST_ACROSS)),
    ] {
        source.define(name, value);
    }
    source.components("X", &x_at).components("OUT", &out_at);
    source.table("u32", "Y_at", 0..op.irreps_in2.dim());
    source.table("u32", "W_base", own.iter().map(|p| p.w.start));
    program.define(&mut source);
    Ok(source.finish(&[include_str!("../../../kernels/ops/uvu.cu"), include_str!("../../../kernels/ops/sums.cu")]))
}

/// The paths as programs, and the entries of `T = Σ_b C y_b`: equal ones are one.
#[derive(Default)]
pub(crate) struct Paths {
    coefficients: Vec<Vec<f64>>,
    indices: Vec<Vec<usize>>,
    known: HashMap<Vec<(usize, u64)>, usize>,
    forward: String,
    adjoint: String,
    couplings: String,
}

impl Paths {
    /// Path `p` with the coupling of its irreps, of so many components, and its first components in `x`, `y` and `out`.
    pub fn add(&mut self, p: usize, coupling: &[Entry], dim: [usize; 3], [x, y, out]: [usize; 3]) {
        let [mut forward, mut adjoint, mut couplings] = [String::new(), String::new(), String::new()];
        for a in 0..dim[0] {
            let entries: Vec<_> = coupling.iter().filter(|e| e.index[0] == a).collect();
            if entries.is_empty() {
                continue;
            }
            let x = x + a;
            put(&mut forward, format_args!(" ROW({x})"));
            put(&mut adjoint, format_args!(" ROW({x})"));
            put(&mut couplings, format_args!(" OPEN({p}, {x})"));
            for c in 0..dim[2] {
                let terms: Vec<(usize, f64)> =
                    entries.iter().filter(|e| e.index[2] == c).map(|e| (y + e.index[1], e.value)).collect();
                if terms.is_empty() {
                    continue;
                }
                let (t, out) = (self.entry(&terms), out + c);
                put(&mut forward, format_args!(" TERM({t}, {out})"));
                put(&mut adjoint, format_args!(" TERM({t}, {out})"));
                for (b, value) in terms {
                    put(&mut couplings, format_args!(" TERM({value:e}, {b}, {out})"));
                }
            }
            put(&mut adjoint, format_args!(" END({x})"));
        }
        put(&mut self.forward, format_args!(" OPEN({p}){forward} CLOSE({p})"));
        put(&mut self.adjoint, format_args!(" OPEN({p}){adjoint} CLOSE({p})"));
        self.couplings += &couplings;
    }

    /// Numbers that are the same for all channels.
    pub fn n_entries(&self) -> usize {
        self.coefficients.len()
    }

    /// The tables and programs of the kernels.
    pub fn define(&self, source: &mut Source) {
        source.define("N_T", self.coefficients.len());
        source.define("N_TERMS", self.coefficients.iter().map(Vec::len).max().unwrap_or(0));
        source.rows("real", "T_coefficient", &self.coefficients);
        source.rows("u16", "T_index", &self.indices);
        source.define("PATHS(OPEN, ROW, TERM, CLOSE)", &self.forward);
        source.define("ADJOINT(OPEN, ROW, TERM, END, CLOSE)", &self.adjoint);
        source.define("COUPLINGS(OPEN, TERM)", &self.couplings);
    }

    fn entry(&mut self, terms: &[(usize, f64)]) -> usize {
        let key = terms.iter().map(|&(b, value)| (b, value.to_bits())).collect();
        *self.known.entry(key).or_insert_with(|| {
            self.coefficients.push(terms.iter().map(|t| t.1).collect());
            self.indices.push(terms.iter().map(|t| t.0).collect());
            self.coefficients.len() - 1
        })
    }
}

/// The edges of each receiver: first, numbers, senders of all edges; of each sender: first, places in the order of receivers.
/// Edges between the same two nodes stay in the order in which they were given.
pub(crate) fn edge_lists(nodes: usize, sender: &[u32], receiver: &[u32]) -> Vec<Vec<u32>> {
    let sort = |key: &[u32], items: &[u32]| {
        let (mut first, mut sorted) = (vec![0; nodes + 1], vec![0; items.len()]);
        counting_sort(key, items.iter().copied(), &mut first, &mut sorted);
        (first, sorted)
    };
    let all: Vec<u32> = (0..sender.len() as u32).collect();
    let (first, edge) = sort(receiver, &sort(sender, &all).1);
    let senders_in_order: Vec<u32> = edge.iter().map(|&e| sender[e as usize]).collect();
    let (first_out, position) = sort(&senders_in_order, &all);
    vec![first, edge, sender.to_vec(), first_out, position]
}

fn put(text: &mut String, arguments: std::fmt::Arguments) {
    text.write_fmt(arguments).expect("writing to a string");
}

impl ChannelwiseOnDevice {
    pub fn new(op: &Channelwise, spec: &Spec, target: &Target) -> Result<ChannelwiseOnDevice> {
        let ports = spec.ports()?;
        let paths = op.paths(spec.convention);
        let class = |&mul: &usize| {
            let own = op.irreps_in1.blocks().iter().filter(|b| b.mul == mul);
            let module = target.module("uvu", &source(op, spec, &paths, mul)?)?;
            Ok(Class { module, mul, n_x: own.map(|b| b.irrep.dim()).sum(), across: across(mul, MOST_ACROSS) })
        };
        let sums = Source::checked(spec.storage).finish(&[include_str!("../../../kernels/ops/sums.cu")]);
        Ok(ChannelwiseOnDevice {
            classes: classes(&paths).iter().map(class).collect::<Result<_>>()?,
            sums: target.module("sums", &sums)?,
            dims: [ports.inputs[0].width, ports.inputs[1].width, ports.inputs[2].width],
            bytes: spec.storage.bytes(),
            compute: compute_bytes(spec.storage),
            shared_weights: op.shared_weights,
            convolution: op.convolution,
        })
    }

    /// Receivers, and rows of `x`.
    fn nodes(&self, sizes: Sizes) -> usize {
        if self.convolution { sizes.nodes } else { sizes.rows }
    }

    fn out(&self, call: &mut Call, dual: bool, out: Output) -> Result<()> {
        let ([x, y, w], kernel) =
            ([0, 1, 2].map(|k| call.input(k, dual)), if dual { "uvu_forward_dual" } else { "uvu_forward" });
        let [first, edge, sender] = [0, 1, 2].map(|k| call.lists.address(k));
        for class in &self.classes {
            let grid = [self.nodes(call.sizes), class.mul.div_ceil(class.across), 1];
            launch!(class.module, kernel, call, grid, class.across, [x, y, w, first, edge, sender, out]);
        }
        Ok(())
    }

    /// The gradients of `x`, `y` and `w`.
    fn gradients(&self, call: &mut Call, dual: bool, cotangent: u64, gradients: &[Output]) -> Result<()> {
        let &[x_to, y_to, w_to] = gradients else { unreachable!("three inputs") };
        let ([x, y, w], kernel) =
            ([0, 1, 2].map(|k| call.input(k, dual)), if dual { "uvu_backward_dual" } else { "uvu_backward" });
        let [first, edge, sender, first_out, position] = [0, 1, 2, 3, 4].map(|k| call.lists.address(k));
        let (n_rows, n_nodes) = (call.sizes.rows, self.nodes(call.sizes));
        let [dim_x, dim_y, dim_w] = self.dims;
        let g = Input::constant(cotangent);
        let groups = |class: &Class| class.mul.div_ceil(class.across);
        let n_groups: usize = self.classes.iter().map(groups).sum();
        let y_sums = if !y_to.wanted() { 0 } else { call.reserve(0, n_groups * n_rows * dim_y * self.compute)? };
        let n_sums = n_nodes;
        let w_sums =
            if self.shared_weights && w_to.wanted() { call.reserve(1, n_sums * dim_w * self.compute)? } else { 0 };
        let (w_bar, n_edges) = (if self.shared_weights { Output::default() } else { w_to }, n_rows as u32);
        if x_to.wanted() {
            // Blocks that no path has.
            clear(call, x_to.to, n_nodes * dim_x * self.bytes)?;
        }
        let mut group = 0;
        for class in &self.classes {
            let x_rows =
                if !x_to.wanted() { 0 } else { call.reserve(2, n_rows * class.n_x * class.mul * self.compute)? };
            let y_bar = if !y_to.wanted() { 0 } else { y_sums + (group * n_rows * dim_y * self.compute) as u64 };
            group += groups(class);
            let grid = [n_nodes, groups(class), 1];
            launch!(
                class.module,
                kernel,
                call,
                grid,
                class.across,
                [x, y, w, first, edge, sender, g, x_rows, y_bar, w_bar, w_sums, n_edges]
            );
            if x_to.wanted() {
                launch!(class.module, "gather", call, [n_nodes, 1, 1], THREADS, [first_out, position, x_rows, x_to]);
            }
        }
        if y_to.wanted() {
            let (rows, n) = (n_groups as u32, (n_rows * dim_y) as u64);
            let grid = [(n_rows * dim_y).div_ceil(THREADS), 1, 1];
            launch!(self.sums, "sum_rows_stored", call, grid, THREADS, [y_sums, rows, n, y_to]);
        }
        if w_sums != 0 {
            let (chunk, n_chunks) = (SUM_CHUNK as u32, n_sums.div_ceil(SUM_CHUNK));
            let partial = call.reserve(3, n_chunks * dim_w * self.compute)?;
            let (rows, chunks, n, columns) = (n_sums as u32, n_chunks as u32, dim_w as u64, dim_w.div_ceil(THREADS));
            launch!(self.sums, "sum_rows", call, [columns, n_chunks, 1], THREADS, [w_sums, rows, n, chunk, partial]);
            launch!(self.sums, "sum_rows_stored", call, [columns, 1, 1], THREADS, [partial, chunks, n, w_to]);
        }
        Ok(())
    }
}

impl DeviceKernel for ChannelwiseOnDevice {
    /// The lists of [`edge_lists`].
    fn prepare(&self, sizes: Sizes, indices: &[&[u32]]) -> Vec<Vec<u32>> {
        let n = sizes.rows as u32;
        let [sender, receiver] = indices else {
            return vec![vec![], vec![], vec![], (0..=n).collect(), (0..n).collect()];
        };
        edge_lists(sizes.nodes, sender, receiver)
    }

    fn forward(&self, call: &mut Call, out: Output) -> Result<()> {
        self.out(call, false, out)
    }

    fn backward(&self, call: &mut Call, cotangent: u64, gradients: &[Output]) -> Result<()> {
        self.gradients(call, false, cotangent, gradients)
    }

    fn double_backward(&self, call: &mut Call, cotangent: u64, seconds: &[Output]) -> Result<()> {
        let (&last, gradients) = seconds.split_last().expect("that of the cotangent");
        if last.wanted() {
            self.out(call, true, last)?;
        }
        if !gradients.iter().any(|to| to.wanted()) {
            return Ok(());
        }
        self.gradients(call, true, cotangent, gradients)
    }
}
