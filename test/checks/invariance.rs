//! The symmetries of physics.

use super::cases::Case;
use super::models::invariant_model;
use super::random::Random;
use super::results::{Errors, Results, largest, results};
use super::structures;
use crate::common::evaluate::site_grads;
use crate::common::golden;
use acerust::model::Model;
use acerust::model::spec::HarmonicsKind::{Solid, Spherical};
use acerust::structure::Structure;

type Matrix = [[f64; 3]; 3];
const ONE: Matrix = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

pub fn symmetries(cases: &[Case]) {
    let mut errors = Errors::default();
    let golden = ["si_o3", "sio_o3", "tial_o3", "sio_spl"].map(|name| golden(name).model);
    let mut models = vec![invariant_model(0, 1, Solid, false), invariant_model(1, 2, Spherical, true)];
    models.extend(golden);
    for (seed, model) in models.iter().enumerate() {
        for case in cases {
            for (name, s) in structures::all(20 + seed as u64, model.species()) {
                let name = format!("{}, {name}", model.spec().name);
                check(&mut errors, &case.rounding(), &name, model, &s, seed as u64);
            }
        }
    }
    errors.finish();
}

fn check(errors: &mut Errors, case: &Case, name: &str, model: &Model, s: &Structure, seed: u64) {
    let plan = case.plan(model);
    let reference = results(&plan, s);
    let n = s.n_atoms();
    let mut random = Random::new(seed);
    let graph = plan.graph(s).unwrap();
    let mut gradients = vec![[0.0; 3]; graph.n_edges()];
    site_grads(&plan, &graph, &s.numbers, &mut vec![0.0; n], &mut gradients).unwrap();
    let scale = largest(gradients.as_flattened());
    let mut same = |what: &'static str, s: &Structure, order: &[usize], q: Matrix, copies: f64| {
        let found = results(&plan, s);
        let sites: Vec<f64> = order.iter().map(|&i| reference.site_energies[i]).collect();
        let forces: Vec<f64> = order.iter().flat_map(|&i| times(q, reference.forces[i])).collect();
        let sites_scale = largest(&sites);
        errors.check(case, name, what, (&found.site_energies, &sites), sites_scale);
        let energy = copies * reference.energy;
        errors.check(case, name, what, (&[found.energy], &[energy]), sites_scale * sites.len() as f64);
        errors.check(case, name, what, (found.forces.as_flattened(), &forces), scale.max(largest(&forces)));
        let virial = rotated(q, &reference);
        let virial = virial.map(|row| row.map(|x| copies * x));
        let virial_scale = largest(virial.as_flattened()).max(copies * scale * model.rcut());
        errors.check(case, name, what, (found.virial.as_flattened(), virial.as_flattened()), virial_scale);
    };
    let order: Vec<usize> = (0..n).collect();

    let q = random.rotation();
    same("rotation", &turned(s, q), &order, q, 1.0);
    let mirror = q.map(|row| [row[0], row[1], -row[2]]);
    same("reflection", &turned(s, mirror), &order, mirror, 1.0);

    let mut shuffled = order.clone();
    random.shuffle(&mut shuffled);
    let permuted = Structure {
        numbers: shuffled.iter().map(|&i| s.numbers[i]).collect(),
        positions: shuffled.iter().map(|&i| s.positions[i]).collect(),
        ..s.clone()
    };
    same("permutation", &permuted, &shuffled, ONE, 1.0);

    let mut wrapped = s.clone();
    for x in &mut wrapped.positions {
        for d in (0..3).filter(|&d| s.pbc[d]) {
            let k = random.integer(0, 6) as f64 - 3.0;
            (0..3).for_each(|a| x[a] += k * s.cell[d][a]);
        }
    }
    same("lattice vectors", &wrapped, &order, ONE, 1.0);

    let by = random.vector().map(|x| 30.0 * x);
    let mut moved = s.clone();
    moved.positions.iter_mut().for_each(|x| (0..3).for_each(|a| x[a] += by[a]));
    same("translation", &moved, &order, ONE, 1.0);

    let counts = s.pbc.map(|p| if p { 2 } else { 1 });
    let copies: usize = counts.iter().product();
    same("supercell", &s.repeat(counts), &order.repeat(copies), ONE, copies as f64);
}

fn times(q: Matrix, v: [f64; 3]) -> [f64; 3] {
    q.map(|row| (0..3).map(|k| row[k] * v[k]).sum())
}

/// `Q V Qᵀ`.
fn rotated(q: Matrix, results: &Results) -> Matrix {
    let qv: Matrix =
        std::array::from_fn(|a| std::array::from_fn(|c| (0..3).map(|b| q[a][b] * results.virial[b][c]).sum()));
    qv.map(|row| times(q, row))
}

fn turned(s: &Structure, q: Matrix) -> Structure {
    let mut s = s.clone();
    s.positions.iter_mut().chain(&mut s.cell).for_each(|x| *x = times(q, *x));
    s
}
