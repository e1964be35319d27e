//! Fits from the command line: shards, checkpoints, refits, reports, crashes.

use super::{fails, file, ok, piped, run};
use acerust::model::Model;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const RECIPE: &str = "elements = ['Si']\norder = 2\ndegree = 8\nrcut = 5.0\nE0 = { Si = -0.846 }\n\
                      [fit]\nsolver = { type = 'ridge', lambda = 1e-5 }\n[fit.weights]\ndefault = { energy = 10, force = 1 }\n";

fn prepare() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("si.toml"), RECIPE).unwrap();
    std::fs::copy(file("benchmark/data/Si_test.extxyz"), folder.path().join("data.extxyz")).unwrap();
    folder
}

fn parameters(folder: &Path, name: &str) -> Vec<f64> {
    Model::load(folder.join(name)).unwrap().linear_parameters()
}

#[track_caller]
fn close(a: &[f64], b: &[f64]) {
    crate::common::assert_close("parameters", a, b, 1e-8);
}

#[test]
fn one_command_from_data_to_a_potential() {
    let folder = prepare();
    let path = folder.path();
    let text =
        ok(path, &["fit", "si.toml", "data.extxyz", "--test", "data.extxyz", "-o", "si.json", "--report", "si.html"]);
    for part in
        ["25 frames, 25 used, 4600 rows", "training\n", "test\n", "Elastic", "closest neighbours", "Si-Si 1.893"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Fits to the first 8, 16 and all 25 frames; the last errors are those of the model.
    let curve: Vec<Vec<&str>> = text
        .lines()
        .skip_while(|l| !l.starts_with("learning curve"))
        .skip(2)
        .take(3)
        .map(|l| l.split_whitespace().collect())
        .collect();
    assert_eq!(curve.iter().map(|l| l[0]).collect::<Vec<_>>(), ["8", "16", "25"], "{text}");
    let force = |l: &[&str]| l[2].parse::<f64>().unwrap();
    assert!(force(&curve[0]) > force(&curve[2]), "{text}");
    let built = ok(path, &["build", "si.toml", "-o", "zero.json"]);
    assert!(
        built.contains("39 linear parameters") && parameters(path, "zero.json").iter().all(|&x| x == 0.0),
        "{built}"
    );
    let model = Model::load(path.join("si.json")).unwrap();
    assert!(model.spec().source.contains("data.extxyz sha256:"), "{}", model.spec().source);
    let html = std::fs::read_to_string(path.join("si.html")).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && html.matches("<svg").count() >= 6 && html.ends_with("</html>\n"));
    // The errors that `compare` finds.
    let compared = ok(path, &["compare", "si.json", "data.extxyz"]);
    let line = |text: &str| text.lines().find(|l| l.starts_with("all")).unwrap().to_owned();
    assert_eq!(line(&text), line(&compared));
}

#[test]
fn shards_merge_and_refits_need_no_data() {
    let folder = prepare();
    let path = folder.path();
    ok(path, &["fit", "si.toml", "data.extxyz", "-o", "one.json", "--factors", "all.npz"]);
    for k in ["1", "2", "3"] {
        ok(path, &["fit", "si.toml", "data.extxyz", "--shard", &format!("{k}/3"), "--factors", &format!("{k}.npz")]);
    }
    ok(path, &["fit", "si.toml", "--merge", "3.npz", "1.npz", "2.npz", "-o", "merged.json"]);
    close(&parameters(path, "merged.json"), &parameters(path, "one.json"));
    // A copy would count its frames twice.
    std::fs::copy(path.join("1.npz"), path.join("copy.npz")).unwrap();
    let error = fails(path, &["fit", "si.toml", "--merge", "3.npz", "1.npz", "copy.npz", "-o", "twice.json"], 1);
    assert!(error.contains("copy.npz: the factors of 1.npz once more"), "{error}");
    ok(path, &["refit", "all.npz", "--recipe", "si.toml", "-o", "again.json"]);
    assert_eq!(parameters(path, "again.json"), parameters(path, "one.json"));
    let text = ok(
        path,
        &["refit", "all.npz", "--solver", "blr", "--prior", "exponential", "--leave-one-out", "-o", "other.json"],
    );
    assert!(text.contains("ln evidence") && text.contains("fitted to all other groups"), "{text}");
    assert_ne!(parameters(path, "other.json"), parameters(path, "one.json"));
    // A group that nobody is in, as of a slip of the pen.
    let weights = ["--weights", "elastic=30,1,1", "--weights", "Elastc=30,1,1"];
    let text = ok(path, &[&["refit", "all.npz", "-o", "other.json"][..], &weights].concat());
    assert!(text.contains("note: weights of groups without frames: Elastc\n"), "{text}");
}

