//! MACE models among the others.

use super::{Model, ModelSpec, spec::FORMAT};
use crate::Result;
use crate::mace::Network;
use crate::mace::spec::MaceSpec;
use std::sync::Arc;

/// A MACE model: what its file holds, and the network made of it.
#[derive(Clone, Debug)]
pub struct Mace {
    spec: Arc<MaceSpec>,
    network: Arc<Network>,
}

impl PartialEq for Mace {
    fn eq(&self, other: &Mace) -> bool {
        self.spec == other.spec
    }
}

impl Mace {
    /// The plain data of the model.
    pub fn spec(&self) -> &MaceSpec {
        &self.spec
    }

    /// The model as mathematics.
    pub fn network(&self) -> &Arc<Network> {
        &self.network
    }
}

impl Model {
    /// A MACE model of this name.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn from_mace(spec: MaceSpec, name: &str) -> Result<Model> {
        let network = Network::new(&spec)?;
        let header = ModelSpec {
            format: FORMAT.into(),
            name: name.into(),
            source: String::new(),
            species: network.species.clone(),
            parts: Vec::new(),
        };
        Ok(Model { spec: header, mace: Some(Mace { spec: Arc::new(spec), network: Arc::new(network) }) })
    }

    /// What the model is, if it is a MACE model: it has no parts then.
    pub fn mace(&self) -> Option<&Mace> {
        self.mace.as_ref()
    }
}
