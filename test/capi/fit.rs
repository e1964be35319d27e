//! Fits across the ABI: the same as those of the library and the command line.

use crate::call::*;
use crate::common::assert_close;
use crate::short::atoms;
use acerust::extxyz::Frames;
use acerust::fit::{self, Assembler, Comparison, Factors, Settings, Solver};
use acerust::model::Model;
use std::ffi::{CString, c_char, c_void};
use std::path::{Path, PathBuf};

const RECIPE: &str = "elements = ['Si']\norder = 2\ndegree = 6\nrcut = 4.5\nE0 = { Si = -0.846 }\n\
                      [fit]\nsolver = { type = 'ridge', lambda = 1e-5 }\ncommittee = 3\n";

struct Owned(*mut acerust_fit);

impl Owned {
    fn new(recipe: &str) -> Owned {
        let mut out = null_mut();
        ok!(acerust_fit_new(recipe.as_ptr().cast(), recipe.len(), ACERUST_CPU, 0, 0, &mut out));
        Owned(out)
    }

    fn read(&self, share: *const acerust_share) -> i32 {
        let path = name(&data());
        let paths = [path.as_ptr()];
        // SAFETY: one path, which lives on.
        unsafe { acerust_fit_read(self.0, paths.as_ptr(), 1, share) }
    }

    fn solve(&self, options: *const acerust_solve) -> Vec<f64> {
        let mut model = null_mut();
        ok!(acerust_fit_solve(self.0, options, &mut model));
        let mut n = 0;
        ok!(acerust_model_length_basis(model, &mut n));
        let mut parameters = vec![0.0; n];
        ok!(acerust_model_linear_parameters(model, parameters.as_mut_ptr(), n));
        ok!(acerust_model_free(model));
        parameters
    }

    fn report(&self) -> serde_json::Value {
        serde_json::from_str(&text(|b, n, needed| unsafe { acerust_fit_report(self.0, b, n, needed) })).unwrap()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        ok!(acerust_fit_free(self.0));
    }
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benchmark/data/Si_test.extxyz")
}

fn name(path: &Path) -> CString {
    c(path.to_str().unwrap())
}

fn share() -> acerust_share {
    let (checkpoint, every, progress, context) = (null(), 0, None, null_mut());
    acerust_share { size: size_of::<acerust_share>(), number: 0, of: 0, checkpoint, every, progress, context }
}

fn options() -> acerust_solve {
    acerust_solve {
        size: size_of::<acerust_solve>(),
        settings: null(),
        leave_one_out: 0,
        training: null(),
        n_training: 0,
        test: null(),
        n_test: 0,
        progress: None,
        context: null_mut(),
    }
}

/// The fit of the library: factors, settings, model.
fn expected() -> (Factors, Settings, Model) {
    let (settings, model) = Settings::with_model(RECIPE).unwrap();
    let mut assembler = Assembler::new(&model, &settings).unwrap();
    assembler.read(&[data()], &Default::default(), |_| Ok(())).unwrap();
    let factors = assembler.finish().unwrap();
    let fitted = fit::solve(&factors, &settings).unwrap();
    assert_eq!(fitted.committee.len(), 3);
    (factors, settings, fitted.model)
}

