//! Golden models on every instruction set, in both precisions: energies, forces, virials, edge gradients, features of every layer.

use super::models::{floats, forces_are_derivatives, golden, read, triples};
use acerust::graph::{Edges, Graph};
use acerust::mace::network::Network;
use acerust::mace::spec::MaceSpec;
use acerust::mace::{Evaluator, Gradients, Input, Output};
use acerust::plan::Isa;
use serde_json::Value;

/// The graph of a golden structure, and for each of its edges that of the file.
pub fn graph(s: &Value) -> (Graph, Vec<usize>) {
    let index = |name: &str| floats(&s[name]).iter().map(|&x| x as usize).collect::<Vec<_>>();
    let (senders, receivers) = (index("sender"), index("receiver"));
    let (x, cell, shift) = (triples(&s["positions"]), triples(&s["cell"]), triples(&s["shift"]));
    let mut order: Vec<usize> = (0..senders.len()).collect();
    order.sort_by_key(|&e| receivers[e]);
    let mut first = vec![0_u32; x.len() + 1];
    receivers.iter().for_each(|&i| first[i + 1] += 1);
    (0..x.len()).for_each(|i| first[i + 1] += first[i]);
    let neighbour: Vec<u32> = order.iter().map(|&e| senders[e] as u32).collect();
    let r = |&e: &usize| -> [f64; 3] {
        let t = |d: usize| (0..3).map(|k| shift[e][k] * cell[k][d]).sum::<f64>();
        std::array::from_fn(|d| -(x[receivers[e]][d] - x[senders[e]][d] + t(d)))
    };
    let r: Vec<[f64; 3]> = order.iter().map(r).collect();
    let n = x.len();
    let edges =
        Edges { cutoff: 3.0, n_owned: n, n_centres: n, n_atoms: n, first: &first, neighbour: &neighbour, shift: &[] };
    (Graph::from_edges(&edges, &r).unwrap(), order)
}

pub fn species(network: &Network, s: &Value) -> Vec<u32> {
    let index = |&z: &f64| network.species.iter().position(|&s| f64::from(s) == z).unwrap() as u32;
    floats(&s["numbers"]).iter().map(index).collect()
}

pub fn properties(network: &Network, s: &Value) -> Vec<i64> {
    network.extra.iter().flat_map(|e| &e.properties).map(|p| s[&p.name].as_i64().unwrap()).collect()
}

fn close(what: &str, is: &[f64], should: &[f64], tolerance: f64) {
    assert_eq!(is.len(), should.len(), "{what}");
    let largest = should.iter().fold(1e-3, |m: f64, x| m.max(x.abs()));
    let error = is.iter().zip(should).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()));
    assert!(error <= tolerance * largest, "{what}: {error:e} of {largest:e}");
}

fn check(evaluator: &Evaluator, network: &Network, name: &str, (file, s): (&Value, &Value), tolerance: f64) {
    let (graph, order) = graph(s);
    let n = graph.n_atoms();
    let head = s["head"].as_u64().unwrap() as usize;
    let (mut sites, mut edges) = (vec![0.0; n], vec![[0.0; 3]; order.len()]);
    let mut features = vec![0.0; n * evaluator.n_features(false)];
    let species_of = species(network, s);
    let properties = properties(network, s);
    let input =
        Input { graph: &graph, species_of: &species_of, n_owned: n, head, properties: &properties, exchange: None };
    let output = Output {
        site_energies: &mut sites,
        interaction: None,
        gradients: Some(Gradients { edges: &mut edges }),
        features: Some((&mut features, false)),
    };
    evaluator.evaluate(input, output).unwrap();
    close(&format!("{name} energies"), &sites, &floats(&s["node_energy"]), tolerance);
    let total = sites.iter().sum::<f64>();
    close(&format!("{name} energy"), &[total], &[s["energy"].as_f64().unwrap()], tolerance);
    let (mut forces, mut virial) = (vec![[0.0; 3]; n], [0.0; 9]);
    for i in 0..n {
        for e in graph.edges(i) {
            for d in 0..3 {
                forces[i][d] += edges[e][d];
                forces[graph.neighbours()[e] as usize][d] -= edges[e][d];
                (0..3).for_each(|b| virial[3 * d + b] -= edges[e][d] * graph.vectors()[e][b]);
            }
        }
    }
    let has_forces = forces_are_derivatives(file);
    if has_forces {
        close(&format!("{name} forces"), forces.as_flattened(), &floats(&s["forces"]), tolerance);
        close(&format!("{name} virial"), &virial, &floats(&s["virials"]), tolerance);
    }
    let seen = &s["intermediates"];
    if seen.is_null() {
        return;
    }
    if has_forces {
        let by_edge = triples(&seen["dE_dvector"]["data"]);
        let should: Vec<f64> = order.iter().flat_map(|&e| by_edge[e].map(|x| -x)).collect();
        close(&format!("{name} edge gradients"), edges.as_flattened(), &should, tolerance);
    }
    let mut at = 0;
    for t in 0..network.layers.len() {
        let should = &seen[format!("node_feats.{t}")];
        let width = floats(&should["shape"])[1] as usize;
        let is: Vec<f64> =
            features.chunks(evaluator.n_features(false)).flat_map(|row| row[at..at + width].to_vec()).collect();
        close(&format!("{name} features {t}"), &is, &floats(&should["data"]), tolerance);
        at += width;
    }
}

#[test]
fn golden_models_are_met_on_every_instruction_set() {
    for path in golden() {
        let bytes = read(&path);
        let network = Network::new(&MaceSpec::from_json(&bytes).unwrap()).unwrap();
        let file: Value = serde_json::from_slice(&bytes).unwrap();
        for isa in Isa::available() {
            for (single, tolerance) in [(false, 1e-10), (true, 1e-5)] {
                let evaluator = Evaluator::new(&network, single, isa).unwrap();
                for (k, s) in file["structures"].as_array().unwrap().iter().enumerate() {
                    let name = format!("{} {isa:?} single {single} structure {k}", path.display());
                    check(&evaluator, &network, &name, (&file, s), tolerance);
                }
            }
        }
    }
}
