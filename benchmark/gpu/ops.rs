//! Equivariant operations on a CUDA device: milliseconds of passes over data that is there, by events, beside targets; double backward passes in parts
//! of backward ones. `make bench-ops-gpu`.
//!
//! Bytes are those that have to be read and written once, related to the rate of a copy measured in the same run; operations are related
//! to the rate of fused multiply–adds.

#[path = "peaks.rs"]
#[allow(dead_code, reason = "copies from and to the host are not for operations")]
mod peaks;

use acerust::ops::cuda::{DeviceOp, Span};
use acerust::ops::{Extent, Sizes, Spec};
use cudarc::driver::{CudaSlice, DevicePtr, sys};

/// Name, operation, rows, nodes, targets in f32: forward, forward and backward, ms (0: none).
type Problem = (&'static str, &'static str, usize, usize, [f64; 2]);

const CONTRACTION: &str = r#"{"contraction": {"irreps_in": "128x0e+128x1o+128x2e+128x3o", "irreps_out": "128x0e+128x1o",
    "correlation": 3, "species": 10}}"#;
const UVU_1: &str = r#"{"channelwise": {"irreps_in1": "128x0e+128x1o", "irreps_in2": "0e+1o", "targets": "0e+1o", "convolution": true}}"#;
const UVU_3: &str = r#"{"channelwise": {"irreps_in1": "128x0e+128x1o", "irreps_in2": "0e+1o+2e+3o", "targets": "0e+1o+2e+3o",
    "convolution": true}}"#;
const LINEAR: &str = r#"{"linear": {"irreps_in": "128x0e+128x1o", "irreps_out": "128x0e+128x1o"}}"#;
const INDEXED: &str = r#"{"linear": {"irreps_in": "128x0e+128x1o", "irreps_out": "128x0e+128x1o", "species": 20}}"#;

const PROBLEMS: [Problem; 12] = [
    ("symmetric contraction, 1 000 nodes", CONTRACTION, 1000, 0, [0.15, 0.4]),
    ("symmetric contraction, 10 000 nodes", CONTRACTION, 10_000, 0, [0.6, 1.8]),
    ("uvu convolution l <= 1, 10 000 edges", UVU_1, 10_000, 1000, [0.035, 0.11]),
    ("uvu convolution l <= 3, 50 000 edges", UVU_3, 50_000, 1000, [0.15, 0.5]),
    ("uvu convolution l <= 3, 500 000 edges", UVU_3, 500_000, 10_000, [1.2, 4.0]),
    ("linear, 10 000 nodes", LINEAR, 10_000, 0, [0.04, 0.12]),
    ("indexed linear, 20 species, 10 000 nodes", INDEXED, 10_000, 0, [0.06, 0.2]),
    ("harmonics l <= 3, 500 000 edges", r#"{"harmonics": {"lmax": 3}}"#, 500_000, 0, [0.0; 2]),
    ("8 Bessel functions, 500 000 edges", RADIAL, 500_000, 0, [0.0; 2]),
    ("mlp 8, 64, 64, 1280, 50 000 edges", MLP, 50_000, 0, [0.0; 2]),
    ("gate 128x(0e+1o+2e), 10 000 nodes", GATE, 10_000, 0, [0.0; 2]),
    ("uvw convolution 32x(0e+1o), 10 000 edges", UVW, 10_000, 1000, [0.0; 2]),
];
const RADIAL: &str = r#"{"radial": {"r_max": 5.0, "basis": {"bessel": {"n": 8}}, "cutoff": 5}}"#;
const MLP: &str = r#"{"mlp": {"widths": [8, 64, 64, 1280], "activation": "silu", "constant": 1.68}}"#;
const GATE: &str = r#"{"gate": {"scalars": "128x0e", "gated": "128x1o+128x2e", "activation": "silu", "constant": 1.68,
    "gate_activation": "sigmoid", "gate_constant": 1.85}}"#;
const UVW: &str = r#"{"fully_connected": {"irreps_in1": "32x0e+32x1o", "irreps_in2": "0e+1o", "irreps_out": "32x0e+32x1o", "convolution": true}}"#;

