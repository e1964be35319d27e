//! Solvers against closed formulas.

use super::{Numbers, assemble, model, synthetic};
use crate::common::assert_close;
use acerust::build::Prior;
use acerust::fit::{self, Factor, Settings, Solver, System, log_evidence};
use acerust::model::Model;

/// A system with so many rows, and the rows `[a | y]`.
fn system(m: usize, n: usize, noise: f64) -> (System, Vec<f64>) {
    let mut numbers = Numbers(11);
    let mut rows = numbers.rows(m, n + 1);
    for row in rows.chunks_mut(n + 1) {
        row[n] = (0..n).map(|j| row[j] * (j as f64 + 1.0)).sum::<f64>() + noise * row[n];
    }
    let mut factor = Factor::new(n + 1);
    factor.push(&rows);
    let mut system = System::new(n);
    system.add(&factor, 1.0, &vec![0.0; n], &[]);
    (system, rows)
}

/// Cholesky's factor of a symmetric matrix.
fn cholesky(a: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let n = a.len();
    let mut l = vec![vec![0.0; n]; n];
    for i in 0..n {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| l[i][k] * l[j][k]).sum();
            l[i][j] = if i == j { (a[i][i] - sum).sqrt() } else { (a[i][j] - sum) / l[j][j] };
        }
    }
    l
}

#[test]
fn the_evidence_is_the_density_of_the_data() {
    let (m, n) = (12, 3);
    let (system, rows) = system(m, n, 0.3);
    for kappa in [1e-3, 0.2, 7.0] {
        let (found, variance) = log_evidence(&system, kappa);
        // y ~ N(0, σ0² X Xᵀ + σe²)
        let x = |i: usize| &rows[i * (n + 1)..][..n];
        let entry = |i: usize, j: usize| {
            let dot: f64 = x(i).iter().zip(x(j)).map(|(a, b)| a * b).sum();
            variance * (dot + if i == j { kappa } else { 0.0 })
        };
        let l = cholesky(&(0..m).map(|i| (0..m).map(|j| entry(i, j)).collect()).collect::<Vec<_>>());
        let mut white = vec![0.0; m];
        for i in 0..m {
            let sum: f64 = (0..i).map(|k| l[i][k] * white[k]).sum();
            white[i] = (rows[i * (n + 1) + n] - sum) / l[i][i];
        }
        let log_det: f64 = (0..m).map(|i| 2.0 * l[i][i].ln()).sum();
        let squares: f64 = white.iter().map(|w| w * w).sum();
        let expected = -0.5 * (squares + log_det + m as f64 * std::f64::consts::TAU.ln());
        assert_close("ln p", &[found], &[expected], 1e-10);
        // The variance is the best one: y ᵀ C⁻¹ y = N.
        assert_close("variance", &[squares], &[m as f64], 1e-10);
    }
}

#[test]
fn blr_has_the_largest_evidence_and_its_posterior() {
    let (m, n) = (60, 4);
    let (system, rows) = system(m, n, 0.5);
    let solution = Solver::Blr.solve(&system).unwrap();
    let best = solution.log_evidence.unwrap();
    let kappa = solution.damping[0].powi(2);
    for factor in [0.5, 0.9, 1.1, 2.0, 1e3, 1e-3] {
        assert!(log_evidence(&system, kappa * factor).0 <= best + 1e-4, "{factor}");
    }
    // (XᵀX + κ)⁻¹ σe²
    let mut a = vec![vec![0.0; n]; n];
    for row in rows.chunks(n + 1) {
        (0..n * n).for_each(|k| a[k / n][k % n] += row[k / n] * row[k % n]);
    }
    (0..n).for_each(|i| a[i][i] += kappa);
    let l = cholesky(&a);
    let column = |j: usize| {
        let mut x: Vec<f64> = (0..n).map(|i| if i == j { solution.noise.powi(2) } else { 0.0 }).collect();
        (0..n).for_each(|i| x[i] = (x[i] - (0..i).map(|k| l[i][k] * x[k]).sum::<f64>()) / l[i][i]);
        (0..n).rev().for_each(|i| x[i] = (x[i] - (i + 1..n).map(|k| l[k][i] * x[k]).sum::<f64>()) / l[i][i]);
        x
    };
    let expected: Vec<f64> = (0..n).flat_map(column).collect();
    let settings = 20_000;
    let mut found = vec![0.0; n * n];
    let mut random = fit::Random::new(2);
    for _ in 0..settings {
        let s: Vec<f64> = solution.sample(&mut random).iter().zip(&solution.phi).map(|(a, b)| a - b).collect();
        (0..n * n).for_each(|k| found[k] += s[k / n] * s[k % n] / f64::from(settings));
    }
    assert_close("covariance", &found, &expected, 0.04);
    let noise = 0.5 / 3f64.sqrt();
    assert!((solution.noise / noise - 1.0).abs() < 0.3, "{} instead of about {noise}", solution.noise);
}