#[test]
fn a_fit_is_that_of_the_library() {
    let (factors, settings, model) = expected();
    let own = Owned::new(RECIPE);
    ok!(own.read(null()));
    assert_eq!(own.solve(null()), model.linear_parameters());
    let report = own.report();
    assert_eq!((report["frames"].as_u64(), report["used"].as_u64()), (Some(25), Some(25)));
    assert_eq!(
        (report["committee"].as_u64(), report["parameters"].as_u64()),
        (Some(3), Some(model.length_basis() as u64))
    );
    let force = report["errors"]["Vacancy"]["force"].as_f64().unwrap();
    assert_eq!(Some(force), fit::solve(&factors, &settings).unwrap().errors["Vacancy"].force);
    assert!(report["training"].as_object().unwrap().is_empty() && report["left_out"].is_null());
    let mut members = vec![0.0; 3 * model.length_basis()];
    ok!(acerust_fit_committee(own.0, members.as_mut_ptr(), members.len()));
    assert_eq!(members, fit::solve(&factors, &settings).unwrap().committee.concat());
    fails!(
        ACERUST_ERROR_ARGUMENT,
        format!("argument: members: expected a length of {}, got 1", members.len()),
        acerust_fit_committee(own.0, members.as_mut_ptr(), 1)
    );

    // Another solver, errors of frames and of groups that were left out.
    let (path, other) = (name(&data()), c("solver = { type = 'blr' }"));
    let paths = [path.as_ptr()];
    let settings = Settings { solver: Solver::Blr, ..Settings::default() };
    let checked = acerust_solve {
        settings: other.as_ptr(),
        leave_one_out: 1,
        training: paths.as_ptr(),
        n_training: 1,
        ..options()
    };
    let solved = fit::solve(&factors, &settings).unwrap();
    assert_eq!(own.solve(&checked), solved.model.linear_parameters());
    let frames = Frames::new(&[data()]).unwrap().map(|found| Ok(found?.frame)).collect::<Vec<_>>();
    let groups = fit::compare(&solved.model, &settings, frames, || Ok(())).unwrap();
    let rmse = Comparison::sum(groups.values()).forces.errors().unwrap()[0];
    let report = own.report();
    assert_close("training", &[report["training"]["all"]["forces_rmse"].as_f64().unwrap()], &[rmse], 1e-12);
    assert_eq!(report["left_out"].as_object().unwrap().len(), groups.len());
    assert!(report["text"].as_str().unwrap().contains("fitted to all other groups"));
}

#[test]
fn shares_and_factors_merge() {
    let (factors, _, model) = expected();
    let whole = Owned::new(RECIPE);
    let folder = tempfile::tempdir().unwrap();
    for number in 1..=3 {
        let one = Owned::new(RECIPE);
        ok!(one.read(&acerust_share { number, of: 3, ..share() }));
        if number == 2 {
            let path = name(&folder.path().join("two.npz"));
            ok!(acerust_fit_save(one.0, path.as_ptr()));
            ok!(acerust_fit_merge(whole.0, path.as_ptr()));
            continue;
        }
        let mut needed = 0;
        ok!(acerust_fit_factors(one.0, null_mut(), 0, &mut needed));
        let mut bytes = vec![0; needed];
        ok!(acerust_fit_factors(one.0, bytes.as_mut_ptr(), needed, null_mut()));
        ok!(acerust_fit_merge_bytes(whole.0, bytes.as_ptr(), needed));
        bytes.truncate(needed / 2);
        // SAFETY: as many bytes as there are.
        assert_ne!(unsafe { acerust_fit_merge_bytes(whole.0, bytes.as_ptr(), bytes.len()) }, ACERUST_OK);
        assert!(last_error().starts_with("fit: bytes: "), "{}", last_error());
    }
    assert_close("parameters", &whole.solve(null()), &model.linear_parameters(), 1e-9);
    // Where the data are from travels with the factors.
    let path = name(&folder.path().join("all.npz"));
    ok!(acerust_fit_save(whole.0, path.as_ptr()));
    assert_eq!(Factors::load(folder.path().join("all.npz")).unwrap().sources, factors.sources);
    let mut again = null_mut();
    ok!(acerust_fit_load(path.as_ptr(), 1, &mut again));
    let again = Owned(again);
    let settings = c("{\"solver\": {\"type\": \"ridge\", \"lambda\": 1e-5}}");
    let refit = again.solve(&acerust_solve { settings: settings.as_ptr(), ..options() });
    assert_eq!(refit, whole.solve(null()));
    let other = Owned::new("elements = ['Si']\norder = 1\ndegree = 3");
    fails!(
        ACERUST_ERROR_ARGUMENT,
        "fit: factors of different models cannot be merged",
        acerust_fit_merge(other.0, path.as_ptr())
    );
}

#[test]
fn frames_in_memory_are_those_of_files() {
    let (_, _, model) = expected();
    let own = Owned::new(RECIPE);
    for found in Frames::new(&[data()]).unwrap() {
        let frame = found.unwrap().frame;
        let o = Settings::default().observe(frame, &[14]).unwrap();
        let structure = Atoms::new(&o.structure);
        let ([z, pbc], [x, cell]) = (structure.integers(), structure.reals());
        let input = atoms(structure.n(), z, x, cell, pbc);
        let (energy, forces, group) = (o.energy.unwrap(), o.forces.unwrap(), c(&o.group));
        let observation = acerust_observation {
            size: size_of::<acerust_observation>(),
            energy: &energy,
            forces: forces.as_flattened().as_ptr(),
            virial: o.virial.as_ref().map_or(null(), |v| v.as_flattened().as_ptr()),
            group: group.as_ptr(),
            weight: null(),
        };
        ok!(acerust_fit_push(own.0, &input, &observation));
        let nothing = acerust_observation { energy: null(), forces: null(), virial: null(), ..observation };
        ok!(acerust_fit_push(own.0, &input, &nothing));
    }
    assert_eq!(own.solve(null()), model.linear_parameters());
    let report = own.report();
    assert_eq!((report["frames"].as_u64(), report["remarks"]["skipped"]["no data"][0].as_u64()), (Some(50), Some(25)));
}

