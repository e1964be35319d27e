//! Radial functions for a slot of edges: `R_t = Σ_q w_q · M[first + q, t]`.
//!
//! Polynomials, splines and tables all have this form: a few weights that depend on the distance,
//! and as many rows of a matrix that the species pair (and the interval) selects. The weights are
//! computed with one edge to a lane. Where all lanes select the same rows, so is the sum; else it runs
//! with one function `t` to a lane, and a transposition brings the edges back into the lanes.

use super::block::Block;
use super::distance::{Distance, Distances};
use super::mix::Weights;
use super::polynomial::{folded_polynomials, polynomials};
use super::radial::{Functions, Grid, Radial};
use super::table::Table;
use crate::simd::{Lanes, MAX_LANES, Real, as_reals, as_reals_mut};
use std::ops::Range;

/// Slots that are evaluated together, in the first cache.
pub const CHUNK: usize = 8;
/// The same where only energies are wanted: without derivatives there is room for more.
pub const ENERGY_CHUNK: usize = 12;

/// Slots that share the coefficients of a recursion or of a sum.
const PAIR: usize = 2;

/// At most this many vectors of functions are summed at a time.
const TILE: usize = 4;

/// The radial functions of one part, laid out for `V`.
pub struct RadialRows<V: Lanes> {
    exact: Radial,
    distance: Distance<V::Real>,
    terms: Terms<V::Real>,
    /// Length of a row in the matrix: `n_t` rounded up to full vectors where those are used.
    stride: usize,
    matrix: Vec<V::Real>,
    n_terms: usize,
}

enum Terms<T> {
    Polynomial { a: Vec<T>, b: Vec<T>, c: Vec<T> },
    Spline(Vec<Grid>),
    Table(Table),
}

/// Weights of the slot at hand, and scratch.
pub struct RowsScratch<V: Lanes> {
    /// Of the slots at hand.
    distances: Vec<Distances<V>>,
    w: Vec<V>,
    dw: Vec<V>,
    /// First matrix entry of each lane.
    first: [usize; MAX_LANES],
    /// Lanes that are outside the table, to be evaluated exactly, as bits; their weights are zero.
    outside: u32,
    tile: Vec<V>,
    exact: Vec<f64>,
}

impl<V: Lanes> Default for RowsScratch<V> {
    fn default() -> Self {
        RowsScratch {
            distances: Vec::with_capacity(ENERGY_CHUNK),
            w: vec![],
            dw: vec![],
            first: [0; MAX_LANES],
            outside: 0,
            tile: vec![],
            exact: vec![],
        }
    }
}

impl<V: Lanes> RadialRows<V> {
    /// With a table where one is given, else exact. Rows are padded to full vectors.
    pub fn new(exact: Radial, table: Option<Table>) -> RadialRows<V> {
        let stride = exact.n_t.next_multiple_of(V::N);
        Self::with_stride(exact, table, stride)
    }

    /// For a single function (a folded pair potential): nothing to pad.
    pub fn single(exact: Radial, table: Option<Table>) -> RadialRows<V> {
        assert_eq!(exact.n_t, 1, "one function");
        Self::with_stride(exact, table, 1)
    }

    fn with_stride(exact: Radial, table: Option<Table>, stride: usize) -> RadialRows<V> {
        let reals = |x: &[f64]| x.iter().map(|&x| V::Real::of(x)).collect::<Vec<_>>();
        let terms = match (table, &exact.functions) {
            (Some(table), _) => Terms::Table(table),
            (None, Functions::Polynomial { a, b, c }) => Terms::Polynomial { a: reals(a), b: reals(b), c: reals(c) },
            (None, Functions::Spline { grids }) => Terms::Spline(grids.clone()),
        };
        let distance = Distance::new(&exact);
        let mut rows = RadialRows { exact, distance, terms, stride, matrix: Vec::new(), n_terms: 0 };
        rows.fill_matrix();
        rows
    }

