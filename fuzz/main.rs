//! Hostile input for everything that reads what others wrote: no panic, no endless loop, no memory beyond a limit, and what is accepted
//! comes back unchanged.
//!
//! Each target runs on the inputs of `fuzz/corpus`, then for `ACERUST_FUZZ_SECONDS` (default 2) from `ACERUST_FUZZ_SEED` (default 1);
//! the number of threads and the machine's speed decide only how far along the same sequence of inputs it gets. A finding is
//! written to the temporary directory; `ACERUST_FUZZ_INPUT` with its path runs it again.
//! The targets are plain functions of bytes, which libFuzzer drives as well (`make fuzz`).

mod limit;
mod mutate;
mod targets;

use mutate::Mutator;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use targets::{MOST_BYTES, TARGETS, Target};

/// Longer than any input of ours should take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The limit of memory is for one target at a time.
static TURN: Mutex<()> = Mutex::new(());

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => default,
    }
}

/// Runs a target on one input; a finding is kept under this name.
fn attempt(target: &Target, input: &[u8], name: &str) -> bool {
    let file = std::env::temp_dir().join(format!("acerust-fuzz-{}-{name}", target.name));
    limit::keep(file.clone(), input);
    let began = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| limit::within(MOST_BYTES, || (target.run)(input))));
    match outcome {
        Ok(accepted) if began.elapsed() <= PATIENCE => accepted,
        outcome => {
            std::fs::write(&file, input).expect("the finding can be written");
            panic!("{} {name}: {outcome:?} after {:?}; it is {}", target.name, began.elapsed(), file.display());
        }
    }
}

/// Runs a target on its corpus, then on mutations of the seeds and of what it accepted.
fn run(name: &str) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let target = TARGETS.iter().find(|t| t.name == name).expect("a target");
    if let Some(path) = std::env::var_os("ACERUST_FUZZ_INPUT") {
        if path.to_string_lossy().contains(&format!("fuzz-{name}-")) {
            (target.run)(&std::fs::read(path).expect("the input can be read"));
        }
        return;
    }
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<_> =
        std::fs::read_dir(corpus).into_iter().flatten().map(|f| f.expect("a file").path()).collect();
    files.sort();
    for file in &files {
        let input = std::fs::read(file).expect("an input of the corpus");
        attempt(target, &input, &file.file_name().expect("a name").to_string_lossy());
    }
    let duration = Duration::from_secs(number("ACERUST_FUZZ_SECONDS", 2));
    let seed = number("ACERUST_FUZZ_SEED", 1);
    let seeds = (target.seeds)();
    for input in &seeds {
        assert!((target.run)(input), "{name}: a seed is refused");
    }
    let mut mutator = Mutator::new(seed, seeds);
    let (start, mut runs, mut accepted) = (Instant::now(), 0_u64, 0_u64);
    while start.elapsed() < duration {
        let input = mutator.next();
        if attempt(target, &input, &format!("{seed}-{runs}")) {
            accepted += 1;
            mutator.keep(input);
        }
        runs += 1;
    }
    println!("{name}: {} of the corpus, {runs} inputs in {:?}, {accepted} accepted", files.len(), start.elapsed());
    assert!(runs > 0 && accepted > 0, "{name}: {runs} inputs, {accepted} accepted: the target is not reached");
}

#[test]
fn model_files() {
    run("model");
}

#[test]
fn reference_files() {
    run("reference");
}

#[test]
fn pace_files() {
    run("pace");
}

#[test]
fn checkpoints() {
    run("checkpoint");
}

#[test]
fn recipes() {
    run("recipe");
}

#[test]
fn extended_xyz_files() {
    run("extxyz");
}

#[test]
fn arguments_of_the_c_abi() {
    run("capi");
}
