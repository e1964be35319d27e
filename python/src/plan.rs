//! Plans and neighbour lists: evaluation.

use crate::arguments::{conditions_of, device_of};
use crate::arrays::{numbers, result, structure};
use crate::errors::{argument, raise};
use crate::into;
use crate::model::{Model, heads};
use acerust::batch::{self, Item};
use acerust::graph::Graph;
use acerust::plan::{self, ActiveSet, Conditions, Input, Options, Outputs, Precision, RadialMode, Rows};
use acerust::shared::SharedPlan;
use acerust::structure::Structure;
use numpy::ndarray::{ArrayViewMut, ArrayViewMut2, ArrayViewMut3, Dimension, IntoDimension};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// A model made ready for a device.
#[pyclass(frozen, module = "acerust")]
pub struct Plan {
    pub shared: SharedPlan,
    /// The words it was made with.
    pub words: (String, String, String, usize),
    changes: AtomicUsize,
}

/// A neighbour list on the device of a plan, kept from call to call while no atom has moved by more than half the skin. One
/// thread works with it at a time.
#[pyclass(frozen, module = "acerust")]
pub struct Neighbours(Mutex<List>);

pub struct List {
    pub list: plan::Neighbours,
    /// What was evaluated last, if that went well.
    pub last: Option<Structure>,
}

impl Neighbours {
    pub fn with<T>(&self, f: impl FnOnce(&mut List) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[pymethods]
impl Neighbours {
    /// How often the list was built rather than reused.
    #[getter]
    fn builds(&self, py: Python) -> usize {
        py.detach(|| self.with(|list| list.list.builds()))
    }

    /// Is this the structure that was evaluated last?
    #[pyo3(signature = (numbers, positions, cell=None, pbc=None))]
    fn holds(
        &self,
        py: Python,
        numbers: &Bound<PyAny>,
        positions: &Bound<PyAny>,
        cell: Option<&Bound<PyAny>>,
        pbc: Option<&Bound<PyAny>>,
    ) -> PyResult<bool> {
        let structure = structure(numbers, positions, cell, pbc)?;
        Ok(py.detach(|| self.with(|list| list.last.as_ref() == Some(&structure))))
    }

    /// The structure that was evaluated last, as numbers, positions, cell, pbc.
    #[allow(clippy::type_complexity)]
    fn last<'py>(&self, py: Python<'py>) -> PyResult<Option<(Vec<u32>, Bound<'py, PyAny>, [[f64; 3]; 3], [bool; 3])>> {
        let Some(last) = py.detach(|| self.with(|list| list.last.clone())) else { return Ok(None) };
        let positions = result(py, last.positions.as_flattened().to_vec(), &[last.positions.len(), 3])?;
        Ok(Some((last.numbers.iter().map(|&z| z.into()).collect(), positions, last.cell, last.pbc)))
    }

    /// Forgets the structure that was evaluated last.
    fn forget(&self, py: Python) {
        py.detach(|| self.with(|list| list.last = None));
    }
}

/// A structure as Python has it: numbers, positions, cell, pbc.
type Arrays<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>, Option<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>);

#[pymethods]
impl Plan {
    /// `device`: cpu, cuda, cuda:N, or cuda:FIRST-LAST for devices that share each structure; `precision`: f64, f32, f32-distances, of MACE
    /// models on CUDA devices f24-radial too; `radial`:
    /// auto, exact, table=TOLERANCE; `threads`: 0 for all of the machine, or as many as RAYON_NUM_THREADS says; `committee`: (n_members, length_basis), linear parameters, or a file of
    /// `acerust fit --committee`; `active_set`, for the grade: a file of `acerust fit --active-set`, or its bytes.
    #[new]
    #[pyo3(signature = (model, device="cpu", precision="f64", radial="auto", threads=0, committee=None, active_set=None))]
    fn new(
        py: Python,
        model: &Model,
        device: &str,
        precision: &str,
        radial: &str,
        threads: usize,
        committee: Option<&Bound<PyAny>>,
        active_set: Option<&Bound<PyAny>>,
    ) -> PyResult<Plan> {
        let at = device_of(device)?;
        let mode = match (radial, radial.strip_prefix("table=").map(str::parse)) {
            ("auto", _) => Options::new(),
            ("exact", _) => Options::new().radial(RadialMode::Exact),
            (_, Some(Ok(tolerance))) => Options::new().radial(RadialMode::Table { tolerance }),
            _ => return Err(argument(format!("radial {radial:?}: none of auto, exact, table=TOLERANCE"))),
        };
        let types: Precision = precision.parse().map_err(|e| argument(format!("precision {precision:?}: {e}")))?;
        let shared = py.detach(|| SharedPlan::new(&model.0, at, types, mode, threads)).map_err(raise)?;
        let plan = Plan { shared, words: (device.into(), precision.into(), radial.into(), threads), changes: 0.into() };
        if let Some(committee) = committee {
            plan.set_committee(py, committee)?;
        }
        plan.set_active_set(py, active_set)?;
        Ok(plan)
    }

