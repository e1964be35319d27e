//! Two atoms at every distance: tables follow the exact functions, and nothing jumps, at the cutoff least of all.

use super::cases::Case;
use super::models::{invariant_model, random_model};
use super::results::{Results, largest, results};
use crate::common::golden;
use acerust::model::Model;
use acerust::model::spec::HarmonicsKind::{Solid, Spherical};
use acerust::plan::{Plan, RadialMode};
use acerust::structure::Structure;

fn dimer(model: &Model, r: f64) -> Structure {
    let z = model.species();
    let direction = [0.36, 0.48, 0.8];
    Structure {
        numbers: vec![z[0], z[z.len() - 1]],
        positions: vec![[0.1, 0.2, 0.3], std::array::from_fn(|a| [0.1, 0.2, 0.3][a] + r * direction[a])],
        ..Structure::default()
    }
}

fn models() -> Vec<Model> {
    let mut models = vec![
        invariant_model(0, 1, Solid, false),
        invariant_model(1, 2, Spherical, true),
        invariant_model(2, 3, Spherical, false),
        random_model(1),
    ];
    models.extend(["si_o3", "sio_spl", "tial_o3"].map(|name| golden(name).model));
    models
}

/// From 0.3 Å to past the cutoff, all cases compute what the exact functions give, locally: to the tolerance relative
/// to the largest energy and force at this distance or farther.
pub fn all_distances(cases: &[Case]) {
    for model in models() {
        for case in cases {
            let plan = case.plan(&model);
            let options = case.options.radial(RadialMode::Exact);
            let exact = Plan::with_options(&model, case.device, acerust::plan::Precision::F64, options).unwrap();
            let isolated = results(&exact, &dimer(&model, 1000.0)).energy;
            let rs: Vec<f64> = (0..600).map(|k| 0.3 + (model.rcut() - 0.2) * f64::from(k) / 599.0).collect();
            let (mut energy_scale, mut force_scale) = (isolated.abs(), 0.0f64);
            for &r in rs.iter().rev() {
                let s = dimer(&model, r);
                let (found, expected) = (results(&plan, &s), results(&exact, &s));
                energy_scale = energy_scale.max(largest(&expected.site_energies));
                force_scale = force_scale.max(largest(expected.forces.as_flattened()));
                let de = (found.energy - expected.energy).abs();
                let df = (0..3).map(|a| (found.forces[1][a] - expected.forces[1][a]).abs()).fold(0.0, f64::max);
                let label = format!("{}, {} at {r} Å", case.label(), model.spec().name);
                // Near the cutoff a table is as accurate as relative to its largest value only.
                if r > 1.0 && r < 0.9 * model.rcut() || case.exact() && case.double() {
                    assert!(de <= 10.0 * case.tolerance * energy_scale, "{label}: energy off by {de:.1e}");
                    assert!(df <= 10.0 * case.tolerance * force_scale.max(1e-300), "{label}: force off by {df:.1e}");
                }
                if r < 0.37 && case.double() {
                    assert!(de <= 1e-12 * energy_scale, "{label}: shorter than the table, yet off by {de:.1e}");
                }
            }
        }
    }
}

/// Energy and force reach their values without neighbours continuously as the distance reaches the cutoff.
pub fn continuity_at_the_cutoff(cases: &[Case]) {
    // Each part alone, at its own cutoff.
    for (part, model) in models().iter().flat_map(|model| model.spec().parts.iter().map(move |part| (part, model))) {
        let mut spec = model.spec().clone();
        spec.parts = vec![part.clone()];
        let model = Model::new(spec).unwrap();
        for case in cases {
            let plan = case.plan(&model);
            if part.rcut() > 0.0 {
                let at = |r: f64| -> (Results, f64) {
                    let x = results(&plan, &dimer(&model, r));
                    let force = largest(x.forces.as_flattened());
                    (x, force)
                };
                let (far, near) = (at(part.rcut() + 1e-9), at(0.5 * part.rcut()));
                let rounding = if case.double() { 1e-11 } else { 3e-6 };
                let force_scale = near.1.max(1e-3);
                let energy_scale = near.0.energy.abs() + far.0.energy.abs();
                let (mut last, mut delta) = (f64::INFINITY, 1e-2);
                while delta > 1e-8 {
                    let here = at(part.rcut() - delta);
                    let jump = largest(&[0, 1].map(|a| here.0.forces[1][a] - far.0.forces[1][a]));
                    let label = format!("{}, {}, {delta:.0e} Å before the cutoff", case.label(), model.spec().name);
                    let table = case.tolerance.max(rounding);
                    assert!(jump <= 20.0 * force_scale * (delta + table), "{label}: force jumps by {jump:.1e}");
                    let step = (here.0.energy - far.0.energy).abs();
                    let bound = 20.0 * force_scale * delta * (delta + table) + rounding * energy_scale;
                    assert!(step <= bound, "{label}: energy jumps by {step:.1e}");
                    assert!(jump <= last + rounding * force_scale, "{label}: the force does not settle");
                    (last, delta) = (jump, delta / 10.0);
                }
            }
        }
    }
}
