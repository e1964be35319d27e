//! MACE models on the command line.

use super::{fails, file, ok};
use serde_json::Value;
use std::path::Path;

/// The same two atoms with these keys, frame by frame.
fn write(folder: &Path, elements: [&str; 2], keys: &[&str]) {
    let frame = |key: &&str| {
        let lattice = "Lattice=\"3.3 0 0 0 3.3 0 0 0 3.3\" pbc=\"T T T\" Properties=species:S:1:pos:R:3";
        format!("2\n{lattice} {key}\n{} 0 0 0\n{} 1.7 1.6 1.5\n", elements[0], elements[1])
    };
    std::fs::write(folder.join("in.extxyz"), keys.iter().map(frame).collect::<String>()).expect("frames");
}

fn energies(folder: &Path, model: &str, more: &[&str]) -> Vec<f64> {
    let text = ok(folder, &[&["eval", model, "in.extxyz", "--json"], more].concat());
    let energy = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["energy"].as_f64().expect("an energy");
    text.lines().map(energy).collect()
}

#[test]
fn checkpoints_are_models_and_become_safetensors() {
    let folder = tempfile::tempdir().expect("a folder");
    let (folder, checkpoint) = (folder.path(), file("test/mace/tiny.model"));
    ok(folder, &["convert", &checkpoint, "-o", "tiny.safetensors"]);
    let info = ok(folder, &["info", "tiny.safetensors"]);
    assert!(info.contains("Li F") && info.contains("MACE: 2 layers, 2x0e+2x1o, 2x0e"), "{info}");
    write(folder, ["Li", "F"], &[""]);
    let found = [checkpoint.as_str(), "tiny.safetensors"].map(|model| energies(folder, model, &[]));
    assert_eq!(found[0], found[1]);
    let error = fails(folder, &["convert", &checkpoint], 1);
    assert!(error.contains("name the file with -o"), "{error}");
    let error = fails(folder, &["basis", "tiny.safetensors", "in.extxyz", "-o", "rows.npz"], 1);
    assert!(error.contains("no linear parameters"), "{error}");
    for (more, message) in [
        (&["--json", "--parts"][..], "--parts: a MACE model has none"),
        (&["--radial", "table=1e-3"], "radial table: MACE"),
    ] {
        let error = fails(folder, &[&["eval", "tiny.safetensors", "in.extxyz"], more].concat(), 1);
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn heads_charges_and_spins_come_from_frames_and_flags() {
    let folder = tempfile::tempdir().expect("a folder");
    let (folder, heads, ions) = (folder.path(), file("test/mace/two_heads.json"), file("test/mace/nonlinear.json"));
    write(folder, ["C", "O"], &["", "head=b", "head=elsewhere"]);
    let plain = fails(folder, &["eval", &heads, "in.extxyz", "--json"], 1);
    assert!(plain.contains("head `elsewhere`: the model has a, b"), "{plain}");
    let b = energies(folder, &heads, &["--head", "b"]);
    assert!(b[0] == b[1] && b[0] == b[2]);
    let a = energies(folder, &heads, &["--head", "a"]);
    assert!(a[0] != b[0] && a[1] == b[1] && a[2] == a[0]);
    let error = fails(folder, &["eval", &heads, "in.extxyz", "--head", "c"], 1);
    assert!(error.contains("head `c`"), "{error}");

    write(
        folder,
        ["H", "O"],
        &["", "total_charge=0 total_spin=1", "total_charge=1", "total_spin=3", "total_charge=1.0"],
    );
    let e = energies(folder, &ions, &[]);
    assert!(e[0] == e[1] && e[0] != e[2] && e[0] != e[3] && e[2] == e[4], "{e:?}");
    for (key, message) in [
        ("total_charge=0.5", "`total_charge` is no whole number"),
        ("total_charge=9", "total_charge 9: this model knows -2 to 2"),
    ] {
        write(folder, ["H", "O"], &[key]);
        let error = fails(folder, &["eval", &ions, "in.extxyz"], 1);
        assert!(error.contains(message), "{error}");
    }
}
