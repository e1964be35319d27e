//! What a fit may be told: names of the data, weights, one-body energies, prior, solver.

use super::solver::Solver;
use crate::build::{self, Prior, Recipe};
use crate::model::Model;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The weights of the rows of a group: `energy / √N`, `force`, `virial / √N` for a frame of `N` atoms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Weights {
    pub energy: f64,
    pub force: f64,
    pub virial: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Weights { energy: 30.0, force: 1.0, virial: 1.0 }
    }
}

/// Where the energies of single atoms come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OneBody {
    /// The model has them.
    #[default]
    Given,
    /// Frames of one atom without neighbours.
    Isolated,
    /// Least squares of the energies an atom on the composition.
    Composition,
}

/// The section `fit` of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Names in the frames, in any case.
    pub energy_key: String,
    pub force_key: String,
    pub virial_key: String,
    pub stress_key: String,
    /// What groups frames for weights and errors.
    pub group_key: String,
    /// A factor on the weights of a frame, where it has one.
    pub weight_key: String,
    /// Weights by group; `default` for all others.
    pub weights: BTreeMap<String, Weights>,
    pub one_body: OneBody,
    /// Frames with a larger force component (eV/Å) are left out.
    pub max_force: Option<f64>,
    pub prior: Prior,
    pub solver: Solver,
    /// Members of the committee.
    pub committee: usize,
    /// Of the committee.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            energy_key: "energy".into(),
            force_key: "forces".into(),
            virial_key: "virial".into(),
            stress_key: "stress".into(),
            group_key: "config_type".into(),
            weight_key: "weight".into(),
            weights: BTreeMap::new(),
            one_body: OneBody::Given,
            max_force: None,
            prior: Prior::default(),
            solver: Solver::default(),
            committee: 0,
            seed: 0,
        }
    }
}

impl Settings {
    /// A recipe in TOML or JSON: its section `fit`, and the rest.
    ///
    /// # Errors
    /// [`Error::Recipe`] with the place: text that is neither, a model file, unknown keys, wrong types and values.
    pub fn split(text: &str) -> Result<(Settings, Recipe)> {
        let section = |message: String| Error::Recipe(format!("fit: {message}"));
        let (settings, recipe): (Option<Settings>, Recipe) = match is_json(text) {
            true if is_model(text) => return Err(Error::Recipe("a model file is none".into())),
            true => {
                let mut object: serde_json::Map<String, serde_json::Value> =
                    serde_json::from_str(text).map_err(json_fault)?;
                let settings = object.remove("fit").map(serde_json::from_value).transpose();
                (
                    settings.map_err(|e| section(e.to_string()))?,
                    serde_json::from_value(object.into()).map_err(json_fault)?,
                )
            }
            false => {
                let mut table: toml::Table = text.parse().map_err(toml_fault)?;
                let settings = table.remove("fit").map(toml::Value::try_into).transpose();
                (settings.map_err(|e| section(e.to_string()))?, table.try_into().map_err(toml_fault)?)
            }
        };
        let settings = settings.unwrap_or_default();
        settings.check()?;
        Ok((settings, recipe))
    }

    /// The section `fit` alone, in TOML or JSON.
    ///
    /// # Errors
    /// As [`Settings::split`].
    pub fn section(text: &str) -> Result<Settings> {
        let settings: Settings = match is_json(text) {
            true => serde_json::from_str(text).map_err(json_fault)?,
            false => toml::from_str(text).map_err(toml_fault)?,
        };
        settings.check()?;
        Ok(settings)
    }

    /// Settings and model of a recipe; those of a model file, which is fitted anew, are the usual ones.
    ///
    /// # Errors
    /// As [`Settings::split`]; a basis that cannot be built, a model that is none.
    pub fn with_model(text: &str) -> Result<(Settings, Model)> {
        if is_json(text) && is_model(text) {
            return Ok((Settings::default(), Model::from_json(text)?));
        }
        let (settings, recipe) = Self::split(text)?;
        Ok((settings, build::model(&recipe)?))
    }

    /// # Errors
    /// Weights that are negative or not finite; a prior or a solver with numbers that mean nothing.
    pub fn check(&self) -> Result<()> {
        for (group, w) in &self.weights {
            for (kind, x) in [("energy", w.energy), ("force", w.force), ("virial", w.virial)] {
                if !(x >= 0.0 && x.is_finite()) {
                    return Err(Error::Recipe(format!("fit.weights.{group}.{kind}: {x} is negative or not finite")));
                }
            }
        }
        if let Some(f) = self.max_force.filter(|f| f.is_nan() || *f <= 0.0) {
            return Err(Error::Recipe(format!("fit.max_force: {f} is not above 0")));
        }
        let section = |name: &str, message: String| Error::Recipe(format!("fit.{name}: {message}"));
        self.prior.check().map_err(|e| section("prior", e))?;
        self.solver.check().map_err(|e| section("solver", e))
    }

    /// The weights of a group, whatever the case of its name.
    pub fn weights_of(&self, group: &str) -> Weights {
        let named = |name: &str| self.weights.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, w)| *w);
        named(group).or_else(|| named("default")).unwrap_or_default()
    }
}

/// TOML begins with no brace.
fn is_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

fn is_model(text: &str) -> bool {
    text.contains("\"acerust-model/")
}

fn json_fault(error: serde_json::Error) -> Error {
    Error::Recipe(error.to_string())
}

fn toml_fault(error: toml::de::Error) -> Error {
    Error::Recipe(error.to_string().trim_end().to_owned())
}
