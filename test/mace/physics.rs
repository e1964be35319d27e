//! What has to hold whatever the weights: isolated atoms, continuity, order of atoms, lists, batches, committees, descriptors.

use super::models::here;
use super::plan::{crystal, plan};
use acerust::batch;
use acerust::model::Model;
use acerust::plan::{Device, Outputs, Plan, Precision};
use acerust::stack::Stack;
use acerust::structure::Structure;
use ndarray::Array2;

const MODELS: [&str; 5] = ["three_layers.json", "nonlinear.json", "two_heads.json", "chebyshev.json", "tiny.json"];

fn results(plan: &Plan, s: &Structure) -> (f64, Vec<[f64; 3]>) {
    let (mut energy, mut forces) = (0.0, vec![[0.0; 3]; s.n_atoms()]);
    plan.evaluate(s, &mut Outputs::new().energy(&mut energy).forces(&mut forces[..])).unwrap();
    (energy, forces)
}

/// A cluster without periodic images.
fn cluster(plan: &Plan) -> Structure {
    Structure { pbc: [false; 3], ..crystal(plan, [2, 1, 1]) }
}

fn closeness(a: &[[f64; 3]], b: &[[f64; 3]]) -> f64 {
    a.as_flattened().iter().zip(b.as_flattened()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn isolated_atoms_anywhere_add_their_own_energy() {
    for name in MODELS {
        let plan = plan(name);
        let s = cluster(&plan);
        let (energy, forces) = results(&plan, &s);
        let alone = Structure { numbers: vec![s.numbers[1]], positions: vec![[0.0; 3]], ..Structure::default() };
        let (own, nothing) = results(&plan, &alone);
        assert_eq!(nothing, [[0.0; 3]]);
        for at in [0, 2, s.n_atoms()] {
            let mut more = s.clone();
            more.numbers.insert(at, s.numbers[1]);
            more.positions.insert(at, [500.0, -300.0, 20.0]);
            let (e, mut f) = results(&plan, &more);
            assert!((e - energy - own).abs() < 1e-11 * energy.abs(), "{name}: {e} {energy} {own}");
            assert_eq!(f.remove(at), [0.0; 3]);
            assert!(closeness(&f, &forces) < 1e-12, "{name}");
        }
    }
}

#[test]
fn energies_and_forces_are_continuous_at_the_cutoff() {
    for name in MODELS {
        let plan = plan(name);
        let species = plan.model().species();
        let pair = |r: f64| {
            let positions = vec![[0.0; 3], [0.6 * r, 0.0, 0.8 * r]];
            results(&plan, &Structure { numbers: vec![species[0], species[1]], positions, ..Structure::default() })
        };
        let (apart, none) = pair(plan.rcut() + 1e-9);
        assert_eq!(none, [[0.0; 3]; 2]);
        let within = [1e-2, 1e-3, 1e-4].map(|d| pair(plan.rcut() - d));
        // The cutoff begins with the third power of the distance from its end.
        for (k, (energy, forces)) in within.iter().enumerate() {
            let d = 10_f64.powi(-2 - k as i32);
            let largest = forces.as_flattened().iter().fold(0.0, |m: f64, f| m.max(f.abs()));
            assert!((energy - apart).abs() < 1e3 * d.powi(3) && largest < 1e3 * d.powi(2), "{name}: {d}: {largest}");
        }
        assert!(within[0].0 != apart, "{name}");
    }
}

#[test]
fn the_order_of_atoms_does_not_matter() {
    let plan = plan("three_layers.json");
    let s = crystal(&plan, [2, 1, 1]);
    let (energy, forces) = results(&plan, &s);
    let order = [2, 0, 3, 1];
    let mut other = s.clone();
    for (k, &i) in order.iter().enumerate() {
        (other.numbers[k], other.positions[k]) = (s.numbers[i], s.positions[i]);
    }
    let (e, f) = results(&plan, &other);
    assert!((e - energy).abs() < 1e-12 * energy.abs());
    let sorted: Vec<_> = order.iter().map(|&i| forces[i]).collect();
    assert!(closeness(&f, &sorted) < 1e-12);
}

#[test]
fn lists_and_batches_give_the_same_bits() {
    for name in MODELS {
        let plan = plan(name);
        let s = crystal(&plan, [2, 2, 1]);
        let expected = results(&plan, &s);
        let mut list = plan.neighbours(0.7).unwrap();
        let mut from_list = |s: &Structure| {
            let (mut energy, mut forces) = (0.0, vec![[0.0; 3]; s.n_atoms()]);
            let mut out = Outputs::new().energy(&mut energy).forces(&mut forces[..]);
            plan.evaluate((s, &mut list), &mut out).unwrap();
            (energy, forces)
        };
        assert!(from_list(&s) == expected, "{name}");
        let moved = s.clone().rattle(0.02, 5);
        assert!(from_list(&moved) == results(&plan, &moved), "{name}");
        let many: Vec<_> = (0..9).map(|k| crystal(&plan, [1 + k % 3, 1, 1]).rattle(0.01, k as u64)).collect();
        let plans = [plan];
        let found = batch::spread(&plans, many.iter().collect(), |_| Ok(()), |p, (), s| Ok(results(p, s))).unwrap();
        assert!(many.iter().zip(&found).all(|(s, f)| *f == results(&plans[0], s)), "{name}");
    }
}

#[test]
fn descriptors_are_invariant() {
    let plan = plan("three_layers.json");
    let s = crystal(&plan, [2, 1, 1]);
    let of = |s: &Structure| {
        // Three channels of scalars after each of three layers.
        let mut x = Array2::from_elem((s.n_atoms(), 9), f64::NAN);
        plan.evaluate(s, &mut Outputs::new().descriptors(&mut x)).unwrap();
        x
    };
    let turn = |[x, y, z]: [f64; 3]| [0.6 * x - 0.8 * y, 0.8 * x + 0.6 * y, -z];
    let mut turned = s.clone();
    turned.positions.iter_mut().chain(&mut turned.cell).for_each(|x| *x = turn(*x));
    let (a, b) = (of(&s), of(&turned));
    assert!(a.iter().any(|x| x.abs() > 1e-2));
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-11), "{a} {b}");
}

