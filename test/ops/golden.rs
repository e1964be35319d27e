//! What e3nn and MACE compute, forwards, backwards and twice backwards.

use crate::battery::{Case, close};
use crate::common::golden_json;
use acerust::ops::contraction::{Basis, Contraction, Tensor};
use acerust::ops::gate::Gate;
use acerust::ops::harmonics::{Harmonics, Normalization};
use acerust::ops::linear::{Linear, indexed_from_skip_tp};
use acerust::ops::mlp::Mlp;
use acerust::ops::product::channelwise::Channelwise;
use acerust::ops::product::fully_connected::FullyConnected;
use acerust::ops::radial::{Radial, RadialBasis, Transform};
use acerust::ops::{Irreps, Isa, Layout, Operation, Sizes, Spec, activation::Activation};

use serde_json::Value;

fn file(name: &str) -> Value {
    golden_json(&format!("mace/ops/{name}.json"))
}

fn cases(name: &str) -> Vec<Value> {
    file(name)["cases"].as_array().unwrap().clone()
}

fn numbers(x: &Value) -> Vec<f64> {
    serde_json::from_value(x["data"].clone()).unwrap()
}

fn maybe(x: &Value) -> Option<Vec<f64>> {
    x.is_object().then(|| numbers(x))
}

fn irreps(x: &Value) -> Irreps {
    x.as_str().unwrap().parse().unwrap()
}

fn indices(x: &Value) -> Vec<u32> {
    serde_json::from_value(x.clone()).unwrap()
}

fn rows(n: usize) -> Sizes {
    Sizes { rows: n, nodes: 0 }
}

/// Inputs and results by their names; `of` has the inputs, `results` the rest.
fn case(
    name: &str,
    operation: Operation,
    sizes: Sizes,
    of: &Value,
    results: &Value,
    names: &[&str],
    index: &[Value],
) -> Case {
    let all = |x: &Value| names.iter().map(|n| maybe(&x[*n])).collect::<Vec<_>>();
    let mut seconds = all(&results["second"]);
    seconds.push(maybe(&results["second"]["cotangent"]));
    let out = numbers(&results["out"]);
    Case {
        name: name.into(),
        spec: Spec::new(operation),
        sizes,
        inputs: names.iter().map(|n| numbers(&of[*n])).collect(),
        indices: index.iter().map(indices).collect(),
        cotangent: maybe(&results["cotangent"]).unwrap_or(vec![0.0; out.len()]),
        out,
        gradients: all(&results["grad"]),
        directions: all(&results["dir"]),
        seconds,
    }
}

#[test]
fn harmonics() {
    let c = &cases("harmonics")[0];
    let op = |lmax, normalization| Operation::Harmonics(Harmonics { lmax, normalization });
    case("harmonics", op(4, Normalization::Component), rows(12), c, c, &["vectors"], &[]).check();
    // The orthonormal ones, by the map at one and the same vector.
    let mut orthonormal = case("orthonormal", op(4, Normalization::Orthonormal), rows(12), c, c, &["vectors"], &[]);
    let y = orthonormal.run::<f64>([Layout::IrMul; 2], Isa::detect()).out;
    for map in c["same_vector_map"]["maps"].as_array().unwrap() {
        let (l, m) = (map["l"].as_u64().unwrap() as usize, numbers(&map["M"]));
        let n = 2 * l + 1;
        for row in 0..12 {
            for k in 0..n {
                let sum = (0..n).map(|j| m[k * n + j] * y[row * 25 + l * l + j]).sum();
                orthonormal.out[row * 25 + l * l + k] = sum;
            }
        }
    }
    close("orthonormal", &orthonormal.out, &numbers(&c["out"]), 1e-14);
}

#[test]
fn linear_maps() {
    for c in cases("linear").iter().filter(|c| c["kind"] == "linear") {
        let bias = c["b"].is_object();
        let map =
            Linear { irreps_in: irreps(&c["irreps_in"]), irreps_out: irreps(&c["irreps_out"]), bias, species: None };
        let names: &[&str] = if bias { &["x", "w", "b"] } else { &["x", "w"] };
        case(c["name"].as_str().unwrap(), Operation::Linear(map), rows(6), c, c, names, &[]).check();
    }
}

#[test]
fn indexed_linear_maps() {
    for c in cases("linear").iter().filter(|c| c["kind"] == "skip_tp") {
        let n_species = c["n_species"].as_u64().unwrap() as usize;
        let (irreps_in, irreps_out) = (irreps(&c["irreps_in"]), irreps(&c["irreps_out"]));
        let map = Linear { irreps_in, irreps_out, bias: false, species: Some(n_species) };
        let turn = |x: &Value| maybe(x).map(|x| indexed_from_skip_tp(&map, &x).unwrap());
        let mut case =
            case("skip_tp", Operation::Linear(map.clone()), rows(7), c, c, &["x", "w"], &[c["species"].clone()]);
        case.inputs[1] = turn(&c["w"]).unwrap();
        close("weights", &case.inputs[1], &numbers(&c["indexed_linear"]["weights"]), 1e-15);
        case.directions[1] = turn(&c["dir"]["w"]);
        // Derivatives with respect to weights that are `√n_species` smaller are as much larger.
        let larger = |x: &Value| turn(x).map(|x| x.iter().map(|x| x * n_species as f64).collect());
        case.gradients[1] = larger(&c["grad"]["w"]);
        case.seconds[1] = larger(&c["second"]["w"]);
        case.check();
    }
}

