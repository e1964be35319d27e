//! The model as mathematics: matrices, tables and terms, every constant folded in, ready for any device.
//!
//! A [`Network`] is plain data made from a [`super::spec::MaceSpec`] and nothing but: what cannot be covered is refused here, by
//! name. Features are `k` channels of irreps of natural parity, see [`Shape`]; all maps are per channel pair, so nothing says how
//! they lie in memory.

mod build;
mod contraction;
mod jet;
mod layer;
mod linear;
mod radial;
mod readout;
mod table;
mod zbl;

pub use contraction::{Contraction, MAX_ORDER, Term};
pub use jet::Jet;
pub use radial::{Pairs, Radial};
pub use readout::{Embedding, Property, Readout, ReadoutKind, ReadoutLayer, silu};
pub(crate) use table::{Pieces, Quintic, evaluate};
pub use zbl::{DECAY, Zbl};

/// `k` channels of irreps of the degrees `ls`; the same degree may occur more than once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub k: usize,
    pub ls: Vec<usize>,
}

impl Shape {
    /// Components of a channel, `Σ (2l + 1)`.
    pub fn components(&self) -> usize {
        self.ls.iter().map(|l| 2 * l + 1).sum()
    }

    /// The first component of each block.
    pub fn offsets(&self) -> Vec<usize> {
        let mut end = 0;
        let next = |l: &usize| {
            end += 2 * l + 1;
            end - (2 * l + 1)
        };
        self.ls.iter().map(next).collect()
    }
}

/// A linear map of channels: `y[b][v, m] = Σ_blocks→b Σ_u w[u, v] x[a][u, m]`, factors included.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    pub from: Shape,
    pub to: Shape,
    pub blocks: Vec<MapBlock>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct MapBlock {
    /// Blocks of the shapes, of the same degree.
    pub from: usize,
    pub to: usize,
    /// (from.k, to.k), row-major.
    pub w: Vec<f64>,
}

/// A path of the channelwise product: a block of the features times the harmonics of degree `l2`, to a message of degree `l3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    pub block: usize,
    pub l1: usize,
    pub l2: usize,
    pub l3: usize,
}

/// The message is divided by `alpha + beta ρ_i`, where ρ is the sum of edge densities.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    pub alpha: f64,
    pub beta: f64,
}

/// `A = after(gate(message / norm + residual(up)))`; the input of the gate has scalars, a gate for each further block, and those.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    pub residual: Map,
    pub scalar_constant: f64,
    pub gate_constant: f64,
    pub after: Map,
}

/// One round of message passing.
#[derive(Clone, Debug)]
pub struct Layer {
    /// From the features to those that edges carry.
    pub up: Map,
    pub paths: Vec<Path>,
    /// Weights of the paths, (paths, channels of an edge), and the edge density after them if there is a norm.
    pub radial: Radial,
    /// From the messages to `A` or the gate's input: one map, or one for each species. A constant norm is in it.
    pub message: Vec<Map>,
    pub norm: Option<Norm>,
    pub gate: Option<Gate>,
    pub product: Contraction,
    /// From the products to the next features.
    pub linear: Map,
    /// From the features to the next ones: none, one for all species, or one for each.
    pub skip: Vec<Map>,
}

/// A MACE model, checked and folded.
#[derive(Clone, Debug)]
pub struct Network {
    /// Atomic numbers; their order is the species index.
    pub species: Vec<u8>,
    pub heads: Vec<String>,
    /// Å.
    pub cutoff: f64,
    pub lmax: usize,
    /// (heads, species), eV.
    pub e0: Vec<Vec<f64>>,
    /// `E = E0 + scale · (…) + shift`, for each head.
    pub scale: Vec<f64>,
    pub shift: Vec<f64>,
    /// `h^0`, (species, channels).
    pub embedding: Vec<f64>,
    /// Added to `h^0`, from properties of the whole structure.
    pub extra: Option<Embedding>,
    pub layers: Vec<Layer>,
    /// For each head; the sum of all.
    pub readouts: Vec<Vec<Readout>>,
    pub zbl: Option<Zbl>,
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let shape = |s: &Shape| {
            let block = |l: &usize| format!("{}x{l}{}", s.k, if l.is_multiple_of(2) { 'e' } else { 'o' });
            s.ls.iter().map(block).collect::<Vec<_>>().join("+")
        };
        write!(f, "{} layers", self.layers.len())?;
        self.layers.iter().try_for_each(|layer| write!(f, ", {}", shape(&layer.linear.to)))?;
        write!(f, ", harmonics up to l = {}", self.lmax)?;
        if self.heads.len() > 1 {
            write!(f, ", heads {}", self.heads.join(", "))?;
        }
        for p in self.extra.iter().flat_map(|e| &e.properties) {
            write!(f, ", {}", p.name)?;
        }
        if self.zbl.is_some() { write!(f, ", ZBL") } else { Ok(()) }
    }
}
