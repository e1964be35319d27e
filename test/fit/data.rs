//! Data that are not as they should be.

use super::{assemble, model, synthetic};
use acerust::extxyz::{Keys, Value};
use acerust::fit::{self, Assembler, Settings, Solver, Weights};

#[test]
fn what_is_left_out_is_said() {
    let model = model();
    let (mut frames, _) = synthetic(&model, 12);
    frames[0].structure.numbers[1] = 92;
    (frames[1].energy, frames[1].forces, frames[1].virial) = (None, None, None);
    frames[2].forces.as_mut().unwrap()[0][1] = f64::NAN;
    frames[3].forces.as_mut().unwrap()[2] = [500.0, 0.0, 0.0];
    frames[4].info.insert("weight".into(), Value::Real(-1.0));
    frames[6] = frames[5].clone();
    frames[7] = acerust::structure::Structure::default().into();
    frames[9].energy = Some(1e300);
    frames[10].info.insert("weight".into(), Value::Real(1e300));
    frames[11].structure.positions[1] = frames[11].structure.positions[0];
    let settings = Settings { max_force: Some(100.0), ..Settings::default() };
    let factors = assemble(&model, &settings, &frames);
    let remarks = &factors.remarks;
    for (reason, first) in [
        ("unknown element U", 0),
        ("no data", 1),
        ("data that are not finite", 2),
        ("forces above 100 eV/Å", 3),
        ("no atoms", 7),
        ("data beyond 1e50", 9),
        ("atoms 0 and 1 are at the same place", 11),
    ] {
        assert_eq!(remarks.skipped.get(reason), Some(&(1, first)), "{reason}: {remarks:?}");
    }
    assert_eq!(remarks.skipped.get("weight is no weight"), Some(&(2, 4)));
    assert_eq!((remarks.skipped.len(), remarks.duplicates), (8, 1));
    // The others are there, whatever came with them.
    assert_eq!((factors.frames, factors.groups.values().map(|g| g.frames).sum::<u64>()), (12, 3));
}

#[test]
fn hopeless_fits_say_why() {
    let model = model();
    let (frames, _) = synthetic(&model, 3);
    let message = |settings: &Settings, n: usize| {
        let factors = assemble(&model, settings, &frames[..n]);
        fit::solve(&factors, settings).expect_err("a failure").to_string()
    };
    let undamped = Settings { solver: Solver::Ridge { lambda: 0.0, absolute: true }, ..Settings::default() };
    assert!(message(&Settings::default(), 0).contains("no rows"));
    assert!(message(&undamped, 1).contains("do not determine all parameters"));
    let none = Weights { energy: 0.0, force: 0.0, virial: 0.0 };
    let weightless = Settings { weights: [("default".into(), none)].into(), ..Settings::default() };
    assert!(message(&weightless, 3).contains("no rows"));
    let isolated = Settings { one_body: fit::OneBody::Isolated, ..Settings::default() };
    assert!(message(&isolated, 3).contains("no frame is an isolated atom of Si"));
    let wrong = Settings { solver: Solver::Ridge { lambda: f64::NAN, absolute: true }, ..Settings::default() };
    // Numbers that mean nothing are refused before data are read.
    assert!(Assembler::new(&model, &wrong).unwrap_err().to_string().contains("fit.solver: the damping NaN"));
    // More members than memory holds, which is no reason to end the process.
    let crowd = Settings { committee: usize::MAX, ..Settings::default() };
    assert!(message(&crowd, 3).contains("a committee of"), "{}", message(&crowd, 3));
    // Rows that are finite, but not their squares.
    let heavy = Weights { energy: 1e250, force: 1e250, virial: 1e250 };
    let heavy = Settings { weights: [("default".into(), heavy)].into(), ..Settings::default() };
    assert!(message(&heavy, 3).contains("too large to be squared"), "{}", message(&heavy, 3));
    // Fewer rows than parameters are no harm to solvers with a prior of their own.
    for solver in
        [Solver::Blr, Solver::Svd { tolerance: 1e-8 }, Solver::Ard { iterations: 5 }, Solver::Asp { parameters: None }]
    {
        let settings = Settings { solver, ..Settings::default() };
        let fitted = fit::solve(&assemble(&model, &settings, &frames[..1]), &settings).unwrap();
        assert!(fitted.model.linear_parameters().iter().all(|x| x.is_finite()), "{solver:?}");
    }
}

