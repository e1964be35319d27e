//! Linear maps on a device: products of matrices in tiles, for nodes of one species at a time (`kernels/ops/linear.cu`).

use super::{Linear, Pair};
use crate::Result;
use crate::dtype::Dtype;
use crate::ops::cuda::launch::{Module, Output, Target, address, launch};
use crate::ops::cuda::source::{BlockAt, Source, THREADS, blocks_at};
use crate::ops::cuda::{Call, DeviceKernel, clear};
use crate::ops::kernel::Sizes;
use crate::ops::spec::{Arithmetic, Spec};
use crate::ops::species::counting_sort;
use cudarc::driver::{CudaSlice, DeviceRepr};
use std::sync::Arc;

/// As in `tiles.cuh`: nodes and columns of a tile, threads of a block.
pub(crate) const ROWS: usize = 64;
pub(crate) const COLUMNS: usize = 128;
pub(crate) const TILE_THREADS: usize = 128;
/// Nodes whose share of the weights' gradient is summed at once, at least.
const CHUNK: usize = 16;
/// Blocks of threads that sum the weights' gradient, about: those that an H200 has places for in f32. Fixed, as sums depend on it.
const PLACES: usize = 396;
/// Outputs of a block of the kernel that sums chunks, and its threads.
const SUM_OUTPUTS: usize = 32;
const SUM_THREADS: usize = 256;
/// Nodes whose share of a bias' gradient is.
const BIAS_CHUNK: usize = 512;

const NONE: u32 = u32::MAX;

/// `Target` of the kernel file.
#[repr(C)]
#[derive(Clone, Copy)]
struct TargetWords([u32; 8]);
/// `Term`: addresses and strides, then the scale; `real` is f32 or f64.
#[repr(C)]
#[derive(Clone, Copy)]
struct TermWords([u32; 12]);
/// `Pair`.
#[repr(C)]
#[derive(Clone, Copy)]
struct PairWords([u32; 5]);
/// `Nodes`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Nodes {
    order: u64,
    species: u64,
    n: u64,
}
// SAFETY: plain words, as large and aligned as in the kernel file.
unsafe impl DeviceRepr for TargetWords {}
unsafe impl DeviceRepr for TermWords {}
unsafe impl DeviceRepr for PairWords {}
unsafe impl DeviceRepr for Nodes {}

/// One way through the map: forwards, or backwards with the matrices transposed.
struct Way {
    /// One for each component of each block, and the component.
    targets: CudaSlice<TargetWords>,
    components: CudaSlice<u32>,
    terms: CudaSlice<u8>,
    n: usize,
    /// The largest multiplicity that is written.
    mul: usize,
}

/// The kernels of a linear map, for matrices as they are and transposed.
pub(crate) const WAYS: [&str; 2] = ["linear", "linear_turned"];

pub(crate) struct LinearOnDevice {
    module: Arc<Module>,
    storage: Dtype,
    /// Of `x` and `out`.
    dims: [usize; 2],
    n_weights: usize,
    n_bias: usize,
    n_species: Option<usize>,
    forth: Way,
    back: Way,
    /// For the gradient of the weights: blocks of the output, pairs, tiles of channels of all pairs.
    blocks: CudaSlice<TargetWords>,
    pairs: CudaSlice<PairWords>,
    n_blocks: usize,
    n_pairs: usize,
    n_tiles: usize,
    largest: usize,
    /// Channels of all blocks lie side by side, in multiples of [`COLUMNS`].
    whole: bool,
    /// Chunks of nodes whose sums are wanted of the weights' gradient.
    n_chunks: usize,
}

pub(crate) fn source(storage: Dtype, arithmetic: Arithmetic) -> String {
    Source::checked(storage).tensor(arithmetic).finish(&[
        include_str!("../../../kernels/ops/tiles.cuh"),
        include_str!("../../../kernels/ops/linear.cu"),
        include_str!("../../../kernels/ops/sums.cu"),
    ])
}