    fn fill_matrix(&mut self) {
        let (matrix, n_terms) = match &self.terms {
            Terms::Table(t) => (&t.matrix, t.n_terms()),
            _ => (&self.exact.matrix, self.exact.n_terms()),
        };
        self.n_terms = n_terms;
        self.matrix.clear();
        self.matrix.resize(matrix.len() / self.exact.n_t.max(1) * self.stride, V::Real::default());
        for (row, from) in self.matrix.chunks_mut(self.stride.max(1)).zip(matrix.chunks(self.exact.n_t.max(1))) {
            for (x, &y) in row.iter_mut().zip(from) {
                *x = V::Real::of(y);
            }
        }
    }

    /// Functions a slot, padding included.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Bytes of the matrix.
    pub fn bytes(&self) -> usize {
        std::mem::size_of_val(&self.matrix[..])
    }

    /// `R_t` and, where `GRAD`, `∂R_t/∂r` of some slots, [`RadialRows::stride`] apart.
    #[inline(never)]
    pub fn eval_slots<const GRAD: bool>(
        &self,
        block: &Block<V>,
        slots: Range<usize>,
        scratch: &mut RowsScratch<V>,
        out: &mut [V],
        d_out: &mut [V],
    ) {
        V::vectorize(
            #[inline(always)]
            || {
                self.distances::<GRAD>(block, slots.clone(), scratch);
                for (k, s) in slots.enumerate() {
                    let (out, d_out) = (&mut out[k * self.stride..], &mut d_out[k * self.stride..]);
                    self.eval::<GRAD>(block, (s, k), scratch, &mut out[..self.stride], &mut d_out[..self.stride]);
                }
            },
        );
    }

    /// The distances of some slots, to full pairs; tables have no use for them.
    #[inline(never)]
    fn distances<const GRAD: bool>(&self, block: &Block<V>, slots: Range<usize>, scratch: &mut RowsScratch<V>) {
        V::vectorize(
            #[inline(always)]
            || {
                scratch.distances.resize(slots.len().next_multiple_of(PAIR), Distances::default());
                if !matches!(self.terms, Terms::Table(_)) {
                    for (at, s) in scratch.distances.iter_mut().zip(slots) {
                        self.distance.eval::<V, GRAD>(&self.exact, block, s, at);
                    }
                }
            },
        );
    }

    /// The first `n_q` polynomials, `e P_q(y)`, then the functions `columns`, and, where `GRAD`, their derivatives with
    /// respect to `r`, slot after slot, with room for full pairs of slots. All neighbours make the ordered pair `pair`, and
    /// the terms are polynomials.
    #[inline(never)]
    pub fn polynomials_of_slots<const GRAD: bool>(
        &self,
        block: &Block<V>,
        (pair, slots): (usize, Range<usize>),
        (n_q, columns): (usize, Range<usize>),
        scratch: &mut RowsScratch<V>,
        out: &mut [V],
        d_out: &mut [V],
    ) {
        let Terms::Polynomial { a, b, c } = &self.terms else { unreachable!("the caller asked for polynomials") };
        let abc = [&a[..n_q], &b[..n_q], &c[..n_q]];
        let first = pair * self.n_terms * self.stride;
        V::vectorize(
            #[inline(always)]
            || {
                let n = n_q + columns.len();
                self.distances::<GRAD>(block, slots, scratch);
                let (mut at, mut out, mut d_out) = (&scratch.distances[..], out, d_out);
                while !at.is_empty() {
                    // Without derivatives there are registers for four slots in a recursion.
                    let s = if !GRAD && at.len() >= 2 * PAIR { 2 * PAIR } else { PAIR };
                    let (these, rest) = at.split_at(s);
                    let (here, out_rest) = std::mem::take(&mut out).split_at_mut(s * n);
                    let (d_here, d_rest) = std::mem::take(&mut d_out).split_at_mut(s * n);
                    match these {
                        &[a, b, c, d] => polynomials::<V, GRAD, { 2 * PAIR }>(abc, [a, b, c, d], n, here, d_here),
                        _ => polynomials::<V, GRAD, PAIR>(abc, [these[0], these[1]], n, here, d_here),
                    }
                    for (here, d_here) in here.chunks_exact_mut(PAIR * n).zip(d_here.chunks_exact_mut(PAIR * n)) {
                        self.functions::<GRAD, PAIR>(first, columns.clone(), n_q, here, d_here);
                    }
                    (at, out, d_out) = (rest, out_rest, d_rest);
                }
            },
        );
    }

