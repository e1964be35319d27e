//! Potentials of pacemaker and LAMMPS' `pair_style pace`: their files, read into plain data, and the real products they amount to.
//!
//! Bochkarev, Lysogorskiy, Menon, Qamar, Mrovec, Drautz, Phys. Rev. Materials 6, 013804 (2022); Drautz, Phys. Rev. B 99, 014104 (2019).
//! A `.yace` file holds expansion coefficients of products of complex `A`, a `.yaml` file those of invariant functions, which
//! become the same by coupling (`couple`). [`products`] turns either into products of real `A`. `docs/pace.md` has the formulas.
mod bbasis;
mod check;
mod couple;
pub mod products;
mod yace;
mod yaml;

pub use crate::stage::spec::{Base, Embedding, Form, InnerCutoff};
use crate::{Error, Result};
pub(crate) use check::{embedding as check_embedding, pair as check_pair};

/// A potential as plain data, whatever file it came from. Ordered pairs of species are `centre · n_species + neighbour`.
#[derive(Clone, Debug, PartialEq)]
pub struct Potential {
    /// Atomic numbers, in the order of the file.
    pub species: Vec<u8>,
    /// (n_species), eV.
    pub e0: Vec<f64>,
    /// Wanted distance of the nodes of upstream's tables, Å.
    pub bins: f64,
    pub inner: InnerCutoff,
    /// (n_species).
    pub embeddings: Vec<Embedding>,
    /// (n_species²).
    pub bonds: Vec<Bond>,
    /// By species of the centre.
    pub functions: Vec<Vec<Function>>,
}

/// An ordered pair of species.
#[derive(Clone, Debug, PartialEq)]
pub struct Bond {
    pub base: Base,
    /// λ of the base functions.
    pub lambda: f64,
    /// Å.
    pub rcut: f64,
    pub dcut: f64,
    pub inner: f64,
    pub inner_width: f64,
    /// Prefactor (eV) and λ (Å⁻²) of the core repulsion.
    pub core: [f64; 2],
    /// `g_k` that the pair itself asks for.
    pub n_base: usize,
    /// `crad[n][l][k]`.
    pub coefficients: Vec<Vec<Vec<f64>>>,
}

/// A product of `A`: with `l = 0` and `rank = 1` of base functions, else of radial ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    pub factors: Vec<Factor>,
    /// (n_terms, rank).
    pub ms: Vec<i32>,
    /// (n_terms, n_densities).
    pub coefficients: Vec<f64>,
    /// Of the invariant function, before its coefficients: (n_terms), from a `.yaml` alone.
    pub coupling: Vec<f64>,
}

/// `n` counts from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Factor {
    pub species: usize,
    pub n: usize,
    pub l: usize,
}

impl Potential {
    /// Reads a `.yace` file, or pacemaker's `.yaml`; which of them, its contents say.
    ///
    /// # Errors
    /// [`Error::Model`] for text that is neither, and for a potential that is inconsistent or beyond what is supported.
    pub fn parse(text: &[u8]) -> Result<Potential> {
        let text = std::str::from_utf8(text).map_err(|e| Error::Model(format!("a PACE file is text: {e}")))?;
        let has = |key: &str| text.lines().any(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')));
        let read = match (has("functions"), has("species")) {
            (true, false) => yace::read(text),
            (false, true) => bbasis::read(text),
            _ => Err("neither a model file nor a potential of pacemaker (.yace, .yaml)".into()),
        };
        let potential = read.and_then(|p| p.check().map(|()| p));
        potential.map_err(Error::Model)
    }

    pub fn n_species(&self) -> usize {
        self.species.len()
    }

    /// Base functions, radial functions and largest angular momentum of all pairs: `[K, N, L]`.
    pub fn sizes(&self) -> [usize; 3] {
        let largest = |f: fn(&Bond) -> usize| self.bonds.iter().map(f).max().unwrap_or(0);
        [largest(|b| b.n_base), largest(|b| b.coefficients.len()), largest(Bond::lmax)]
    }

    /// The largest cutoff, Å.
    pub fn rcut(&self) -> f64 {
        self.bonds.iter().map(|b| b.rcut).fold(0.0, f64::max)
    }
}

impl Bond {
    fn lmax(&self) -> usize {
        self.coefficients.iter().map(|by_l| by_l.len().saturating_sub(1)).max().unwrap_or(0)
    }
}

impl Function {
    pub fn rank(&self) -> usize {
        self.factors.len()
    }

    /// The `m` of all factors, term by term.
    pub fn terms(&self) -> impl Iterator<Item = &[i32]> {
        self.ms.chunks_exact(self.rank().max(1))
    }
}