impl LinearOnDevice {
    pub fn new(op: &Linear, spec: &Spec, target: &Target) -> Result<LinearOnDevice> {
        let module = target.module("linear", &source(spec.storage, spec.arithmetic))?;
        LinearOnDevice::scaled(op, spec, None, &Arc::new(module), target)
    }

    /// With this factor instead of `1/√fan`; the module is that of the type of `spec`, whose operation does not matter.
    pub fn scaled(
        op: &Linear,
        spec: &Spec,
        scale: Option<f64>,
        module: &Arc<Module>,
        target: &Target,
    ) -> Result<LinearOnDevice> {
        let ports = op.ports()?;
        let x = blocks_at(&ports.inputs[0], spec.layout);
        let out = blocks_at(&ports.output, spec.layout_out.unwrap_or(spec.layout));
        let (mut pairs, n_weights) = (op.pairs(), op.n_weights());
        pairs.iter_mut().for_each(|p| p.scale = scale.unwrap_or(p.scale));
        let double = spec.storage == Dtype::F64;
        // The term of pair `p` as seen from the output, or from the input with the matrix transposed.
        let term = |p: &Pair, transposed: bool| {
            let (from, [row, column], n) = match transposed {
                false => (find(&x, p.x, p.mul[0]), [p.mul[1], 1], p.mul[0]),
                true => (find(&out, p.out, p.mul[1]), [1, p.mul[1]], p.mul[1]),
            };
            let [at, mul, channel, component] = [from.start, n, from.channel, from.component];
            let words = [at, mul, channel, component, p.w, n_weights, row, column].map(|w| w as u32);
            let scale = if double { p.scale.to_bits() } else { u64::from((p.scale as f32).to_bits()) };
            let mut all = [0; 12];
            all[..8].copy_from_slice(&words);
            (all[8], all[9]) = (scale as u32, (scale >> 32) as u32);
            TermWords(all)
        };
        let biased = op.biased();
        let way = |blocks: &[BlockAt], transposed: bool| -> Result<Way> {
            let (mut targets, mut components, mut terms) = (vec![], vec![], vec![]);
            let mut bias = 0;
            for block in blocks.iter().filter(|b| b.mul > 0) {
                let first = terms.len();
                let own = |p: &&Pair| if transposed { p.x == block.start } else { p.out == block.start };
                terms.extend(pairs.iter().filter(own).map(|p| term(p, transposed)));
                let has_bias = !transposed && biased.iter().any(|b| b.start == block.start);
                let words = target_words(block, first, terms.len() - first, has_bias.then_some(bias));
                bias += if has_bias { block.mul } else { 0 };
                for m in 0..block.dim {
                    targets.push(words);
                    components.push(m as u32);
                }
            }
            let (n, mul) = (targets.len(), blocks.iter().map(|b| b.mul).max().unwrap_or(0));
            // A table without entries has an address all the same.
            components.push(0);
            targets.push(TargetWords([0; 8]));
            Ok(Way {
                targets: target.upload(&targets)?,
                components: target.upload(&components)?,
                terms: target.upload(&term_bytes(&terms, double))?,
                n,
                mul,
            })
        };
        let (forth, back) = (way(&out, false)?, way(&x, true)?);
        let written: Vec<&BlockAt> = out.iter().filter(|b| b.mul > 0).collect();
        let (mut bias, mut first_term, mut n_tiles, mut shares) = (0, 0, 0, 0.0);
        let widest = pairs.iter().map(|p| p.dim).max().unwrap_or(1);
        let (mut block_words, mut pair_words) = (vec![], vec![]);
        for (b, block) in written.iter().enumerate() {
            let has_bias = biased.iter().any(|r| r.start == block.start);
            block_words.push(target_words(block, 0, 0, has_bias.then_some(bias)));
            bias += if has_bias { block.mul } else { 0 };
            for p in pairs.iter().filter(|p| p.out == block.start) {
                // A pair with fewer components takes several chunks at a time.
                let chunks = widest / p.dim;
                pair_words.push(PairWords([first_term, b as u32, n_tiles as u32, p.w as u32, chunks as u32]));
                first_term += 1;
                n_tiles += p.mul[0].div_ceil(ROWS);
                shares += (p.mul[0].div_ceil(ROWS) * p.mul[1].div_ceil(COLUMNS)) as f64 / chunks as f64;
            }
        }
        let (n_blocks, n_pairs) = (block_words.len(), pair_words.len());
        block_words.push(TargetWords([0; 8]));
        pair_words.push(PairWords([0; 5]));
        Ok(LinearOnDevice {
            module: module.clone(),
            storage: spec.storage,
            dims: [op.irreps_in.dim(), op.irreps_out.dim()],
            n_weights,
            n_bias: bias,
            n_species: op.species,
            forth,
            back,
            blocks: target.upload(&block_words)?,
            pairs: target.upload(&pair_words)?,
            n_blocks,
            n_pairs,
            n_tiles,
            largest: pairs.iter().map(|p| p.mul[0] * p.mul[1]).max().unwrap_or(0),
            whole: x.iter().chain(&out).all(|b| b.channel == 1 && b.mul % COLUMNS == 0),
            n_chunks: (PLACES as f64 / f64::max(shares, 1.0)) as usize,
        })
    }