    #[inline(always)]
    fn eval<const GRAD: bool>(
        &self,
        block: &Block<V>,
        (s, k): (usize, usize),
        scratch: &mut RowsScratch<V>,
        out: &mut [V],
        d_out: &mut [V],
    ) {
        self.weights::<GRAD>(block, (s, k), scratch);
        let first = scratch.first[0];
        if scratch.first[..V::N].iter().all(|&k| k == first) {
            let n = self.n_terms;
            scratch.w.resize(n + self.exact.n_t, V::zero());
            scratch.dw.resize(n + self.exact.n_t, V::zero());
            self.functions::<GRAD, 1>(first, 0..self.exact.n_t, n, &mut scratch.w, &mut scratch.dw);
            out[..self.exact.n_t].copy_from_slice(&scratch.w[n..]);
            d_out[..self.exact.n_t].copy_from_slice(&scratch.dw[n..]);
        } else {
            self.eval_mixed::<GRAD>(scratch, out, d_out);
        }
        if scratch.outside != 0 {
            self.eval_outside(block, s, scratch, out, d_out);
        }
    }

    /// The functions `columns` of `S` slots after their `n_q` weights. All lanes use the same rows: the sum runs with one edge
    /// to a lane, and nothing is transposed.
    #[inline(always)]
    fn functions<const GRAD: bool, const S: usize>(
        &self,
        first: usize,
        columns: Range<usize>,
        n_q: usize,
        out: &mut [V],
        d_out: &mut [V],
    ) {
        let mut t = 0;
        while t < columns.len() {
            let at = (first + columns.start + t, n_q, n_q + columns.len(), t);
            // Sums of functions, and of derivatives, that find registers.
            t += match (columns.len() - t, V::REGISTERS / if GRAD { S } else { S.div_ceil(2) }) {
                (8.., 32..) => self.tile_of_functions::<GRAD, S, 8>(at, out, d_out),
                (7, 32..) => self.tile_of_functions::<GRAD, S, 7>(at, out, d_out),
                (4.., 16..) => self.tile_of_functions::<GRAD, S, 4>(at, out, d_out),
                (3, 16..) => self.tile_of_functions::<GRAD, S, 3>(at, out, d_out),
                (2.., _) => self.tile_of_functions::<GRAD, S, 2>(at, out, d_out),
                _ => self.tile_of_functions::<GRAD, S, 1>(at, out, d_out),
            };
        }
    }

    #[inline(always)]
    fn tile_of_functions<const GRAD: bool, const S: usize, const T: usize>(
        &self,
        (first, n_q, n, t): (usize, usize, usize, usize),
        out: &mut [V],
        d_out: &mut [V],
    ) -> usize {
        let rows = &self.matrix[first..][..(n_q - 1) * self.stride + T];
        let (mut acc, mut d_acc) = ([[V::zero(); T]; S], [[V::zero(); T]; S]);
        {
            let w: [&[V]; S] = std::array::from_fn(|s| &out[s * n..][..n_q]);
            let dw: [&[V]; S] = std::array::from_fn(|s| &d_out[s * n..][..n_q]);
            for q in 0..n_q {
                let row = &rows[q * self.stride..][..T];
                for i in 0..T {
                    let m = V::splat(row[i]);
                    for s in 0..S {
                        acc[s][i] = m.mul_add(w[s][q], acc[s][i]);
                        if GRAD {
                            d_acc[s][i] = m.mul_add(dw[s][q], d_acc[s][i]);
                        }
                    }
                }
            }
        }
        for s in 0..S {
            out[s * n + n_q + t..][..T].copy_from_slice(&acc[s]);
            if GRAD {
                d_out[s * n + n_q + t..][..T].copy_from_slice(&d_acc[s]);
            }
        }
        T
    }

    /// Lanes use different rows: the sum runs with one function to a lane, and the result is transposed.
    #[inline(always)]
    fn eval_mixed<const GRAD: bool>(&self, scratch: &mut RowsScratch<V>, out: &mut [V], d_out: &mut [V]) {
        let mut t = 0;
        while t < self.stride {
            match ((self.stride - t) / V::N).min(TILE) {
                4 => self.tile::<GRAD, 4>(t, scratch, out, d_out),
                3 => self.tile::<GRAD, 3>(t, scratch, out, d_out),
                2 => self.tile::<GRAD, 2>(t, scratch, out, d_out),
                _ => self.tile::<GRAD, 1>(t, scratch, out, d_out),
            }
            t += TILE * V::N;
        }
    }

