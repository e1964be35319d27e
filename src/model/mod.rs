//! The model file: plain data ([`spec`]), its validation, and the [`Model`] that only a valid file becomes.
//!
//! Nothing is evaluated here. A model is small and cheap to clone; what is derived from it for speed belongs to the plan.
mod file;
mod mace;
mod pace;
mod reference;
pub mod spec;
mod summary;
mod tensors;
mod validate;

pub use crate::graph::MAX_CUTOFF;
use crate::{Error, Result};
pub use mace::Mace;
pub use spec::{ModelSpec, PartSpec};

/// The largest model file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 256 << 20;

/// A validated model: every array length, index and number in its spec has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    spec: ModelSpec,
    /// Instead of parts.
    mace: Option<Mace>,
}

impl Model {
    /// Brings the spec to its canonical form (the factors of each product in ascending order) and validates it.
    ///
    /// # Errors
    /// The first fault, with its path in the file: `model: parts[2].ace.A[17]: radial index 99 is not below 24`.
    pub fn new(mut spec: ModelSpec) -> Result<Self> {
        spec.parts.iter_mut().for_each(PartSpec::normalise);
        validate::model(&spec).map_err(Error::Model)?;
        Ok(Self { spec, mace: None })
    }

    /// The plain data of the model.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// The plain data of the model, to be changed and validated again. Of a MACE model that is species and name alone.
    pub fn into_spec(self) -> ModelSpec {
        self.spec
    }

    /// Atomic numbers, (n_species); their order is the species index everywhere.
    pub fn species(&self) -> &[u8] {
        &self.spec.species
    }

    /// The species index of an atomic number, if the model knows the element.
    pub fn species_index(&self, number: u8) -> Option<usize> {
        self.spec.species.iter().position(|&z| z == number)
    }

    /// The largest cutoff of the parts, Å; 0 where no part has neighbours.
    pub fn rcut(&self) -> f64 {
        let own = self.mace.as_ref().map_or(0.0, |m| m.network().cutoff);
        self.spec.parts.iter().map(PartSpec::rcut).fold(own, f64::max)
    }

    /// Basis functions a site, all parts together.
    pub fn n_basis(&self) -> usize {
        self.spec.parts.iter().map(PartSpec::n_basis).sum()
    }

    /// The number of linear parameters: `Σ n_species · n_basis` over the parts.
    pub fn length_basis(&self) -> usize {
        self.spec.species.len() * self.n_basis()
    }

    /// A part of the model.
    ///
    /// # Errors
    /// [`Error::Argument`] for an index out of range.
    pub fn part(&self, index: usize) -> Result<&PartSpec> {
        let parts = &self.spec.parts;
        let message = || Error::Argument(format!("part {index} of a model with {} parts", parts.len()));
        parts.get(index).ok_or_else(message)
    }

    /// The model made of some of the parts.
    ///
    /// # Errors
    /// [`Error::Argument`] for an index out of range or repeated.
    pub fn extract(&self, parts: &[usize]) -> Result<Model> {
        if self.mace.is_some() {
            return Err(Error::Argument("a MACE model has no parts".into()));
        }
        let mut spec = self.spec.clone();
        spec.parts.clear();
        for (k, &p) in parts.iter().enumerate() {
            if parts[..k].contains(&p) {
                return Err(Error::Argument(format!("parts[{k}]: part {p} is taken twice")));
            }
            spec.parts.push(self.part(p)?.clone());
        }
        Model::new(spec)
    }

    /// The parts whose energies come of neighbours, and not of parameters: what a linear fit takes from its data.
    pub(crate) fn fixed(&self) -> Result<Option<Model>> {
        let fixed = |(_, part): &(usize, &PartSpec)| part.rcut() > 0.0 && part.weights().is_empty();
        let parts: Vec<usize> = self.spec.parts.iter().enumerate().filter(fixed).map(|(p, _)| p).collect();
        if parts.is_empty() { Ok(None) } else { self.extract(&parts).map(Some) }
    }

    /// Whether energies are linear in parameters: what has a basis and design rows, and can be fitted like that.
    ///
    /// # Errors
    /// [`Error::Argument`] that names the part which is not.
    pub fn check_linear(&self) -> Result<()> {
        if self.mace.is_some() {
            return Err(Error::Argument(
                "a MACE model is not linear in its parameters, and has no basis or design rows".into(),
            ));
        }
        let Some((p, part)) = self.spec.parts.iter().enumerate().find(|(_, part)| !part.is_linear()) else {
            return Ok(());
        };
        Err(Error::Argument(format!(
            "parts[{p}].{}: its energy is not linear in parameters, and has no basis or design rows",
            part.kind()
        )))
    }

    /// The readout weights, (length_basis), eV: species-major within a part, the parts one after another.
    pub fn linear_parameters(&self) -> Vec<f64> {
        self.spec.parts.iter().flat_map(PartSpec::weights).flatten().copied().collect()
    }

    /// Replaces the readout weights; the order is that of [`Model::linear_parameters`].
    ///
    /// # Errors
    /// A length other than [`Model::length_basis`], a parameter that is not finite, or a model that is not linear; the model is then
    /// unchanged.
    pub fn set_linear_parameters(&mut self, parameters: &[f64]) -> Result<()> {
        self.check_linear()?;
        let n = self.length_basis();
        if parameters.len() != n {
            return Err(Error::Argument(format!("linear parameters: expected {n}, got {}", parameters.len())));
        }
        if let Some(p) = parameters.iter().position(|x| !x.is_finite()) {
            return Err(Error::Argument(format!("linear parameters[{p}]: {} is not finite", parameters[p])));
        }
        let weights = self.spec.parts.iter_mut().flat_map(PartSpec::weights_mut).flatten();
        weights.zip(parameters).for_each(|(w, &p)| *w = p);
        Ok(())
    }
}