    fn nodes(&self, call: &Call) -> Nodes {
        let order = if self.n_species.is_some() { call.lists.address(0) } else { 0 };
        Nodes { order, species: call.lists.address(1), n: call.sizes.rows as u64 }
    }

    /// `out (+)= W x`, or the transpose of it.
    pub fn multiply(
        &self,
        call: &mut Call,
        backwards: bool,
        [x, w, bias]: [u64; 3],
        out: Output,
        add: bool,
    ) -> Result<()> {
        let (way, [from, to]) =
            if backwards { (&self.back, [self.dims[1], self.dims[0]]) } else { (&self.forth, self.dims) };
        let blocks = if self.n_species.is_some() { call.lists.len(0) / ROWS } else { call.sizes.rows.div_ceil(ROWS) };
        let (targets, components, terms) = (address(&way.targets), address(&way.components), address(&way.terms));
        let (nodes, from, to, add) = (self.nodes(call), from as u32, to as u32, u32::from(add));
        let grid = [blocks, way.mul.div_ceil(COLUMNS), way.n];
        let kernel = WAYS[usize::from(backwards)];
        launch!(
            self.module,
            kernel,
            call,
            grid,
            TILE_THREADS,
            [targets, components, terms, nodes, x, from, w, bias, out, to, add]
        );
        Ok(())
    }

    /// `w_bar (+)= Σ x ḡ`.
    pub fn weights(&self, call: &mut Call, [x, g]: [u64; 2], w_bar: Output, add: bool) -> Result<()> {
        let n_chunks = call.lists.len(2) - 1;
        let n_weights = self.n_weights as u64;
        let partial = call.reserve(0, n_chunks * self.n_weights * compute_bytes(self.storage))?;
        let (blocks, terms, pairs) = (address(&self.blocks), address(&self.forth.terms), address(&self.pairs));
        let (nodes, first, of_species) = (self.nodes(call), call.lists.address(2), call.lists.address(3));
        let whole = self.whole && [x, g].iter().all(|a| a % 16 == 0);
        let kernel = if whole { "linear_weights_whole" } else { "linear_weights" };
        let [dim_x, dim_g] = self.dims.map(|d| d as u32);
        let n_pairs = self.n_pairs as u32;
        let grid = [n_chunks, self.forth.mul.div_ceil(COLUMNS), self.n_tiles];
        launch!(
            self.module,
            kernel,
            call,
            grid,
            TILE_THREADS,
            [blocks, terms, pairs, n_pairs, nodes, first, of_species, x, dim_x, g, dim_g, n_weights, partial]
        );
        let grid = [self.largest.div_ceil(SUM_OUTPUTS), self.n_pairs, self.n_species.unwrap_or(1)];
        let add = u32::from(add);
        launch!(
            self.module,
            "linear_weights_sum",
            call,
            grid,
            SUM_THREADS,
            [blocks, terms, pairs, of_species, n_weights, partial, w_bar, add]
        );
        Ok(())
    }

