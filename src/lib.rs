//! ACERust: site models of the atomic cluster expansion at hardware speed.
pub mod element;
pub mod error;
pub mod extxyz;
pub mod graph;
pub mod model;
pub mod simd;
pub mod stage;
pub mod structure;

pub use error::{Error, Result};