    /// The model, with the current linear parameters.
    #[getter]
    fn model(&self, py: Python) -> Model {
        py.detach(|| Model(self.shared.with(|plan| plan.model().clone())))
    }

    /// The heads of a MACE model; none for others.
    #[getter]
    fn heads(&self, py: Python) -> Vec<String> {
        py.detach(|| self.shared.with(|plan| heads(plan.model())))
    }

    /// The cutoff that graphs need, Å; 0 where no part has neighbours.
    #[getter]
    fn rcut(&self, py: Python) -> f64 {
        py.detach(|| self.shared.with(plan::Plan::rcut))
    }

    #[getter]
    fn device(&self) -> &str {
        &self.words.0
    }

    #[getter]
    fn precision(&self) -> &str {
        &self.words.1
    }

    #[getter]
    fn radial(&self) -> &str {
        &self.words.2
    }

    #[getter]
    fn threads(&self) -> usize {
        self.words.3
    }

    /// The committee's linear parameters, (n_members, length_basis).
    #[getter]
    fn committee<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (members, n) = py.detach(|| self.shared.with(|plan| (plan.committee().to_vec(), plan.length_basis())));
        let shape = [members.len(), n];
        result(py, members.concat(), &shape)
    }

    /// How often parameters or committee have been set.
    #[getter]
    fn changes(&self) -> usize {
        self.changes.load(Ordering::Acquire)
    }

    /// Replaces the linear parameters, (length_basis).
    fn set_linear_parameters(&self, py: Python, parameters: &Bound<PyAny>) -> PyResult<()> {
        let parameters = numbers("parameters", parameters, &[None])?;
        py.detach(|| self.shared.set_linear_parameters(&parameters)).map_err(raise)?;
        self.changes.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Sets the committee, (n_members, length_basis) linear parameters or a file; no members remove it.
    fn set_committee(&self, py: Python, parameters: &Bound<PyAny>) -> PyResult<()> {
        if let Ok(path) = parameters.extract::<PathBuf>() {
            py.detach(|| self.shared.load_committee(path)).map_err(raise)?;
            self.changes.fetch_add(1, Ordering::Release);
            return Ok(());
        }
        let n = py.detach(|| self.shared.with(plan::Plan::length_basis));
        let parameters = numbers("committee", parameters, &[None, Some(n)])?;
        let members = parameters.len().checked_div(n).unwrap_or(0);
        py.detach(|| self.shared.set_committee(&parameters, members)).map_err(raise)?;
        self.changes.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// The active set that grades are relative to, as the bytes of its file.
    #[getter]
    fn active_set<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let bytes = py.detach(|| self.shared.with(|plan| plan.active_set().map(ActiveSet::to_bytes)));
        bytes.map(|bytes| PyBytes::new(py, &bytes))
    }

    /// Sets what grades are relative to: a file of `acerust fit --active-set`, or its bytes; None removes it.
    #[pyo3(signature = (active_set))]
    fn set_active_set(&self, py: Python, active_set: Option<&Bound<PyAny>>) -> PyResult<()> {
        let read = |set: &Bound<PyAny>| match set.extract::<PathBuf>() {
            Ok(path) => py.detach(|| ActiveSet::load(path)).map_err(raise),
            Err(_) => {
                let bytes: Vec<u8> =
                    set.extract().map_err(|_| argument("active_set: neither a file name nor bytes"))?;
                py.detach(|| ActiveSet::from_bytes(&bytes)).map_err(raise)
            }
        };
        let active = active_set.map(read).transpose()?;
        py.detach(|| self.shared.set_active_set(active)).map_err(raise)?;
        self.changes.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// An empty neighbour list on the device of this plan; skin in Å.
    #[pyo3(signature = (skin=0.5))]
    fn neighbours(&self, py: Python, skin: f64) -> PyResult<Neighbours> {
        let list = py.detach(|| self.shared.run(|plan| plan.neighbours(skin))).map_err(raise)?;
        Ok(Neighbours(Mutex::new(List { list, last: None })))
    }

    /// Evaluates a structure: a dictionary of the outputs by name.
    ///
    /// `numbers` (n_atoms), `positions` (n_atoms, 3) in Å, `cell` (3, 3), vectors as rows, `pbc` (3) or one for all. `outputs`: energy,
    /// site_energies, forces, virial, site_virials, committee_energies, committee_site_energies, committee_forces, committee_virials,
    /// grade, descriptors. `neighbours`: a list to keep from call to call. `conditions`, for MACE models: a dictionary of head,
    /// total_charge and total_spin, each of which may be absent.
    #[pyo3(signature = (numbers, positions, cell=None, pbc=None, outputs=None, neighbours=None, conditions=None))]
    fn evaluate<'py>(
        &self,
        py: Python<'py>,
        numbers: &Bound<'py, PyAny>,
        positions: &Bound<'py, PyAny>,
        cell: Option<&Bound<'py, PyAny>>,
        pbc: Option<&Bound<'py, PyAny>>,
        outputs: Option<Vec<PyBackedStr>>,
        neighbours: Option<&Neighbours>,
        conditions: Option<Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let structure = structure(numbers, positions, cell, pbc)?;
        let (names, conditions) = (names(outputs.as_deref()), conditions_of(conditions.as_ref())?);
        let results = py.detach(|| {
            self.shared.run(|plan| {
                under(plan, &conditions, |plan| match neighbours {
                    None => results(plan, Input::Structure(&structure), structure.n_atoms(), &names),
                    Some(neighbours) => neighbours.with(|list| {
                        list.last = None;
                        let out = results(plan, Input::List(&structure, &mut list.list), structure.n_atoms(), &names)?;
                        list.last = Some(structure);
                        Ok(out)
                    }),
                })
            })
        });
        dictionary(py, results?)
    }

    /// Evaluates a structure into arrays of any library that knows DLPack (float64, row-major), in the memory of the plan's device: a
    /// dictionary of energy and, where `out` has forces, virial.
    ///
    /// `out`: a dictionary of arrays to be written, by output. On a CUDA device `positions` is such an array, too, with a list, and
    /// `out` has forces or site_energies; nothing but energy and virial is copied. What is queued on the arrays is waited for, and
    /// results are there when the call returns.
    #[pyo3(signature = (numbers, positions, out, cell=None, pbc=None, neighbours=None, conditions=None))]
    fn evaluate_into<'py>(
        &self,
        py: Python<'py>,
        numbers: &Bound<'py, PyAny>,
        positions: &Bound<'py, PyAny>,
        out: &Bound<'py, PyDict>,
        cell: Option<&Bound<'py, PyAny>>,
        pbc: Option<&Bound<'py, PyAny>>,
        neighbours: Option<&Neighbours>,
        conditions: Option<Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        into::evaluate(self, py, (numbers, positions, cell, pbc), out, neighbours, conditions.as_ref())
    }

    /// As `evaluate` for many structures, each a tuple of numbers, positions, cell, pbc; `conditions`: one for each structure.
    #[pyo3(signature = (structures, outputs=None, conditions=None))]
    fn evaluate_batch<'py>(
        &self,
        py: Python<'py>,
        structures: Vec<Arrays<'py>>,
        outputs: Option<Vec<PyBackedStr>>,
        conditions: Option<Vec<Bound<'py, PyDict>>>,
    ) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let structures = all(&structures)?;
        let names = names(outputs.as_deref());
        let (n, under_each) = (structures.len(), conditions.iter().flatten());
        let under_each: PyResult<Vec<_>> =
            under_each.enumerate().map(|(k, c)| conditions_of(Some(c)).map_err(|e| at(k, e))).collect();
        let under_each = under_each?;
        if conditions.is_some() && under_each.len() != n {
            return Err(argument(format!("conditions: {} for {n} structures", under_each.len())));
        }
        let found: PyResult<Vec<Found>> = py.detach(|| {
            self.shared.run(|plan| {
                let room = |(k, s): (usize, &Structure)| room(plan, s.n_atoms(), &names).map_err(|e| at(k, e));
                let mut found = structures.iter().enumerate().map(room).collect::<PyResult<Vec<_>>>()?;
                let each = structures.iter().zip(&mut found).enumerate();
                let mut items = Vec::new();
                for (k, (structure, found)) in each {
                    let conditions = under_each.get(k).cloned().unwrap_or_default();
                    items.push(Item::new(structure, views(found)).at(conditions));
                }
                batch::evaluate(plan, &mut items).map_err(raise)?;
                Ok(found)
            })
        });
        found?.into_iter().map(|results| dictionary(py, results)).collect()
    }

    /// The design rows of a structure: E = energy · θ, F = forces · θ, V = virial · θ for linear parameters θ, one-body energies and repulsion left
    /// out: `energy` (length_basis), `forces` (3·n_atoms, length_basis), `virial` (9, length_basis).
    #[pyo3(signature = (numbers, positions, cell=None, pbc=None))]
    fn rows<'py>(
        &self,
        py: Python<'py>,
        numbers: &Bound<'py, PyAny>,
        positions: &Bound<'py, PyAny>,
        cell: Option<&Bound<'py, PyAny>>,
        pbc: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let structure = structure(numbers, positions, cell, pbc)?;
        let results = py.detach(|| {
            self.shared.run(|plan| {
                let graph: Graph = plan.graph(&structure)?;
                let (n, p) = (3 * structure.n_atoms(), plan.length_basis());
                let (mut energy, mut forces, mut virial) = (vec![0.0; p], vec![0.0; n * p], vec![0.0; 9 * p]);
                let mut rows = Rows::new()
                    .energy(&mut energy[..])
                    .forces(view::<2, numpy::ndarray::Ix2>(&mut forces, [n, p]))
                    .virial(view::<2, numpy::ndarray::Ix2>(&mut virial, [9, p]));
                plan.assemble(&graph, &structure.numbers, &mut rows)?;
                Ok(vec![("energy", vec![p], energy), ("forces", vec![n, p], forces), ("virial", vec![9, p], virial)])
            })
        });
        dictionary(py, results.map_err(raise)?)
    }

    fn __repr__(&self, py: Python) -> String {
        let (device, precision, radial, _) = &self.words;
        format!("acerust.Plan({}, {device}, {precision}, {radial})", self.model(py).0.spec().name)
    }

    fn __reduce__<'py>(slf: Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let (py, plan) = (slf.py(), slf.get());
        let (device, precision, radial, threads) = &plan.words;
        let arguments = (plan.model(py), device, precision, radial, *threads, plan.committee(py)?, plan.active_set(py));
        Ok((slf.get_type().into_any(), arguments.into_pyobject(py)?))
    }
}

