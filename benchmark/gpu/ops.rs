//! Equivariant operations on a CUDA device: milliseconds of passes over data that is there, by events, beside targets, and what they come to of three
//! bounds measured in the same run; double backward passes in parts of backward ones. `make bench-ops-gpu`; a word as argument chooses lines that have it.
//!
//! Bounds: *bytes*, what has to be read and written once at the rate of a copy, where a convolution reads a row of nodes for every edge; *sums*,
//! useful operations at the rate of fused multiply–adds; *launch*, the same pass over a single row. The largest is the one that is met. Lines go to
//! `benchmark/results/gpu-ops-….csv` as well.

#[path = "../flops.rs"]
mod flops;
#[path = "peaks.rs"]
#[allow(dead_code, reason = "copies from and to the host are not for operations")]
mod peaks;

use acerust::dtype::{Dtype, Storage};
use acerust::ops::cuda::{DeviceOp, Span};
use acerust::ops::{Extent, Sizes, Spec};
use cudarc::driver::{CudaSlice, DevicePtr, sys};
use half::bf16;
use std::path::Path;

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
        "{:42} {:9} {:>7} {:>7} {:>7} {:>7} {:>7} {:>6}   bytes, sums, launch: forward; both",
        "ms", "", "forward", "target", "both", "target", "twice", "ratio"
    );
    let mut lines = vec!["name,storage,arithmetic,pass,ms,target_ms,bytes_ms,sums_ms,launch_ms".to_string()];
    let word = std::env::args().nth(1).unwrap_or_default();
    for problem in PROBLEMS.iter().filter(|p| p.0.contains(&word)) {
        let mut single = [0.0; 2];
        for mode in ["f32", "f64", "bf16", "f32 tf32", "f32 bf16"] {
            let on_tensor_cores = problem.1.starts_with(r#"{"linear"#) || problem.1.starts_with(r#"{"mlp"#);
            // The weights alone are 5 GB in f64.
            if (mode == "f64" && problem.2 == 500_000 && problem.3 > 0) || (mode.contains(' ') && !on_tensor_cores) {
                continue;
            }
            let [forward, both] = run(problem, mode, &peaks, &mut lines)?;
            match mode {
                "f32" => single = [forward, both],
                "f64" => {
                    let [forward, both] = [forward / single[0], both / single[1]];
                    println!("{:42} f64 / f32 {forward:7.2} {:7} {both:7.2}", "", "");
                }
                _ => {}
            }
        }
    }
    let device = context.name()?.replace(' ', "-");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benchmark/results/gpu-ops-{device}.csv"));
    if word.is_empty() && std::fs::write(&file, lines.join("\n") + "\n").is_ok() {
        println!("{}", file.display());
    }
    Ok(())
}

