//! Batches: what many structures give together is what each gives alone; what is wrong with one of them has its number.

use super::gpu::on_device;
use super::plan::{crystal, plan};
use acerust::batch::{self, Item};
use acerust::model::Model;
use acerust::plan::{Conditions, Outputs, Plan, Precision, Virial};
use acerust::structure::Structure;
use ndarray::Array2;

/// Everything that a batch gives of a structure.
#[derive(Debug, PartialEq)]
struct All {
    energy: f64,
    sites: Vec<f64>,
    forces: Vec<[f64; 3]>,
    virial: Virial,
    descriptors: Array2<f64>,
}

impl All {
    fn new(plan: &Plan, s: &Structure) -> All {
        let (n, nan) = (s.n_atoms(), f64::NAN);
        let descriptors = Array2::from_elem((n, plan.n_descriptors()), nan);
        All { energy: nan, sites: vec![nan; n], forces: vec![[nan; 3]; n], virial: [[nan; 3]; 3], descriptors }
    }

    fn outputs(&mut self) -> Outputs<'_> {
        let out = Outputs::new().energy(&mut self.energy).site_energies(&mut self.sites[..]);
        out.forces(&mut self.forces[..]).virial(&mut self.virial[..]).descriptors(&mut self.descriptors)
    }

    fn alone(plan: &Plan, s: &Structure, conditions: &Conditions) -> All {
        let mut all = All::new(plan, s);
        let at = (*conditions != Conditions::new()).then(|| plan.at(conditions).unwrap());
        at.as_ref().unwrap_or(plan).evaluate(s, &mut all.outputs()).unwrap();
        all
    }
}

/// Periodic ones smaller than the cutoff and larger ones, clusters, isolated atoms, none at all.
fn structures(plan: &Plan) -> Vec<Structure> {
    let mut all: Vec<Structure> = (0..7).map(|k| crystal(plan, [1 + k % 3, 1, 1]).rattle(0.02, k as u64)).collect();
    let one = Structure {
        numbers: vec![plan.model().species()[1]],
        positions: vec![[40.0, -3.0, 1e3]],
        ..Structure::default()
    };
    all.insert(2, one.clone());
    all.insert(0, Structure::default());
    all.push(Structure { pbc: [false; 3], ..crystal(plan, [2, 2, 1]) });
    all.extend([one, Structure::default()]);
    all
}

fn conditions(model: &Model, k: usize) -> Conditions {
    let network = model.mace().unwrap().network();
    let mut conditions = Conditions::new();
    if !k.is_multiple_of(3) && network.heads.len() > 1 {
        conditions = conditions.head(&network.heads[k % 3 - 1]);
    }
    if !k.is_multiple_of(4) && network.extra.is_some() {
        conditions = conditions.total_charge((k % 4) as i64 - 2).total_spin(1 + (k % 2) as i64);
    }
    conditions
}

/// The batch and the same structures alone.
fn both(plan: &Plan, structures: &[Structure]) -> [Vec<All>; 2] {
    let mut found: Vec<All> = structures.iter().map(|s| All::new(plan, s)).collect();
    let under = |k: usize| conditions(plan.model(), k);
    let each = structures.iter().zip(&mut found).enumerate();
    let mut items: Vec<Item> = each.map(|(k, (s, all))| Item::new(s, all.outputs()).at(under(k))).collect();
    batch::evaluate(plan, &mut items).unwrap();
    let alone = structures.iter().enumerate().map(|(k, s)| All::alone(plan, s, &under(k))).collect();
    [found, alone]
}

#[test]
fn batches_give_what_structures_give_alone() {
    for name in ["nonlinear.json", "two_heads.json", "three_layers.json"] {
        let plan = plan(name);
        let [found, alone] = both(&plan, &structures(&plan));
        assert!(found == alone, "{name}");
    }
    batch::evaluate(&plan("tiny.json"), &mut []).unwrap();
}

#[test]
fn devices_evaluate_batches_in_one_sequence() {
    for name in ["nonlinear.json", "two_heads.json", "three_layers.json"] {
        let model = Model::load(super::models::here(name)).unwrap();
        for precision in [Precision::F64, Precision::F32] {
            let Some(plan) = on_device(&model, precision) else { return };
            let mut many = structures(&plan);
            for round in 0..2 {
                let [found, alone] = both(&plan, &many);
                for (k, (a, b)) in found.iter().zip(&alone).enumerate() {
                    let name = format!("{name} {precision} structure {k}");
                    assert!(a.energy == b.energy && a.sites == b.sites && a.forces == b.forces, "{name}: {a:?} {b:?}");
                    assert_eq!(a.descriptors, b.descriptors, "{name}");
                    let pairs = a.virial.as_flattened().iter().zip(b.virial.as_flattened());
                    assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() <= 1e-12 * (1.0 + b.abs())), "{name}");
                }
                assert!(both(&plan, &many)[0] == found, "{name}: the same every time");
                // More than go together.
                if round == 0 {
                    many.extend((0..20).map(|k| crystal(&plan, [10, 10, 10]).rattle(0.01, k)));
                }
            }
        }
    }
}

fn refusals(plan: &Plan) {
    let good = structures(plan);
    let network = plan.model().mace().unwrap().network();
    let strange = (1..100).find(|z| !network.species.contains(z)).unwrap();
    let refused = |k: usize, s: Structure, conditions: Conditions| {
        let mut many = good.clone();
        many[k] = s;
        let mut all: Vec<All> = many.iter().map(|s| All::new(plan, s)).collect();
        let mut items: Vec<Item> = many.iter().zip(&mut all).map(|(s, all)| Item::new(s, all.outputs())).collect();
        items[k].conditions = conditions;
        batch::evaluate(plan, &mut items).unwrap_err().to_string()
    };
    let mut unknown = good[4].clone();
    unknown.numbers[1] = strange;
    let error = refused(4, unknown, Conditions::new());
    assert!(error.starts_with("argument: structure 4: atom 1 is "), "{error}");
    let mut infinite = good[5].clone();
    infinite.positions[0][2] = f64::NAN;
    let error = refused(5, infinite, Conditions::new());
    assert!(error.contains("structure 5: ") && error.contains("atom 0"), "{error}");
    let mut coincident = good[2].clone();
    coincident.positions[1] = coincident.positions[0];
    let error = refused(2, coincident, Conditions::new());
    assert!(error.starts_with("graph: structure 2: atoms 0 and 1 are at the same place"), "{error}");
    let error = refused(6, good[6].clone(), Conditions::new().head("nowhere"));
    assert!(error.starts_with("argument: structure 6: head `nowhere`"), "{error}");
    let error = refused(7, good[7].clone(), Conditions::new().total_charge(99));
    assert!(error.starts_with("argument: structure 7: total_charge 99"), "{error}");
    let mut short = [[0.0; 3]; 1];
    let error = batch::evaluate(plan, &mut [Item::new(&good[1], Outputs::new().forces(&mut short[..]))]);
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("argument: structure 0: forces: expected (2, 3)"), "{error}");
}

#[test]
fn what_is_wrong_with_a_structure_has_its_number() {
    refusals(&plan("nonlinear.json"));
    if let Some(plan) = on_device(plan("nonlinear.json").model(), Precision::F32) {
        refusals(&plan);
    }
}
