//! The model as it stands in the file: plain data, nothing derived.

pub use crate::part::{AceSpec, AngularSpec, EmbeddingSpec, OneBodySpec, PairSpec, PartSpec, SparseSpec, ZblSpec};
pub use crate::stage::spec::*;
use serde::{Deserialize, Serialize};

/// The version of the model file that this library writes.
pub const FORMAT: &str = "acerust-model/1";

/// A stack of site models over one list of species.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    pub format: String,
    pub name: String,
    /// Where the numbers come from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Atomic numbers; their order is the species index everywhere.
    pub species: Vec<u8>,
    pub parts: Vec<PartSpec>,
}
