//! The paths of a product: which block times which block gives which block, and the coupling of each.

use crate::ops::coupling::{Convention, Entry, coupling};
use crate::ops::irreps::{Block, Irrep, Irreps};
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::ops::Range;

/// One path. Places are those of a row in `ir_mul`; the same numbers hold in `mul_ir`, block by block.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// Which blocks: of the first argument, the second one, the result.
    pub blocks: [usize; 3],
    /// Where these blocks start.
    pub start: [usize; 3],
    /// Their multiplicities.
    pub mul: [usize; 3],
    /// `2l + 1` of each.
    pub dim: [usize; 3],
    /// The weights of this path.
    pub w: Range<usize>,
    /// `C(l1, l2 → l3)`, times the factor of the path.
    pub coupling: Vec<Entry>,
}

/// The most paths, and the most combinations of blocks that are looked at for them: a short text must not take all time and memory.
const MAX_PATHS: usize = 1 << 14;
const MAX_COMBINATIONS: usize = 1 << 24;

/// # Errors
/// More paths than that, or than there are numbers for their weights.
pub(crate) fn check(x: &Irreps, y: &Irreps, out: &Irreps, fully_connected: bool) -> Result<()> {
    let blocks = |irreps: &Irreps| irreps.blocks().len().max(1);
    let combinations = [x, y].map(blocks).iter().product::<usize>() * if fully_connected { blocks(out) } else { 1 };
    let (mut n_paths, mut n_weights) = (0.0, 0.0);
    let outs = out.counts();
    for (p, [of_x, channels_of_x]) in x.counts() {
        for (q, [of_y, channels_of_y]) in y.counts() {
            for [of_out, channels] in p.product(q).filter_map(|irrep| outs.get(&irrep)) {
                n_paths += if fully_connected { (of_x * of_y * of_out) as f64 } else { (of_x * of_y) as f64 };
                n_weights += (channels_of_x * channels_of_y) as f64 * *channels as f64;
            }
        }
    }
    if combinations > MAX_COMBINATIONS || n_paths > MAX_PATHS as f64 {
        let message = format!("product: {n_paths} paths among {combinations} combinations of blocks");
        return Err(Error::Argument(format!("{message}, expected at most {MAX_PATHS} among {MAX_COMBINATIONS}")));
    }
    match fully_connected && n_weights > (1_u64 << 32) as f64 {
        true => Err(Error::Argument(format!("product: {n_weights} weights are too many"))),
        false => Ok(()),
    }
}

/// The blocks of three rows, to make paths from.
struct Rows<'a> {
    irreps: [&'a Irreps; 3],
    slices: [Vec<Range<usize>>; 3],
    convention: Convention,
}

impl Rows<'_> {
    fn path(&self, blocks: [usize; 3], w: Range<usize>, factor: f64) -> Path {
        let block: [Block; 3] = std::array::from_fn(|k| self.irreps[k].blocks()[blocks[k]]);
        let [a, b, c] = block.map(|b| b.irrep);
        let mut coupling = coupling(a, b, c, self.convention);
        coupling.iter_mut().for_each(|e| e.value *= factor);
        let start = std::array::from_fn(|k| self.slices[k][blocks[k]].start);
        Path { blocks, start, mul: block.map(|b| b.mul), dim: block.map(|b| b.irrep.dim()), w, coupling }
    }
}

/// The paths of the channelwise product and its result: sorted by irrep, not merged. Weights follow the sorted paths.
pub(crate) fn channelwise(x: &Irreps, y: &Irreps, targets: &Irreps, convention: Convention) -> (Vec<Path>, Vec<Block>) {
    let targets: BTreeSet<Irrep> = targets.blocks().iter().map(|t| t.irrep).collect();
    let mut found = Vec::new();
    for (a, p) in x.blocks().iter().enumerate() {
        for (b, q) in y.blocks().iter().enumerate() {
            found.extend(p.irrep.product(q.irrep).filter(|i| targets.contains(i)).map(|irrep| (irrep, [a, b], p.mul)));
        }
    }
    found.sort_by_key(|&(irrep, ..)| irrep);
    let blocks: Vec<Block> = found.iter().map(|&(irrep, _, mul)| Block { mul, irrep }).collect();
    let mut start = [0, 0];
    let mut paths = Vec::new();
    let (xs, ys) = (x.slices(), y.slices());
    for &(irrep, [a, b], mul) in &found {
        let (p, q) = (x.blocks()[a].irrep, y.blocks()[b].irrep);
        paths.push(Path {
            blocks: [a, b, paths.len()],
            start: [xs[a].start, ys[b].start, start[0]],
            mul: [mul, 1, mul],
            dim: [p.dim(), q.dim(), irrep.dim()],
            w: start[1]..start[1] + mul,
            coupling: coupling(p, q, irrep, convention),
        });
        start = [start[0] + mul * irrep.dim(), start[1] + mul];
    }
    (paths, blocks)
}

/// The paths of the fully connected product: weights (mul1, mul2, mul3) each, scaled by `1/√F` of their output block.
pub(crate) fn fully_connected(x: &Irreps, y: &Irreps, out: &Irreps, convention: Convention) -> Vec<Path> {
    let rows = Rows { irreps: [x, y, out], slices: [x.slices(), y.slices(), out.slices()], convention };
    let mut found = Vec::new();
    let mut fan = vec![0; out.blocks().len()];
    for (a, p) in x.blocks().iter().enumerate() {
        for (b, q) in y.blocks().iter().enumerate() {
            for (c, r) in out.blocks().iter().enumerate() {
                if p.irrep.product(q.irrep).any(|irrep| irrep == r.irrep) && p.mul * q.mul * r.mul > 0 {
                    found.push([a, b, c]);
                    fan[c] += p.mul * q.mul;
                }
            }
        }
    }
    let mut w = 0;
    let path = |blocks: [usize; 3]| {
        let n: usize = blocks.iter().zip(rows.irreps).map(|(&k, irreps)| irreps.blocks()[k].mul).product();
        w += n;
        rows.path(blocks, w - n..w, 1.0 / (fan[blocks[2]] as f64).sqrt())
    };
    found.into_iter().map(path).collect()
}