    /// Functions `t .. t + C·N` of all lanes.
    #[inline(always)]
    fn tile<const GRAD: bool, const C: usize>(
        &self,
        t: usize,
        scratch: &mut RowsScratch<V>,
        out: &mut [V],
        d_out: &mut [V],
    ) {
        scratch.tile.resize(2 * TILE * V::N, V::zero());
        let RowsScratch { w, dw, first, tile, .. } = scratch;
        let (values, slopes) = tile.split_at_mut(TILE * V::N);
        let (w, dw) = (&as_reals(w)[..self.n_terms * V::N], &as_reals(dw)[..self.n_terms * V::N]);
        // Two lanes at a time: enough independent sums to hide the latency of each.
        for lane in (0..V::N).step_by(2) {
            let rows =
                [0, 1].map(|k| &self.matrix[first[lane + k] + t..][..(self.n_terms - 1) * self.stride + C * V::N]);
            let mut acc = [[V::zero(); C]; 2];
            let mut d_acc = [[V::zero(); C]; 2];
            for q in 0..self.n_terms {
                for k in 0..2 {
                    let (wq, dwq) = (V::splat(w[q * V::N + lane + k]), V::splat(dw[q * V::N + lane + k]));
                    for c in 0..C {
                        let m = V::load(&rows[k][q * self.stride + c * V::N..]);
                        acc[k][c] = wq.mul_add(m, acc[k][c]);
                        if GRAD {
                            d_acc[k][c] = dwq.mul_add(m, d_acc[k][c]);
                        }
                    }
                }
            }
            for k in 0..2 {
                for c in 0..C {
                    values[c * V::N + lane + k] = acc[k][c];
                    slopes[c * V::N + lane + k] = d_acc[k][c];
                }
            }
        }
        for c in 0..C {
            V::transpose(&mut values[c * V::N..]);
            out[t + c * V::N..][..V::N].copy_from_slice(&values[c * V::N..][..V::N]);
            if GRAD {
                V::transpose(&mut slopes[c * V::N..]);
                d_out[t + c * V::N..][..V::N].copy_from_slice(&slopes[c * V::N..][..V::N]);
            }
        }
    }

    /// The lanes of slot `s` that are outside the table.
    #[cold]
    #[inline(never)]
    fn eval_outside(&self, block: &Block<V>, s: usize, scratch: &mut RowsScratch<V>, out: &mut [V], d_out: &mut [V]) {
        let n = self.exact.n_t;
        let (pairs, r) = (block.pairs(s, self.exact.n_species), block.r[s].to_array());
        scratch.exact.resize(2 * n, 0.0);
        let (f, df) = scratch.exact.split_at_mut(n);
        for lane in (0..V::N).filter(|lane| scratch.outside >> lane & 1 == 1) {
            self.exact.eval(pairs[lane], r[lane].to_f64(), f, df);
            for t in 0..n {
                as_reals_mut(out)[t * V::N + lane] = V::Real::of(f[t]);
                as_reals_mut(d_out)[t * V::N + lane] = V::Real::of(df[t]);
            }
        }
    }

    /// Calls `each(s, R, ∂R/∂r)` with the single function of [`RadialRows::single`] for some slots, one edge to a lane.
    #[inline(always)]
    pub fn for_single<const GRAD: bool>(
        &self,
        block: &Block<V>,
        slots: Range<usize>,
        scratch: &mut RowsScratch<V>,
        mut each: impl FnMut(usize, V, V),
    ) {
        for start in slots.clone().step_by(CHUNK) {
            let slots = start..(start + CHUNK).min(slots.end);
            self.distances::<GRAD>(block, slots.clone(), scratch);
            for s in slots.clone().step_by(PAIR) {
                let (k, both) = (s - start, s + 1 < slots.end);
                let pair = block.common_pair(s, self.exact.n_species);
                let same = !both || block.common_pair(s + 1, self.exact.n_species) == pair;
                if let (Terms::Polynomial { a, b, c }, Some(pair), true) = (&self.terms, pair, same) {
                    let folded = &self.matrix[pair * self.n_terms..][..self.n_terms];
                    let at = [scratch.distances[k], scratch.distances[k + 1]];
                    let (f, df) = folded_polynomials([a, b, c], at, folded);
                    each(s, f[0], df[0]);
                    if both {
                        each(s + 1, f[1], df[1]);
                    }
                    continue;
                }
                for s in s..(s + PAIR).min(slots.end) {
                    let (f, df) = self.eval_single::<GRAD>(block, (s, s - start), scratch);
                    each(s, f, df);
                }
            }
        }
    }

