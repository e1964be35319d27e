//! Random models on random structures, against the formulas as they stand.

use super::cases::Case;
use super::results::{Errors, Order, column, jacobian, largest, on_graph, rows};
use super::{models, structures};
use crate::common::evaluate::{site_basis, site_energies, site_grads};
use crate::naive::{self, Answer};
use acerust::graph::Graph;
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
            .map(|(name, s)| (format!("{}, {name}", model.spec().name), Answers::new(model, &s), s))
            .collect();
        for case in cases {
            let plan = case.plan(model);
            for (name, answers, s) in &structures {
                compare(&mut errors, case, name, &plan, model, s, answers);
            }
        }
    }
    errors.finish();
}

/// What is expected, and what becomes of it where edges are longer by a unit in the last place of single precision.
struct Answers {
    exact: Answer,
    longer: Answer,
}

impl Answers {
    fn new(model: &Model, s: &Structure) -> Answers {
        let exact = naive::evaluate(model.spec(), s);
        let stretch = 1.0 + f64::from(f32::EPSILON);
        let edges = exact.edges.iter().map(|e| naive::Edge { r: e.r.map(|x| x * stretch), ..*e }).collect();
        Answers { longer: naive::evaluate_edges(model.spec(), s, edges), exact }
    }

    /// The largest entry of `of`; where terms cancel, more: a share of the sum of their `magnitude`. In single precision
    /// also as much as lets the error be four times what that unit does: where all edges are close to the cutoff, no
    /// evaluation in that precision has more digits.
    fn scale(&self, case: &Case, of: impl Fn(&Answer) -> Vec<f64>, magnitude: f64) -> f64 {
        let (share, allowed) = if case.double() { (1e-2, 0.0) } else { (0.1, 4.0 / case.tolerance) };
        let exact = of(&self.exact);
        let moved: Vec<f64> = exact.iter().zip(of(&self.longer)).map(|(a, b)| a - b).collect();
        largest(&exact).max(share * magnitude).max(allowed * largest(&moved))
    }
}

fn compare(errors: &mut Errors, case: &Case, name: &str, plan: &Plan, model: &Model, s: &Structure, answers: &Answers) {
    let answer = &answers.exact;
    let graph = plan.graph(s).unwrap();
    let order = edge_order(&graph, answer);

    let found = on_graph(plan, &graph, &s.numbers);
    let energy_scale = answers.scale(case, |a| a.site_energies.clone(), answer.scale.site_energy);
    let force_scale = answers.scale(case, |a| a.gradients.as_flattened().to_vec(), answer.scale.gradient);
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
    site_energies(plan, (&graph, &s.numbers), &mut sites).unwrap();
    check("site energies", &sites, &answer.site_energies, energy_scale);
    let mut gradients = vec![[f64::NAN; 3]; graph.n_edges()];
    site_grads(plan, &graph, &s.numbers, &mut sites, &mut gradients).unwrap();
    check("site energies", &sites, &answer.site_energies, energy_scale);
    let expected: Vec<[f64; 3]> = order.iter().map(|&e| answer.gradients[e]).collect();
    check("edge gradients", gradients.as_flattened(), expected.as_flattened(), force_scale);

    let n_b = plan.n_basis();
    let (found_basis, found_jacobian) = jacobian(plan, &graph, &s.numbers);
    let mut alone = vec![f64::NAN; found_basis.len()];
    site_basis(plan, &graph, &s.numbers, &mut alone).unwrap();
    let [found_e, found_f, found_v] = rows(plan, &graph, &s.numbers, Order::RowMajor, 0, 9);
    let n_species = model.species().len();
    for (part, b, at) in basis_functions(model) {
        let expected: Vec<f64> = answer.basis.iter().map(|row| row[b]).collect();
        let basis_scale = answers.scale(case, |a| a.basis.iter().map(|row| row[b]).collect(), answer.scale.basis[b]);
        check("basis", &column(&found_basis, n_b, b), &expected, basis_scale);
        check("basis", &column(&alone, n_b, b), &expected, basis_scale);
        let found: Vec<f64> =
            found_jacobian.as_chunks::<3>().0.iter().skip(b).step_by(n_b).flatten().copied().collect();
        let of = |a: &Answer| order.iter().flat_map(|&e| a.jacobian[e][b]).collect::<Vec<_>>();
        let expected = of(answer);
        let jacobian_scale = answers.scale(case, of, answer.scale.jacobian[b]);
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
    let of = |i: usize, e: usize| index[&(i, graph.neighbours()[e] as usize, graph.shifts()[e])];
    (0..graph.n_centres()).flat_map(|i| graph.edges(i).map(move |e| of(i, e))).collect()
}
