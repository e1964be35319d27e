//! Equivariant operations on a CUDA device: milliseconds of passes over data that is there, by events, beside targets. `make bench-ops-gpu`.
//!
//! Bytes are those that have to be read and written once, related to the rate of a copy measured in the same run.

use acerust::ops::cuda::DeviceOp;
use acerust::ops::{Extent, Sizes, Spec};
use cudarc::driver::{CudaSlice, DevicePtr, sys};

/// Name, operation, rows, nodes, targets in f32: forward, forward and backward, ms.
type Problem = (&'static str, &'static str, usize, usize, [f64; 2]);

const CONTRACTION: &str = r#"{"contraction": {"irreps_in": "128x0e+128x1o+128x2e+128x3o", "irreps_out": "128x0e+128x1o",
    "correlation": 3, "species": 10}}"#;
const UVU_1: &str = r#"{"channelwise": {"irreps_in1": "128x0e+128x1o", "irreps_in2": "0e+1o", "targets": "0e+1o", "convolution": true}}"#;
const UVU_3: &str = r#"{"channelwise": {"irreps_in1": "128x0e+128x1o", "irreps_in2": "0e+1o+2e+3o", "targets": "0e+1o+2e+3o",
    "convolution": true}}"#;
const LINEAR: &str = r#"{"linear": {"irreps_in": "128x0e+128x1o", "irreps_out": "128x0e+128x1o"}}"#;
const INDEXED: &str = r#"{"linear": {"irreps_in": "128x0e+128x1o", "irreps_out": "128x0e+128x1o", "species": 20}}"#;

const PROBLEMS: [Problem; 7] = [
    ("symmetric contraction, 1 000 nodes", CONTRACTION, 1000, 0, [0.15, 0.4]),
    ("symmetric contraction, 10 000 nodes", CONTRACTION, 10_000, 0, [0.6, 1.8]),
    ("uvu convolution l <= 1, 10 000 edges", UVU_1, 10_000, 1000, [0.035, 0.11]),
    ("uvu convolution l <= 3, 50 000 edges", UVU_3, 50_000, 1000, [0.15, 0.5]),
    ("uvu convolution l <= 3, 500 000 edges", UVU_3, 500_000, 10_000, [1.2, 4.0]),
    ("linear, 10 000 nodes", LINEAR, 10_000, 0, [0.04, 0.12]),
    ("indexed linear, 20 species, 10 000 nodes", INDEXED, 10_000, 0, [0.06, 0.2]),
];

type Done<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Done<()> {
    println!("{:42} {:5} {:>8} {:>8} {:>8} {:>8} {:>7}", "ms", "", "forward", "target", "both", "target", "copy");
    for storage in ["f32", "f64", "bf16"] {
        for problem in PROBLEMS {
            // The weights alone are 5 GB in f64.
            if storage == "f64" && problem.2 == 500_000 {
                continue;
            }
            run(problem, storage)?;
        }
    }
    Ok(())
}

fn run((name, operation, rows, nodes, targets): Problem, storage: &str) -> Done<()> {
    let spec: Spec = serde_json::from_str(&format!(r#"{{"operation": {operation}, "storage": "{storage}"}}"#))?;
    let (op, sizes) = (DeviceOp::new(&spec, 0)?, Sizes { rows, nodes });
    let stream = op.stream().clone();
    let mut seed = 1_u64;
    let mut random = |n: usize| -> u32 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((seed >> 33) % n as u64) as u32
    };
    let ports = op.ports().clone();
    let mut indices: Vec<Vec<u32>> =
        ports.indices.iter().map(|p| (0..rows).map(|_| random(p.bound.unwrap_or(nodes))).collect()).collect();
    // Edges by receiver, as in the tables of others.
    if let [_, receiver] = &mut indices[..] {
        receiver.sort_unstable();
    }
    let at = op.prepare(sizes, &indices.iter().map(|i| &i[..]).collect::<Vec<_>>())?;
    let bytes = spec.storage.bytes();
    let filled = |n: usize| -> Done<CudaSlice<u8>> {
        // A small number in every type: what is timed does not depend on it.
        let pattern: Vec<u8> = match storage {
            "f64" => 0.01_f64.to_ne_bytes().to_vec(),
            "f32" => 0.01_f32.to_ne_bytes().to_vec(),
            _ => vec![0x24, 0x3c],
        };
        Ok(stream.clone_htod(&pattern.repeat(n.max(1)))?)
    };
    let inputs = ports.inputs.iter().map(|p| filled(p.len(sizes))).collect::<Done<Vec<_>>>()?;
    let gradients = ports.inputs.iter().map(|p| filled(p.len(sizes))).collect::<Done<Vec<_>>>()?;
    let (out, cotangent) = (filled(ports.output.len(sizes))?, filled(ports.output.len(sizes))?);
    let place = |slice: &CudaSlice<u8>| slice.device_ptr(&stream).0;
    let [inputs_at, gradients_at] = [&inputs, &gradients].map(|all| all.iter().map(place).collect::<Vec<_>>());
    // SAFETY: all were allocated above, as large as the ports say, and outlive the stream's work.
    let forward = || unsafe { op.forward(&at, &inputs_at, place(&out), 0) };
    // SAFETY: as above.
    let backward = || unsafe { op.backward(&at, &inputs_at, place(&cotangent), &gradients_at, 0) };
    let time = |f: &dyn Fn() -> acerust::Result<()>| -> Done<f64> {
        (0..3).try_for_each(|_| f())?;
        let mut times = Vec::new();
        for _ in 0..20 {
            let start = stream.record_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT))?;
            f()?;
            let end = stream.record_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT))?;
            times.push(f64::from(start.elapsed_ms(&end)?));
        }
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    };
    let (forth, back) = (time(&forward)?, time(&backward)?);
    // What the forward pass has to move, at the rate of a copy.
    let gathered = |p: &acerust::ops::Port| if p.extent == Extent::Nodes { sizes.rows * p.width } else { p.len(sizes) };
    let moved: usize = ports.inputs.iter().map(gathered).sum::<usize>() * bytes + ports.output.len(sizes) * bytes;
    let half = moved.div_ceil(2);
    let (from, mut to) = (stream.alloc_zeros::<u8>(half)?, stream.alloc_zeros::<u8>(half)?);
    let mut copies = Vec::new();
    for _ in 0..10 {
        let start = stream.record_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT))?;
        stream.memcpy_dtod(&from, &mut to)?;
        let end = stream.record_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT))?;
        copies.push(f64::from(start.elapsed_ms(&end)?));
    }
    copies.sort_by(f64::total_cmp);
    let targets = if storage == "f32" { targets.map(|t| format!("{t:8.3}")) } else { [" ".repeat(8), " ".repeat(8)] };
    let [forward_target, both_target] = targets;
    println!(
        "{name:42} {storage:5} {forth:8.3} {forward_target} {:8.3} {both_target} {:7.2}",
        forth + back,
        copies[copies.len() / 2] / forth
    );
    Ok(())
}
