//! Golden data, and comparison by the largest entry.
#![allow(dead_code)]

pub mod compare;
pub mod evaluate;

use acerust::model::{Model, PartSpec};
use acerust::structure::Structure;
use serde_json::Value;
use std::path::{Path, PathBuf};

pub const NAMES: [&str; 8] = ["si_o3", "sio_o2", "sio_o3", "tial_o3", "sio_spl", "si_fit", "si_bench", "hea_bench"];

/// A file or folder of `test/golden`.
pub fn golden_path(name: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("test/golden").join(name)
}

/// The contents of a file of `test/golden`.
pub fn golden_text(name: &str) -> String {
    let path = golden_path(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub fn golden_json(name: &str) -> Value {
    serde_json::from_str(&golden_text(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// One file of `test/golden` for an ACE model.
pub struct Golden {
    pub name: String,
    pub model: Model,
    pub structures: Vec<Value>,
}

pub fn golden(name: &str) -> Golden {
    let text = golden_text(&format!("{name}.json"));
    let mut json: Value = serde_json::from_str(&text).expect("valid JSON");
    let Value::Array(structures) = json["structures"].take() else { panic!("no structures") };
    Golden { name: name.into(), model: Model::from_reference_json(&text).expect("a valid model"), structures }
}

/// The model with only the parts of this kind.
pub fn only(model: &Model, kind: &str) -> Model {
    let mut spec = model.spec().clone();
    spec.parts.retain(|p: &PartSpec| p.kind() == kind);
    Model::new(spec).expect("a part of this kind")
}

/// All numbers in a nested array.
pub fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        number => vec![number.as_f64().expect("a number")],
    }
}

pub fn vectors(value: &Value) -> Vec<[f64; 3]> {
    flat(value).chunks(3).map(|v| [v[0], v[1], v[2]]).collect()
}

pub fn structure(value: &Value) -> Structure {
    let cell = vectors(&value["cell"]);
    let pbc: Vec<bool> = value["pbc"].as_array().expect("pbc").iter().map(|p| p.as_bool().expect("a flag")).collect();
    Structure {
        numbers: flat(&value["numbers"]).iter().map(|&z| z as u8).collect(),
        positions: vectors(&value["positions"]),
        cell: [cell[0], cell[1], cell[2]],
        pbc: [pbc[0], pbc[1], pbc[2]],
    }
}

/// The largest difference relative to the largest expected entry.
pub fn error(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len(), "lengths");
    assert!(found.iter().all(|x| x.is_finite()), "an entry is not finite");
    let largest = expected.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    let worst = found.iter().zip(expected).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
    if largest > 0.0 { worst / largest } else { worst }
}

#[track_caller]
pub fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    let error = error(found, expected);
    assert!(error <= tolerance, "{what}: error {error:.2e} is above {tolerance:.0e}");
}