type Done<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Done<()> {
    let context = cudarc::driver::CudaContext::new(0)?;
    let peaks = peaks::Peaks::measure(&context);
    println!(
        "{}: {:.1} Tflop/s f64, {:.1} f32 in fused multiply-adds, {:.2} TB/s copied",
        context.name()?,
        peaks.f64 * 1e-3,
        peaks.f32 * 1e-3,
        peaks.copy * 1e-3
    );
    println!(
        "{:42} {:5} {:>8} {:>8} {:>8} {:>8} {:>8} {:>6} {:>6}",
        "ms", "", "forward", "target", "both", "target", "twice", "ratio", "copy"
    );
    for problem in PROBLEMS {
        let mut single = None;
        for storage in ["f32", "f64", "bf16"] {
            // The weights alone are 5 GB in f64.
            if storage == "f64" && problem.2 == 500_000 && problem.3 > 0 {
                continue;
            }
            let times = run(problem, storage, peaks.copy)?;
            match (storage, single) {
                ("f32", _) => single = Some(times),
                ("f64", Some(s)) => {
                    let [forward, both] = [times[0] / s[0], (times[0] + times[1]) / (s[0] + s[1])];
                    println!("{:42} f64 / f32 {forward:4.2} {:8} {both:8.2}", "", "");
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Times of the passes, ms. `copy`: GB/s.
fn run((name, operation, rows, nodes, targets): Problem, storage: &str, copy: f64) -> Done<[f64; 3]> {
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
    let all = || ports.inputs.iter().map(|p| filled(p.len(sizes))).collect::<Done<Vec<_>>>();
    let (inputs, directions, gradients) = (all()?, all()?, all()?);
    let (out, cotangent) = (filled(ports.output.len(sizes))?, filled(ports.output.len(sizes))?);
    let span = |slice: &CudaSlice<u8>| Span { address: slice.device_ptr(&stream).0, len: slice.len() / bytes };
    let inputs_at: Vec<Span> = inputs.iter().map(span).collect();
    let [directions, mut wanted] =
        [&directions, &gradients].map(|all| all.iter().map(|x| Some(span(x))).collect::<Vec<_>>());
    let gradients_at = wanted.clone();
    wanted.push(Some(span(&out)));
    // SAFETY: all were allocated above, as large as the ports say, and outlive the stream's work.
    let forward = || unsafe { op.forward(&at, &inputs_at, span(&out), 0) };
    // SAFETY: as above.
    let backward = || unsafe { op.backward(&at, &inputs_at, span(&cotangent), &gradients_at, 0) };
    // SAFETY: as above.
    let twice = || unsafe { op.double_backward(&at, &inputs_at, span(&cotangent), &directions, &wanted, 0) };
    // A copy keeps the device busy while passes are queued: what is timed is theirs alone.
    let (from, mut to) = (stream.alloc_zeros::<u8>(1 << 29)?, stream.alloc_zeros::<u8>(1 << 29)?);
    let mut time = |f: &dyn Fn() -> acerust::Result<()>| -> Done<f64> {
        (0..3).try_for_each(|_| f())?;
        let mut times = Vec::new();
        for _ in 0..20 {
            stream.memcpy_dtod(&from, &mut to)?;
            let start = stream.record_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT))?;
            f()?;
            let end = stream.record_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT))?;
            times.push(f64::from(start.elapsed_ms(&end)?));
        }
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    };
    let times = [time(&forward)?, time(&backward)?, time(&twice)?];
    // SAFETY: as above.
    unsafe { op.wait(0) }?;
    // What the forward pass has to move, at the rate of a copy.
    let gathered = |p: &acerust::ops::Port| if p.extent == Extent::Nodes { sizes.rows * p.width } else { p.len(sizes) };
    let moved: usize = ports.inputs.iter().map(gathered).sum::<usize>() * bytes + ports.output.len(sizes) * bytes;
    let target = |t: f64| if storage == "f32" && t > 0.0 { format!("{t:8.3}") } else { " ".repeat(8) };
    println!(
        "{name:42} {storage:5} {:8.3} {} {:8.3} {} {:8.3} {:6.2} {:6.2}",
        times[0],
        target(targets[0]),
        times[0] + times[1],
        target(targets[1]),
        times[2],
        times[2] / times[1],
        moved as f64 / copy * 1e-6 / times[0]
    );
    Ok(times)
}
