//! What happens to threads where processes fork and limits bind. One test at a time: a fork copies what the others are doing.
#![cfg(unix)]

use acerust::model::Model;
use acerust::plan::{Device, Options, Plan, Precision};
use acerust::shared::{SharedPlan, Threads};
use acerust::structure::Structure;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

static ALONE: Mutex<()> = Mutex::new(());

fn model() -> Model {
    Model::load("benchmark/models/si_2_8.json").unwrap()
}

fn silicon() -> Structure {
    Structure::diamond(14, 5.43).repeat([3; 3]).rattle(0.1, 1)
}

fn energy(plan: &Plan) -> u64 {
    let s = silicon();
    plan.energy(&s).unwrap().to_bits()
}

/// Does `f` come true in a child, within a minute?
fn in_a_child(f: impl FnOnce() -> bool) -> bool {
    // SAFETY: no other thread runs anything of this library; the child ends without coming back.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        // SAFETY: ends the child, whose parent cleans up.
        unsafe { libc::_exit(if matches!(done, Ok(true)) { 0 } else { 1 }) };
    }
    assert!(child > 0, "{}", io::Error::last_os_error());
    let start = Instant::now();
    let mut status = 0;
    loop {
        // SAFETY: our own child, which nobody else waits for.
        match unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } {
            0 if start.elapsed() > Duration::from_secs(60) => {
                // SAFETY: as above.
                unsafe { (libc::kill(child, libc::SIGKILL), libc::waitpid(child, &mut status, 0)) };
                panic!("the child hangs");
            }
            0 => std::thread::sleep(Duration::from_millis(5)),
            _ => return libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
        }
    }
}

#[test]
fn a_child_evaluates_with_plans_of_its_parent() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let model = model();
    for n_threads in [0, 2, 1] {
        let plan = SharedPlan::new(&model, Device::Cpu, Precision::F64, Options::default(), n_threads).unwrap();
        let expected = plan.run(energy);
        // Twice as deep: the grandchild's threads are not those of the child either.
        assert!(in_a_child(|| plan.run(energy) == expected && in_a_child(|| plan.run(energy) == expected)));
        let again = || SharedPlan::new(&model, Device::Cpu, Precision::F64, Options::default(), n_threads).unwrap();
        assert!(in_a_child(|| again().run(energy) == expected));
        assert_eq!(plan.run(energy), expected);
    }
}

#[test]
fn a_child_does_without_the_global_pool_of_its_parent() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let plan = Plan::new(&model(), Device::Cpu, Precision::F64).unwrap();
    let expected = energy(&plan);
    assert!(in_a_child(|| energy(&plan) == expected));
    assert_eq!(energy(&plan), expected);
}

/// A process that cannot start a thread: stacks are larger than its memory.
fn without_threads(program: &str) -> Command {
    let mut command = within(program, 1 << 36);
    command.env("RUST_MIN_STACK", (1_u64 << 40).to_string());
    command
}

