//! What bindings to other languages hand out: plans and graphs that several threads of a caller share, each with the
//! threads that it runs on. The C ABI and the Julia binding differ only in how they take arguments and give results.
//!
//! Buffers are flat, as callers have them; `None` is a result that is not wanted.

mod graph;
mod list;
mod outputs;
mod plan;
mod sites;
mod threads;

pub use crate::potential::Buffers;
pub use graph::{Edges, SharedGraph, atomic_numbers};
pub use list::{Addresses, SharedList};
pub use outputs::{Taken, check, matrix};
pub use plan::SharedPlan;
pub use sites::Sites;
pub use threads::Threads;