unsafe extern "C" fn stop_at(context: *mut c_void, frames: u64) -> i32 {
    // SAFETY: the test hands over a number.
    unsafe { i32::from(frames == *context.cast::<u64>()) }
}

/// Cancels unless the fit refuses to work for its callback.
unsafe extern "C" fn reenter(fit: *mut c_void, _: u64) -> i32 {
    // SAFETY: the test hands over a fit.
    unsafe { i32::from(acerust_fit_factors(fit.cast(), null_mut(), 0, null_mut()) != ACERUST_ERROR_ARGUMENT) }
}

#[test]
fn a_fit_at_work_refuses_other_calls() {
    let fit = Owned::new(RECIPE);
    ok!(fit.read(&acerust_share { progress: Some(reenter), context: fit.0.cast(), ..share() }));
    fit.solve(null());
    assert_eq!(fit.report()["frames"].as_u64(), Some(25));
}

#[test]
fn a_callback_cancels_and_a_checkpoint_goes_on() {
    let (_, _, model) = expected();
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = name(&folder.path().join("part.npz"));
    let mut at = 11_u64;
    let interrupted = acerust_share {
        checkpoint: checkpoint.as_ptr(),
        every: 4,
        progress: Some(stop_at),
        context: (&raw mut at).cast(),
        ..share()
    };
    let first = Owned::new(RECIPE);
    fails!(ACERUST_ERROR_CANCELLED, "cancelled after 11 frames", first.read(&interrupted));
    assert_eq!(Factors::load(folder.path().join("part.npz")).unwrap().frames, 8);
    // What was taken stays.
    first.solve(null());
    assert_eq!(first.report()["frames"].as_u64(), Some(11));
    let second = Owned::new(RECIPE);
    ok!(second.read(&acerust_share { progress: None, ..interrupted }));
    assert_close("parameters", &second.solve(null()), &model.linear_parameters(), 1e-9);
    let path = name(&data());
    let paths = [path.as_ptr()];
    at = 3;
    let checks = acerust_solve {
        test: paths.as_ptr(),
        n_test: 1,
        progress: Some(stop_at),
        context: (&raw mut at).cast(),
        ..options()
    };
    let mut out = null_mut();
    fails!(ACERUST_ERROR_CANCELLED, "cancelled after 3 frames", acerust_fit_solve(second.0, &checks, &mut out));
    assert!(out.is_null());
}