#[test]
fn gates() {
    for c in cases("linear").iter().filter(|c| c["kind"] == "gate") {
        let gate = Gate {
            scalars: "4x0e".parse().unwrap(),
            gated: "4x1o+4x2e".parse().unwrap(),
            activation: Activation::Silu,
            constant: c["c_scalar"].as_f64().unwrap(),
            gate_activation: Activation::Sigmoid,
            gate_constant: c["c_gate"].as_f64().unwrap(),
        };
        case("gate", Operation::Gate(gate), rows(5), c, c, &["x"], &[]).check();
    }
}

#[test]
fn channelwise_products() {
    for c in cases("uvu") {
        let [n_nodes, n_edges] = [c["n_nodes"].as_u64().unwrap() as usize, c["sender"].as_array().unwrap().len()];
        let op = |convolution| {
            Operation::Channelwise(Channelwise {
                irreps_in1: irreps(&c["irreps_in1"]),
                irreps_in2: irreps(&c["irreps_in2"]),
                targets: irreps(&c["irreps_out"]),
                shared_weights: false,
                convolution,
            })
        };
        convolution_case(&c, op, n_nodes, n_edges);
    }
}

#[test]
fn fully_connected_products() {
    for c in cases("uvw") {
        let [n_nodes, n_edges] = [c["n_nodes"].as_u64().unwrap() as usize, c["sender"].as_array().unwrap().len()];
        let op = |convolution| {
            Operation::FullyConnected(FullyConnected {
                irreps_in1: irreps(&c["irreps_in1"]),
                irreps_in2: irreps(&c["irreps_in2"]),
                irreps_out: irreps(&c["irreps_out"]),
                shared_weights: c["shared_weights"].as_bool().unwrap(),
                convolution,
            })
        };
        convolution_case(&c, op, n_nodes, n_edges);
    }
}

/// The product by edge, with what is at the sender, and the convolution.
fn convolution_case(c: &Value, op: impl Fn(bool) -> Operation, n_nodes: usize, n_edges: usize) {
    let name = c["name"].as_str().unwrap();
    let xyw = ["x", "y", "w"];
    let ends = [c["sender"].clone(), c["receiver"].clone()];
    let sizes = Sizes { rows: n_edges, nodes: n_nodes };
    case(&format!("{name} convolution"), op(true), sizes, c, &c["conv"], &xyw, &ends).check();
    let x = numbers(&c["x"]);
    let width = x.len() / n_nodes;
    let mut by_edge = case(&format!("{name} by edge"), op(false), rows(n_edges), c, &c["edge_tp"], &xyw, &[]);
    by_edge.inputs[0] = indices(&c["sender"]).iter().flat_map(|&j| x[j as usize * width..][..width].to_vec()).collect();
    by_edge.check();
}

/// A coupling tensor of the file, with the first axis also for L = 0.
fn tensor(couplings: &[Value], name: &str) -> Tensor {
    let c = couplings.iter().find(|c| c["name"] == name).unwrap();
    Tensor {
        paths: c["shape"].as_array().unwrap().last().unwrap().as_u64().unwrap() as usize,
        index: serde_json::from_value(c["index"].clone()).unwrap(),
        value: serde_json::from_value(c["value"].clone()).unwrap(),
    }
}

