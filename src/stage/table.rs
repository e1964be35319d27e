//! Radial functions tabulated in `r`: a polynomial of degree five on each interval.
//!
//! Value and slope agree with the exact function at both ends of an interval, the value at two points
//! inside: the tabulated energy is continuously differentiable, and the gradient is exactly its own.
//! The number of intervals grows until the measured error is below the tolerance.

use super::block::{Block, NONE};
use super::radial::{Functions, Radial, fold_rows};
use crate::parallel;
use crate::simd::{Lanes, MAX_LANES, Real};

const DEGREE: usize = 5;
/// More intervals than this are not tried: the exact functions are used instead.
const MAX_INTERVALS: usize = 1 << 14;
/// Nor are tables larger than this, however many species there are.
const MAX_BYTES: usize = 256 << 20;

/// How the radial functions are evaluated.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum RadialMode {
    /// The polynomials or splines of the model file.
    Exact,
    /// Piecewise polynomials in `r` whose values and slopes differ from the exact ones by at most this,
    /// relative to the largest of the same function. Splines are always evaluated as they are.
    Table { tolerance: f64 },
    /// The tables in `r` that pacemaker and LAMMPS build of pacemaker's functions, for their results to rounding; other functions
    /// exactly.
    PaceTable,
}

/// Coefficients on a uniform grid over `[r0, rcut]`.
#[derive(Clone, Debug)]
pub struct Table {
    n_species: usize,
    n_t: usize,
    n_intervals: usize,
    r0: f64,
    /// Intervals per Å.
    density: f64,
    /// (n_species², n_intervals, DEGREE + 1, n_t).
    pub matrix: Vec<f64>,
    /// Largest error found, relative to the largest value (and slope) of the same function.
    pub error: f64,
}

impl Table {
    /// The table that `mode` asks for, if any: splines are evaluated as they are, and so are polynomials
    /// that would take too many intervals.
    pub fn for_mode(exact: &Radial, rcut: f64, mode: RadialMode) -> Option<Table> {
        match (mode, &exact.functions, exact.table_start()) {
            (RadialMode::Table { tolerance }, Functions::Polynomial { .. }, Some(start))
                if exact.n_t > 0 && start < rcut =>
            {
                Table::new(exact, start, rcut, tolerance)
            }
            _ => None,
        }
    }

    /// Tabulates `exact` between `r0` and `rcut` to the relative error `tolerance` of values and slopes;
    /// `None` where that takes too many intervals or too much memory.
    pub fn new(exact: &Radial, r0: f64, rcut: f64, tolerance: f64) -> Option<Table> {
        let interval = exact.n_species.pow(2) * (DEGREE + 1) * exact.n_t * size_of::<f64>();
        let most = MAX_INTERVALS.min(MAX_BYTES / interval.max(1));
        let (mut n, mut last) = (64, f64::INFINITY);
        loop {
            if n > most {
                return None;
            }
            let table = Table::with_intervals(exact, r0, rcut, n);
            if table.error <= tolerance {
                return Some(table);
            }
            // More intervals do not help against rounding.
            if n == most || n > 512 && table.error >= last {
                return None;
            }
            last = table.error;
            // The error of the slopes falls with the fifth power of the width.
            let wanted = n as f64 * (table.error / tolerance).powf(0.2).min(2.0);
            n = ((wanted * 1.05) as usize + 8).min(most);
        }
    }

    fn with_intervals(exact: &Radial, r0: f64, rcut: f64, n: usize) -> Table {
        let (n_t, n_pairs) = (exact.n_t, exact.n_species * exact.n_species);
        let h = (rcut - r0) / n as f64;
        let mut table = Table {
            n_species: exact.n_species,
            n_t,
            n_intervals: n,
            r0,
            density: 1.0 / h,
            matrix: vec![0.0; n_pairs * n * (DEGREE + 1) * n_t],
            error: 0.0,
        };
        let length = n * (DEGREE + 1) * n_t;
        let mut matrix = std::mem::take(&mut table.matrix);
        let fill = |pair: usize, rows: &mut [f64]| {
            let eval = |r: f64| {
                let (mut f, mut df) = (vec![0.0; n_t], vec![0.0; n_t]);
                exact.eval(pair, r, &mut f, &mut df);
                (f, df)
            };
            let mut left = eval(r0);
            for (k, interval) in rows.chunks_mut((DEGREE + 1) * n_t).enumerate() {
                let right = eval(r0 + h * (k + 1) as f64);
                let inside = INSIDE.map(|u| eval(r0 + h * (k as f64 + u)).0);
                for t in 0..n_t {
                    let ends = [[left.0[t], left.1[t] * h], [right.0[t], right.1[t] * h]];
                    for (q, c) in quintic(ends, [inside[0][t], inside[1][t]]).into_iter().enumerate() {
                        interval[q * n_t + t] = c;
                    }
                }
                left = right;
            }
            table.measure(&eval, rows)
        };
        let mut pairs: Vec<_> = matrix.chunks_mut(length).map(|rows| (rows, 0.0)).collect();
        parallel::for_each_mut(&mut pairs, |pair, (rows, error)| *error = fill(pair, rows));
        let error = pairs.into_iter().fold(0.0, |largest, (_, error)| f64::max(largest, error));
        Table { matrix, error, ..table }
    }

