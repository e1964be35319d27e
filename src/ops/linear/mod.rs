//! The equivariant linear map, with weights for all rows or by species.
//!
//! For every pair (input block a, output block b) of equal irrep, by a then b, weights `W_ab` (mul_a, mul_b) one after the other:
//! `out_b[v, m] = (1/√fan_b) Σ_a Σ_u W_ab[u, v] x_a[u, m]`, `fan_b = Σ_a mul_a` over all input blocks of that irrep. An output
//! block without partner is zero. A bias is added, unscaled, to blocks `0e`.

#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub(crate) mod gemm;

use super::irreps::{Irrep, Irreps};
use super::kernel::{Call, Extent, IndexPort, Kernel, Pass, Port, Ports, Sizes, Wanted, clear};
use super::scratch::{Line, Scratch, lines};
use super::species::Groups;
use crate::parallel::{self, Disjoint};
use crate::simd::{Lanes, Real};
use crate::{Error, Result};
use gemm::Matrix;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::ops::Range;

/// `x`, weights `w` (and, with `species`, one row of them a species), bias `b`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    pub irreps_in: Irreps,
    pub irreps_out: Irreps,
    #[serde(default)]
    pub bias: bool,
    /// Indexed: so many sets of weights, chosen by the index `species` of a row.
    #[serde(default)]
    pub species: Option<usize>,
}

/// The most of them: a short text must not take all time.
const MAX_PAIRS: usize = 1 << 20;

/// A matrix of the map: from one block to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Where the blocks start in a row, and the matrix in the weights.
    pub x: usize,
    pub out: usize,
    pub w: usize,
    /// Channels in and out.
    pub mul: [usize; 2],
    /// `2l + 1`
    pub dim: usize,
    /// `1/√fan`
    pub scale: f64,
}

impl Linear {
    /// The matrices, in the order of their weights.
    pub fn pairs(&self) -> Vec<Pair> {
        let (ins, outs) = (self.irreps_in.slices(), self.irreps_out.slices());
        let counts = self.irreps_in.counts();
        let mut w = 0;
        let mut pairs = Vec::new();
        for (a, x) in self.irreps_in.blocks().iter().zip(&ins) {
            for (b, out) in self.irreps_out.blocks().iter().zip(&outs) {
                let mul = [a.mul, b.mul];
                if a.irrep != b.irrep || mul.contains(&0) {
                    continue;
                }
                let scale = 1.0 / (counts[&a.irrep][1] as f64).sqrt();
                pairs.push(Pair { x: x.start, out: out.start, w, mul, dim: a.irrep.dim(), scale });
                w += mul[0] * mul[1];
            }
        }
        pairs
    }

    /// Numbers of one set of weights.
    pub fn n_weights(&self) -> usize {
        self.pairs().iter().map(|p| p.mul[0] * p.mul[1]).sum()
    }

    /// Where the biased blocks of the output are.
    pub fn biased(&self) -> Vec<Range<usize>> {
        let blocks = self.irreps_out.blocks().iter().zip(self.irreps_out.slices());
        blocks.filter(|(b, _)| self.bias && b.irrep == Irrep::SCALAR).map(|(_, slice)| slice).collect()
    }

    pub(crate) fn ports(&self) -> Result<Ports> {
        if self.bias && self.species.is_some() {
            return Err(Error::Argument("linear: there is no bias by species".into()));
        }
        let (ins, outs) = (self.irreps_in.counts(), self.irreps_out.counts());
        let n_pairs: usize = ins.iter().map(|(irrep, n)| n[0] * outs.get(irrep).map_or(0, |n| n[0])).sum();
        if n_pairs > MAX_PAIRS {
            let message =
                format!("linear: {n_pairs} pairs of blocks, expected at most {MAX_PAIRS}: merge equal irreps");
            return Err(Error::Argument(message));
        }
        let n_weights = self.n_weights();
        if n_weights.checked_mul(self.species.unwrap_or(1)).is_none_or(|n| n > 1 << 32) {
            return Err(Error::Argument(format!("linear: {n_weights} weights for each species are too many")));
        }
        let mut inputs = vec![
            Port::of_irreps("x", Extent::Rows, &self.irreps_in),
            Port::new("w", Extent::Fixed(self.species.unwrap_or(1)), n_weights),
        ];
        if self.bias {
            inputs.push(Port::new("b", Extent::Fixed(1), self.biased().iter().map(|b| b.len()).sum()));
        }
        let indices = self.species.iter().map(|&n| IndexPort { name: "species", bound: Some(n) }).collect();
        Ok(Ports { inputs, indices, output: Port::of_irreps("out", Extent::Rows, &self.irreps_out) })
    }

