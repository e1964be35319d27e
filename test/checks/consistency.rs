//! What a plan says in one way it says in every other way.

use super::cases::Case;
use super::models::{self, random_model};
use super::random::Random;
use super::results::{Errors, Order, contract, jacobian, largest, on_graph, results, rows};
use super::structures;
use crate::common::evaluate::{committee, site_grads};
use acerust::ndarray::ArrayViewMut2;
use acerust::plan::Rows;

const VOIGT: [usize; 6] = [0, 4, 8, 5, 2, 1];

/// `rows · θ` are energy, forces and virial without one-body energies.
pub fn rows_times_parameters(cases: &[Case]) {
    let mut errors = Errors::default();
    for seed in [0, 1, 5] {
        // Virial rows are symmetric, so the basis has to be invariant.
        let model = models::invariant_model(seed, 1 + seed as usize % 3, kind(seed), seed == 5);
        for (name, s) in structures::all(seed, model.species()) {
            for case in cases {
                let (plan, rounding) = (case.plan(&model), case.rounding());
                let graph = plan.graph(&s).unwrap();
                let direct = on_graph(&plan, &graph, &s.numbers);
                let theta = model.linear_parameters();
                let [e, f, v] = rows(&plan, &graph, &s.numbers, Order::RowMajor, 0, 9);
                let e0 = -3.0 * s.n_atoms() as f64;
                let mut gradients = vec![[0.0; 3]; graph.n_edges()];
                site_grads(&plan, &graph, &s.numbers, &mut vec![0.0; s.n_atoms()], &mut gradients).unwrap();
                let scale = largest(gradients.as_flattened());
                let sites = largest(&direct.site_energies) * s.n_atoms() as f64;
                errors.check(&rounding, name, "energy", (&[contract(&e, &theta)[0] + e0], &[direct.energy]), sites);
                errors.check(&rounding, name, "forces", (&contract(&f, &theta), direct.forces.as_flattened()), scale);
                let virial = direct.virial.as_flattened();
                let scale = largest(virial).max(scale * model.rcut());
                errors.check(&rounding, name, "virial", (&contract(&v, &theta), virial), scale);

                let (_, jacobian) = jacobian(&plan, &graph, &s.numbers);
                let n_b = plan.n_basis();
                let by_species = parameters_by_species(&model);
                let contracted: Vec<f64> = (0..graph.n_centres())
                    .flat_map(|i| graph.edges(i).map(move |e| (i, e)))
                    .flat_map(|(i, e)| {
                        let weights = &by_species[model.species_index(s.numbers[i]).unwrap()];
                        let rows = &jacobian[e * n_b * 3..][..n_b * 3];
                        std::array::from_fn::<f64, 3, _>(|x| (0..n_b).map(|b| weights[b] * rows[3 * b + x]).sum())
                    })
                    .collect();
                let gradients = gradients.as_flattened();
                errors.check(
                    &rounding,
                    name,
                    "edge gradients",
                    (&contracted, gradients),
                    largest(gradients).max(1e-300),
                );
            }
        }
    }
    errors.finish();
}

fn kind(seed: u64) -> acerust::model::spec::HarmonicsKind {
    use acerust::model::spec::HarmonicsKind::{Solid, Spherical};
    if seed == 1 { Spherical } else { Solid }
}

/// Readout weights of each species, the parts side by side, as in the basis.
fn parameters_by_species(model: &acerust::model::Model) -> Vec<Vec<f64>> {
    (0..model.species().len())
        .map(|z| model.spec().parts.iter().filter_map(|p| p.weights().get(z)).flatten().copied().collect())
        .collect()
}