/// Runs `f` with the plan under conditions.
pub fn under<T>(plan: &plan::Plan, conditions: &Conditions, f: impl FnOnce(&plan::Plan) -> PyResult<T>) -> PyResult<T> {
    match *conditions == Conditions::new() {
        true => f(plan),
        false => f(&plan.at(conditions).map_err(raise)?),
    }
}

/// Names of outputs, by default energy, forces and virial.
fn names(outputs: Option<&[PyBackedStr]>) -> Vec<String> {
    match outputs {
        None => ["energy", "forces", "virial"].map(String::from).into(),
        Some(outputs) => outputs.iter().map(|name| name.to_string()).collect(),
    }
}

/// The shape of an output.
pub fn shape(plan: &plan::Plan, name: &str, n: usize) -> PyResult<Vec<usize>> {
    let members = plan.committee().len();
    Ok(match name {
        "energy" => vec![],
        "site_energies" | "grade" => vec![n],
        "forces" => vec![n, 3],
        "virial" => vec![3, 3],
        "site_virials" => vec![n, 3, 3],
        "committee_energies" => vec![members],
        "committee_site_energies" => vec![members, n],
        "committee_forces" => vec![members, n, 3],
        "committee_virials" => vec![members, 3, 3],
        "descriptors" => vec![n, plan.n_descriptors()],
        _ => return Err(argument(format!("outputs: there is no {name:?}"))),
    })
}