#[test]
fn active_sets_select() {
    let folder = prepare();
    let path = folder.path();
    ok(path, &["fit", "si.toml", "data.extxyz", "-o", "si.json", "--active-set", "si.asi", "--committee", "8"]);
    assert_eq!(ok(path, &["select", "si.json", "si.asi", "data.extxyz", "--above", "1.01"]), "");
    let error = fails(path, &["select", "si.json", "si.asi", "data.extxyz", "--above", "nan"], 1);
    assert!(error.contains("--above: NaN is no grade"), "{error}");
    let text = ok(path, &["eval", "si.json", "data.extxyz", "--grade", "si.asi", "--committee", "si.committee.npz"]);
    let frames = acerust::extxyz::parse(text, &Default::default()).unwrap();
    for frame in &frames {
        let number = |key: &str| frame.info[key].as_f64().unwrap();
        assert!(number("max_grade") <= 1.002 && number("energy_std") > 0.0, "{:?}", frame.info);
        assert!((number("energy_mean") - frame.energy.unwrap()).abs() < 3.0 * number("energy_std"));
        assert!(frame.arrays.contains_key("grade") && frame.arrays.contains_key("forces_std"));
    }
    std::fs::write(path.join("new.xyz"), "2\nLattice=\"20 0 0 0 20 0 0 0 20\"\nSi 0 0 0\nSi 1.1 0 0\n").unwrap();
    let text = ok(path, &["select", "si.json", "si.asi", "new.xyz", "data.extxyz", "--above", "1.5"]);
    assert!(text.contains("grade:R:1") && text.contains("max_grade=") && text.lines().count() == 4, "{text}");
}

/// What is piped cannot be read again: the errors are those of rows.
#[test]
fn frames_may_be_piped() {
    let folder = prepare();
    let path = folder.path();
    ok(path, &["fit", "si.toml", "data.extxyz", "-o", "read.json"]);
    let data = std::fs::read(path.join("data.extxyz")).unwrap();
    let output = piped(path, &["fit", "si.toml", "-", "-o", "piped.json"], &data);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("training rows"), "{text}");
    assert_eq!(parameters(path, "read.json"), parameters(path, "piped.json"));
    let error = piped(path, &["fit", "si.toml", "-", "-o", "x.json", "--active-set", "x.asi"], &data).stderr;
    assert!(String::from_utf8(error).unwrap().contains("name a file") && !path.join("x.json").exists());
}