#[test]
fn solvers_agree_where_they_must() {
    let (system, _) = system(100, 6, 1e-3);
    let exact = Solver::Ridge { lambda: 0.0, absolute: true }.solve(&system).unwrap();
    for solver in [
        Solver::Svd { tolerance: 1e-9 },
        Solver::Blr,
        Solver::Ard { iterations: 30 },
        Solver::Asp { parameters: None },
        Solver::Asp { parameters: Some(6) },
    ] {
        let solution = solver.solve(&system).unwrap();
        assert_close(&format!("{solver:?}"), &solution.phi, &exact.phi, 1e-4);
        assert!((solution.noise / exact.noise - 1.0).abs() < 0.1, "{solver:?}");
    }
}

#[test]
fn relevance_finds_what_is_irrelevant() {
    let (m, n) = (300, 10);
    let mut rows = Numbers(4).rows(m, n + 1);
    // Two of ten matter.
    rows.chunks_mut(n + 1).for_each(|row| row[n] = 2.0 * row[1] - row[7] + 0.01 * row[n]);
    let mut factor = Factor::new(n + 1);
    factor.push(&rows);
    let mut system = System::new(n);
    system.add(&factor, 1.0, &vec![0.0; n], &[]);
    let solution = Solver::Ard { iterations: 100 }.solve(&system).unwrap();
    assert!((solution.phi[1] - 2.0).abs() < 2e-3 && (solution.phi[7] + 1.0).abs() < 2e-3, "{:?}", solution.phi);
    assert!(solution.effective < 6.0, "{}", solution.effective);
    let pursuit = Solver::Asp { parameters: None }.solve(&system).unwrap();
    assert!((pursuit.phi[1] - 2.0).abs() < 2e-3 && (pursuit.phi[7] + 1.0).abs() < 2e-3, "{:?}", pursuit.phi);
    assert_eq!(pursuit.phi.iter().filter(|x| **x != 0.0).count(), 2, "{:?}", pursuit.phi);
    let first = Solver::Asp { parameters: Some(1) }.solve(&system).unwrap();
    assert!(first.phi.iter().enumerate().all(|(k, x)| (*x != 0.0) == (k == 1)), "{:?}", first.phi);
    assert!(Solver::Asp { parameters: Some(0) }.solve(&system).is_err());
}

#[test]
fn known_parameters_are_recovered() {
    // One element: sums over the neighbours of other elements are not told apart from either side.
    let recipe = "elements = ['Si']\norder = 3\ndegree = 6\nrcut = 5.0\npair_degree = 0\nE0 = { Si = -2.0 }";
    let exponential = Prior::Exponential { wl: 2.0, wn: 2.0 };
    // A core, which is no parameter, that most edges are within.
    for (prior, core) in
        [(Prior::Identity, ""), (Prior::default(), ""), (exponential, ""), (Prior::default(), "\ncore = 3.5")]
    {
        let recipe = acerust::build::Recipe::from_toml(&format!("{recipe}{core}")).unwrap();
        let model = acerust::build::model(&recipe).unwrap();
        assert_eq!(model.spec().parts.iter().any(|p| p.kind() == "zbl"), !core.is_empty());
        let (frames, truth) = synthetic(&model, 60);
        let settings =
            Settings { prior, solver: Solver::Ridge { lambda: 1e-12, absolute: false }, ..Settings::default() };
        let fitted = fit::solve(&assemble(&model, &settings, &frames), &settings).unwrap();
        assert_close("parameters", &fitted.model.linear_parameters(), &truth.linear_parameters(), 1e-5);
        let huge = Settings { committee: 1_000_000_000_000_000, ..settings.clone() };
        let error = fit::solve(&assemble(&model, &settings, &frames), &huge).unwrap_err().to_string();
        assert!(error.contains("a committee of 1000000000000000 members would take"), "{error}");
        let worst = fitted.errors.values().filter_map(|e| e.force).fold(0.0, f64::max);
        assert!(worst < 1e-8, "{worst} eV/Å");
    }
}

