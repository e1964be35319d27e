//! A model at a glance.

use super::spec::*;
use super::{Model, PartSpec};
use crate::element;
use std::fmt::{self, Display, Formatter};

impl Model {
    /// Species, cutoff, sizes of the parts and memory, for people; the text is [`Model`]'s `Display`.
    pub fn summary(&self) -> String {
        self.to_string()
    }

    /// The memory of the model's numbers, bytes.
    pub fn memory(&self) -> usize {
        self.spec.parts.iter().map(PartSpec::memory).sum()
    }
}

impl Display for Model {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ModelSpec { name, species, parts, .. } = self.spec();
        let parameters = self.length_basis();
        let species: Vec<_> = species.iter().map(|&z| element::name(z)).collect();
        writeln!(f, "{name}: {}, cutoff {} Å, {parameters} linear parameters", species.join(" "), self.rcut())?;
        for (p, part) in parts.iter().enumerate() {
            writeln!(f, "  {p} {part}")?;
        }
        write!(f, "  {:.1} KiB of numbers", self.memory() as f64 / 1024.0)
    }
}

impl Display for PartSpec {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind())?;
        match self {
            Self::OneBody(_) => Ok(()),
            Self::Pair(pair) => {
                write!(f, ": cutoff {} Å, {}, n_B {}", pair.rcut, pair.radial.functions, self.n_basis())
            }
            Self::Ace(ace) => write!(
                f,
                ": cutoff {} Å, {}, {} harmonics, lmax {}, order {}, n_R {} of {}, n_A {}, n_AA {}, n_B {}",
                ace.rcut,
                ace.radial.functions,
                ace.angular.kind,
                ace.angular.lmax,
                ace.order(),
                ace.n_radial_used(),
                ace.radial.spec.len(),
                ace.a.len(),
                ace.aa.len(),
                self.n_basis()
            ),
        }
    }
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

impl AceSpec {
    /// The largest number of factors in a product.
    pub fn order(&self) -> usize {
        self.aa.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// How many of the radial functions some `A` uses.
    pub fn n_radial_used(&self) -> usize {
        self.a.iter().map(|[t, _]| t).collect::<std::collections::HashSet<_>>().len()
    }
}

impl PartSpec {
    fn memory(&self) -> usize {
        let many_body = match self {
            Self::Ace(ace) => {
                let factors: usize = ace.aa.iter().map(Vec::len).sum();
                size_of_val(&ace.a[..])
                    + factors * size_of::<u32>()
                    + ace.c.vals.len() * (2 * size_of::<u32>() + size_of::<f64>())
            }
            _ => 0,
        };
        let numbers = match self {
            Self::OneBody(one) => one.e0.len(),
            Self::Pair(PairSpec { radial, .. }) | Self::Ace(AceSpec { radial, .. }) => radial.functions.n_numbers(),
        };
        let weights: usize = self.weights().iter().map(Vec::len).sum();
        many_body + (numbers + weights) * size_of::<f64>()
    }
}

impl FunctionsSpec {
    fn n_numbers(&self) -> usize {
        match self {
            Self::Polynomial { a, w, .. } => 3 * a.len() + w.iter().flatten().map(Vec::len).sum::<usize>(),
            Self::Spline { tables } => tables.iter().flat_map(|table| &table.values).map(|row| 2 * row.len()).sum(),
            Self::Pace { w, .. } => w.iter().flatten().map(Vec::len).sum::<usize>(),
        }
    }
}
