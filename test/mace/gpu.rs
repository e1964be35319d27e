//! MACE on a CUDA device: golden data and the processor. Without a device every test says that it is skipped, unless `ACERUST_GPU=1`
//! demands one.

use super::models::{floats, forces_are_derivatives, golden, here, read, triples};
use super::plan::crystal;
use super::size;
use acerust::mace::network::Network;
use acerust::mace::spec::MaceSpec;
use acerust::model::Model;
use acerust::plan::{Conditions, Device, Options, Outputs, Plan, Precision};
use acerust::structure::Structure;
use ndarray::{Array2, Array3};
use serde_json::Value;
use std::path::Path;

const CASES: [(Precision, f64); 2] = [(Precision::F64, 1e-10), (Precision::F32, 1e-5)];

/// Those that are offered, by less than 1e-3 of the largest force, and others, that work.
const REDUCED: [(Precision, f64); 4] = [
    (Precision::F24_RADIAL, 3e-4),
    (Precision::TF32, 2.5e-3),
    (Precision::F16_FEATURES, 3e-3),
    (Precision::BF16_FEATURES, 4e-2),
];

pub fn on_device(model: &Model, precision: Precision) -> Option<Plan> {
    match Plan::new(model, Device::Cuda(0), precision) {
        Ok(plan) => Some(plan),
        Err(e) if std::env::var_os("ACERUST_GPU").is_some() => panic!("a device was demanded: {e}"),
        Err(e) => {
            eprintln!("SKIPPED: no test ran on a GPU: {e}");
            None
        }
    }
}

fn close(what: &str, is: &[f64], should: &[f64], tolerance: f64) {
    assert_eq!(is.len(), should.len(), "{what}");
    let largest = should.iter().fold(1e-3, |m: f64, x| m.max(x.abs()));
    let error = is
        .iter()
        .zip(should)
        .fold(0.0, |m: f64, (a, b)| if (a - b).is_nan() { f64::NAN } else { m.max((a - b).abs()) });
    assert!(error <= tolerance * largest, "{what}: {error:e} of {largest:e}");
}

/// Everything that a graph gives.
struct All {
    sites: Vec<f64>,
    forces: Vec<[f64; 3]>,
    virial: [[f64; 3]; 3],
    edges: Vec<[f64; 3]>,
    virials: Array3<f64>,
    descriptors: Array2<f64>,
}

fn all(plan: &Plan, graph: &acerust::graph::Graph, numbers: &[u8]) -> All {
    let (n, n_owned) = (graph.n_atoms(), graph.n_owned());
    let width = plan.model().mace().unwrap().network().layers.iter().map(|l| l.linear.to.k).sum();
    let mut all = All {
        sites: vec![f64::NAN; n_owned],
        forces: vec![[f64::NAN; 3]; n],
        virial: [[f64::NAN; 3]; 3],
        edges: vec![[f64::NAN; 3]; graph.n_edges()],
        virials: Array3::from_elem((n, 3, 3), f64::NAN),
        descriptors: Array2::from_elem((n_owned, width), f64::NAN),
    };
    let mut energy = f64::NAN;
    let mut out = Outputs::new()
        .energy(&mut energy)
        .site_energies(&mut all.sites[..])
        .forces(&mut all.forces[..])
        .virial(&mut all.virial[..])
        .edge_gradients(&mut all.edges[..])
        .site_virials(&mut all.virials)
        .descriptors(&mut all.descriptors);
    plan.evaluate((graph, numbers), &mut out).unwrap();
    assert!((energy - all.sites.iter().sum::<f64>()).abs() <= 1e-12 * energy.abs());
    assert_eq!(plan.energy((graph, numbers)).unwrap(), energy, "without gradients");
    all
}

