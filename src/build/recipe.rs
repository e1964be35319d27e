//! The recipe: a few hyper-parameters that say which basis is wanted.

use crate::{Error, Result, element};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The largest recipe that is read, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// Whose choices hold where the recipe says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// `ace1_model` of ACEpotentials.jl: spherical harmonics, one-hot weights, splines, one cutoff.
    #[default]
    Ace1,
    /// `ace_model` of ACEpotentials.jl: solid harmonics, random weights, a cutoff for every pair.
    Ace,
}

/// A number for all orders, or one for each from 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ByOrder<T> {
    All(T),
    Each(Vec<T>),
}

/// A number for all pairs of elements, or by pair: `{ "Si-O" = 5.0, default = 5.5 }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ByPair {
    All(f64),
    Each(BTreeMap<String, f64>),
}

/// Weights of the radial functions over polynomials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightsChoice {
    /// Each function is one polynomial for neighbours of one species.
    OneHot,
    /// Random, see [`Recipe::seed`].
    Glorot,
    /// (n_species², n_functions, n_polynomials), by ordered pair (centre, neighbour).
    Given(Vec<Vec<Vec<f64>>>),
}

/// The factor that takes pair functions to zero at the cutoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PairEnvelope {
    /// `s^−p − c^−p + p c^(−p−1) (s − c)`, `s = r/r0`, `c = rcut/r0`, with this `p`.
    Ace1(u32),
    /// `((r/rcut)^−p − 1)(1 − r/rcut)`, with this `p`.
    Poly1sr(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Harmonics {
    Solid,
    Spherical,
}

/// What a basis is made from. Everything but elements, order and degree has a default, which depends on the preset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    pub preset: Preset,
    pub name: Option<String>,
    /// Chemical symbols; their order is the species index.
    pub elements: Vec<String>,
    /// The largest number of neighbours in a product, 1 … 6. 0: a pair potential alone.
    pub order: usize,
    /// The largest level `n / S + wL l` (`ace`: `n + wL l`) of a product.
    pub degree: Option<ByOrder<f64>>,
    /// What `l` counts beside `n`: 1.5.
    #[serde(rename = "wL")]
    pub wl: Option<f64>,
    /// The largest `l` (`ace`: 30, else none).
    pub maxl: Option<ByOrder<u32>>,
    /// The largest `n` (`ace`: 50, else none).
    pub maxn: Option<u32>,
    /// Å; 2.5 r0.
    pub rcut: Option<ByPair>,
    /// The steepest distance of the transforms, Å; the mean of both bond lengths.
    pub r0: Option<ByPair>,
    /// Below it functions are constant, Å; 0.
    pub rin: Option<ByPair>,
    /// A cutoff for every pair instead of the largest for all (`ace`: true, `ace1`: false).
    pub variable_cutoffs: Option<bool>,
    /// The energies of isolated atoms, eV, by element; 0.
    #[serde(rename = "E0")]
    pub e0: BTreeMap<String, f64>,
    /// Where the repulsion between nuclei ends, Å, and takes the last half of that to do so; none.
    pub core: Option<ByPair>,
    /// (`ace`: solid, `ace1`: spherical)
    pub harmonics: Option<Harmonics>,
    /// `[pin, pcut]` of the many-body transform (`ace`: [2, 2], `ace1`: [4, 2]).
    pub transform: Option<[u32; 2]>,
    /// `[pin, pcut]` of the pair transform (`ace`: [4, 1], `ace1`: [3, 1]).
    pub pair_transform: Option<[u32; 2]>,
    /// Exponents of the weight of the many-body polynomials (`ace`: [0, 0], `ace1`: [4, 4]).
    pub polynomials: Option<[u32; 2]>,
    /// Exponents of the weight of the pair polynomials: [0, 0].
    pub pair_polynomials: Option<[u32; 2]>,
    /// The number of many-body polynomials (`ace`: 1.5 max n, `ace1`: max n).
    pub n_polynomials: Option<usize>,
    /// Exponents of the many-body envelope `(1 + y)^p1 (1 − y)^p2`: [2, 2].
    pub envelope: Option<[u32; 2]>,
    /// (`ace`: poly1sr, 1; `ace1`: ace1, 2)
    pub pair_envelope: Option<PairEnvelope>,
    /// The largest degree of the pair part (`ace`: its number of functions); the largest degree. 0: no pair part.
    pub pair_degree: Option<f64>,
    /// (`ace`: glorot, `ace1`: onehot)
    pub weights: Option<WeightsChoice>,
    /// onehot
    pub pair_weights: Option<WeightsChoice>,
    /// Of random weights.
    pub seed: u64,
    /// Nodes of the splines, 0 for none (`ace`: 0, `ace1`: 100).
    pub splines: Option<usize>,
    /// Nodes of the splines of the pair part, 0 for none: 100.
    pub pair_splines: Option<usize>,
}

