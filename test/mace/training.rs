//! Derivatives by parameters: golden gradients, finite differences, precisions; and a model that learns.

use super::golden::{graph, properties, species};
use super::models::{floats, golden, read};
use acerust::dtype::Storage;
use acerust::extxyz::{Frame, Keys, Reader};
use acerust::graph::Graph;
use acerust::mace::spec::{MaceSpec, Tensor, Values};
use acerust::mace::train::{Sites, Trainable};
use acerust::model::Model;
use acerust::plan::{Conditions, Device, Outputs, Plan, Precision, Virial};
use acerust::structure::Structure;
use acerust::train::{Cotangent, LossScale, Training};
use half::{bf16, f16};
use serde_json::Value;
use std::path::Path;

/// Numbers from −1 to 1.
pub fn random(n: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

pub fn relative(is: &[f64], should: &[f64]) -> f64 {
    assert_eq!(is.len(), should.len());
    let largest = should.iter().fold(1e-12, |m: f64, x| m.max(x.abs()));
    is.iter().zip(should).fold(0.0, |m: f64, (a, b)| if a.is_nan() { f64::NAN } else { m.max((a - b).abs()) }) / largest
}

/// A golden structure.
pub struct Case {
    pub graph: Graph,
    pub species: Vec<u32>,
    properties: Vec<i64>,
    head: usize,
}

impl Case {
    pub fn new<S: Storage>(trainable: &Trainable<S>, s: &Value) -> Case {
        let net = trainable.network();
        let head = s["head"].as_u64().unwrap() as usize;
        Case { graph: graph(s).0, species: species(net, s), properties: properties(net, s), head }
    }

    pub fn sites(&self) -> Sites<'_> {
        Sites { graph: &self.graph, species: &self.species, head: self.head, properties: &self.properties }
    }

    /// `Σ a_i E_i − Σ_e u_e · g_e`.
    fn loss<S: Storage>(&self, trainable: &Trainable<S>, a: &[f64], u: &[[f64; 3]]) -> f64 {
        let run = trainable.evaluate(self.sites()).unwrap();
        let pairs = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        pairs(a, &run.site_energies) - pairs(u.as_flattened(), run.gradients.as_flattened())
    }
}

pub fn files() -> Vec<(String, MaceSpec, Value)> {
    let one = |path: &std::path::PathBuf| {
        let bytes = read(path);
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, MaceSpec::from_json(&bytes).unwrap(), serde_json::from_slice(&bytes).unwrap())
    };
    golden().iter().map(one).collect()
}

#[test]
fn energies_and_edge_gradients_are_golden() {
    for (name, spec, file) in files() {
        let double = Trainable::<f64>::new(&spec, Device::Cpu).unwrap();
        let single = Trainable::<f32>::new(&spec, Device::Cpu).unwrap();
        for (k, s) in file["structures"].as_array().unwrap().iter().enumerate() {
            let case = Case::new(&double, s);
            let run = double.evaluate(case.sites()).unwrap();
            let error = relative(&run.site_energies, &floats(&s["node_energy"]));
            assert!(error < 1e-10, "{name} {k}: {error:e}");
            let rough = single.evaluate(case.sites()).unwrap();
            let error = relative(rough.gradients.as_flattened(), run.gradients.as_flattened());
            assert!(error < 2e-5, "{name} {k} f32: {error:e}");
            if !super::models::forces_are_derivatives(&file) {
                continue;
            }
            let mut forces = vec![[0.0; 3]; case.species.len()];
            for (i, e) in (0..forces.len()).flat_map(|i| case.graph.edges(i).map(move |e| (i, e))) {
                let j = case.graph.neighbours()[e] as usize;
                for (d, g) in run.gradients[e].into_iter().enumerate() {
                    forces[i][d] += g;
                    forces[j][d] -= g;
                }
            }
            let error = relative(forces.as_flattened(), &floats(&s["forces"]));
            assert!(error < 1e-9, "{name} {k}: forces {error:e}");
        }
    }
}

#[test]
fn gradients_by_parameters_are_golden() {
    let (_, spec, file) = files().into_iter().find(|(name, ..)| name == "two_layers_scalar").unwrap();
    let trainable = Trainable::<f64>::new(&spec, Device::Cpu).unwrap();
    meets_golden_gradients(&trainable, &file);
}

