//! PACE potentials on the command line.

use super::{fails, file, ok};
use serde_json::Value;
use std::path::Path;

fn golden(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(file(&format!("test/golden/pace/{name}.json"))).expect("a file"))
        .expect("JSON")
}

/// The structures of a golden file as extended XYZ.
fn write(folder: &Path, golden: &Value) {
    let mut text = String::new();
    for s in golden["structures"].as_array().expect("structures") {
        let flat = |v: &Value| crate::common::flat(v).iter().map(|x| format!("{x:?} ")).collect::<String>();
        let symbols = s["symbols"].as_array().expect("symbols");
        let cell =
            if s["cell"].is_null() { String::new() } else { format!("Lattice=\"{}\" ", flat(&s["cell"]).trim()) };
        let pbc = if s["pbc"].as_bool().expect("pbc") { "T T T" } else { "F F F" };
        text += &format!("{}\n{cell}pbc=\"{pbc}\" Properties=species:S:1:pos:R:3\n", symbols.len());
        for (symbol, x) in symbols.iter().zip(s["positions"].as_array().expect("positions")) {
            text += &format!("{} {}\n", symbol.as_str().expect("a symbol"), flat(x).trim());
        }
    }
    std::fs::write(folder.join("in.extxyz"), text).expect("frames");
}

fn results(folder: &Path, model: &str, more: &[&str]) -> Vec<Value> {
    let text = ok(folder, &[&["eval", model, "in.extxyz", "--json"], more].concat());
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn potentials_are_models_and_become_model_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    for (name, extension) in [("cho-chebpow", "yace"), ("si-rank4", "yace"), ("si-rank4", "yaml"), ("cuzr-zbl", "yaml")]
    {
        let (golden, potential) = (golden(name), file(&format!("test/golden/pace/{name}.{extension}")));
        write(folder, &golden);
        ok(folder, &["convert", &potential, "-o", "model.json"]);
        let read = [("exact", "exact", 1e-9), ("pace-table", "table", 1e-10)];
        for (model, (radial, key, tolerance)) in ["model.json", &potential].iter().flat_map(|m| read.map(|r| (m, r))) {
            let found = results(folder, model, &["--radial", radial]);
            let structures = golden["structures"].as_array().expect("structures");
            assert_eq!(found.len(), structures.len());
            for (found, expected) in found.iter().zip(structures) {
                for (a, b) in
                    crate::common::flat(&found["forces"]).iter().zip(crate::common::flat(&expected[key]["forces"]))
                {
                    assert!((a - b).abs() <= tolerance, "{name} {model} {radial}: {a} {b}");
                }
            }
        }
    }
}

#[test]
fn grades_come_from_active_sets_and_design_rows_do_not_come_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let (folder, golden) = (folder.path(), golden("cuzr-zbl"));
    write(folder, &golden);
    let [yaml, yace, set] = ["yaml", "yace", "asi"].map(|e| file(&format!("test/golden/pace/cuzr-zbl.{e}")));
    let text = ok(folder, &["eval", &yaml, "in.extxyz", "--grade", &set]);
    assert!(text.contains("grade:R:1") && text.contains("max_grade="), "{text}");
    let error = fails(folder, &["eval", &yace, "in.extxyz", "--grade", &set], 1);
    assert!(error.contains("cuzr-zbl.asi") || error.contains("active set"), "{error}");
    for command in
        [&["basis", &yace, "in.extxyz", "-o", "rows.npz"][..], &["basis", &yaml, "in.extxyz", "-o", "rows.npz"]]
    {
        let error = fails(folder, command, 1);
        assert!(error.contains("linear"), "{error}");
    }
}
