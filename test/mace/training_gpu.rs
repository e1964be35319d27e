//! Training on a CUDA device: golden gradients, the results of the processor, memory that others have used. Without a device every test says that
//! it is skipped, unless `ACERUST_GPU=1` demands one.

use super::models::{floats, here};
use super::training::{Case, files, learns_silicon, meets_golden_gradients, random, relative};
use acerust::Error;
use acerust::dtype::Storage;
use acerust::mace::spec::MaceSpec;
use acerust::mace::train::Trainable;
use acerust::model::Model;
use acerust::plan::{Conditions, Device};
use acerust::structure::Structure;
use acerust::train::{Cotangent, LossScale, Training};
use half::{bf16, f16};

const DEVICE: Device = Device::Cuda(0);

fn there<T>(made: Result<T, Error>) -> Option<T> {
    match made {
        Ok(made) => Some(made),
        Err(e) if std::env::var_os("ACERUST_GPU").is_some() => panic!("a device was demanded: {e}"),
        Err(e) => {
            eprintln!("SKIPPED: no test ran on a GPU: {e}");
            None
        }
    }
}

/// Site energies, edge gradients and gradients by all parameters of a loss on both.
fn results<S: Storage>(trainable: &Trainable<S>, case: &Case) -> [Vec<f64>; 3] {
    let run = trainable.evaluate(case.sites()).unwrap();
    let a = random(case.species.len(), 1);
    let u: Vec<[f64; 3]> = random(3 * case.graph.n_edges(), 2).chunks(3).map(|x| [x[0], x[1], x[2]]).collect();
    let mut gradient = vec![0.0; trainable.values().len()];
    trainable.gradient(&run, &a, &u, &mut gradient).unwrap();
    [run.site_energies, run.gradients.into_flattened(), gradient]
}

fn compare<S: Storage>(name: &str, spec: &MaceSpec, file: &serde_json::Value, limits: [f64; 3]) {
    let Some(device) = there(Trainable::<S>::new(spec, DEVICE)) else { return };
    let processor = Trainable::<f64>::new(spec, Device::Cpu).unwrap();
    for (k, s) in file["structures"].as_array().unwrap().iter().enumerate() {
        let case = Case::new(&processor, s);
        let (is, should) = (results(&device, &case), results(&processor, &case));
        assert!(results(&device, &case) == is, "{name} {k}: not the same twice");
        let parts = ["energies", "edge gradients", "gradients by parameters"];
        for (((what, is), should), limit) in parts.into_iter().zip(&is).zip(&should).zip(limits) {
            let error = relative(is, should);
            assert!(error < limit, "{name} {k} {}: {what}: {error:e}", S::DTYPE);
        }
        if limits[0] < 1e-9 {
            let error = relative(&is[0], &floats(&s["node_energy"]));
            assert!(error < 1e-10, "{name} {k}: golden energies: {error:e}");
        }
        // Every parameter by itself, but for a rest of what cancels.
        let largest = should[2].iter().fold(0.0, |m: f64, x| m.max(x.abs()));
        for p in processor.parameters() {
            let [is, should] = [&is[2], &should[2]].map(|x| &x[p.range.clone()]);
            let own = should.iter().fold(1e-3 * largest, |m: f64, x| m.max(x.abs()));
            let error = is.iter().zip(should).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs())) / own;
            assert!(error < 20.0 * limits[2], "{name} {k} {} {}: {error:e}", S::DTYPE, p.name);
        }
    }
    println!("{name} {}: met", S::DTYPE);
}

#[test]
fn training_on_devices_agrees_with_the_processor() {
    for (name, spec, file) in files() {
        compare::<f64>(&name, &spec, &file, [1e-11, 1e-10, 1e-10]);
        compare::<f32>(&name, &spec, &file, [1e-6, 3e-5, 1e-4]);
    }
}

#[test]
fn gradients_by_parameters_on_devices_are_golden() {
    let (_, spec, file) = files().into_iter().find(|(name, ..)| name == "two_layers_scalar").unwrap();
    let Some(trainable) = there(Trainable::<f64>::new(&spec, DEVICE)) else { return };
    meets_golden_gradients(&trainable, &file);
}

/// Gradient of a loss on all results.
fn gradient<S: Storage>(training: &Training<S>, s: &Structure, conditions: &Conditions) -> Result<Vec<f64>, Error> {
    let run = training.evaluate(s, conditions)?;
    let f: Vec<[f64; 3]> = random(3 * s.n_atoms(), 5).chunks(3).map(|x| [x[0], x[1], x[2]]).collect();
    let virial = Some(std::array::from_fn(|a| std::array::from_fn(|b| random(9, 6)[3 * a + b])));
    let cotangent = Cotangent { energy: 0.7, forces: Some(&f), virial, ..Cotangent::default() };
    let mut gradient = vec![0.0; training.values().len()];
    training.gradient(&run, &cotangent, &mut gradient)?;
    Ok(gradient)
}