    pub(crate) fn kernel<V: Lanes>(&self) -> Box<dyn Kernel<V::Real>> {
        Box::new(self.scaled_kernel::<V>(None))
    }

    /// With this factor instead of `1/√fan`.
    pub(crate) fn scaled_kernel<V: Lanes>(&self, scale: Option<f64>) -> LinearKernel<V> {
        let dims = [self.irreps_in.dim(), self.irreps_out.dim()];
        let pairs: Vec<Pair> =
            self.pairs().into_iter().map(|p| Pair { scale: scale.unwrap_or(p.scale), ..p }).collect();
        let (mut outs, mut ins) = (HashSet::new(), HashSet::new());
        let opens: Vec<[bool; 2]> = pairs.iter().map(|p| [outs.insert(p.out), ins.insert(p.x)]).collect();
        let covered = |back: usize| -> usize {
            let opened = pairs.iter().zip(&opens).filter(|(_, opens)| opens[back]);
            opened.map(|(p, _)| p.dim * p.mul[1 - back]).sum()
        };
        LinearKernel {
            covers: [covered(0) == dims[1], covered(1) == dims[0]],
            dims,
            n_weights: self.n_weights(),
            n_species: self.species,
            opens,
            pairs,
            biased: self.biased(),
            lanes: std::marker::PhantomData,
        }
    }
}

/// Weights as tensor products with a one-hot vector have them, `W_ab[u, z, v]`, as those of an indexed linear map.
///
/// # Errors
/// If `w` has not as many numbers as the map has weights.
pub fn indexed_from_skip_tp(map: &Linear, w: &[f64]) -> Result<Vec<f64>> {
    let (n, n_species) = (map.n_weights(), map.species.unwrap_or(1));
    if w.len() != n * n_species {
        return Err(Error::Argument(format!("w: {} numbers, expected {n_species} × {n}", w.len())));
    }
    let mut out = vec![0.0; w.len()];
    for p in map.pairs() {
        let [mul_in, mul_out] = p.mul;
        for (k, w) in w[p.w * n_species..][..mul_in * n_species * mul_out].chunks(mul_out).enumerate() {
            let (u, z) = (k / n_species, k % n_species);
            let out = &mut out[z * n + p.w + u * mul_out..][..mul_out];
            out.iter_mut().zip(w).for_each(|(out, w)| *out = w / (n_species as f64).sqrt());
        }
    }
    Ok(out)
}

pub(crate) struct LinearKernel<V> {
    /// Numbers in a row of input and output.
    dims: [usize; 2],
    n_weights: usize,
    n_species: Option<usize>,
    pairs: Vec<Pair>,
    /// Is a pair the first one of its output block, and of its input block?
    opens: Vec<[bool; 2]>,
    /// Have all output blocks, and all input blocks, a pair?
    covers: [bool; 2],
    biased: Vec<Range<usize>>,
    lanes: std::marker::PhantomData<V>,
}

/// Rows that a thread takes at a time: they and their results stay in the second cache.
const ROWS: usize = 96;

impl<V: Lanes> LinearKernel<V> {
    fn sets(&self) -> usize {
        self.n_species.unwrap_or(1)
    }

    /// Lengths of the packed matrices of one set of weights, forwards or backwards.
    fn packed(&self, back: bool) -> impl Iterator<Item = usize> {
        self.pairs.iter().map(move |p| gemm::packed_len::<V>(p.mul[usize::from(back)], p.mul[usize::from(!back)]))
    }

    /// Memory of [`LinearKernel::map`] and [`LinearKernel::weights`].
    pub(crate) fn lines(&self, threads: usize) -> usize {
        let one = self.packed(false).sum::<usize>().max(self.packed(true).sum());
        lines::<V::Real>(one * self.sets()).max(threads * self.weights_lines())
    }