impl Recipe {
    /// Reads a recipe in TOML.
    ///
    /// # Errors
    /// [`Error::Recipe`] with line and column: text that is no TOML, unknown keys, wrong types.
    pub fn from_toml(text: &str) -> Result<Recipe> {
        toml::from_str(text).map_err(|e| Error::Recipe(e.to_string().trim_end().to_owned()))
    }

    /// Reads a recipe in JSON.
    ///
    /// # Errors
    /// As [`Recipe::from_toml`].
    pub fn from_json(text: &str) -> Result<Recipe> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let recipe = serde_path_to_error::deserialize(&mut reader).map_err(|e| Error::Recipe(e.to_string()))?;
        reader.end().map_err(|e| Error::Recipe(e.to_string()))?;
        Ok(recipe)
    }

    /// Reads a recipe file: JSON where its name ends in `.json`, else TOML.
    ///
    /// # Errors
    /// As [`Recipe::from_toml`]; a file that cannot be read.
    pub fn load(path: impl AsRef<Path>) -> Result<Recipe> {
        let path = path.as_ref();
        let text = crate::build::read_text(path, MAX_BYTES)?;
        let json = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
        let recipe = if json { Self::from_json(&text) } else { Self::from_toml(&text) };
        recipe.map_err(|e| match e {
            Error::Recipe(message) => Error::Recipe(format!("{}: {message}", path.display())),
            other => other,
        })
    }

    /// Atomic numbers of the elements.
    ///
    /// # Errors
    /// No element, one that does not exist, one twice.
    pub fn species(&self) -> Result<Vec<u8>> {
        if self.elements.is_empty() {
            return Err(Error::Recipe("elements: a model has at least one".into()));
        }
        let mut species = Vec::new();
        for (k, symbol) in self.elements.iter().enumerate() {
            let Some(z) = element::number(symbol) else {
                return Err(Error::Recipe(format!("elements[{k}]: '{symbol}' is no chemical symbol")));
            };
            if species.contains(&z) {
                return Err(Error::Recipe(format!("elements[{k}]: {symbol} is listed twice")));
            }
            species.push(z);
        }
        Ok(species)
    }
}

impl<T: Copy> ByOrder<T> {
    /// One for each order.
    pub(super) fn expand(&self, name: &str, order: usize) -> Result<Vec<T>> {
        match self {
            ByOrder::All(x) => Ok(vec![*x; order]),
            ByOrder::Each(list) if list.len() == order => Ok(list.clone()),
            ByOrder::Each(list) => Err(Error::Recipe(format!("{name}: {} numbers for order {order}", list.len()))),
        }
    }
}

impl ByPair {
    /// (n_species, n_species); `None` where the recipe says nothing about a pair.
    pub(super) fn expand(&self, name: &str, species: &[u8]) -> Result<Vec<Vec<Option<f64>>>> {
        let n = species.len();
        let each = match self {
            ByPair::All(x) => return Ok(vec![vec![Some(*x); n]; n]),
            ByPair::Each(each) => each,
        };
        let mut table = vec![vec![each.get("default").copied(); n]; n];
        let mut known = vec![vec![false; n]; n];
        for (pair, &x) in each.iter().filter(|(pair, _)| *pair != "default") {
            let index = |symbol: &str| element::number(symbol).and_then(|z| species.iter().position(|&s| s == z));
            let both = pair.split_once('-').and_then(|(a, b)| Some((index(a)?, index(b)?)));
            let Some((i, j)) = both else {
                return Err(Error::Recipe(format!("{name}: '{pair}' is no pair of the elements, such as 'Si-O'")));
            };
            if std::mem::replace(&mut known[i.min(j)][i.max(j)], true) {
                return Err(Error::Recipe(format!("{name}: '{pair}' is given twice")));
            }
            (table[i][j], table[j][i]) = (Some(x), Some(x));
        }
        Ok(table)
    }
}
