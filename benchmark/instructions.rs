//! Counts the instructions of fixed workloads with callgrind and holds them against `benchmark/instructions.json`.
//!
//! With AVX2, the most that valgrind knows, on one thread. Counts depend on the compiler and the profile, hardly on the machine.
//! `cargo test` has it, and `make instructions` in the profile `measure`; `ACERUST_INSTRUCTIONS=write` writes the profile's budget anew.

use acerust::graph::NeighbourList;
use acerust::model::Model;
use acerust::ndarray::ArrayViewMut2;
use acerust::plan::{Device, Isa, Options, Outputs, Plan, Precision, Rows};
use acerust::structure::Structure;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};

/// More than this beyond the budget fails, that much less asks to tighten it.
const TOLERANCE: f64 = 0.05;
/// The argument with which this program runs itself in callgrind.
const WORK: &str = "--work-in-callgrind";

/// Code with the checks of the tests, and code as users have it.
const PROFILE: &str = if cfg!(debug_assertions) { "test" } else { "measure" };

#[derive(Clone, Serialize, Deserialize)]
struct Budget {
    /// The compiler that the counts are from.
    rustc: String,
    instructions_per_atom: BTreeMap<String, u64>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|a| a == WORK) {
        work();
        return ExitCode::SUCCESS;
    }
    // As the test harness: names choose tests.
    let names: Vec<_> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    if arguments.iter().any(|a| a == "--list")
        || !(names.is_empty() || names.iter().any(|n| "instructions".contains(&n[..])))
    {
        return ExitCode::SUCCESS;
    }
    if let Some(reason) = unable() {
        eprintln!("SKIPPED: the count of instructions: {reason}");
        return ExitCode::SUCCESS;
    }
    compare(&count())
}

/// Why instructions cannot be counted here.
fn unable() -> Option<&'static str> {
    let levels = [option_env!("CARGO_PROFILE_DEV_OPT_LEVEL"), option_env!("CARGO_PROFILE_TEST_OPT_LEVEL")];
    if cfg!(debug_assertions) && levels.iter().flatten().any(|&level| level != "3") {
        return Some("the budget is for the profiles as Cargo.toml has them");
    }
    if !Isa::available().contains(&Isa::Avx2) {
        return Some("the budget is for AVX2");
    }
    let valgrind = Command::new("valgrind").arg("--version").output();
    (!valgrind.is_ok_and(|v| v.status.success())).then_some("there is no valgrind")
}

/// The workloads, an atom at a time of what they count.
struct Workload {
    name: String,
    atoms: usize,
    run: Box<dyn FnMut() + Send>,
}

fn workloads() -> Vec<Workload> {
    let silicon = Structure::diamond(14, 5.43).repeat([3; 3]).rattle(0.1, 1);
    let copper = Structure::fcc(29, 3.615).repeat([3; 3]).rattle(0.05, 1);
    let mut alloy = Structure::fcc(24, 3.6).repeat([3; 3]).rattle(0.1, 1);
    alloy.numbers.iter_mut().enumerate().for_each(|(i, z)| *z = 24 + (i * i % 7 % 5) as u8);
    let mut all = vec![
        energy("si_bench", &silicon),
        forces("si_2_8", Precision::F64, &silicon),
        forces("si_bench", Precision::F64, &silicon),
        forces("si_bench", Precision::F32, &silicon),
        forces("si_3_16", Precision::F64, &silicon),
        forces("hea_bench", Precision::F64, &alloy),
        forces("cu_4_14", Precision::F64, &copper),
        rows("si_bench", &silicon),
    ];
    let structures = [silicon.clone(), silicon.rattle(0.01, 2)];
    let (mut list, mut k) = (NeighbourList::new(5.5, 0.0).expect("a list"), 0);
    let run = Box::new(move || {
        k += 1;
        list.update(&structures[k % 2]).expect("a graph");
    });
    all.push(Workload { name: "neighbour list".into(), atoms: 216, run });
    all
}

fn plan(name: &str, precision: Precision) -> Plan {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benchmark/models/{name}.json"));
    let model = Model::load(path).expect("a benchmark model");
    Plan::with_options(&model, Device::Cpu, precision, Options::new().isa(Isa::Avx2)).expect("a plan")
}

fn energy(name: &str, s: &Structure) -> Workload {
    let (plan, s) = (plan(name, Precision::F64), s.clone());
    let (graph, mut sites) = (plan.graph(&s).expect("a graph"), vec![0.0; s.n_atoms()]);
    let atoms = s.n_atoms();
    let run = Box::new(move || {
        plan.evaluate((&graph, &s.numbers), &mut Outputs::new().site_energies(&mut sites[..])).expect("energies");
    });
    Workload { name: format!("{name}, energy, f64"), atoms, run }
}

