//! Results of python-ace.

use crate::common::{flat, vectors};
use crate::pace_naive::{Mode, evaluate};
use acerust::pace::{Potential, products::Products};
use acerust::structure::Structure;
use serde_json::Value;
use std::path::PathBuf;

pub const NAMES: [&str; 5] = ["si-rank4", "alni-sbessel", "cho-chebpow", "cuzr-zbl", "ch-linear"];

pub fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("test/golden/pace").join(file)
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
