//! Checks of the many-body basis: harmonics, `A`, `AA` and `C`.

use super::{AceSpec, EmbeddingSpec, SparseSpec};
use crate::graph::MAX_CUTOFF;
use crate::part::check::{At, Check, cutoff, finite, index, length, vector, weights};
use crate::part::radial;
use crate::stage::block::MAX_SPECIES_BY_SLOT;
use crate::stage::spec::{CorePairSpec, InnerCutoff};
use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;

const MAX_L: u32 = 32;
const MAX_ORDER: usize = 8;

pub fn ace(ace: &AceSpec, n_species: usize) -> Check {
    cutoff(ace.rcut).at(|| "rcut: ".into())?;
    let n_basis = match &ace.embedding {
        None => weights(&ace.weights, n_species)?,
        Some(e) => {
            embedding(e, n_species, ace.rcut).at(|| "embedding.".into())?;
            density_weights(ace, e)?
        }
    };
    radial::check(&ace.radial, n_species, ace.radial.spec.len(), ace.rcut).at(|| "radial.".into())?;
    let spec = &ace.radial.spec;
    if spec.is_empty() {
        return Err("radial.spec: a many-body part has at least one radial function".into());
    }
    unique(spec).at(|| "radial.spec".into())?;
    if let Some(t) = spec.iter().position(|&[_, l]| l > MAX_L) {
        return Err(format!("radial.spec[{t}]: l = {} is above {MAX_L}", spec[t][1]));
    }
    if ace.angular.lmax > MAX_L {
        return Err(format!("angular.lmax: {} is above {MAX_L}", ace.angular.lmax));
    }
    a(&ace.a, spec, ace.angular.lmax).at(|| "A".into())?;
    match &ace.neighbours {
        None => unique(&ace.a).at(|| "A".into())?,
        Some(neighbours) => {
            if n_species > MAX_SPECIES_BY_SLOT {
                return Err(format!("neighbours: {n_species} species are more than {MAX_SPECIES_BY_SLOT}"));
            }
            length(neighbours.len(), ace.a.len()).at(|| "neighbours".into())?;
            for (v, &z) in neighbours.iter().enumerate() {
                index("species", z, n_species).at(|| format!("neighbours[{v}]: "))?;
            }
            unique(&ace.a.iter().zip(neighbours).collect::<Vec<_>>()).at(|| "A".into())?;
        }
    }
    aa(&ace.aa, ace.a.len()).at(|| "AA".into())?;
    c(&ace.c, n_basis, ace.aa.len()).at(|| "C.".into())
}

fn a(a: &[[u32; 2]], spec: &[[u32; 2]], lmax: u32) -> Check {
    if a.is_empty() {
        return Err(": a many-body part has at least one".into());
    }
    let n_harmonics = (lmax as usize + 1).pow(2);
    for (v, &[t, lm]) in a.iter().enumerate() {
        index("radial index", t, spec.len()).at(|| format!("[{v}]: "))?;
        index("harmonic", lm, n_harmonics).at(|| format!("[{v}]: "))?;
        let (l_radial, l) = (spec[t as usize][1], lm.isqrt());
        if l_radial != l {
            return Err(format!("[{v}]: radial function {t} has l = {l_radial}, harmonic {lm} has l = {l}"));
        }
    }
    Ok(())
}

/// Densities, their embedding, and the repulsion that may take its place.
fn embedding(embedding: &EmbeddingSpec, n_species: usize, rcut: f64) -> Check {
    length(embedding.species.len(), n_species).at(|| "species".into())?;
    for (z, e) in embedding.species.iter().enumerate() {
        crate::pace::check_embedding(e).at(|| format!("species[{z}]."))?;
    }
    let Some(core) = &embedding.core else { return Ok(()) };
    length(core.pairs.len(), n_species * n_species).at(|| "core.pairs".into())?;
    core.pairs
        .iter()
        .enumerate()
        .try_for_each(|(p, pair)| core_pair(core.inner, pair, rcut).at(|| format!("core.pairs[{p}].")))
}

