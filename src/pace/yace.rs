//! `.yace` files: coefficients of products.

use super::{Base, Bond, Embedding, Factor, Form, Function, InnerCutoff, Potential, yaml};
use crate::element;
use serde::{Deserialize, de::IgnoredAny};
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    elements: Vec<String>,
    #[serde(rename = "E0")]
    e0: Vec<f64>,
    #[serde(rename = "deltaSplineBins")]
    bins: f64,
    embeddings: BTreeMap<usize, FileEmbedding>,
    bonds: BTreeMap<[usize; 2], FileBond>,
    functions: BTreeMap<usize, Vec<FileFunction>>,
    #[serde(rename = "metadata")]
    _metadata: Option<IgnoredAny>,
    #[serde(rename = "auxdata")]
    _auxdata: Option<IgnoredAny>,
    #[serde(rename = "lmax")]
    _lmax: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEmbedding {
    ndensity: usize,
    #[serde(rename = "FS_parameters")]
    parameters: Vec<f64>,
    npoti: String,
    rho_core_cutoff: f64,
    drho_core_cutoff: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileBond {
    nradmax: usize,
    lmax: usize,
    nradbasemax: usize,
    radbasename: String,
    radparameters: Vec<f64>,
    radcoefficients: Vec<Vec<Vec<f64>>>,
    prehc: f64,
    lambdahc: f64,
    rcut: f64,
    dcut: f64,
    #[serde(default)]
    rcut_in: f64,
    #[serde(default)]
    dcut_in: f64,
    inner_cutoff_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileFunction {
    mu0: usize,
    rank: usize,
    ndensity: usize,
    num_ms_combs: usize,
    mus: Vec<usize>,
    ns: Vec<usize>,
    ls: Vec<usize>,
    ms_combs: Vec<i32>,
    ctildes: Vec<f64>,
}

pub fn read(text: &str) -> Result<Potential, String> {
    let file: File = yaml::read(text)?;
    let n = file.elements.len();
    let species = file.elements.iter().map(|e| number(e)).collect::<Result<Vec<_>, _>>()?;
    let mut embeddings = by_species("embeddings", file.embeddings, n)?;
    let mut functions = by_species("functions", file.functions, n)?;
    let (mut bonds, mut inner) = (Vec::new(), InnerCutoff::Density);
    let mut found = file.bonds;
    for pair in (0..n).flat_map(|i| (0..n).map(move |j| [i, j])) {
        let bond = found.remove(&pair).ok_or_else(|| format!("bonds: {pair:?} is missing"))?;
        // The last pair decides for all.
        inner = inner_cutoff(bond.inner_cutoff_type.as_deref()).map_err(|e| format!("bonds: {pair:?}: {e}"))?;
        bonds.push(bond.read().map_err(|e| format!("bonds: {pair:?}: {e}"))?);
    }
    if let Some(pair) = found.keys().next() {
        return Err(format!("bonds: {pair:?} has a species that is not below {n}"));
    }
    let embeddings: Vec<Embedding> = (0..n)
        .map(|z| embeddings.remove(0).read().map_err(|e| format!("embeddings: {z}: {e}")))
        .collect::<Result<_, _>>()?;
    let functions = (0..n)
        .map(|z| {
            let n_densities = embeddings[z].densities.len();
            let read =
                |(k, f): (usize, FileFunction)| f.read(z, n_densities).map_err(|e| format!("functions: {z}[{k}]: {e}"));
            functions.remove(0).into_iter().enumerate().map(read).collect()
        })
        .collect::<Result<_, String>>()?;
    Ok(Potential { species, e0: file.e0, bins: file.bins, inner, embeddings, bonds, functions })
}

/// The entries `0 .. n` of a map, each of which is there.
fn by_species<T>(name: &str, mut map: BTreeMap<usize, T>, n: usize) -> Result<Vec<T>, String> {
    let entries = (0..n).map(|z| map.remove(&z).ok_or_else(|| format!("{name}: species {z} is missing"))).collect();
    match map.keys().next() {
        Some(z) => Err(format!("{name}: species {z} is not below {n}")),
        None => entries,
    }
}

pub fn number(element: &str) -> Result<u8, String> {
    element::number(element).ok_or_else(|| format!("elements: '{element}' is unknown"))
}

pub fn inner_cutoff(name: Option<&str>) -> Result<InnerCutoff, String> {
    match name {
        None | Some("density") => Ok(InnerCutoff::Density),
        Some("distance") => Ok(InnerCutoff::Distance),
        Some("zbl") => Ok(InnerCutoff::Zbl),
        Some(other) => Err(format!("the inner cutoff '{other}' is unknown; density, distance and zbl are known")),
    }
}

pub fn base(name: &str) -> Result<Base, String> {
    match name {
        "ChebExpCos" => Ok(Base::ChebExpCos),
        "ChebPow" => Ok(Base::ChebPow),
        "ChebLinear" => Ok(Base::ChebLinear),
        "SBessel" | "TEST_SBessel" => Ok(Base::SBessel),
        // Upstream computes nothing for other tests.
        _ if name.starts_with("TEST_") => Ok(Base::Zero),
        _ if name.starts_with("ACE.jl") => Err(format!("the base functions '{name}' are not supported")),
        _ => Err(format!("the base functions '{name}' are unknown")),
    }
}

pub fn embedding(form: &str, n: usize, parameters: &[f64], core: [f64; 2]) -> Result<Embedding, String> {
    let form = match form {
        "FinnisSinclair" => Form::FinnisSinclair,
        "FinnisSinclairShiftedScaled" => Form::FinnisSinclairShiftedScaled,
        other => return Err(format!("the embedding '{other}' is unknown")),
    };
    if parameters.len() != 2 * n {
        return Err(format!("{} parameters for {n} densities, which have two each", parameters.len()));
    }
    Ok(Embedding { form, densities: parameters.chunks(2).map(|p| [p[0], p[1]]).collect(), core })
}

/// λ, the first of the parameters.
pub fn lambda(parameters: &[f64]) -> Result<f64, String> {
    parameters.first().copied().ok_or_else(|| "radparameters: the first one is missing".into())
}

impl FileEmbedding {
    fn read(self) -> Result<Embedding, String> {
        embedding(&self.npoti, self.ndensity, &self.parameters, [self.rho_core_cutoff, self.drho_core_cutoff])
    }
}

impl FileBond {
    fn read(self) -> Result<Bond, String> {
        shape(&self.radcoefficients, [self.nradmax, self.lmax.saturating_add(1), self.nradbasemax])?;
        Ok(Bond {
            base: base(&self.radbasename)?,
            lambda: lambda(&self.radparameters)?,
            rcut: self.rcut,
            dcut: self.dcut,
            inner: self.rcut_in,
            inner_width: self.dcut_in,
            core: [self.prehc, self.lambdahc],
            n_base: self.nradbasemax,
            coefficients: self.radcoefficients,
        })
    }
}

/// Checks that `radcoefficients` are (nradmax, lmax + 1, nradbase).
pub fn shape(coefficients: &[Vec<Vec<f64>>], [n, l, k]: [usize; 3]) -> Result<(), String> {
    let right = coefficients.len() == n
        && coefficients.iter().all(|by_l| by_l.len() == l && by_l.iter().all(|by_k| by_k.len() == k));
    if right { Ok(()) } else { Err(format!("radcoefficients: expected {n} × {l} × {k} numbers")) }
}

impl FileFunction {
    fn read(self, z: usize, n_densities: usize) -> Result<Function, String> {
        if self.mu0 != z {
            return Err(format!("mu0 is {}", self.mu0));
        }
        if self.ndensity != n_densities {
            return Err(format!("ndensity is {}, the embedding has {n_densities}", self.ndensity));
        }
        let product = usize::saturating_mul;
        for (name, found, expected) in [
            ("mus", self.mus.len(), self.rank),
            ("ns", self.ns.len(), self.rank),
            ("ls", self.ls.len(), self.rank),
            ("ms_combs", self.ms_combs.len(), product(self.num_ms_combs, self.rank)),
            ("ctildes", self.ctildes.len(), product(self.num_ms_combs, self.ndensity)),
        ] {
            if found != expected {
                return Err(format!("{name}: expected {expected} entries, got {found}"));
            }
        }
        let factors = self.mus.iter().zip(&self.ns).zip(&self.ls).map(|((&species, &n), &l)| {
            let n = n.checked_sub(1).ok_or("ns: they count from 1")?;
            Ok(Factor { species, n, l })
        });
        let factors = factors.collect::<Result<_, String>>()?;
        Ok(Function { factors, ms: self.ms_combs, coefficients: self.ctildes, coupling: Vec::new() })
    }
}
