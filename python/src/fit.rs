//! From ASE's atoms with reference data to a model.

use crate::arguments::device_of;
use crate::arrays::{numbers, result, structure};
use crate::errors::{argument, raise};
use crate::model::Model;
use acerust::extxyz::{Column, Data, Frame, Value};
use acerust::fit::{Assembler, Factors, Fitted, Settings, active_set, solve};
use acerust::plan::Device;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

/// Fits the model of a recipe (docs/fit.md; TOML or JSON) to energies, forces and stresses of ASE's atoms: those of their
/// calculators, or what `info` and `arrays` hold under the names in the recipe's section `fit`. `device`: cpu, cuda, cuda:N; there design
/// rows are computed, and factorised.
///
/// Returns a dictionary: `model`; `committee` (members, length_basis); `active_set`, bytes where it is asked for; `errors` by group,
/// root-mean-square of energy (eV an atom), force (eV/Å) and virial (eV by the square root of the number of atoms), None without data;
/// `skipped`, how many frames were not used by reason; `rows`, how many there were.
#[pyfunction]
#[pyo3(signature = (recipe, images, active_set=false, device="cpu"))]
pub fn fit<'py>(
    py: Python<'py>,
    recipe: &str,
    images: Vec<Bound<'py, PyAny>>,
    active_set: bool,
    device: &str,
) -> PyResult<Bound<'py, PyDict>> {
    let (device, each) = (device_of(device)?, images.iter().enumerate());
    let frames: PyResult<Vec<Frame>> =
        each.map(|(k, atoms)| frame(atoms).map_err(|e| argument(format!("image {k}: {e}")))).collect();
    let frames = frames?;
    let (fitted, active, skipped) = py.detach(|| run(recipe, frames, active_set, device)).map_err(raise)?;
    let out = PyDict::new(py);
    let shape = [fitted.committee.len(), fitted.model.length_basis()];
    out.set_item("committee", result(py, fitted.committee.concat(), &shape)?)?;
    out.set_item("model", Model(fitted.model))?;
    out.set_item("active_set", active.map(|bytes| PyBytes::new(py, &bytes)))?;
    let errors = PyDict::new(py);
    for (group, e) in fitted.errors {
        let of = PyDict::new(py);
        for (name, error) in [("energy", e.energy), ("force", e.force), ("virial", e.virial)] {
            of.set_item(name, error)?;
        }
        errors.set_item(group, of)?;
    }
    out.set_item("errors", errors)?;
    out.set_item("skipped", skipped)?;
    out.set_item("rows", fitted.rows)?;
    Ok(out)
}

/// What was fitted, the bytes of the active set, and how many frames were not used by reason.
type Done = (Fitted, Option<Vec<u8>>, std::collections::BTreeMap<String, u64>);

fn run(recipe: &str, frames: Vec<Frame>, active: bool, device: Device) -> acerust::Result<Done> {
    let (settings, model) = Settings::with_model(recipe)?;
    let active = active.then(|| active_set(&model, &settings, frames.iter().cloned().map(Ok)));
    let mut assembler = Assembler::on(device, Factors::new(&model), &settings)?;
    frames.into_iter().try_for_each(|frame| assembler.push(frame))?;
    let factors = assembler.finish()?;
    let fitted = solve(&factors, &settings)?;
    let skipped = factors.remarks.skipped.into_iter().map(|(reason, (count, _))| (reason, count)).collect();
    Ok((fitted, active.transpose()?.map(|set| set.to_bytes()), skipped))
}

/// Atoms with all that they carry.
fn frame(atoms: &Bound<PyAny>) -> PyResult<Frame> {
    let py = atoms.py();
    let get = |name: &str| atoms.getattr(name);
    let (cell, pbc) = (get("cell")?.getattr(intern!(py, "array"))?, get("pbc")?);
    let mut frame = Frame::from(structure(&get("numbers")?, &get("positions")?, Some(&cell), Some(&pbc))?);
    let n = frame.structure.n_atoms();
    for (name, value) in get("info")?.cast::<PyDict>()? {
        if let (Ok(name), Some(value)) = (name.extract::<String>(), plain(&value)) {
            frame.info.insert(name, value);
        }
    }
    for (name, value) in get("arrays")?.cast::<PyDict>()? {
        if let (Ok(name), Ok(x)) = (name.extract::<String>(), numbers("array", &value, &[Some(n), Some(3)])) {
            frame.arrays.insert(name, Column { width: 3, data: Data::Real(x) });
        }
    }
    let calc = get("calc")?;
    if calc.is_none() {
        return Ok(frame);
    }
    let results = calc.getattr(intern!(py, "results"))?;
    let result = |name: &str| results.call_method1(intern!(py, "get"), (name,)).map(|x| (!x.is_none()).then_some(x));
    frame.energy = result("energy")?.map(|e| e.extract()).transpose()?;
    if let Some(forces) = result("forces")? {
        frame.forces = Some(numbers("forces", &forces, &[Some(n), Some(3)])?.as_chunks().0.to_vec());
    }
    if let Some(stress) = result("stress")? {
        // ASE's order.
        let s = numbers("stress", &stress, &[Some(6)])?;
        let volume = frame.structure.volume();
        let matrix = [[s[0], s[5], s[4]], [s[5], s[1], s[3]], [s[4], s[3], s[2]]];
        frame.virial = Some(matrix.map(|row| row.map(|x| -x * volume)));
    }
    Ok(frame)
}

/// A text, a number, or arrays of them; `None` for anything else.
fn plain(value: &Bound<PyAny>) -> Option<Value> {
    if let Ok(text) = value.extract::<String>() {
        return Some(Value::Text(text));
    }
    if let Ok(i) = value.extract::<i64>() {
        return Some(Value::Int(i));
    }
    if let Ok(x) = value.extract::<f64>() {
        return Some(Value::Real(x));
    }
    let items: Vec<Bound<PyAny>> = value.extract().ok()?;
    // Larger ones are none of our names.
    (items.len() <= 9).then(|| items.iter().map(plain).collect::<Option<_>>().map(Value::Array))?
}
