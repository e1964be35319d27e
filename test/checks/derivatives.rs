//! Forces and virials are the derivatives of the energy, to the last digits that finite differences have.

use super::cases::Case;
use super::models::{invariant_model, kinked_model, random_model};
use super::results::{Errors, largest, results};
use super::structures;
use crate::common::evaluate::site_grads;
use acerust::model::Model;
use acerust::model::spec::HarmonicsKind;
use acerust::plan::Plan;
use acerust::structure::Structure;

/// Small: the second derivative of a spline jumps at its nodes.
const STEP: f64 = 1e-6;
const TOLERANCE: f64 = 1e-7;

pub fn finite_differences(cases: &[Case]) {
    let mut errors = Errors::default();
    let mut models: Vec<Model> = [0, 1, 2, 3, 4, 9].map(random_model).into();
    models.push(invariant_model(5, 2, HarmonicsKind::Spherical, false));
    models.push(kinked_model());
    for (seed, model) in models.iter().enumerate() {
        for case in cases.iter().filter(|case| case.double()) {
            let plan = case.plan(model);
            let case = Case { tolerance: TOLERANCE, ..*case };
            for (name, s) in structures::all(50 + seed as u64, model.species()) {
                check(&mut errors, &case, &format!("{}, {name}", model.spec().name), &plan, &s);
            }
        }
    }
    errors.finish();
}

fn check(errors: &mut Errors, case: &Case, name: &str, plan: &Plan, s: &Structure) {
    let analytic = results(plan, s);
    let energy = |s: &Structure| plan.energy((&plan.graph(s).unwrap(), &s.numbers)).unwrap();
    let slope = |moved: &dyn Fn(f64) -> Structure| (energy(&moved(STEP)) - energy(&moved(-STEP))) / (2.0 * STEP);
    let graph = plan.graph(s).unwrap();
    let mut gradients = vec![[0.0; 3]; graph.n_edges()];
    site_grads(plan, &graph, &s.numbers, &mut vec![0.0; s.n_atoms()], &mut gradients).unwrap();
    let scale = largest(gradients.as_flattened());

    for atom in (0..s.n_atoms()).step_by(s.n_atoms().div_ceil(3)) {
        let force: [f64; 3] = std::array::from_fn(|axis| {
            -slope(&|step| {
                let mut s = s.clone();
                s.positions[atom][axis] += step;
                s
            })
        });
        errors.check(case, name, "forces", (&analytic.forces[atom], &force), scale);
    }
    let virial: [[f64; 3]; 3] =
        std::array::from_fn(|a| std::array::from_fn(|b| -slope(&|step| strained(s, a, b, step))));
    let scale = largest(virial.as_flattened()).max(scale);
    errors.check(case, name, "virial", (analytic.virial.as_flattened(), virial.as_flattened()), scale);
}

/// `r → (1 + ε) r` with `ε[a][b]` alone.
fn strained(s: &Structure, a: usize, b: usize, epsilon: f64) -> Structure {
    let mut s = s.clone();
    for x in s.positions.iter_mut().chain(&mut s.cell) {
        x[a] += epsilon * x[b];
    }
    s
}
