//! Hostile input for everything that reads what others wrote: no panic, no endless loop, and what is accepted comes back unchanged.
//!
//! Each target runs for `ACERUST_FUZZ_SECONDS` (default 2) from `ACERUST_FUZZ_SEED` (default 1); the number of threads and the
//! machine's speed decide only how far along the same sequence of inputs it gets. A finding is written to the temporary directory;
//! `ACERUST_FUZZ_INPUT` with its path runs it again.
//! The targets are plain functions of bytes, which any other fuzzer can drive.

mod capi;
mod extxyz;
mod model;
mod mutate;
mod pace;

use mutate::Mutator;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Longer than any input of ours should take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => default,
    }
}

/// Runs a target, which tells whether it found its input acceptable, on mutations of the seeds and of what it accepted.
fn run(name: &str, seeds: Vec<Vec<u8>>, target: impl Fn(&[u8]) -> bool) {
    if let Some(path) = std::env::var_os("ACERUST_FUZZ_INPUT") {
        if path.to_string_lossy().contains(&format!("fuzz-{name}-")) {
            target(&std::fs::read(path).expect("the input can be read"));
        }
        return;
    }
    let duration = Duration::from_secs(number("ACERUST_FUZZ_SECONDS", 2));
    let seed = number("ACERUST_FUZZ_SEED", 1);
    for input in &seeds {
        assert!(target(input), "{name}: a seed is refused");
    }
    let mut mutator = Mutator::new(seed, seeds);
    let (start, mut runs, mut accepted) = (Instant::now(), 0_u64, 0_u64);
    while start.elapsed() < duration {
        let input = mutator.next();
        let began = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| target(&input)));
        if outcome.is_err() || began.elapsed() > PATIENCE {
            let file = std::env::temp_dir().join(format!("acerust-fuzz-{name}-{seed}-{runs}"));
            std::fs::write(&file, &input).expect("the finding can be written");
            panic!(
                "{name}: input {runs} of seed {seed} {outcome:?} after {:?}; it is {}",
                began.elapsed(),
                file.display()
            );
        }
        if outcome.is_ok_and(|accepted| accepted) {
            accepted += 1;
            mutator.keep(input);
        }
        runs += 1;
    }
    println!("{name}: {runs} inputs in {:?}, {accepted} accepted", start.elapsed());
    assert!(runs > 0 && accepted > 0, "{name}: {runs} inputs, {accepted} accepted: the target is not reached");
}

#[test]
fn model_files() {
    run("model", model::seeds(), model::target);
}

#[test]
fn reference_files() {
    run("reference", model::reference_seeds(), model::reference_target);
}

#[test]
fn pace_files() {
    run("pace", pace::seeds(), pace::target);
}

#[test]
fn extended_xyz_files() {
    run("extxyz", extxyz::seeds(), extxyz::target);
}

#[test]
fn arguments_of_the_c_abi() {
    run("capi", capi::seeds(), capi::target);
}