/// Of energy and forces, by every parameter.
pub fn meets_golden_gradients(trainable: &Trainable<f64>, file: &Value) {
    let golden = &file["parameter_gradients"];
    let case = Case::new(trainable, &file["structures"][golden["structure"].as_u64().unwrap() as usize]);
    let run = trainable.evaluate(case.sites()).unwrap();
    let cotangent = floats(&golden["cotangent"]["data"]);
    let (n, f) = (case.species.len(), cotangent.as_chunks::<3>().0);
    let mut u = vec![[0.0; 3]; case.graph.n_edges()];
    for (i, e) in (0..n).flat_map(|i| case.graph.edges(i).map(move |e| (i, e))) {
        u[e] = std::array::from_fn(|d| f[case.graph.neighbours()[e] as usize][d] - f[i][d]);
    }
    let none = (vec![0.0; n], vec![[0.0; 3]; u.len()]);
    for (what, a, u) in [("of_energy", vec![1.0; n], none.1), ("of_forces", none.0, u)] {
        let mut found = vec![0.0; trainable.values().len()];
        trainable.gradient(&run, &a, &u, &mut found).unwrap();
        let expected = golden[what].as_object().unwrap();
        assert_eq!(trainable.parameters().len(), expected.len());
        for p in trainable.parameters() {
            let error = relative(&found[p.range.clone()], &floats(&expected[&p.name]["data"]));
            assert!(error < 1e-9, "{what} {}: {error:e}", p.name);
        }
    }
}

#[test]
fn gradients_by_parameters_agree_with_finite_differences() {
    for (name, spec, file) in files() {
        let mut trainable = Trainable::<f64>::new(&spec, Device::Cpu).unwrap();
        let single = Trainable::<f32>::new(&spec, Device::Cpu).unwrap();
        let structures = file["structures"].as_array().unwrap();
        // A molecule; of models with heads or charges the last one as well.
        let net = trainable.network();
        let more = net.heads.len() > 1 || net.extra.is_some();
        for s in structures.iter().take(1).chain(structures.last().filter(|_| more)) {
            let case = Case::new(&trainable, s);
            let a = random(case.species.len(), 1);
            let u: Vec<[f64; 3]> = random(3 * case.graph.n_edges(), 2).chunks(3).map(|x| [x[0], x[1], x[2]]).collect();
            let run = trainable.evaluate(case.sites()).unwrap();
            let mut gradient = vec![0.0; trainable.values().len()];
            trainable.gradient(&run, &a, &u, &mut gradient).unwrap();
            let mut rough = vec![0.0; gradient.len()];
            single.gradient(&single.evaluate(case.sites()).unwrap(), &a, &u, &mut rough).unwrap();
            let error = relative(&rough, &gradient);
            assert!(error < 1e-4, "{name} f32: {error:e}");
            let (values, largest) =
                (trainable.values().to_vec(), gradient.iter().fold(0.0, |m: f64, g| m.max(g.abs())));
            for p in trainable.parameters().to_vec() {
                let direction = random(p.range.len(), 3);
                let mut at = |h: f64| {
                    let mut moved = values.clone();
                    moved[p.range.clone()].iter_mut().zip(&direction).for_each(|(x, d)| *x += h * d);
                    trainable.set_values(&moved).unwrap();
                    case.loss(&trainable, &a, &u)
                };
                let h = 1e-3;
                let difference = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
                let along: f64 = gradient[p.range.clone()].iter().zip(&direction).map(|(g, d)| g * d).sum();
                let error = (along - difference).abs() / (largest + difference.abs());
                assert!(error < 1e-6, "{name} {}: {along} {difference}", p.name);
            }
            trainable.set_values(&values).unwrap();
        }
    }
}

