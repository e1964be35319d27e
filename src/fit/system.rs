//! The least-squares problem of a choice of weights, prior and one-body energies: factors merged into one triangle.

use super::absorb::absorb;
use super::factor::Factor;
use faer::{Mat, MatRef};

/// Rows of a factor that are added at a time.
const PIECE: usize = 512;

/// `min |R φ − z|² + ρ²`, with `φ = Γ θ`.
#[derive(Clone, Debug)]
pub struct System {
    /// `[R z; 0 ρ]`, (n + 1, n + 1).
    triangle: Mat<f64>,
    /// Rows in it.
    pub rows: u64,
}

impl System {
    /// Of no rows, for `n` parameters.
    pub fn new(n: usize) -> System {
        System { triangle: Mat::zeros(n + 1, n + 1), rows: 0 }
    }

    pub fn n(&self) -> usize {
        self.triangle.ncols() - 1
    }

    /// Adds a factor's rows `[a | counts | y]`: `weight · [a Γ⁻¹ | y − counts · E0]`.
    pub fn add(&mut self, factor: &Factor, weight: f64, log_gamma: &[f64], e0: &[f64]) {
        if weight == 0.0 {
            return;
        }
        // Into nothing they go as they are.
        let first = self.rows == 0 && self.triangle.norm_max() == 0.0;
        self.rows += factor.rows();
        let n = self.n();
        let scale: Vec<f64> = log_gamma.iter().map(|g| weight * (-g).exp()).collect();
        let last = n + e0.len();
        let rest = |row: &dyn Fn(usize) -> f64| {
            weight * (row(last) - e0.iter().enumerate().map(|(s, e)| row(n + s) * e).sum::<f64>())
        };
        if let Some(rows) = factor.triangle_rows() {
            let mut piece = Mat::zeros(if first { 0 } else { PIECE.min(n) }, n + 1);
            for (i, row) in rows {
                let rest = rest(&|j| if j < i { 0.0 } else { row[j - i] });
                if i >= n {
                    // Below the parameters rows are of one number.
                    let corner = &mut self.triangle[(n, n)];
                    *corner = corner.hypot(rest);
                    continue;
                }
                let k = i % PIECE;
                let (to, at) = if first { (&mut self.triangle, i) } else { (&mut piece, k) };
                row.iter().zip(&scale[i..]).zip(i..).for_each(|((x, scale), j)| to[(at, j)] = x * scale);
                to[(at, n)] = rest;
                if !first && (k + 1 == PIECE || i + 1 == n) {
                    let (top, width) = (i - k, n + 1 - (i - k));
                    let triangle = self.triangle.as_mut().submatrix_mut(top, top, width, width);
                    absorb(triangle, piece.as_mut().submatrix_mut(0, top, k + 1, width), true);
                    piece.fill(0.0);
                }
            }
        }
        let pending = factor.pending();
        if !pending.is_empty() {
            let pending = MatRef::from_row_major_slice(pending, pending.len() / (last + 1), last + 1);
            let mut block = Mat::from_fn(pending.nrows(), n + 1, |i, j| match j {
                j if j < n => pending[(i, j)] * scale[j],
                _ => rest(&|j| pending[(i, j)]),
            });
            absorb(self.triangle.as_mut(), block.as_mut(), false);
        }
    }

    /// `‖R‖_F`
    pub fn norm(&self) -> f64 {
        self.r().norm_l2()
    }

    pub fn r(&self) -> MatRef<'_, f64> {
        let n = self.n();
        self.triangle.submatrix(0, 0, n, n)
    }

    pub fn z(&self) -> Vec<f64> {
        (0..self.n()).map(|i| self.triangle[(i, self.n())]).collect()
    }

    /// What no parameter can remove.
    pub fn rho(&self) -> f64 {
        self.triangle[(self.n(), self.n())].abs()
    }

    /// `|R φ − z|² + ρ²`
    pub fn squares(&self, phi: &[f64]) -> f64 {
        let n = self.n();
        let row = |i: usize| (i..n).map(|j| self.triangle[(i, j)] * phi[j]).sum::<f64>() - self.triangle[(i, n)];
        (0..n).map(|i| row(i).powi(2)).sum::<f64>() + self.rho().powi(2)
    }

    /// The system with the rows `d_i φ_i = 0` as well.
    pub fn damped(&self, d: &[f64]) -> System {
        let mut damped = System::new(self.n());
        self.damp(d, &mut damped, &mut Mat::new());
        damped
    }

    /// The same into memory that is there, of `damped` and for the rows.
    pub fn damp(&self, d: &[f64], damped: &mut System, block: &mut Mat<f64>) {
        damped.rows = self.rows;
        damped.triangle.as_mut().copy_from(&self.triangle);
        block.resize_with(self.n() + 1, self.n() + 1, |_, _| 0.0);
        block.fill(0.0);
        d.iter().enumerate().for_each(|(i, &d)| block[(i, i)] = d);
        absorb(damped.triangle.as_mut(), block.as_mut(), true);
    }

    /// `R⁻¹ b`; `None` where `R` is singular to working precision.
    pub fn back_substitute(&self, b: &[f64]) -> Option<Vec<f64>> {
        let n = self.n();
        let largest = (0..n).fold(0.0, |m: f64, i| m.max(self.triangle[(i, i)].abs()));
        if (0..n).any(|i| self.triangle[(i, i)].abs() <= f64::EPSILON * largest) {
            return None;
        }
        let mut x = Mat::from_fn(n, 1, |i, _| b[i]);
        self.r().solve_upper_triangular_in_place(x.as_mut());
        Some(x.col(0).iter().copied().collect())
    }

    /// `2 Σ ln |R_ii|`
    pub fn log_determinant(&self) -> f64 {
        (0..self.n()).map(|i| 2.0 * self.triangle[(i, i)].abs().ln()).sum()
    }

    /// The squares of the rows of `R⁻¹`: the diagonal of `(RᵀR)⁻¹`.
    pub fn inverse_diagonal(&self) -> Vec<f64> {
        let n = self.n();
        let mut inverse = Mat::<f64>::identity(n, n);
        self.r().solve_upper_triangular_in_place(inverse.as_mut());
        (0..n).map(|i| (i..n).map(|j| inverse[(i, j)].powi(2)).sum()).collect()
    }
}