/// The numbers do not depend on how the matrix lies in memory, on which rows are asked for, or on the form of the virial.
pub fn layouts_of_rows(cases: &[Case]) {
    let model = random_model(7);
    let s = structures::all(3, model.species()).swap_remove(4).1;
    for case in cases {
        let plan = case.plan(&model);
        let graph = plan.graph(&s).unwrap();
        let reference = rows(&plan, &graph, &s.numbers, Order::RowMajor, 0, 9);
        for order in [Order::RowMajor, Order::ColMajor] {
            for padding in [0, 3] {
                let nine = rows(&plan, &graph, &s.numbers, order, padding, 9);
                assert_eq!(nine, reference, "{}: {order:?}, padding {padding}", case.label());
                let [e, f, v] = rows(&plan, &graph, &s.numbers, order, padding, 6);
                assert_eq!((&e, &f), (&reference[0], &reference[1]), "{}: {order:?}", case.label());
                let p = plan.length_basis();
                let voigt: Vec<f64> = VOIGT.iter().flat_map(|&k| reference[2][k * p..][..p].to_vec()).collect();
                assert_eq!(v, voigt, "{}: {order:?}, Voigt", case.label());
            }
        }
        for only in 0..3 {
            let n_rows = [1, 3 * s.n_atoms(), 9][only];
            let mut data = vec![f64::NAN; n_rows * plan.length_basis()];
            let mut one = Rows::new();
            match only {
                0 => one = one.energy(&mut data),
                1 => one.forces = ArrayViewMut2::from_shape((n_rows, plan.length_basis()), &mut data).ok(),
                _ => one.virial = ArrayViewMut2::from_shape((n_rows, plan.length_basis()), &mut data).ok(),
            }
            plan.assemble(&graph, &s.numbers, &mut one).unwrap();
            assert_eq!(data, reference[only], "{}: rows {only} alone", case.label());
        }
    }
}

/// A committee is each of its members; new parameters are a new model.
pub fn committees_and_parameters(cases: &[Case]) {
    let mut errors = Errors::default();
    for seed in [1, 6] {
        let model = random_model(seed);
        let s = structures::bulk(seed, model.species());
        let mut random = Random::new(seed);
        let mut parameters = || (0..model.length_basis()).map(|_| random.signed()).collect::<Vec<f64>>();
        let members: Vec<_> = (0..3).map(|_| parameters()).collect();
        for case in cases {
            let (mut plan, rounding) = (case.plan(&model), case.rounding());
            let before = results(&plan, &s);
            plan.set_committee(&members).unwrap();
            assert_eq!(plan.committee(), members);
            assert_eq!(results(&plan, &s), before, "a committee leaves the model's own results alone");
            let graph = plan.graph(&s).unwrap();
            let (n, k) = (s.n_atoms(), members.len());
            let (mut energies, mut sites) = (vec![f64::NAN; k], vec![f64::NAN; k * n]);
            let (mut forces, mut virials) = (vec![[f64::NAN; 3]; k * n], vec![[[f64::NAN; 3]; 3]; k]);
            committee(&plan, &graph, &s.numbers, [&mut energies, &mut sites], &mut forces, &mut virials);
            for (m, member) in members.iter().enumerate() {
                plan.set_linear_parameters(member).unwrap();
                assert_eq!(plan.model().linear_parameters(), *member);
                let alone = results(&plan, &s);
                let mut other = model.clone();
                other.set_linear_parameters(member).unwrap();
                assert_eq!(results(&case.plan(&other), &s), alone, "new parameters are a new model");
                let name = &model.spec().name;
                let mut check = |what, found: &[f64], expected: &[f64]| {
                    errors.check(&rounding, name, what, (found, expected), largest(expected));
                };
                check("energy", &[energies[m]], &[alone.energy]);
                check("site energies", &sites[m * n..][..n], &alone.site_energies);
                check("forces", forces[m * n..][..n].as_flattened(), alone.forces.as_flattened());
                check("virial", virials[m].as_flattened(), alone.virial.as_flattened());
            }
            plan.set_committee(&[]).unwrap();
            plan.set_linear_parameters(&model.linear_parameters()).unwrap();
            assert_eq!(results(&plan, &s), before, "and back");
        }
    }
    errors.finish();
}
