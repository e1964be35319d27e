//! The CUDA backend against golden data and against the processor. Without a device every test says that it is
//! skipped, unless `ACERUST_GPU=1` demands one. `ACERUST_LARGEST=<n>` leaves out larger systems, for checking tools that
//! slow everything down.
#![cfg(feature = "cuda")]

mod common;

#[path = "gpu/failures.rs"]
mod failures;
#[path = "gpu/memory.rs"]
mod memory;
#[path = "gpu/replay.rs"]
mod replay;

use acerust::batch::{self, spread};
use acerust::model::Model;
use acerust::plan::{Device, Neighbours, Plan, Precision, Rows, Virial};
use acerust::structure::Structure;
use common::compare::compare;
use common::evaluate::{committee, energy_forces_virial, matrix, site_energies};
use common::{NAMES, assert_close, error, golden, only};
use std::path::Path;

const CASES: [(Precision, f64); 3] =
    [(Precision::F64, 1e-10), (Precision::F32, 2e-5), (Precision::F32_DISTANCES, 2e-5)];

/// Whether there is a device.
fn device() -> bool {
    let model = benchmark("sio_o2");
    match Plan::new(&model, Device::Cuda(0), Precision::F64) {
        Ok(_) => true,
        Err(e) if std::env::var_os("ACERUST_GPU").is_some() => panic!("a device was demanded: {e}"),
        Err(e) => {
            eprintln!("SKIPPED: no test ran on a GPU: {e}");
            false
        }
    }
}

fn benchmark(name: &str) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benchmark/models/{name}.json"));
    Model::load(path).expect("a benchmark model")
}

fn plan(model: &Model, precision: Precision) -> Plan {
    Plan::new(model, Device::Cuda(0), precision).expect("a plan")
}

type Results = (f64, Vec<f64>, Vec<[f64; 3]>, Virial);

/// Everything about a structure.
fn evaluate(plan: &Plan, list: &mut Neighbours, s: &Structure) -> Results {
    let (mut e, mut f) = (vec![f64::NAN; s.n_atoms()], vec![[f64::NAN; 3]; s.n_atoms()]);
    let (energy, virial) = energy_forces_virial(plan, (s, list), &mut e, &mut f).unwrap();
    (energy, e, f, virial)
}

/// Atoms of the model's species at random in a skewed box of the given density (1/Å³), not too close.
fn random(model: &Model, n: usize, pbc: [bool; 3], seed: u64) -> Structure {
    let side = (n as f64 / 0.045).cbrt();
    let counts = [(n as f64).cbrt().ceil() as usize; 3];
    let step: [f64; 3] = counts.map(|c| 1.0 / c as f64);
    let cell = [[side, 0.0, 0.0], [0.2 * side, side, 0.0], [-0.1 * side, 0.3 * side, side]];
    let mut s = Structure { cell, pbc, ..Structure::default() };
    for k in 0..n {
        let c = [k % counts[0], k / counts[0] % counts[1], k / counts[0] / counts[1]];
        let f: [f64; 3] = std::array::from_fn(|d| (c[d] as f64 + 0.3) * step[d]);
        s.positions.push(std::array::from_fn(|a| (0..3).map(|d| f[d] * cell[d][a]).sum()));
        s.numbers.push(model.species()[(k * 7 + k / 5 + seed as usize) % model.species().len()]);
    }
    s.rattle(0.35, seed)
}

#[test]
fn golden_data_are_reproduced() {
    if !device() {
        return;
    }
    let mut worst = Vec::new();
    for name in NAMES {
        let golden = golden(name);
        for kind in ["onebody", "pair", "ace"] {
            let model = only(&golden.model, kind);
            for (precision, tolerance) in CASES {
                let plan = plan(&model, precision);
                for s in &golden.structures {
                    let label = format!("{name}, {kind}, {precision}");
                    let check = || compare(&label, &plan, tolerance, s, &s["results"][kind]);
                    if let Err(e) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)) {
                        let message = e.downcast_ref::<String>().cloned().unwrap_or_else(|| label.clone());
                        worst.push(message);
                    }
                }
            }
        }
    }
    assert!(worst.is_empty(), "{} failures:\n{}", worst.len(), worst.join("\n"));
}

