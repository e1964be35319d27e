//! A C program against the header and the shared library, as users build theirs.

use crate::common::{flat, golden, structure, vectors};
use acerust::extxyz::{self, Frame, Keys};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// `libacerust.so` beside this test, where `cargo test` puts it.
fn library() -> PathBuf {
    let exe = std::env::current_exe().expect("this test");
    let deps = exe.parent().expect("a directory");
    let name = format!("{}acerust{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let path = deps.join(name);
    assert!(path.is_file(), "no {}: the library is built with the tests", path.display());
    path
}

/// The compiler of that environment variable, or of that name.
fn compiler(variable: &str, name: &str) -> Option<String> {
    let compiler = std::env::var(variable).unwrap_or_else(|_| name.into());
    if Command::new(&compiler).arg("--version").output().is_ok_and(|o| o.status.success()) {
        return Some(compiler);
    }
    // Not captured by the harness, unlike println.
    use std::io::Write;
    let _ = writeln!(
        std::io::stderr(),
        "\nSKIPPED: no compiler `{compiler}`: the C ABI is not tested from C. Set {variable}."
    );
    None
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
    out.into_owned()
}

/// The program of that source, and its arguments, which are files.
fn compile_and_run(variable: &str, name: &str, arguments: &[&str], source: &Path, files: &[&str]) {
    let Some(compiler) = compiler(variable, name) else { return };
    let library = library();
    let directory = library.parent().expect("a directory");
    let stem = source.file_stem().expect("a name").to_string_lossy();
    let program = directory.join(format!("{stem}-{name}-{}", std::process::id()));
    let mut command = Command::new(compiler);
    command.args(arguments).args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1"]).arg(source);
    // The library is no source in the language of the arguments.
    command.args(["-x", "none"]).arg("-I").arg(root().join("include")).arg(&library).arg("-lm").arg("-o").arg(&program);
    run(command.arg(format!("-Wl,-rpath,{}", directory.display())));
    let text = run(Command::new(&program).args(files.iter().map(|file| root().join(file))));
    std::fs::remove_file(&program).expect("removable");
    assert!(text.ends_with("OK\n"), "{text}");
}

#[cfg(unix)]
const FILES: [&str; 2] = ["benchmark/models/si_fit.json", "test/abi/si_fit.xyz"];

#[test]
#[cfg(unix)]
fn a_c_program() {
    structure_of_the_programs();
    compile_and_run("CC", "cc", &["-x", "c", "-std=c99"], &root().join("test/abi/smoke.c"), &FILES);
}

#[test]
#[cfg(unix)]
fn a_cpp_program() {
    structure_of_the_programs();
    compile_and_run("CXX", "c++", &["-x", "c++", "-std=c++11"], &root().join("test/abi/smoke.c"), &FILES);
}

/// Each C program of `docs/operations.md`.
#[test]
#[cfg(unix)]
fn operations_as_documented() {
    let text = std::fs::read_to_string(root().join("docs/operations.md")).expect("docs/operations.md");
    let programs: Vec<&str> = text.split("```c\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(programs.len(), 2);
    for (k, program) in programs.into_iter().enumerate() {
        let source = library().with_file_name(format!("operations-{k}-{}.c", std::process::id()));
        std::fs::write(&source, program).expect("writable");
        compile_and_run("CC", "cc", &["-x", "c", "-std=c99"], &source, &[]);
        std::fs::remove_file(&source).expect("removable");
    }
}

/// `test/abi/si_fit.xyz` is what the golden data say.
fn structure_of_the_programs() {
    let golden = golden("si_fit");
    let value = &golden.structures[0];
    let parts = ["onebody", "pair", "ace"].map(|kind| &value["results"][kind]);
    let sum = |what: &str| {
        let [a, b, c] = parts.map(|p| flat(&p[what]));
        a.iter().zip(&b).zip(&c).map(|((a, b), c)| a + b + c).collect::<Vec<f64>>()
    };
    let virial = sum("virial");
    let frame = Frame {
        structure: structure(value),
        energy: Some(sum("energy")[0]),
        forces: Some(sum("forces").chunks(3).map(|f| [f[0], f[1], f[2]]).collect()),
        virial: Some(std::array::from_fn(|a| std::array::from_fn(|b| virial[3 * a + b]))),
        ..Frame::default()
    };
    assert_eq!(vectors(&value["positions"]), frame.structure.positions);
    let path = root().join("test/abi/si_fit.xyz");
    if std::env::var_os("ACERUST_BLESS").is_some() {
        extxyz::write(&path, [&frame], &Keys::default()).expect("test/abi/si_fit.xyz can be written");
    }
    assert_eq!(extxyz::read(&path, &Keys::default()).expect("test/abi/si_fit.xyz"), [frame]);
}