    fn groups<'a>(&self, call: Call<V::Real>, scratch: &mut Scratch<'a>) -> Groups<'a> {
        Groups::new(call.sizes.rows, self.sets(), self.n_species.map(|_| call.indices[0]), scratch)
    }

    /// `out = x W`, or `out = x Wᵀ` where `back`, scaled; added where `add`.
    pub(crate) fn map(
        &self,
        back: bool,
        groups: &Groups,
        (x, w): (&[V::Real], &[V::Real]),
        add: bool,
        out: &mut [V::Real],
        mut scratch: Scratch,
    ) {
        let one: usize = self.packed(back).sum();
        let packed = scratch.reals::<V::Real>(one * self.sets());
        let pack = |z: usize, packed: &mut [V::Real]| {
            let w = &w[z * self.n_weights..(z + 1) * self.n_weights];
            let mut start = 0;
            for (p, n) in self.pairs.iter().zip(self.packed(back)) {
                let [mul_in, mul_out] = p.mul;
                let (k, n_columns) = if back { (mul_out, mul_in) } else { (mul_in, mul_out) };
                let [row, column] = if back { [1, mul_out] } else { [mul_out, 1] };
                let m = Matrix { w: &w[p.w..p.w + mul_in * mul_out], row, column, scale: V::Real::of(p.scale) };
                V::vectorize(
                    #[inline(always)]
                    || gemm::pack::<V>(m, k, n_columns, &mut packed[start..start + n]),
                );
                start += n;
            }
        };
        if one > 0 {
            parallel::for_chunks_mut(packed, one, |z, packed| {
                if groups.of(z).is_empty() {
                    return;
                }
                pack(z, packed);
            });
        }
        // The first pair of a block overwrites it; a block without any is zero.
        let covers = self.covers[usize::from(back)];
        if !add && !covers {
            clear(out);
        }
        let [dim_x, dim_out] = if back { [self.dims[1], self.dims[0]] } else { self.dims };
        let (packed, out) = (&*packed, Disjoint::new(out));
        groups.for_parts(ROWS, |z, rows| {
            let mut start = 0;
            for ((p, opens), len) in self.pairs.iter().zip(&self.opens).zip(self.packed(back)) {
                let add = add || !(covers && opens[usize::from(back)]);
                let [from, to] = if back { [p.out, p.x] } else { [p.x, p.out] };
                let [n, k] = if back { p.mul } else { [p.mul[1], p.mul[0]] };
                let panel = &packed[z * one + start..z * one + start + len];
                start += len;
                for m in 0..p.dim {
                    let x_at = |r: usize| rows[r] as usize * dim_x + from + m * k;
                    let out_at = |r: usize| rows[r] as usize * dim_out + to + m * n;
                    V::vectorize(
                        #[inline(always)]
                        // SAFETY: every row is in one part of one group only.
                        || unsafe { gemm::multiply::<V>(0..rows.len(), (k, n), (x, x_at), panel, add, (out, out_at)) },
                    );
                }
            }
        });
    }

    /// Rows of `W` that a task of [`LinearKernel::weights`] has: all, but on many threads.
    fn tile(&self, threads: usize) -> usize {
        let rows: usize = self.pairs.iter().map(|p| p.mul[0]).sum::<usize>() * self.sets();
        if threads == 1 { TILE } else { rows.div_ceil(4 * threads).next_multiple_of(12).min(TILE) }
    }

    /// Memory of a thread in [`LinearKernel::weights`].
    fn weights_lines(&self) -> usize {
        let widest = |k: usize, most: usize| self.pairs.iter().map(|p| p.mul[k]).max().unwrap_or(0).min(most);
        lines::<V::Real>(gemm::outer_len::<V>([widest(0, TILE), widest(1, WIDEST)]))
    }

    /// `W̄ = Σ_rows x ⊗ y` with `y` of the shape of the output; added where `add`. Results do not depend on how tasks are cut.
    pub(crate) fn weights(
        &self,
        groups: &Groups,
        [x, y]: [&[V::Real]; 2],
        add: bool,
        out: &mut [V::Real],
        scratch: Scratch,
    ) {
        let (out, threads) = (Disjoint::new(out), parallel::n_threads());
        let shares = scratch.shares(threads, self.weights_lines());
        let (n, tile) = (self.weights_lines() * size_of::<Line>() / size_of::<V::Real>(), self.tile(threads));
        let tiles = |p: &Pair| [p.mul[0].div_ceil(tile), p.mul[1].div_ceil(WIDEST)];
        let per_set: usize = self.pairs.iter().map(|p| tiles(p).iter().product::<usize>()).sum();
        let init = || shares.next().reals::<V::Real>(n);
        parallel::for_each_init(self.sets() * per_set, init, |memory, task| {
            let (z, mut k) = (task / per_set, task % per_set);
            let p = self.pairs.iter().find(|p| {
                let n: usize = tiles(p).iter().product();
                let here = k < n;
                k -= if here { 0 } else { n };
                here
            });
            let p = p.expect("as many tiles as counted");
            let rows = groups.of(z);
            let (i, j) = (k / tiles(p)[1], k % tiles(p)[1]);
            let columns = [i * tile..p.mul[0].min((i + 1) * tile), j * WIDEST..p.mul[1].min((j + 1) * WIDEST)];
            let split = |r: usize| (rows[r / p.dim] as usize, r % p.dim);
            let x_at = |r: usize| split(r).0 * self.dims[0] + p.x + split(r).1 * p.mul[0];
            let y_at = |r: usize| split(r).0 * self.dims[1] + p.out + split(r).1 * p.mul[1];
            let out_at = |u: usize| z * self.n_weights + p.w + u * p.mul[1];
            let scale = (V::Real::of(p.scale), add);
            let n_rows = rows.len() * p.dim;
            V::vectorize(
                #[inline(always)]
                // SAFETY: these rows and columns of this matrix are this task's alone.
                || unsafe { gemm::outer::<V>(n_rows, columns, (x, x_at), (y, y_at), scale, (out, out_at), memory) },
            );
        });
    }

    fn add_bias(&self, b: &[V::Real], out: &mut [V::Real]) {
        if self.biased.is_empty() || self.dims[1] == 0 {
            return;
        }
        parallel::for_chunks_mut(out, self.dims[1] * ROWS, |_, rows| {
            for row in rows.chunks_mut(self.dims[1]) {
                let mut b = b;
                for block in &self.biased {
                    let (here, rest) = b.split_at(block.len());
                    row[block.clone()].iter_mut().zip(here).for_each(|(x, &b)| *x += b);
                    b = rest;
                }
            }
        });
    }

    fn bias(&self, cotangent: &[V::Real], out: &mut [V::Real]) {
        out.fill(V::Real::default());
        for row in cotangent.chunks(self.dims[1].max(1)) {
            let mut out = &mut *out;
            for block in &self.biased {
                let (here, rest) = out.split_at_mut(block.len());
                here.iter_mut().zip(&row[block.clone()]).for_each(|(b, &x)| *b += x);
                out = rest;
            }
        }
    }
}

