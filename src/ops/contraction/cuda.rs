//! The symmetric contraction on a device: a thread has one channel of a few nodes of one species (`kernels/ops/contraction.cu`).

use super::{Contraction, Program};
use crate::Result;
use crate::dtype::Dtype;
use crate::ops::cuda::launch::{Input, Module, Output, Target, address, launch};
use crate::ops::cuda::source::{Source, across, blocks_at};
use crate::ops::cuda::{Call, DeviceKernel};
use crate::ops::kernel::Sizes;
use crate::ops::linear::cuda::{by_species, compute_bytes};
use crate::ops::spec::Spec;
use cudarc::driver::CudaSlice;
use std::collections::HashMap;
use std::fmt::Write;

/// Nodes of a thread: in the forward pass, the backward one and where numbers have derivatives. They divide `BLOCK`.
const NODES: usize = 4;
const NODES_BACKWARD: usize = 2;
const NODES_DUAL: usize = 2;
const BLOCK: usize = 4;
/// Monomials whose sums a thread keeps for the gradient of the weights, as many as there are registers for.
const fn group(storage: Dtype) -> usize {
    if matches!(storage, Dtype::F64) { 48 } else { 96 }
}
/// Chunks of the nodes of a species for the same.
const CHUNKS: usize = 8;
const MOST_THREADS: usize = 128;

pub(crate) struct ContractionOnDevice {
    module: Module,
    channels: usize,
    threads: usize,
    n_species: usize,
    n_paths: usize,
    n_entries: usize,
    /// See [`group`].
    group: usize,
    compute: usize,
    /// `c[e] = Σ value · W[path]` by entry, and the same by path.
    fold: Sparse,
    unfold: Sparse,
}

struct Sparse {
    first: CudaSlice<u32>,
    index: CudaSlice<u32>,
    value: CudaSlice<u8>,
}

pub(crate) fn source(op: &Contraction, spec: &Spec) -> Result<String> {
    let ports = spec.ports()?;
    let program = op.program(spec.convention)?;
    let channels = ports.inputs[0].blocks[0][1];
    let input: Vec<_> = blocks_at(&ports.inputs[0], spec.layout).into_iter().flat_map(|b| b.components()).collect();
    let out = blocks_at(&ports.output, spec.layout_out.unwrap_or(spec.layout));
    let out: Vec<_> = out.into_iter().flat_map(|b| b.components()).collect();
    let mut source = Source::checked(spec.storage);
    for (name, value) in [
        ("N_IN", input.len()),
        ("N_OUT", out.len()),
        ("N_ENTRIES", program.leaves.len()),
        ("N_PATHS", program.n_paths),
        ("MUL", channels),
        ("DIM_IN", ports.inputs[0].width),
        ("DIM_OUT", ports.output.width),
        ("THREADS", across(channels, MOST_THREADS)),
        ("GROUP", group(spec.storage)),
        ("NODES", NODES),
        ("NODES_BACKWARD", NODES_BACKWARD),
        ("NODES_DUAL", NODES_DUAL),
        ("TRAINING", 1),
    ] {
        source.define(name, value);
    }
    source.components("IN", &input).components("OUT", &out);
    source.define("PROGRAM(BEGIN, OPEN, LEAF, CLOSE, END)", nested(&program));
    source.define("GROUPS(BEGIN, ROOT, NODE, ENTRY, END)", groups(&program, group(spec.storage)));
    Ok(source
        .finish(&[include_str!("../../../kernels/ops/contraction.cu"), include_str!("../../../kernels/ops/sums.cu")]))
}

/// Each output component as a polynomial in nested form: products are nodes, with their own numbers where the root is 0.
pub(crate) fn nested(program: &Program) -> String {
    let mut text = String::new();
    for m in 0..program.n_out {
        let mut tree = Tree { program, leaves: HashMap::new(), children: HashMap::new() };
        for run in program.runs.iter().filter(|r| r.out as usize == m) {
            tree.leaves.insert(run.product, run.first_leaf..run.end_leaf);
            // All products on the way.
            let mut node = run.product;
            while node > 0 {
                let parent = program.products[node as usize - 1][0];
                let siblings = tree.children.entry(parent).or_default();
                if siblings.contains(&node) {
                    break;
                }
                siblings.push(node);
                node = parent;
            }
        }
        put(&mut text, format_args!(" BEGIN({m})"));
        tree.write(0, &mut text);
        put(&mut text, format_args!(" END({m})"));
    }
    text
}

struct Tree<'a> {
    program: &'a Program,
    leaves: HashMap<u32, std::ops::Range<u32>>,
    children: HashMap<u32, Vec<u32>>,
}