#[test]
fn large_and_small_systems_agree_with_the_processor() {
    if !device() {
        return;
    }
    for (name, largest) in [("si_bench", 100_000), ("sio_o2", 50_021), ("hea_bench", 7003)] {
        let model = benchmark(name);
        let cpu = Plan::new(&model, Device::Cpu, Precision::F64).unwrap();
        let gpus = CASES.map(|(precision, tolerance)| (plan(&model, precision), tolerance));
        let largest = std::env::var("ACERUST_LARGEST").map_or(largest, |n| n.parse().expect("a number of atoms"));
        let sizes = [
            (1, [true; 3]),
            (2, [false; 3]),
            (37, [true, false, true]),
            (1000, [true; 3]),
            (7003, [false, true, false]),
            (50_021, [true; 3]),
            (100_000, [true; 3]),
        ];
        for (n, pbc) in sizes.into_iter().filter(|s| s.0 <= largest) {
            let s = random(&model, n, pbc, n as u64);
            let graph = cpu.graph(&s).unwrap();
            let (mut e0, mut f0) = (vec![0.0; n], vec![[0.0; 3]; n]);
            let (_, v0) = energy_forces_virial(&cpu, (&graph, &s.numbers), &mut e0, &mut f0).unwrap();
            for (gpu, tolerance) in &gpus {
                let (tolerance, label) = (*tolerance, format!("{name}, {:?}, {n} atoms", gpu.precision()));
                let (mut e, mut f) = (vec![f64::NAN; n], vec![[f64::NAN; 3]; n]);
                let mut list = gpu.neighbours(0.3).unwrap();
                let (_, v) = energy_forces_virial(gpu, (&s, &mut list), &mut e, &mut f).unwrap();
                let (fe, ve) = (error(f.as_flattened(), f0.as_flattened()), error(v.as_flattened(), v0.as_flattened()));
                println!("{label}: energies {:.1e}, forces {fe:.1e}, virial {ve:.1e}", error(&e, &e0));
                assert_close(&format!("{label}: site energies"), &e, &e0, tolerance);
                // A single atom has forces and images that cancel: energies set the scale there.
                let scaled = |f: &[[f64; 3]], e: &[f64]| [f.as_flattened(), &e[..1]].concat();
                assert_close(&format!("{label}: forces"), &scaled(&f, &e), &scaled(&f0, &e0), tolerance);
                assert_close(&format!("{label}: virial"), v.as_flattened(), v0.as_flattened(), tolerance);
                // Again, bit by bit: with the same list, and with a graph of the host.
                let (mut e1, mut f1) = (vec![f64::NAN; n], vec![[f64::NAN; 3]; n]);
                let (_, v1) = energy_forces_virial(gpu, (&s, &mut list), &mut e1, &mut f1).unwrap();
                assert_eq!(list.builds(), 1);
                assert!(e == e1 && f == f1 && v == v1, "{label}: differs from run to run");
                let alone = site_energies(gpu, (&s, &mut list), &mut e1).unwrap();
                assert_close(&format!("{label}: energies alone"), &e1, &e, tolerance);
                assert!((alone - e.iter().sum::<f64>()).abs() <= tolerance * e.iter().map(|e| e.abs()).sum::<f64>());
                energy_forces_virial(gpu, (&graph, &s.numbers), &mut e1, &mut f1).unwrap();
                let what = format!("{label}: forces of a graph");
                assert_close(&what, &scaled(&f1, &e1), &scaled(&f0, &e0), tolerance);
                assert_close(&format!("{label}: energies of a graph"), &e1, &e0, tolerance);
            }
        }
    }
}

#[test]
fn a_list_is_reused_while_it_holds() {
    if !device() {
        return;
    }
    let model = benchmark("sio_o2");
    let gpu = plan(&model, Precision::F64);
    let mut s = random(&model, 900, [true; 3], 5);
    let n = s.n_atoms();
    let mut list = gpu.neighbours(0.6).unwrap();
    let evaluate = |list: &mut _, s: &Structure| {
        let (mut e, mut f) = (vec![f64::NAN; n], vec![[f64::NAN; 3]; n]);
        let (_, v) = energy_forces_virial(&gpu, (s, list), &mut e, &mut f).unwrap();
        (e, f, v)
    };
    evaluate(&mut list, &s);
    for (amplitude, builds) in [(0.1, 1), (0.05, 1), (0.5, 2)] {
        s = s.rattle(amplitude, 9);
        let (e, f, v) = evaluate(&mut list, &s);
        assert_eq!(list.builds(), builds);
        let (e0, f0, v0) = evaluate(&mut gpu.neighbours(0.0).unwrap(), &s);
        assert_close("energies", &e, &e0, 1e-12);
        assert_close("forces", f.as_flattened(), f0.as_flattened(), 1e-12);
        assert_close("virial", v.as_flattened(), v0.as_flattened(), 1e-12);
    }
}

