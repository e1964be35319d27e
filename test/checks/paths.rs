//! One structure has one energy, to the last bit: on a graph, on a list, whatever that has been through, alone or with forces.

use super::cases::Case;
use super::models::random_model;
use super::results::{Errors, largest, on_graph};
use super::structures;
use crate::common::evaluate::{energy_forces_virial, site_grads};
use acerust::graph::{Edges, Graph};
use acerust::ndarray::Array3;
use acerust::plan::{Device, Outputs};

pub fn one_sum(cases: &[Case]) {
    for seed in [0, 1, 3, 6] {
        let model = random_model(seed);
        for (name, s) in structures::all(seed, model.species()) {
            // Kernels of a device add edges in the order of their list.
            for case in cases.iter().filter(|case| case.device == Device::Cpu) {
                let (plan, label) = (case.plan(&model), format!("{}, {name}, seed {seed}", case.label()));
                let n = s.n_atoms();
                let mut list = plan.neighbours(0.7).unwrap();
                for step in 0..8 {
                    // Back and forth, so that the list has edges in the order of other places.
                    let moved = s.clone().rattle(0.15, step);
                    let graph = plan.graph(&moved).unwrap();
                    let expected = on_graph(&plan, &graph, &s.numbers);
                    let (mut sites, mut forces) = (vec![f64::NAN; n], vec![[f64::NAN; 3]; n]);
                    let found = energy_forces_virial(&plan, (&moved, &mut list), &mut sites, &mut forces).unwrap();
                    assert_eq!(sites, expected.site_energies, "{label}: a list");
                    assert_eq!(found.0, expected.energy, "{label}: a list");
                    for alone in [
                        plan.energy(&moved),
                        plan.energy((&moved, &mut list)),
                        plan.energy((&graph, &s.numbers)),
                        plan.energy((&plan.graph(&moved).unwrap(), &s.numbers)),
                    ] {
                        assert_eq!(alone.unwrap(), expected.energy, "{label}: energy alone");
                    }
                }
                assert!(list.builds() < 8, "{label}: the list is reused");
            }
        }
    }
}

/// Virials of atoms add up to the virial, and are halves of `−g ⊗ r`.
pub fn virials_of_atoms(cases: &[Case]) {
    let mut errors = Errors::default();
    let model = random_model(3);
    for (name, s) in structures::all(4, model.species()) {
        for case in cases {
            let plan = case.plan(&model);
            let graph = plan.graph(&s).unwrap();
            let n = s.n_atoms();
            let expected = on_graph(&plan, &graph, &s.numbers);
            let mut found = Array3::from_elem((n, 3, 3), f64::NAN);
            plan.evaluate((&graph, &s.numbers), &mut Outputs::new().site_virials(&mut found)).unwrap();
            let mut gradients = vec![[f64::NAN; 3]; graph.n_edges()];
            site_grads(&plan, &graph, &s.numbers, &mut vec![0.0; n], &mut gradients).unwrap();
            let mut halves = Array3::<f64>::zeros((n, 3, 3));
            for i in 0..n {
                for e in graph.edges(i) {
                    for (a, b) in (0..9).map(|k| (k / 3, k % 3)) {
                        let half = -0.5 * gradients[e][a] * graph.vectors()[e][b];
                        halves[[i, a, b]] += half;
                        halves[[graph.neighbours()[e] as usize, a, b]] += half;
                    }
                }
            }
            let scale = largest(gradients.as_flattened()) * plan.rcut();
            let (found, halves) = (found.as_slice().unwrap(), halves.as_slice().unwrap());
            errors.check(&case.rounding(), name, "virials of atoms", (found, halves), scale);
            let sum: Vec<f64> = (0..9).map(|k| found.iter().skip(k).step_by(9).sum()).collect();
            let virial = expected.virial.as_flattened();
            errors.check(&case.rounding(), name, "their sum", (&sum, virial), scale * n as f64);
        }
    }
    errors.finish();
}

/// Centres that are not owned have no energy; a graph from edges follows its positions; one whose cutoff is too short is refused.
pub fn owned_centres(cases: &[Case]) {
    let model = random_model(1);
    let s = structures::bulk(3, model.species());
    for case in cases {
        let plan = case.plan(&model);
        let whole = plan.graph(&s).unwrap();
        let n = s.n_atoms();
        let edges = |n_owned, cutoff| Edges {
            cutoff,
            n_owned,
            n_centres: n,
            n_atoms: n,
            first: whole.first(),
            neighbour: whole.neighbours(),
            shift: whole.shifts(),
        };
        let n_owned = n / 3;
        let mut graph = Graph::from_edges(&edges(n_owned, plan.rcut()), whole.vectors()).unwrap();
        let (all, found) = (on_graph(&plan, &whole, &s.numbers), on_graph(&plan, &graph, &s.numbers));
        let label = case.label();
        assert_eq!(found.site_energies, all.site_energies[..n_owned], "{label}");
        let mut gradients = vec![[f64::NAN; 3]; graph.n_edges()];
        site_grads(&plan, &graph, &s.numbers, &mut vec![0.0; n_owned], &mut gradients).unwrap();
        let mut forces = vec![[0.0; 3]; n];
        for i in 0..n {
            for e in graph.edges(i) {
                assert!(i < n_owned || gradients[e] == [0.0; 3], "{label}: edge {e}");
                (0..3).for_each(|a| forces[i][a] += gradients[e][a]);
                (0..3).for_each(|a| forces[whole.neighbours()[e] as usize][a] -= gradients[e][a]);
            }
        }
        let scale = largest(gradients.as_flattened());
        let worst = forces.iter().flatten().zip(found.forces.iter().flatten()).map(|(a, b)| (a - b).abs());
        assert!(worst.fold(0.0, f64::max) <= case.rounding().tolerance * scale, "{label}: forces");

        let moved = s.clone().rattle(0.05, 8);
        graph.update_positions(&moved.positions, &moved.cell).unwrap();
        let again = Graph::from_positions(&edges(n_owned, plan.rcut()), &moved.positions, &moved.cell).unwrap();
        assert!(graph == again, "{label}");
        let mut coincident = moved.clone();
        coincident.positions[1] = coincident.positions[0];
        if graph.update_vectors(&coincident).is_err() {
            let message = plan.energy((&graph, &s.numbers)).unwrap_err().to_string();
            assert_eq!(message, "graph: its last update failed", "{label}");
        }
        let short = Graph::from_edges(&edges(n, 0.6 * plan.rcut()), whole.vectors()).unwrap();
        let narrow = Graph::build(&s, 0.6 * plan.rcut()).unwrap();
        for graph in [&short, &narrow] {
            let message = plan.energy((graph, &s.numbers)).unwrap_err().to_string();
            assert!(message.contains("is less than the potential's"), "{label}: {message}");
            let refused = plan.assemble(graph, &s.numbers, &mut acerust::plan::Rows::new());
            assert!(refused.is_err() && plan.site_basis_jacobian(graph, &s.numbers, None, None).is_err(), "{label}");
        }
    }
}
