//! Training of MACE models.

use crate::arguments::{conditions_of, device_of};
use crate::arrays::{numbers, result, structure};
use crate::errors::{argument, raise};
use crate::model::Model;
use acerust::dtype::Dtype;
use acerust::shared::{SharedEvaluation, SharedTraining, Sites, adapt};
use acerust::train::Cotangent;
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PySlice, PyTuple};
use std::sync::{Mutex, PoisonError};

/// A MACE model whose parameters change: energies, forces and virials as functions of them, and the gradients of losses on these.
#[pyclass(frozen, module = "acerust")]
pub struct Training {
    shared: SharedTraining,
    /// The words it was made with: precision, threads, device.
    words: (String, usize, String),
    loss_scale: Mutex<f64>,
}

/// What a training says of a structure, with all that gradients take of the way to it.
#[pyclass(frozen, module = "acerust")]
pub struct Evaluation(SharedEvaluation);

/// The scale of a loss for training in 16 bits: found by trying, halved where a number overflows, doubled where none has for a while.
#[pyclass(frozen, module = "acerust")]
pub struct LossScale(Mutex<acerust::train::LossScale>);

/// Name, shape, and where its numbers are among all.
type Parameter<'py> = (String, Bound<'py, PyTuple>, Bound<'py, PySlice>);

#[pymethods]
impl Training {
    /// `precision` of weights and intermediates: f64, f32, f16, bf16; parameters and results are double precision in any case. `threads`: 0 for
    /// all of the machine, or as many as RAYON_NUM_THREADS says. `device`: cpu, cuda, cuda:N.
    #[new]
    #[pyo3(signature = (model, precision="f64", threads=0, device="cpu"))]
    fn new(py: Python, model: &Model, precision: &str, threads: usize, device: &str) -> PyResult<Training> {
        let dtype: Dtype = serde_json::from_value(precision.into())
            .map_err(|_| argument(format!("precision {precision:?}: none of f64, f32, f16, bf16")))?;
        let at = device_of(device)?;
        let shared = py.detach(|| SharedTraining::new(&model.0, at, dtype, threads)).map_err(raise)?;
        Ok(Training { shared, words: (precision.into(), threads, device.into()), loss_scale: Mutex::new(1.0) })
    }

