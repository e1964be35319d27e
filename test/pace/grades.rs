//! Extrapolation grades by pacemaker's active sets: those of python-ace, and each refusal.

use crate::pace_golden::{path, structures, text};
use acerust::model::Model;
use acerust::npz;
use acerust::plan::{ActiveSet, Device, Isa, Options, Outputs, Plan, Precision, RadialMode};
use acerust::structure::Structure;
use serde_json::Value;
use std::io::BufWriter;
use std::path::Path;

/// Numbers without any order, which no file has to keep.
fn entry(n: usize, seed: usize, i: usize, j: usize) -> f64 {
    assert!(i < n && j < n);
    ((i * 7919 + j * 104_729 + seed * 31) % 1009) as f64 / 1009.0 - 0.5
}

/// A file with a matrix of this size for each of the elements.
fn write(at: &Path, sets: &[(&str, usize)]) -> ActiveSet {
    let mut npz = npz::Writer::new(BufWriter::new(std::fs::File::create(at).expect("a file")));
    for (k, &(element, n)) in sets.iter().enumerate() {
        npz.start(element, "<f8", &[n, n]).expect("written");
        for i in 0..n {
            npz.write((0..n).map(|j| entry(n, k + 1, i, j).to_le_bytes())).expect("written");
        }
    }
    npz.finish().expect("written");
    ActiveSet::load(at).expect("an active set")
}

fn grades(plan: &Plan, s: &Structure) -> Vec<f64> {
    let mut grades = vec![f64::NAN; s.n_atoms()];
    plan.evaluate(s, &mut Outputs::new().grade(&mut grades[..])).expect("grades");
    grades
}

#[test]
fn grades_are_those_of_upstream() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("set.asi");
    let golden: Value = serde_json::from_slice(&text("grades.json")).expect("JSON");
    for (name, kind, sets) in [
        ("cuzr-zbl", "functions", &[("Cu", 50), ("Zr", 50)][..]),
        ("si-rank4", "functions", &[("Si", 197)][..]),
        ("si-rank4", "coefficients", &[("Si", 394)][..]),
        ("cuzr-zbl", "coefficients", &[("Cu", 100), ("Zr", 100)][..]),
    ] {
        let active = write(&file, sets);
        let model = Model::load(path(&format!("{name}.yaml"))).expect("a model");
        // What is written is read with its functions.
        let model = Model::from_json(model.to_json()).expect("a model");
        for isa in Isa::available() {
            // Upstream's are of tables, from which formulas are off by less than single precision is.
            let cases = [(Precision::F64, RadialMode::PaceTable, 1e-10), (Precision::F32, RadialMode::Exact, 5e-5)];
            for (precision, radial, tolerance) in cases {
                let options = Options::new().radial(radial).isa(isa);
                let mut plan = Plan::with_options(&model, Device::Cpu, precision, options).expect("a plan");
                plan.set_active_set(Some(active.clone())).expect("the set of this potential");
                for ((s, value), expected) in structures(name).iter().zip(golden[name][kind].as_array().expect("lists"))
                {
                    for (found, expected) in grades(&plan, s).iter().zip(crate::common::flat(expected)) {
                        let error = (found - expected).abs() / expected.max(1.0);
                        let label = format!("{name} {kind} {isa:?} {precision} {}", value["name"]);
                        assert!(error <= tolerance, "{label}: {found} {expected}");
                    }
                }
            }
        }
    }
}

#[test]
fn files_of_numpy_are_read() {
    let golden: Value = serde_json::from_slice(&text("grades.json")).expect("JSON");
    let model = Model::load(path("cuzr-zbl.yaml")).expect("a model");
    let mut plan = Plan::new(&model, Device::Cpu, Precision::F64).expect("a plan");
    plan.set_active_set(Some(ActiveSet::load(path("cuzr-zbl.asi")).expect("an active set"))).expect("its own");
    let (s, _) = structures("cuzr-zbl").swap_remove(0);
    // The golden grades are those of upstream's tables.
    for (found, expected) in grades(&plan, &s).iter().zip(crate::common::flat(&golden["cuzr-zbl"]["functions"][0])) {
        assert!((found - expected).abs() < 1e-7, "{found} {expected}");
    }
    // Energies come along as ever, and without a set there are no grades.
    let energy = plan.energy(&s).expect("an energy");
    let (mut with, mut out) = (0.0, vec![0.0; s.n_atoms()]);
    plan.evaluate(&s, &mut Outputs::new().energy(&mut with).grade(&mut out[..])).expect("both");
    assert_eq!(with, energy);
    plan.set_active_set(None).expect("none");
    let message = plan.evaluate(&s, &mut Outputs::new().grade(&mut out[..])).unwrap_err().to_string();
    assert_eq!(message, "argument: grade: the plan has no active set");
}

#[test]
fn other_sets_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("set.asi");
    let refusal = |potential: &str, sets: &[(&str, usize)]| {
        let model = Model::load(path(potential)).expect("a model");
        let mut plan = Plan::new(&model, Device::Cpu, Precision::F64).expect("a plan");
        plan.set_active_set(Some(write(&file, sets))).expect_err("a refusal").to_string()
    };
    let other = "argument: the active set is that of another model: ";
    let cases: [(&[(&str, usize)], &str); 5] = [
        (&[("Cu", 50)], "it has no Zr"),
        (&[("Cu", 50), ("Ni", 50), ("Zr", 50)], "it has Ni"),
        (&[("Cu", 50), ("Zr", 49)], "it has 49 functions of Zr, the potential 50, or 100 coefficients"),
        (&[("Cu", 50), ("Zr", 100)], "it has 100 functions of Zr, the potential 50, or 100 coefficients"),
        (&[("Cu", 3), ("Zr", 3)], "it has 3 functions of Cu"),
    ];
    for (sets, message) in cases {
        let found = refusal("cuzr-zbl.yaml", sets);
        assert!(found.starts_with(&format!("{other}{message}")), "{found}");
    }
    let found = refusal("cuzr-zbl.yace", &[("Cu", 50), ("Zr", 50)]);
    assert!(found.contains("which a PACE potential has in its .yaml alone"), "{found}");
    let load = |write: &dyn Fn(&mut npz::Writer<BufWriter<std::fs::File>>)| {
        let mut npz = npz::Writer::new(BufWriter::new(std::fs::File::create(&file).expect("a file")));
        write(&mut npz);
        npz.finish().expect("written");
        ActiveSet::load(&file).expect_err("a refusal").to_string()
    };
    let one = |name: &'static str, shape: &'static [usize], x: f64| {
        load(&move |npz| {
            npz.start(name, "<f8", shape).expect("written");
            npz.write((0..4).map(|_| x.to_le_bytes())).expect("written");
        })
    };
    assert!(one("Qq", &[2, 2], 1.0).ends_with("'Qq' is no element"));
    assert!(one("Cu", &[4], 1.0).ends_with("array `Cu`: no square matrix"));
    assert!(one("Cu", &[1, 4], 1.0).ends_with("array `Cu`: no square matrix"));
    assert!(one("Cu", &[3, 3], 1.0).ends_with("array `Cu`: no square matrix"));
    assert!(one("Cu", &[2, 2], f64::NAN).ends_with("the array `Cu` is damaged"));
    std::fs::write(&file, "no archive").expect("written");
    assert!(ActiveSet::load(&file).is_err());
}
