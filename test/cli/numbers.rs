//! `compare` and `bench`: errors and times.

use super::{fails, file, ok, prepare};
use serde_json::Value as Json;

fn object(text: &str) -> Json {
    serde_json::from_str(text.lines().last().expect("a line")).expect("an object")
}

#[test]
fn the_silicon_potential_has_its_known_errors() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data) = (file("benchmark/models/si_fit.json"), file("benchmark/data/Si_test.extxyz"));
    let more = ["-o", "out.extxyz", "--plot", "parity.svg"];
    let json = object(&ok(folder.path(), &[&["compare", &model, &data, "--json"][..], &more].concat()));
    for (name, expected, half) in [
        ("energy_rmse", 4.14e-3, 5e-6),
        ("energy_mae", 3.00e-3, 5e-6),
        ("forces_rmse", 0.129, 5e-4),
        ("forces_mae", 0.0846, 5e-5),
    ] {
        let found = json["all"][name].as_f64().unwrap();
        assert!((found - expected).abs() <= half, "{name}: {found} instead of {expected}");
    }
    assert_eq!(json["all"]["atoms"], 1525);
    let sums: u64 = json["groups"].as_object().unwrap().values().map(|g| g["frames"].as_u64().unwrap()).sum();
    assert_eq!((sums, json["groups"]["Elastic"]["frames"].as_u64()), (25, Some(6)));

    // The written file compares alike under the names that the references moved to.
    let keys = ["--energy-key", "ref_energy", "--forces-key", "ref_forces"];
    let again = object(&ok(folder.path(), &[&["compare", &model, "out.extxyz", "--json"][..], &keys].concat()));
    assert_eq!(again["all"], json["all"]);
    let same = object(&ok(folder.path(), &["compare", &model, "out.extxyz", "--json"]));
    assert_eq!(same["all"]["forces_rmse"], 0.0);

    let svg = std::fs::read_to_string(folder.path().join("parity.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    // A point for every energy and force component, one a group in each of two legends.
    assert_eq!(svg.matches("<circle").count(), 25 + 3 * 1525 + 2 * 4);
    let table = ok(folder.path(), &["compare", &model, &data, "--each"]);
    assert!(table.contains("\nall                  25    1525       4.14     3.00     0.1289   0.0846\n"), "{table}");
}

#[test]
fn comparison_needs_references() {
    let folder = prepare("si_o3");
    let error = fails(folder.path(), &["compare", "model.json", "in.extxyz"], 1);
    assert!(error.contains("in.extxyz: no frame has `energy` or `forces`"), "{error}");
    std::fs::write(folder.path().join("in.extxyz"), "1\nProperties=species:S:1:pos:R:3 energy=high\nSi 0 0 0\n")
        .unwrap();
    let error = fails(folder.path(), &["compare", "model.json", "in.extxyz"], 1);
    assert!(error.contains("frame 0: `energy` is not a finite number"), "{error}");
    std::fs::write(folder.path().join("in.extxyz"), "1\nProperties=species:S:1:pos:R:3:forces:S:1 E=1\nSi 0 0 0 x\n")
        .unwrap();
    let error = fails(folder.path(), &["compare", "model.json", "in.extxyz"], 1);
    assert!(error.contains("frame 0: column `forces` is not three finite numbers an atom"), "{error}");
    let json = object(&ok(
        folder.path(),
        &["compare", "model.json", "in.extxyz", "--json", "--energy-key", "E", "--forces-key", "f"],
    ));
    assert!(json["all"]["forces_rmse"].is_null() && json["all"]["energy_rmse"].is_f64(), "{json}");
}

#[test]
fn bench_measures_what_it_says() {
    let folder = prepare("si_bench");
    let bench =
        |more: &[&str]| ok(folder.path(), &[&["bench", "model.json", "in.extxyz", "--seconds", "0.01"], more].concat());
    let json = object(&bench(&["--json", "--threads", "1", "--repeat", "1", "2", "1"]));
    let number = |name: &str| json[name].as_f64().unwrap_or_else(|| panic!("{name} in {json}"));
    assert_eq!((number("threads"), number("atoms")), (1.0, 128.0));
    for what in ["us_per_atom", "us_per_atom_energy", "us_per_atom_rows", "us_per_atom_list"] {
        assert!(0.0 < number(what) && number(what) <= number(&format!("{what}_median")), "{what}: {json}");
    }
    let rate = number("nominal_flops_per_atom") / number("us_per_atom") * 1e-3;
    assert!((rate / number("gflops") - 1.0).abs() < 1e-9, "{json}");
    assert!((rate / number("fma_peak_gflops") / number("share_of_peak") - 1.0).abs() < 1e-9, "{json}");
    assert!(bench(&["--frame", "0"]).contains("energy, forces, virial"));
    let error = fails(folder.path(), &["bench", "model.json", "in.extxyz", "--frame", "7"], 1);
    assert!(error.contains("in.extxyz: no frame 7 among 1"), "{error}");
    fails(folder.path(), &["bench", "model.json", "in.extxyz", "--repeat", "1", "0", "1"], 2);
}
