//! The Python binding of ACERust by PyO3, a sibling of the C ABI. The package `acerust` wraps it.
//!
//! Arrays are NumPy's. What goes in is copied while the interpreter is held, so that nobody changes it while it is free; what
//! comes out is not. Arrays of other libraries, by DLPack, are used where they are. Everything that takes time or waits lets other Python threads run. Failures become the exceptions of
//! `acerust.errors`.

// Functions have the arguments that Python's have.
#![allow(clippy::too_many_arguments)]

mod arguments;
mod arrays;
mod dlpack;
mod errors;
mod fit;
mod into;
mod model;
mod ops;
mod plan;
mod train;

#[pyo3::pymodule]
mod _acerust {
    #[pymodule_export]
    use crate::fit::fit;
    #[pymodule_export]
    use crate::model::Model;
    #[pymodule_export]
    use crate::ops::{Operation, irreps};
    #[pymodule_export]
    use crate::plan::{Neighbours, Plan};
    #[pymodule_export]
    use crate::train::{Evaluation, LossScale, Training};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
