//! `E_i = Σ_n W[z_i, n] Σ_j R_n(r_ij; z_i, z_j)`.

mod cpu;

use super::check::{At as _, cutoff, weights};
#[cfg(feature = "cuda")]
use super::{At, PartKernels};
use super::{Kind, radial};
use crate::part::cpu::SitePart;
use crate::simd::Lanes;
use crate::stage::spec::RadialSpec;
use crate::stage::table::RadialMode;
use serde::{Deserialize, Serialize};

/// `E_i = Σ_n W[z_i, n] Σ_j R_n(r_ij; z_i, z_j)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairSpec {
    /// Å.
    pub rcut: f64,
    pub radial: RadialSpec,
    /// Readout weights, (n_species, n_B), eV.
    pub weights: Vec<Vec<f64>>,
}

impl Kind for PairSpec {
    fn rcut(&self) -> f64 {
        self.rcut
    }

    fn weights(&self) -> &[Vec<f64>] {
        &self.weights
    }

    fn weights_mut(&mut self) -> &mut [Vec<f64>] {
        &mut self.weights
    }

    fn check(&self, n_species: usize) -> Result<(), String> {
        cutoff(self.rcut).at(|| "rcut: ".into())?;
        let n_basis = weights(&self.weights, n_species)?;
        if !self.radial.spec.is_empty() {
            return Err("radial.spec: a pair part has none".into());
        }
        radial::check(&self.radial, n_species, n_basis, self.rcut).at(|| "radial.".into())
    }

    fn describe(&self) -> String {
        let n_basis = self.weights.first().map_or(0, Vec::len);
        format!(": cutoff {} Å, {}, n_B {n_basis}", self.rcut, self.radial.functions)
    }

    fn memory(&self) -> usize {
        let weights: usize = self.weights.iter().map(Vec::len).sum();
        (self.radial.functions.n_numbers() + weights) * size_of::<f64>()
    }

    fn flops(&self) -> (usize, usize) {
        (10, 0)
    }

    fn compile<V: Lanes>(&self, species: &[u8], mode: RadialMode) -> Option<Box<dyn SitePart<V>>> {
        Some(Box::new(cpu::Pair::new(species.len(), self, mode)))
    }

    #[cfg(feature = "cuda")]
    fn compile_cuda(&self, at: &At) -> Result<Option<PartKernels>, String> {
        Ok(Some(PartKernels::pair(self, at)))
    }
}
