//! Models: validated, and never changed.

use crate::arrays::{numbers, result};
use crate::errors::raise;
use acerust::element;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::path::PathBuf;

/// A validated model: species and a stack of parts. It never changes.
#[pyclass(frozen, eq, module = "acerust")]
#[derive(Clone, PartialEq)]
pub struct Model(pub acerust::model::Model);

#[pymethods]
impl Model {
    /// Reads a model file.
    #[new]
    fn new(py: Python, path: PathBuf) -> PyResult<Model> {
        py.detach(|| acerust::model::Model::load(&path)).map(Model).map_err(raise)
    }

    /// Reads the text of a model file.
    #[staticmethod]
    fn from_json(py: Python, text: String) -> PyResult<Model> {
        py.detach(|| acerust::model::Model::from_json(text)).map(Model).map_err(raise)
    }

    /// The text of the model file.
    fn to_json(&self, py: Python) -> String {
        py.detach(|| self.0.to_json())
    }

    /// Writes the model file; a file of that name is replaced as a whole or not at all.
    fn save(&self, py: Python, path: PathBuf) -> PyResult<()> {
        py.detach(|| self.0.save(&path)).map_err(raise)
    }

    #[getter]
    fn name(&self) -> &str {
        &self.0.spec().name
    }

    /// Atomic numbers; their order is the species index everywhere.
    #[getter]
    fn species(&self) -> Vec<u32> {
        self.0.species().iter().map(|&z| z.into()).collect()
    }

    /// Chemical symbols, in the order of `species`.
    #[getter]
    fn elements(&self) -> Vec<String> {
        self.0.species().iter().map(|&z| element::name(z)).collect()
    }

    /// The largest cutoff of the parts, Å; 0 where no part has neighbours.
    #[getter]
    fn rcut(&self) -> f64 {
        self.0.rcut()
    }

    /// Basis functions a site, all parts together.
    #[getter]
    fn n_basis(&self) -> usize {
        self.0.n_basis()
    }

    /// The number of linear parameters.
    #[getter]
    fn length_basis(&self) -> usize {
        self.0.length_basis()
    }

    /// The kinds of the parts.
    #[getter]
    fn parts(&self) -> Vec<&'static str> {
        self.0.spec().parts.iter().map(|p| p.kind()).collect()
    }

    /// The heads of a MACE model; none for others.
    #[getter]
    fn heads(&self) -> Vec<String> {
        heads(&self.0)
    }

    /// The model made of some of the parts.
    fn extract(&self, parts: Vec<usize>) -> PyResult<Model> {
        self.0.extract(&parts).map(Model).map_err(raise)
    }

    /// The linear parameters, (length_basis), eV: part after part, species-major within a part.
    #[getter]
    fn linear_parameters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        result(py, self.0.linear_parameters(), &[self.0.length_basis()])
    }

    /// The same model with other linear parameters.
    fn with_linear_parameters(&self, parameters: &Bound<PyAny>) -> PyResult<Model> {
        let mut model = self.0.clone();
        model.set_linear_parameters(&numbers("parameters", parameters, &[None])?).map_err(raise)?;
        Ok(Model(model))
    }

    /// What `acerust info` prints.
    fn summary(&self) -> String {
        self.0.summary()
    }

    fn __repr__(&self) -> String {
        format!("acerust.Model({}: {}, {} parameters)", self.name(), self.elements().join(" "), self.0.length_basis())
    }

    fn __reduce__<'py>(slf: Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let text = slf.get().0.to_json();
        Ok((slf.get_type().getattr("from_json")?, PyTuple::new(slf.py(), [text])?))
    }
}

pub fn heads(model: &acerust::model::Model) -> Vec<String> {
    model.mace().map_or_else(Vec::new, |mace| mace.network().heads.clone())
}
