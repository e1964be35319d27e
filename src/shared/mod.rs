//! What bindings to other languages hand out: plans, graphs and trainings that several threads of a caller share, each with
//! the threads that it runs on. Bindings differ only in how they take arguments and give results.
//!
//! Buffers are flat, as callers have them; `None` is a result that is not wanted.

mod graph;
mod list;
mod outputs;
mod plan;
mod sites;
mod threads;
mod training;

pub use crate::potential::Buffers;
pub use graph::{Edges, SharedGraph, atomic_numbers};
pub use list::{Addresses, SharedList};
pub use outputs::{Taken, check, matrix};
pub use plan::SharedPlan;
pub use sites::Sites;
pub use threads::Threads;
pub use training::{SharedEvaluation, SharedTraining, adapt};