    fn bias(&self, call: &mut Call, g: u64, bias_bar: Output) -> Result<()> {
        let (rows, chunk) = (call.sizes.rows, BIAS_CHUNK as u32);
        let n_chunks = rows.div_ceil(BIAS_CHUNK);
        let partial = call.reserve(1, n_chunks * self.n_bias * compute_bytes(self.storage))?;
        let (blocks, n, dim, n_bias) = (address(&self.blocks), rows as u32, self.dims[1] as u32, self.n_bias as u32);
        let grid = [self.forth.mul.div_ceil(THREADS), n_chunks, self.n_blocks];
        launch!(self.module, "linear_bias", call, grid, THREADS, [blocks, n, g, dim, chunk, partial, n_bias]);
        let (n_rows, n) = (n_chunks as u32, self.n_bias as u64);
        launch!(
            self.module,
            "sum_rows_stored",
            call,
            [self.n_bias.div_ceil(THREADS), 1, 1],
            THREADS,
            [partial, n_rows, n, bias_bar]
        );
        Ok(())
    }

    /// Zeros, if there is a place for them.
    fn clear(&self, call: &Call, at: Output, n: usize) -> Result<()> {
        if at.wanted() { clear(call, at.to, n * self.storage.bytes()) } else { Ok(()) }
    }

    /// Numbers of one set of weights.
    pub fn n_weights(&self) -> usize {
        self.n_weights
    }

    fn n_sets(&self) -> usize {
        self.n_species.unwrap_or(1)
    }
}

impl DeviceKernel for LinearOnDevice {
    /// Nodes by species in whole tiles, the species of all nodes, chunks of these, the first chunk of each species.
    fn prepare(&self, sizes: Sizes, indices: &[&[u32]]) -> Vec<Vec<u32>> {
        let chunk = sizes.rows.div_ceil(self.n_chunks.max(1)).next_multiple_of(4).max(CHUNK);
        let Some(n_species) = self.n_species else {
            let mut chunks: Vec<u32> = (0..sizes.rows as u32).step_by(chunk).collect();
            let n = chunks.len() as u32;
            chunks.push(sizes.rows as u32);
            return vec![vec![], vec![], chunks, vec![0, n]];
        };
        // Chunks of a species are of one size.
        by_species(indices[0], n_species, ROWS, |rows| rows.div_ceil(((rows + chunk / 2) / chunk).max(1)).max(1))
    }

    fn forward(&self, call: &mut Call, out: Output) -> Result<()> {
        let bias = call.inputs.get(2).copied().unwrap_or(0);
        self.multiply(call, false, [call.inputs[0], call.inputs[1], bias], out, false)
    }

    fn backward(&self, call: &mut Call, cotangent: u64, gradients: &[Output]) -> Result<()> {
        let [x, w] = [call.inputs[0], call.inputs[1]];
        if gradients[0].wanted() {
            self.multiply(call, true, [cotangent, w, 0], gradients[0], false)?;
        }
        if gradients[1].wanted() {
            self.weights(call, [x, cotangent], gradients[1], false)?;
        }
        match gradients.get(2) {
            Some(&to) if to.wanted() => self.bias(call, cotangent, to),
            _ => Ok(()),
        }
    }

