//! Pieces that own their atoms alone, and exchange features with each other: together they give the whole.

use super::golden::{graph, properties, species};
use super::models::{floats, forces_are_derivatives, golden, read};
use super::plan::{crystal, plan};
use acerust::graph::{Edges, Exchange, Graph};
use acerust::mace::network::Network;
use acerust::mace::spec::MaceSpec;
use acerust::mace::{Evaluator, Gradients, Input, Output};
use acerust::plan::{Input as PlanInput, Isa, Outputs, Plan, Precision};
use serde_json::Value;
use std::sync::{Barrier, Mutex};

/// One of several threads that each own some of the atoms.
#[derive(Debug)]
struct Piece<'a> {
    /// The atom of the whole that each row is.
    atoms: &'a [usize],
    n_owned: usize,
    /// Rows of the whole.
    shared: &'a Mutex<Vec<f64>>,
    barrier: &'a Barrier,
}

impl Exchange for Piece<'_> {
    fn forward(&mut self, _: usize, width: usize, rows: &mut [f64]) -> acerust::Result<()> {
        {
            let mut shared = self.shared.lock().unwrap();
            let n = width * (1 + self.atoms.iter().max().unwrap());
            if shared.len() < n {
                shared.resize(n, 0.0);
            }
            for (k, &i) in self.atoms[..self.n_owned].iter().enumerate() {
                shared[i * width..][..width].copy_from_slice(&rows[k * width..][..width]);
            }
        }
        self.barrier.wait();
        {
            let shared = self.shared.lock().unwrap();
            for (k, &i) in self.atoms.iter().enumerate().skip(self.n_owned) {
                rows[k * width..][..width].copy_from_slice(&shared[i * width..][..width]);
            }
        }
        self.barrier.wait();
        Ok(())
    }

    fn backward(&mut self, _: usize, width: usize, rows: &mut [f64]) -> acerust::Result<()> {
        if self.barrier.wait().is_leader() {
            self.shared.lock().unwrap().fill(0.0);
        }
        self.barrier.wait();
        {
            let mut shared = self.shared.lock().unwrap();
            for (k, &i) in self.atoms.iter().enumerate().skip(self.n_owned) {
                let to = &mut shared[i * width..][..width];
                to.iter_mut().zip(&rows[k * width..][..width]).for_each(|(t, r)| *t += r);
            }
        }
        self.barrier.wait();
        {
            let shared = self.shared.lock().unwrap();
            for (k, &i) in self.atoms[..self.n_owned].iter().enumerate() {
                let row = &mut rows[k * width..][..width];
                row.iter_mut().zip(&shared[i * width..][..width]).for_each(|(r, s)| *r += s);
            }
        }
        self.barrier.wait();
        Ok(())
    }
}

/// The graph of every `pieces`-th atom, all others as ghosts, and the atoms of its rows.
fn cut(whole: &Graph, p: usize, pieces: usize) -> (Graph, Vec<usize>) {
    let n = whole.n_atoms();
    let mut atoms: Vec<usize> = (0..n).filter(|i| i % pieces == p).collect();
    let n_owned = atoms.len();
    atoms.extend((0..n).filter(|i| i % pieces != p));
    let (mut first, mut neighbour, mut vectors) = (vec![0], Vec::new(), Vec::new());
    for &i in &atoms[..n_owned] {
        for e in whole.edges(i) {
            let j = whole.neighbours()[e] as usize;
            neighbour.push(atoms.iter().position(|&a| a == j).unwrap() as u32);
            vectors.push(whole.vectors()[e]);
        }
        first.push(neighbour.len() as u32);
    }
    let (cutoff, n_centres) = (whole.cutoff(), n_owned);
    let edges = Edges { cutoff, n_owned, n_centres, n_atoms: n, first: &first, neighbour: &neighbour, shift: &[] };
    (Graph::from_edges(&edges, &vectors).unwrap(), atoms)
}