impl Tree<'_> {
    fn write(&self, node: u32, text: &mut String) {
        for leaf in self.leaves.get(&node).cloned().into_iter().flatten() {
            put(text, format_args!(" LEAF({node}, {leaf}, {})", self.program.leaves[leaf as usize]));
        }
        for &child in self.children.get(&node).into_iter().flatten() {
            let factor = self.program.products[child as usize - 1][1];
            put(text, format_args!(" OPEN({node}, {child}, {factor})"));
            self.write(child, text);
            put(text, format_args!(" CLOSE({node}, {child}, {factor})"));
        }
    }
}

/// Leaves by groups, with the products that they need.
fn groups(program: &Program, size: usize) -> String {
    let mut text = String::new();
    let all: Vec<(u32, u32, u32)> = program
        .runs
        .iter()
        .flat_map(|run| {
            (run.first_leaf..run.end_leaf).map(|leaf| (run.out, run.product, program.leaves[leaf as usize]))
        })
        .collect();
    for (g, group) in all.chunks(size).enumerate() {
        put(&mut text, format_args!(" BEGIN({g})"));
        let mut known = HashMap::new();
        for (k, &(out, product, factor)) in group.iter().enumerate() {
            let node = open(program, out, product, &mut known, &mut text);
            put(&mut text, format_args!(" ENTRY({k}, {node}, {factor})"));
        }
        put(&mut text, format_args!(" END({g})"));
    }
    text
}

/// The number of a product in its group, after whatever it takes.
fn open(program: &Program, out: u32, product: u32, known: &mut HashMap<(u32, u32), usize>, text: &mut String) -> usize {
    if let Some(&node) = known.get(&(out, product)) {
        return node;
    }
    let node = match product {
        0 => {
            let node = known.len();
            put(text, format_args!(" ROOT({node}, {out})"));
            node
        }
        t => {
            let [parent, factor] = program.products[t as usize - 1];
            let up = open(program, out, parent, known, text);
            let node = known.len();
            put(text, format_args!(" NODE({up}, {node}, {factor})"));
            node
        }
    };
    known.insert((out, product), node);
    node
}

fn put(text: &mut String, arguments: std::fmt::Arguments) {
    text.write_fmt(arguments).expect("writing to a string");
}

impl ContractionOnDevice {
    pub fn new(op: &Contraction, spec: &Spec, target: &Target) -> Result<ContractionOnDevice> {
        let ports = spec.ports()?;
        let program = op.program(spec.convention)?;
        let channels = ports.inputs[0].blocks[0][1];
        let entries = program.first_fold.windows(2).enumerate();
        let triples: Vec<(u32, u32, f64)> = entries
            .flat_map(|(e, w)| {
                program.fold[w[0] as usize..w[1] as usize].iter().map(move |&(path, v)| (e as u32, path, v))
            })
            .collect();
        let sparse = |n: usize, mut triples: Vec<(u32, u32, f64)>| -> Result<Sparse> {
            triples.sort_by_key(|t| (t.0, t.1));
            let first: Vec<u32> = (0..=n).map(|k| triples.partition_point(|t| (t.0 as usize) < k) as u32).collect();
            let mut index: Vec<u32> = triples.iter().map(|t| t.1).collect();
            // A table without entries has an address all the same.
            index.push(0);
            let values = triples.iter().map(|t| t.2).chain([0.0]);
            let value: Vec<u8> = match spec.storage {
                Dtype::F64 => values.flat_map(f64::to_ne_bytes).collect(),
                _ => values.flat_map(|v| (v as f32).to_ne_bytes()).collect(),
            };
            Ok(Sparse { first: target.upload(&first)?, index: target.upload(&index)?, value: target.upload(&value)? })
        };
        let transposed = triples.iter().map(|&(e, path, v)| (path, e, v)).collect();
        Ok(ContractionOnDevice {
            module: target.module("contraction", &source(op, spec)?)?,
            channels,
            threads: across(channels, MOST_THREADS),
            n_species: op.species,
            n_paths: program.n_paths,
            n_entries: program.leaves.len(),
            group: group(spec.storage),
            compute: compute_bytes(spec.storage),
            fold: sparse(program.leaves.len(), triples)?,
            unfold: sparse(program.n_paths, transposed)?,
        })
    }

    /// Threads in the direction of the channels.
    fn groups(&self) -> usize {
        self.channels.div_ceil(self.threads)
    }

    /// The numbers of the polynomials, and their derivatives.
    fn coefficients(&self, call: &mut Call, dual: bool) -> Result<[u64; 2]> {
        let bytes = self.n_species * self.n_entries * self.channels * self.compute;
        let w = call.input(1, dual);
        let c = call.reserve(0, bytes)?;
        let c_d = if dual { call.reserve(1, bytes)? } else { 0 };
        let [first, path, value] = [address(&self.fold.first), address(&self.fold.index), address(&self.fold.value)];
        let grid = [self.groups(), self.n_entries, self.n_species];
        launch!(self.module, "contraction_fold", call, grid, self.threads, [first, path, value, w, c, c_d]);
        Ok([c, c_d])
    }