/// Nothing, an atom alone, one far from others; memory that has held numbers that are none; parameters that change after an evaluation; 16 bits, and what
/// they cannot hold.
#[test]
fn training_on_devices_knows_edge_cases() {
    let model = Model::load(here("nonlinear.json")).unwrap();
    let Some(mut device) = there(Training::<f64>::on(&model, DEVICE)) else { return };
    assert_eq!(device.device(), DEVICE);
    let processor = Training::<f64>::new(&model).unwrap();
    let conditions = Conditions::new().total_charge(1).total_spin(2);
    let mut s = Structure::bcc(model.species()[0], 3.3).repeat([2, 1, 1]).rattle(0.2, 1);
    s.numbers[1] = model.species()[1];
    let alone = Structure { numbers: s.numbers[..1].to_vec(), positions: vec![[0.0; 3]], ..Structure::default() };
    let (mut far, nothing) = (Structure { pbc: [false; 3], cell: [[0.0; 3]; 3], ..s.clone() }, Structure::default());
    far.positions[0] = [90.0, 0.0, 0.0];
    for s in [&s, &far, &alone, &nothing] {
        let (is, should) = (device.evaluate(s, &conditions).unwrap(), processor.evaluate(s, &conditions).unwrap());
        let n = s.n_atoms();
        assert!(
            (is.energy - should.energy).abs() <= 1e-11 * should.energy.abs(),
            "{n}: {} {}",
            is.energy,
            should.energy
        );
        assert!(relative(&is.site_energies, &should.site_energies) < 1e-11, "{n}");
        assert!(relative(is.forces.as_flattened(), should.forces.as_flattened()) < 1e-10, "{n}");
        assert!(relative(is.virial.as_flattened(), should.virial.as_flattened()) < 1e-10, "{n}");
        let (is, should) = (gradient(&device, s, &conditions).unwrap(), gradient(&processor, s, &conditions).unwrap());
        assert!(relative(&is, &should) < 1e-10, "{n}: {:e}", relative(&is, &should));
    }

    let (before, values) = (gradient(&device, &s, &conditions).unwrap(), device.values().to_vec());
    device.set_values(&vec![1e200; values.len()]).unwrap();
    let error = device.evaluate(&s, &conditions).unwrap_err();
    assert!(matches!(error, Error::NotFinite(_)), "{error}");
    device.set_values(&values).unwrap();
    assert!(gradient(&device, &s, &conditions).unwrap() == before, "after numbers that were none");

    // At the parameters of the evaluation, whatever they are now.
    let run = device.evaluate(&s, &conditions).unwrap();
    let of = |training: &Training<f64>| {
        let mut to = vec![0.0; values.len()];
        training.gradient(&run, &Cotangent { energy: 1.0, ..Cotangent::default() }, &mut to).unwrap();
        to
    };
    let own = of(&device);
    device.set_values(&values.iter().map(|x| 0.9 * x).collect::<Vec<_>>()).unwrap();
    assert!(of(&device) == own);
    let other = Training::<f64>::on(&model, DEVICE).unwrap();
    let error = other.gradient(&run, &Cotangent::default(), &mut vec![0.0; values.len()]).unwrap_err();
    assert_eq!(error.to_string(), "argument: the evaluation is of another training");

    fn halves<S: Storage>(model: &Model, s: &Structure, conditions: &Conditions, exact: &[f64], limit: f64) {
        let mut training = Training::<S>::on(model, DEVICE).unwrap();
        training.set_loss_scale(8.0).unwrap();
        let error = relative(&gradient(&training, s, conditions).unwrap(), exact);
        assert!(error < limit, "{}: {error:e}", S::DTYPE);
    }
    halves::<f16>(&model, &s, &conditions, &before, 0.05);
    halves::<bf16>(&model, &s, &conditions, &before, 0.3);
    let mut half = Training::<f16>::on(&model, DEVICE).unwrap();
    half.set_loss_scale(1e9).unwrap();
    let mut scale = LossScale::default();
    let start = scale.scale();
    assert!(!scale.accept(gradient(&half, &s, &conditions).map(|_| ())).unwrap() && scale.scale() == 0.5 * start);
    half.set_loss_scale(8.0).unwrap();
    assert!(relative(&gradient(&half, &s, &conditions).unwrap(), &before) < 0.05);
}

/// Several threads at once have the results of one after another.
#[test]
fn threads_share_a_training_on_a_device() {
    let model = Model::load(here("tiny.json")).unwrap();
    let Some(training) = there(Training::<f64>::on(&model, DEVICE)) else { return };
    let of = |k: u64| {
        let s = Structure { numbers: vec![3, 9], ..Structure::bcc(0, 3.3).rattle(0.2, k) };
        gradient(&training, &s, &Conditions::new()).unwrap()
    };
    let alone: Vec<Vec<f64>> = (0..8).map(of).collect();
    let of = &of;
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|k| scope.spawn(move || of(k))).collect();
        for (found, expected) in all.into_iter().zip(&alone) {
            assert!(found.join().unwrap() == *expected);
        }
    });
}

#[test]
fn a_small_model_learns_silicon_on_a_device() {
    if there(Training::<f64>::on(&Model::load(here("tiny.json")).unwrap(), DEVICE)).is_some() {
        learns_silicon(DEVICE);
    }
}
