//! What stages are made of, as it stands in files: plain data, nothing derived.

use super::tagged::AnyFunctions;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};

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
#[serde(rename_all = "lowercase")]
pub enum HarmonicsKind {
    /// `r^l Y_lm(r̂)`.
    Solid,
    /// `Y_lm(r̂)`.
    Spherical,
}

/// What happens at short distances; one for all pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InnerCutoff {
    /// The core density switches the many-body energy off.
    Density,
    /// Distances switch radial functions off, and core repulsion on.
    Distance,
    /// The closest neighbour switches between the many-body energy and the screened repulsion of the nuclei.
    Zbl,
}

/// `E = Σ_p w_p F(ρ_p; m_p)` of one species of centres.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedding {
    pub form: Form,
    /// `(w_p, m_p)`, (n_densities).
    pub densities: Vec<[f64; 2]>,
    /// Where the core density switches the energy off, and over which width, eV.
    pub core: [f64; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    FinnisSinclair,
    FinnisSinclairShiftedScaled,
}

/// The functions `g_k` of the distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Base {
    ChebExpCos,
    ChebPow,
    ChebLinear,
    SBessel,
    /// `g_k = 0`.
    Zero,
}

impl Display for FunctionsSpec {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Polynomial { a, .. } => write!(f, "{} polynomials", a.len()),
            Self::Spline { tables } => {
                write!(f, "splines of {} nodes", tables.first().map_or(0, |table| table.values.len()))
            }
            Self::Pace { w, .. } => {
                write!(f, "{} base functions of pacemaker", w.iter().flatten().map(Vec::len).max().unwrap_or(0))
            }
        }
    }
}

impl Display for HarmonicsKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Solid => "solid",
            Self::Spherical => "spherical",
        })
    }
}

impl FunctionsSpec {
    pub(crate) fn n_numbers(&self) -> usize {
        match self {
            Self::Polynomial { a, w, .. } => 3 * a.len() + w.iter().flatten().map(Vec::len).sum::<usize>(),
            Self::Spline { tables } => tables.iter().flat_map(|table| &table.values).map(|row| 2 * row.len()).sum(),
            Self::Pace { w, .. } => w.iter().flatten().map(Vec::len).sum::<usize>(),
        }
    }
}
