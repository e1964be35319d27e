//! Every array length, index and number of a model file is checked here, once; nothing after it has to.

use super::spec::{FORMAT, ModelSpec};
use crate::element;

type Check = Result<(), String>;

/// Checks the whole file.
pub(super) fn model(spec: &ModelSpec) -> Check {
    format(&spec.format, FORMAT)?;
    species(&spec.species)?;
    if spec.parts.is_empty() {
        return Err("parts: a model has at least one".into());
    }
    for (p, part) in spec.parts.iter().enumerate() {
        part.check(spec.species.len()).map_err(|fault| format!("parts[{p}].{}.{fault}", part.kind()))?;
    }
    Ok(())
}

/// Checks the version of a file.
pub(super) fn format(found: &str, readable: &str) -> Check {
    if found == readable {
        Ok(())
    } else if found.starts_with("acerust-reference/") && readable.starts_with("acerust-model/") {
        Err(format!("format: '{found}' is a reference file; `acerust convert FILE -o MODEL` makes a model file of it"))
    } else {
        Err(format!("format: '{found}' is unknown; this version reads '{readable}'"))
    }
}

fn species(species: &[u8]) -> Check {
    if species.is_empty() {
        return Err("species: a model has at least one".into());
    }
    for (i, z) in species.iter().enumerate() {
        if element::symbol(*z).is_none() {
            return Err(format!("species[{i}]: {z} is not an atomic number in 1 … {}", element::MAX));
        }
        if let Some(first) = species[..i].iter().position(|other| other == z) {
            return Err(format!("species[{i}]: {} repeats species[{first}]", element::name(*z)));
        }
    }
    Ok(())
}
