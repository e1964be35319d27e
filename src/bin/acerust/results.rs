//! What a model says about a structure, and how it is written down.

use acerust::extxyz::{Column, Data, Frame, Value};
use acerust::graph::Graph;
use acerust::plan::{Outputs, Plan, Virial};
use acerust::structure::Structure;
use anyhow::Result;
use serde::Serialize;

#[derive(Serialize)]
pub struct Results {
    /// eV.
    pub energy: f64,
    /// (n_atoms), eV.
    pub site_energies: Vec<f64>,
    /// (n_atoms, 3), eV/Å.
    pub forces: Vec<[f64; 3]>,
    /// eV.
    pub virial: Virial,
}

impl Results {
    /// Room for those of so many atoms.
    pub fn room(n: usize) -> Results {
        Results { energy: 0.0, site_energies: vec![0.0; n], forces: vec![[0.0; 3]; n], virial: [[0.0; 3]; 3] }
    }

    pub fn outputs(&mut self) -> Outputs<'_> {
        let out = Outputs::new().energy(&mut self.energy).site_energies(&mut self.site_energies[..]);
        out.forces(&mut self.forces[..]).virial(&mut self.virial)
    }

    /// `graph` has all edges within the plan's cutoff, and perhaps longer ones.
    pub fn new(plan: &Plan, graph: &Graph, structure: &Structure) -> Result<Results> {
        let mut results = Results::room(structure.n_atoms());
        plan.evaluate((graph, &structure.numbers), &mut results.outputs())?;
        Ok(results)
    }

    /// Puts energy, forces, virial and, where there is a cell, stress into the frame, and `energies` of the atoms where wanted. What the
    /// frame had under these names, and what other programs would take for results of the same model, moves to `ref_energy`,
    /// `ref_forces` ….
    pub fn label(self, frame: &mut Frame, site_energies: bool) {
        for name in ["energy", "free_energy", "virial", "stress"] {
            set_aside(&mut frame.info, name);
        }
        for name in ["forces", "energies", "stresses"] {
            set_aside(&mut frame.arrays, name);
        }
        frame.energy = Some(self.energy);
        frame.forces = Some(self.forces);
        frame.virial = Some(self.virial);
        frame.info.insert("free_energy".into(), Value::Real(self.energy));
        if let Some(stress) = frame.stress() {
            frame
                .info
                .insert("stress".into(), Value::Array(stress.as_flattened().iter().map(|&x| Value::Real(x)).collect()));
        }
        if site_energies {
            frame.arrays.insert("energies".into(), Column { width: 1, data: Data::Real(self.site_energies) });
        }
    }
}

/// Renames an entry to the first of `ref_NAME`, `ref_NAME_2`, `ref_NAME_3` … that is free, in its place.
fn set_aside<T>(entries: &mut indexmap::IndexMap<String, T>, name: &str) {
    let Some((index, key, value)) = entries.shift_remove_full(name) else { return };
    let names = std::iter::once(format!("ref_{key}")).chain((2..).map(|k| format!("ref_{key}_{k}")));
    let free = names.into_iter().find(|name| !entries.contains_key(name)).expect("endless names");
    entries.shift_insert(index, free, value);
}

/// The numbers of a column, if it holds real ones, three an atom.
pub fn vectors(column: &Column) -> Option<&[[f64; 3]]> {
    match column {
        Column { width: 3, data: Data::Real(x) } => Some(x.as_chunks().0),
        _ => None,
    }
}
