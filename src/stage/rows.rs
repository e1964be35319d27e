//! Radial functions for a slot of edges: `R_t = Σ_q w_q · M[first + q, t]`.
//!
//! Polynomials, splines and tables all have this form: a few weights that depend on the distance,
//! and as many rows of a matrix that the species pair (and the interval) selects. The weights are
//! computed with one edge to a lane. Where all lanes select the same rows, so is the sum; else it runs
//! with one function `t` to a lane, and a transposition brings the edges back into the lanes.

use super::block::Block;
use super::distance::{Distance, Distances};
use super::mix::Mixing;
use super::radial::{Functions, Grid, Radial};
use super::table::Table;
use crate::simd::{Lanes, MAX_LANES, Real, as_reals, as_reals_mut};
use std::ops::Range;

/// At most this many vectors of functions are summed at a time.
const TILE: usize = 4;

/// The radial functions of one part, laid out for `V`.
pub struct Rows<V: Lanes> {
    exact: Radial,
    distance: Distance<V::Real>,
    source: Source<V::Real>,
    /// Length of a row in the matrix: `n_t` rounded up to full vectors where those are used.
    stride: usize,
    matrix: Vec<V::Real>,
    n_terms: usize,
}

enum Source<T> {
    Polynomial { a: Vec<T>, b: Vec<T>, c: Vec<T> },
    Spline(Vec<Grid>),
    Table(Table),
}

/// Weights of the slot at hand, and scratch.
pub struct RowsScratch<V: Lanes> {
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
        RowsScratch { w: vec![], dw: vec![], first: [0; MAX_LANES], outside: 0, tile: vec![], exact: vec![] }
    }
}

impl<V: Lanes> Rows<V> {
    /// With a table where one is given, else exact. Rows are padded to full vectors.
    pub fn new(exact: Radial, table: Option<Table>) -> Rows<V> {
        let stride = exact.n_t.next_multiple_of(V::N);
        Self::with_stride(exact, table, stride)
    }

    /// For a single function (a folded pair potential): nothing to pad.
    pub fn single(exact: Radial, table: Option<Table>) -> Rows<V> {
        assert_eq!(exact.n_t, 1, "one function");
        Self::with_stride(exact, table, 1)
    }

    fn with_stride(exact: Radial, table: Option<Table>, stride: usize) -> Rows<V> {
        let reals = |x: &[f64]| x.iter().map(|&x| V::Real::of(x)).collect::<Vec<_>>();
        let source = match (table, &exact.functions) {
            (Some(table), _) => Source::Table(table),
            (None, Functions::Polynomial { a, b, c }) => Source::Polynomial { a: reals(a), b: reals(b), c: reals(c) },
            (None, Functions::Spline { grids }) => Source::Spline(grids.clone()),
        };
        let distance = Distance::new(&exact);
        let mut rows = Rows { exact, distance, source, stride, matrix: Vec::new(), n_terms: 0 };
        rows.fill_matrix();
        rows
    }

