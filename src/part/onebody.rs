//! `E_i = E0[z_i]`.

use super::Kind;
use super::check::{At as _, vector};
#[cfg(feature = "cuda")]
use super::{At, PartKernels};
use crate::part::cpu::SitePart;
use crate::simd::Lanes;
use crate::stage::table::RadialMode;
use serde::{Deserialize, Serialize};

/// `E_i = E0[z_i]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneBodySpec {
    /// (n_species), eV.
    #[serde(rename = "E0")]
    pub e0: Vec<f64>,
}

impl Kind for OneBodySpec {
    fn constants(&self) -> &[f64] {
        &self.e0
    }

    fn check(&self, n_species: usize) -> Result<(), String> {
        vector(&self.e0, n_species).at(|| "E0".into())
    }

    fn memory(&self) -> usize {
        size_of_val(&self.e0[..])
    }

    fn compile<V: Lanes>(&self, _: &[u8], _: RadialMode) -> Option<Box<dyn SitePart<V>>> {
        None
    }

    #[cfg(feature = "cuda")]
    fn compile_cuda(&self, _: &At) -> Result<Option<PartKernels>, String> {
        Ok(None)
    }
}