    #[inline(always)]
    fn eval_single<const GRAD: bool>(
        &self,
        block: &Block<V>,
        (s, k): (usize, usize),
        scratch: &mut RowsScratch<V>,
    ) -> (V, V) {
        self.weights::<GRAD>(block, (s, k), scratch);
        let first = scratch.first;
        let (mut f, mut df) = ([V::zero()], [V::zero()]);
        let same = first[..V::N].iter().all(|&k| k == first[0]);
        for q in 0..self.n_terms {
            let m = if same {
                V::splat(self.matrix[first[0] + q])
            } else {
                V::from_fn(
                    #[inline(always)]
                    |lane| self.matrix[first[lane] + q],
                )
            };
            f[0] = scratch.w[q].mul_add(m, f[0]);
            if GRAD {
                df[0] = scratch.dw[q].mul_add(m, df[0]);
            }
        }
        if scratch.outside != 0 {
            self.eval_outside(block, s, scratch, &mut f, &mut df);
        }
        (f[0], df[0])
    }

    /// Weights, their derivatives and the first matrix entry of each lane, in slot `s`, number `k` of the distances at hand. Lanes without an
    /// edge get zero weights.
    #[inline(never)]
    fn weights<const GRAD: bool>(&self, block: &Block<V>, (s, k): (usize, usize), scratch: &mut RowsScratch<V>) {
        V::vectorize(
            #[inline(always)]
            || {
                scratch.w.resize(self.n_terms, V::zero());
                scratch.dw.resize(self.n_terms, V::zero());
                scratch.outside = 0;
                let at = scratch.distances[k];
                match &self.terms {
                    Terms::Polynomial { a, b, c } => {
                        polynomials::<V, GRAD, 1>([a, b, c], [at], self.n_terms, &mut scratch.w, &mut scratch.dw);
                        for (first, pair) in scratch.first.iter_mut().zip(block.pairs(s, self.exact.n_species)) {
                            *first = pair * self.n_terms * self.stride;
                        }
                    }
                    Terms::Spline(grids) => {
                        self.spline_weights(grids, &block.pairs(s, self.exact.n_species), at, scratch);
                    }
                    Terms::Table(table) => {
                        let RowsScratch { w, dw, first, outside, .. } = scratch;
                        *outside = table.weights(block, s, self.stride, w, dw, first)
                    }
                }
            },
        );
    }

    /// `W` of an ordered pair, where the functions are polynomials.
    #[inline(always)]
    pub fn weights_of(&self, pair: usize) -> Weights<'_, V::Real> {
        let n = self.n_terms * self.stride;
        Weights { w: &self.matrix[pair * n..][..n], stride: self.stride }
    }

    #[inline(always)]
    fn spline_weights(
        &self,
        grids: &[Grid],
        pairs: &[usize; MAX_LANES],
        Distances { y, dy, e, de }: Distances<V>,
        scratch: &mut RowsScratch<V>,
    ) {
        let y = y.to_array();
        let (p, dp) = (&mut scratch.w[..4], &mut scratch.dw[..4]);
        for lane in 0..V::N {
            let (row, weights) = grids[pairs[lane]].weights(y[lane].to_f64());
            scratch.first[lane] = row * self.stride;
            for (q, (w, dw)) in weights.into_iter().enumerate() {
                as_reals_mut(p)[q * V::N + lane] = V::Real::of(w);
                as_reals_mut(dp)[q * V::N + lane] = V::Real::of(dw);
            }
        }
        let edy = e * dy;
        for q in 0..4 {
            (p[q], dp[q]) = (e * p[q], de.mul_add(p[q], edy * dp[q]));
        }
    }
}
