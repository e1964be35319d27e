//! Checks of the many-body basis: harmonics, `A`, `AA` and `C`.

use super::super::spec::*;
use super::{At, Check, index, length, vector};
use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;

const MAX_L: u32 = 32;
const MAX_ORDER: usize = 8;

pub(super) fn ace(ace: &AceSpec, n_basis: usize) -> Check {
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
    unique(a)
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