#[test]
fn single_precision_is_close() {
    for name in MODELS {
        let double = plan(name);
        let single = Plan::new(double.model(), Device::Cpu, Precision::F32).unwrap();
        let s = crystal(&double, [2, 2, 1]);
        let ((e, f), (e32, f32)) = (results(&double, &s), results(&single, &s));
        let largest = f.as_flattened().iter().fold(0.0, |m: f64, f| m.max(f.abs()));
        assert!(e32 != e && (e32 - e).abs() < 1e-6 * e.abs() && closeness(&f, &f32) < 1e-5 * largest, "{name}");
    }
}

#[test]
fn a_model_without_parameters_has_no_committee_to_remove() {
    let mut plan = plan("tiny.json");
    plan.set_committee(&[]).unwrap();
    assert!(plan.set_committee(&[vec![]]).unwrap_err().to_string().contains("linear"));
}

#[test]
fn committees_are_means_and_stacks_are_sums() {
    let plans = || ["nonlinear.json", "tiny.json"].map(plan).into_iter();
    // Elements that both know.
    let site = Model::load(concat!(env!("CARGO_MANIFEST_DIR"), "/benchmark/models/sio_o2.json")).unwrap();
    let mixed = [Model::load(here("three_layers.json")).unwrap(), site];
    let mixed = || mixed.iter().map(|m| Plan::new(m, Device::Cpu, Precision::F64).unwrap());
    let mut s = crystal(&plan("three_layers.json"), [2, 1, 1]);
    s.numbers.iter_mut().enumerate().for_each(|(i, z)| *z = [8, 14][i % 2]);
    let own: Vec<_> = mixed().map(|p| results(&p, &s)).collect();
    let n = s.n_atoms();
    for (stack, share) in
        [(Stack::sum(mixed().collect()).unwrap(), 1.0), (Stack::committee(mixed().collect()).unwrap(), 0.5)]
    {
        let (mut energy, mut forces, mut virial) = (0.0, vec![[0.0; 3]; n], [[0.0; 3]; 3]);
        let mut out = Outputs::new().energy(&mut energy).forces(&mut forces[..]).virial(&mut virial[..]);
        stack.evaluate(&s, &mut out).unwrap();
        assert!((energy - share * (own[0].0 + own[1].0)).abs() < 1e-12 * energy.abs());
        let expected: Vec<[f64; 3]> =
            (0..n).map(|i| std::array::from_fn(|d| share * (own[0].1[i][d] + own[1].1[i][d]))).collect();
        assert!(closeness(&forces, &expected) < 1e-13);
        assert!(stack.reach().cutoff >= stack.plans()[1].rcut() && stack.reach().hops == 3);
    }
    let committee = Stack::committee(mixed().collect()).unwrap();
    let (mut energies, mut forces) = ([0.0; 2], ndarray::Array3::zeros((2, n, 3)));
    let mut out = Outputs::new().committee_energies(&mut energies[..]).committee_forces(&mut forces);
    committee.evaluate(&s, &mut out).unwrap();
    for (m, own) in own.iter().enumerate() {
        assert!((energies[m] - own.0).abs() < 1e-12 * own.0.abs());
        let found = forces.index_axis(ndarray::Axis(0), m);
        assert!(found.iter().zip(own.1.as_flattened()).all(|(a, b)| (a - b).abs() < 1e-12));
    }
    let refused = |stack: Stack, out: &mut Outputs| stack.evaluate(&s, out).unwrap_err().to_string();
    let error =
        refused(Stack::sum(mixed().collect()).unwrap(), &mut Outputs::new().committee_energies(&mut energies[..]));
    assert!(error.contains("committee_energies: expected (0), got (2)"), "{error}");
    let error = refused(Stack::sum(plans().collect()).unwrap(), &mut Outputs::new().energy(&mut 0.0));
    assert!(error.contains("member 0: atom 1 is Si; the model knows H, O"), "{error}");
    assert!(Stack::sum(Vec::new()).is_err());
}
