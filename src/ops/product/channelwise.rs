//! The channelwise product (`uvu`): channels of the first argument, times single irreps of the second one, times weights.
//!
//! `out_p[u, c] = w[p, u] Σ_ab C[a, b, c] x[u, a] y[b]` for every path p: a block of `x`, a block of `y`, an irrep of their product
//! that is among the targets. The results are sorted by irrep and not merged; the weights follow them. As a convolution,
//! `out_i = Σ_{e: j → i}` of this with `x_j`: gather, product and scatter at once.

use super::channelwise_kernel::ChannelwiseProduct;
use super::convolution::{Convolution, ends};
use super::paths::{self, Path};
use crate::ops::coupling::Convention;
use crate::ops::irreps::Irreps;
use crate::ops::kernel::{Extent, Kernel, Port, Ports};
use crate::simd::Value;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// `x`, `y`, weights `w`; as convolution with the indices `sender` and `receiver`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channelwise {
    /// Of `x`: the nodes' features in a convolution.
    pub irreps_in1: Irreps,
    /// Of `y`: multiplicities of 1, such as harmonics.
    pub irreps_in2: Irreps,
    /// Irreps of the product that are kept; their multiplicities do not matter.
    pub targets: Irreps,
    /// One row of weights for all, instead of one each.
    #[serde(default)]
    pub shared_weights: bool,
    #[serde(default)]
    pub convolution: bool,
}

impl Channelwise {
    /// In the order of their results and weights.
    pub fn paths(&self, convention: Convention) -> Vec<Path> {
        paths::channelwise(&self.irreps_in1, &self.irreps_in2, &self.targets, convention).0
    }

    /// The result's: sorted, not merged.
    ///
    /// # Errors
    /// If there are too many numbers in it.
    pub fn irreps_out(&self) -> Result<Irreps> {
        paths::check(&self.irreps_in1, &self.irreps_in2, &self.targets, false)?;
        Irreps::new(paths::channelwise(&self.irreps_in1, &self.irreps_in2, &self.targets, Convention::default()).1)
    }

    pub(crate) fn ports(&self) -> Result<Ports> {
        if let Some(b) = self.irreps_in2.blocks().iter().find(|b| b.mul != 1) {
            return Err(Error::Argument(format!("irreps_in2: {} copies of {}, expected 1", b.mul, b.irrep)));
        }
        let irreps_out = self.irreps_out()?;
        let n_weights = irreps_out.blocks().iter().map(|b| b.mul).sum();
        let nodes = if self.convolution { Extent::Nodes } else { Extent::Rows };
        let inputs = vec![
            Port::of_irreps("x", nodes, &self.irreps_in1),
            Port::of_irreps("y", Extent::Rows, &self.irreps_in2),
            Port::new("w", if self.shared_weights { Extent::Fixed(1) } else { Extent::Rows }, n_weights),
        ];
        Ok(Ports { inputs, indices: ends(self.convolution), output: Port::of_irreps("out", nodes, &irreps_out) })
    }

    pub(crate) fn kernel<V: Value<Plain = V>>(&self, convention: Convention) -> Result<Box<dyn Kernel<V::Real>>> {
        let widths = [self.irreps_in1.dim(), self.irreps_in2.dim(), self.irreps_out()?.dim()];
        let paths = self.paths(convention);
        let n_weights = paths.last().map_or(0, |p| p.w.end);
        let product = ChannelwiseProduct::<V>::new(paths, widths[1]);
        Ok(Box::new(Convolution::<V, _>::new(product, widths, n_weights, self.shared_weights)))
    }
}
