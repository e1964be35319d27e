//! The fully connected product (`uvw`): every channel of both arguments with every channel of the result.
//!
//! `out_c[w, ·] = Σ_paths (1/√F_c) Σ_uv W[u, v, w] Σ C x[u, ·] y[v, ·]`, `F_c = Σ_{paths → c} mul1 · mul2`. Paths follow the blocks of
//! `x`, then of `y`, then of the result; their weights (mul1, mul2, mul3) are one after the other.

use super::convolution::{Convolution, ends};
use super::fully_connected_kernel::FullyConnectedProduct;
use super::paths::{self, Path};
use crate::Result;
use crate::ops::coupling::Convention;
use crate::ops::irreps::Irreps;
use crate::ops::kernel::{Extent, Kernel, Port, Ports};
use crate::simd::Value;
use serde::{Deserialize, Serialize};

/// `x`, `y`, weights `w`; as convolution with the indices `sender` and `receiver`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FullyConnected {
    /// Of `x`: the nodes' features in a convolution.
    pub irreps_in1: Irreps,
    pub irreps_in2: Irreps,
    pub irreps_out: Irreps,
    /// One row of weights for all, instead of one each.
    #[serde(default)]
    pub shared_weights: bool,
    #[serde(default)]
    pub convolution: bool,
}

impl FullyConnected {
    /// In the order of their weights.
    pub fn paths(&self, convention: Convention) -> Vec<Path> {
        paths::fully_connected(&self.irreps_in1, &self.irreps_in2, &self.irreps_out, convention)
    }

    fn n_weights(&self) -> usize {
        self.paths(Convention::default()).last().map_or(0, |p| p.w.end)
    }

    pub(crate) fn ports(&self) -> Result<Ports> {
        paths::check(&self.irreps_in1, &self.irreps_in2, &self.irreps_out, true)?;
        let nodes = if self.convolution { Extent::Nodes } else { Extent::Rows };
        let inputs = vec![
            Port::of_irreps("x", nodes, &self.irreps_in1),
            Port::of_irreps("y", Extent::Rows, &self.irreps_in2),
            Port::new("w", if self.shared_weights { Extent::Fixed(1) } else { Extent::Rows }, self.n_weights()),
        ];
        Ok(Ports { inputs, indices: ends(self.convolution), output: Port::of_irreps("out", nodes, &self.irreps_out) })
    }

    pub(crate) fn kernel<V: Value<Plain = V>>(&self, convention: Convention) -> Box<dyn Kernel<V::Real>> {
        let widths = [self.irreps_in1.dim(), self.irreps_in2.dim(), self.irreps_out.dim()];
        let product = FullyConnectedProduct::<V>::new(self.paths(convention));
        Box::new(Convolution::<V, _>::new(product, widths, self.n_weights(), self.shared_weights))
    }
}
