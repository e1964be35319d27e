//! MACE through the front door: files told apart, plans, other heads and charges, finite differences, pieces of a crystal.

use super::models::{floats, here, read, triples};
use acerust::graph::{Edges, Graph};
use acerust::model::Model;
use acerust::plan::{Conditions, Device, Outputs, Plan, Precision};
use acerust::structure::Structure;
use ndarray::{Array3, s};
use serde_json::Value;

pub fn plan(name: &str) -> Plan {
    let model = Model::load(here(name)).unwrap();
    Plan::new(&model, Device::Cpu, Precision::F64).unwrap()
}

fn energy(plan: &Plan, s: &Structure) -> f64 {
    plan.energy(s).unwrap()
}

/// A rattled crystal of the model's first two species.
pub fn crystal(plan: &Plan, cells: [usize; 3]) -> Structure {
    let mut s = Structure::bcc(0, 3.3).repeat(cells).rattle(0.25, 3);
    let species = plan.model().species();
    s.numbers.iter_mut().enumerate().for_each(|(i, z)| *z = species[i % 2]);
    s
}

#[test]
fn files_are_told_apart_by_content() {
    let checkpoint = Model::load(here("tiny.model")).unwrap();
    let neutral = Model::load(here("tiny.json")).unwrap();
    let folder = std::env::temp_dir().join(format!("acerust-mace-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    // Whatever the name says.
    let path = folder.join("tiny.json");
    checkpoint.save(&path).unwrap();
    let saved = Model::load(&path).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(checkpoint.mace() == saved.mace());
    assert_eq!(Model::from_json(neutral.to_json()).unwrap().mace(), neutral.mace());
    let energies = [checkpoint, neutral, saved].map(|m| {
        let plan = Plan::new(&m, Device::Cpu, Precision::F64).unwrap();
        energy(&plan, &crystal(&plan, [2, 2, 2]))
    });
    assert!(energies[0] == energies[1] && energies[1] == energies[2], "{energies:?}");
}

#[test]
fn reduced_precisions_are_refused_where_they_are_not() {
    let (mace, site) =
        (Model::load(here("tiny.json")).unwrap(), concat!(env!("CARGO_MANIFEST_DIR"), "/benchmark/models/si_fit.json"));
    let site = Model::load(site).unwrap();
    let refused = |model: &Model, device, precision| Plan::new(model, device, precision).unwrap_err().to_string();
    for (name, precision) in Precision::PRESETS {
        assert_eq!(name.parse(), Ok(precision));
        assert_eq!(precision.to_string(), name);
        if [Precision::F64, Precision::F32, Precision::F32_DISTANCES].contains(&precision) {
            assert!(Plan::new(&mace, Device::Cpu, precision).is_ok());
            continue;
        }
        let others = "others, and processors, have f64, f32, f32-distances";
        let message = format!("argument: precision {name}: is for MACE models on CUDA devices; {others}");
        assert_eq!(refused(&mace, Device::Cpu, precision), message);
        assert_eq!(refused(&site, Device::Cpu, precision), message);
        assert_eq!(refused(&site, Device::Cuda(0), precision), message);
    }
    for precision in [Precision::TF32, Precision::F16_FEATURES, Precision::BF16_FEATURES] {
        let message = refused(&mace, Device::Cuda(0), precision);
        assert!(message.contains(&format!("{precision}: is not offered, as forces would be off by")), "{message}");
    }
    let odd = Precision::F64.with_matrices(acerust::plan::Arithmetic::Tf32);
    assert!(refused(&mace, Device::Cuda(0), odd).ends_with("none of the presets"));
    assert!("tf16".parse::<Precision>().unwrap_err().contains("f24-radial, tf32"));
}

#[test]
fn plans_meet_the_golden_files_under_all_conditions() {
    for name in ["nonlinear.json", "two_heads.json", "three_layers.json"] {
        let plan = plan(name);
        let file: Value = serde_json::from_slice(&read(here(name))).unwrap();
        for s in file["structures"].as_array().unwrap() {
            let cell: Vec<[f64; 3]> = triples(&s["cell"]);
            let structure = Structure {
                numbers: floats(&s["numbers"]).iter().map(|&z| z as u8).collect(),
                positions: triples(&s["positions"]),
                cell: [cell[0], cell[1], cell[2]],
                pbc: std::array::from_fn(|d| s["pbc"][d].as_bool().unwrap()),
            };
            let mut conditions =
                Conditions::new().head(file["config"]["heads"][s["head"].as_u64().unwrap() as usize].as_str().unwrap());
            conditions.total_charge = s["total_charge"].as_i64();
            conditions.total_spin = s["total_spin"].as_i64();
            let mut forces = vec![[0.0; 3]; structure.n_atoms()];
            let mut energy = 0.0;
            let mut out = Outputs::new().energy(&mut energy).forces(&mut forces[..]);
            plan.at(&conditions).unwrap().evaluate(&structure, &mut out).unwrap();
            let should = s["energy"].as_f64().unwrap();
            assert!((energy - should).abs() < 1e-10 * should.abs(), "{name}: {energy} {should}");
            let error =
                floats(&s["forces"]).iter().zip(forces.as_flattened()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(error < 1e-9, "{name}: forces {error:e}");
        }
    }
    let plan = plan("two_heads.json");
    let refused = plan.at(&Conditions::new().head("c")).unwrap_err().to_string();
    assert!(refused.contains("head `c`: the model has a, b"), "{refused}");
    let plan = self::plan("nonlinear.json");
    let refused = plan.at(&Conditions::new().total_charge(9)).unwrap();
    let refused = refused.energy(&crystal(&plan, [1, 1, 1])).unwrap_err().to_string();
    assert!(refused.contains("total_charge 9: this model knows -2 to 2"), "{refused}");
}

#[test]
fn mace_is_not_linear() {
    let mut plan = plan("tiny.json");
    let error = plan.set_linear_parameters(&[1.0]).unwrap_err().to_string();
    assert!(error.contains("not linear"), "{error}");
}

#[test]
fn forces_and_virials_are_derivatives() {
    for name in ["three_layers.json", "nonlinear.json", "two_heads.json", "chebyshev.json", "tiny.json"] {
        let plan = plan(name);
        // Edges to own images: two atoms, a cell shorter than the cutoff.
        let s = crystal(&plan, [1, 1, 1]);
        let n = s.n_atoms();
        let (mut forces, mut virial, mut sites) = (vec![[0.0; 3]; n], [[0.0; 3]; 3], Array3::zeros((n, 3, 3)));
        let mut out = Outputs::new().forces(&mut forces[..]).virial(&mut virial[..]).site_virials(&mut sites);
        plan.evaluate(&s, &mut out).unwrap();
        let h = 1e-4;
        for (i, d) in (0..n).flat_map(|i| (0..3).map(move |d| (i, d))) {
            let moved = |step: f64| {
                let mut s = s.clone();
                s.positions[i][d] += step;
                energy(&plan, &s)
            };
            let difference = -(8.0 * (moved(h) - moved(-h)) - (moved(2.0 * h) - moved(-2.0 * h))) / (12.0 * h);
            assert!((forces[i][d] - difference).abs() < 1e-7, "{name}: {} {difference}", forces[i][d]);
        }
        for (a, b) in (0..3).flat_map(|a| (0..3).map(move |b| (a, b))) {
            let strained = |e: f64| {
                let mut s = s.clone();
                let strain = |x: &mut [f64; 3]| x[b] += e * x[a];
                s.positions.iter_mut().for_each(strain);
                s.cell.iter_mut().for_each(strain);
                energy(&plan, &s)
            };
            let difference =
                -(8.0 * (strained(h) - strained(-h)) - (strained(2.0 * h) - strained(-2.0 * h))) / (12.0 * h);
            assert!((virial[b][a] - difference).abs() < 1e-6, "{name}: {} {difference}", virial[b][a]);
            let sum = sites.slice(s![.., a, b]).sum();
            assert!((virial[a][b] - sum).abs() < 1e-10);
        }
    }
}

#[test]
fn energies_are_invariant_extensive_and_the_same_every_time() {
    let plan = plan("three_layers.json");
    let s = crystal(&plan, [1, 1, 1]);
    let e = energy(&plan, &s);
    let mut mirrored = s.clone();
    let turn = |[x, y, z]: [f64; 3]| [0.6 * x - 0.8 * y, 0.8 * x + 0.6 * y, -z];
    mirrored.positions.iter_mut().for_each(|x| *x = turn(*x));
    mirrored.cell.iter_mut().for_each(|x| *x = turn(*x));
    assert!((energy(&plan, &mirrored) - e).abs() < 1e-10 * e.abs());
    let large = s.repeat([2, 3, 2]);
    assert!((energy(&plan, &large) - 12.0 * e).abs() < 1e-10 * 12.0 * e.abs());
    assert_eq!(energy(&plan, &large), energy(&plan, &large));
    let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
    let forces = |n: usize| {
        let mut forces = vec![[0.0; 3]; large.n_atoms()];
        pool(n).install(|| plan.evaluate(&large, &mut Outputs::new().forces(&mut forces[..])).unwrap());
        forces
    };
    assert_eq!(forces(1), forces(3));
    assert!(energy(&plan, &Structure::default()) == 0.0);
}

/// Calls share memory: whatever the one before left, the next one's results are those of a new plan.
#[test]
fn what_an_earlier_call_left_changes_nothing() {
    for name in ["three_layers.json", "nonlinear.json", "two_heads.json"] {
        let old = plan(name);
        let small = crystal(&old, [1, 1, 1]);
        let large = small.repeat([2, 2, 1]);
        let mut close = small.repeat([2, 1, 1]);
        // Nearer than atoms ever are: numbers of other sizes are left.
        close.positions[1] = close.positions[0].map(|x| x + 1e-9);
        let results = |plan: &Plan, s: &Structure, virial: bool| {
            let (mut energy, mut forces, mut w) = (0.0, vec![[0.0; 3]; s.n_atoms()], [[0.0; 3]; 3]);
            let mut out = Outputs::new().energy(&mut energy);
            if virial {
                out = out.forces(&mut forces[..]).virial(&mut w[..]);
            }
            plan.evaluate(s, &mut out).map(|()| (energy, forces, w)).map_err(|e| e.to_string())
        };
        for (s, virial) in [
            (&large, true),
            (&close, true),
            (&small, true),
            (&small, false),
            (&large, true),
            (&close, false),
            (&large, true),
        ] {
            assert_eq!(results(&old, s, virial), results(&plan(name), s, virial), "{name}");
        }
    }
}

/// Cuts a crystal into slabs: each owns its atoms and has the others as ghosts, with edges.
#[test]
fn pieces_with_a_wide_shell_give_the_whole() {
    for name in ["three_layers.json", "nonlinear.json"] {
        let plan = plan(name);
        let s = crystal(&plan, [3, 1, 2]);
        let n = s.n_atoms();
        let mut whole = vec![[0.0; 3]; n];
        let mut energy = 0.0;
        plan.evaluate(&s, &mut Outputs::new().energy(&mut energy).forces(&mut whole[..])).unwrap();
        let graph = plan.graph(&s).unwrap();
        for pieces in [2, 5, 8] {
            let (mut forces, mut total) = (vec![[0.0; 3]; n], 0.0);
            for p in 0..pieces {
                // Owned atoms first.
                let mut order: Vec<usize> = (0..n).filter(|i| i % pieces == p).collect();
                let n_owned = order.len();
                order.extend((0..n).filter(|i| i % pieces != p));
                let mut place = vec![0; n];
                order.iter().enumerate().for_each(|(k, &i)| place[i] = k as u32);
                let (mut first, mut neighbour, mut vectors) = (vec![0], Vec::new(), Vec::new());
                for &i in &order {
                    for e in graph.edges(i) {
                        neighbour.push(place[graph.neighbours()[e] as usize]);
                        vectors.push(graph.vectors()[e]);
                    }
                    first.push(neighbour.len() as u32);
                }
                let edges = Edges {
                    cutoff: graph.cutoff(),
                    n_owned,
                    n_centres: n,
                    n_atoms: n,
                    first: &first,
                    neighbour: &neighbour,
                    shift: &[],
                };
                let piece = Graph::from_edges(&edges, &vectors).unwrap();
                let numbers: Vec<u8> = order.iter().map(|&i| s.numbers[i]).collect();
                let (mut f, mut e) = (vec![[0.0; 3]; n], 0.0);
                plan.evaluate((&piece, &numbers), &mut Outputs::new().energy(&mut e).forces(&mut f[..])).unwrap();
                total += e;
                for (&i, f) in order.iter().zip(&f) {
                    (0..3).for_each(|d| forces[i][d] += f[d]);
                }
            }
            assert!((total - energy).abs() < 1e-11 * energy.abs());
            let error =
                whole.as_flattened().iter().zip(forces.as_flattened()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(error < 1e-11, "{name} in {pieces} pieces: {error:e}");
        }
    }
}