    fn blocks(&self, call: &Call, nodes: usize) -> [usize; 3] {
        [call.lists.len(0) / nodes, self.groups(), 1]
    }

    fn out(&self, call: &mut Call, dual: bool, [c, c_d]: [u64; 2], out: Output) -> Result<()> {
        let (kernel, nodes) =
            if dual { ("contraction_forward_dual", NODES_DUAL) } else { ("contraction_forward", NODES) };
        let (order, species, x) = (call.lists.address(0), call.lists.address(1), call.input(0, dual));
        launch!(self.module, kernel, call, self.blocks(call, nodes), self.threads, [order, species, x, c, c_d, out]);
        Ok(())
    }

    /// Over duals with what [`ContractionOnDevice::out`] gives, where there is a place for it.
    fn x_gradient(
        &self,
        call: &mut Call,
        [c, c_d]: [u64; 2],
        cotangent: u64,
        to: Output,
        out: Option<Output>,
    ) -> Result<()> {
        let (kernel, nodes) = match out {
            Some(_) => ("contraction_backward_dual", NODES_DUAL),
            None => ("contraction_backward", NODES_BACKWARD),
        };
        let (order, species, x) = (call.lists.address(0), call.lists.address(1), call.input(0, out.is_some()));
        let (g, grid) = (Input::constant(cotangent), self.blocks(call, nodes));
        match out {
            Some(out) => {
                launch!(self.module, kernel, call, grid, self.threads, [order, species, x, c, c_d, g, to, out])
            }
            None => launch!(self.module, kernel, call, grid, self.threads, [order, species, x, c, c_d, g, to]),
        }
        Ok(())
    }

    fn w_gradient(&self, call: &mut Call, dual: bool, cotangent: u64, to: Output) -> Result<()> {
        let kernel = if dual { "contraction_moments_dual" } else { "contraction_moments" };
        let n_chunks = call.lists.len(2) - 1;
        let moments = call.reserve(2, n_chunks * self.n_entries * self.channels * self.compute)?;
        let [order, species, chunks, of_species] = [0, 1, 2, 3].map(|k| call.lists.address(k));
        let (x, g) = (call.input(0, dual), Input::constant(cotangent));
        let grid = [n_chunks, self.n_entries.div_ceil(self.group), self.groups()];
        launch!(self.module, kernel, call, grid, self.threads, [order, species, x, chunks, g, moments]);
        let [first, entry, value] =
            [address(&self.unfold.first), address(&self.unfold.index), address(&self.unfold.value)];
        let grid = [self.groups(), self.n_paths, self.n_species];
        launch!(
            self.module,
            "contraction_unfold",
            call,
            grid,
            self.threads,
            [first, entry, value, of_species, moments, to]
        );
        Ok(())
    }
}

impl DeviceKernel for ContractionOnDevice {
    fn prepare(&self, _: Sizes, indices: &[&[u32]]) -> Vec<Vec<u32>> {
        by_species(indices[0], self.n_species, BLOCK, |rows| rows.div_ceil(CHUNKS).max(1))
    }

    fn forward(&self, call: &mut Call, out: Output) -> Result<()> {
        let c = self.coefficients(call, false)?;
        self.out(call, false, c, out)
    }

    fn backward(&self, call: &mut Call, cotangent: u64, gradients: &[Output]) -> Result<()> {
        let &[x, w] = gradients else { unreachable!("two inputs") };
        if x.wanted() {
            let c = self.coefficients(call, false)?;
            self.x_gradient(call, c, cotangent, x, None)?;
        }
        if w.wanted() { self.w_gradient(call, false, cotangent, w) } else { Ok(()) }
    }

    fn double_backward(&self, call: &mut Call, cotangent: u64, seconds: &[Output]) -> Result<()> {
        let &[x, w, last] = seconds else { unreachable!("two inputs and the cotangent") };
        if x.wanted() || last.wanted() {
            let c = self.coefficients(call, true)?;
            // One kernel for both, as `contraction_backward_dual` has it.
            let together = x.wanted() && self.compute == size_of::<f32>();
            if last.wanted() && !together {
                self.out(call, true, c, last)?;
            }
            if x.wanted() {
                self.x_gradient(call, c, cotangent, x, Some(if together { last } else { Output::default() }))?;
            }
        }
        if w.wanted() { self.w_gradient(call, true, cotangent, w) } else { Ok(()) }
    }
}
