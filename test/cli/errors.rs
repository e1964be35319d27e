//! What goes wrong is said in one line that names the culprit.

use super::{entries, fails, file, ok, prepare};

#[test]
fn errors_name_the_culprit() {
    let folder = prepare("si_o3");
    let at = folder.path();
    std::fs::write(at.join("o.extxyz"), "1\n\nSi 0 0 0\n2\n\nSi 0 0 0\nO 0 0 2\n").unwrap();
    std::fs::write(at.join("same.extxyz"), "2\n\nSi 0 0 0\nSi 0 0 0\n").unwrap();
    std::fs::write(at.join("empty.extxyz"), "\n").unwrap();
    std::fs::copy(file("test/golden/si_o3.json"), at.join("reference.json")).unwrap();
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
        (&["eval", "reference.json", "in.extxyz"], "`acerust convert FILE -o MODEL` makes a model file of it"),
        (&["eval", "model.json", "empty.extxyz"], "empty.extxyz: no frames"),
        (&["eval", "model.json", "in.extxyz", "empty.extxyz"], "empty.extxyz: no frames"),
        (&["eval", "model.json", "empty.extxyz", "--json"], "empty.extxyz: no frames"),
        (&["basis", "model.json", "empty.extxyz", "-o", "x.npz"], "empty.extxyz: no frames"),
        (&["compare", "model.json", "empty.extxyz"], "empty.extxyz: no frames"),
        (&["bench", "model.json", "empty.extxyz"], "empty.extxyz: no frames"),
        (&["info", "empty.extxyz"], "model: empty.extxyz: "),
        (&["convert", "empty.extxyz"], "empty.extxyz: model: "),
        (&["eval", "model.json", "-", "-"], "the standard input cannot be read 2 times"),
        (&["convert", "in.extxyz"], "in.extxyz: model: "),
        (&["info", "model.json", "--device", "cuda:97"], "device: CUDA: "),
        (&["eval", "model.json", "in.extxyz", "--device", "cuda:97"], "device: CUDA: "),
        (&["basis", "model.json", "in.extxyz", "-o", "x.npz", "--device", "cuda:97"], "device: CUDA: "),
        (&["bench", "model.json", "in.extxyz", "--device", "cuda:97"], "device: CUDA: "),
        (&["compare", "model.json", "in.extxyz", "--device", "cuda:97"], "device: CUDA: "),
        (&["info", "model.json", "--radial", "table=1e-99"], "argument: table tolerance"),
        (
            &["info", "model.json", "--precision", "f24-radial"],
            "argument: precision f24-radial: is for MACE models on CUDA devices",
        ),
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
        &["eval", "m"],
        &["compare", "m", "s", "--plot", "parity.png"],
        &["compare", "m", "s", "--plot", "parity"],
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
    for (more, first) in [("", "1\n"), ("--json", "{\"energy\":")] {
        let script = format!("set -o pipefail; '{program}' eval model.json in.extxyz {more} | head -n 1");
        let run = std::process::Command::new("bash").args(["-c", &script]).current_dir(folder.path()).output();
        let output = run.unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert!(output.stdout.starts_with(first.as_bytes()), "{output:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_said_once_and_not_of_the_input() {
    let folder = prepare("si_o3");
    let full = "No space left on device (os error 28)";
    for arguments in [
        &["eval", "model.json", "in.extxyz", "-o", "/dev/full"][..],
        &["eval", "model.json", "in.extxyz", "--json", "-o", "/dev/full"],
        &["compare", "model.json", "in.extxyz", "-o", "/dev/full"],
        &["convert", "model.json", "-o", "/dev/full"],
    ] {
        // `compare` sees that nothing can be compared only after it has written.
        std::fs::write(folder.path().join("in.extxyz"), "1\nProperties=species:S:1:pos:R:3 energy=1\nSi 0 0 0\n")
            .unwrap();
        assert_eq!(fails(folder.path(), arguments, 1), format!("acerust: /dev/full: {full}\n"), "{arguments:?}");
    }
    let standard = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_acerust"));
    let run = command.args(["eval", "model.json", "in.extxyz"]).current_dir(folder.path()).stdout(standard).output();
    let output = run.unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), format!("acerust: standard output: {full}\n"));
}

/// A library without a single function of CUDA where the loader looks for CUDA's.
#[cfg(all(target_os = "linux", feature = "cuda"))]
#[test]
fn broken_libraries_of_cuda_are_an_error() {
    let folder = prepare("si_o3");
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let libm = maps
        .split_whitespace()
        .find(|word| word.contains("/libm.so"))
        .or(maps.split_whitespace().find(|word| word.contains("/libgcc_s.so")));
    let other = libm.expect("a shared library in this process");
    for name in ["libcuda.so", "libnvrtc.so"] {
        std::fs::copy(other, folder.path().join(name)).unwrap();
    }
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_acerust"));
    command.args(["info", "model.json", "--device", "cuda"]).current_dir(folder.path());
    let output = command.env("LD_LIBRARY_PATH", folder.path()).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert_eq!(message, "acerust: device: CUDA: libcuda.so is damaged or too old: it has no function 'cuInit'\n");
}

/// A signal ends the program as ever, but nothing is left of the file under way.
#[cfg(unix)]
#[test]
fn signals_leave_nothing_behind() {
    use std::os::unix::process::ExitStatusExt;
    let folder = prepare("si_o3");
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_acerust"));
        command.args(["eval", "model.json", "-", "-o", "out.extxyz"]).current_dir(folder.path());
        let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let start = std::time::Instant::now();
        // The model and the structures are there, the results come beside them.
        while entries(folder.path()).len() < 3 {
            assert!(start.elapsed().as_secs() < 60, "no file is under way");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        // SAFETY: our own child, which waits for its input.
        assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
        assert_eq!(child.wait().unwrap().signal(), Some(signal));
        drop(input);
        assert_eq!(entries(folder.path()).len(), 2, "{:?}", entries(folder.path()));
    }
}