    fn fill_matrix(&mut self) {
        let (matrix, n_terms) = match &self.source {
            Source::Table(t) => (&t.matrix, t.n_terms()),
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

    /// The number of terms `q` in the sum.
    pub fn n_terms(&self) -> usize {
        self.n_terms
    }

    /// Are the terms polynomials of the transformed distance?
    pub fn are_polynomials(&self) -> bool {
        matches!(self.source, Source::Polynomial { .. })
    }

    /// `R_t` and, where `GRAD`, `∂R_t/∂r` of some slots, [`Rows::stride`] apart.
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
                for (k, s) in slots.enumerate() {
                    let (out, d_out) = (&mut out[k * self.stride..], &mut d_out[k * self.stride..]);
                    self.eval::<GRAD>(block, s, scratch, &mut out[..self.stride], &mut d_out[..self.stride]);
                }
            },
        );
    }

    /// The polynomials themselves, `e P_q(y)`, and, where `GRAD`, their derivatives with respect to `r`,
    /// [`Rows::n_terms`] a slot. Leaves `out` as it is where the terms are no polynomials.
    #[inline(never)]
    pub fn polynomials_of_slots<const GRAD: bool>(
        &self,
        block: &Block<V>,
        slots: Range<usize>,
        out: &mut [V],
        d_out: &mut [V],
    ) {
        let Source::Polynomial { a, b, c } = &self.source else { return };
        V::vectorize(
            #[inline(always)]
            || {
                for (k, s) in slots.enumerate() {
                    let (out, d_out) = (&mut out[k * self.n_terms..], &mut d_out[k * self.n_terms..]);
                    self.polynomial_weights::<GRAD>(block, s, [a, b, c], out, d_out);
                }
            },
        );
    }

    #[inline(always)]
    fn eval<const GRAD: bool>(
        &self,
        block: &Block<V>,
        s: usize,
        scratch: &mut RowsScratch<V>,
        out: &mut [V],
        d_out: &mut [V],
    ) {
        self.weights::<GRAD>(block, s, scratch);
        let first = scratch.first[0];
        if scratch.first[..V::N].iter().all(|&k| k == first) {
            self.eval_uniform::<GRAD>(first, scratch, out, d_out);
        } else {
            self.eval_mixed::<GRAD>(scratch, out, d_out);
        }
        if scratch.outside != 0 {
            self.eval_outside(block, s, scratch, out, d_out);
        }
    }

    /// All lanes use the same rows: the sum runs with one edge to a lane, and nothing is transposed.
    #[inline(always)]
    fn eval_uniform<const GRAD: bool>(&self, first: usize, scratch: &RowsScratch<V>, out: &mut [V], d_out: &mut [V]) {
        let mut t = 0;
        while t < self.exact.n_t {
            t += match (self.exact.n_t - t, V::REGISTERS) {
                (8.., 32) => self.uniform_tile::<GRAD, 8>(first + t, scratch, &mut out[t..], &mut d_out[t..]),
                (4.., _) => self.uniform_tile::<GRAD, 4>(first + t, scratch, &mut out[t..], &mut d_out[t..]),
                (3, _) => self.uniform_tile::<GRAD, 3>(first + t, scratch, &mut out[t..], &mut d_out[t..]),
                (2, _) => self.uniform_tile::<GRAD, 2>(first + t, scratch, &mut out[t..], &mut d_out[t..]),
                _ => self.uniform_tile::<GRAD, 1>(first + t, scratch, &mut out[t..], &mut d_out[t..]),
            };
        }
    }

    #[inline(always)]
    fn uniform_tile<const GRAD: bool, const T: usize>(
        &self,
        first: usize,
        scratch: &RowsScratch<V>,
        out: &mut [V],
        d_out: &mut [V],
    ) -> usize {
        let rows = &self.matrix[first..][..(self.n_terms - 1) * self.stride + T];
        let (mut acc, mut d_acc) = ([V::zero(); T], [V::zero(); T]);
        for (q, (&w, &dw)) in scratch.w[..self.n_terms].iter().zip(&scratch.dw[..self.n_terms]).enumerate() {
            let row = &rows[q * self.stride..][..T];
            for t in 0..T {
                let m = V::splat(row[t]);
                acc[t] = m.mul_add(w, acc[t]);
                if GRAD {
                    d_acc[t] = m.mul_add(dw, d_acc[t]);
                }
            }
        }
        out[..T].copy_from_slice(&acc);
        if GRAD {
            d_out[..T].copy_from_slice(&d_acc);
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

    /// The single function of [`Rows::single`] and its derivative, one edge to a lane.
    #[inline(always)]
    pub fn eval_single<const GRAD: bool>(&self, block: &Block<V>, s: usize, scratch: &mut RowsScratch<V>) -> (V, V) {
        if let (Source::Polynomial { a, b, c }, Some(pair)) = (&self.source, block.common_pair(s, self.exact.n_species))
        {
            let folded = &self.matrix[pair * self.n_terms..][..self.n_terms];
            return self.folded_polynomials(block, s, [a, b, c], folded);
        }
        self.weights::<GRAD>(block, s, scratch);
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

    /// Weights, their derivatives and the first matrix entry of each lane. Lanes without an edge get zero weights.
    #[inline(always)]
    fn weights<const GRAD: bool>(&self, block: &Block<V>, s: usize, scratch: &mut RowsScratch<V>) {
        scratch.w.resize(self.n_terms, V::zero());
        scratch.dw.resize(self.n_terms, V::zero());
        scratch.outside = 0;
        match &self.source {
            Source::Polynomial { a, b, c } => {
                self.polynomial_weights::<GRAD>(block, s, [a, b, c], &mut scratch.w, &mut scratch.dw);
                for (first, pair) in scratch.first.iter_mut().zip(block.pairs(s, self.exact.n_species)) {
                    *first = pair * self.n_terms * self.stride;
                }
            }
            Source::Spline(grids) => self.spline_weights(grids, block, s, scratch),
            Source::Table(table) => {
                let RowsScratch { w, dw, first, outside, .. } = scratch;
                *outside = table.weights(block, s, self.stride, w, dw, first)
            }
        }
    }

    /// `e Σ_q folded[q] P_q(y)` and its derivative with respect to `r`.
    #[inline(always)]
    fn folded_polynomials(&self, block: &Block<V>, s: usize, abc: [&[V::Real]; 3], folded: &[V::Real]) -> (V, V) {
        let Distances { y, dy, e, de } = self.distance.eval(&self.exact, block, s);
        let (mut f, mut df) = (V::zero(), V::zero());
        recursion(
            abc,
            y,
            #[inline(always)]
            |q, p, d| {
                let c = V::splat(folded[q]);
                f = c.mul_add(p, f);
                df = c.mul_add(d, df);
            },
        );
        (e * f, de.mul_add(f, e * dy * df))
    }

    /// `W` of an ordered pair, where the functions are polynomials.
    #[inline(always)]
    pub fn mixing(&self, pair: usize) -> Mixing<'_, V::Real> {
        let n = self.n_terms * self.stride;
        Mixing { w: &self.matrix[pair * n..][..n], n_q: self.n_terms, stride: self.stride }
    }

    #[inline(always)]
    fn polynomial_weights<const GRAD: bool>(
        &self,
        block: &Block<V>,
        s: usize,
        abc: [&[V::Real]; 3],
        w: &mut [V],
        dw: &mut [V],
    ) {
        let Distances { y, dy, e, de } = self.distance.eval(&self.exact, block, s);
        let (w, dw) = (&mut w[..self.n_terms], &mut dw[..self.n_terms]);
        let edy = e * dy;
        recursion(
            abc,
            y,
            #[inline(always)]
            |q, p, d| {
                w[q] = e * p;
                if GRAD {
                    dw[q] = de.mul_add(p, edy * d);
                }
            },
        );
    }

    #[inline(always)]
    fn spline_weights(&self, grids: &[Grid], block: &Block<V>, s: usize, scratch: &mut RowsScratch<V>) {
        let Distances { y, dy, e, de } = self.distance.eval(&self.exact, block, s);
        let (pairs, y) = (block.pairs(s, self.exact.n_species), y.to_array());
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

/// Calls `each(q, P_q(y), P_q'(y))` for every polynomial of the recursion with coefficients `A`, `B`, `C`.
#[inline(always)]
fn recursion<V: Lanes>([a, b, c]: [&[V::Real]; 3], y: V, mut each: impl FnMut(usize, V, V)) {
    let (b, c) = (&b[..a.len()], &c[..a.len()]);
    let (mut p, mut p1, mut d, mut d1) = (V::splat(a[0]), V::zero(), V::zero(), V::zero());
    each(0, p, d);
    for q in 1..a.len() {
        let (aq, g) = (V::splat(a[q]), V::splat(a[q]).mul_add(y, V::splat(b[q])));
        let (next, dnext) = if q == 1 {
            (g, aq)
        } else {
            let cq = V::splat(c[q]);
            (g.mul_add(p, cq * p1), g.mul_add(d, aq.mul_add(p, cq * d1)))
        };
        (p1, d1, p, d) = (p, d, next, dnext);
        each(q, p, d);
    }
}
