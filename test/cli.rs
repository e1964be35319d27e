//! The command line, run as users run it.

mod common;
#[path = "cli/errors.rs"]
mod errors;
#[path = "cli/eval.rs"]
mod eval;
#[path = "cli/fit.rs"]
mod fit;
#[path = "cli/mace.rs"]
mod mace;
#[path = "cli/numbers.rs"]
mod numbers;
#[path = "cli/pace.rs"]
mod pace;
#[path = "cli/pages.rs"]
mod pages;
#[path = "cli/rows.rs"]
mod rows;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Runs `acerust` in a directory.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_acerust"));
    command.current_dir(folder).args(arguments).output().expect("the program starts")
}

/// The same with a standard input.
fn piped(folder: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_acerust"));
    command.args(arguments).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    std::thread::scope(|scope| {
        // Whoever fails early reads no more.
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().expect("the program ends")
    })
}

/// The standard output of a run that must succeed in silence.
#[track_caller]
fn ok(folder: &Path, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = run(folder, arguments);
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success() && stderr.is_empty(), "{arguments:?}: {status}, {stderr}");
    String::from_utf8(stdout).expect("UTF-8")
}

/// The one line on the standard error of a run that must fail with this status.
#[track_caller]
fn fails(folder: &Path, arguments: &[&str], status: i32) -> String {
    let output = run(folder, arguments);
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {stderr}");
    if status == 1 {
        assert_eq!(stderr.matches('\n').count(), 1, "{stderr}");
    }
    stderr
}

fn file(relative: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(relative);
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// A folder with the model of a golden file, and the golden structures as extended XYZ.
fn prepare(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    ok(folder.path(), &["convert", &file(&format!("test/golden/{name}.json")), "-o", "model.json"]);
    let frames: Vec<_> =
        common::golden(name).structures.iter().map(|s| acerust::extxyz::Frame::from(common::structure(s))).collect();
    acerust::extxyz::write(folder.path().join("in.extxyz"), &frames, &Default::default()).expect("frames");
    folder
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut names: Vec<_> = std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    names.sort();
    names
}
