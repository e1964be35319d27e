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
    let mut command = Command::new(program);
    command.env("RUST_MIN_STACK", (1_u64 << 40).to_string());
    let limit = || {
        let limit = libc::rlimit { rlim_cur: 1 << 36, rlim_max: 1 << 36 };
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
    fn thousands_of_threads_are_as_quick_as_those_that_help() {
        let start = Instant::now();
        let out = Command::new(env!("CARGO_BIN_EXE_acerust")).args(EVAL).args(["--threads", "5000"]).output().unwrap();
        assert!(out.status.success());
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    }
}
