//! What goes wrong is said in one line that names the culprit.

use super::{fails, ok, prepare};

#[test]
fn errors_name_the_culprit() {
    let folder = prepare("si_o3");
    let at = folder.path();
    std::fs::write(at.join("o.extxyz"), "1\n\nSi 0 0 0\n2\n\nSi 0 0 0\nO 0 0 2\n").unwrap();
    std::fs::write(at.join("same.extxyz"), "2\n\nSi 0 0 0\nSi 0 0 0\n").unwrap();
    std::fs::write(at.join("bad.json"), "{\"format\": \"acerust-model/1\"}").unwrap();
    for (arguments, words) in [
        (&["eval", "nothing.json", "in.extxyz"][..], "nothing.json: No such file"),
        (&["eval", "model.json", "nothing.extxyz"], "nothing.extxyz: No such file"),
        (&["eval", "model.json", "."], "Is a directory"),
        (&["eval", "model.json", "model.json"], "model.json: line 1: "),
        (&["eval", "in.extxyz", "in.extxyz"], "model: in.extxyz: "),
        (&["eval", "model.json", "o.extxyz"], "o.extxyz: frame 1: argument: atom 1 is O; the model knows Si"),
        (&["eval", "model.json", "same.extxyz"], "same.extxyz: frame 0: graph: atoms 0 and 1"),
        (&["eval", "model.json", "in.extxyz", "-o", "no/where"], "no/where: No such file"),
        (&["eval", "model.json", "in.extxyz", "-o", "."], ".: is a directory"),
        (&["info", "bad.json"], "model: bad.json: missing field `name`"),
        (&["convert", "in.extxyz"], "in.extxyz: model: "),
        (&["info", "model.json", "--device", "cuda:97"], "device: CUDA: "),
        (&["eval", "model.json", "in.extxyz", "--device", "cuda:97"], "device: CUDA: "),
        (&["basis", "model.json", "in.extxyz", "-o", "x.npz", "--device", "cuda:97"], "device: CUDA: "),
        (&["bench", "model.json", "in.extxyz", "--device", "cuda:97"], "device: CUDA: "),
        (&["compare", "model.json", "in.extxyz", "--device", "cuda:97"], "device: CUDA: "),
        (&["info", "model.json", "--radial", "table=1e-99"], "argument: table tolerance"),
    ] {
        let error = fails(at, arguments, 1);
        assert!(error.starts_with("acerust: ") && error.contains(words), "{arguments:?}: {error}");
    }
}

#[test]
fn wrong_usage_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["eval"][..],
        &["frobnicate"],
        &["eval", "m", "s", "--parts"],
        &["info", "m", "--threads", "0"],
        &["info", "m", "--precision", "f16"],
        &["info", "m", "--device", "cuda:x"],
        &["info", "m", "--radial", "table="],
    ] {
        let error = fails(folder.path(), arguments, 2);
        assert!(error.contains("error: "), "{error}");
    }
    assert!(ok(folder.path(), &["--help"]).contains("Exit status"));
    assert!(ok(folder.path(), &["--version"]).starts_with("acerust "));
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_is_no_error() {
    let folder = prepare("si_o3");
    let frame = "1\n\nSi 0 0 0\n";
    std::fs::write(folder.path().join("in.extxyz"), frame.repeat(20_000)).unwrap();
    let program = env!("CARGO_BIN_EXE_acerust");
    let script = format!("set -o pipefail; '{program}' eval model.json in.extxyz | head -n 1");
    let output = std::process::Command::new("bash").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(output.stdout, b"1\n");
}
