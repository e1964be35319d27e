//! The path of the lasso, `min ½|R φ − z|² + λ Σ|φ_i|` from large `λ` to small: which parameters come in turn. Homotopy: M. Osborne,
//! B. Presnell, B. Turlach, IMA J. Numer. Anal. 20, 389 (2000).

use super::system::System;
use faer::Mat;

/// A corner of the path: parameters with their values, 0 where one is about to leave.
pub struct Corner<'a> {
    pub active: &'a [usize],
    pub phi: &'a [f64],
    /// `min |R φ − z|²` over the active parameters, without `λ`.
    pub squares: f64,
}

/// Parameters come and go so often at most, times their number: where many come at once rounding might let them take turns for ever.
const TURNS: usize = 16;

/// Calls `each` at the corners, one parameter more or less at a time, until it says no or `λ` is as good as 0.
pub fn path(system: &System, mut each: impl FnMut(Corner) -> bool) {
    let n = system.n();
    let z = system.z();
    let z = Mat::from_fn(n, 1, |i, _| z[i]);
    let (gram, target) = (system.r().transpose() * system.r(), system.r().transpose() * &z);
    // Rᵀ(z − R φ)
    let mut c: Vec<f64> = (0..n).map(|i| target[(i, 0)]).collect();
    let first = (0..n).max_by(|&a, &b| c[a].abs().total_cmp(&c[b].abs()));
    let Some(first) = first.filter(|&j| c[j] != 0.0) else { return };
    let mut lambda = c[first].abs();
    let (smallest, total) = (lambda * 1e-12, z.norm_l2().powi(2));
    let mut active = Active::default();
    // Columns that others make up are left out for good; one that has just left must not come back at once.
    let (mut excluded, mut left) = (vec![false; n], None);
    let mut phi: Vec<f64> = vec![];
    let mut next = Some(first);
    for _ in 0..TURNS * n {
        if let Some(j) = next.take() {
            match active.push(&gram, target[(j, 0)], j, c[j].signum()) {
                true => phi.push(0.0),
                false => excluded[j] = true,
            }
        }
        let direction = active.solve();
        let along = |j: usize| active.columns.iter().zip(&direction).map(|(&k, d)| gram[(j, k)] * d).sum::<f64>();
        let change: Vec<f64> = (0..n).map(along).collect();
        let (mut step, mut leaves) = (lambda, None);
        for j in (0..n).filter(|j| !excluded[*j] && left != Some(*j) && !active.columns.contains(j)) {
            for (gap, rate) in [(lambda - c[j], 1.0 - change[j]), (lambda + c[j], 1.0 + change[j])] {
                if rate > 0.0 && gap.max(0.0) / rate < step {
                    (step, next) = (gap.max(0.0) / rate, Some(j));
                }
            }
        }
        for (k, (phi, d)) in phi.iter().zip(&direction).enumerate() {
            if phi * d < 0.0 && -phi / d < step {
                (step, next, leaves) = (-phi / d, None, Some(k));
            }
        }
        lambda -= step;
        phi.iter_mut().zip(&direction).for_each(|(phi, d)| *phi += step * d);
        c.iter_mut().zip(&change).for_each(|(c, a)| *c -= step * a);
        leaves.into_iter().for_each(|k: usize| phi[k] = 0.0);
        let squares = (total - active.explained()).max(0.0);
        if !each(Corner { active: &active.columns, phi: &phi, squares }) || lambda <= smallest {
            return;
        }
        left = leaves.map(|k| {
            phi.remove(k);
            active.remove(&gram, k)
        });
        if next.is_none() && left.is_none() {
            return;
        }
    }
}

/// The active columns, their signs, and the triangle of `R_Aᵀ R_A = L Lᵀ`, row by row.
#[derive(Default)]
struct Active {
    columns: Vec<usize>,
    signs: Vec<f64>,
    targets: Vec<f64>,
    rows: Vec<Vec<f64>>,
    /// `L⁻¹ R_Aᵀ z`
    along: Vec<f64>,
}

impl Active {
    /// `false`: the others make up this column.
    fn push(&mut self, gram: &Mat<f64>, target: f64, j: usize, sign: f64) -> bool {
        let right: Vec<f64> = self.columns.iter().map(|&k| gram[(k, j)]).collect();
        let mut row = self.forward(&right);
        let rest = gram[(j, j)] - row.iter().map(|x| x * x).sum::<f64>();
        if rest <= 1e-12 * gram[(j, j)] {
            return false;
        }
        let diagonal = rest.sqrt();
        let along = row.iter().zip(&self.along).fold(target, |sum, (l, q)| sum - l * q) / diagonal;
        row.push(diagonal);
        self.along.push(along);
        self.rows.push(row);
        self.columns.push(j);
        self.signs.push(sign);
        self.targets.push(target);
        true
    }