fn compare(name: &str, a: &All, b: &All, tolerance: f64) {
    close(&format!("{name} site energies"), &a.sites, &b.sites, tolerance);
    close(
        &format!("{name} descriptors"),
        a.descriptors.as_slice().unwrap(),
        b.descriptors.as_slice().unwrap(),
        tolerance,
    );
    close(&format!("{name} edge gradients"), a.edges.as_flattened(), b.edges.as_flattened(), tolerance);
    close(&format!("{name} forces"), a.forces.as_flattened(), b.forces.as_flattened(), tolerance);
    close(&format!("{name} virial"), a.virial.as_flattened(), b.virial.as_flattened(), tolerance);
    close(&format!("{name} virials"), a.virials.as_slice().unwrap(), b.virials.as_slice().unwrap(), tolerance);
}

fn check_golden(path: &Path) {
    let bytes = read(path);
    let spec = MaceSpec::from_json(&bytes).unwrap();
    let network = Network::new(&spec).unwrap();
    let file: Value = serde_json::from_slice(&bytes).unwrap();
    let model = Model::from_mace(spec, "golden").unwrap();
    for (precision, tolerance) in CASES {
        let Some(plan) = on_device(&model, precision) else { return };
        let processor = Plan::new(&model, Device::Cpu, Precision::F64).unwrap();
        for (k, s) in file["structures"].as_array().unwrap().iter().enumerate() {
            let name = format!("{} {precision} structure {k}", path.file_name().unwrap().display());
            let cell = triples(&s["cell"]);
            let structure = Structure {
                numbers: floats(&s["numbers"]).iter().map(|&z| z as u8).collect(),
                positions: triples(&s["positions"]),
                cell: [cell[0], cell[1], cell[2]],
                pbc: std::array::from_fn(|d| s["pbc"][d].as_bool().unwrap()),
            };
            let (graph, numbers) = (plan.graph(&structure).unwrap(), structure.numbers);
            let mut conditions = Conditions::new().head(&network.heads[s["head"].as_u64().unwrap() as usize]);
            conditions.total_charge = s["total_charge"].as_i64();
            conditions.total_spin = s["total_spin"].as_i64();
            let is = all(&plan.at(&conditions).unwrap(), &graph, &numbers);
            close(&format!("{name} golden energies"), &is.sites, &floats(&s["node_energy"]), tolerance);
            if forces_are_derivatives(&file) {
                close(&format!("{name} golden forces"), is.forces.as_flattened(), &floats(&s["forces"]), tolerance);
                close(&format!("{name} golden virial"), is.virial.as_flattened(), &floats(&s["virials"]), tolerance);
            }
            compare(&name, &is, &all(&processor.at(&conditions).unwrap(), &graph, &numbers), tolerance);
        }
    }
    println!("{}: met", path.display());
}

#[test]
fn devices_meet_golden_models() {
    golden().iter().for_each(|path| check_golden(path));
}