#[test]
fn committees_and_new_parameters_reach_the_device() {
    if !device() {
        return;
    }
    let model = benchmark("sio_o2");
    let s = random(&model, 60, [true; 3], 3);
    let mut plans = [Device::Cpu, Device::Cuda(0)].map(|d| Plan::new(&model, d, Precision::F64).unwrap());
    let results = plans.each_mut().map(|plan| {
        let own: Vec<f64> = model.linear_parameters().iter().map(|w| w * 1.5 + 1e-3).collect();
        let members = [own.clone(), own.iter().map(|w| -w).collect()];
        plan.set_linear_parameters(&own).unwrap();
        plan.set_committee(&members).unwrap();
        let graph = plan.graph(&s).unwrap();
        let (mut energies, mut sites) = ([0.0; 2], vec![0.0; 120]);
        let (mut forces, mut virials) = (vec![[0.0; 3]; 120], [[[0.0; 3]; 3]; 2]);
        committee(plan, &graph, &s.numbers, [&mut energies, &mut sites], &mut forces, &mut virials);
        [energies.to_vec(), sites, forces.concat(), virials.as_flattened().concat()].concat()
    });
    assert_close("committee", &results[1], &results[0], 1e-10);
}

#[test]
fn faults_are_errors_and_leave_the_plan_usable() {
    if !device() {
        return;
    }
    let model = benchmark("si_bench");
    let missing = Plan::new(&model, Device::Cuda(97), Precision::F64).expect_err("an error").to_string();
    assert!(missing.contains("there is no device 97"), "{missing}");
    let gpu = plan(&model, Precision::F64);
    let good = random(&model, 200, [true; 3], 1);
    let mut list = gpu.neighbours(0.0).unwrap();
    let mut evaluate = |s: &Structure| {
        let n = s.n_atoms();
        let (mut e, mut f) = (vec![0.0; n], vec![[0.0; 3]; n]);
        energy_forces_virial(&gpu, (s, &mut list), &mut e, &mut f).map_err(|e| e.to_string())
    };
    evaluate(&good).unwrap();
    let mut bad = good.clone();
    bad.positions[17] = bad.positions[91];
    assert!(evaluate(&bad).unwrap_err().contains("atom 17 is at the same place"));
    bad.positions[17] = [0.0, f64::NAN, 0.0];
    assert!(evaluate(&bad).unwrap_err().contains("atom 17: its position is not finite"));
    bad = good.clone();
    bad.cell[1] = bad.cell[0];
    assert!(evaluate(&bad).unwrap_err().contains("linearly dependent"));
    bad = good.clone();
    bad.numbers[3] = 8;
    assert!(evaluate(&bad).unwrap_err().contains("atom 3"));
    evaluate(&good).unwrap();
}

#[test]
fn a_batch_is_the_same_on_one_device_and_on_all() {
    if !device() {
        return;
    }
    let model = benchmark("sio_o2");
    let mut plans: Vec<_> = (0..).map_while(|d| Plan::new(&model, Device::Cuda(d), Precision::F64).ok()).collect();
    println!("{} devices", plans.len());
    // A single device counts twice.
    plans.push(plan(&model, Precision::F64));
    let structures: Vec<_> = (0..23).map(|k| random(&model, 300 + 50 * (k % 7), [true; 3], k as u64)).collect();
    let evaluate = |plans: &[Plan]| {
        let list = |plan: &Plan| plan.neighbours(0.0);
        spread(plans, structures.iter().collect(), list, |plan, list, s| Ok(evaluate(plan, list, s))).unwrap()
    };
    let alone: Vec<_> =
        structures.iter().map(|s| self::evaluate(&plans[0], &mut plans[0].neighbours(0.0).unwrap(), s)).collect();
    assert!(evaluate(&plans[..1]) == alone);
    assert!(evaluate(&plans) == alone);

    // Design rows of many structures in one call.
    let p = plans[0].length_basis();
    let graphs: Vec<_> = structures.iter().map(|s| plans[0].graph(s).unwrap()).collect();
    let rows = |plans: &[Plan], together: bool| {
        let mut out: Vec<_> = structures.iter().map(|s| vec![f64::NAN; (3 * s.n_atoms() + 7) * p]).collect();
        let mut items: Vec<_> = structures
            .iter()
            .zip(&graphs)
            .zip(&mut out)
            .map(|((s, graph), out)| {
                let (energy, rest) = out.split_at_mut(p);
                let (virial, forces) = rest.split_at_mut(6 * p);
                let rows = Rows::new().energy(energy).virial(matrix(virial, 6, p));
                let rows = rows.forces(matrix(forces, 3 * s.n_atoms(), p));
                (graph, &s.numbers[..], rows)
            })
            .collect();
        match together {
            true => batch::assemble(plans, items).unwrap(),
            false => items.iter_mut().for_each(|(g, z, rows)| plans[0].assemble(g, z, rows).unwrap()),
        }
        out
    };
    assert!(rows(&plans, true) == rows(&plans, false));
}
