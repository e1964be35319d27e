//! Pacemaker's `potential.yaml`: coefficients of invariant functions.

use super::couple::Couplings;
use super::yace::{base, embedding, inner_cutoff, lambda, number, shape};
use super::{Bond, Embedding, Factor, Function, InnerCutoff, Potential, check, yaml};
use serde::{Deserialize, de::IgnoredAny};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    global: Global,
    species: Vec<Block>,
    #[serde(rename = "metadata")]
    _metadata: Option<IgnoredAny>,
    #[serde(rename = "auxdata")]
    _auxdata: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Global {
    #[serde(rename = "DeltaSplineBins")]
    bins: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    speciesblock: String,
    ndensityi: Option<usize>,
    npoti: Option<String>,
    parameters: Option<Vec<f64>>,
    rho_core_cut: Option<f64>,
    drho_core_cut: Option<f64>,
    nradmaxi: Option<usize>,
    lmaxi: Option<usize>,
    rcutij: Option<f64>,
    dcutij: Option<f64>,
    #[serde(rename = "NameOfCutoffFunctionij")]
    _cutoff: Option<IgnoredAny>,
    r_in: Option<f64>,
    delta_in: Option<f64>,
    inner_cutoff_type: Option<String>,
    nradbaseij: Option<usize>,
    radbase: Option<String>,
    radparameters: Option<Vec<f64>>,
    radcoefficients: Option<Vec<Vec<Vec<f64>>>>,
    #[serde(rename = "core-repulsion")]
    core: Option<Vec<f64>>,
    #[serde(default)]
    nbody: Option<Vec<NBody>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NBody {
    #[serde(rename = "type")]
    kind: String,
    nr: Vec<usize>,
    nl: Vec<usize>,
    #[serde(default)]
    lint: Vec<usize>,
    c: Coefficients,
    #[serde(default)]
    skip: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Coefficients {
    Many(Vec<f64>),
    One(f64),
}

/// What a block says about its pair.
type Pair = (Bond, InnerCutoff);

pub fn read(text: &str) -> Result<Potential, String> {
    let File { global, species: blocks, .. } = yaml::read(text)?;
    // Upstream sorts the elements by name, whatever the order of the blocks.
    let names: Vec<Vec<String>> =
        blocks.iter().map(|b| b.speciesblock.split_whitespace().map(str::to_owned).collect()).collect();
    let elements: Vec<&String> = names.iter().flatten().collect::<BTreeSet<_>>().into_iter().collect();
    let n = elements.len();
    let index = |name: &str| {
        elements.iter().position(|e| *e == name).ok_or_else(|| format!("'{name}' is not an element of the block"))
    };
    let species = elements.iter().map(|e| number(e)).collect::<Result<Vec<_>, _>>()?;
    let (mut embeddings, mut bonds) = (BTreeMap::new(), BTreeMap::<[usize; 2], Pair>::new());
    let mut nbodies: Vec<Vec<(String, NBody)>> = (0..n).map(|_| Vec::new()).collect();
    for (mut block, names) in blocks.into_iter().zip(&names) {
        let title = format!("species: '{}'", block.speciesblock);
        let at = |e: String| format!("{title}: {e}");
        let indices = names.iter().map(|name| index(name)).collect::<Result<Vec<_>, _>>().map_err(at)?;
        let pair = match *indices {
            [] => return Err(at("no element".into())),
            [a] => Some([a, a]),
            [a, b] => Some([a, b]),
            _ => None,
        };
        if let Some(pair) = pair {
            if pair[0] == pair[1] && embeddings.insert(pair[0], block.embedding().map_err(at)?).is_some() {
                return Err(at("a second block of this element".into()));
            }
            if let Some(bond) = block.bond().map_err(at)?
                && bonds.insert(pair, bond).is_some()
            {
                return Err(at("a second block of this pair".into()));
            }
        }
        let list = block.nbody.take().unwrap_or_default().into_iter();
        nbodies[indices[0]].extend(list.enumerate().map(|(k, f)| (format!("{title}: nbody[{k}]"), f)));
    }
    let embeddings: Vec<Embedding> = (0..n)
        .map(|z| embeddings.remove(&z).ok_or_else(|| format!("species: a block '{}' is missing", elements[z])))
        .collect::<Result<_, _>>()?;
    let (bonds, inner) = complete(bonds, &elements)?;
    let (mut couplings, mut sets) = (Couplings::default(), 0);
    let mut functions = Vec::new();
    for (z, list) in nbodies.into_iter().enumerate() {
        let mut of_centre = Vec::new();
        for (title, f) in list.into_iter().filter(|(_, f)| !f.skip) {
            let at = |e: String| format!("{title}: {e}");
            let mut function = f.function(z, embeddings[z].densities.len(), index).map_err(at)?;
            let intermediates = f.lint;
            sets += couplings.couple(&mut function, &intermediates, check::MAX_TERMS - sets).map_err(at)?;
            let c = std::mem::take(&mut function.coefficients);
            function.coefficients = function.coupling.iter().flat_map(|g| c.iter().map(move |c| c * g)).collect();
            of_centre.push(function);
        }
        // The order of upstream, which active sets have, too.
        of_centre.sort_by_cached_key(order);
        functions.push(of_centre);
    }
    let e0 = vec![0.0; n];
    Ok(Potential { species, e0, bins: global.bins, inner, embeddings, bonds, functions })
}

/// What upstream sorts functions by: rank, species, `n` and `l` of the factors, then the sets of `m` whose first one other than 0 is
/// positive: their number, and themselves, the first `m` running fastest.
fn order(f: &Function) -> (usize, [Vec<usize>; 3], usize, Vec<i32>) {
    let of = |field: fn(&Factor) -> usize| f.factors.iter().map(field).collect();
    let positive = |ms: &&[i32]| ms.iter().find(|m| **m != 0).is_none_or(|m| *m > 0);
    let mut sets: Vec<&[i32]> = f.terms().filter(positive).collect();
    sets.sort_by(|a, b| a.iter().rev().cmp(b.iter().rev()));
    (f.rank(), [of(|f| f.species), of(|f| f.n), of(|f| f.l)], sets.len(), sets.concat())
}

/// The bonds of all ordered pairs: one that is missing is that of the pair the other way round, and both have to agree.
fn complete(bonds: BTreeMap<[usize; 2], Pair>, elements: &[&String]) -> Result<(Vec<Bond>, InnerCutoff), String> {
    let n = elements.len();
    let (mut all, mut inner) = (Vec::new(), None);
    for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
        let title = || format!("species: '{} {}'", elements[i], elements[j]);
        let (here, there) = (bonds.get(&[i, j]), bonds.get(&[j, i]));
        if let (Some(here), Some(there)) = (here, there)
            && here != there
        {
            return Err(format!(
                "{}: its radial functions or core differ from those of the pair turned round",
                title()
            ));
        }
        let (bond, kind) =
            here.or(there).ok_or_else(|| format!("{}: no block has the radial functions of this pair", title()))?;
        if *inner.get_or_insert(*kind) != *kind {
            return Err(format!("{}: inner_cutoff_type: it has to be the same for all pairs", title()));
        }
        all.push(bond.clone());
    }
    Ok((all, inner.unwrap_or(InnerCutoff::Density)))
}

impl Block {
    fn embedding(&self) -> Result<Embedding, String> {
        let n = self.ndensityi.ok_or("ndensityi is missing")?;
        let form = self.npoti.as_deref().ok_or("npoti is missing")?;
        let parameters = self.parameters.as_deref().ok_or("parameters are missing")?;
        embedding(form, n, parameters, [self.rho_core_cut.unwrap_or(1e5), self.drho_core_cut.unwrap_or(250.0)])
    }

    /// `None` where the block says nothing about radial functions.
    fn bond(&mut self) -> Result<Option<Pair>, String> {
        let Some(lmax) = self.lmaxi else {
            return match (&self.nradmaxi, &self.nradbaseij, &self.radbase, &self.radcoefficients) {
                (None, None, None, None) => Ok(None),
                _ => Err("lmaxi is missing".into()),
            };
        };
        let missing = |name: &str| format!("{name} is missing");
        let n = self.nradmaxi.ok_or_else(|| missing("nradmaxi"))?;
        let n_base = self.nradbaseij.ok_or_else(|| missing("nradbaseij"))?;
        let coefficients = self.radcoefficients.take().ok_or_else(|| missing("radcoefficients"))?;
        shape(&coefficients, [n, lmax.saturating_add(1), n_base])?;
        let core = match self.core.as_deref() {
            None => [0.0, 0.0],
            Some(&[prefactor, lambda]) => [prefactor, lambda],
            Some(other) => return Err(format!("core-repulsion: expected 2 numbers, got {}", other.len())),
        };
        let inner = inner_cutoff(self.inner_cutoff_type.as_deref())?;
        let bond = Bond {
            base: base(self.radbase.as_deref().ok_or_else(|| missing("radbase"))?)?,
            lambda: lambda(self.radparameters.as_deref().unwrap_or_default())?,
            rcut: self.rcutij.ok_or_else(|| missing("rcutij"))?,
            dcut: self.dcutij.ok_or_else(|| missing("dcutij"))?,
            inner: self.r_in.unwrap_or(0.0),
            inner_width: self.delta_in.unwrap_or(0.0),
            core,
            n_base,
            coefficients,
        };
        Ok(Some((bond, inner)))
    }
}

impl NBody {
    /// The function with its coefficients (n_densities), without its `m`.
    fn function(
        &self,
        centre: usize,
        n_densities: usize,
        index: impl Fn(&str) -> Result<usize, String>,
    ) -> Result<Function, String> {
        let names = self.kind.split_whitespace().map(&index).collect::<Result<Vec<_>, _>>()?;
        let Some((&first, neighbours)) = names.split_first() else { return Err("type: it is empty".into()) };
        if first != centre {
            return Err(format!("type: '{}' has another centre than its block", self.kind));
        }
        let rank = neighbours.len();
        if rank == 0 {
            return Err("type: no neighbour".into());
        }
        for (name, found) in [("nr", self.nr.len()), ("nl", self.nl.len())] {
            if found != rank {
                return Err(format!("{name}: expected {rank} entries, got {found}"));
            }
        }
        let coefficients = match &self.c {
            Coefficients::Many(c) => c.clone(),
            Coefficients::One(c) => vec![*c],
        };
        if coefficients.len() != n_densities {
            return Err(format!("c: expected {n_densities} entries, one a density, got {}", coefficients.len()));
        }
        let factors = neighbours.iter().zip(&self.nr).zip(&self.nl).map(|((&species, &n), &l)| {
            let n = n.checked_sub(1).ok_or("nr: it counts from 1")?;
            if l > check::MAX_L {
                return Err(format!("nl: {l} is above {}", check::MAX_L));
            }
            Ok(Factor { species, n, l })
        });
        let factors = factors.collect::<Result<Vec<_>, String>>()?;
        if let Some(l) = self.lint.iter().find(|&&l| l > 2 * check::MAX_L) {
            return Err(format!("lint: {l} is above {}", 2 * check::MAX_L));
        }
        Ok(Function { factors, ms: Vec::new(), coefficients, coupling: Vec::new() })
    }
}
