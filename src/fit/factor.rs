//! Triangular factors of tall matrices: rows go in, `R` stays (TSQR).
//!
//! Two factors merge into that of all their rows, in any order.

use super::absorb::absorb;
use crate::parallel;
use faer::prelude::*;
use faer::{Mat, MatMut, MatRef};

/// Most rows that wait to be eliminated together.
const MAX_PENDING: usize = 768;
const MIN_PENDING: usize = 128;
/// Rows and columns of what is copied at a time between matrices by rows and by columns: it stays in the cache.
const TILE: usize = 32;

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

/// What an elimination works on. The system takes long to give as much anew.
#[derive(Debug)]
pub(super) struct Scratch {
    block: Mat<f64>,
    triangle: Mat<f64>,
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch { block: Mat::new(), triangle: Mat::new() }
    }
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
        let (numbers, mut r) = (self.triangle.as_ref()?, Mat::zeros(self.n, self.n));
        unpack(numbers, r.as_mut());
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
        self.push_with(rows, &mut Scratch::default());
    }

    /// The same with memory that factors of the same rows share.
    pub(super) fn push_with(&mut self, mut rows: &[f64], scratch: &mut Scratch) {
        debug_assert_eq!(rows.len() % self.n, 0);
        self.rows += (rows.len() / self.n) as u64;
        let limit = self.n.clamp(MIN_PENDING, MAX_PENDING) * self.n;
        while !rows.is_empty() {
            let room = limit.saturating_sub(self.pending.len()).min(rows.len());
            self.pending.extend_from_slice(rows.split_off(..room).expect("as many at least"));
            if self.pending.len() >= limit {
                self.eliminate(scratch);
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

    fn eliminate(&mut self, scratch: &mut Scratch) {
        let n = self.n;
        let block = sized(&mut scratch.block, self.pending.len() / n, n);
        fill(block.as_mut(), |i, j| self.pending[i * n + j]);
        self.pending.clear();
        let triangle = sized(&mut scratch.triangle, n, n);
        match &mut self.triangle {
            Some(numbers) => unpack(numbers, triangle.as_mut()),
            None => triangle.fill(0.0),
        }
        absorb(triangle.as_mut(), block.as_mut(), false);
        pack(triangle.as_ref(), self.triangle.get_or_insert_with(|| vec![0.0; row_start(n, n)]));
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

/// Where row `i` of a packed triangle begins.
fn row_start(i: usize, n: usize) -> usize {
    i * (2 * n + 1 - i) / 2
}

/// The upper triangle of a square, row after row.
fn packed(r: MatRef<f64>) -> Vec<f64> {
    let mut numbers = vec![0.0; row_start(r.ncols(), r.ncols())];
    pack(r, &mut numbers);
    numbers
}

/// The same into memory that is there.
fn pack(r: MatRef<f64>, numbers: &mut [f64]) {
    let n = r.ncols();
    let (mut rows, mut rest) = (Vec::new(), numbers);
    for i in (0..n).step_by(TILE) {
        let (some, more) = rest.split_at_mut(row_start(n.min(i + TILE), n) - row_start(i, n));
        rows.push(some);
        rest = more;
    }
    parallel::for_each_mut(&mut rows, |k, numbers| {
        let first = k * TILE;
        for start in (first..n).step_by(TILE) {
            for i in first..n.min(first + TILE) {
                let row = row_start(i, n) - row_start(first, n);
                (start.max(i)..n.min(start + TILE)).for_each(|j| numbers[row + j - i] = r[(i, j)]);
            }
        }
    });
}

/// The way back; what stands below the diagonal is zero.
fn unpack(numbers: &[f64], r: MatMut<f64>) {
    let n = r.ncols();
    fill(r, |i, j| if i <= j { numbers[row_start(i, n) + j - i] } else { 0.0 });
}

/// A matrix of this shape, made anew where it has another one; its entries are any.
fn sized(matrix: &mut Mat<f64>, n_rows: usize, n_columns: usize) -> &mut Mat<f64> {
    if matrix.shape() != (n_rows, n_columns) {
        *matrix = Mat::zeros(n_rows, n_columns);
    }
    matrix
}

/// Sets every entry `(i, j)` to `of(i, j)`, tile after tile.
fn fill(to: MatMut<f64>, of: impl Fn(usize, usize) -> f64 + Sync) {
    let (mut strips, mut rest) = (Vec::new(), to);
    while rest.ncols() > 0 {
        let width = TILE.min(rest.ncols());
        let (some, more) = rest.split_at_col_mut(width);
        strips.push(some);
        rest = more;
    }
    parallel::for_each_mut(&mut strips, |k, strip| {
        for start in (0..strip.nrows()).step_by(TILE) {
            for (j, mut column) in strip.rb_mut().col_iter_mut().enumerate() {
                (start..column.nrows().min(start + TILE)).for_each(|i| column[i] = of(i, k * TILE + j));
            }
        }
    });
}