/// Energies, forces and virials of graphs, and of lists new and reused, agree; the same to the last bit every time.
#[test]
fn lists_and_graphs_on_devices_agree_with_the_processor() {
    for name in ["three_layers.json", "nonlinear.json", "two_heads.json", "chebyshev.json", "tiny.json"] {
        let model = Model::load(here(name)).unwrap();
        for (precision, tolerance) in CASES {
            let Some(plan) = on_device(&model, precision) else { return };
            let processor = Plan::new(&model, Device::Cpu, Precision::F64).unwrap();
            let mut list = plan.neighbours(0.3).unwrap();
            for (k, cells) in [[1, 1, 1], [3, 2, 2], [3, 2, 2], [6, 6, 5]].into_iter().enumerate() {
                let mut s = crystal(&plan, cells);
                s.positions[0][0] += 0.02 * k as f64;
                let name = format!("{name} {precision} {cells:?}");
                let (graph, numbers) = (plan.graph(&s).unwrap(), &s.numbers);
                let on_graph = all(&plan, &graph, numbers);
                compare(&name, &on_graph, &all(&processor, &graph, numbers), tolerance);
                // Edges stay on the device while atoms go and come back.
                let mut graph = graph;
                for (k, s) in [s.clone().rattle(0.02, 1), s.clone().rattle(0.02, 2), s.clone()].iter().enumerate() {
                    graph.update_vectors(s).unwrap();
                    let (here, there) = (all(&plan, &graph, numbers), all(&processor, &graph, numbers));
                    compare(&format!("{name}, move {k}"), &here, &there, tolerance);
                    if k == 2 {
                        compare(&name, &here, &on_graph, 0.0);
                    }
                }
                let mut with = |reuse: bool| {
                    let mut fresh = plan.neighbours(0.3).unwrap();
                    let list = if reuse { &mut list } else { &mut fresh };
                    let (mut energy, mut forces, mut virial) = (0.0, vec![[0.0; 3]; s.n_atoms()], [[0.0; 3]; 3]);
                    let mut sites = vec![0.0; s.n_atoms()];
                    let out = Outputs::new().energy(&mut energy).site_energies(&mut sites[..]);
                    let mut out = out.forces(&mut forces[..]).virial(&mut virial[..]);
                    plan.evaluate((&s, list), &mut out).unwrap();
                    (energy, sites, forces, virial)
                };
                let (first, again, reused, more) = (with(false), with(false), with(true), with(true));
                assert!(first == again, "{name}: not the same twice");
                assert!(reused == more, "{name}: not the same with a list that holds");
                close(&name, &first.1, &on_graph.sites, tolerance);
                close(&name, first.2.as_flattened(), on_graph.forces.as_flattened(), tolerance);
                close(&name, first.3.as_flattened(), on_graph.virial.as_flattened(), tolerance);
                close(&name, reused.2.as_flattened(), on_graph.forces.as_flattened(), tolerance);
                close(&name, &[plan.energy((&s, &mut list)).unwrap()], &[reused.0], 1e-14);
            }
        }
    }
}

/// An isolated atom among others, one alone, none at all, and a slab of ghosts.
#[test]
fn devices_know_edge_cases() {
    let model = Model::load(here("three_layers.json")).unwrap();
    for (precision, tolerance) in CASES {
        let Some(plan) = on_device(&model, precision) else { return };
        let processor = Plan::new(&model, Device::Cpu, Precision::F64).unwrap();
        assert_eq!(plan.energy(&Structure::default()).unwrap(), 0.0);
        let mut s = crystal(&plan, [2, 2, 1]);
        (s.pbc, s.cell) = ([false; 3], [[0.0; 3]; 3]);
        s.positions[1] = [50.0, 0.0, 0.0];
        let one = Structure { numbers: s.numbers[..1].to_vec(), positions: s.positions[..1].to_vec(), ..s.clone() };
        for s in [&s, &one] {
            let graph = plan.graph(s).unwrap();
            let name = format!("{} isolated {precision}", s.n_atoms());
            compare(&name, &all(&plan, &graph, &s.numbers), &all(&processor, &graph, &s.numbers), tolerance);
            let mut list = plan.neighbours(0.3).unwrap();
            close(&name, &[plan.energy((s, &mut list)).unwrap()], &[processor.energy(s).unwrap()], tolerance);
        }
    }
}