    /// Takes out the `k`-th column, and says which it was.
    fn remove(&mut self, gram: &Mat<f64>, k: usize) -> usize {
        let mut rest = Active::default();
        for i in (0..self.columns.len()).filter(|&i| i != k) {
            rest.push(gram, self.targets[i], self.columns[i], self.signs[i]);
        }
        std::mem::replace(self, rest).columns[k]
    }

    /// `L⁻¹ b`
    fn forward(&self, b: &[f64]) -> Vec<f64> {
        let mut x: Vec<f64> = Vec::with_capacity(b.len());
        for (row, b) in self.rows.iter().zip(b) {
            let sum = row.iter().zip(&x).fold(*b, |sum, (l, x)| sum - l * x);
            x.push(sum / row[x.len()]);
        }
        x
    }

    /// `(R_Aᵀ R_A)⁻¹ s`
    fn solve(&self) -> Vec<f64> {
        let mut x = self.forward(&self.signs);
        for k in (0..x.len()).rev() {
            x[k] /= self.rows[k][k];
            let (before, at) = x.split_at_mut(k);
            before.iter_mut().zip(&self.rows[k]).for_each(|(x, l)| *x -= l * at[0]);
        }
        x
    }

    fn explained(&self) -> f64 {
        self.along.iter().map(|q| q * q).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::factor::Factor;
    use crate::random::Random;

    /// The conditions of the minimum, at every corner, and the least squares of its parameters by elimination.
    #[test]
    fn corners_are_minima() {
        let (n, rows) = (24, 60);
        let mut random = Random::new(5);
        let mut factor = Factor::new(n + 1);
        let mut x: Vec<f64> = (0..rows * (n + 1)).map(|_| random.normal()).collect();
        for row in x.chunks_mut(n + 1) {
            // Neighbours alike; the last two are one.
            (1..n).for_each(|j| row[j] = 0.8 * row[j - 1] + 0.6 * row[j]);
            row[n - 1] = row[n - 2];
            // This one comes first, as the sum of two, and has another sign beside those.
            row[5] = row[3] + row[4] + 0.5 * row[5];
            row[n] = row[3] + row[4] - 0.3 * row[5] + 0.5 * row[18] + 0.3 * row[n];
        }
        factor.push(&x);
        let mut system = System::new(n);
        system.add(&factor, 1.0, &vec![0.0; n], &[]);
        let (mut lambdas, mut sizes) = (vec![], vec![]);
        path(&system, |corner| {
            let mut phi = vec![0.0; n];
            corner.active.iter().zip(corner.phi).for_each(|(&k, x)| phi[k] = *x);
            let rest = |row: &[f64], phi: &[f64]| row[n] - row[..n].iter().zip(phi).map(|(a, b)| a * b).sum::<f64>();
            let c = |j: usize| x.chunks(n + 1).map(|row| row[j] * rest(row, &phi)).sum::<f64>();
            let c: Vec<f64> = (0..n).map(c).collect();
            let lambda = c.iter().fold(0.0, |most: f64, c| most.max(c.abs()));
            let bound = |j: usize| phi[j] == 0.0 || (c[j] - lambda * phi[j].signum()).abs() < 1e-9;
            assert!((0..n).all(bound), "{phi:?} {c:?}");
            let free: Vec<f64> = (0..n).map(|j| if corner.active.contains(&j) { 0.0 } else { 1e9 }).collect();
            let least = system.damped(&free);
            let squares = system.squares(&least.back_substitute(&least.z()).unwrap()) - system.rho().powi(2);
            assert!((squares - corner.squares).abs() < 1e-6 * (1.0 + squares), "{squares} {}", corner.squares);
            lambdas.push(lambda);
            sizes.push(corner.active.len());
            true
        });
        assert!(lambdas.windows(2).all(|w| w[1] <= w[0]) && lambdas[lambdas.len() - 1] < 1e-9);
        // Some left, and of the two that are one only one came.
        assert!(sizes.windows(2).any(|w| w[1] < w[0]), "{sizes:?}");
        assert_eq!(sizes.last(), Some(&(n - 1)), "{sizes:?}");
    }
}