/// Rows and columns of a matrix of weights whose gradient a thread sums at a time.
const TILE: usize = 192;
const WIDEST: usize = 512;

impl<V: Lanes> Kernel<V::Real> for LinearKernel<V> {
    fn scratch(&self, sizes: Sizes, _: Pass, threads: usize) -> usize {
        self.lines(threads) + Groups::lines(sizes.rows, self.sets())
    }

    fn forward(&self, call: Call<V::Real>, out: &mut [V::Real], mut scratch: Scratch) {
        let groups = self.groups(call, &mut scratch);
        self.map(false, &groups, (call.inputs[0], call.inputs[1]), false, out, scratch);
        if let Some(b) = call.inputs.get(2) {
            self.add_bias(b, out);
        }
    }

    fn backward(&self, call: Call<V::Real>, cotangent: &[V::Real], gradients: Wanted<V::Real>, mut scratch: Scratch) {
        let groups = self.groups(call, &mut scratch);
        if let Some(x) = &mut gradients[0] {
            self.map(true, &groups, (cotangent, call.inputs[1]), false, x, scratch.again());
        }
        if let Some(w) = &mut gradients[1] {
            self.weights(&groups, [call.inputs[0], cotangent], false, w, scratch.again());
        }
        if let Some(Some(b)) = gradients.get_mut(2) {
            self.bias(cotangent, b);
        }
    }

    fn double_backward(
        &self,
        call: Call<V::Real>,
        cotangent: &[V::Real],
        directions: &[Option<&[V::Real]>],
        seconds: Wanted<V::Real>,
        mut scratch: Scratch,
    ) {
        let groups = self.groups(call, &mut scratch);
        let (dx, dw, db) = (directions[0], directions[1], directions.get(2).copied().flatten());
        if let Some(x) = &mut seconds[0] {
            match dw {
                Some(dw) => self.map(true, &groups, (cotangent, dw), false, x, scratch.again()),
                None => clear(x),
            }
        }
        if let Some(w) = &mut seconds[1] {
            match dx {
                Some(dx) => self.weights(&groups, [dx, cotangent], false, w, scratch.again()),
                None => clear(w),
            }
        }
        // With a bias there are three inputs; the result is linear in it.
        if let [_, _, Some(b), _] = seconds {
            clear(b);
        }
        if let Some(Some(out)) = seconds.last_mut() {
            clear(out);
            if let Some(dx) = dx {
                self.map(false, &groups, (dx, call.inputs[1]), true, out, scratch.again());
            }
            if let Some(dw) = dw {
                self.map(false, &groups, (call.inputs[0], dw), true, out, scratch.again());
            }
            if let Some(db) = db {
                self.add_bias(db, out);
            }
        }
    }
}
