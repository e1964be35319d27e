//! A model at a glance.

use super::{Model, ModelSpec, PartSpec};
use crate::element;
use std::fmt::{self, Display, Formatter};

impl Model {
    /// Species, cutoff, sizes of the parts and memory, for people; the text is [`Model`]'s `Display`.
    pub fn summary(&self) -> String {
        self.to_string()
    }

    /// The memory of the model's numbers, bytes.
    pub fn memory(&self) -> usize {
        let mace = self.mace.as_ref().map_or(0, |m| m.spec().bytes());
        mace + self.spec.parts.iter().map(PartSpec::memory).sum::<usize>()
    }
}

impl Display for Model {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ModelSpec { name, species, parts, .. } = self.spec();
        let parameters = self.length_basis();
        let species: Vec<_> = species.iter().map(|&z| element::name(z)).collect();
        writeln!(f, "{name}: {}, cutoff {} Å, {parameters} linear parameters", species.join(" "), self.rcut())?;
        if let Some(mace) = self.mace() {
            writeln!(f, "  MACE: {}", mace.network())?;
        }
        for (p, part) in parts.iter().enumerate() {
            writeln!(f, "  {p} {part}")?;
        }
        write!(f, "  {:.1} KiB of numbers", self.memory() as f64 / 1024.0)
    }
}
