//! A many-body part as it stands in the file.

use crate::stage::spec::{CoreSpec, Embedding, HarmonicsKind, RadialSpec};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// `E_i = Σ_b W[z_i, b] Σ_k C[b, k] Π_{v ∈ AA_k} A_v`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AceSpec {
    /// Å.
    pub rcut: f64,
    pub radial: RadialSpec,
    pub angular: AngularSpec,
    /// `A[v] = [t, lm]`: radial function and harmonic (index `l² + l + m`) of `A_v`.
    #[serde(rename = "A")]
    pub a: Vec<[u32; 2]>,
    /// The species of the neighbours that `A_v` sums over; absent where all of them take part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neighbours: Option<Vec<u32>>,
    /// `AA[k]`: the `A_v` whose product is `AA_k`.
    #[serde(rename = "AA")]
    pub aa: Vec<Vec<u32>>,
    #[serde(rename = "C")]
    pub c: SparseSpec,
    /// Readout weights, (n_species, n_B), eV; with an embedding those of the densities, (n_species, n_densities · n_B), density after
    /// density.
    pub weights: Vec<Vec<f64>>,
    /// What makes an energy of densities. Absent: there is one, the energy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding: Option<Box<EmbeddingSpec>>,
}

/// `E_i = f Σ_p w_p F(ρ_p; m_p) + …`: see [`crate::pace`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingSpec {
    /// (n_species).
    pub species: Vec<Embedding>,
    /// How many of the basis functions belong to each species of centres, (n_species), one after another: what active sets are made of.
    /// Absent where basis functions are no invariants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub functions: Option<Vec<usize>>,
    /// What the switch `f` depends on; absent: `f = 1`, and no repulsion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<CoreSpec>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AngularSpec {
    pub kind: HarmonicsKind,
    pub lmax: u32,
}

/// A sparse matrix by coordinates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SparseSpec {
    pub shape: [usize; 2],
    pub rows: Vec<u32>,
    pub cols: Vec<u32>,
    pub vals: Vec<f64>,
}

impl AceSpec {
    /// The largest number of factors in a product.
    pub fn order(&self) -> usize {
        self.aa.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// How many of the radial functions some `A` uses.
    pub fn n_radial_used(&self) -> usize {
        self.a.iter().map(|[t, _]| t).collect::<HashSet<_>>().len()
    }
}
