//! The fully connected product on a device: a block of threads has channels of one receiver, or one edge backwards (`kernels/ops/uvw.cu`).

use super::channelwise_cuda::edge_lists;
use super::fully_connected::FullyConnected;
use super::paths::Path;
use crate::Result;
use crate::ops::cuda::launch::{Input, Module, Output, Target, launch};
use crate::ops::cuda::source::{BlockAt, Source, THREADS, across, blocks_at};
use crate::ops::cuda::{Call, DeviceKernel, clear};
use crate::ops::kernel::Sizes;
use crate::ops::linear::cuda::compute_bytes;
use crate::ops::spec::Spec;
use std::fmt::Write;

/// As in the kernel file: channels of `x` that a block has at a time.
const UNITS: usize = 16;
const MOST_ACROSS: usize = 128;
/// Parts in which the gradient of shared weights is summed.
const PARTIAL_SUMS: usize = 64;

/// What the kernels are made for.
struct Plan {
    /// By block of the result.
    paths: Vec<Path>,
    /// First path and number of paths of the blocks that have any.
    results: Vec<[usize; 2]>,
    /// Path, channel of `y`, first channel of `x`.
    tiles: Vec<[usize; 3]>,
    /// Threads side by side for the channels of the result, and how many of those there are at most.
    threads: usize,
    widest: usize,
}

impl Plan {
    fn new(op: &FullyConnected, spec: &Spec) -> Plan {
        let mut paths = op.paths(spec.convention);
        paths.sort_by_key(|p| p.blocks[2]);
        let mut results: Vec<[usize; 2]> = Vec::new();
        for (k, path) in paths.iter().enumerate() {
            match results.last_mut() {
                Some([first, n]) if paths[*first].blocks[2] == path.blocks[2] => *n += 1,
                _ => results.push([k, 1]),
            }
        }
        let mut tiles = Vec::new();
        for (k, path) in paths.iter().enumerate() {
            let channels = (0..path.mul[1]).flat_map(|v| (0..path.mul[0]).step_by(UNITS).map(move |u| (v, u)));
            tiles.extend(channels.map(|(v, u)| [k, v, u]));
        }
        let widest = paths.iter().map(|p| p.mul[2]).max().unwrap_or(0);
        Plan { paths, results, tiles, threads: across(widest, MOST_ACROSS), widest }
    }
}

pub(crate) fn source(op: &FullyConnected, spec: &Spec) -> Result<String> {
    let (ports, plan) = (spec.ports()?, Plan::new(op, spec));
    let blocks = [
        blocks_at(&ports.inputs[0], spec.layout),
        blocks_at(&ports.inputs[1], spec.layout),
        blocks_at(&ports.output, spec.layout_out.unwrap_or(spec.layout)),
    ];
    let mut source = Source::checked(spec.storage);
    let most = |n: fn(&Path) -> usize| plan.paths.iter().map(n).max().unwrap_or(1);
    for (name, value) in [
        ("DIM_X", ports.inputs[0].width),
        ("DIM_Y", ports.inputs[1].width),
        ("DIM_OUT", ports.output.width),
        ("DIM_W", ports.inputs[2].width),
        ("SHARED_WEIGHTS", usize::from(op.shared_weights)),
        ("MOST_M", most(|p| p.dim[0] * p.dim[2])),
        ("MOST_D", most(|p| p.dim[2])),
        ("N_PATHS", plan.paths.len()),
        ("THREADS", plan.threads),
    ] {
        source.define(name, value);
    }
    // Entries in the order of (path, a, c), and their terms.
    let (mut first, mut values, mut y, mut entries) = (vec![0], vec![], vec![], vec![]);
    let mut table = String::new();
    for path in &plan.paths {
        table += "{";
        for (blocks, &k) in blocks.iter().zip(&path.blocks) {
            let BlockAt { start, mul, dim, component, channel } = blocks[k];
            write!(table, "{{{start}, {component}, {channel}, {mul}, {dim}}}, ").expect("writing to a string");
        }
        write!(table, "{}, {}}}, ", path.w.start, first.len() - 1).expect("writing to a string");
        for (a, c) in (0..path.dim[0]).flat_map(|a| (0..path.dim[2]).map(move |c| (a, c))) {
            for e in path.coupling.iter().filter(|e| (e.index[0], e.index[2]) == (a, c)) {
                values.push(format!("{:e}", e.value));
                y.push(e.index[1]);
                entries.push(a * path.dim[2] + c);
            }
            first.push(values.len());
        }
    }
    // Tables without entries cannot be.
    values.push("0".into());
    y.push(0);
    entries.push(0);
    source.table("u32", "ENTRY_first", first).table("real", "TERM_value", values);
    source.table("u32", "TERM_y", y).table("u32", "TERM_entry", entries);
    let rows = |rows: &mut dyn Iterator<Item = String>| rows.map(|r| format!("{{{r}}}, ")).collect::<String>();
    let results = rows(&mut plan.results.iter().map(|[first, n]| format!("{first}, {n}")));
    let tiles = rows(&mut plan.tiles.iter().map(|[p, v, u]| format!("{p}, {v}, {u}")));
    for (name, rows) in [("PATH_TABLE", table), ("RESULT_TABLE", results), ("TILE_TABLE", tiles)] {
        source.define(name, if rows.is_empty() { "{}".into() } else { rows });
    }
    Ok(source.finish(&[include_str!("../../../kernels/ops/uvw.cu"), include_str!("../../../kernels/ops/sums.cu")]))
}

