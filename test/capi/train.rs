//! Training across the ABI.

use crate::call::*;
use crate::short::atoms;
use acerust::model::Model;
use acerust::plan::Conditions;
use acerust::structure::Structure;
use acerust::train::{Cotangent, LossScale, Training};

struct Owned(*mut acerust_training);
struct Run(*mut acerust_evaluation);

impl Drop for Owned {
    fn drop(&mut self) {
        ok!(acerust_training_free(self.0));
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        ok!(acerust_evaluation_free(self.0));
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
    ok!(acerust_training_new(owner.0, ACERUST_CPU, 0, ACERUST_F64, 1, &mut out));
    let own = Owned(out);

    let mut n = 0;
    ok!(acerust_training_n_parameters(own.0, &mut n));
    assert_eq!(n, training.values().len());
    let list: serde_json::Value =
        serde_json::from_str(&text(|b, l, needed| unsafe { acerust_training_tensors(own.0, b, l, needed) })).unwrap();
    for (entry, p) in list.as_array().unwrap().iter().zip(training.parameters()) {
        assert_eq!((entry["name"].as_str(), entry["start"].as_u64()), (Some(&p.name[..]), Some(p.range.start as u64)));
        assert_eq!(entry["shape"], serde_json::json!(p.shape));
        assert_eq!(p.shape.iter().product::<usize>(), p.range.len());
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
    let mut run = null_mut();
    ok!(acerust_training_evaluate(own.0, &input, &head, &outputs, &mut run));
    let of_library = training.evaluate(&s, &Conditions::new().head("b")).unwrap();
    assert_eq!((energy, &forces[..], virial), (of_library.energy, &of_library.forces[..], of_library.virial));
    let run = Run(run);
    ok!(acerust_training_gradient(own.0, run.0, &cotangent, gradient.as_mut_ptr(), n));
    let loss = Cotangent { energy: 0.3, forces: Some(&f), virial: Some(v), ..Cotangent::default() };
    let mut expected = vec![0.0; n];
    training.gradient(&of_library, &loss, &mut expected).unwrap();
    assert!(gradient == expected && gradient.iter().any(|g| *g != 0.0));
    // Added to what is there, at the parameters of the evaluation whatever they are now.
    ok!(acerust_training_set_parameters(own.0, vec![0.5; n].as_ptr(), n));
    ok!(acerust_training_gradient(own.0, run.0, &cotangent, gradient.as_mut_ptr(), n));
    assert!(gradient.iter().zip(&expected).all(|(a, b)| *a == 2.0 * b));
    ok!(acerust_training_set_parameters(own.0, values.as_ptr(), n));
    ok!(acerust_training_evaluate(own.0, &input, null(), &outputs, null_mut()));
    assert_eq!(energy, training.evaluate(&s, &Conditions::new()).unwrap().energy);

    let mut changed = null_mut();
    ok!(acerust_training_model(own.0, &mut changed));
    ok!(acerust_model_free(changed));
    let a = ACERUST_ERROR_ARGUMENT;
    let back = |run: *mut acerust_evaluation, c: &acerust_cotangent, g: *mut f64, n: usize| unsafe {
        acerust_training_gradient(own.0, run, c, g, n)
    };
    fails!(a, format!("argument: gradient: expected {n}, got 0"), back(run.0, &cotangent, null_mut(), 0));
    let message = format!("argument: gradient: expected {n}, got {}", n - 1);
    fails!(a, message, back(run.0, &cotangent, gradient.as_mut_ptr(), n - 1));
    let message = "handle: the evaluation is null";
    fails!(ACERUST_ERROR_HANDLE, message, back(null_mut(), &cotangent, gradient.as_mut_ptr(), n));
    // The derivatives of the loss would be overwritten while they are read.
    let same = acerust_cotangent { forces: gradient.as_ptr(), ..cotangent };
    let message = "argument: gradient overlaps cotangent of forces in memory";
    fails!(a, message, back(run.0, &same, gradient.as_mut_ptr(), n));
    let infinite = acerust_cotangent { energy: f64::INFINITY, ..cotangent };
    fails!(a, "argument: cotangent: a number is not finite", back(run.0, &infinite, gradient.as_mut_ptr(), n));
    let call = |out: &acerust_outputs| unsafe { acerust_training_evaluate(own.0, &input, null(), out, null_mut()) };
    let more = acerust_outputs { grade: gradient.as_mut_ptr(), n_grade: 2, ..outputs };
    fails!(a, "argument: grade: not of a training", call(&more));
    let short = acerust_outputs { n_forces: 3, ..outputs };
    fails!(a, "argument: forces: expected a length of 6, got 3", call(&short));
    let message = format!("argument: parameters: expected {n}, got 1");
    fails!(a, message, acerust_training_set_parameters(own.0, values.as_ptr(), 1));
    let site = Model::load(concat!(env!("CARGO_MANIFEST_DIR"), "/benchmark/models/si_fit.json")).unwrap();
    let message = "argument: only MACE models are trained; linear ones are fitted (`acerust::fit`)";
    let site = model(&site);
    fails!(a, message, acerust_training_new(site.0, ACERUST_CPU, 0, ACERUST_F64, 1, &mut out));
    fails!(a, "argument: no precision 2 of a training", acerust_training_new(owner.0, ACERUST_CPU, 0, 2, 1, &mut out));
    let message = "argument: no device with the index -1";
    fails!(a, message, acerust_training_new(owner.0, ACERUST_CUDA, -1, ACERUST_F64, 1, &mut out));
    let missing = unsafe { acerust_training_new(owner.0, ACERUST_CUDA, 97, ACERUST_F64, 1, &mut out) };
    assert_eq!(missing, ACERUST_ERROR_DEVICE);
    // Of another type of numbers the evaluation is none.
    let mut half = null_mut();
    ok!(acerust_training_new(owner.0, ACERUST_CPU, 0, ACERUST_BF16, 1, &mut half));
    let half = Owned(half);
    let message = "argument: the evaluation is of another training";
    fails!(a, message, acerust_training_gradient(half.0, run.0, &cotangent, gradient.as_mut_ptr(), n));
}

/// 16 bits overflow: the step is skipped and the scale halved, until nothing does.
#[test]
fn the_scale_of_a_loss_is_found() {
    let known = Model::load(concat!(env!("CARGO_MANIFEST_DIR"), "/test/mace/two_heads.json")).unwrap();
    let s = Structure::bcc(known.species()[0], 3.3).rattle(0.2, 1);
    let (owner, mut out) = (model(&known), null_mut());
    ok!(acerust_training_new(owner.0, ACERUST_CPU, 0, ACERUST_F16, 1, &mut out));
    let own = Owned(out);
    let mut n = 0;
    ok!(acerust_training_n_parameters(own.0, &mut n));
    let atoms_ = Atoms::new(&s);
    let ([z, pbc], [x, cell]) = (atoms_.integers(), atoms_.reals());
    let input = atoms(atoms_.n(), z, x, cell, pbc);
    let (mut scale, mut steps) = (0.0, 0);
    ok!(acerust_loss_scale(&mut scale, &mut steps, 1));
    assert_eq!((scale, steps), (LossScale::default().scale(), 0));
    scale *= 1024.0 * 1024.0;
    let (first, mut skipped) = (scale, 0);
    let cotangent = acerust_cotangent {
        size: size_of::<acerust_cotangent>(),
        energy: 1.0,
        site_energies: null(),
        forces: null(),
        virial: null(),
    };
    let gradient = loop {
        ok!(acerust_training_set_loss_scale(own.0, scale));
        let (mut run, mut gradient) = (null_mut(), vec![0.0; n]);
        let mut status = unsafe { acerust_training_evaluate(own.0, &input, null(), null(), &mut run) };
        if status == ACERUST_OK {
            let run = Run(run);
            status = unsafe { acerust_training_gradient(own.0, run.0, &cotangent, gradient.as_mut_ptr(), n) };
        }
        ok!(acerust_loss_scale(&mut scale, &mut steps, i32::from(status == ACERUST_OK)));
        if status == ACERUST_OK {
            break gradient;
        }
        assert!(status == ACERUST_ERROR_NOT_FINITE && gradient.iter().all(|g| *g == 0.0));
        skipped += 1;
    };
    assert!(skipped > 0 && steps == 1 && scale == first * 0.5_f64.powi(skipped), "{skipped} {steps} {scale}");
    let exact = Training::<f64>::new(&known).unwrap();
    let mut expected = vec![0.0; n];
    let loss = Cotangent { energy: 1.0, ..Cotangent::default() };
    exact.gradient(&exact.evaluate(&s, &Conditions::new()).unwrap(), &loss, &mut expected).unwrap();
    let largest = expected.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
    let error = gradient.iter().zip(&expected).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs())) / largest;
    assert!(error < 0.02, "{error}");
    (0..99).for_each(|_| ok!(acerust_loss_scale(&mut scale, &mut steps, 1)));
    assert_eq!((scale, steps), (first * 0.5_f64.powi(skipped - 1), 0));
    let (mut tiny, mut negative) = (1e-7, -1.0);
    let message = "result: the gradient is not finite with a loss scale of 0.0000001";
    fails!(ACERUST_ERROR_NOT_FINITE, message, acerust_loss_scale(&mut tiny, &mut steps, 0));
    let message = "argument: scale: -1 is not finite and above 0";
    fails!(ACERUST_ERROR_ARGUMENT, message, acerust_loss_scale(&mut negative, &mut steps, 1));
}