/// Times of the forward pass and of both, ms.
fn run(
    &(name, operation, rows, nodes, targets): &Problem,
    mode: &str,
    peaks: &peaks::Peaks,
    lines: &mut Vec<String>,
) -> Done<[f64; 2]> {
    let (storage, arithmetic) = mode.split_once(' ').unwrap_or((mode, "full"));
    let json = format!(r#"{{"operation": {operation}, "storage": "{storage}", "arithmetic": "{arithmetic}"}}"#);
    let spec: Spec = serde_json::from_str(&json)?;
    let (op, sizes) = (DeviceOp::new(&spec, 0)?, Sizes { rows, nodes });
    let times = passes(&op, sizes)?;
    let launch = passes(&op, Sizes { rows: 1, nodes: nodes.min(1) })?;
    let ports = op.ports();
    let gathered = |p: &acerust::ops::Port| if p.extent == Extent::Nodes { rows * p.width } else { p.len(sizes) };
    let (read, inputs): (usize, usize) =
        (ports.inputs.iter().map(gathered).sum(), ports.inputs.iter().map(|p| p.len(sizes)).sum());
    let out = ports.output.len(sizes);
    let at_copy = |n: usize| (n * spec.storage.bytes()) as f64 / peaks.copy * 1e-6;
    // Backward: arguments and the cotangent once more, and a gradient of each argument.
    let bytes = [at_copy(read + out), at_copy(2 * read + inputs + 2 * out)];
    let peak = if spec.storage == Dtype::F64 { peaks.f64 } else { peaks.f32 };
    let sums = flops::flops(&spec.operation, sizes).unwrap_or([0.0; 2]).map(|n| n / peak * 1e-6);
    let [forward, both] = [times[0], times[0] + times[1]];
    let launches = [launch[0], launch[0] + launch[1]];
    let targets = if mode == "f32" { targets } else { [0.0; 2] };
    let target = |k: usize| if targets[k] > 0.0 { format!("{:7.3}", targets[k]) } else { " ".repeat(7) };
    let shares = |k: usize, ms: f64| {
        let of = |bound: f64| format!("{:3.0}", 100.0 * bound / ms);
        // Tensor cores have another peak.
        let sums = if arithmetic == "full" { of(sums[k]) } else { "  -".into() };
        format!("{} {sums} {} %", of(bytes[k]), of(launches[k]))
    };
    println!(
        "{name:42} {mode:9} {forward:7.3} {} {both:7.3} {} {:7.3} {:6.2}   {}; {}",
        target(0),
        target(1),
        times[2],
        times[2] / times[1],
        shares(0, forward),
        shares(1, both)
    );
    for (k, (pass, ms)) in [("forward", forward), ("both", both)].into_iter().enumerate() {
        let sums = if arithmetic == "full" { sums[k] } else { 0.0 };
        lines.push(format!(
            "\"{name}\",{storage},{arithmetic},{pass},{ms:.5},{},{:.5},{sums:.5},{:.5}",
            targets[k], bytes[k], launches[k]
        ));
    }
    lines.push(format!("\"{name}\",{storage},{arithmetic},twice,{:.5},0,0,0,{:.5}", times[2], launch[2]));
    Ok([forward, both])
}

/// As many numbers above 0, up to 1, some of them again and again, as bytes.
fn numbers(storage: Dtype, n: usize) -> Vec<u8> {
    let mut seed = 1_u64;
    let mut bytes = Vec::new();
    for _ in 0..n.clamp(1, 1 << 18) {
        let x = f64::from(1 + random(&mut seed, 1 << 20)) / f64::from(1 << 20);
        match storage {
            Dtype::F64 => bytes.extend(x.to_ne_bytes()),
            Dtype::F32 => bytes.extend((x as f32).to_ne_bytes()),
            _ => bytes.extend(bf16::of(x).to_ne_bytes()),
        }
    }
    let mut all = bytes.repeat((n.max(1) * storage.bytes()).div_ceil(bytes.len()));
    all.truncate(n.max(1) * storage.bytes());
    all
}

fn random(seed: &mut u64, n: usize) -> u32 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    ((*seed >> 33) % n as u64) as u32
}

/// Times of the three passes, ms.
fn passes(op: &DeviceOp, sizes: Sizes) -> Done<[f64; 3]> {
    let (stream, ports, storage) = (op.stream().clone(), op.ports(), op.spec().storage);
    let mut seed = 1_u64;
    let mut indices: Vec<Vec<u32>> = ports
        .indices
        .iter()
        .map(|p| (0..sizes.rows).map(|_| random(&mut seed, p.bound.unwrap_or(sizes.nodes))).collect())
        .collect();
    // Edges by receiver, as in the tables of others.
    if let [_, receiver] = &mut indices[..] {
        receiver.sort_unstable();
    }
    let at = op.prepare(sizes, &indices.iter().map(|i| &i[..]).collect::<Vec<_>>())?;
    let filled = |n: usize| -> Done<CudaSlice<u8>> { Ok(stream.clone_htod(&numbers(storage, n))?) };
    let all = || ports.inputs.iter().map(|p| filled(p.len(sizes))).collect::<Done<Vec<_>>>();
    let (inputs, directions, gradients) = (all()?, all()?, all()?);
    let (out, cotangent) = (filled(ports.output.len(sizes))?, filled(ports.output.len(sizes))?);
    let span =
        |slice: &CudaSlice<u8>| Span { address: slice.device_ptr(&stream).0, len: slice.len() / storage.bytes() };
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
    Ok(times)
}