    /// The largest relative error of values and slopes between the nodes.
    fn measure(&self, eval: &impl Fn(f64) -> (Vec<f64>, Vec<f64>), rows: &[f64]) -> f64 {
        let n_t = self.n_t;
        let mut largest = vec![[f64::MIN_POSITIVE; 2]; n_t];
        let mut error = vec![[0.0f64; 2]; n_t];
        let h = 1.0 / self.density;
        for k in 0..self.n_intervals {
            for u in [0.11, 0.31, 0.5, 0.73, 0.92] {
                let (f, df) = eval(self.r0 + h * (k as f64 + u));
                let rows = &rows[k * (DEGREE + 1) * n_t..];
                for t in 0..n_t {
                    let (mut g, mut dg) = (0.0, 0.0);
                    for q in (0..=DEGREE).rev() {
                        dg = dg * u + g;
                        g = g * u + rows[q * n_t + t];
                    }
                    for (k, (a, b)) in [(f[t], g), (df[t], dg * self.density)].into_iter().enumerate() {
                        largest[t][k] = largest[t][k].max(a.abs());
                        error[t][k] = error[t][k].max((a - b).abs());
                    }
                }
            }
        }
        let worst = |k: usize| error.iter().zip(&largest).map(|(e, x)| e[k] / x[k]).fold(0.0, f64::max);
        worst(0).max(worst(1))
    }

    /// As [`Radial::fold`].
    pub fn fold(&self, weights: &[f64]) -> Table {
        let rows: Vec<_> = (0..self.n_species.pow(2)).map(|p| p * self.n_intervals * (DEGREE + 1)).collect();
        Table { n_t: 1, matrix: fold_rows(&self.matrix, self.n_t, self.n_species, &rows, weights), ..*self }
    }

    pub fn n_terms(&self) -> usize {
        DEGREE + 1
    }

    /// Powers of the position in the interval, their derivatives with respect to `r`, and the matrix entry
    /// where the interval of each lane starts, for rows of length `stride`. Lanes before the table get zero weights
    /// and their bit in the result.
    #[inline(always)]
    pub(super) fn weights<V: Lanes>(
        &self,
        block: &Block<V>,
        s: usize,
        stride: usize,
        w: &mut [V],
        dw: &mut [V],
        first: &mut [usize; MAX_LANES],
    ) -> u32 {
        let mut outside = 0;
        let pairs = block.pairs(s, self.n_species);
        let position = (block.r[s] - V::splat(V::Real::of(self.r0))) * V::splat(V::Real::of(self.density));
        let position = position.to_array();
        let (mut u, mut mask) = ([V::Real::default(); MAX_LANES], [V::Real::default(); MAX_LANES]);
        for lane in 0..V::N {
            first[lane] = 0;
            if block.edges(s)[lane] == NONE {
                continue;
            }
            let p = position[lane].to_f64();
            if p < 0.0 {
                outside |= 1 << lane;
                continue;
            }
            let k = (p as usize).min(self.n_intervals - 1);
            u[lane] = V::Real::of(p - k as f64);
            mask[lane] = V::Real::of(1.0);
            first[lane] = (pairs[lane] * self.n_intervals + k) * (DEGREE + 1) * stride;
        }
        let (u, mask) = (V::load(&u), V::load(&mask));
        let scale = mask * V::splat(V::Real::of(self.density));
        let (w, dw) = (&mut w[..DEGREE + 1], &mut dw[..DEGREE + 1]);
        (w[0], dw[0]) = (mask, V::zero());
        for q in 1..=DEGREE {
            w[q] = w[q - 1] * u;
            dw[q] = w[q - 1] * scale * V::splat(V::Real::of(q as f64));
        }
        outside
    }
}

/// Where the value is matched inside an interval: close to what minimises the largest error
/// `u² (1 − u)² (u − a)(u − b)`, a tenth of that of a quintic Hermite polynomial.
const INSIDE: [f64; 2] = [0.34, 0.66];

/// Coefficients of the polynomial on `[0, 1]` with these values and slopes at the ends and values at [`INSIDE`].
fn quintic([[f0, g0], [f1, g1]]: [[f64; 2]; 2], inside: [f64; 2]) -> [f64; 6] {
    let d = f1 - f0;
    // The cubic through the ends, plus u² (1 − u)² (α + β u).
    let cubic = [f0, g0, 3.0 * d - 2.0 * g0 - g1, -2.0 * d + g0 + g1];
    let [a, b] = INSIDE;
    let rest = |u: f64, f: f64| {
        (f - (cubic[0] + u * (cubic[1] + u * (cubic[2] + u * cubic[3])))) / (u * u * (1.0 - u) * (1.0 - u))
    };
    let (ra, rb) = (rest(a, inside[0]), rest(b, inside[1]));
    let beta = (rb - ra) / (b - a);
    let alpha = ra - beta * a;
    [cubic[0], cubic[1], cubic[2] + alpha, cubic[3] + beta - 2.0 * alpha, alpha - 2.0 * beta, beta]
}
