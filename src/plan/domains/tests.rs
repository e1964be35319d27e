//! Domains against the whole.

use super::*;
use crate::model::Model;
use crate::plan::{ActiveSet, Device, Isa, Plan, Precision, RadialMode};
use crate::structure::Structure;
use std::path::Path;

fn model(name: &str) -> Model {
    Model::load(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// A plan, and one whose structures are shared by `n` evaluators on the processor.
fn plans(model: &Model, n: usize) -> [Plan; 2] {
    let one = || crate::cpu::potential(model, Precision::F64, RadialMode::Exact, Isa::detect()).unwrap();
    let mut shared = Plan::new(model, Device::Cpu, Precision::F64).unwrap();
    shared.potential = Box::new(Domains::new((0..n).map(|_| one()).collect()));
    [Plan::new(model, Device::Cpu, Precision::F64).unwrap(), shared]
}

#[cfg(feature = "cuda")]
#[test]
fn domains_on_devices_give_what_one_gives() {
    if std::env::var_os("ACERUST_GPU").is_none_or(|v| v == "compile") {
        eprintln!("SKIPPED: no domains on devices: ACERUST_GPU=1 says that there is one");
        return;
    }
    let n_devices = Device::n_cuda();
    assert!(n_devices > 0, "a device was demanded");
    for (name, repeat) in [
        ("benchmark/models/si_fit.json", [6, 2, 1]),
        ("test/mace/nonlinear.json", [4, 1, 1]),
        // More atoms than layers work on at a time.
        ("test/mace/three_layers.json", [24, 15, 14]),
        ("test/mace/two_heads.json", [40, 15, 14]),
    ] {
        let model = model(name);
        let structure = crystal(&model, repeat, 5.47);
        let on = |k: usize| crate::cuda::potential(&model, k, Precision::F64, RadialMode::Exact).unwrap();
        let one = Plan::new(&model, Device::Cuda(0), Precision::F64).unwrap();
        let mut shared = Plan::new(&model, Device::Cuda(0), Precision::F64).unwrap();
        shared.potential = Box::new(Domains::new((0..2).map(|k| on(k % n_devices)).collect()));
        let mut graph = one.graph(&structure).unwrap();
        for seed in 0..3 {
            let [a, b] = [&one, &shared].map(|plan| results(plan, &graph, &structure.numbers));
            assert_close(&a, &b, name);
            graph.update_vectors(&structure.clone().rattle(0.02, seed)).unwrap();
        }
    }
}

/// Every result that a potential has, one after another.
fn results(plan: &Plan, graph: &Graph, numbers: &[u8]) -> Vec<f64> {
    let (members, n, edges) = (plan.committee().len(), graph.n_atoms(), graph.n_edges());
    let linear = plan.model().check_linear().is_ok();
    let mut energy = 0.0;
    let mut room = [
        n,
        3 * n,
        9,
        9 * n,
        3 * edges,
        n * plan.n_descriptors(),
        members,
        members * n,
        3 * members * n,
        9 * members,
        n,
    ]
    .map(|n| vec![f64::NAN; n]);
    let [sites, forces, virial, virials, gradients, descriptors, c_energies, c_sites, c_forces, c_virials, grade] =
        &mut room;
    fn wanted(to: &mut [f64], wanted: bool) -> Option<&mut [f64]> {
        wanted.then_some(to)
    }
    let buffers = Buffers {
        energy: Some(&mut energy),
        site_energies: Some(sites),
        forces: Some(forces),
        virial: Some(virial),
        site_virials: Some(virials),
        edge_gradients: Some(gradients),
        committee_energies: wanted(c_energies, linear),
        committee_site_energies: wanted(c_sites, linear),
        committee_forces: wanted(c_forces, linear),
        committee_virials: wanted(c_virials, linear),
        grade: plan.active_set().map(|_| &mut grade[..]),
        descriptors: Some(descriptors),
    };
    plan.evaluate_into((graph, numbers).into(), buffers).unwrap();
    if plan.active_set().is_none() {
        grade.fill(0.0);
    }
    if !linear {
        [c_energies, c_sites, c_forces, c_virials].into_iter().for_each(|c| c.fill(0.0));
    }
    [energy].into_iter().chain(room.into_iter().flatten()).collect()
}

fn assert_close(a: &[f64], b: &[f64], what: &str) {
    let size = a.iter().fold(0.0_f64, |size, x| size.max(x.abs()));
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-12 * size;
    let far = a.iter().zip(b).position(|pair| !near(pair));
    assert!(a.len() == b.len() && far.is_none(), "{what}: result {far:?} of {}", a.len());
}

fn crystal(model: &Model, repeat: [usize; 3], a: f64) -> Structure {
    let mut crystal = Structure::diamond(14, a).repeat(repeat).rattle(0.05, 3);
    let species = model.species().to_vec();
    crystal.numbers.iter_mut().enumerate().for_each(|(i, z)| *z = species[i % species.len()]);
    crystal
}

#[test]
fn domains_give_what_the_whole_gives() {
    for (name, repeat) in [
        ("benchmark/models/si_fit.json", [5, 1, 1]),
        ("benchmark/models/sio_o2.json", [1, 1, 1]),
        ("test/mace/three_layers.json", [4, 1, 1]),
        ("test/mace/nonlinear.json", [1, 3, 1]),
    ] {
        let model = model(name);
        let structure = crystal(&model, repeat, 5.47);
        for n in [1, 2, 3, structure.n_atoms() + 2] {
            let [mut plan, mut shared] = plans(&model, n);
            if model.check_linear().is_ok() {
                let member = |k: usize| -> Vec<f64> {
                    model.linear_parameters().iter().map(|x| x * (1.0 + 0.1 * k as f64)).collect()
                };
                for p in [&mut plan, &mut shared] {
                    p.set_committee(&[member(0), member(1)]).unwrap();
                    p.set_active_set(Some(identity(p))).unwrap();
                }
            }
            let graph = plan.graph(&structure).unwrap();
            let [whole, parts] = [&plan, &shared].map(|plan| results(plan, &graph, &structure.numbers));
            assert_close(&whole, &parts, &format!("{name} by {n}"));
            assert_eq!(
                whole[..1 + structure.n_atoms()],
                parts[..1 + structure.n_atoms()],
                "energies are the same, to the last bit"
            );
        }
    }
}

fn identity(plan: &Plan) -> ActiveSet {
    let (species, n) = (plan.model().species().to_vec(), plan.n_basis());
    let inverse = species.iter().map(|_| Some(faer::Mat::identity(n, n))).collect();
    ActiveSet::new(species, inverse)
}

/// Lists that are kept, moved, built anew; another list in between; a list whose graph is as it was built, once more.
#[test]
fn domains_follow_the_atoms() {
    for name in ["benchmark/models/si_fit.json", "test/mace/three_layers.json"] {
        let model = model(name);
        let [plan, shared] = plans(&model, 2);
        let mut structure = crystal(&model, [3, 1, 1], 5.47);
        let other = crystal(&model, [1, 2, 1], 5.6);
        let [mut list, mut others] = [(); 2].map(|()| shared.neighbours(0.8).unwrap());
        let same = |structure: &Structure, list: &mut crate::plan::Neighbours| {
            let evaluate = |plan: &Plan, input: crate::plan::Input| {
                let (mut energy, mut forces) = (0.0, vec![0.0; 3 * structure.n_atoms()]);
                let buffers = Buffers { energy: Some(&mut energy), forces: Some(&mut forces), ..Buffers::default() };
                plan.evaluate_into(input, buffers).unwrap();
                forces.push(energy);
                forces
            };
            let [a, b] = [evaluate(&plan, structure.into()), evaluate(&shared, (structure, list).into())];
            assert_close(&a, &b, name);
        };
        for seed in 0..8 {
            same(&structure, &mut list);
            same(&structure, &mut list);
            if seed % 3 == 1 {
                same(&other, &mut others);
            }
            structure = structure.rattle(0.1, seed);
        }
        assert!(list.builds() > 1 && list.builds() < 8, "{} builds", list.builds());
    }
}

#[test]
fn conditions_and_parameters_reach_all_domains() {
    let two_heads = model("test/mace/two_heads.json");
    let structure = crystal(&two_heads, [3, 1, 1], 5.47);
    let head = two_heads.mace().unwrap().network().heads[1].clone();
    let [plan, shared] =
        plans(&two_heads, 2).map(|p| p.at(&Conditions::new().head(&head)).unwrap().energy(&structure).unwrap());
    assert_eq!(plan, shared);
    let silicon = model("benchmark/models/si_fit.json");
    let structure = crystal(&silicon, [3, 1, 1], 5.47);
    let doubled: Vec<f64> = silicon.linear_parameters().iter().map(|x| 2.0 * x).collect();
    let [plan, shared] = plans(&silicon, 2).map(|mut p| {
        p.set_linear_parameters(&doubled).unwrap();
        p.energy(&structure).unwrap()
    });
    assert_eq!(plan, shared);
}

#[test]
fn errors_name_atoms_of_the_whole() {
    let mut model = model("benchmark/models/si_fit.json");
    let huge: Vec<f64> = model.linear_parameters().iter().map(|_| 1e308).collect();
    model.set_linear_parameters(&huge).unwrap();
    let structure = crystal(&model, [3, 1, 1], 5.47);
    let [plan, shared] = plans(&model, 2).map(|p| p.energy(&structure).unwrap_err().to_string());
    assert!(plan.contains("atom 0"), "{plan}");
    assert_eq!(plan, shared);
    let edges = crate::graph::Edges { cutoff: 9.0, n_atoms: 1, first: &[0], ..Default::default() };
    let ghost = Graph::from_edges(&edges, &[]).unwrap();
    let message = plans(&model, 2)[1].energy((&ghost, &[14])).unwrap_err().to_string();
    assert!(message.contains("ghosts"), "{message}");
}
