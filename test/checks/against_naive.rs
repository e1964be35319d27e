//! Random models on random structures, against the formulas as they stand.

use super::cases::Case;
use super::results::{Errors, column, jacobian, largest, on_graph, rows};
use super::{models, structures};
use crate::naive::{self, Answer};
use acerust::graph::Graph;
use acerust::matrix::Order;
use acerust::model::Model;
use acerust::plan::Plan;
use acerust::structure::Structure;
use std::collections::HashMap;

pub fn random_models(cases: &[Case]) {
    let mut errors = Errors::default();
    let mut models = models::random_models();
    models.push(models::kinked_model());
    for (seed, model) in models.iter().enumerate() {
        let structures: Vec<_> = structures::all(100 * seed as u64, model.species())
            .into_iter()
            .map(|(name, s)| (format!("{}, {name}", model.spec().name), naive::evaluate(model.spec(), &s), s))
            .collect();
        for case in cases {
            // Close to the cutoff 1 − y² has few digits in single precision: a structure without short edges shows that.
            let case = &Case { tolerance: if case.double() { case.tolerance } else { 1e-4 }, ..*case };
            let plan = case.plan(model);
            for (name, answer, s) in &structures {
                compare(&mut errors, case, name, &plan, model, s, answer);
            }
        }
    }
    errors.finish();
}

/// Sums of magnitudes count for this much of the scale: where terms cancel further, rounding is forgiven.
fn cancellation(case: &Case) -> f64 {
    if case.double() { 1e-2 } else { 0.1 }
}

fn compare(errors: &mut Errors, case: &Case, name: &str, plan: &Plan, model: &Model, s: &Structure, answer: &Answer) {
    let graph = plan.graph(s).unwrap();
    let order = edge_order(&graph, answer);
    let scale = |expected: &[f64], magnitude: f64| largest(expected).max(cancellation(case) * magnitude);

    let found = on_graph(plan, &graph, &s.numbers);
    let energy_scale = scale(&answer.site_energies, answer.scale.site_energy);
    let force_scale = scale(answer.gradients.as_flattened(), answer.scale.gradient);
    let virial_scale = force_scale * model.rcut();
    let mut check =
        |what, found: &[f64], expected: &[f64], scale| errors.check(case, name, what, (found, expected), scale);
    check("site energies", &found.site_energies, &answer.site_energies, energy_scale);
    check("energy", &[found.energy], &[answer.energy()], energy_scale * s.n_atoms() as f64);
    let forces = answer.forces.as_flattened();
    check("forces", found.forces.as_flattened(), forces, largest(forces).max(force_scale));
    let virial = answer.virial.as_flattened();
    check("virial", found.virial.as_flattened(), virial, largest(virial).max(virial_scale));

    let mut sites = vec![f64::NAN; graph.n_centres()];
    plan.site_energies(&graph, &s.numbers, &mut sites).unwrap();
    check("site energies", &sites, &answer.site_energies, energy_scale);
    let mut gradients = vec![[f64::NAN; 3]; graph.n_edges()];
    plan.site_grads(&graph, &s.numbers, &mut sites, &mut gradients).unwrap();
    check("site energies", &sites, &answer.site_energies, energy_scale);
    let expected: Vec<[f64; 3]> = order.iter().map(|&e| answer.gradients[e]).collect();
    check("edge gradients", gradients.as_flattened(), expected.as_flattened(), force_scale);

    let n_b = plan.n_basis();
    let (found_basis, found_jacobian) = jacobian(plan, &graph, &s.numbers);
    let mut alone = vec![f64::NAN; found_basis.len()];
    plan.site_basis(&graph, &s.numbers, &mut alone).unwrap();
    let [found_e, found_f, found_v] = rows(plan, &graph, &s.numbers, Order::RowMajor, 0, 9);
    let (basis, n_species) = (answer.basis.concat(), model.species().len());
    let by_edge: Vec<[f64; 3]> = order.iter().flat_map(|&e| answer.jacobian[e].iter().copied()).collect();
    for (part, b, at) in basis_functions(model) {
        let expected = column(&basis, n_b, b);
        let basis_scale = scale(&expected, answer.scale.basis[b]);
        check("basis", &column(&found_basis, n_b, b), &expected, basis_scale);
        check("basis", &column(&alone, n_b, b), &expected, basis_scale);
        let found: Vec<f64> =
            found_jacobian.as_chunks::<3>().0.iter().skip(b).step_by(n_b).flatten().copied().collect();
        let expected: Vec<f64> = by_edge.iter().skip(b).step_by(n_b).flatten().copied().collect();
        let jacobian_scale = scale(&expected, answer.scale.jacobian[b]);
        check("Jacobian", &found, &expected, jacobian_scale);
        for z in 0..n_species {
            let p = at + z * part;
            let n_p = plan.length_basis();
            check("energy row", &[found_e[p]], &[answer.energy_row[p]], basis_scale * s.n_atoms() as f64);
            let (found, expected) = (column(&found_f, n_p, p), column(&answer.force_rows.concat(), n_p, p));
            check("force rows", &found, &expected, largest(&expected).max(jacobian_scale));
            // Rows are symmetric, as the virial of an invariant basis is; a random basis need not be invariant.
            let upper = column(&answer.virial_rows.concat(), n_p, p);
            let expected: Vec<f64> = [0, 1, 2, 1, 4, 5, 2, 5, 8].map(|k| upper[k]).to_vec();
            let found = column(&found_v, n_p, p);
            check("virial rows", &found, &expected, largest(&expected).max(jacobian_scale * model.rcut()));
        }
    }
}

/// For each basis function of a site: the number of those in its part, its column in the basis, and the linear
/// parameter of species 0.
fn basis_functions(model: &Model) -> Vec<(usize, usize, usize)> {
    let (mut out, mut first) = (Vec::new(), 0);
    for part in &model.spec().parts {
        let n = part.n_basis();
        (0..n).for_each(|b| out.push((n, out.len(), first + b)));
        first += n * model.species().len();
    }
    out
}

/// The naive edge of each edge of the graph.
fn edge_order(graph: &Graph, answer: &Answer) -> Vec<usize> {
    let index: HashMap<_, _> = answer.edges.iter().enumerate().map(|(k, e)| ((e.i, e.j, e.shift), k)).collect();
    assert_eq!(index.len(), graph.n_edges(), "the number of edges");
    let of = |i: usize, e: usize| index[&(i, graph.neighbour[e] as usize, graph.shift[e])];
    (0..graph.n_centres()).flat_map(|i| graph.edges(i).map(move |e| of(i, e))).collect()
}