#[test]
fn recipes_with_faults_are_refused() {
    let base = "elements = ['Si']\norder = 1\ndegree = 3\n";
    for (section, culprit) in [
        ("[fit]\ntypo = 1", "typo"),
        ("[fit.weights]\ndefault = { energy = -1.0 }", "fit.weights.default.energy: -1"),
        ("[fit]\nmax_force = 0.0", "fit.max_force: 0"),
        ("[fit]\nsolver = { type = 'magic' }", "magic"),
        ("[fit]\nprior = { type = 'algebraic', q = 1 }", "q"),
        ("[fit]\nprior = { type = 'algebraic', p = -1.0 }", "fit.prior: p is -1, not above 0"),
        ("[fit]\nprior = { type = 'gaussian', wl = 0.0 }", "fit.prior: wl is 0, not above 0"),
        ("[fit]\nsolver = { type = 'ridge', lambda = -1.0 }", "fit.solver: the damping -1"),
        ("[fit]\nsolver = { type = 'svd', tolerance = 1.5 }", "fit.solver: the tolerance 1.5"),
        ("[fit]\nsolver = { type = 'asp', parameters = 0 }", "fit.solver: no parameters"),
        ("typo = 1", "typo"),
    ] {
        let error = Settings::split(&format!("{base}{section}")).unwrap_err().to_string();
        assert!(error.starts_with("recipe: ") && error.contains(culprit), "{section}: {error}");
    }
    let (settings, recipe) = Settings::split(&format!("{base}[fit]\ncommittee = 3")).unwrap();
    assert_eq!((settings.committee, recipe.order), (3, 1));
}

#[test]
fn keys_match_in_any_case() {
    let text = "1\nProperties=species:S:1:pos:R:3:Force:R:3 Dft_Energy=-1.5 CONFIG_TYPE=x STRESS=\"1 2 3 4 5 6\" \
                Lattice=\"2 0 0 0 2 0 0 0 2\"\nSi 0 0 0 1 2 3\n";
    let settings = Settings { energy_key: "DFT_energy".into(), ..Settings::default() };
    for keys in [Keys::none(), Keys::default()] {
        let frame = acerust::extxyz::parse(text, &keys).unwrap().remove(0);
        let o = settings.observe(frame, &[14]).unwrap();
        assert_eq!((o.energy, o.group.as_str()), (Some(-1.5), "x"));
        assert_eq!(o.forces, Some(vec![[1.0, 2.0, 3.0]]));
        assert_eq!(o.virial, Some([[-8.0, -48.0, -40.0], [-48.0, -16.0, -32.0], [-40.0, -32.0, -24.0]]));
    }
}

/// Of several spellings the one that was asked for counts, wherever it stands.
#[test]
fn the_same_spelling_comes_first() {
    let text = "1\nProperties=species:S:1:pos:R:3:FORCES:R:3:forces:R:3 ENERGY=-5 energy=-1.5\nSi 0 0 0 4 5 6 1 2 3\n";
    let frame = acerust::extxyz::parse(text, &Keys::none()).unwrap().remove(0);
    let of = |settings: &Settings| settings.observe(frame.clone(), &[14]).unwrap();
    let found = of(&Settings::default());
    assert_eq!((found.energy, found.forces), (Some(-1.5), Some(vec![[1.0, 2.0, 3.0]])));
    let loud = Settings { energy_key: "ENERGY".into(), force_key: "FORCES".into(), ..Settings::default() };
    assert_eq!((of(&loud).energy, of(&loud).forces), (Some(-5.0), Some(vec![[4.0, 5.0, 6.0]])));
}
