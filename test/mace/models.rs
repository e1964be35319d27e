//! The models that tests share: those of the reference data, and those of `tools/mace/generate.py`.

use serde_json::Value;
use std::path::{Path, PathBuf};

/// Models made by `tools/mace/generate.py`.
const OWN: [&str; 4] = ["three_layers", "nonlinear", "two_heads", "chebyshev"];

pub fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("test/mace").join(name)
}

/// The files of all golden models: the reference data lie beside the checkout, where there are any.
pub fn golden() -> Vec<PathBuf> {
    let own = OWN.iter().map(|name| here(&format!("{name}.json")));
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference-mace/models");
    let mut found: Vec<PathBuf> = match std::fs::read_dir(&shared) {
        Ok(entries) => entries.flatten().map(|e| e.path()).collect(),
        Err(_) => {
            eprintln!("SKIPPED the models of the reference data: {} is not there", shared.display());
            Vec::new()
        }
    };
    found.sort();
    own.chain(found).collect()
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