/// Forces of presets with fewer bits are off by no more than `docs/mace.md` says, and numbers were rounded; the same to the last bit every time.
#[test]
fn reduced_precision_is_within_its_error() {
    let mut models: Vec<(String, Model)> =
        golden().iter().map(|p| (p.display().to_string(), Model::load(p).unwrap())).collect();
    let size = size::Size { k: 128, l: 1, cutoff: 5.0 };
    models.push(("128 channels".into(), Model::from_mace(size.model().unwrap(), "128").unwrap()));
    for (name, model) in models {
        let Some(single) = on_device(&model, Precision::F32) else { return };
        let exact = on_device(&model, Precision::F64).expect("a device");
        let s = crystal(&exact, [3, 3, 3]);
        let results = |plan: &Plan| {
            let (mut energy, mut forces, mut virial) = (0.0, vec![[0.0; 3]; s.n_atoms()], [[0.0; 3]; 3]);
            let mut out = Outputs::new().energy(&mut energy).forces(&mut forces[..]).virial(&mut virial[..]);
            plan.evaluate((&s, &mut plan.neighbours(0.3).unwrap()), &mut out).unwrap();
            (energy, forces, virial)
        };
        let (should, near) = (results(&exact), results(&single));
        // The others on a few: kernels take long to compile.
        let few = ["nonlinear", "128"].iter().any(|part| name.contains(part));
        for (precision, tolerance) in REDUCED.into_iter().take(if few { REDUCED.len() } else { 1 }) {
            let options = Options::new().any_precision();
            let plan = Plan::with_options(&model, Device::Cuda(0), precision, options).expect("a device");
            let (is, again) = (results(&plan), results(&plan));
            let name = format!("{name} {precision}");
            assert!(is == again, "{name}: not the same twice");
            assert!(is.1 != near.1, "{name}: nothing was rounded");
            close(&name, is.1.as_flattened(), should.1.as_flattened(), tolerance);
            if precision == Precision::F24_RADIAL {
                close(&name, is.2.as_flattened(), should.2.as_flattened(), tolerance);
                // As a force over an ångström.
                let largest = should.1.as_flattened().iter().fold(0.0_f64, |m, x| m.max(x.abs()));
                let error = (is.0 - should.0).abs() / s.n_atoms() as f64;
                assert!(error <= tolerance * largest, "{name}: energies are off by {error} eV/atom");
            }
            // By graphs, whose memory the host has, and for all outputs.
            let graph = plan.graph(&s).unwrap();
            let on_graph = all(&plan, &graph, &s.numbers);
            close(&name, on_graph.forces.as_flattened(), is.1.as_flattened(), tolerance);
        }
    }
}

/// Layers work on so many atoms at a time: a large crystal has what each of its cells has.
#[test]
fn slices_of_large_systems_are_the_whole() {
    for (name, species) in [("three_layers.json", 2), ("nonlinear.json", 1)] {
        let model = Model::load(here(name)).unwrap();
        for precision in [Precision::F64, Precision::F32, Precision::F24_RADIAL] {
            let Some(plan) = on_device(&model, precision) else { return };
            let mut cell = crystal(&plan, [2, 2, 2]);
            if species == 1 {
                let number = cell.numbers[0];
                cell.numbers.fill(number);
            }
            let large = cell.repeat([14, 13, 13]);
            let evaluate = |s: &Structure| {
                let (mut sites, mut forces, mut virial) =
                    (vec![0.0; s.n_atoms()], vec![[0.0; 3]; s.n_atoms()], [[0.0; 3]; 3]);
                let out = Outputs::new().site_energies(&mut sites[..]);
                let mut out = out.forces(&mut forces[..]).virial(&mut virial[..]);
                plan.evaluate((s, &mut plan.neighbours(0.0).unwrap()), &mut out).unwrap();
                (sites, forces, virial)
            };
            let (small, whole, again) = (evaluate(&cell), evaluate(&large), evaluate(&large));
            assert!(whole == again, "{name} {precision}: not the same twice");
            let tolerance = if precision == Precision::F64 { 1e-11 } else { 1e-3 };
            let n = cell.n_atoms();
            assert!(large.n_atoms() > 1 << 15);
            for copy in 0..large.n_atoms() / n {
                let of = copy * n..(copy + 1) * n;
                close(name, &whole.0[of.clone()], &small.0, tolerance);
                close(name, whole.1[of].as_flattened(), small.1.as_flattened(), tolerance);
            }
            let copies = (large.n_atoms() / n) as f64;
            close(name, whole.2.map(|row| row.map(|x| x / copies)).as_flattened(), small.2.as_flattened(), tolerance);
            println!("{name} {precision}: {} atoms", large.n_atoms());
        }
    }
}