/// As [`in_pieces`], by plans on any device.
#[cfg(feature = "cuda")]
fn by_plan(plan: &Plan, whole: &Graph, numbers: &[u8], pieces: usize) -> (f64, Vec<[f64; 3]>) {
    let n = whole.n_atoms();
    let (shared, barrier) = (&Mutex::new(Vec::new()), &Barrier::new(pieces));
    let total = &Mutex::new((0.0, vec![[0.0; 3]; n]));
    std::thread::scope(|scope| {
        for p in 0..pieces {
            scope.spawn(move || {
                let (graph, atoms) = cut(whole, p, pieces);
                let numbers: Vec<u8> = atoms.iter().map(|&i| numbers[i]).collect();
                let (mut energy, mut forces) = (0.0, vec![[0.0; 3]; n]);
                let mut piece = Piece { atoms: &atoms, n_owned: graph.n_owned(), shared, barrier };
                let mut out = Outputs::new().energy(&mut energy).forces(&mut forces[..]);
                plan.evaluate(PlanInput::Exchanged(&graph, &numbers, &mut piece), &mut out).unwrap();
                let mut total = total.lock().unwrap();
                total.0 += energy;
                atoms.iter().zip(&forces).for_each(|(&i, f)| (0..3).for_each(|d| total.1[i][d] += f[d]));
            });
        }
    });
    total.lock().unwrap().clone()
}

#[cfg(feature = "cuda")]
#[test]
fn pieces_on_devices_give_the_whole() {
    for name in ["three_layers.json", "nonlinear.json", "two_heads.json"] {
        let processor = plan(name);
        let s = crystal(&processor, [2, 2, 3]);
        let (mut energy, mut forces) = (0.0, vec![[0.0; 3]; s.n_atoms()]);
        processor.evaluate(&s, &mut Outputs::new().energy(&mut energy).forces(&mut forces[..])).unwrap();
        let check = |plan: &Plan, tolerance: f64| {
            for pieces in [2, 5, s.n_atoms() + 1] {
                let (e, f) = by_plan(plan, &plan.graph(&s).unwrap(), &s.numbers, pieces);
                let largest = forces.as_flattened().iter().fold(1.0, |m: f64, x| m.max(x.abs()));
                let pairs = forces.as_flattened().iter().zip(f.as_flattened());
                let error = pairs.map(|(a, b)| (a - b).abs()).fold((e - energy).abs() / energy.abs(), f64::max);
                assert!(error < tolerance * largest, "{name} in {pieces}: {error:e}");
            }
        };
        check(&processor, 1e-10);
        for (precision, tolerance) in [(Precision::F64, 1e-10), (Precision::F32, 2e-5)] {
            let Some(plan) = super::gpu::on_device(processor.model(), precision) else { continue };
            assert!(plan.n_exchanged() > 0);
            check(&plan, tolerance);
        }
    }
}

/// The energy and the forces on all atoms from pieces that each own every `pieces`-th atom.
fn in_pieces(
    evaluator: &Evaluator,
    whole: &Graph,
    species: &[u32],
    properties: &[i64],
    pieces: usize,
) -> (f64, Vec<[f64; 3]>) {
    let n = whole.n_atoms();
    let shared = Mutex::new(Vec::new());
    let barrier = Barrier::new(pieces);
    let forces = Mutex::new(vec![[0.0; 3]; n]);
    let energy = Mutex::new(0.0);
    std::thread::scope(|scope| {
        for p in 0..pieces {
            let (shared, barrier, forces, energy) = (&shared, &barrier, &forces, &energy);
            scope.spawn(move || {
                let (graph, atoms) = cut(whole, p, pieces);
                let n_owned = graph.n_owned();
                let species_of: Vec<u32> = atoms.iter().map(|&i| species[i]).collect();
                let (mut sites, mut gradients) = (vec![0.0; n_owned], vec![[0.0; 3]; graph.n_edges()]);
                let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
                let mut piece = Piece { atoms: &atoms, n_owned, shared, barrier };
                alone.install(|| {
                    let exchange: Option<&mut dyn Exchange> = Some(&mut piece);
                    let input =
                        Input { graph: &graph, species_of: &species_of, n_owned, head: 0, properties, exchange };
                    let output = Output {
                        site_energies: &mut sites,
                        interaction: None,
                        gradients: Some(Gradients { edges: &mut gradients }),
                        features: None,
                    };
                    evaluator.evaluate(input, output).unwrap();
                });
                *energy.lock().unwrap() += sites.iter().sum::<f64>();
                let mut forces = forces.lock().unwrap();
                for k in 0..n_owned {
                    for e in graph.edges(k) {
                        for d in 0..3 {
                            forces[atoms[k]][d] += gradients[e][d];
                            forces[atoms[graph.neighbours()[e] as usize]][d] -= gradients[e][d];
                        }
                    }
                }
            });
        }
    });
    (energy.into_inner().unwrap(), forces.into_inner().unwrap())
}