/// The front door: losses on energy, forces and virial of a strained crystal, against finite differences; numbers of 16 bits.
#[test]
fn losses_on_energy_forces_and_virial_have_gradients() {
    let model = Model::load(super::models::here("nonlinear.json")).unwrap();
    let mut training = Training::<f64>::new(&model).unwrap();
    let plan = Plan::new(&model, Device::Cpu, Precision::F64).unwrap();
    let s = super::plan::crystal(&plan, [2, 1, 1]);
    let conditions = Conditions::new().total_charge(1).total_spin(2);
    let run = training.evaluate(&s, &conditions).unwrap();
    let n = s.n_atoms();
    let (mut energy, mut forces, mut virial) = (0.0, vec![[0.0; 3]; n], [[0.0; 3]; 3]);
    let mut out = Outputs::new().energy(&mut energy).forces(&mut forces[..]).virial(&mut virial[..]);
    plan.at(&conditions).unwrap().evaluate(&s, &mut out).unwrap();
    assert!((run.energy - energy).abs() < 1e-10 * energy.abs());
    assert!(relative(run.forces.as_flattened(), forces.as_flattened()) < 1e-9);
    assert!(relative(run.virial.as_flattened(), virial.as_flattened()) < 1e-9);

    let f: Vec<[f64; 3]> = random(3 * n, 5).chunks(3).map(|x| [x[0], x[1], x[2]]).collect();
    let v: Virial = std::array::from_fn(|a| std::array::from_fn(|b| random(9, 6)[3 * a + b]));
    let cotangent = Cotangent { energy: 0.7, forces: Some(&f), virial: Some(v), ..Cotangent::default() };
    let mut gradient = vec![0.0; training.values().len()];
    training.gradient(&run, &cotangent, &mut gradient).unwrap();
    // However small a loss is, its gradient is so by as much.
    for scale in [1e-200, 1e-305] {
        let (mut tiny, small) = (vec![0.0; gradient.len()], Cotangent { energy: 0.7 * scale, ..Cotangent::default() });
        let (mut full, plain) = (tiny.clone(), Cotangent { energy: 0.7, ..Cotangent::default() });
        training.gradient(&run, &small, &mut tiny).unwrap();
        training.gradient(&run, &plain, &mut full).unwrap();
        tiny.iter_mut().for_each(|g| *g /= scale);
        assert!(relative(&tiny, &full) < 1e-2, "{scale:e}");
    }
    let denormal = Cotangent { energy: 1e-320, ..Cotangent::default() };
    training.gradient(&run, &denormal, &mut vec![0.0; gradient.len()]).unwrap();
    let loss = |training: &Training| {
        let run = training.evaluate(&s, &conditions).unwrap();
        let pairs = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let of_forces = pairs(f.as_flattened(), run.forces.as_flattened());
        0.7 * run.energy + of_forces + pairs(v.as_flattened(), run.virial.as_flattened())
    };
    let (values, direction) = (training.values().to_vec(), random(gradient.len(), 7));
    let mut at = |h: f64| {
        let moved: Vec<f64> = values.iter().zip(&direction).map(|(x, d)| x + h * d).collect();
        training.set_values(&moved).unwrap();
        loss(&training)
    };
    let h = 1e-4;
    let difference = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
    let along: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
    assert!((along - difference).abs() < 1e-7 * difference.abs(), "{along} {difference}");
    training.set_values(&values).unwrap();

    fn of<S: Storage>(model: &Model, s: &Structure, conditions: &Conditions, cotangent: &Cotangent) -> Vec<f64> {
        let mut training = Training::<S>::new(model).unwrap();
        training.set_loss_scale(8.0).unwrap();
        let mut gradient = vec![0.0; training.values().len()];
        training.gradient(&training.evaluate(s, conditions).unwrap(), cotangent, &mut gradient).unwrap();
        gradient
    }
    for (name, found, limit) in [
        ("f32", of::<f32>(&model, &s, &conditions, &cotangent), 1e-4),
        ("f16", of::<f16>(&model, &s, &conditions, &cotangent), 0.05),
        ("bf16", of::<bf16>(&model, &s, &conditions, &cotangent), 0.3),
    ] {
        let error = relative(&found, &gradient);
        println!("{name}: {error:.1e}");
        assert!(error < limit, "{name}: {error:e}");
    }

    // A loss whose derivatives are too small for 16 bits, but for their scale.
    let small = Cotangent { energy: 0.0, site_energies: None, forces: cotangent.forces, virial: None };
    let mut exact = vec![0.0; gradient.len()];
    training.gradient(&training.evaluate(&s, &conditions).unwrap(), &small, &mut exact).unwrap();
    let tiny: Vec<[f64; 3]> = cotangent.forces.unwrap().iter().map(|f| f.map(|x| 1e-9 * x)).collect();
    let tiny = Cotangent { forces: Some(&tiny), ..small };
    let mut found = of::<f16>(&model, &s, &conditions, &tiny);
    found.iter_mut().for_each(|g| *g *= 1e9);
    assert!(relative(&found, &exact) < 0.05, "{:e}", relative(&found, &exact));
    let other = Training::<f64>::new(&model).unwrap();
    let run = other.evaluate(&s, &conditions).unwrap();
    let said = training.gradient(&run, &small, &mut exact).unwrap_err().to_string();
    assert!(said.contains("of another training"), "{said}");
    let mut huge = Training::<f64>::new(&model).unwrap();
    huge.set_values(&vec![1e200; values.len()]).unwrap();
    assert!(matches!(huge.evaluate(&s, &conditions), Err(acerust::Error::NotFinite(_))));

    // Too large for 16 bits: the step does not count, and the scale is halved.
    let mut half = Training::<f16>::new(&model).unwrap();
    half.set_loss_scale(1e9).unwrap();
    assert!([0.0, -1.0, f64::NAN, f64::INFINITY].iter().all(|&s| half.set_loss_scale(s).is_err()));
    let mut scale = LossScale::default();
    let start = scale.scale();
    let mut untouched = vec![1.0; gradient.len()];
    let step = half.evaluate(&s, &conditions).and_then(|run| half.gradient(&run, &cotangent, &mut untouched));
    assert!(!scale.accept(step).unwrap() && scale.scale() == 0.5 * start);
    assert!(untouched.iter().all(|g| *g == 1.0));
    (0..100).for_each(|_| assert!(scale.accept(Ok(())).unwrap()));
    assert!(scale.scale() == start);
    assert!(scale.accept(Err(acerust::Error::Argument("other".into()))).is_err());

    // Nothing at all, and an atom alone.
    let alone = Structure { numbers: s.numbers[..1].to_vec(), positions: vec![[0.0; 3]], ..Structure::default() };
    for s in [Structure::default(), alone] {
        let run = training.evaluate(&s, &conditions).unwrap();
        assert!(
            (run.energy - plan.at(&conditions).unwrap().energy(&s).unwrap()).abs() < 1e-12 * (1.0 + run.energy.abs())
        );
        let mut gradient = vec![0.0; training.values().len()];
        training.gradient(&run, &Cotangent { energy: 1.0, ..Cotangent::default() }, &mut gradient).unwrap();
        assert!(gradient.iter().any(|g| *g != 0.0) == (s.n_atoms() > 0));
    }

    let short = [[0.0; 3]; 1];
    let refused = |c: &Cotangent, g: &mut [f64]| training.gradient(&run, c, g).unwrap_err().to_string();
    let error = refused(&Cotangent { forces: Some(&short), ..cotangent }, &mut gradient.clone());
    assert_eq!(error, "argument: forces: expected 4, got 1");
    let error = refused(&Cotangent { energy: f64::NAN, ..cotangent }, &mut gradient.clone());
    assert_eq!(error, "argument: cotangent: a number is not finite");
    assert!(refused(&cotangent, &mut [0.0]).starts_with("argument: gradient: expected"));
    let site = Model::load(concat!(env!("CARGO_MANIFEST_DIR"), "/benchmark/models/si_fit.json")).unwrap();
    let error = Training::<f64>::new(&site).unwrap_err().to_string();
    assert!(error.contains("only MACE models are trained"), "{error}");
    let error = training.evaluate(&Structure::diamond(92, 5.0), &conditions).unwrap_err().to_string();
    assert!(error.contains("atom 0 has the atomic number 92"), "{error}");
}

