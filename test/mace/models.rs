//! The models that tests share: those of the reference data, and those of `tools/mace/generate.py`.

use crate::common::golden_path;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Models made by `tools/mace/generate.py`.
const OWN: [&str; 4] = ["three_layers", "nonlinear", "two_heads", "chebyshev"];

pub fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("test/mace").join(name)
}

/// The models of `test/golden/mace`.
const REFERENCE: [&str; 5] = ["mp0_like", "off_like", "omat_like", "one_layer", "two_layers_scalar"];

/// The files of all golden models.
pub fn golden() -> Vec<PathBuf> {
    let own = OWN.iter().map(|name| here(&format!("{name}.json")));
    own.chain(REFERENCE.iter().map(|name| golden_path(format!("mace/models/{name}.json")))).collect()
}

pub fn read(path: impl AsRef<Path>) -> Vec<u8> {
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.as_ref().display()))
}

/// All numbers of nested arrays.
pub fn floats(v: &Value) -> Vec<f64> {
    match v {
        Value::Array(items) => items.iter().flat_map(floats).collect(),
        v => vec![v.as_f64().unwrap_or(f64::NAN)],
    }
}

/// The same by threes.
pub fn triples(v: &Value) -> Vec<[f64; 3]> {
    floats(v).chunks(3).map(|x| [x[0], x[1], x[2]]).collect()
}

/// Whether the forces of a golden file are the derivatives of its energies; see the test of that.
pub fn forces_are_derivatives(file: &Value) -> bool {
    file["config"]["radial"]["basis"] != "ChebychevBasis"
}
