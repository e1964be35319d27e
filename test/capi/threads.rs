//! Several threads on the same handles, and handles that come and go by the thousand.

use crate::call::*;
use crate::common::golden;
use acerust::structure::Structure;
use std::sync::atomic::{AtomicBool, Ordering};

fn setup() -> (OwnedModel, Atoms) {
    let structure = Structure::diamond(14, 5.43).repeat([2, 2, 2]).rattle(0.1, 3);
    (model(&golden("si_o3").model), Atoms::new(&structure))
}

#[test]
fn threads_agree_bit_by_bit() {
    let (model, atoms) = setup();
    let n = atoms.n();
    let plan = plan_with(&model, ACERUST_F64, acerust_options { n_threads: 1, ..options() });
    let graph = atoms.graph(5.5, 0.0, 1);
    let expected = Results::of_structure(&plan, &atoms);
    for n_threads in [1, 3, 0] {
        ok!(acerust_plan_set_threads(plan.0, n_threads));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        assert_eq!(Results::of_graph(&plan, &graph, n, n), expected);
                        assert_eq!(Results::of_structure(&plan, &atoms), expected);
                    }
                });
            }
        });
    }
}

#[test]
fn what_changes_handles_waits_for_what_reads_them() {
    let (model, atoms) = setup();
    let n = atoms.n();
    let plan = plan(&model);
    let mut moved = atoms.clone();
    moved.positions[0] += 0.3;
    let mut p = 0;
    ok!(acerust_plan_length_basis(plan.0, &mut p));
    let mut parameters = [vec![0.0; p], vec![0.0; p]];
    ok!(acerust_plan_linear_parameters(plan.0, parameters[0].as_mut_ptr(), p));
    parameters[1] = parameters[0].iter().map(|x| 2.0 * x).collect();
    // Every result belongs to one set of parameters and one structure.
    let mut expected = Vec::new();
    for parameters in &parameters {
        ok!(acerust_plan_set_linear_parameters(plan.0, parameters.as_ptr(), p));
        expected.extend([&atoms, &moved].map(|atoms| Results::of_graph(&plan, &atoms.graph(5.5, 0.0, 0), n, n)));
    }
    let graph = atoms.graph(5.5, 0.0, 0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let found = Results::of_graph(&plan, &graph, n, n);
                    // Vectors of a graph that is reused may differ from those of a new one in the last digit.
                    let error = |e: &Results| crate::common::error(&found.forces, &e.forces);
                    let near =
                        expected.iter().filter(|e| error(e) < 1e-9 && (found.energy / e.energy - 1.0).abs() < 1e-9);
                    assert_eq!(near.count(), 1);
                }
            });
        }
        for step in 0..60 {
            let parameters = &parameters[step % 2];
            let atoms = [&atoms, &moved][step / 2 % 2];
            let ([z, pbc], [x, cell]) = (atoms.integers(), atoms.reals());
            ok!(acerust_plan_set_linear_parameters(plan.0, parameters.as_ptr(), p));
            ok!(acerust_plan_set_committee(plan.0, parameters.as_ptr(), p, 1));
            ok!(acerust_graph_update(graph.0, n, z, x, cell, pbc, null_mut()));
            ok!(acerust_plan_set_threads(plan.0, step % 3));
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn freeing_a_handle_in_use_does_no_harm() {
    let (model, atoms) = setup();
    let n = atoms.n();
    for _ in 0..20 {
        let plan = plan(&model);
        let key = plan.0.addr();
        let result = |out: &mut f64| {
            let ([z, pbc], [x, cell]) = (atoms.integers(), atoms.reals());
            // SAFETY: arrays of the lengths that the structure has.
            unsafe { acerust_energy(std::ptr::without_provenance(key), n, z, x, cell, pbc, out) }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut energy = f64::NAN;
                while result(&mut energy) == ACERUST_OK {
                    assert!(energy.is_finite());
                }
                assert!(last_error().contains("is no plan, or it was freed"), "{}", last_error());
            });
            std::thread::sleep(std::time::Duration::from_millis(5));
            drop(plan);
        });
    }
}

/// Resident memory of this process, bytes.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = pages.split(' ').nth(1).expect("a column").parse().expect("a number");
    4096 * pages
}

/// Run alone, since other tests take and give memory: see `leaks`.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "started by `nothing_leaks` in a process of its own"]
fn cycles() {
    let atoms = Atoms::new(&Structure::diamond(14, 5.43));
    let golden = golden("si_o3").model;
    let cycle = || {
        let model = model(&golden);
        let n_threads = 2;
        let plan = plan_with(&model, ACERUST_F64, acerust_options { n_threads, ..options() });
        let graph = atoms.graph(5.5, 0.5, n_threads);
        let n = atoms.n();
        assert!(Results::of_graph(&plan, &graph, n, n).energy.is_finite());
        assert!(Results::of_structure(&plan, &atoms).energy.is_finite());
        let ([z, pbc], [x, _]) = (atoms.integers(), atoms.reals());
        ok!(acerust_graph_update(graph.0, n - 1, z, x, null(), null(), null_mut()));
        assert_ne!(unsafe { acerust_energy(null(), n, z, x, null(), pbc, &mut 0.0) }, ACERUST_OK);
    };
    (0..200).for_each(|_| cycle());
    let before = resident();
    (0..2000).for_each(|_| cycle());
    let grown = resident().saturating_sub(before);
    println!("2000 cycles: {before} bytes before, {grown} more after");
    // A model's tables alone are 100 kB and more: leaking one of each would be 200 MB.
    assert!(grown < 4 << 20, "{grown} bytes more after 2000 cycles");
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_leaks() {
    let exe = std::env::current_exe().expect("this test");
    let mut command = std::process::Command::new(exe);
    command.args(["--exact", "threads::cycles", "--ignored", "--nocapture", "--test-threads=1"]);
    let output = command.output().expect("a second process");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}