/// The smallest golden model with a longer cutoff.
fn pupil() -> Model {
    let (_, mut spec, _) = files().into_iter().find(|(name, ..)| name == "two_layers_scalar").unwrap();
    let (cutoff, old) = (4.0, spec.tensors["r_max"].to_dense()[0]);
    let mut change = |name: &str, f: &dyn Fn(f64) -> f64| {
        let tensor: &mut Tensor = spec.tensors.get_mut(name).unwrap();
        tensor.values = Values::Dense(tensor.to_dense().into_iter().map(f).collect());
    };
    for name in ["r_max", "radial_embedding.bessel_fn.r_max", "radial_embedding.cutoff_fn.r_max"] {
        change(name, &|_| cutoff);
    }
    change("radial_embedding.bessel_fn.bessel_weights", &|w| w * old / cutoff);
    change("radial_embedding.bessel_fn.prefactor", &|_| (2.0 / cutoff).sqrt());
    change("atomic_energies_fn.atomic_energies", &|_| -5.3);
    Model::from_mace(spec, "pupil").unwrap()
}

fn frames() -> Vec<Frame> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benchmark/data/Si_test.extxyz");
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let all = Reader::new(file, &Keys::default()).map(Result::unwrap);
    // Molecular dynamics.
    all.filter(|f| f.info.get("config_type").and_then(|v| v.as_str()).is_some_and(|c| c.starts_with("AIMD"))).collect()
}

