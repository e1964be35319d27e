//! Results of python-ace.

use crate::common::evaluate::{energy_forces_virial, site_energies};
use crate::common::{flat, golden_path, vectors};
use crate::pace_naive::{Mode, evaluate};
use acerust::model::{Model, PartSpec};
use acerust::pace::{Potential, products::Products};
use acerust::plan::Isa;
use acerust::plan::{Device, Options, Plan, Precision, RadialMode};
use acerust::structure::Structure;
use serde_json::Value;
use std::path::PathBuf;

pub const NAMES: [&str; 5] = ["si-rank4", "alni-sbessel", "cho-chebpow", "cuzr-zbl", "ch-linear"];

pub fn path(file: &str) -> PathBuf {
    golden_path(format!("pace/{file}"))
}

pub fn text(file: &str) -> Vec<u8> {
    std::fs::read(path(file)).expect("a golden file")
}

pub fn potential(file: &str) -> Potential {
    Potential::parse(&text(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// The structures of a file, with what belongs to them.
pub fn structures(name: &str) -> Vec<(Structure, Value)> {
    let json: Value = serde_json::from_slice(&text(&format!("{name}.json"))).expect("JSON");
    let Value::Array(list) = &json["structures"] else { panic!("no structures") };
    list.iter().map(|s| (structure(s), s.clone())).collect()
}

fn structure(value: &Value) -> Structure {
    let symbols = value["symbols"].as_array().expect("symbols").iter();
    let number = |s: &Value| acerust::element::number(s.as_str().expect("a symbol")).expect("an element");
    let cell = if value["cell"].is_null() { vec![[0.0; 3]; 3] } else { vectors(&value["cell"]) };
    Structure {
        numbers: symbols.map(number).collect(),
        positions: vectors(&value["positions"]),
        cell: [cell[0], cell[1], cell[2]],
        pbc: [value["pbc"].as_bool().expect("pbc"); 3],
    }
}

/// The largest differences of energies, and of forces and virial, from what the file says.
pub fn errors(expected: &Value, energies: &[f64], forces: &[[f64; 3]], virial: &[[f64; 3]; 3]) -> [f64; 2] {
    let worst = |found: &[f64], expected: &Value| {
        let expected = flat(expected);
        assert_eq!(found.len(), expected.len());
        found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    let forces = worst(forces.as_flattened(), &expected["forces"]);
    [worst(energies, &expected["energies"]), forces.max(worst(virial.as_flattened(), &expected["virial"]))]
}

#[test]
fn the_naive_evaluator_agrees() {
    for name in NAMES {
        let potential = potential(&format!("{name}.yace"));
        for (structure, value) in structures(name) {
            for (mode, key, limits) in [(Mode::Exact, "exact", [1e-11, 1e-9]), (Mode::Table, "table", [1e-11, 1e-10])] {
                let answer = evaluate(&potential, &structure, mode);
                let errors = errors(&value[key], &answer.energies, &answer.forces, &answer.virial);
                println!("{name} {} {key}: {errors:?}", value["name"]);
                for (error, limit) in errors.into_iter().zip(limits) {
                    assert!(error <= limit, "{name} {} {key}: {errors:?}", value["name"]);
                }
            }
        }
    }
}

/// The number of products by order, all centres together.
fn by_order(products: &Products) -> Vec<usize> {
    let longest = products.aa.iter().map(Vec::len).max().unwrap_or(0);
    (1..=longest).map(|n| products.aa.iter().filter(|factors| factors.len() == n).count()).collect()
}

#[test]
fn real_products_are_as_many_as_elsewhere() {
    for (name, expected) in NAMES.into_iter().zip([
        &[8, 160, 470, 747][..],
        &[10, 90, 140],
        &[15, 189, 118],
        &[10, 90, 22],
        &[12, 189, 154],
    ]) {
        assert_eq!(by_order(&Products::new(&potential(&format!("{name}.yace")))), expected, "{name}");
    }
}

#[test]
fn tables_in_single_precision_are_refused() {
    let model = Model::load(path("ch-linear.yace")).expect("a model");
    for precision in [Precision::F32, Precision::F32_DISTANCES] {
        let options = Options::new().radial(RadialMode::PaceTable);
        let error = Plan::with_options(&model, Device::Cpu, precision, options).unwrap_err().to_string();
        assert!(error.contains("radial pace-table"), "{error}");
    }
}

#[test]
fn both_files_of_a_potential_have_the_same_products() {
    for name in ["si-rank4", "cuzr-zbl"] {
        let [mut yaml, yace] = ["yaml", "yace"].map(|e| potential(&format!("{name}.{e}")));
        let [a, b] = [&yaml, &yace].map(Products::new);
        assert_eq!(a.a, b.a);
        for (z, densities) in b.densities.iter().enumerate() {
            for (p, expected) in densities.iter().enumerate() {
                let mut found = vec![0.0; a.aa.len()];
                a.densities[z][p].iter().for_each(|&(k, c)| found[k as usize] = c);
                let largest = expected.iter().fold(0.0, |m, (_, c)| c.abs().max(m));
                for &(k, c) in expected {
                    let k = a.aa.iter().position(|factors| *factors == b.aa[k as usize]).expect("the same product");
                    assert!((std::mem::take(&mut found[k]) - c).abs() <= 1e-14 * largest);
                }
                assert!(found.iter().all(|c| c.abs() <= 1e-14 * largest), "{name}: a product too many");
            }
        }
        // Densities are sums of invariant functions.
        for (z, functions) in a.functions.iter().enumerate() {
            assert_eq!(functions.len(), yaml.functions[z].len());
            let mut sum = vec![0.0; a.aa.len()];
            for (row, f) in functions.iter().zip(&yaml.functions[z]) {
                let c = f.coefficients[0] / f.coupling[0];
                row.iter().for_each(|&(k, g)| sum[k as usize] += c * g);
            }
            a.densities[z][0].iter().for_each(|&(k, c)| sum[k as usize] -= c);
            assert!(sum.iter().all(|x| x.abs() < 1e-12), "{name}");
        }
        // All else is equal, energies of isolated atoms apart, which a `.yaml` does not have.
        yaml.e0.clone_from(&yace.e0);
        assert_eq!((yaml.bonds, yaml.embeddings, yaml.inner), (yace.bonds, yace.embeddings, yace.inner));
    }
}

/// Energies (n_atoms), forces and virial.
pub type Results = (Vec<f64>, Vec<[f64; 3]>, [[f64; 3]; 3]);

/// What a plan says about a graph, energies alone included.
pub fn results(plan: &Plan, structure: &Structure) -> Results {
    let graph = plan.graph(structure).expect("a graph");
    let n = structure.n_atoms();
    let (mut sites, mut forces) = (vec![f64::NAN; n], vec![[f64::NAN; 3]; n]);
    let (energy, virial) =
        energy_forces_virial(plan, (&graph, &structure.numbers), &mut sites, &mut forces).expect("results");
    assert!((energy - sites.iter().sum::<f64>()).abs() <= 1e-12 * energy.abs().max(1.0));
    let mut alone = vec![f64::NAN; n];
    site_energies(plan, (&graph, &structure.numbers), &mut alone).expect("energies");
    let scale = sites.iter().fold(1.0_f64, |m, e| m.max(e.abs()));
    let tolerance = if plan.precision() == Precision::F64 { 1e-13 } else { 2e-5 };
    assert!(alone.iter().zip(&sites).all(|(a, b)| (a - b).abs() <= tolerance * scale), "{alone:?} {sites:?}");
    (sites, forces, virial)
}

/// A precision and radial functions, the results that they are held against, and how far energies, and forces and virial, may be off:
/// in double precision in eV and Å, else relative to the largest entry.
pub type Case = (Precision, RadialMode, &'static str, [f64; 2]);

#[track_caller]
pub fn check(label: &str, case: &Case, value: &Value, (energies, forces, virial): &Results) {
    let &(precision, radial, key, limits) = case;
    let expected = &value[key];
    let mut errors = errors(expected, energies, forces, virial);
    if precision != Precision::F64 {
        let largest = |x: &Value| flat(x).iter().fold(1.0_f64, |m, x| m.max(x.abs()));
        errors[0] /= largest(&expected["energies"]);
        errors[1] /= largest(&expected["forces"]).max(largest(&expected["virial"]));
    }
    println!("{label} {precision} {radial:?} {}: {errors:?}", value["name"]);
    let close = errors.iter().zip(limits).all(|(error, limit)| *error <= limit);
    assert!(close, "{label} {precision} {radial:?} {}: {errors:?}", value["name"]);
}

#[test]
fn plans_agree() {
    let cases: [Case; 3] = [
        (Precision::F64, RadialMode::Exact, "exact", [1e-11, 1e-9]),
        (Precision::F64, RadialMode::PaceTable, "table", [1e-11, 1e-10]),
        (Precision::F32, RadialMode::Exact, "exact", [2e-5, 2e-5]),
    ];
    for (name, isa) in NAMES.into_iter().flat_map(|n| Isa::available().into_iter().map(move |isa| (n, isa))) {
        let model = Model::load(path(&format!("{name}.yace"))).expect("a model");
        for case in &cases {
            let options = Options::new().radial(case.1).isa(isa);
            let plan = Plan::with_options(&model, Device::Cpu, case.0, options).expect("a plan");
            for (structure, value) in structures(name) {
                check(&format!("{name} {isa:?}"), case, &value, &results(&plan, &structure));
            }
        }
    }
}

#[test]
fn both_files_of_a_potential_are_the_same_model() {
    for name in ["si-rank4", "cuzr-zbl"] {
        let [yaml, yace] = ["yaml", "yace"].map(|e| Model::load(path(&format!("{name}.{e}"))).expect("a model"));
        let e0 = match &yace.spec().parts[0] {
            PartSpec::OneBody(one) => one.e0.clone(),
            _ => panic!("no one-body part"),
        };
        let [yaml, yace] = [yaml, yace].map(|m| Plan::new(&m, Device::Cpu, Precision::F64).expect("a plan"));
        for (structure, value) in structures(name) {
            let (a, b) = (results(&yaml, &structure), results(&yace, &structure));
            let energies = a.0.iter().zip(&b.0).zip(&structure.numbers);
            let largest = b.1.as_flattened().iter().fold(1.0_f64, |m, x| m.max(x.abs()));
            for ((a, b), &z) in energies {
                let z = yace.model().species_index(z).expect("a species");
                assert!((a + e0[z] - b).abs() <= 1e-13 * b.abs().max(1.0), "{name} {}", value["name"]);
            }
            for (a, b) in a.1.as_flattened().iter().zip(b.1.as_flattened()) {
                assert!((a - b).abs() <= 1e-13 * largest, "{name} {}: {a} {b}", value["name"]);
            }
        }
    }
}
