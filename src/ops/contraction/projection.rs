//! Another basis of the same space: `U_a = Σ_b P[a, b] Ũ_b`, so that weights `w̃_b = Σ_a w_a P[a, b]` give the same.

use super::basis::Couplings;
use crate::{Error, Result};

/// The couplings with `Ũ`: the least-squares solution by Gram–Schmidt, which is exact for a `P` that fits.
pub(super) fn project(couplings: Couplings, p: &[Vec<f64>]) -> Result<Couplings> {
    let (rows, columns) = (couplings.n_paths, p.first().map_or(0, Vec::len));
    if p.len() != rows || p.iter().any(|row| row.len() != columns) || columns > rows {
        let n = p.len();
        return Err(Error::Argument(format!("projection: {n} × {columns}, expected {rows} rows, no more columns")));
    }
    // P = Q R, column by column, orthogonalised twice.
    let mut q: Vec<Vec<f64>> = (0..columns).map(|b| p.iter().map(|row| row[b]).collect()).collect();
    let mut r = vec![vec![0.0; columns]; columns];
    for b in 0..columns {
        let before = dot(&q[b], &q[b]).sqrt();
        for a in (0..b).chain(0..b) {
            let along = dot(&q[a], &q[b]);
            r[a][b] += along;
            let (done, rest) = q.split_at_mut(b);
            rest[0].iter_mut().zip(&done[a]).for_each(|(x, y)| *x -= along * y);
        }
        let norm = dot(&q[b], &q[b]).sqrt();
        if !(norm > 1e-10 * before && norm.is_finite()) {
            return Err(Error::Argument(format!("projection: column {b} depends on those before it")));
        }
        r[b][b] = norm;
        q[b].iter_mut().for_each(|x| *x /= norm);
    }
    let mut out = Couplings { n_paths: columns, ..couplings };
    for component in &mut out.outputs {
        for paths in component.values_mut() {
            let mut u = vec![0.0; rows];
            paths.iter().for_each(|&(a, value)| u[a as usize] = value);
            let mut solution: Vec<f64> = q.iter().map(|q| dot(q, &u)).collect();
            for b in (0..columns).rev() {
                for c in b + 1..columns {
                    solution[b] -= r[b][c] * solution[c];
                }
                solution[b] /= r[b][b];
            }
            let rest = |(row, &u): (&Vec<f64>, &f64)| (dot(row, &solution) - u).abs();
            let largest = p.iter().zip(&u).map(rest).fold(0.0, f64::max);
            if largest.is_nan() || largest > 1e-8 {
                return Err(Error::Argument(format!("projection: misses coupling tensors by {largest:.1e}")));
            }
            *paths = solution.into_iter().enumerate().map(|(b, value)| (b as u32, value)).collect();
        }
    }
    Ok(out.cleaned())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
