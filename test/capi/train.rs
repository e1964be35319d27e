//! Training across the ABI.

use crate::call::*;
use crate::short::atoms;
use acerust::model::Model;
use acerust::plan::Conditions;
use acerust::structure::Structure;
use acerust::train::{Cotangent, Training};

struct Owned(*mut acerust_training);

impl Drop for Owned {
    fn drop(&mut self) {
        ok!(acerust_training_free(self.0));
    }
}

#[test]
fn a_training_is_that_of_the_library() {
    let known = Model::load(concat!(env!("CARGO_MANIFEST_DIR"), "/test/mace/two_heads.json")).unwrap();
    let mut s = Structure::bcc(known.species()[0], 3.3).rattle(0.2, 1);
    s.numbers[1] = known.species()[1];
    let name = c("b");
    let head = acerust_conditions {
        size: size_of::<acerust_conditions>(),
        head: name.as_ptr(),
        total_charge: null(),
        total_spin: null(),
    };
    let mut training = Training::<f64>::new(&known).unwrap();
    let mut out = null_mut();
    let owner = model(&known);
    ok!(acerust_training_new(owner.0, ACERUST_F64, 1, &mut out));
    let own = Owned(out);

    let mut n = 0;
    ok!(acerust_training_n_parameters(own.0, &mut n));
    assert_eq!(n, training.values().len());
    let list: serde_json::Value =
        serde_json::from_str(&text(|b, l, needed| unsafe { acerust_training_tensors(own.0, b, l, needed) })).unwrap();
    for (entry, p) in list.as_array().unwrap().iter().zip(training.parameters()) {
        assert_eq!((entry["name"].as_str(), entry["start"].as_u64()), (Some(&p.name[..]), Some(p.range.start as u64)));
    }
    let mut values = vec![0.0; n];
    ok!(acerust_training_parameters(own.0, values.as_mut_ptr(), n));
    assert_eq!(values, training.values());
    values.iter_mut().for_each(|x| *x *= 0.9);
    ok!(acerust_training_set_parameters(own.0, values.as_ptr(), n));
    training.set_values(&values).unwrap();

    let atoms_ = Atoms::new(&s);
    let ([z, pbc], [x, cell]) = (atoms_.integers(), atoms_.reals());
    let input = atoms(atoms_.n(), z, x, cell, pbc);
    let (mut energy, mut forces, mut virial) = (0.0, [[0.0; 3]; 2], [[0.0; 3]; 3]);
    let outputs = acerust_outputs {
        energy: &mut energy,
        forces: forces.as_mut_ptr().cast(),
        n_forces: 6,
        virial: virial.as_mut_ptr().cast(),
        n_virial: 9,
        ..outputs()
    };
    let (f, v) = ([[0.1, -0.2, 0.3], [1.0, 0.5, -0.7]], [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]]);
    let cotangent = acerust_cotangent {
        size: size_of::<acerust_cotangent>(),
        energy: 0.3,
        site_energies: null(),
        forces: f.as_ptr().cast(),
        virial: v.as_ptr().cast(),
    };
    let mut gradient = vec![0.0; n];
    ok!(acerust_training_evaluate(own.0, &input, &head, &outputs, &cotangent, gradient.as_mut_ptr(), n));
    let run = training.evaluate(&s, &Conditions::new().head("b")).unwrap();
    let loss = Cotangent { energy: 0.3, forces: Some(&f), virial: Some(v), ..Cotangent::default() };
    let mut expected = vec![0.0; n];
    training.gradient(&run, &loss, &mut expected).unwrap();
    assert_eq!((energy, &forces[..], virial), (run.energy, &run.forces[..], run.virial));
    assert!(gradient == expected && gradient.iter().any(|g| *g != 0.0));
    // Added to what is there; results are not needed.
    ok!(acerust_training_evaluate(own.0, &input, &head, null(), &cotangent, gradient.as_mut_ptr(), n));
    assert!(gradient.iter().zip(&expected).all(|(a, b)| *a == 2.0 * b));
    ok!(acerust_training_evaluate(own.0, &input, null(), &outputs, null(), null_mut(), 0));
    assert_eq!(energy, training.evaluate(&s, &Conditions::new()).unwrap().energy);

    let mut changed = null_mut();
    ok!(acerust_training_model(own.0, &mut changed));
    ok!(acerust_model_free(changed));
    let a = ACERUST_ERROR_ARGUMENT;
    let call = |out: &acerust_outputs, c: *const acerust_cotangent, g: *mut f64, n: usize| unsafe {
        acerust_training_evaluate(own.0, &input, null(), out, c, g, n)
    };
    fails!(a, "argument: cotangent, gradient: one of both alone", call(&outputs, &cotangent, null_mut(), 0));
    let message = format!("argument: gradient: expected {n}, got {}", n - 1);
    fails!(a, message, call(&outputs, &cotangent, gradient.as_mut_ptr(), n - 1));
    let more = acerust_outputs { grade: gradient.as_mut_ptr(), n_grade: 2, ..outputs };
    fails!(a, "argument: grade: not of a training", call(&more, null(), null_mut(), 0));
    // The derivatives of the loss would be overwritten before they are read.
    let same = acerust_cotangent { forces: outputs.forces, ..cotangent };
    let message = "argument: forces overlaps cotangent of forces in memory";
    fails!(a, message, call(&outputs, &same, gradient.as_mut_ptr(), n));
    let short = acerust_outputs { n_forces: 3, ..outputs };
    fails!(a, "argument: forces: expected a length of 6, got 3", call(&short, null(), null_mut(), 0));
    let message = format!("argument: parameters: expected {n}, got 1");
    fails!(a, message, acerust_training_set_parameters(own.0, values.as_ptr(), 1));
    let site = Model::load(concat!(env!("CARGO_MANIFEST_DIR"), "/benchmark/models/si_fit.json")).unwrap();
    let message = "argument: only MACE models are trained; linear ones are fitted (`acerust::fit`)";
    let site = model(&site);
    fails!(a, message, acerust_training_new(site.0, ACERUST_F64, 1, &mut out));
    fails!(a, "argument: no precision 2 of a training", acerust_training_new(owner.0, 2, 1, &mut out));
}