    /// The tensors that are trained, in the order of their numbers: name and shape as the training program has them, and the slice of `values`.
    #[getter]
    fn parameters<'py>(&self, py: Python<'py>) -> PyResult<Vec<Parameter<'py>>> {
        let entry = |p: acerust::train::Parameter| {
            let slice = PySlice::new(py, p.range.start as isize, p.range.end as isize, 1);
            Ok((p.name, PyTuple::new(py, p.shape)?, slice))
        };
        py.detach(|| self.shared.parameters()).into_iter().map(entry).collect()
    }

    /// The numbers of all parameters, (n_parameters).
    #[getter]
    fn values<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        let values = py.detach(|| self.shared.values());
        PyArray1::from_vec(py, values)
    }

    /// Replaces the numbers of all parameters.
    fn set_values(&self, py: Python, values: &Bound<PyAny>) -> PyResult<()> {
        let values = numbers("values", values, &[None])?;
        py.detach(|| self.shared.set_values(&values)).map_err(raise)
    }

    /// The model with the current parameters.
    #[getter]
    fn model(&self, py: Python) -> PyResult<Model> {
        py.detach(|| self.shared.model()).map(Model).map_err(raise)
    }

    #[getter]
    fn precision(&self) -> &str {
        &self.words.0
    }

    #[getter]
    fn threads(&self) -> usize {
        self.words.1
    }

    #[getter]
    fn device(&self) -> &str {
        &self.words.2
    }

    /// Multiplies gradients by this while they are computed, so that those of 16 bits do not vanish; results have it divided out again.
    fn set_loss_scale(&self, py: Python, scale: f64) -> PyResult<()> {
        py.detach(|| {
            let mut kept = self.loss_scale.lock().unwrap_or_else(PoisonError::into_inner);
            self.shared.set_loss_scale(scale)?;
            *kept = scale;
            Ok(())
        })
        .map_err(raise)
    }

    /// Evaluates a structure at the current parameters; arguments as of `Plan.evaluate`.
    #[pyo3(signature = (numbers, positions, cell=None, pbc=None, conditions=None))]
    fn evaluate(
        &self,
        py: Python,
        numbers: &Bound<PyAny>,
        positions: &Bound<PyAny>,
        cell: Option<&Bound<PyAny>>,
        pbc: Option<&Bound<PyAny>>,
        conditions: Option<&Bound<PyDict>>,
    ) -> PyResult<Evaluation> {
        let sites = Sites::Structure(structure(numbers, positions, cell, pbc)?);
        let conditions = conditions_of(conditions)?;
        py.detach(|| self.shared.evaluate(&sites, &conditions)).map(Evaluation).map_err(raise)
    }

    /// The gradient of a loss by all parameters, (n_parameters), at those of the evaluation. `energy`, `site_energies`, `forces`, `virial`: the
    /// derivatives of the loss by the results of these names, in their shapes.
    #[pyo3(signature = (evaluation, *, energy=0.0, site_energies=None, forces=None, virial=None))]
    fn gradient<'py>(
        &self,
        py: Python<'py>,
        evaluation: &Evaluation,
        energy: f64,
        site_energies: Option<&Bound<'py, PyAny>>,
        forces: Option<&Bound<'py, PyAny>>,
        virial: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let n = evaluation.0.forces.len();
        let site_energies = site_energies.map(|a| numbers("site_energies", a, &[Some(n)])).transpose()?;
        let forces = forces.map(|f| numbers("forces", f, &[Some(n), Some(3)])).transpose()?;
        let virial = virial.map(|v| numbers("virial", v, &[Some(3), Some(3)])).transpose()?;
        let gradient: acerust::Result<Vec<f64>> = py.detach(|| {
            let cotangent = Cotangent {
                energy,
                site_energies: site_energies.as_deref(),
                forces: forces.as_deref().map(|f| f.as_chunks().0),
                virial: virial.as_deref().map(|v| [0, 1, 2].map(|a| [v[3 * a], v[3 * a + 1], v[3 * a + 2]])),
            };
            let mut gradient = vec![0.0; self.shared.values().len()];
            self.shared.gradient(&evaluation.0, &cotangent, &mut gradient)?;
            Ok(gradient)
        });
        Ok(PyArray1::from_vec(py, gradient.map_err(raise)?))
    }

    fn __repr__(&self, py: Python) -> PyResult<String> {
        let n = py.detach(|| self.shared.values().len());
        let (precision, _, device) = &self.words;
        Ok(format!("acerust.Training({}: {n} parameters, {device}, {precision})", self.model(py)?.0.spec().name))
    }

    fn __reduce__<'py>(slf: Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>, f64)> {
        let (py, training) = (slf.py(), slf.get());
        let (precision, threads, device) = &training.words;
        let arguments = (training.model(py)?, precision, *threads, device);
        let scale = py.detach(|| *training.loss_scale.lock().unwrap_or_else(PoisonError::into_inner));
        Ok((slf.get_type().into_any(), arguments.into_pyobject(py)?, scale))
    }

    /// The loss scale, of copies and what was pickled.
    fn __setstate__(&self, py: Python, scale: f64) -> PyResult<()> {
        self.set_loss_scale(py, scale)
    }
}

#[pymethods]
impl Evaluation {
    /// eV.
    #[getter]
    fn energy(&self) -> f64 {
        self.0.energy
    }

    /// (n_atoms), eV.
    #[getter]
    fn site_energies<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        result(py, self.0.site_energies.clone(), &[self.0.site_energies.len()])
    }

    /// (n_atoms, 3), eV/Å.
    #[getter]
    fn forces<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        result(py, self.0.forces.as_flattened().to_vec(), &[self.0.forces.len(), 3])
    }

    /// (3, 3), eV; stress = −virial / volume.
    #[getter]
    fn virial<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        result(py, self.0.virial.as_flattened().to_vec(), &[3, 3])
    }

    fn __repr__(&self) -> String {
        format!("acerust.Evaluation({} atoms, {} eV)", self.0.forces.len(), self.0.energy)
    }
}

#[pymethods]
impl LossScale {
    #[new]
    fn new() -> LossScale {
        LossScale(Mutex::default())
    }

    #[getter]
    fn scale(&self) -> f64 {
        self.with(|scale| scale.scale())
    }

    /// Adapts the scale to a step that used it: `finite` where no NotFiniteError ended it, which is to be skipped else. Returns `finite`; raises
    /// that error where the scale has nothing to do with it.
    fn accept(&self, finite: bool) -> PyResult<bool> {
        self.with(|scale| adapt(scale, finite)).map_err(raise)
    }
}

impl LossScale {
    fn with<T>(&self, f: impl FnOnce(&mut acerust::train::LossScale) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
