//! Triangular factors of tall matrices: rows go in, `R` stays (TSQR).
//!
//! Two factors merge into that of all their rows, in any order.

use super::absorb::absorb;
use crate::parallel;
use crate::simd::{Isa, Lanes, with_lanes};
use faer::{Mat, MatMut, MatRef};
use std::ops::Range;

/// Most rows that wait to be eliminated together.
const MAX_PENDING: usize = 768;
const MIN_PENDING: usize = 128;
/// Rows and columns of what is copied at a time between matrices by rows and by columns: it stays in registers.
const TILE: usize = 8;
/// Rows or columns that a thread copies at a time.
const STRIP: usize = 32;

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
        let numbers = || triangle.chunks_exact(n).enumerate().flat_map(|(i, row)| &row[i..]);
        let triangle = (!triangle.is_empty()).then(|| numbers().copied().collect());
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
        fill(block.as_mut(), |i| (0, &self.pending[i * n..][..n]));
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
    let columns: Vec<&[f64]> =
        r.col_iter().map(|c| c.try_as_col_major().expect("columns without gaps").as_slice()).collect();
    let (mut rows, mut rest) = (Vec::new(), numbers);
    for i in (0..n).step_by(STRIP) {
        let (some, more) = rest.split_at_mut(row_start(n.min(i + STRIP), n) - row_start(i, n));
        rows.push(some);
        rest = more;
    }
    parallel::for_each_mut(&mut rows, |k, numbers| {
        let range = k * STRIP..n.min((k + 1) * STRIP);
        with_lanes!(Isa::detect(), f64, V => V::vectorize(#[inline(always)] || pack_rows(&columns, range, numbers)));
    });
}

/// Rows of the triangle, from their diagonals on.
#[inline(always)]
fn pack_rows(columns: &[&[f64]], rows: Range<usize>, numbers: &mut [f64]) {
    let n = columns.len();
    let at = |i: usize, j: usize| row_start(i, n) - row_start(rows.start, n) + j - i;
    for i in rows.clone().step_by(TILE) {
        for j in (i..n).step_by(TILE) {
            // Right of all their diagonals, whole.
            if i + TILE <= rows.end && j >= i + TILE && j + TILE <= n {
                let to = |k: usize, row: &[f64; TILE]| {
                    *numbers[at(i + k, j)..].first_chunk_mut().expect("room for a tile") = *row;
                };
                transpose(|k| &columns[j + k][i..], to);
                continue;
            }
            for i in i..rows.end.min(i + TILE) {
                (j.max(i)..n.min(j + TILE)).for_each(|j| numbers[at(i, j)] = columns[j][i]);
            }
        }
    }
}

/// The way back; what stands below the diagonal is zero.
fn unpack(numbers: &[f64], r: MatMut<f64>) {
    let n = r.ncols();
    fill(r, |i| (i, &numbers[row_start(i, n)..][..n - i]));
}

/// A matrix of this shape, made anew where it has another one; its entries are any.
fn sized(matrix: &mut Mat<f64>, n_rows: usize, n_columns: usize) -> &mut Mat<f64> {
    if matrix.shape() != (n_rows, n_columns) {
        *matrix = Mat::zeros(n_rows, n_columns);
    }
    matrix
}

/// Sets every row to the numbers of `row`, which begin at the column that it names; zeros stand before.
fn fill<'a>(to: MatMut<f64>, row: impl Fn(usize) -> (usize, &'a [f64]) + Sync) {
    let mut columns: Vec<&mut [f64]> =
        to.col_iter_mut().map(|c| c.try_as_col_major_mut().expect("columns without gaps").as_slice_mut()).collect();
    parallel::for_chunks_mut(&mut columns, STRIP, |k, columns| {
        let first = k * STRIP;
        with_lanes!(Isa::detect(), f64, V => V::vectorize(#[inline(always)] || fill_columns(columns, first, &row)));
    });
}

/// The columns from `first` on.
#[inline(always)]
fn fill_columns<'a>(columns: &mut [&mut [f64]], first: usize, row: &impl Fn(usize) -> (usize, &'a [f64])) {
    let n_rows = columns.first().map_or(0, |column| column.len());
    for i in (0..n_rows).step_by(TILE) {
        let rows: [(usize, &[f64]); TILE] =
            std::array::from_fn(|k| if i + k < n_rows { row(i + k) } else { (0, &[][..]) });
        let begin = rows.iter().map(|(begin, _)| *begin).max().unwrap_or(0);
        for (k, columns) in columns.chunks_mut(TILE).enumerate() {
            let j = first + k * TILE;
            if i + TILE <= n_rows && begin <= j && columns.len() == TILE {
                let to = |k: usize, column: &[f64; TILE]| {
                    *columns[k][i..].first_chunk_mut().expect("room for a tile") = *column;
                };
                transpose(|k| &rows[k].1[j - rows[k].0..], to);
                continue;
            }
            for (column, j) in columns.iter_mut().zip(j..) {
                for (x, (begin, numbers)) in column[i..].iter_mut().zip(rows) {
                    *x = if begin <= j { numbers[j - begin] } else { 0.0 };
                }
            }
        }
    }
}

/// Hands over the columns of a tile of these rows.
#[inline(always)]
fn transpose<'a>(row: impl Fn(usize) -> &'a [f64], mut to: impl FnMut(usize, &[f64; TILE])) {
    let mut tile = [[0.0; TILE]; TILE];
    for i in 0..TILE {
        let row = row(i).first_chunk::<TILE>().expect("a whole tile");
        tile.iter_mut().zip(row).for_each(|(column, x)| column[i] = *x);
    }
    for (j, column) in tile.iter().enumerate() {
        to(j, column);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triangles_and_rows_of_any_size_are_copied_whole() {
        for n in [0, 1, 7, 8, 9, 16, 31, 33, 50, 97] {
            let r = Mat::from_fn(n, n, |i, j| if i <= j { (1 + i * n + j) as f64 } else { 0.0 });
            let numbers = packed(r.as_ref());
            assert!(rows_of(&numbers, n).all(|(i, row)| row.iter().enumerate().all(|(k, x)| *x == r[(i, i + k)])));
            let mut back = Mat::from_fn(n, n, |_, _| f64::NAN);
            unpack(&numbers, back.as_mut());
            assert_eq!(back, r);
            let rows: Vec<f64> = (0..n * (n + 3)).map(|k| k as f64).collect();
            let mut block = Mat::from_fn(n + 3, n, |_, _| f64::NAN);
            fill(block.as_mut(), |i| (0, &rows[i * n..][..n]));
            assert!((0..n + 3).all(|i| (0..n).all(|j| block[(i, j)] == rows[i * n + j])), "{n}");
        }
    }
}