#[test]
fn contractions() {
    let couplings = cases("couplings");
    for c in cases("contraction") {
        let name = c["name"].as_str().unwrap();
        let correlation = c["correlation"].as_u64().unwrap() as usize;
        let n_species = c["n_species"].as_u64().unwrap() as usize;
        let (irreps_in, irreps_out) = (irreps(&c["irreps_in"]), irreps(&c["irreps_out"]));
        let channels = irreps_in.blocks()[0].mul;
        let n_out = irreps_out.blocks().len();
        let tensors = |k: usize| {
            let one = |nu: usize| tensor(&couplings, c["U"][format!("w_{k}_{nu}")].as_str().unwrap());
            (1..=correlation).map(one).collect::<Vec<_>>()
        };
        let given = Basis::Couplings((0..n_out).map(tensors).collect());
        // Species by species: output irrep after output irrep, the highest order first.
        let joined = |x: &Value| -> Option<Vec<f64>> {
            let mut out = Vec::new();
            for z in 0..n_species {
                for k in 0..n_out {
                    for nu in (1..=correlation).rev() {
                        let w = maybe(&x[format!("w_{k}_{nu}")])?;
                        let n = w.len() / n_species;
                        out.extend_from_slice(&w[z * n..(z + 1) * n]);
                    }
                }
            }
            Some(out)
        };
        let base = Contraction {
            irreps_in,
            irreps_out,
            correlation,
            species: n_species,
            basis: if c["reduced"] == true { given.clone() } else { Basis::E3nn },
            projection: None,
        };
        let n_rows = c["species"].as_array().unwrap().len();
        let make = |contraction: Contraction| {
            let op = Operation::Contraction(contraction);
            let mut case = case(name, op, rows(n_rows), &c, &c, &["x"], &[c["species"].clone()]);
            case.inputs.push(joined(&c["weights"]).unwrap());
            case.gradients.push(joined(&c["grad"]));
            case.directions.push(joined(&c["dir"]));
            case.seconds.insert(1, joined(&c["second"]));
            case
        };
        make(base.clone()).check();
        make(Contraction { basis: given, ..base.clone() }).check();

        // With the weights of cuEquivariance, `w' = w P`, the result is the same.
        let p = &c["cuequivariance"]["P"];
        let shape: Vec<usize> = serde_json::from_value(p["shape"].clone()).unwrap();
        let mut dense = vec![vec![0.0; shape[1]]; shape[0]];
        let index: Vec<usize> = serde_json::from_value(p["index"].clone()).unwrap();
        let value: Vec<f64> = serde_json::from_value(p["value"].clone()).unwrap();
        index.iter().zip(value).for_each(|(k, v)| dense[k / shape[1]][k % shape[1]] = v);
        let turn = |w: &[f64]| -> Vec<f64> {
            let mut out = vec![0.0; n_species * shape[1] * channels];
            for (z, w) in w.chunks(shape[0] * channels).enumerate() {
                for (a, b) in (0..shape[0]).flat_map(|a| (0..shape[1]).map(move |b| (a, b))) {
                    for u in 0..channels {
                        out[(z * shape[1] + b) * channels + u] += w[a * channels + u] * dense[a][b];
                    }
                }
            }
            out
        };
        let mut cue = make(Contraction { projection: Some(dense.clone()), ..base });
        cue.inputs[1] = turn(&cue.inputs[1]);
        cue.directions[1] = cue.directions[1].as_ref().map(|d| turn(d));
        (cue.gradients[1], cue.seconds[1]) = (None, None);
        cue.name += " cuEquivariance";
        cue.check();
    }
}

#[test]
fn radial_functions() {
    let data = file("radial");
    let covalent: Vec<f64> = serde_json::from_value(data["covalent_radii"].clone()).unwrap();
    for c in data["cases"].as_array().unwrap() {
        let name = c["name"].as_str().unwrap();
        let radii = || -> Vec<f64> {
            let numbers = c["atomic_numbers"].as_array().unwrap();
            numbers.iter().map(|z| covalent[z.as_u64().unwrap() as usize]).collect()
        };
        let (basis, cutoff, transform) = match name {
            "bessel" => (RadialBasis::Bessel { n: 8, weights: None, prefactor: None }, None, None),
            "gaussian" => (RadialBasis::Gaussian { n: 8 }, None, None),
            "chebyshev" => (RadialBasis::Chebyshev { n: 4 }, None, None),
            "cutoff_p5" => (RadialBasis::Constant, Some(5), None),
            "cutoff_p6" => (RadialBasis::Constant, Some(6), None),
            "agnesi" => {
                let t = Transform::Agnesi { radii: radii(), a: 1.0805, q: 0.9183, p: 4.5791 };
                (RadialBasis::Identity, None, Some(t))
            }
            "soft" => (RadialBasis::Identity, None, Some(Transform::Soft { radii: radii(), alpha: 4.0 })),
            _ => continue,
        };
        let index = if transform.is_some() { vec![c["sender"].clone(), c["receiver"].clone()] } else { vec![] };
        let op = Operation::Radial(Radial { r_max: c["r_max"].as_f64().unwrap(), basis, cutoff, transform });
        case(name, op, rows(8), c, c, &["r"], &index).check();
    }
}

#[test]
fn perceptrons() {
    let data = file("radial");
    let silu = data["activation_constants"]["silu"].as_f64().unwrap();
    for c in data["cases"].as_array().unwrap() {
        let mlp = |constant, layer_norm| {
            Operation::Mlp(Mlp { widths: vec![5, 7, 6, 4], activation: Activation::Silu, constant, layer_norm })
        };
        match c["name"].as_str().unwrap() {
            "mlp" => case("mlp", mlp(silu, None), rows(6), c, c, &["x", "w0", "w1", "w2"], &[]).check(),
            "mlp_layernorm" => {
                let epsilon = c["layernorm_eps"].as_f64();
                let mut case = case("layer norm", mlp(1.0, epsilon), rows(6), c, c, &["x"], &[]);
                for k in 0..3 {
                    let n = 3 * k;
                    let names = [format!("net.{n}.weight"), format!("net.{n}.bias")];
                    let norm = [format!("net.{}.weight", n + 1), format!("net.{}.bias", n + 1)];
                    for name in names.iter().chain(norm.iter().filter(|_| k < 2)) {
                        case.inputs.push(numbers(&c["params"][name]));
                        case.gradients.push(None);
                        case.directions.push(None);
                        case.seconds.insert(case.seconds.len() - 1, None);
                    }
                }
                case.check();
            }
            _ => {}
        }
    }
}
