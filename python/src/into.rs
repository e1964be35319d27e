//! Evaluations into arrays of other libraries, by DLPack.

use crate::arguments::conditions_of;
use crate::arrays::{frame, structure};
use crate::dlpack::{Kind, Place, Tensor, Tensors};
use crate::errors::{argument, raise};
use crate::plan::{Neighbours, Plan, dictionary, shape, under, view, view_of};
use acerust::plan::{Input, OnDevice, Outputs};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Numbers, positions, cell, pbc.
type Arrays<'a, 'py> =
    (&'a Bound<'py, PyAny>, &'a Bound<'py, PyAny>, Option<&'a Bound<'py, PyAny>>, Option<&'a Bound<'py, PyAny>>);

/// As [`Plan::evaluate_into`].
pub fn evaluate<'py>(
    plan: &Plan,
    py: Python<'py>,
    (numbers, positions, cell, pbc): Arrays<'_, 'py>,
    out: &Bound<'py, PyDict>,
    neighbours: Option<&Neighbours>,
    conditions: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyDict>> {
    let conditions = conditions_of(conditions)?;
    let place = match plan.words.0.strip_prefix("cuda") {
        None => Place::Cpu,
        Some(index) => Place::Cuda(index.trim_start_matches(':').parse().unwrap_or(0)),
    };
    let mut tensors = Tensors::default();
    let mut wanted = Vec::new();
    for (name, array) in out {
        let name: String = name.extract()?;
        if name == "energy" || name == "virial" {
            return Err(argument(format!("out: {name} is returned")));
        }
        let tensor = tensors.write(&name, &array)?;
        tensor.expect(Kind::F64, place)?;
        wanted.push((name, tensor));
    }
    let at = match place {
        Place::Cpu => None,
        Place::Cuda(_) => Some(tensors.read("positions", positions)?),
    };
    at.as_ref().map(|at| at.expect(Kind::F64, place)).transpose()?;
    tensors.disjoint()?;
    let structure = match &at {
        None => structure(numbers, positions, cell, pbc)?,
        Some(_) => frame(numbers, cell, pbc)?,
    };
    let n = structure.numbers.len();
    let shapes = py.detach(|| {
        plan.shared.with(|plan| wanted.iter().map(|(name, _)| shape(plan, name, n)).collect::<PyResult<Vec<_>>>())
    })?;
    let expected = wanted.iter().map(|(_, tensor)| tensor).zip(shapes);
    for (tensor, shape) in expected.chain(at.iter().map(|at| (at, vec![n, 3]))) {
        if tensor.shape != shape {
            let (name, found) = (&tensor.name, &tensor.shape);
            return Err(argument(format!("{name}: expected the shape {shape:?}, got {found:?}")));
        }
    }
    let gradients = wanted.iter().any(|(name, _)| name == "forces");
    let (mut energy, mut virial) = (0.0, vec![0.0; 9]);
    let done = py.detach(|| {
        plan.shared.run(|plan| {
            under(plan, &conditions, |plan| {
                let mut outputs = Outputs::new().energy(&mut energy);
                if gradients {
                    outputs = outputs.virial(view::<2, numpy::ndarray::Ix2>(&mut virial, [3, 3]));
                }
                let evaluated = match (&at, neighbours) {
                    (None, _) => {
                        for (name, tensor) in &wanted {
                            // SAFETY: of that type and shape, on the processor, apart from all others; who calls leaves
                            // them alone in the meantime.
                            outputs = view_of(outputs, name, &tensor.shape, unsafe { tensor.slice_mut() });
                        }
                        match neighbours {
                            None => plan.evaluate(Input::Structure(&structure), &mut outputs),
                            Some(neighbours) => neighbours.with(|list| {
                                list.last = None;
                                plan.evaluate(Input::List(&structure, &mut list.list), &mut outputs)
                            }),
                        }
                    }
                    (Some(_), None) => return Err(argument("neighbours: positions on a device come with a list")),
                    (Some(positions), Some(neighbours)) => neighbours.with(|list| {
                        list.last = None;
                        let address = |wanted: &[(String, Tensor)], what: &str| {
                            wanted.iter().find(|(name, _)| name == what).map(|(_, tensor)| tensor.address)
                        };
                        if let Some((name, _)) =
                            wanted.iter().find(|(name, _)| name != "forces" && name != "site_energies")
                        {
                            let message = format!("{name}: not on a device; forces and site_energies are");
                            return Err(acerust::Error::Argument(message));
                        }
                        let at = OnDevice {
                            numbers: &structure.numbers,
                            cell: structure.cell,
                            pbc: structure.pbc,
                            positions: positions.address,
                            site_energies: address(&wanted, "site_energies"),
                            forces: address(&wanted, "forces"),
                            stream: 0,
                        };
                        // SAFETY: of these types and shapes, in the memory of the device; `tensors` holds them.
                        plan.evaluate(unsafe { Input::on_device(at, &mut list.list) }, &mut outputs)
                    }),
                };
                evaluated.map_err(raise)
            })
        })
    });
    done?;
    let mut found = vec![("energy", vec![], vec![energy])];
    found.extend(gradients.then_some(("virial", vec![3, 3], virial)));
    dictionary(py, found)
}