    /// The map is linear in `x` and in `w`: the same products with one of them replaced by its direction.
    fn double_backward(&self, call: &mut Call, cotangent: u64, seconds: &[Output]) -> Result<()> {
        let ([x, w], [dx, dw]) = ([call.inputs[0], call.inputs[1]], [call.directions[0], call.directions[1]]);
        let db = call.directions.get(2).copied().unwrap_or(0);
        let rows = call.sizes.rows;
        match seconds[0] {
            to if !to.wanted() => {}
            to if dw == 0 => self.clear(call, to, rows * self.dims[0])?,
            to => self.multiply(call, true, [cotangent, dw, 0], to, false)?,
        }
        match seconds[1] {
            to if !to.wanted() => {}
            to if dx == 0 => self.clear(call, to, self.n_weights * self.n_sets())?,
            to => self.weights(call, [dx, cotangent], to, false)?,
        }
        if seconds.len() == 4 {
            self.clear(call, seconds[2], self.n_bias)?;
        }
        let to = seconds[seconds.len() - 1];
        if !to.wanted() {
            return Ok(());
        }
        self.clear(call, to, rows * self.dims[1])?;
        if dw != 0 {
            self.multiply(call, false, [x, dw, db], to, true)?;
        } else if db != 0 {
            // The bias alone: a product with nothing.
            let zeros = call.reserve(2, rows * self.dims[0] * self.storage.bytes())?;
            clear(call, zeros, rows * self.dims[0] * self.storage.bytes())?;
            self.multiply(call, false, [zeros, w, db], to, true)?;
        }
        if dx != 0 {
            self.multiply(call, false, [dx, w, 0], to, true)?;
        }
        Ok(())
    }
}

fn target_words(block: &BlockAt, first: usize, n: usize, bias: Option<usize>) -> TargetWords {
    let BlockAt { start, mul, dim, component, channel } = *block;
    let words = [start, mul, dim, channel, component, first, n].map(|w| w as u32);
    let mut all = [bias.map_or(NONE, |b| b as u32); 8];
    all[..7].copy_from_slice(&words);
    TargetWords(all)
}

/// The block that starts at `start`; blocks without channels start where others do.
fn find(blocks: &[BlockAt], start: usize, mul: usize) -> BlockAt {
    *blocks.iter().find(|b| b.start == start && b.mul == mul).expect("pairs are of the same blocks")
}

/// `Term` has 40 bytes in f32, 48 in f64.
fn term_bytes(terms: &[TermWords], double: bool) -> Vec<u8> {
    let words = if double { 12 } else { 10 };
    let bytes = terms.iter().flat_map(|t| t.0[..words].iter().flat_map(|w| w.to_ne_bytes()));
    // A table without entries has an address all the same.
    bytes.chain([0; 4]).collect()
}

pub(crate) fn compute_bytes(storage: Dtype) -> usize {
    if storage == Dtype::F64 { 8 } else { 4 }
}

/// Rows by species, those of each filled up with `NONE` to whole blocks; the species of all rows; the starts of chunks, which have one
/// species, of `chunk(rows of the species)` rows, whole fours; the first chunk of each species.
pub(crate) fn by_species(
    species: &[u32],
    n_species: usize,
    block: usize,
    chunk: impl Fn(usize) -> usize,
) -> Vec<Vec<u32>> {
    let (mut first, mut sorted) = (vec![0; n_species + 1], vec![0; species.len()]);
    counting_sort(species, 0..species.len() as u32, &mut first, &mut sorted);
    let (mut order, mut chunks, mut of_species) = (vec![], vec![], vec![0]);
    for z in 0..n_species {
        let rows = &sorted[first[z] as usize..first[z + 1] as usize];
        let start = order.len();
        order.extend_from_slice(rows);
        order.resize(start + rows.len().next_multiple_of(block), NONE);
        let size = chunk(rows.len()).next_multiple_of(4);
        chunks.extend((start..start + rows.len()).step_by(size).map(|k| k as u32));
        of_species.push(chunks.len() as u32);
    }
    // A chunk ends where the next one starts, beyond what fills the last block up.
    chunks.push(order.len() as u32);
    vec![order, species.to_vec(), chunks, of_species]
}
