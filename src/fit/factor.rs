//! Triangular factors of tall matrices: rows go in, `R` stays (TSQR).
//!
//! Two factors merge into that of all their rows, in any order. A block `B` of rows below a triangle `R` is eliminated panel after panel by
//! block reflectors `I − V T Vᵀ`, `V = [I; V_B]` (Elmroth, Gustavson 2000; LAPACK's `tpqrt`): `2 m n²` operations, nearly all in matrix products.

use crate::parallel;
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::prelude::*;
use faer::{Accum, Mat, MatMut, MatRef, Par};

/// Columns of a panel.
const PANEL: usize = 64;
/// Columns that a thread updates at a time.
const STRIP: usize = 128;
/// Most rows that wait to be eliminated together.
const MAX_PENDING: usize = 768;
const MIN_PENDING: usize = 128;
/// Columns as small as that count as zero: the inverse of what is left of them might overflow.
const TINY: f64 = 1e-290;

/// All that least squares need to know of `rows` rows of `n` numbers.
#[derive(Clone, Debug, Default)]
pub struct Factor {
    n: usize,
    rows: u64,
    /// `R`, row after row from the diagonal on: half of what a square takes.
    triangle: Option<Vec<f64>>,
    /// Rows not yet eliminated, row-major.
    pending: Vec<f64>,
}

impl Factor {
    /// Of no rows with `n` numbers each.
    pub fn new(n: usize) -> Factor {
        Factor { n, ..Factor::default() }
    }

    /// From its parts, as [`Factor::triangle`], [`Factor::pending`] and [`Factor::rows`] give them; the triangle row-major.
    pub(crate) fn from_parts(n: usize, rows: u64, triangle: &[f64], pending: Vec<f64>) -> Factor {
        let triangle = (!triangle.is_empty()).then(|| packed(MatRef::from_row_major_slice(triangle, n, n)));
        Factor { n, rows, triangle, pending }
    }

    pub fn n_columns(&self) -> usize {
        self.n
    }

    /// How many rows went in.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// `R`, (n, n), if there were enough rows to need it; what stands below the diagonal is zero.
    pub fn triangle(&self) -> Option<Mat<f64>> {
        let mut r = Mat::zeros(self.n, self.n);
        for (i, row) in self.triangle_rows()? {
            row.iter().zip(i..).for_each(|(&x, j)| r[(i, j)] = x);
        }
        Some(r)
    }

    /// The rows of `R` from the diagonal on, with their numbers.
    pub(super) fn triangle_rows(&self) -> Option<impl Iterator<Item = (usize, &[f64])>> {
        self.triangle.as_ref().map(|numbers| rows_of(numbers, self.n))
    }

    /// Rows that are not in the triangle, row-major.
    pub fn pending(&self) -> &[f64] {
        &self.pending
    }

    /// Adds rows, row-major.
    pub fn push(&mut self, rows: &[f64]) {
        debug_assert_eq!(rows.len() % self.n, 0);
        self.rows += (rows.len() / self.n) as u64;
        let limit = self.n.clamp(MIN_PENDING, MAX_PENDING) * self.n;
        for rows in rows.chunks(limit) {
            self.pending.extend_from_slice(rows);
            if self.pending.len() >= limit {
                self.eliminate();
            }
        }
    }

    /// Adds the rows of another factor.
    pub fn merge(&mut self, other: &Factor) {
        let rows = self.rows + other.rows;
        self.push(&other.pending);
        match (self.triangle(), other.triangle()) {
            (_, None) => {}
            (None, Some(_)) => self.triangle = other.triangle.clone(),
            (Some(mut ours), Some(mut theirs)) => {
                absorb(ours.as_mut(), theirs.as_mut(), true);
                self.triangle = Some(packed(ours.as_ref()));
            }
        }
        self.rows = rows;
    }

    fn eliminate(&mut self) {
        let n = self.n;
        let mut block = MatRef::from_row_major_slice(&self.pending, self.pending.len() / n, n).to_owned();
        self.pending.clear();
        let mut triangle = self.triangle().unwrap_or_else(|| Mat::zeros(n, n));
        absorb(triangle.as_mut(), block.as_mut(), false);
        self.triangle = Some(packed(triangle.as_ref()));
    }

    /// All its rows, as few as it has, one below the other: (≤ n + pending, n).
    pub fn to_rows(&self) -> Mat<f64> {
        let triangle = self.triangle();
        let above = triangle.as_ref().map_or(0, |t| t.nrows());
        let pending = MatRef::from_row_major_slice(&self.pending, self.pending.len() / self.n, self.n);
        Mat::from_fn(above + pending.nrows(), self.n, |i, j| match &triangle {
            Some(t) if i < above => t[(i, j)],
            _ => pending[(i - above, j)],
        })
    }

