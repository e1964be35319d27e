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
    for name in ["frames", "atoms", "energy_rmse", "energy_mae", "forces_rmse", "forces_mae"] {
        assert_eq!(again["all"][name], json["all"][name], "{name}");
    }
    // The data have no stresses, the results have.
    assert_eq!((&json["all"]["stress_rmse"], &again["all"]["stress_rmse"]), (&Json::Null, &Json::from(0.0)));
    let same = object(&ok(folder.path(), &["compare", &model, "out.extxyz", "--json"]));
    assert_eq!(same["all"]["forces_rmse"], 0.0);

    let svg = std::fs::read_to_string(folder.path().join("parity.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    // A point for every energy and force component, one a group in each of two legends.
    assert_eq!(svg.matches("<circle").count(), 25 + 3 * 1525 + 2 * 4);
    for title in ["energy, eV/atom: RMSE 4.14 meV/atom", "force components, eV/Å: RMSE 0.1289 eV/Å"] {
        assert!(svg.contains(title), "{title}");
    }
    let table = ok(folder.path(), &["compare", &model, &data, "--each"]);
    assert!(table.contains("\nall                  25    1525       4.14     3.00     0.1289   0.0846\n"), "{table}");
}

#[test]
fn comparison_needs_references() {
    let folder = prepare("si_o3");
    let error = fails(folder.path(), &["compare", "model.json", "in.extxyz"], 1);
    assert!(error.contains("in.extxyz: no frame has `energy`, `forces`, `virial` or `stress`"), "{error}");
    std::fs::write(folder.path().join("in.extxyz"), "1\nProperties=species:S:1:pos:R:3 energy=high\nSi 0 0 0\n")
        .unwrap();
    let error = fails(folder.path(), &["compare", "model.json", "in.extxyz"], 1);
    assert!(error.contains("frame 0: `energy` is not a finite number"), "{error}");
    std::fs::write(folder.path().join("in.extxyz"), "1\nProperties=species:S:1:pos:R:3:forces:S:1 E=1\nSi 0 0 0 x\n")
        .unwrap();
    let error = fails(folder.path(), &["compare", "model.json", "in.extxyz"], 1);
    assert!(error.contains("frame 0: column `forces` is not three finite numbers an atom"), "{error}");
    std::fs::write(folder.path().join("in.extxyz"), "1\nProperties=species:S:1:pos:R:3 E=1\nSi 0 0 0\n").unwrap();
    let json = object(&ok(folder.path(), &["compare", "model.json", "in.extxyz", "--json", "--energy-key", "E"]));
    assert!(json["all"]["forces_rmse"].is_null() && json["all"]["energy_rmse"].is_f64(), "{json}");
}

#[test]
fn a_key_that_is_asked_for_is_there() {
    let folder = prepare("si_o3");
    std::fs::write(folder.path().join("in.extxyz"), "1\nProperties=species:S:1:pos:R:3 energy=1\nSi 0 0 0\n").unwrap();
    let object = ok(folder.path(), &["compare", "model.json", "in.extxyz", "--energy-key", "energy"]);
    assert!(object.contains("RMSE"));
    for option in ["--energy-key", "--forces-key", "--virial-key", "--stress-key", "--group-by"] {
        let error = fails(folder.path(), &["compare", "model.json", "in.extxyz", option, "absent"], 1);
        assert!(error.contains("in.extxyz: no frame has `absent`"), "{option}: {error}");
    }
}

#[test]
fn stresses_are_compared() {
    let folder = prepare("si_bench");
    let at = folder.path();
    ok(at, &["eval", "model.json", "in.extxyz", "-o", "out.extxyz"]);
    let compare = |more: &[&str]| object(&ok(at, &[&["compare", "model.json", "out.extxyz", "--json"], more].concat()));
    assert!(compare(&[])["all"]["stress_rmse"].as_f64().unwrap() < 1e-12);
    // Both spellings are the same stress; a larger one by 1 eV/Å³ on the diagonal is 160 GPa away in three of six components.
    let mut frames = acerust::extxyz::read(at.join("out.extxyz"), &acerust::extxyz::Keys::none()).unwrap();
    for frame in &mut frames {
        let volume = frame.structure.volume();
        for (key, step) in [("stress", 1.0), ("virial", -volume)] {
            let mut t = frame.info[key].as_tensor().unwrap();
            (0..3).for_each(|k| t[k][k] += step);
            let numbers = t.as_flattened().iter().map(|&x| acerust::extxyz::Value::Real(x)).collect();
            frame.info.insert(key.into(), acerust::extxyz::Value::Array(numbers));
        }
    }
    acerust::extxyz::write(at.join("out.extxyz"), &frames, &acerust::extxyz::Keys::none()).unwrap();
    for more in [&[][..], &["--virial-key", "virial"]] {
        let json = compare(more);
        let (rmse, mae) = (json["all"]["stress_rmse"].as_f64().unwrap(), json["all"]["stress_mae"].as_f64().unwrap());
        assert!((rmse / (160.2176634 * 0.5f64.sqrt()) - 1.0).abs() < 1e-9, "{rmse}");
        assert!((mae / (160.2176634 * 0.5) - 1.0).abs() < 1e-9, "{mae}");
    }
    let table = ok(at, &["compare", "model.json", "out.extxyz", "--plot", "parity.svg"]);
    assert!(table.contains("stress") && table.contains("GPa"), "{table}");
    let svg = std::fs::read_to_string(at.join("parity.svg")).unwrap();
    assert!(svg.contains("stress, GPa: RMSE 113.291 GPa"), "{svg}");
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
