//! Radial functions for a slot of edges: `R_t = Σ_q w_q · M[first + q, t]`.
//!
//! Polynomials, splines and tables all have this form: a few weights that depend on the distance,
//! and as many rows of a matrix that the species pair (and the interval) selects. The weights are
//! computed with one edge to a lane; the sum runs with one function `t` to a lane, because edges
//! side by side may use different rows; a transposition brings edges back into the lanes.

use super::block::{Block, NONE};
use super::radial::{Functions, Radial};
use super::table::Table;
use crate::simd::{Lanes, MAX_LANES, Real, as_reals, as_reals_mut};

/// At most this many vectors of functions are summed at a time.
const TILE: usize = 4;

/// The radial functions of one part, laid out for `V`.
pub struct Rows<V: Lanes> {
    exact: Radial,
    source: Source<V::Real>,
    /// Length of a row in the matrix: `n_t` rounded up to full vectors where those are used.
    stride: usize,
    matrix: Vec<V::Real>,
    n_terms: usize,
}

enum Source<T> {
    Polynomial { a: Vec<T>, b: Vec<T>, c: Vec<T> },
    Spline,
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
            (None, Functions::Spline { .. }) => Source::Spline,
        };
        let mut rows = Rows { exact, source, stride, matrix: Vec::new(), n_terms: 0 };
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

    /// `R_t` and `∂R_t/∂r` of slot `s` into `out[..stride]` and, where `GRAD`, `d_out[..stride]`.
    #[inline(always)]
    pub fn eval<const GRAD: bool>(
        &self,
        block: &Block<V>,
        s: usize,
        scratch: &mut RowsScratch<V>,
        out: &mut [V],
        d_out: &mut [V],
    ) {
        self.weights(block, s, scratch);
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
        if scratch.outside != 0 {
            self.eval_outside(block, s, scratch, out, d_out);
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
        for lane in 0..V::N {
            let rows = &self.matrix[first[lane] + t..][..(self.n_terms - 1) * self.stride + C * V::N];
            let mut acc = [V::zero(); C];
            let mut d_acc = [V::zero(); C];
            for q in 0..self.n_terms {
                let (wq, dwq) = (V::splat(w[q * V::N + lane]), V::splat(dw[q * V::N + lane]));
                for c in 0..C {
                    let m = V::load(&rows[q * self.stride + c * V::N..]);
                    acc[c] = wq.mul_add(m, acc[c]);
                    if GRAD {
                        d_acc[c] = dwq.mul_add(m, d_acc[c]);
                    }
                }
            }
            for c in 0..C {
                values[c * V::N + lane] = acc[c];
                slopes[c * V::N + lane] = d_acc[c];
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
    pub fn eval_single(&self, block: &Block<V>, s: usize, scratch: &mut RowsScratch<V>) -> (V, V) {
        self.weights(block, s, scratch);
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
            df[0] = scratch.dw[q].mul_add(m, df[0]);
        }
        if scratch.outside != 0 {
            self.eval_outside(block, s, scratch, &mut f, &mut df);
        }
        (f[0], df[0])
    }

    /// Weights, their derivatives and the first matrix entry of each lane. Lanes without an edge get zero weights.
    #[inline(always)]
    fn weights(&self, block: &Block<V>, s: usize, scratch: &mut RowsScratch<V>) {
        scratch.w.resize(self.n_terms, V::zero());
        scratch.dw.resize(self.n_terms, V::zero());
        match &self.source {
            Source::Polynomial { a, b, c } => self.polynomial_weights(block, s, a, b, c, scratch),
            Source::Spline => self.spline_weights(block, s, scratch),
            Source::Table(table) => {
                let RowsScratch { w, dw, first, outside, .. } = scratch;
                *outside = table.weights(block, s, self.stride, w, dw, first)
            }
        }
    }

    #[inline(always)]
    fn polynomial_weights(
        &self,
        block: &Block<V>,
        s: usize,
        a: &[V::Real],
        b: &[V::Real],
        c: &[V::Real],
        scratch: &mut RowsScratch<V>,
    ) {
        let pairs = block.pairs(s, self.exact.n_species);
        let r = block.r[s].to_array();
        let mut lanes = [[V::Real::default(); MAX_LANES]; 4];
        for lane in 0..V::N {
            scratch.first[lane] = 0;
            if block.edges(s)[lane] != NONE {
                let (y, e) = self.exact.transform(pairs[lane], r[lane].to_f64());
                for (k, x) in [y.value, y.slope, e.value, e.slope].into_iter().enumerate() {
                    lanes[k][lane] = V::Real::of(x);
                }
                scratch.first[lane] = pairs[lane] * self.n_terms * self.stride;
            }
        }
        let [y, dy, e, de] = lanes.map(|x| V::load(&x));
        let (w, dw) = (&mut scratch.w[..self.n_terms], &mut scratch.dw[..self.n_terms]);
        let one = V::splat(a[0]);
        (w[0], dw[0]) = (e * one, de * one);
        // p, p1: P_n and P_(n−1); d, d1: their derivatives with respect to y.
        let (mut p, mut p1, mut d, mut d1) = (one, V::zero(), V::zero(), V::zero());
        for q in 1..self.n_terms {
            let (aq, g) = (V::splat(a[q]), V::splat(a[q]).mul_add(y, V::splat(b[q])));
            let (next, dnext) = if q == 1 {
                (g, aq)
            } else {
                let cq = V::splat(c[q]);
                (g.mul_add(p, cq * p1), aq.mul_add(p, g.mul_add(d, cq * d1)))
            };
            (p1, d1, p, d) = (p, d, next, dnext);
            w[q] = e * p;
            dw[q] = de.mul_add(p, e * (dy * d));
        }
    }

    #[inline(always)]
    fn spline_weights(&self, block: &Block<V>, s: usize, scratch: &mut RowsScratch<V>) {
        let pairs = block.pairs(s, self.exact.n_species);
        let r = block.r[s].to_array();
        for lane in 0..V::N {
            let (mut w, mut dw) = ([0.0; 4], [0.0; 4]);
            scratch.first[lane] = 0;
            if block.edges(s)[lane] != NONE {
                let row = self.exact.weights(pairs[lane], r[lane].to_f64(), &mut w, &mut dw);
                scratch.first[lane] = row * self.stride;
            }
            for q in 0..4 {
                as_reals_mut(&mut scratch.w)[q * V::N + lane] = V::Real::of(w[q]);
                as_reals_mut(&mut scratch.dw)[q * V::N + lane] = V::Real::of(dw[q]);
            }
        }
    }
}