#[test]
fn what_cannot_be_fitted_is_said() {
    let mut out = null_mut();
    let refuse = |recipe: &[u8], culprit: &str| {
        let mut out = null_mut::<acerust_fit>();
        // SAFETY: as many bytes as there are.
        let status = unsafe { acerust_fit_new(recipe.as_ptr().cast(), recipe.len(), ACERUST_CPU, 0, 1, &mut out) };
        assert!(status == ACERUST_ERROR_ARGUMENT && out.is_null());
        assert!(last_error().contains(culprit), "{culprit}: {}", last_error());
    };
    refuse(b"", "elements");
    refuse(b"typo = 1", "typo");
    refuse(b"{\"typo\": 1}", "typo");
    refuse(b"\xff", "recipe is not UTF-8");
    refuse(b"elements = ['Si']\norder = 2\ndegree = 6\n[fit]\nsolver = { type = 'magic' }", "magic");
    fails!(
        ACERUST_ERROR_ARGUMENT,
        "argument: no device 7",
        acerust_fit_new(RECIPE.as_ptr().cast(), RECIPE.len(), 7, 0, 1, &mut null_mut())
    );
    let own = Owned::new(RECIPE);
    fails!(
        ACERUST_ERROR_ARGUMENT,
        "fit: no frames: name files in extended XYZ",
        acerust_fit_read(own.0, null(), 0, null())
    );
    fails!(
        ACERUST_ERROR_ARGUMENT,
        "argument: there is no share 4 of 3",
        own.read(&acerust_share { number: 4, of: 3, ..share() })
    );
    fails!(
        ACERUST_ERROR_ARGUMENT,
        "argument: path is null",
        acerust_fit_read(own.0, [null::<c_char>()].as_ptr(), 1, null())
    );
    fails!(
        ACERUST_ERROR_ARGUMENT,
        "argument: the fit was not solved yet",
        acerust_fit_report(own.0, null_mut(), 0, null_mut())
    );
    let mut model = null_mut();
    let failed = unsafe { acerust_fit_solve(own.0, null(), &mut model) };
    assert!(failed == ACERUST_ERROR_ARGUMENT && last_error().contains("no rows"), "{}", last_error());
    let missing = c("none.extxyz");
    let paths = [missing.as_ptr()];
    assert_eq!(unsafe { acerust_fit_read(own.0, paths.as_ptr(), 1, null()) }, ACERUST_ERROR_IO);
    // Nothing was taken: the fit goes on.
    ok!(own.read(null()));
    // A file that breaks off in the middle has been taken in part.
    let folder = tempfile::tempdir().unwrap();
    let half = folder.path().join("half.extxyz");
    let all = std::fs::read_to_string(data()).unwrap();
    std::fs::write(&half, &all[..all.len() / 2]).unwrap();
    let half = name(&half);
    let paths = [half.as_ptr()];
    assert_eq!(unsafe { acerust_fit_read(own.0, paths.as_ptr(), 1, null()) }, ACERUST_ERROR_STRUCTURE);
    let failed = unsafe { acerust_fit_solve(own.0, null(), &mut model) };
    assert!(
        failed == ACERUST_ERROR_ARGUMENT && last_error().contains("the fit took a part of some data alone"),
        "{}",
        last_error()
    );
    assert!(model.is_null());
    fails!(ACERUST_ERROR_HANDLE, "handle: the fit is null", acerust_fit_save(null_mut(), half.as_ptr()));
    let recipe = "elements = ['Si']\norder = 2\ndegree = 6";
    ok!(acerust_model_build(recipe.as_ptr().cast(), recipe.len(), &mut out));
    let mut n = 0;
    ok!(acerust_model_length_basis(out, &mut n));
    ok!(acerust_model_free(out));
    assert!(n > 0);
}

#[test]
fn the_active_set_is_that_of_the_library() {
    let files = [data()];
    let frames = || Frames::new(&files).unwrap().map(|found| Ok(found?.frame));
    let (settings, model) = Settings::with_model(RECIPE).unwrap();
    let expected = fit::active_set(&model, &settings, frames()).unwrap().to_bytes();
    let bytes = |own: &Owned| {
        let mut needed = 0;
        ok!(acerust_fit_active_set(own.0, null_mut(), 0, &mut needed));
        let mut bytes = vec![0; needed];
        ok!(acerust_fit_active_set(own.0, bytes.as_mut_ptr(), needed, null_mut()));
        bytes
    };
    let own = Owned::new(RECIPE);
    fails!(
        ACERUST_ERROR_ARGUMENT,
        "fit: no atoms were looked at: no active set",
        acerust_fit_active_set(own.0, null_mut(), 0, null_mut())
    );
    let path = name(&data());
    let paths = [path.as_ptr()];
    ok!(acerust_fit_look(own.0, paths.as_ptr(), 1));
    assert!(bytes(&own) == expected, "from files");
    let other = Owned::new(RECIPE);
    for frame in frames() {
        let structure = Atoms::new(&frame.unwrap().structure);
        let ([z, pbc], [x, cell]) = (structure.integers(), structure.reals());
        ok!(acerust_fit_look_at(other.0, &atoms(structure.n(), z, x, cell, pbc)));
    }
    // Other chunks: the same rows, unless two volumes are equal.
    assert!(bytes(&other) == expected, "from memory");
    fails!(
        ACERUST_ERROR_ARGUMENT,
        "argument: input: fits are of structures, without graphs, lists and exchanges",
        acerust_fit_look_at(other.0, &acerust_input { on_device: 1, ..atoms(0, null(), null(), null(), null()) })
    );
}
