//! Errors of the library as exceptions of `acerust.errors`.

use acerust::Error;
use pyo3::prelude::*;

/// The exception of an error.
pub fn raise(error: Error) -> PyErr {
    let name = match error {
        Error::Io { .. } => "IoError",
        Error::Model(_) => "ModelError",
        Error::Structure(_) => "StructureError",
        Error::Graph(_) => "GraphError",
        Error::Argument(_) => "ArgumentError",
        Error::Device(_) => "DeviceError",
        Error::Memory(_) => "MemoryError",
        Error::NotFinite(_) => "NotFiniteError",
        Error::Recipe(_) => "RecipeError",
        Error::Fit(_) => "FitError",
        _ => "Error",
    };
    Python::attach(|py| {
        let make = || PyModule::import(py, "acerust.errors")?.getattr(name)?.call1((error.to_string(),));
        make().map_or_else(|failure| failure, PyErr::from_value)
    })
}

/// An error of an argument.
pub fn argument(message: impl Into<String>) -> PyErr {
    raise(Error::Argument(message.into()))
}
