//! `E_i = Σ_b W[z_i, b] Σ_k C[b, k] Π_{v ∈ AA_k} A_v`.

mod check;
mod cpu;
pub(super) mod embedded;
mod flops;
mod pooling;
pub(crate) mod program;
mod spec;

pub use spec::{AceSpec, AngularSpec, EmbeddingSpec, SparseSpec};

use super::Kind;
#[cfg(feature = "cuda")]
use super::{At, PartKernels};
use crate::part::cpu::SitePart;
use crate::simd::Lanes;
use crate::stage::table::RadialMode;

impl Kind for AceSpec {
    fn rcut(&self) -> f64 {
        self.rcut
    }

    fn weights(&self) -> &[Vec<f64>] {
        if self.is_linear() { &self.weights } else { &[] }
    }

    fn weights_mut(&mut self) -> &mut [Vec<f64>] {
        if self.is_linear() { &mut self.weights } else { &mut [] }
    }

    fn is_linear(&self) -> bool {
        self.embedding.is_none()
    }

    /// The factors of each product in ascending order.
    fn normalise(&mut self) {
        self.aa.iter_mut().for_each(|factors| factors.sort_unstable());
    }

    fn check(&self, n_species: usize) -> Result<(), String> {
        check::ace(self, n_species)
    }

    fn describe(&self) -> String {
        format!(
            ": cutoff {} Å, {}, {} harmonics, lmax {}, order {}, n_R {} of {}, n_A {}, n_AA {}, n_B {}",
            self.rcut,
            self.radial.functions,
            self.angular.kind,
            self.angular.lmax,
            self.order(),
            self.n_radial_used(),
            self.radial.spec.len(),
            self.a.len(),
            self.aa.len(),
            self.c.shape[0]
        )
    }

    fn memory(&self) -> usize {
        let factors: usize = self.aa.iter().map(Vec::len).sum();
        let couplings = self.c.vals.len() * (2 * size_of::<u32>() + size_of::<f64>());
        let weights: usize = self.weights.iter().map(Vec::len).sum();
        let numbers = self.radial.functions.n_numbers() + weights;
        size_of_val(&self.a[..]) + factors * size_of::<u32>() + couplings + numbers * size_of::<f64>()
    }

    fn flops(&self) -> (usize, usize) {
        flops::many_body(self)
    }

    fn compile<V: Lanes>(&self, species: &[u8], mode: RadialMode) -> Option<Box<dyn SitePart<V>>> {
        Some(Box::new(cpu::Ace::new(species, self, mode)))
    }

    #[cfg(feature = "cuda")]
    fn compile_cuda(&self, at: &At) -> Result<Option<PartKernels>, String> {
        Ok(Some(PartKernels::ace(self, at)))
    }
}