#[test]
fn weights_are_factors_of_rows() {
    let model = model();
    let (frames, _) = synthetic(&model, 20);
    let weights = |energy, force, virial| fit::Weights { energy, force, virial };
    let solver = Solver::Ridge { lambda: 1e-2, absolute: true };
    let mut settings = Settings { solver, prior: Prior::Identity, ..Settings::default() };
    settings.weights.insert("A".into(), weights(3.0, 0.5, 0.0));
    settings.weights.insert("default".into(), weights(0.0, 1.0, 2.0));
    let found = fit::solve(&assemble(&model, &settings, &frames), &settings).unwrap().model.linear_parameters();
    // The same by frames that lack what has no weight, and by weights of frames.
    let mut bare = frames.clone();
    for frame in &mut bare {
        let a = frame.info["config_type"].as_str() == Some("a");
        frame.info.insert("WEIGHT".into(), acerust::extxyz::Value::Real(if a { 0.5 } else { 1.0 }));
        match a {
            true => frame.virial = None,
            false => frame.energy = None,
        }
    }
    settings.weights.clear();
    settings.weights.insert("a".into(), weights(6.0, 1.0, 9.0));
    settings.weights.insert("b".into(), weights(9.0, 1.0, 2.0));
    let expected = fit::solve(&assemble(&model, &settings, &bare), &settings).unwrap().model.linear_parameters();
    assert_close("parameters", &found, &expected, 1e-9);
}

#[test]
fn leaving_one_out_is_what_brute_force_gives() {
    let model = model();
    let (mut frames, _) = synthetic(&model, 25);
    for (k, frame) in frames.iter_mut().enumerate() {
        frame.info.insert("config_type".into(), acerust::extxyz::Value::Int(k as i64 % 5));
    }
    let settings = Settings { solver: Solver::Ridge { lambda: 1e-3, absolute: false }, ..Settings::default() };
    let factors = assemble(&model, &settings, &frames);
    let found = fit::leave_one_out(&factors, &settings).unwrap();
    assert_eq!(found.len(), 5);
    for (name, errors) in &found {
        let of =
            |f: &&acerust::extxyz::Frame| f.info["config_type"] == acerust::extxyz::Value::Int(name.parse().unwrap());
        let others = assemble(&model, &settings, frames.iter().filter(|f| !of(f)));
        let parameters = fit::solve(&others, &settings).unwrap().model.linear_parameters();
        let own = assemble(&model, &settings, frames.iter().filter(of));
        let expected = own.groups[name].errors(&parameters, &[-2.0, -3.0]);
        for (a, b) in
            [(errors.energy, expected.energy), (errors.force, expected.force), (errors.virial, expected.virial)]
        {
            assert_close(name, &[a.unwrap()], &[b.unwrap()], 1e-6);
        }
    }
}

#[test]
fn one_body_energies() {
    let model = model();
    let (mut frames, truth) = synthetic(&model, 12);
    for (z, e) in [(14, -1.5), (8, -2.5), (14, -1.7)] {
        let s = acerust::structure::Structure { numbers: vec![z], positions: vec![[0.0; 3]], ..Default::default() };
        frames.push(acerust::extxyz::Frame { energy: Some(e), ..s.into() });
    }
    let factors = assemble(&model, &Settings::default(), &frames);
    let e0 = |one_body| {
        let fitted = fit::solve(&factors, &Settings { one_body, ..Settings::default() }).unwrap().model;
        let acerust::model::PartSpec::OneBody(one) = &fitted.spec().parts[0] else { panic!("no one-body part") };
        one.e0.clone()
    };
    assert_eq!(e0(fit::OneBody::Given), [-2.0, -3.0]);
    assert_close("isolated", &e0(fit::OneBody::Isolated), &[-1.6, -2.5], 1e-14);
    // Energies that the composition alone determines.
    let only_e0 = |model: &Model| {
        let mut spec = model.spec().clone();
        spec.parts.retain(|p| p.kind() == "onebody");
        Model::new(spec).unwrap()
    };
    let plan =
        acerust::plan::Plan::new(&only_e0(&truth), acerust::plan::Device::Cpu, acerust::plan::Precision::F64).unwrap();
    frames.truncate(12);
    for f in &mut frames {
        f.energy = Some(plan.energy(&f.structure).unwrap());
    }
    let factors = assemble(&model, &Settings::default(), &frames);
    assert_close("composition", &factors.one_body(fit::OneBody::Composition).unwrap(), &[-2.0, -3.0], 1e-10);
}