/// Outputs: name, shape and numbers.
type Found = Vec<(String, Vec<usize>, Vec<f64>)>;

fn results(plan: &plan::Plan, input: Input, n: usize, names: &[String]) -> PyResult<Found> {
    let mut found = room(plan, n, names)?;
    plan.evaluate(input, &mut views(&mut found)).map_err(raise)?;
    Ok(found)
}

/// Room for the results of `n` atoms.
fn room(plan: &plan::Plan, n: usize, names: &[String]) -> PyResult<Found> {
    let one = |name: &String| {
        let shape = shape(plan, name, n)?;
        let length = shape.iter().product();
        Ok((name.clone(), shape, vec![0.0; length]))
    };
    names.iter().map(one).collect()
}

fn views(found: &mut Found) -> Outputs<'_> {
    let each = found.iter_mut();
    each.fold(Outputs::new(), |out, (name, shape, buffer)| view_of(out, name, shape, buffer))
}

/// With one more output.
pub fn view_of<'a>(out: Outputs<'a>, name: &str, shape: &[usize], buffer: &'a mut [f64]) -> Outputs<'a> {
    match (name, shape) {
        ("energy", _) => out.energy(&mut buffer[0]),
        ("site_energies", _) => out.site_energies(buffer),
        ("grade", _) => out.grade(buffer),
        ("committee_energies", _) => out.committee_energies(buffer),
        (name, &[a, b]) => {
            let view: ArrayViewMut2<f64> = view(buffer, [a, b]);
            match name {
                "forces" => out.forces(view),
                "virial" => out.virial(view),
                "descriptors" => out.descriptors(view),
                _ => out.committee_site_energies(view),
            }
        }
        (name, &[a, b, c]) => {
            let view: ArrayViewMut3<f64> = view(buffer, [a, b, c]);
            match name {
                "site_virials" => out.site_virials(view),
                "committee_forces" => out.committee_forces(view),
                _ => out.committee_virials(view),
            }
        }
        _ => out,
    }
}

