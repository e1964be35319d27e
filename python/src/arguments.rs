//! Devices and conditions as Python names them.

use crate::errors::argument;
use acerust::plan::{Conditions, Device};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyDict;

/// The device of this name.
pub fn device_of(name: &str) -> PyResult<Device> {
    name.parse().map_err(|e| argument(format!("device {name:?}: {e}")))
}

/// Heads, charges and spins by the keys of extended XYZ.
pub fn conditions_of(dictionary: Option<&Bound<PyDict>>) -> PyResult<Conditions> {
    let mut conditions = Conditions::new();
    for (key, value) in dictionary.into_iter().flatten() {
        let key: PyBackedStr = key.extract()?;
        let whole = || {
            // A real that is whole is as good, as in extended XYZ.
            let real = || value.extract().ok().filter(|x: &f64| x.fract() == 0.0 && x.abs() < 1e9).map(|x| x as i64);
            let no = || argument(format!("conditions: {key} is no whole number"));
            value.extract().ok().or_else(real).ok_or_else(no)
        };
        match &key[..] {
            "head" => conditions.head = Some(value.extract().map_err(|_| argument("conditions: head is no text"))?),
            "total_charge" => conditions.total_charge = Some(whole()?),
            "total_spin" => conditions.total_spin = Some(whole()?),
            _ => return Err(argument(format!("conditions: {key:?}: none of head, total_charge, total_spin"))),
        }
    }
    Ok(conditions)
}