fn forces(name: &str, precision: Precision, s: &Structure) -> Workload {
    let (plan, s) = (plan(name, precision), s.clone());
    let graph = plan.graph(&s).expect("a graph");
    let atoms = s.n_atoms();
    let (mut sites, mut forces) = (vec![0.0; atoms], vec![[0.0; 3]; atoms]);
    let run = Box::new(move || {
        let (mut energy, mut virial) = (0.0, [[0.0; 3]; 3]);
        let out = Outputs::new().energy(&mut energy).site_energies(&mut sites[..]).forces(&mut forces[..]);
        plan.evaluate((&graph, &s.numbers), &mut out.virial(&mut virial)).expect("forces");
    });
    Workload { name: format!("{name}, forces, {precision}"), atoms, run }
}

fn rows(name: &str, s: &Structure) -> Workload {
    let (plan, s) = (plan(name, Precision::F64), s.clone());
    let (graph, columns, atoms) = (plan.graph(&s).expect("a graph"), plan.length_basis(), s.n_atoms());
    let (mut e, mut f) = (vec![0.0; columns], vec![0.0; 3 * atoms * columns]);
    let run = Box::new(move || {
        let forces = ArrayViewMut2::from_shape((3 * atoms, columns), &mut f[..]).expect("rows");
        plan.assemble(&graph, &s.numbers, &mut Rows::new().energy(&mut e[..]).forces(forces)).expect("rows");
    });
    Workload { name: format!("{name}, design rows, f64"), atoms, run }
}

/// Callgrind counts what happens in here, and writes the count when it is left.
#[inline(never)]
fn counted_by_callgrind(run: &mut (dyn FnMut() + Send)) {
    run();
}

/// Every workload once to get its memory, then once to be counted.
fn work() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    for mut workload in workloads() {
        pool.install(|| {
            (workload.run)();
            counted_by_callgrind(&mut *workload.run);
        });
    }
}

/// Instructions an atom, by workload.
fn count() -> BTreeMap<String, u64> {
    const FUNCTION: &str = concat!(module_path!(), "::counted_by_callgrind");
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("instructions-{}", std::process::id()));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .args([format!("--toggle-collect={FUNCTION}"), format!("--dump-after={FUNCTION}")])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().expect("this program"))
        .arg(WORK)
        .output()
        .expect("valgrind");
    assert!(output.status.success(), "valgrind: {}", String::from_utf8_lossy(&output.stderr));
    let total = |k: usize| -> u64 {
        let part = out.with_extension(k.to_string());
        let text = std::fs::read_to_string(&part).expect("a count");
        std::fs::remove_file(part).expect("a count");
        let line = text.lines().find_map(|l| l.strip_prefix("totals: ").or(l.strip_prefix("summary: ")));
        line.and_then(|n| n.trim().parse().ok()).expect("the total of a count")
    };
    // What was counted outside of all workloads: nothing.
    std::fs::remove_file(&out).expect("a count");
    let counts = workloads().into_iter().enumerate().map(|(k, w)| (w.name, total(k + 1).div_ceil(w.atoms as u64)));
    counts.collect()
}

fn compare(counts: &BTreeMap<String, u64>) -> ExitCode {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benchmark/instructions.json");
    let version =
        Command::new("rustc").arg("--version").output().map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string());
    let rustc = version.unwrap_or_default();
    let mut budgets: BTreeMap<String, Budget> =
        serde_json::from_slice(&std::fs::read(&path).expect("the budget")).expect("a valid budget");
    if std::env::var("ACERUST_INSTRUCTIONS").is_ok_and(|v| v == "write") {
        budgets.insert(PROFILE.into(), Budget { rustc, instructions_per_atom: counts.clone() });
        std::fs::write(&path, serde_json::to_string_pretty(&budgets).expect("JSON") + "\n").expect("the budget");
        println!("{} written", path.display());
        return ExitCode::SUCCESS;
    }
    let budget = budgets.remove(PROFILE).unwrap_or_else(|| panic!("{} has no budget for {PROFILE}", path.display()));
    let names = |b: &BTreeMap<String, u64>| b.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(counts), names(&budget.instructions_per_atom), "workloads, and those of {}", path.display());
    println!("{:<28} {:>10} {:>10} {:>8}", format!("instructions, {PROFILE}"), "now", "budget", "change");
    let (mut above, mut below) = (false, false);
    for (name, &count) in counts {
        let allowed = budget.instructions_per_atom[name];
        let change = count as f64 / allowed as f64 - 1.0;
        let verdict = if change > TOLERANCE { "  TOO MANY" } else { "" };
        println!("{name:<28} {count:>10} {allowed:>10} {:>+7.1}%{verdict}", 100.0 * change);
        above |= change > TOLERANCE;
        below |= change < -TOLERANCE;
    }
    let command = if cfg!(debug_assertions) { "cargo test --test instructions" } else { "make instructions" };
    let write = format!("ACERUST_INSTRUCTIONS=write {command}");
    if below {
        println!("Fewer than the budget: tighten it with `{write}` and commit benchmark/instructions.json.");
    }
    if above {
        println!(
            "More than the budget allows. Where that is intended, `{write}`. The budget is from {}, this is {rustc}.",
            budget.rustc
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
