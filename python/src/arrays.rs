//! What Python calls arrays, and structures made of them.

use crate::errors::{argument, raise};
use acerust::shared::atomic_numbers;
use acerust::structure::Structure;
use numpy::{Element, PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::intern;
use pyo3::prelude::*;

/// An array of `T`, the object itself where it is one; else what NumPy makes of it.
fn array<'py, T: Element>(name: &str, object: &Bound<'py, PyAny>, kinds: &str) -> PyResult<PyReadonlyArrayDyn<'py, T>> {
    if let Ok(array) = object.cast::<PyArrayDyn<T>>() {
        return Ok(array.readonly());
    }
    let py = object.py();
    let made = PyModule::import(py, "numpy")?.call_method1(intern!(py, "asarray"), (object,))?;
    let kind: char = made.getattr(intern!(py, "dtype"))?.getattr(intern!(py, "kind"))?.extract()?;
    let empty: usize = made.getattr(intern!(py, "size"))?.extract()?;
    if !kinds.contains(kind) && empty != 0 {
        return Err(argument(format!("{name}: an array of kind {kind:?}, not one of {kinds:?}")));
    }
    let made = made.call_method1(intern!(py, "astype"), (T::get_dtype(py),))?;
    Ok(made.cast::<PyArrayDyn<T>>().map_err(PyErr::from)?.readonly())
}

/// All entries of an array of this shape, where `None` is any number.
fn entries<T: Element + Copy>(
    name: &str,
    object: &Bound<PyAny>,
    kinds: &str,
    shape: &[Option<usize>],
    mut each: impl FnMut(&[T]),
) -> PyResult<()> {
    let array = array::<T>(name, object, kinds)?;
    let found = array.shape();
    let fits = found.len() == shape.len() && found.iter().zip(shape).all(|(n, s)| s.is_none_or(|s| s == *n));
    let nothing = array.len() == 0 && shape.first() == Some(&None);
    if !(fits || nothing) {
        let shape: Vec<_> = shape.iter().map(|s| s.map_or("n".into(), |s| s.to_string())).collect();
        return Err(argument(format!("{name}: expected the shape ({}), got {found:?}", shape.join(", "))));
    }
    // Row after row: a slice of the array itself may be one of columns.
    let rows = array.as_array();
    match rows.as_slice() {
        Some(slice) => each(slice),
        None => each(&rows.iter().copied().collect::<Vec<_>>()),
    }
    Ok(())
}

/// A structure of Python's arrays: copied, so that nobody changes it while the interpreter is free.
pub fn structure(
    numbers: &Bound<PyAny>,
    positions: &Bound<PyAny>,
    cell: Option<&Bound<PyAny>>,
    pbc: Option<&Bound<PyAny>>,
) -> PyResult<Structure> {
    let mut structure = frame(numbers, cell, pbc)?;
    entries("positions", positions, "fiu", &[None, Some(3)], |x: &[f64]| {
        structure.positions.extend_from_slice(x.as_chunks().0);
    })?;
    if structure.positions.len() != structure.numbers.len() {
        let (n, m) = (structure.positions.len(), structure.numbers.len());
        return Err(argument(format!("{n} positions for {m} atomic numbers")));
    }
    Ok(structure)
}

/// The same without positions.
pub fn frame(numbers: &Bound<PyAny>, cell: Option<&Bound<PyAny>>, pbc: Option<&Bound<PyAny>>) -> PyResult<Structure> {
    let mut structure = Structure::default();
    let mut z = Vec::new();
    entries("numbers", numbers, "iu", &[None], |n: &[i64]| z.extend(n.iter().map(|&n| i32::try_from(n).unwrap_or(0))))?;
    atomic_numbers(&mut structure.numbers, &z).map_err(raise)?;
    if let Some(cell) = cell {
        entries("cell", cell, "fiu", &[Some(3), Some(3)], |x: &[f64]| structure.cell.copy_from_slice(x.as_chunks().0))?;
    }
    if let Some(pbc) = pbc {
        match pbc.extract::<bool>() {
            Ok(all) => structure.pbc = [all; 3],
            Err(_) => entries("pbc", pbc, "biu", &[Some(3)], |x: &[bool]| structure.pbc.copy_from_slice(x))?,
        }
    }
    Ok(structure)
}

/// Numbers of a vector or matrix, row after row.
pub fn numbers(name: &str, object: &Bound<PyAny>, shape: &[Option<usize>]) -> PyResult<Vec<f64>> {
    let mut out = Vec::new();
    entries(name, object, "fiu", shape, |x: &[f64]| out.extend_from_slice(x))?;
    Ok(out)
}

/// A result as an array of this shape, not copied.
pub fn result<'py>(py: Python<'py>, numbers: Vec<f64>, shape: &[usize]) -> PyResult<Bound<'py, PyAny>> {
    let array = PyArray1::from_vec(py, numbers);
    match shape {
        [_] => Ok(array.into_any()),
        _ => array.call_method1(intern!(py, "reshape"), (shape,)),
    }
}
