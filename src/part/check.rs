//! Checks that the kinds share: lengths, indices, numbers.
//!
//! No count needs a limit for its own sake: all are those of arrays that the file spells out, and the file's length has one.
//! A check returns its fault with a path relative to itself; its caller puts its own path in front.

use crate::graph::MAX_CUTOFF;

pub type Check = Result<(), String>;

pub fn cutoff(rcut: f64) -> Check {
    if rcut > 0.0 && rcut <= MAX_CUTOFF {
        return Ok(());
    }
    Err(format!("{rcut} Å is not above 0 and at most {MAX_CUTOFF}"))
}

/// Readout weights, (n_species, n_basis); returns n_basis.
pub fn weights(weights: &[Vec<f64>], n_species: usize) -> Result<usize, String> {
    let n_basis = weights.first().map_or(0, Vec::len);
    matrix(weights, n_species, n_basis).at(|| "weights".into())?;
    if n_basis == 0 {
        return Err("weights[0]: a part has at least one basis function".into());
    }
    Ok(n_basis)
}

/// A matrix of finite numbers.
pub fn matrix(rows: &[Vec<f64>], n_rows: usize, n_columns: usize) -> Check {
    length(rows.len(), n_rows)?;
    rows.iter().enumerate().try_for_each(|(i, row)| vector(row, n_columns).at(|| format!("[{i}]")))
}

/// A vector of finite numbers.
pub fn vector(values: &[f64], n: usize) -> Check {
    length(values.len(), n)?;
    values.iter().enumerate().try_for_each(|(i, &value)| finite(value).at(|| format!("[{i}]: ")))
}

pub fn length(found: usize, expected: usize) -> Check {
    if found == expected { Ok(()) } else { Err(format!(": expected {expected} entries, got {found}")) }
}

pub fn finite(value: f64) -> Check {
    if value.is_finite() { Ok(()) } else { Err(format!("{value} is not finite")) }
}

pub fn index(what: &str, index: u32, n: usize) -> Check {
    if (index as usize) < n { Ok(()) } else { Err(format!("{what} {index} is not below {n}")) }
}

/// Puts the path of the caller in front of a fault.
pub trait At {
    fn at(self, path: impl FnOnce() -> String) -> Self;
}

impl<T> At for Result<T, String> {
    fn at(self, path: impl FnOnce() -> String) -> Self {
        self.map_err(|fault| path() + &fault)
    }
}
