//! The model file.
pub mod spec;