fn core_pair(inner: InnerCutoff, pair: &CorePairSpec, rcut: f64) -> Check {
    cutoff(pair.rcut).at(|| "rcut: ".into())?;
    if pair.rcut > rcut {
        return Err(format!("rcut: {} Å is above the cutoff of the part, {rcut} Å", pair.rcut));
    }
    for (name, x) in [("dcut", pair.dcut), ("inner", pair.inner), ("inner_width", pair.inner_width)] {
        if !(0.0..=MAX_CUTOFF).contains(&x) {
            return Err(format!("{name}: {x} Å is not in 0 … {MAX_CUTOFF}"));
        }
    }
    if inner == InnerCutoff::Zbl && pair.dcut == 0.0 {
        return Err("dcut: 0 Å is no range for the repulsion of nuclei to vanish in".into());
    }
    finite(pair.prefactor).at(|| "prefactor: ".into())?;
    finite(pair.lambda).at(|| "lambda: ".into())
}

/// The weights of all densities, (n_species, n_densities · n_B); returns n_B.
fn density_weights(ace: &AceSpec, embedding: &EmbeddingSpec) -> Result<usize, String> {
    let n_basis = ace.c.shape[0];
    length(ace.weights.len(), embedding.species.len()).at(|| "weights".into())?;
    for (z, (w, e)) in ace.weights.iter().zip(&embedding.species).enumerate() {
        vector(w, n_basis.saturating_mul(e.densities.len())).at(|| format!("weights[{z}]"))?;
    }
    if n_basis == 0 {
        return Err("C.shape: a part has at least one basis function".into());
    }
    if let Some(functions) = &embedding.functions {
        functions_of_species(functions, ace).at(|| "embedding.functions".into())?;
    }
    Ok(n_basis)
}

/// Each function belongs to one species, and no other has weights of it.
fn functions_of_species(functions: &[usize], ace: &AceSpec) -> Check {
    let n_basis = ace.c.shape[0];
    length(functions.len(), ace.weights.len())?;
    let sum = functions.iter().fold(0, |sum: usize, n| sum.saturating_add(*n));
    if sum != n_basis {
        return Err(format!(": {sum} functions, expected {n_basis}"));
    }
    let mut first = 0;
    for (z, (n, weights)) in functions.iter().zip(&ace.weights).enumerate() {
        let own = first..first + n;
        let strange = weights.iter().enumerate().position(|(k, w)| *w != 0.0 && !own.contains(&(k % n_basis)));
        if let Some(k) = strange {
            return Err(format!("[{z}]: weights[{z}][{k}] is that of a function of another species"));
        }
        first = own.end;
    }
    Ok(())
}

fn aa(aa: &[Vec<u32>], n_a: usize) -> Check {
    if aa.is_empty() {
        return Err(": a many-body part has at least one".into());
    }
    for (k, factors) in aa.iter().enumerate() {
        if !(1..=MAX_ORDER).contains(&factors.len()) {
            return Err(format!("[{k}]: {} factors are not in 1 … {MAX_ORDER}", factors.len()));
        }
        factors.iter().try_for_each(|&v| index("factor", v, n_a)).at(|| format!("[{k}]: "))?;
    }
    unique(aa)
}

fn c(c: &SparseSpec, n_basis: usize, n_aa: usize) -> Check {
    if c.shape != [n_basis, n_aa] {
        let [rows, columns] = c.shape;
        return Err(format!("shape: expected {n_basis} × {n_aa}, as many as weights and AA, got {rows} × {columns}"));
    }
    length(c.cols.len(), c.rows.len()).at(|| "cols".into())?;
    vector(&c.vals, c.rows.len()).at(|| "vals".into())?;
    for (i, (&row, &col)) in c.rows.iter().zip(&c.cols).enumerate() {
        index("row", row, n_basis).at(|| format!("rows[{i}]: "))?;
        index("column", col, n_aa).at(|| format!("cols[{i}]: "))?;
    }
    let entries: Vec<_> = c.rows.iter().zip(&c.cols).collect();
    unique(&entries).at(|| "rows".into())
}

fn unique<T: Hash + Eq + Debug>(entries: &[T]) -> Check {
    let mut seen = HashMap::with_capacity(entries.len());
    for (i, entry) in entries.iter().enumerate() {
        if let Some(first) = seen.insert(entry, i) {
            return Err(format!("[{i}]: {entry:?} repeats entry {first}"));
        }
    }
    Ok(())
}
