//! Random bases up to order 6: invariant under rotations, reflections and permutations, of full rank, and differentiable.

use acerust::build::{self, Recipe};
use acerust::plan::{Device, Plan, Precision};
use acerust::structure::Structure;
use serde_json::json;

fn basis(plan: &Plan, structure: &Structure) -> Vec<f64> {
    let mut basis = vec![0.0; structure.n_atoms() * plan.n_basis()];
    let graph = plan.graph(structure).unwrap();
    crate::common::evaluate::site_basis(plan, &graph, &structure.numbers, &mut basis).unwrap();
    basis
}

/// A rotation by Rodrigues' formula, and an inversion.
fn turned(structure: &Structure, angle: f64) -> Structure {
    let (axis, (s, c)) = ([2.0 / 7.0, 3.0 / 7.0, 6.0 / 7.0], angle.sin_cos());
    let turn = |x: [f64; 3]| {
        let dot: f64 = (0..3).map(|k| axis[k] * x[k]).sum();
        let cross = |k: usize| axis[(k + 1) % 3] * x[(k + 2) % 3] - axis[(k + 2) % 3] * x[(k + 1) % 3];
        std::array::from_fn(|k| -(c * x[k] + s * cross(k) + (1.0 - c) * dot * axis[k]))
    };
    Structure { positions: structure.positions.iter().map(|&x| turn(x)).collect(), ..structure.clone() }
}

#[test]
fn bases_are_invariant() {
    for (order, degree, wl, preset, elements) in [
        (1, 6.0, 1.5, "ace1", vec!["Si"]),
        (2, 7.0, 0.7, "ace1", vec!["Ti", "Al"]),
        (3, 9.0, 0.8, "ace", vec!["Si", "O"]),
        (4, 8.0, 0.6, "ace1", vec!["Si"]),
        (5, 8.0, 0.55, "ace", vec!["O"]),
        (6, 9.0, 0.6, "ace1", vec!["Si"]),
        (6, 8.5, 0.45, "ace", vec!["Si"]),
    ] {
        let recipe = json!({ "preset": preset, "elements": elements, "order": order, "degree": degree, "wL": wl,
                             "rcut": 5.0, "seed": order });
        let model = build::model(&Recipe::from_json(&recipe.to_string()).unwrap()).unwrap();
        let plan = Plan::new(&model, Device::Cpu, Precision::F64).unwrap();
        let n = plan.n_basis();
        let mut cluster = Structure::fcc(14, 3.6).repeat([2, 2, 2]).rattle(0.3, order);
        cluster.pbc = [false; 3];
        for (k, z) in cluster.numbers.iter_mut().enumerate() {
            *z = model.species()[k % elements.len()];
        }
        let expected = basis(&plan, &cluster);
        let label = format!("{recipe}: {n} functions");
        for (b, column) in (0..n).map(|b| (b, (0..cluster.n_atoms()).map(move |i| i * n + b))) {
            assert!(column.clone().any(|k| expected[k].abs() > 1e-10), "{label}: function {b} is zero");
        }
        crate::common::assert_close(&label, &basis(&plan, &turned(&cluster, 1.3)), &expected, 1e-11);
        let mut permuted = cluster.clone();
        permuted.positions.reverse();
        permuted.numbers.reverse();
        let found: Vec<f64> = basis(&plan, &permuted).chunks(n).rev().flatten().copied().collect();
        crate::common::assert_close(&label, &found, &expected, 1e-11);
    }
}
