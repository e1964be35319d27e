//! What a frame has to say to a fit, and why some say nothing.

use super::settings::Settings;
use crate::element;
use crate::extxyz::{Column, Data, Frame, Value};
use crate::structure::Structure;
use indexmap::IndexMap;
use std::collections::BTreeMap;

/// The data of a frame.
#[derive(Debug)]
pub struct Observation {
    pub structure: Structure,
    pub group: String,
    /// A factor on all weights.
    pub weight: f64,
    /// eV
    pub energy: Option<f64>,
    /// eV/Å
    pub forces: Option<Vec<[f64; 3]>>,
    /// eV
    pub virial: Option<[[f64; 3]; 3]>,
}

/// Energies, forces, virials and weights beyond this, whatever their unit, are errors of the data: squares of their products are not finite.
const MOST: f64 = 1e50;

/// What is there under a name, else under the same name in another case.
fn find<'a, T>(all: &'a IndexMap<String, T>, key: &str) -> Option<&'a T> {
    all.get(key).or_else(|| all.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, x)| x))
}

impl Settings {
    /// The group of a frame.
    pub fn group_of(&self, frame: &Frame) -> String {
        match find(&frame.info, &self.group_key) {
            Some(Value::Text(name)) => name.clone(),
            Some(Value::Int(i)) => i.to_string(),
            _ => "default".into(),
        }
    }

    /// The data of a frame: what it has itself, or under the names of the settings, in any case.
    ///
    /// # Errors
    /// Why the frame cannot be used, for the report.
    pub fn observe(&self, frame: Frame, species: &[u8]) -> Result<Observation, String> {
        let info = |key: &str| find(&frame.info, key);
        let group = self.group_of(&frame);
        let weight = match info(&self.weight_key) {
            Some(value) => value
                .as_f64()
                .filter(|w| (0.0..=MOST).contains(w))
                .ok_or_else(|| format!("{} is no weight", self.weight_key))?,
            None => 1.0,
        };
        if frame.structure.n_atoms() == 0 {
            return Err("no atoms".into());
        }
        if let Some(&z) = frame.structure.numbers.iter().find(|z| !species.contains(z)) {
            return Err(format!("unknown element {}", element::name(z)));
        }
        let energy = match (frame.energy, info(&self.energy_key)) {
            (Some(energy), _) => Some(energy),
            (None, None) => None,
            (None, Some(value)) => Some(value.as_f64().ok_or_else(|| format!("{} is no number", self.energy_key))?),
        };
        let column = |key: &str| find(&frame.arrays, key);
        // The second name is upstream's.
        let columns = || column(&self.force_key).or_else(|| column("force").filter(|_| self.force_key == "forces"));
        let forces = match (&frame.forces, columns()) {
            (Some(forces), _) => Some(forces.clone()),
            (None, None) => None,
            (None, Some(Column { width: 3, data: Data::Real(x) })) => Some(x.as_chunks().0.to_vec()),
            (None, Some(_)) => return Err(format!("{} are not three numbers an atom", self.force_key)),
        };
        let volume = frame.structure.volume();
        let tensor = |key: &str| match info(key) {
            None => Ok(None),
            Some(value) => value.as_tensor().map(Some).ok_or_else(|| format!("{key} is not nine or six numbers")),
        };
        let virial = match (frame.virial, tensor(&self.virial_key)?, tensor(&self.stress_key)?) {
            (Some(virial), _, _) | (None, Some(virial), _) => Some(virial),
            (None, None, Some(stress)) if volume > 0.0 => Some(stress.map(|row| row.map(|s| -s * volume))),
            _ => None,
        };
        if energy.is_none() && forces.is_none() && virial.is_none() {
            return Err("no data".into());
        }
        let all = forces.iter().flatten().flatten().chain(virial.iter().flatten().flatten());
        if all.clone().chain(&energy).any(|x| !x.is_finite()) {
            return Err("data that are not finite".into());
        }
        if all.clone().chain(&energy).any(|x| x.abs() > MOST) {
            return Err(format!("data beyond {MOST:e}"));
        }
        let largest = forces.iter().flatten().flatten().fold(0.0, |m: f64, f| m.max(f.abs()));
        if let Some(limit) = self.max_force.filter(|limit| largest > *limit) {
            return Err(format!("forces above {limit} eV/Å"));
        }
        Ok(Observation { structure: frame.structure, group, weight, energy, forces, virial })
    }
}

/// Frames that were not used, by reason, and what else deserves a word.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Remarks {
    /// Reason → how many frames, and the first of them.
    pub skipped: BTreeMap<String, (u64, u64)>,
    /// Frames that say again what one before them said.
    pub duplicates: u64,
}

impl Remarks {
    pub fn skip(&mut self, reason: String, frame: u64) {
        self.skipped.entry(reason).or_insert((0, frame)).0 += 1;
    }

    pub fn merge(&mut self, other: &Remarks) {
        for (reason, &(count, first)) in &other.skipped {
            let entry = self.skipped.entry(reason.clone()).or_insert((0, first));
            *entry = (entry.0 + count, entry.1.min(first));
        }
        self.duplicates += other.duplicates;
    }
}
