//! Many structures in one call.

use crate::call::*;
use crate::common::evaluate::energy_forces_virial;
use crate::short::{atoms, inputs};
use acerust::model::Model;
use acerust::plan::{Conditions, Device, Plan, Precision};
use acerust::structure::Structure;

fn heads() -> Model {
    Model::load(concat!(env!("CARGO_MANIFEST_DIR"), "/test/mace/two_heads.json")).unwrap()
}

fn crystals(model: &Model) -> Vec<Structure> {
    let crystal = |k: usize| {
        let mut s = Structure::bcc(model.species()[0], 3.3).repeat([1 + k % 2, 1, 1]).rattle(0.2, k as u64);
        s.numbers.iter_mut().step_by(2).for_each(|z| *z = model.species()[1]);
        s
    };
    let mut all: Vec<Structure> = (0..5).map(crystal).collect();
    all.insert(2, Structure::default());
    all
}

fn input(atoms_: &Atoms) -> acerust_input {
    let ([z, pbc], [x, cell]) = (atoms_.integers(), atoms_.reals());
    atoms(atoms_.n(), z, x, cell, pbc)
}

#[test]
fn a_batch_is_what_its_structures_are_alone() {
    let model = heads();
    let structures = crystals(&model);
    let known: Vec<Atoms> = structures.iter().map(Atoms::new).collect();
    let name = c("b");
    let nothing = acerust_conditions {
        size: size_of::<acerust_conditions>(),
        head: null(),
        total_charge: null(),
        total_spin: null(),
    };
    let condition =
        |k: usize| if k.is_multiple_of(2) { nothing } else { acerust_conditions { head: name.as_ptr(), ..nothing } };
    let conditions: Vec<acerust_conditions> = (0..structures.len()).map(condition).collect();
    let mut found: Vec<(f64, Vec<f64>)> =
        structures.iter().map(|s| (f64::NAN, vec![f64::NAN; 3 * s.n_atoms()])).collect();
    let out = |(e, f): &mut (f64, Vec<f64>)| acerust_outputs {
        energy: e,
        forces: f.as_mut_ptr(),
        n_forces: f.len(),
        ..outputs()
    };
    let outs: Vec<acerust_outputs> = found.iter_mut().map(out).collect();
    let ins: Vec<acerust_input> = known.iter().map(input).collect();
    let own = plan(&super::call::model(&model));
    let n = structures.len();
    ok!(acerust_evaluate_batch(own.0, n, ins.as_ptr(), conditions.as_ptr(), outs.as_ptr()));
    let plan = Plan::new(&model, Device::Cpu, Precision::F64).unwrap();
    let other = plan.at(&Conditions::new().head("b")).unwrap();
    for (k, (s, (energy, forces))) in structures.iter().zip(&found).enumerate() {
        assert_eq!(*energy, if k.is_multiple_of(2) { &plan } else { &other }.energy(s).unwrap(), "structure {k}");
        let (mut sites, mut expected) = (vec![0.0; s.n_atoms()], vec![[0.0; 3]; s.n_atoms()]);
        let own = if k.is_multiple_of(2) { &plan } else { &other };
        energy_forces_virial(own, s, &mut sites, &mut expected).unwrap();
        assert_eq!(&forces[..], expected.as_flattened(), "structure {k}");
    }
    ok!(acerust_evaluate_batch(own.0, 0, null(), null(), null()));
    ok!(acerust_evaluate_batch(own.0, n, ins.as_ptr(), null(), outs.as_ptr()));
    assert_eq!(found[1].0, plan.energy(&structures[1]).unwrap());

    let a = ACERUST_ERROR_ARGUMENT;
    let mut over = outs.clone();
    over[0].forces = ins[1].positions.cast_mut();
    let message = "argument: structure 0: forces overlaps positions in memory";
    fails!(a, message, acerust_evaluate_batch(own.0, n, ins.as_ptr(), null(), over.as_ptr()));
    let mut wrong = ins.clone();
    wrong[3].list = std::ptr::without_provenance_mut(16);
    let message = "argument: structure 3: input: batches are of structures, without graphs, lists and exchanges";
    fails!(a, message, acerust_evaluate_batch(own.0, n, wrong.as_ptr(), null(), outs.as_ptr()));
    let mut wrong = ins.clone();
    wrong[4].size -= 8;
    let message =
        format!("argument: structure 4: input: its size is not that of the first one, {}", size_of_val(&inputs()));
    fails!(a, message, acerust_evaluate_batch(own.0, n, wrong.as_ptr(), null(), outs.as_ptr()));
    let mut wrong = outs.clone();
    wrong[5].energy = wrong[0].energy;
    let message = "argument: structure 5: energy overlaps energy in memory";
    fails!(a, message, acerust_evaluate_batch(own.0, n, ins.as_ptr(), null(), wrong.as_ptr()));
    let mut wrong = outs.clone();
    wrong[1].n_forces -= 3;
    let length = 3 * structures[1].n_atoms();
    let message = format!("argument: structure 1: forces: expected a length of {length}, got {}", length - 3);
    fails!(a, message, acerust_evaluate_batch(own.0, n, ins.as_ptr(), null(), wrong.as_ptr()));
    let strange = [92; 2];
    let mut wrong = ins.clone();
    wrong[0].numbers = strange.as_ptr();
    let status = unsafe { acerust_evaluate_batch(own.0, n, wrong.as_ptr(), null(), outs.as_ptr()) };
    assert!(status == a && last_error().starts_with("argument: structure 0: atom 0 is U"), "{}", last_error());
    fails!(a, "argument: structure 0: input is null", acerust_evaluate_batch(own.0, n, null(), null(), outs.as_ptr()));
}