/// A buffer of just that many numbers.
pub fn view<const N: usize, D: Dimension>(buffer: &mut [f64], shape: [usize; N]) -> ArrayViewMut<'_, f64, D>
where
    [usize; N]: IntoDimension<Dim = D>,
{
    ArrayViewMut::from_shape(shape, buffer).expect("as long as its shape")
}

pub fn dictionary<'py>(
    py: Python<'py>,
    found: impl IntoIterator<Item = (impl AsRef<str>, Vec<usize>, Vec<f64>)>,
) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    for (name, shape, numbers) in found {
        match shape[..] {
            [] => out.set_item(name.as_ref(), numbers[0])?,
            _ => out.set_item(name.as_ref(), result(py, numbers, &shape)?)?,
        }
    }
    Ok(out)
}

fn all(structures: &[Arrays]) -> PyResult<Vec<Structure>> {
    let each = structures.iter().enumerate();
    each.map(|(k, (n, x, cell, pbc))| structure(n, x, cell.as_ref(), pbc.as_ref()).map_err(|e| at(k, e))).collect()
}

/// The exception of structure `k` of many, with its number.
fn at(k: usize, error: PyErr) -> PyErr {
    Python::attach(|py| {
        let message = format!("structure {k}: {}", error.value(py));
        error.get_type(py).call1((message,)).map_or_else(|failure| failure, PyErr::from_value)
    })
}