/// A process with an address space of so many bytes.
fn within(program: &str, bytes: u64) -> Command {
    let mut command = Command::new(program);
    let limit = move || {
        let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
        // SAFETY: a system call with a valid argument.
        match unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: one system call, which is allowed after a fork.
    unsafe { command.pre_exec(limit) };
    command
}

#[test]
fn threads_that_cannot_start_are_an_error() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let this = std::env::current_exe().unwrap();
    let mut command = without_threads(this.to_str().unwrap());
    let out = command.args(["--exact", "no_threads", "--ignored", "--test-threads=1"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
}

/// MiB of address space: less than the edges of [`dense`] take, by more and by less.
const LITTLE: [u64; 6] = [160, 224, 256, 384, 512, 768];

/// One atom that sees millions of its images.
fn dense() -> Structure {
    let side = 0.05;
    let cell = [[side, 0.0, 0.0], [0.0, side, 0.0], [0.0, 0.0, side]];
    Structure { numbers: vec![14], positions: vec![[0.0; 3]], cell, pbc: [true; 3] }
}

#[test]
fn memory_that_the_system_refuses_is_an_error_in_c() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let this = std::env::current_exe().unwrap();
    for mib in LITTLE {
        let mut command = within(this.to_str().unwrap(), mib << 20);
        let out = command.args(["--exact", "little_memory", "--ignored", "--test-threads=1"]).output().unwrap();
        assert!(out.status.success(), "{mib} MiB: {:?} {}", out.status, String::from_utf8_lossy(&out.stdout));
    }
}

/// Runs within little memory.
#[test]
#[ignore = "in a process of its own"]
fn little_memory() {
    use acerust::capi::*;
    let (s, mut energy, mut message) = (dense(), 0.0, [0_u8; 256]);
    let mut plan = std::ptr::null_mut();
    // SAFETY: every pointer is to what lives until the end of this test, with the lengths that go with it.
    let status = unsafe {
        let mut model = std::ptr::null_mut();
        assert_eq!(model::acerust_model_load(c"benchmark/models/si_2_8.json".as_ptr(), &mut model), 0);
        assert_eq!(plan::acerust_plan_new(model, 0, 0, 0, std::ptr::null(), &mut plan), 0);
        let mut input: evaluate::acerust_input = std::mem::zeroed();
        (input.size, input.n_atoms) = (size_of_val(&input), 1);
        (input.numbers, input.pbc) = ([14].as_ptr(), [1, 1, 1].as_ptr());
        (input.positions, input.cell) = (s.positions.as_ptr().cast(), s.cell.as_ptr().cast());
        let mut out: evaluate::acerust_outputs = std::mem::zeroed();
        (out.size, out.energy) = (size_of_val(&out), &mut energy);
        let status = evaluate::acerust_evaluate(plan, &input, &out);
        status::acerust_last_error(message.as_mut_ptr().cast(), message.len());
        status
    };
    let message = String::from_utf8_lossy(&message);
    assert!(message.starts_with("memory: "), "{status}: {message}");
    // What was refused leaves the plan as it was.
    assert!(status != 0 && SharedPlan::new(&model(), Device::Cpu, Precision::F64, Options::default(), 1).is_ok());
}

/// Runs in [`without_threads`].
#[test]
#[ignore = "in a process of its own"]
fn no_threads() {
    for n in [0, 2] {
        let message = Threads::new(n).err().map(|e| e.to_string()).unwrap_or_default();
        if std::thread::available_parallelism().unwrap().get() > 1 {
            assert!(message.contains(" threads cannot be started: "), "{message}");
        }
    }
    // Nobody asked for threads: the one that calls does it all.
    let plan = Plan::new(&model(), Device::Cpu, Precision::F64).unwrap();
    assert_eq!(energy(&plan), Threads::new(1).unwrap().run(|| energy(&plan)));
}

/// Text takes up to twenty times its length as values: that is estimated before it is read.
#[test]
fn model_files_take_no_more_memory_than_is_granted() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let small = std::fs::read_to_string("benchmark/models/si_2_8.json").unwrap();
    let (start, end) = small.split_once("\"AA\":[").unwrap();
    let many = format!("{start}\"AA\":[{}{end}", "[0],".repeat(1 << 20));
    let pace = std::fs::read_to_string("test/pace/small.yace").unwrap() + "more: [" + &"[0],".repeat(1 << 20);
    acerust::memory::set_limit(Some(64 << 20));
    let (refused, read, refused_too) = (Model::from_json(&many), Model::from_json(&small), Model::from_pace(pace));
    acerust::memory::set_limit(None);
    let message = refused_too.unwrap_err().to_string();
    assert!(message.starts_with("memory: a model of "), "{message}");
    let message = refused.unwrap_err().to_string();
    assert!(
        message.starts_with(&format!("memory: a model of {} bytes of text would take about 0.1", many.len())),
        "{message}"
    );
    assert!(read.is_ok() && Model::from_json(&many).unwrap_err().to_string().starts_with("model: parts["));
}

#[cfg(feature = "cli")]
mod cli {
    use super::*;

    const EVAL: [&str; 3] = ["eval", "benchmark/models/si_fit.json", "benchmark/data/Si_test.extxyz"];

    #[test]
    fn threads_that_cannot_start_are_one_line() {
        let out = without_threads(env!("CARGO_BIN_EXE_acerust")).args(EVAL).args(["--threads", "2"]).output().unwrap();
        let message = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(1), "{message}");
        assert!(message.starts_with("acerust: argument: ") && message.contains(" cannot be started: "), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }

    #[test]
    fn memory_that_the_system_refuses_is_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let frame = folder.path().join("dense.extxyz");
        acerust::extxyz::write(&frame, &[dense().into()], &Default::default()).unwrap();
        for mib in LITTLE {
            let mut command = within(env!("CARGO_BIN_EXE_acerust"), mib << 20);
            let out = command.args(["eval", "benchmark/models/si_2_8.json"]).arg(&frame).output().unwrap();
            let message = String::from_utf8(out.stderr).unwrap();
            assert_eq!(out.status.code(), Some(1), "{mib} MiB: {message}");
            assert!(message.starts_with("acerust: ") && message.contains("memory: "), "{mib} MiB: {message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    }

    #[test]
    fn thousands_of_threads_are_as_quick_as_those_that_help() {
        let start = Instant::now();
        let out = Command::new(env!("CARGO_BIN_EXE_acerust")).args(EVAL).args(["--threads", "5000"]).output().unwrap();
        assert!(out.status.success());
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    }
}
