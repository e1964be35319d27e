//! What every potential has to obey, whatever file it came from.

use super::{Base, Bond, Embedding, Function, InnerCutoff, Potential};
use crate::graph::MAX_CUTOFF;

/// Largest angular momentum of a factor, as in model files.
pub const MAX_L: usize = 32;
/// Most factors of a product.
const MAX_RANK: usize = 8;
/// Most real terms that a file may spell out, or imply.
pub const MAX_TERMS: usize = 1 << 22;
/// Most species: lists of products are shared by all of them.
const MAX_SPECIES: usize = crate::stage::block::MAX_SPECIES_BY_SLOT;
/// Nodes of one table at most.
const MAX_NODES: f64 = (1 << 20) as f64;
/// Largest exponents of embeddings and base functions.
const MAX_EXPONENT: f64 = 64.0;

impl Potential {
    pub(super) fn check(&self) -> Result<(), String> {
        let n = self.n_species();
        if n == 0 {
            return Err("elements: a potential has at least one".into());
        }
        if n > MAX_SPECIES {
            return Err(format!("elements: {n} are more than {MAX_SPECIES}"));
        }
        if self.e0.len() != n {
            return Err(format!("E0: expected {n} entries, got {}", self.e0.len()));
        }
        finite("E0", &self.e0)?;
        let name = |z: usize| crate::element::name(self.species[z]);
        for (z, e) in self.embeddings.iter().enumerate() {
            embedding(e).map_err(|m| format!("embedding of {}: {m}", name(z)))?;
        }
        for (pair, b) in self.bonds.iter().enumerate() {
            self.bond(b).map_err(|m| format!("bond {} {}: {m}", name(pair / n), name(pair % n)))?;
        }
        let [n_base, n_radial, lmax] = self.sizes();
        let mut terms = 0_usize;
        for (z, list) in self.functions.iter().enumerate() {
            for (k, f) in list.iter().enumerate() {
                let at = |m: String| format!("function {k} of {}: {m}", name(z));
                function(f, n, [n_base, n_radial, lmax]).map_err(at)?;
                terms += f.terms().map(|ms| expanded(ms.iter().filter(|&&m| m != 0).count())).sum::<usize>();
                if terms > MAX_TERMS {
                    return Err(at(format!("more than {MAX_TERMS} real terms")));
                }
            }
        }
        if self.functions.iter().all(Vec::is_empty) {
            return Err("functions: there are none".into());
        }
        Ok(())
    }

    fn bond(&self, bond: &Bond) -> Result<(), String> {
        let Bond { rcut, dcut, inner, inner_width, core, .. } = *bond;
        pair(bond.base, bond.lambda, [rcut, dcut, inner, inner_width], self.bins)?;
        if self.inner == InnerCutoff::Zbl && dcut == 0.0 {
            return Err("dcut: it is 0, and the repulsion of nuclei needs a range to vanish in".into());
        }
        finite("core repulsion", &core)?;
        finite("radcoefficients", bond.coefficients.iter().flatten().flatten())
    }
}

/// Lengths are those of the cutoff, of its cutoff function, of the inner cutoff, and its width, Å.
pub fn pair(base: Base, lambda: f64, lengths: [f64; 4], bins: f64) -> Result<(), String> {
    let rcut = lengths[0];
    if !(rcut > 0.0 && rcut <= MAX_CUTOFF) {
        return Err(format!("rcut: {rcut} Å is not above 0 and at most {MAX_CUTOFF}"));
    }
    for (name, value) in ["rcut", "dcut", "inner cutoff", "width of the inner cutoff"].into_iter().zip(lengths) {
        if !(0.0..=MAX_CUTOFF).contains(&value) {
            return Err(format!("{name}: {value} Å is not in 0 … {MAX_CUTOFF}"));
        }
    }
    let nodes = rcut / bins;
    if !(2.0..=MAX_NODES).contains(&nodes) {
        return Err(format!("spline bins of {bins} Å: {nodes} are not in 2 … {MAX_NODES}"));
    }
    match base {
        Base::ChebExpCos if lambda == 0.0 || lambda.is_nan() || lambda.abs() > MAX_EXPONENT => {
            Err(format!("radparameters: λ = {lambda} is 0, or beyond {MAX_EXPONENT}"))
        }
        Base::ChebPow if !(lambda > 0.0 && lambda <= MAX_EXPONENT) => {
            Err(format!("radparameters: λ = {lambda} is not above 0 and at most {MAX_EXPONENT}"))
        }
        _ if !lambda.is_finite() => Err(format!("radparameters: {lambda} is not finite")),
        _ => Ok(()),
    }
}

pub fn embedding(embedding: &Embedding) -> Result<(), String> {
    if embedding.densities.is_empty() {
        return Err("ndensity: there is at least one".into());
    }
    for &[w, m] in &embedding.densities {
        if !w.is_finite() {
            return Err(format!("parameters: {w} is not finite"));
        }
        if !(m > 0.0 && m <= MAX_EXPONENT) {
            return Err(format!("parameters: the exponent {m} is not above 0 and at most {MAX_EXPONENT}"));
        }
    }
    let [cut, width] = embedding.core;
    if !cut.is_finite() || !width.is_finite() || width < 0.0 {
        return Err(format!("rho_core_cutoff: {cut} ± {width} eV is no range"));
    }
    Ok(())
}

fn function(f: &Function, n_species: usize, [n_base, n_radial, lmax]: [usize; 3]) -> Result<(), String> {
    if !(1..=MAX_RANK).contains(&f.rank()) {
        return Err(format!("rank {} is not in 1 … {MAX_RANK}", f.rank()));
    }
    let most = if f.rank() == 1 { n_base } else { n_radial };
    for factor in &f.factors {
        if factor.species >= n_species {
            return Err(format!("species {} is not below {n_species}", factor.species));
        }
        if factor.n >= most {
            return Err(format!("n = {} is above {most}", factor.n + 1));
        }
        if factor.l > lmax.min(MAX_L) {
            return Err(format!("l = {} is above {}", factor.l, lmax.min(MAX_L)));
        }
    }
    if f.rank() == 1 && f.factors[0].l != 0 {
        return Err(format!("l = {} where there is one factor", f.factors[0].l));
    }
    for ms in f.terms() {
        if let Some((m, factor)) = ms.iter().zip(&f.factors).find(|(m, f)| m.unsigned_abs() as usize > f.l) {
            return Err(format!("m = {m} where l = {}", factor.l));
        }
    }
    finite("coefficients", &f.coefficients)
}

/// Real terms of a product with so many `m` other than 0.
pub fn expanded(n: usize) -> usize {
    1 << n.saturating_sub(1)
}

fn finite<'a>(name: &str, values: impl IntoIterator<Item = &'a f64>) -> Result<(), String> {
    match values.into_iter().find(|x| !x.is_finite()) {
        Some(x) => Err(format!("{name}: {x} is not finite")),
        None => Ok(()),
    }
}
