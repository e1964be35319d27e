//! One measurement, and the files of them.

use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Command;

/// Times are in µs an atom, rates in 10⁹ operations a second.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub series: String,
    pub model: String,
    pub order: usize,
    pub degree: f64,
    pub species: usize,
    pub atoms: usize,
    pub neighbours: f64,
    pub threads: usize,
    pub isa: String,
    pub energy: Option<f64>,
    /// Energy, forces and virial with the neighbour list at hand.
    pub forces: f64,
    pub forces_f32: Option<f64>,
    pub rows: Option<f64>,
    /// The neighbour list, built afresh.
    pub list: Option<f64>,
    /// Neighbour list and forces.
    pub whole: Option<f64>,
    /// Energy, forces, virial and rows by the reference of the tests.
    pub naive: Option<f64>,
    /// Nominal operations an atom, in thousands, by `acerust::bench::nominal_flops`, and by the literature.
    pub kflop: f64,
    pub kflop_peers: Option<f64>,
    /// Of one thread.
    pub peak: f64,
    pub peak_f32: f64,
}

impl Row {
    /// Nominal operations, those of the literature where it has them, in 10⁹ a second.
    pub fn rate(&self) -> f64 {
        self.kflop_peers.unwrap_or(self.kflop) / self.forces
    }

    /// Share of the peak of one thread, %.
    pub fn share(&self) -> f64 {
        100.0 * self.rate() / self.peak
    }

    /// The same measurement in `rows`.
    pub fn same<'a>(&self, rows: &'a [Row]) -> Option<&'a Row> {
        let key =
            |r: &Row| (r.series.clone(), r.model.clone(), r.species, r.atoms, r.neighbours.round() as u32, r.threads);
        rows.iter().find(|r| key(r) == key(self))
    }
}

/// The committed results; those on disk where there is no repository.
pub fn last(path: &Path) -> Vec<Row> {
    let committed = Command::new("git").arg("show").arg(format!("HEAD:./{}", path.display())).output();
    let text = match committed {
        Ok(output) if output.status.success() => output.stdout,
        _ => std::fs::read(path).unwrap_or_default(),
    };
    // Columns may have changed since.
    csv::Reader::from_reader(&text[..]).deserialize().flatten().collect()
}

pub fn write(path: &Path, rows: &[Row]) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder for the results");
    let mut writer = csv::Writer::from_path(path).expect("a file for the results");
    rows.iter().for_each(|row| writer.serialize(row).expect("a row"));
    writer.flush().expect("a file for the results");
}
