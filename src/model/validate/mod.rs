//! Every array length, index and number of a model file is checked here, once; nothing after it has to.
//!
//! No count needs a limit for its own sake: all are those of arrays that the file spells out, and the file's length has one.
//! A check returns its fault with a path relative to itself; its caller puts its own path in front.
mod ace;
mod radial;

pub(crate) use ace::{ace, density_weights, embedding};
pub(crate) use radial::radial;

use super::MAX_CUTOFF;
use super::spec::*;
use crate::element;

type Check = Result<(), String>;

/// Checks the whole file.
pub(super) fn model(spec: &ModelSpec) -> Check {
    format(&spec.format, FORMAT)?;
    species(&spec.species)?;
    if spec.parts.is_empty() {
        return Err("parts: a model has at least one".into());
    }
    for (p, part) in spec.parts.iter().enumerate() {
        part.check(spec.species.len()).at(|| format!("parts[{p}].{}.", part.kind()))?;
    }
    Ok(())
}

/// Checks the version of a file.
pub(super) fn format(found: &str, readable: &str) -> Check {
    if found == readable {
        Ok(())
    } else if found.starts_with("acerust-reference/") && readable.starts_with("acerust-model/") {
        Err(format!("format: '{found}' is a reference file; `acerust convert FILE -o MODEL` makes a model file of it"))
    } else {
        Err(format!("format: '{found}' is unknown; this version reads '{readable}'"))
    }
}

fn species(species: &[u8]) -> Check {
    if species.is_empty() {
        return Err("species: a model has at least one".into());
    }
    for (i, z) in species.iter().enumerate() {
        if element::symbol(*z).is_none() {
            return Err(format!("species[{i}]: {z} is not an atomic number in 1 … {}", element::MAX));
        }
        if let Some(first) = species[..i].iter().position(|other| other == z) {
            return Err(format!("species[{i}]: {} repeats species[{first}]", element::name(*z)));
        }
    }
    Ok(())
}

pub(crate) fn cutoff(rcut: f64) -> Check {
    if rcut > 0.0 && rcut <= MAX_CUTOFF {
        return Ok(());
    }
    Err(format!("{rcut} Å is not above 0 and at most {MAX_CUTOFF}"))
}

/// Readout weights, (n_species, n_basis); returns n_basis.
pub(crate) fn weights(weights: &[Vec<f64>], n_species: usize) -> Result<usize, String> {
    let n_basis = weights.first().map_or(0, Vec::len);
    matrix(weights, n_species, n_basis).at(|| "weights".into())?;
    if n_basis == 0 {
        return Err("weights[0]: a part has at least one basis function".into());
    }
    Ok(n_basis)
}

/// A matrix of finite numbers.
fn matrix(rows: &[Vec<f64>], n_rows: usize, n_columns: usize) -> Check {
    length(rows.len(), n_rows)?;
    rows.iter().enumerate().try_for_each(|(i, row)| vector(row, n_columns).at(|| format!("[{i}]")))
}

/// A vector of finite numbers.
pub(crate) fn vector(values: &[f64], n: usize) -> Check {
    length(values.len(), n)?;
    values.iter().enumerate().try_for_each(|(i, &value)| finite(value).at(|| format!("[{i}]: ")))
}

fn length(found: usize, expected: usize) -> Check {
    if found == expected { Ok(()) } else { Err(format!(": expected {expected} entries, got {found}")) }
}

fn finite(value: f64) -> Check {
    if value.is_finite() { Ok(()) } else { Err(format!("{value} is not finite")) }
}

fn index(what: &str, index: u32, n: usize) -> Check {
    if (index as usize) < n { Ok(()) } else { Err(format!("{what} {index} is not below {n}")) }
}

/// Puts the path of the caller in front of a fault.
pub(crate) trait At {
    fn at(self, path: impl FnOnce() -> String) -> Self;
}

impl<T> At for Result<T, String> {
    fn at(self, path: impl FnOnce() -> String) -> Self {
        self.map_err(|fault| path() + &fault)
    }
}
