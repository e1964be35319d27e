//! Graphs made in other ways: with ghost atoms, with edges longer than the cutoff.

use super::cases::Case;
use super::models::random_model;
use super::results::{Errors, largest, on_graph, results};
use super::structures;
use crate::common::evaluate::site_grads;
use acerust::graph::{Edges, Graph, NeighbourList};
use acerust::plan::Device;
use std::collections::HashMap;

/// Periodic images as ghosts: their forces, folded back, are those of the periodic system.
pub fn ghosts(cases: &[Case]) {
    let mut errors = Errors::default();
    for seed in [0, 1, 2, 6] {
        let model = random_model(seed);
        for (name, s) in structures::all(seed, model.species()) {
            let n = s.n_atoms();
            for case in cases {
                let plan = case.plan(&model);
                let periodic = plan.graph(&s).unwrap();
                let expected = on_graph(&plan, &periodic, &s.numbers);
                // The atom behind each ghost, and a ghost for each image.
                let (mut owner, mut ghosts): (Vec<usize>, _) = ((0..n).collect(), HashMap::new());
                let neighbour: Vec<u32> = (periodic.neighbours().iter().zip(periodic.shifts()))
                    .map(|(&j, &shift)| match shift {
                        [0, 0, 0] => j,
                        _ => *ghosts.entry((j, shift)).or_insert_with(|| {
                            owner.push(j as usize);
                            owner.len() as u32 - 1
                        }),
                    })
                    .collect();
                let edges = Edges {
                    cutoff: plan.rcut(),
                    n_owned: n,
                    n_centres: n,
                    n_atoms: owner.len(),
                    first: periodic.first(),
                    neighbour: &neighbour,
                    shift: &[],
                };
                let graph = Graph::from_edges(&edges, periodic.vectors()).unwrap();
                let numbers: Vec<u8> = owner.iter().map(|&i| s.numbers[i]).collect();
                let found = on_graph(&plan, &graph, &numbers);
                let label = format!("{}, {name}, seed {seed}", case.label());
                assert_eq!(found.site_energies, expected.site_energies, "{label}");
                assert_eq!((found.energy, found.virial), (expected.energy, expected.virial), "{label}");
                let mut folded = vec![[0.0; 3]; n];
                for (force, &i) in found.forces.iter().zip(&owner) {
                    (0..3).for_each(|a| folded[i][a] += force[a]);
                }
                let scale = largest(found.forces.as_flattened()).max(1e-300);
                let forces = (folded.as_flattened(), expected.forces.as_flattened());
                errors.check(&Case { tolerance: 1e-12, ..*case }, name, "forces", forces, scale);
            }
        }
    }
    errors.finish();
}

/// Edges between the cutoff and cutoff plus skin change nothing, and have no gradient.
pub fn skin(cases: &[Case]) {
    let mut errors = Errors::default();
    for seed in [1, 3] {
        let model = random_model(seed);
        for (name, s) in structures::all(seed, model.species()) {
            let moved = s.clone().rattle(0.1, seed);
            for case in cases {
                let plan = case.plan(&model);
                let mut list = NeighbourList::new(plan.rcut(), 0.8).unwrap();
                list.update(&s).unwrap();
                list.update(&moved).unwrap();
                assert_eq!(list.builds(), 1, "the list is reused");
                let (graph, expected) = (list.graph(), results(&plan, &moved));
                let found = on_graph(&plan, graph, &s.numbers);
                let mut gradients = vec![[f64::NAN; 3]; graph.n_edges()];
                let mut sites = vec![f64::NAN; s.n_atoms()];
                site_grads(&plan, graph, &s.numbers, &mut sites, &mut gradients).unwrap();
                let scale = largest(gradients.as_flattened());
                let case = case.rounding();
                let sites = largest(&expected.site_energies);
                let mut check = |what, found: &[f64], expected: &[f64], scale: f64| {
                    errors.check(&case, name, what, (found, expected), scale);
                };
                check("site energies", &found.site_energies, &expected.site_energies, sites);
                check("forces", found.forces.as_flattened(), expected.forces.as_flattened(), scale);
                let virial = expected.virial.as_flattened();
                check("virial", found.virial.as_flattened(), virial, largest(virial).max(scale * plan.rcut()));
                for (r, g) in graph.vectors().iter().zip(&gradients) {
                    let length = r.iter().map(|x| x * x).sum::<f64>().sqrt();
                    assert!(length < plan.rcut() || *g == [0.0; 3], "{}: an edge of {length} Å", case.label());
                }
            }
        }
    }
    errors.finish();
}

/// A graph whose atoms move is one of the vectors that they have now, edges beyond the cutoff among them, whatever is asked for.
pub fn moving(cases: &[Case]) {
    let mut errors = Errors::default();
    for seed in [1, 3, 6] {
        let model = random_model(seed);
        for (name, s) in structures::all(seed, model.species()) {
            for case in cases {
                let plan = case.plan(&model);
                let wide = Graph::build(&s, plan.rcut() + 0.8).unwrap();
                let n = s.n_atoms();
                for n_owned in [n, n / 2] {
                    let edges = Edges {
                        cutoff: plan.rcut(),
                        n_owned,
                        n_centres: n,
                        n_atoms: n,
                        first: wide.first(),
                        neighbour: wide.neighbours(),
                        shift: wide.shifts(),
                    };
                    let mut graph = Graph::from_positions(&edges, &s.positions, &s.cell).unwrap();
                    for step in 0..3 {
                        let moved = s.clone().rattle(0.1, step);
                        graph.update_vectors(&moved).unwrap();
                        let of_now = Graph::from_positions(&edges, &moved.positions, &moved.cell).unwrap();
                        let still = Graph::from_edges(&edges, of_now.vectors()).unwrap();
                        let (found, expected) =
                            (on_graph(&plan, &graph, &s.numbers), on_graph(&plan, &still, &s.numbers));
                        let label = format!("{}, {name}, seed {seed}, step {step}", case.label());
                        if case.device == Device::Cpu {
                            assert_eq!(found, expected, "{label}");
                        }
                        let rounding = case.rounding();
                        let gradients = |graph: &Graph| {
                            let mut gradients = vec![[f64::NAN; 3]; graph.n_edges()];
                            site_grads(&plan, graph, &s.numbers, &mut vec![0.0; n_owned], &mut gradients).unwrap();
                            gradients
                        };
                        let of_edges = gradients(&still);
                        assert_eq!(gradients(&graph), of_edges, "{label}: gradients of edges");
                        let scale = largest(&expected.site_energies).max(1e-300);
                        let energies = (&found.site_energies[..], &expected.site_energies[..]);
                        errors.check(&rounding, name, "site energies", energies, scale);
                        // Forces of an atom among its own images are what rounding leaves of their gradients.
                        let scale = largest(of_edges.as_flattened()).max(1e-300);
                        let forces = (found.forces.as_flattened(), expected.forces.as_flattened());
                        errors.check(&rounding, name, "forces", forces, scale);
                        let virials = (found.virial.as_flattened(), expected.virial.as_flattened());
                        errors.check(&rounding, name, "virial", virials, scale * plan.rcut() * n.max(1) as f64);
                        let energy = |graph: &Graph| plan.energy((graph, &s.numbers[..])).unwrap();
                        let close = (energy(&graph) - energy(&still)).abs();
                        assert!(
                            close <= case.rounding().tolerance * largest(&expected.site_energies) * n as f64,
                            "{label}"
                        );
                    }
                }
            }
        }
    }
    errors.finish();
}
