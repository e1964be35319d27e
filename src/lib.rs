//! ACERust: site models of the atomic cluster expansion at hardware speed.
pub mod capi;
mod cpu;
pub mod element;
pub mod error;
pub mod extxyz;
pub mod graph;
pub mod matrix;
pub mod model;
pub mod plan;
pub mod simd;
pub mod site;
pub mod stage;
pub mod structure;

pub use error::{Error, Result};