/// Root mean squares of errors: of energies an atom, of forces.
fn errors(frames: &[Frame], of: impl Fn(&Frame) -> (f64, Vec<[f64; 3]>)) -> [f64; 2] {
    let (mut energies, mut forces, mut n) = (0.0, 0.0, 0);
    for frame in frames {
        let (e, f) = of(frame);
        energies += ((e - frame.energy.unwrap()) / f.len() as f64).powi(2);
        let pairs = f.as_flattened().iter().zip(frame.forces.as_ref().unwrap().as_flattened());
        forces += pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        n += 3 * f.len();
    }
    [(energies / frames.len() as f64).sqrt(), (forces / n as f64).sqrt()]
}

/// Trains by Adam on energies and forces and returns the errors of forces on the frames that it has not seen, before and after.
fn learn<S: Storage>(device: Device, seen: &[Frame], unseen: &[Frame], steps: usize, rate: f64) -> [[f64; 2]; 2] {
    let mut training = Training::<S>::on(&pupil(), device).unwrap();
    let test = |training: &Training<S>| {
        // By the fast evaluator.
        let plan = Plan::new(&training.model().unwrap(), Device::Cpu, Precision::F64).unwrap();
        errors(unseen, |frame| {
            let (mut energy, mut forces) = (0.0, vec![[0.0; 3]; frame.structure.n_atoms()]);
            let mut out = Outputs::new().energy(&mut energy).forces(&mut forces[..]);
            plan.evaluate(&frame.structure, &mut out).unwrap();
            (energy, forces)
        })
    };
    let before = test(&training);
    let n = training.values().len();
    let (mut m, mut v, mut scale, mut done) = (vec![0.0; n], vec![0.0; n], LossScale::default(), 0);
    for step in 0..steps {
        let frame = &seen[step % seen.len()];
        let reference = (frame.energy.unwrap(), frame.forces.as_ref().unwrap());
        let atoms = frame.structure.n_atoms() as f64;
        let mut gradient = vec![0.0; n];
        if S::DTYPE.bytes() == 2 {
            training.set_loss_scale(scale.scale()).unwrap();
        }
        let result = training.evaluate(&frame.structure, &Conditions::new()).and_then(|run| {
            let pairs = run.forces.iter().zip(reference.1);
            let f: Vec<[f64; 3]> = pairs.map(|(a, b)| [0, 1, 2].map(|d| 2.0 * (a[d] - b[d]) / (3.0 * atoms))).collect();
            let energy = 0.3 * 2.0 * (run.energy - reference.0) / (atoms * atoms);
            training.gradient(&run, &Cotangent { energy, forces: Some(&f), ..Cotangent::default() }, &mut gradient)
        });
        if !scale.accept(result).unwrap() {
            continue;
        }
        done += 1;
        let mut values = training.values().to_vec();
        let corrections = [1.0 - 0.9_f64.powi(done), 1.0 - 0.99_f64.powi(done)];
        // Slower and slower.
        let rate = rate * (1.0 - step as f64 / steps as f64);
        for k in 0..n {
            m[k] = 0.9 * m[k] + 0.1 * gradient[k];
            v[k] = 0.99 * v[k] + 0.01 * gradient[k] * gradient[k];
            values[k] -= rate * (m[k] / corrections[0]) / ((v[k] / corrections[1]).sqrt() + 1e-12);
        }
        training.set_values(&values).unwrap();
    }
    [before, test(&training)]
}

/// On molecular dynamics of crystalline silicon errors of forces fall to less than half of what no forces at all, and the untrained model,
/// are off by.
#[test]
fn a_small_model_learns_silicon() {
    learns_silicon(Device::Cpu);
}

pub fn learns_silicon(device: Device) {
    let crystals: Vec<Frame> =
        frames().into_iter().filter(|f| f.energy.unwrap() < -5.0 * f.structure.n_atoms() as f64).collect();
    let (mut seen, mut unseen) = (Vec::new(), Vec::new());
    crystals.into_iter().enumerate().for_each(|(k, f)| if k % 2 == 0 { seen.push(f) } else { unseen.push(f) });
    let [_, none] = errors(&unseen, |f| (f.energy.unwrap(), vec![[0.0; 3]; f.structure.n_atoms()]));
    let report = |name: &str, [before, after]: [[f64; 2]; 2]| {
        println!("{name}: energies {before:.3?} to {after:.3?} eV/atom, eV/Å; no forces {none:.3}");
        assert!(after[1] < 0.5 * before[1].min(none), "{name}: {before:?} {after:?} {none}");
    };
    report("f32", learn::<f32>(device, &seen, &unseen, 40, 0.03));
    report("bf16", learn::<bf16>(device, &seen, &unseen, 40, 0.03));
}
