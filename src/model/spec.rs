//! The model as it stands in the file: plain data, nothing derived.

use super::tagged::AnyFunctions;
use crate::pace::{Base, Embedding, InnerCutoff};
pub use crate::part::PartSpec;
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

/// `E_i = E0[z_i]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneBodySpec {
    /// (n_species), eV.
    #[serde(rename = "E0")]
    pub e0: Vec<f64>,
}

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
    /// What the switch `f` depends on; absent: `f = 1`, and no repulsion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<CoreSpec>,
}

/// Repulsion at short distances that takes the place of the many-body energy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoreSpec {
    pub inner: InnerCutoff,
    /// By ordered pair.
    pub pairs: Vec<CorePairSpec>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorePairSpec {
    /// Å.
    pub rcut: f64,
    pub dcut: f64,
    pub inner: f64,
    pub inner_width: f64,
    /// eV; of the repulsion between nuclei a factor.
    pub prefactor: f64,
    /// Å⁻².
    pub lambda: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RadialSpec {
    /// One per unordered species pair, in the order (0,0), (0,1) … (0,n−1), (1,1) …. None for functions of type `pace`.
    pub transforms: Vec<TransformSpec>,
    /// One per unordered species pair, in the same order; none for functions of type `pace`.
    pub envelopes: Vec<EnvelopeSpec>,
    pub functions: FunctionsSpec,
    /// `spec[t] = [n, l]` of each radial function; only in many-body parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spec: Vec<[u32; 2]>,
}

/// The generalised Agnesi transform `r → y ∈ [−1, 1]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformSpec {
    pub rin: f64,
    pub req: f64,
    pub pin: u32,
    pub pcut: u32,
    pub a: f64,
    pub b0: f64,
    pub b1: f64,
}

/// The factor that takes the radial functions to zero at the cutoff.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum EnvelopeSpec {
    /// `s (y − x1)^p1 (x2 − y)^p2` for `x1 < y < x2`, else 0.
    #[serde(rename = "poly2sx")]
    Poly2sx { x1: f64, x2: f64, p1: u32, p2: u32, s: f64 },
    /// `((r/rcut)^(−p) − 1)(1 − r/rcut)` for `r < rcut`, else 0.
    #[serde(rename = "poly1sr")]
    Poly1sr { rcut: f64, p: u32 },
    /// `s^(−p) − c^(−p) + p c^(−p−1) (s − c)` with `s = r/r0`, `c = rcut/r0` for `r < rcut`, else 0.
    #[serde(rename = "ace1_poly1sr")]
    Ace1Poly1sr { rcut: f64, r0: f64, p: u32 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", try_from = "AnyFunctions")]
pub enum FunctionsSpec {
    /// `Σ_q W[z_i·n_z + z_j][t][q] P_q(y)`.
    Polynomial {
        /// `P_1 = A_1`, `P_2 = A_2 y + B_2`, `P_n = (A_n y + B_n) P_{n−1} + C_n P_{n−2}`.
        #[serde(rename = "A")]
        a: Vec<f64>,
        #[serde(rename = "B")]
        b: Vec<f64>,
        #[serde(rename = "C")]
        c: Vec<f64>,
        /// (n_species², n_t, n_q), by ordered pair (centre, neighbour).
        #[serde(rename = "W")]
        w: Vec<Vec<Vec<f64>>>,
    },
    /// Piecewise cubic in `y` on a uniform grid, by ordered pair (centre, neighbour).
    Spline { tables: Vec<SplineSpec> },
    /// `Σ_k W[z_i·n_z + z_j][t][k] g_k(r)` with the base functions of pacemaker.
    Pace {
        /// Wanted distance of the nodes of upstream's tables, Å.
        bins: f64,
        inner: InnerCutoff,
        /// By ordered pair (centre, neighbour).
        pairs: Vec<BaseSpec>,
        /// (n_species², n_t, n_k), by ordered pair.
        #[serde(rename = "W")]
        w: Vec<Vec<Vec<f64>>>,
    },
}

/// The base functions of an ordered pair; lengths in Å.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseSpec {
    pub base: Base,
    pub lambda: f64,
    pub rcut: f64,
    pub dcut: f64,
    pub inner: f64,
    pub inner_width: f64,
}

/// Cubic Hermite data on a uniform grid over `[x0, x1]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplineSpec {
    pub x0: f64,
    pub x1: f64,
    /// (n_nodes, n_t).
    pub values: Vec<Vec<f64>>,
    /// (n_nodes, n_t), per unit of `y`.
    pub slopes: Vec<Vec<f64>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AngularSpec {
    pub kind: HarmonicsKind,
    pub lmax: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HarmonicsKind {
    /// `r^l Y_lm(r̂)`.
    Solid,
    /// `Y_lm(r̂)`.
    Spherical,
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
