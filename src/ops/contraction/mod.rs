//! The symmetric contraction: products of up to ν copies of one argument, coupled to the output irreps, with weights by species.
//!
//! `B_i[c, M] = Σ_ν Σ_k W[z_i, k, c] Σ_{q1…qν} U^ν[M, q1…qν, k] Π_s A_i[c, q_s]`. Channels never mix. Only what is symmetric in
//! `q1…qν` acts: the tensors `U` become coefficients of monomials once, and the weights of a species the numbers of a polynomial in `A`.

pub mod basis;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod kernel;
mod program;
mod projection;

use super::coupling::Convention;
use super::irreps::{Irrep, Irreps};
use super::kernel::{Extent, IndexPort, Kernel, Port, Ports};
use crate::simd::Value;
use crate::{Error, Result};
use basis::Couplings;
use kernel::ContractionKernel;
pub use program::{Program, Run};
use serde::{Deserialize, Serialize};

/// `x`, weights `w` (species, paths × channels), the index `species`. In `mul_ir`, `x` is (channels, components of all irreps).
///
/// Paths follow each other by output irrep, inside by order ν from the highest to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contraction {
    /// All of one multiplicity, the number of channels.
    pub irreps_in: Irreps,
    pub irreps_out: Irreps,
    /// The highest order, 1 to 4.
    pub correlation: usize,
    pub species: usize,
    /// Where the tensors `U` come from.
    #[serde(default)]
    pub basis: Basis,
    /// Weights in another basis: with `w' = w P` those of cuEquivariance from those of `basis`. (paths, paths').
    #[serde(default)]
    pub projection: Option<Vec<Vec<f64>>>,
}

/// Where the tensors `U` come from.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Chains of couplings, as e3nn and the training program of MACE have them: computed.
    #[default]
    E3nn,
    /// Given, such as those of a reduced basis: for every output irrep those of order 1, 2, ….
    Couplings(Vec<Vec<Tensor>>),
}

/// A tensor `U`: (2L + 1, d, …, d, paths), as its non-zero numbers; the first axis is there for L = 0 as well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tensor {
    pub paths: usize,
    /// Flat, row-major.
    pub index: Vec<u64>,
    pub value: Vec<f64>,
}

/// The most components of an argument, orders, and numbers of a coupling tensor.
const MAX_COMPONENTS: usize = 256;
const MAX_CORRELATION: usize = 4;

impl Contraction {
    /// Channels and irreps of one channel.
    fn one_channel(&self, what: &str, irreps: &Irreps, channels: Option<usize>) -> Result<(usize, Vec<Irrep>)> {
        let channels = channels.or(irreps.blocks().first().map(|b| b.mul)).unwrap_or(0);
        match irreps.blocks().iter().find(|b| b.mul != channels) {
            Some(b) => Err(Error::Argument(format!("{what}: {} copies of {}, expected {channels}", b.mul, b.irrep))),
            None => Ok((channels, irreps.blocks().iter().map(|b| b.irrep).collect())),
        }
    }

    /// The tensors `U` as monomials.
    fn couplings(&self, convention: Convention) -> Result<(usize, Couplings)> {
        if !(1..=MAX_CORRELATION).contains(&self.correlation) {
            return Err(Error::Argument(format!("correlation: {}, expected 1 to {MAX_CORRELATION}", self.correlation)));
        }
        let (channels, inputs) = self.one_channel("irreps_in", &self.irreps_in, None)?;
        let (_, outputs) = self.one_channel("irreps_out", &self.irreps_out, Some(channels))?;
        let d: usize = inputs.iter().map(|i| i.dim()).sum();
        if d > MAX_COMPONENTS {
            return Err(Error::Argument(format!("irreps_in: {d} components, expected at most {MAX_COMPONENTS}")));
        }
        let couplings = match &self.basis {
            Basis::E3nn => basis::chains(&inputs, &outputs, self.correlation, convention)?,
            Basis::Couplings(tensors) => basis::given(d, &outputs, self.correlation, tensors)?,
        };
        let couplings = match &self.projection {
            Some(p) => projection::project(couplings, p)?,
            None => couplings,
        };
        Ok((channels, couplings))
    }

    /// The polynomial, as plain data.
    ///
    /// # Errors
    /// If the operation cannot be.
    pub fn program(&self, convention: Convention) -> Result<Program> {
        Ok(Program::new(&self.couplings(convention)?.1))
    }

    pub(crate) fn ports(&self, convention: Convention) -> Result<Ports> {
        let (channels, couplings) = self.couplings(convention)?;
        let width = couplings.n_paths * channels;
        if width.checked_mul(self.species).is_none_or(|n| n > 1 << 32) {
            return Err(Error::Argument(format!("species: {} are too many", self.species)));
        }
        let mut x = Port::of_irreps("x", Extent::Rows, &self.irreps_in);
        x.blocks = vec![[couplings.d, channels]];
        Ok(Ports {
            inputs: vec![x, Port::new("w", Extent::Fixed(self.species), width)],
            indices: vec![IndexPort { name: "species", bound: Some(self.species) }],
            output: Port::of_irreps("out", Extent::Rows, &self.irreps_out),
        })
    }

    pub(crate) fn kernel<V: Value<Plain = V>>(&self, convention: Convention) -> Result<Box<dyn Kernel<V::Real>>> {
        let (channels, couplings) = self.couplings(convention)?;
        Ok(Box::new(ContractionKernel::<V>::new(&Program::new(&couplings), channels, self.species)))
    }
}