#[test]
fn what_cannot_be_fitted_is_said() {
    let folder = prepare();
    let path = folder.path();
    for (arguments, culprit) in [
        (&["fit", "si.toml", "-o", "x.json"][..], "no frames"),
        (&["fit", "none.toml", "data.extxyz", "-o", "x.json"], "none.toml"),
        (&["fit", "si.toml", "none.extxyz", "-o", "x.json"], "none.extxyz"),
        (&["fit", "si.toml", "--merge", "data.extxyz", "-o", "x.json"], "data.extxyz"),
        (&["fit", "si.toml", "data.extxyz", "--weights", "default=0,0,0", "-o", "x.json"], "no rows"),
        (&["fit", "si.toml", "data.extxyz", "--solver", "ridge=-1", "-o", "x.json"], "-1"),
        (&["fit", "si.toml", "data.extxyz", "-o", "none/x.json"], "none/x.json"),
        (&["fit", "si.toml", "data.extxyz", "-o", "x.json", "--test", "none.extxyz"], "none.extxyz"),
        (&["fit", "si.toml", "data.extxyz", "-o", "x.json", "--report", "none/x.html"], "none/x.html"),
        (&["fit", "si.toml", "data.extxyz", "-o", "x.json", "--factors", "none/x.npz"], "none/x.npz"),
        (&["fit", "si.toml", "data.extxyz", "-o", "x.json", "--active-set", "x.json"], "x.json: it is named for two"),
        (&["fit", "si.toml", "data.extxyz", "-o", "-"], "-: this command writes no results"),
        (&["build", "si.toml", "-o", "-"], "name a file"),
        (&["refit", "si.toml", "-o", "-"], "name a file"),
        (&["fit", "si.toml", "data.extxyz", "-o", "x.json", "--prior", "algebraic=-1"], "p is -1, not above 0"),
        (&["fit", "si.toml", "data.extxyz", "-o", "x.json", "--committee", "1000000000000"], "a committee of"),
        (&["refit", "si.toml", "-o", "x.json"], "si.toml"),
        (&["refit", "si.toml", "-o", "x.json", "--device", "cuda"], "--device: this command has no use for it"),
        (
            &["fit", "si.toml", "Si.extxyz", "-o", "x.json", "--precision", "f32"],
            "--precision: this command has no use for it",
        ),
        (&["build", "si.toml", "-o", "x.json", "--radial", "pace-table"], "--radial: this command has no use for it"),
        (&["fit", "si.toml", "data.extxyz", "--device", "cuda:97", "-o", "x.json"], "CUDA"),
        (&["fit", "si.toml", "data.extxyz", "--device", "cuda", "--search", "-o", "x.json"], "leave out --device"),
    ] {
        let error = fails(path, arguments, 1);
        assert!(error.contains(culprit) && error.trim_end().lines().count() == 1, "{arguments:?}: {error}");
        assert!(!path.join("x.json").exists() && !path.join("-").exists());
    }
    fails(path, &["fit", "si.toml", "data.extxyz", "--solver", "magic", "-o", "x.json"], 2);
    fails(path, &["fit", "si.toml", "data.extxyz", "--shard", "4/3", "--factors", "f.npz"], 2);
    fails(path, &["fit", "si.toml", "data.extxyz"], 2);
}

/// Killed at random moments, a fit goes on from its checkpoint, and files are complete whenever they are there.
#[test]
fn killed_fits_lose_nothing_that_was_finished() {
    let folder = prepare();
    let path = folder.path();
    ok(path, &["fit", "si.toml", "data.extxyz", "-o", "one.json", "--factors", "one.npz"]);
    let arguments = ["fit", "si.toml", "data.extxyz", "-o", "two.json", "--factors", "two.npz", "--checkpoint", "1"];
    let mut state = 1_u64;
    for _ in 0..100 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_acerust"));
        command.current_dir(path).args(arguments).args(["--threads", "1"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_micros((state >> 33) % 40_000));
        child.kill().expect("a process to kill");
        child.wait().expect("its end");
        for name in ["two.npz", "two.npz.part"] {
            if path.join(name).exists() {
                acerust::fit::Factors::load(path.join(name)).expect("a complete file");
            }
        }
        if path.join("two.json").exists() {
            close(&parameters(path, "two.json"), &parameters(path, "one.json"));
        }
    }
    assert!(run(path, &arguments).status.success());
    close(&parameters(path, "two.json"), &parameters(path, "one.json"));
}

#[test]
fn a_search_fits_what_it_found() {
    let folder = prepare();
    let path = folder.path();
    // Flags are where it begins; out of time at once, they stay as they are.
    let flags =
        ["--search-minutes", "0", "--max-parameters", "60", "--weights", "default=7,1,1", "--prior", "identity"];
    let mut all = vec!["fit", "si.toml", "data.extxyz", "--search", "-o", "found.json"];
    all.extend(flags);
    let text = ok(path, &all);
    assert!(text.contains("full size") && text.contains("recipe: found.recipe.toml"), "{text}");
    let recipe = std::fs::read_to_string(path.join("found.recipe.toml")).unwrap();
    assert!(recipe.contains("energy = 7.0") && recipe.contains("type = \"identity\""), "{recipe}");
    // The recipe makes the same potential.
    ok(path, &["fit", "found.recipe.toml", "data.extxyz", "-o", "again.json"]);
    assert_eq!(parameters(path, "again.json"), parameters(path, "found.json"));
}