fn check(name: &str, (energy, forces): (f64, Vec<[f64; 3]>), should: (f64, Option<&[f64]>)) {
    assert!((energy - should.0).abs() < 1e-10 * should.0.abs(), "{name}: {energy} {}", should.0);
    let Some(should) = should.1 else { return };
    let error = should.iter().zip(forces.as_flattened()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(error < 1e-10 * should.iter().fold(1.0, |m: f64, x| m.max(x.abs())), "{name}: {error:e}");
}

#[test]
fn pieces_that_exchange_features_give_the_whole() {
    for path in golden() {
        let bytes = read(&path);
        let network = Network::new(&MaceSpec::from_json(&bytes).unwrap()).unwrap();
        let file: Value = serde_json::from_slice(&bytes).unwrap();
        let evaluator = Evaluator::new(&network, false, Isa::detect()).unwrap();
        let s = &file["structures"][1];
        let (whole, _) = graph(s);
        let (n, species, properties) = (whole.n_atoms(), species(&network, s), properties(&network, s));
        let found = in_pieces(&evaluator, &whole, &species, &properties, n.min(3));
        let forces = forces_are_derivatives(&file).then(|| floats(&s["forces"]));
        check(&path.display().to_string(), found, (s["energy"].as_f64().unwrap(), forces.as_deref()));
    }
    for name in ["three_layers.json", "nonlinear.json", "two_heads.json"] {
        let plan = plan(name);
        let network = plan.model().mace().unwrap().network();
        let s = crystal(&plan, [2, 2, 3]);
        let (mut energy, mut forces) = (0.0, vec![[0.0; 3]; s.n_atoms()]);
        plan.evaluate(&s, &mut Outputs::new().energy(&mut energy).forces(&mut forces[..])).unwrap();
        let species: Vec<u32> =
            s.numbers.iter().map(|z| network.species.iter().position(|s| s == z).unwrap() as u32).collect();
        let evaluator = Evaluator::new(network, false, Isa::detect()).unwrap();
        // Charge 0, spin 1, in the order of the model.
        let properties: Vec<i64> =
            network.extra.iter().flat_map(|e| &e.properties).map(|p| i64::from(p.name == "total_spin")).collect();
        for pieces in [2, 5, 8] {
            let found = in_pieces(&evaluator, &plan.graph(&s).unwrap(), &species, &properties, pieces);
            check(&format!("{name} in {pieces}"), found, (energy, Some(forces.as_flattened())));
        }
    }
}

/// Rows of what is no number, or rows that nobody fills in.
#[derive(Debug)]
enum Nowhere {
    Nan,
    Idle,
}

impl Exchange for Nowhere {
    fn forward(&mut self, _: usize, _: usize, rows: &mut [f64]) -> acerust::Result<()> {
        if let Nowhere::Nan = self {
            rows.fill(f64::NAN);
        }
        Ok(())
    }

    fn backward(&mut self, layer: usize, width: usize, rows: &mut [f64]) -> acerust::Result<()> {
        self.forward(layer, width, rows)
    }
}

#[test]
fn a_call_that_failed_leaves_nothing_behind() {
    for name in ["three_layers.json", "nonlinear.json", "two_heads.json"] {
        let old = plan(name);
        let s = crystal(&old, [2, 2, 1]);
        let (graph, atoms) = cut(&old.graph(&s).unwrap(), 0, 2);
        let numbers: Vec<u8> = atoms.iter().map(|&i| s.numbers[i]).collect();
        let (mut energy, mut forces) = (0.0, vec![[0.0; 3]; atoms.len()]);
        for mut nowhere in [Nowhere::Idle, Nowhere::Nan] {
            let mut out = Outputs::new().energy(&mut energy).forces(&mut forces[..]);
            let failed = old.evaluate(PlanInput::Exchanged(&graph, &numbers, &mut nowhere), &mut out);
            assert!(matches!(failed, Err(acerust::Error::NotFinite(_))), "{nowhere:?}: {failed:?}");
        }
        let results = |plan: &Plan| {
            let (mut energy, mut forces) = (0.0, vec![[0.0; 3]; s.n_atoms()]);
            plan.evaluate(&s, &mut Outputs::new().energy(&mut energy).forces(&mut forces[..])).unwrap();
            (energy, forces)
        };
        assert_eq!(results(&old), results(&plan(name)), "{name}");
    }
}