pub(crate) struct FullyConnectedOnDevice {
    module: Module,
    plan: Plan,
    /// Numbers in a row of `x`, `y`, the weights and the result; bytes of one in scratch memory, and of one in memory.
    dims: [usize; 4],
    compute: usize,
    bytes: usize,
    shared_weights: bool,
    convolution: bool,
    /// Whether every block of the result has paths.
    covers: bool,
}

impl FullyConnectedOnDevice {
    pub fn new(op: &FullyConnected, spec: &Spec, target: &Target) -> Result<FullyConnectedOnDevice> {
        let (ports, plan) = (spec.ports()?, Plan::new(op, spec));
        let covered: usize = plan.results.iter().map(|r| plan.paths[r[0]].mul[2] * plan.paths[r[0]].dim[2]).sum();
        Ok(FullyConnectedOnDevice {
            module: target.module("uvw", &source(op, spec)?)?,
            dims: [ports.inputs[0].width, ports.inputs[1].width, ports.inputs[2].width, ports.output.width],
            covers: covered == ports.output.width,
            plan,
            compute: compute_bytes(spec.storage),
            bytes: spec.storage.bytes(),
            shared_weights: op.shared_weights,
            convolution: op.convolution,
        })
    }

    /// Receivers, and rows of `x`.
    fn nodes(&self, sizes: Sizes) -> usize {
        if self.convolution { sizes.nodes } else { sizes.rows }
    }

    fn out(&self, call: &mut Call, dual: bool, out: Output) -> Result<()> {
        let n_nodes = self.nodes(call.sizes);
        if !self.covers {
            clear(call, out.to, n_nodes * self.dims[3] * self.bytes)?;
        }
        let kernel = if dual { "uvw_forward_dual" } else { "uvw_forward" };
        let [x, y, w] = [0, 1, 2].map(|k| call.input(k, dual));
        let [first, edge, sender, receiver] = [0, 1, 2, 5].map(|k| call.lists.address(k));
        let grid = [n_nodes, self.plan.widest.div_ceil(self.plan.threads), self.plan.results.len()];
        launch!(self.module, kernel, call, grid, self.plan.threads, [x, y, w, first, edge, sender, receiver, out]);
        Ok(())
    }

    fn gradients(&self, call: &mut Call, dual: bool, cotangent: u64, gradients: &[Output]) -> Result<()> {
        let &[x_to, y_to, w_to] = gradients else { unreachable!("three inputs") };
        let (n_rows, n_nodes, threads) = (call.sizes.rows, self.nodes(call.sizes), self.plan.threads);
        let [dim_x, dim_y, dim_w, _] = self.dims;
        let [x, y, w] = [0, 1, 2].map(|k| call.input(k, dual));
        let [first, edge, sender, first_out, position, receiver] = [0, 1, 2, 3, 4, 5].map(|k| call.lists.address(k));
        let g = Input::constant(cotangent);
        let own = if self.shared_weights { Output::default() } else { w_to };
        let x_rows = if x_to.wanted() { call.reserve(0, n_rows * dim_x * self.compute)? } else { 0 };
        let y_rows = if y_to.wanted() { call.reserve(1, n_rows * dim_y * self.compute)? } else { 0 };
        if x_to.wanted() || y_to.wanted() || own.wanted() {
            let kernel = if dual { "uvw_backward_dual" } else { "uvw_backward" };
            let grid = [n_rows, 1, 1];
            launch!(
                self.module,
                kernel,
                call,
                grid,
                threads,
                [x, y, w, first, edge, sender, receiver, g, x_rows, y_rows, own]
            );
        }
        if x_to.wanted() {
            let (width, grid) = (dim_x as u32, [n_nodes, 1, 1]);
            launch!(self.module, "gather_rows", call, grid, THREADS, [first_out, position, x_rows, width, x_to]);
        }
        if y_to.wanted() {
            let (one, n, grid) = (1_u32, (n_rows * dim_y) as u64, [(n_rows * dim_y).div_ceil(THREADS), 1, 1]);
            launch!(self.module, "sum_rows_stored", call, grid, THREADS, [y_rows, one, n, y_to]);
        }
        if self.shared_weights && w_to.wanted() {
            let kernel = if dual { "uvw_weights_dual" } else { "uvw_weights" };
            let chunk = n_nodes.div_ceil(PARTIAL_SUMS).max(1);
            let n_chunks = n_nodes.div_ceil(chunk);
            let partial = call.reserve(2, n_chunks * dim_w * self.compute)?;
            let (nodes, chunk) = (n_nodes as u32, chunk as u32);
            let grid = [n_chunks, self.plan.tiles.len(), self.plan.widest.div_ceil(threads)];
            launch!(
                self.module,
                kernel,
                call,
                grid,
                threads,
                [x, y, w, first, edge, sender, receiver, g, nodes, chunk, partial]
            );
            let (chunks, n, grid) = (n_chunks as u32, dim_w as u64, [dim_w.div_ceil(THREADS), 1, 1]);
            launch!(self.module, "sum_rows_stored", call, grid, THREADS, [partial, chunks, n, w_to]);
        }
        Ok(())
    }
}

impl DeviceKernel for FullyConnectedOnDevice {
    /// The lists of [`edge_lists`], and the receivers of all edges; without a graph every row is an edge from itself to itself.
    fn prepare(&self, sizes: Sizes, indices: &[&[u32]]) -> Vec<Vec<u32>> {
        let rows: Vec<u32> = (0..sizes.rows as u32).collect();
        let own = [&rows[..], &rows[..]];
        let (indices, nodes) = if self.convolution { (indices, sizes.nodes) } else { (&own[..], sizes.rows) };
        let mut lists = edge_lists(nodes, indices[0], indices[1]);
        lists.push(indices[1].to_vec());
        lists
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
        self.gradients(call, true, cotangent, gradients)
    }
}
