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

impl FunctionsSpec {
    pub(crate) fn n_numbers(&self) -> usize {
        match self {
            Self::Polynomial { a, w, .. } => 3 * a.len() + w.iter().flatten().map(Vec::len).sum::<usize>(),
            Self::Spline { tables } => tables.iter().flat_map(|table| &table.values).map(|row| 2 * row.len()).sum(),
            Self::Pace { w, .. } => w.iter().flatten().map(Vec::len).sum::<usize>(),
        }
    }
}
