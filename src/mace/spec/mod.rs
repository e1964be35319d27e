//! A MACE model as plain data: the configuration and the tensors by name, as a file has them.

mod config;
mod neutral;
mod safetensors;
mod tensor;

pub use config::*;
use std::collections::BTreeMap;
pub use tensor::{Tensor, Type, Values};

/// What a MACE file holds. Nothing is checked here but that it can be read; [`super::Network::new`] checks the rest.
#[derive(Clone, Debug, PartialEq)]
pub struct MaceSpec {
    pub config: Config,
    /// Parameters and constants by the names that the training program gives them.
    pub tensors: BTreeMap<String, Tensor>,
}

impl MaceSpec {
    /// The memory of all tensors, bytes.
    pub fn bytes(&self) -> usize {
        let bytes = |t: &Tensor| match &t.values {
            Values::Dense(x) => size_of_val(&x[..]),
            Values::Sparse(k, x) => size_of_val(&k[..]) + size_of_val(&x[..]),
        };
        self.tensors.values().map(bytes).sum()
    }
}