    /// `Σ (row · x)²` over all rows, `x` of length `n`.
    pub fn squares(&self, x: &[f64]) -> f64 {
        let pending = self.pending.chunks_exact(self.n).map(|row| (0, row));
        let triangle = self.triangle_rows().into_iter().flatten();
        let products = |(i, row): (usize, &[f64])| row.iter().zip(&x[i..]).map(|(a, x)| a * x).sum::<f64>();
        pending.chain(triangle).map(|row| products(row).powi(2)).sum()
    }
}

/// The rows of a triangle from the diagonal on, with their numbers.
fn rows_of(mut triangle: &[f64], n: usize) -> impl Iterator<Item = (usize, &[f64])> {
    (0..n).map(move |i| (i, triangle.split_off(..n - i).expect("a triangle has all its rows")))
}

/// The upper triangle of a square, row after row.
fn packed(r: MatRef<f64>) -> Vec<f64> {
    let n = r.ncols();
    let mut numbers = Vec::with_capacity(n * (n + 1) / 2);
    (0..n).for_each(|i| numbers.extend((i..n).map(|j| r[(i, j)])));
    numbers
}

/// `[R; B] = Q [R'; 0]`: the rows of `B`, which is used up, go into the triangle `R`. `triangular`: row `i` of `B` begins at column `i`.
pub fn absorb(mut r: MatMut<f64>, mut b: MatMut<f64>, triangular: bool) {
    let (n, m) = (r.ncols(), b.nrows());
    let mut start = 0;
    while start < n {
        let width = PANEL.min(n - start);
        // Rows further down begin further to the right.
        let rows = if triangular { m.min(start + width) } else { m };
        let mut t = Mat::zeros(width, width);
        let (left, right) = b.rb_mut().subrows_mut(0, rows).split_at_col_mut(start + width);
        let mut v = left.subcols_mut(start, width);
        panel(r.rb_mut().submatrix_mut(start, start, width, width), v.rb_mut(), t.as_mut());
        let (v, t) = (v.rb(), t.as_ref());
        let top = r.rb_mut().submatrix_mut(start, start + width, width, n - start - width);
        let mut strips = Vec::new();
        let mut rest = (top, right);
        while rest.0.ncols() > STRIP {
            let (top, more_top) = rest.0.split_at_col_mut(STRIP);
            let (below, more_below) = rest.1.split_at_col_mut(STRIP);
            strips.push((top, below));
            rest = (more_top, more_below);
        }
        strips.push(rest);
        parallel::for_each_mut(&mut strips, |_, (top, below)| reflect(v, t, top.rb_mut(), below.rb_mut()));
        start += width;
    }
}

/// `[top; below] −= V Tᵀ Vᵀ [top; below]`.
fn reflect(v: MatRef<f64>, t: MatRef<f64>, mut top: MatMut<f64>, mut below: MatMut<f64>) {
    if top.ncols() == 0 {
        return;
    }
    let mut w = top.rb().to_owned();
    matmul(w.as_mut(), Accum::Add, v.transpose(), below.rb(), 1.0, Par::Seq);
    let mut tw = Mat::zeros(w.nrows(), w.ncols());
    triangular::matmul(
        tw.as_mut(),
        BlockStructure::Rectangular,
        Accum::Replace,
        t.transpose(),
        BlockStructure::TriangularLower,
        w.as_ref(),
        BlockStructure::Rectangular,
        1.0,
        Par::Seq,
    );
    top -= &tw;
    matmul(below.rb_mut(), Accum::Add, v, tw.as_ref(), -1.0, Par::Seq);
}

/// The same for a few columns: the reflectors take the place of `v`, and `t` is their triangle.
fn panel(mut r: MatMut<f64>, v: MatMut<f64>, mut t: MatMut<f64>) {
    let n = r.ncols();
    if n == 1 {
        let below = v.rb().norm_l2();
        let alpha = r[(0, 0)];
        if below == 0.0 || alpha.abs().max(below) < TINY {
            { v }.fill(0.0);
            t[(0, 0)] = 0.0;
            return;
        }
        let beta = -alpha.hypot(below).copysign(alpha);
        t[(0, 0)] = (beta - alpha) / beta;
        let scale = 1.0 / (alpha - beta);
        { v }.col_mut(0).iter_mut().for_each(|x| *x *= scale);
        r[(0, 0)] = beta;
        return;
    }
    let k = n / 2;
    let (mut v1, mut v2) = v.split_at_col_mut(k);
    panel(r.rb_mut().submatrix_mut(0, 0, k, k), v1.rb_mut(), t.rb_mut().submatrix_mut(0, 0, k, k));
    reflect(v1.rb(), t.rb().submatrix(0, 0, k, k), r.rb_mut().submatrix_mut(0, k, k, n - k), v2.rb_mut());
    panel(r.submatrix_mut(k, k, n - k, n - k), v2.rb_mut(), t.rb_mut().submatrix_mut(k, k, n - k, n - k));
    // T12 = −T1 V1ᵀ V2 T2
    let between = v1.rb().transpose() * v2.rb();
    let t12 = t.rb().submatrix(0, 0, k, k) * between * t.rb().submatrix(k, k, n - k, n - k);
    t.submatrix_mut(0, k, k, n - k).copy_from(-t12);
}
