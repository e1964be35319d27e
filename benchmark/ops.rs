//! Equivariant operations on one core: time, beside what arithmetic and memory would take at the rates of the same run, and how much
//! faster than the definition in loops.

#[path = "flops.rs"]
mod flops;
#[allow(dead_code)]
#[path = "../test/ops/naive.rs"]
mod naive;

use acerust::bench::fma_peak;
use acerust::dtype::Storage;
use acerust::ops::contraction::{Basis, Contraction};
use acerust::ops::linear::Linear;
use acerust::ops::product::channelwise::Channelwise;
use acerust::ops::{Args, Irrep, Irreps, Isa, Op, Operation, Pass, Sizes, Spec, Workspace};
use acerust::plan::Precision;
use cpu_time::ThreadTime;
use std::hint::black_box;

/// A row of the table: targets in ms, forward and forward with backward.
struct Problem {
    name: &'static str,
    operation: Operation,
    sizes: Sizes,
    targets: [f64; 2],
    /// Rows (and nodes) that the definition computes, in time that is scaled up.
    sample: Sizes,
}

fn irreps(text: &str) -> Irreps {
    text.parse().expect("irreps")
}

fn problems() -> Vec<Problem> {
    let rows = |rows| Sizes { rows, nodes: 0 };
    let contraction = Contraction {
        irreps_in: Irreps::uniform(128, (0..4).map(Irrep::natural)).expect("irreps"),
        irreps_out: irreps("128x0e+128x1o"),
        correlation: 3,
        species: 10,
        basis: Basis::E3nn,
        projection: None,
    };
    let uvu = |l: usize| Channelwise {
        irreps_in1: irreps("128x0e+128x1o"),
        irreps_in2: Irreps::harmonics(l).expect("irreps"),
        targets: Irreps::harmonics(l).expect("irreps"),
        shared_weights: false,
        convolution: true,
    };
    let linear = |species| {
        let irreps = irreps("128x0e+128x1o");
        Operation::Linear(Linear { irreps_in: irreps.clone(), irreps_out: irreps, bias: false, species })
    };
    vec![
        Problem {
            name: "contraction, l ≤ 3 → 0e+1o, ν 3, 1 000 nodes",
            operation: Operation::Contraction(contraction),
            sizes: rows(1000),
            targets: [20.0, 60.0],
            sample: rows(2),
        },
        Problem {
            name: "uvu convolution, l ≤ 1, 1 000 nodes, 10 000 edges",
            operation: Operation::Channelwise(uvu(1)),
            sizes: Sizes { rows: 10_000, nodes: 1000 },
            targets: [1.5, 5.0],
            sample: Sizes { rows: 200, nodes: 20 },
        },
        Problem {
            name: "uvu convolution, l ≤ 3, 1 000 nodes, 50 000 edges",
            operation: Operation::Channelwise(uvu(3)),
            sizes: Sizes { rows: 50_000, nodes: 1000 },
            targets: [f64::NAN; 2],
            sample: Sizes { rows: 100, nodes: 5 },
        },
        Problem {
            name: "linear 128x0e+128x1o, 10 000 nodes",
            operation: linear(None),
            sizes: rows(10_000),
            targets: [4.0, 12.0],
            sample: rows(20),
        },
        Problem {
            name: "indexed linear, 20 species, 10 000 nodes",
            operation: linear(Some(20)),
            sizes: rows(10_000),
            targets: [6.0, 20.0],
            sample: rows(20),
        },
    ]
}

/// Numbers between −1 and 1, the same in every run.
fn numbers<S: Storage>(n: usize, seed: u64) -> Vec<S> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        S::of((state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0)
    };
    (0..n).map(|_| next()).collect()
}

/// The shortest of some runs, in ms of the processor.
fn time(mut f: impl FnMut()) -> f64 {
    // Memory that is new is mapped first.
    f();
    let (start, mut best) = (ThreadTime::now(), f64::INFINITY);
    while start.elapsed().as_secs_f64() < 0.5 {
        let round = ThreadTime::now();
        f();
        best = best.min(round.elapsed().as_secs_f64());
    }
    best * 1e3
}

/// Times of forward, backward, double backward with all arguments.
fn measure<S: Storage>(problem: &Problem) -> [f64; 3] {
    let spec = Spec { storage: S::DTYPE, ..Spec::new(problem.operation.clone()) };
    let op = Op::<S>::new(&spec).expect("an operation");
    let (ports, sizes) = (op.ports().clone(), problem.sizes);
    let all =
        |seed: u64| ports.inputs.iter().zip(seed..).map(|(p, k)| numbers(p.len(sizes), k)).collect::<Vec<Vec<S>>>();
    let (inputs, directions) = (all(1), all(10));
    let inputs: Vec<&[S]> = inputs.iter().map(|x| &x[..]).collect();
    let along: Vec<Option<&[S]>> = directions.iter().map(|d| Some(&d[..])).collect();
    let index = |k: usize, bound: usize| -> Vec<u32> {
        let x: Vec<f64> = numbers(sizes.rows, 30 + k as u64);
        // Edges by receiver, as graphs have them.
        let sorted = |e: usize| (e * bound / sizes.rows.max(1)) as u32;
        let any = |e: usize| ((0.5 * x[e] + 0.5) * bound as f64) as u32;
        (0..sizes.rows).map(|e| if ports.indices[k].name == "receiver" { sorted(e) } else { any(e) }).collect()
    };
    let bounds = ports.indices.iter().enumerate();
    let indices: Vec<Vec<u32>> = bounds.map(|(k, p)| index(k, p.bound.unwrap_or(sizes.nodes))).collect();
    let indices: Vec<&[u32]> = indices.iter().map(|x| &x[..]).collect();
    let args = Args { sizes, inputs: &inputs, indices: &indices };
    let n_out = ports.output.len(sizes);
    let (mut out, cotangent) = (vec![S::default(); n_out], numbers::<S>(n_out, 20));
    let mut gradients: Vec<Vec<S>> = ports.inputs.iter().map(|p| vec![S::default(); p.len(sizes)]).collect();
    let mut workspace = Workspace::with_bytes(op.scratch(sizes, Pass::DoubleBackward)).expect("memory");
    let forward = time(|| op.forward(&args, &mut out, &mut workspace).expect("a result"));
    let backward = time(|| {
        let mut wanted: Vec<Option<&mut [S]>> = gradients.iter_mut().map(|g| Some(&mut g[..])).collect();
        op.backward(&args, &cotangent, &mut wanted, &mut workspace).expect("gradients");
    });
    let double = time(|| {
        let wanted = gradients.iter_mut().map(|g| Some(&mut g[..])).chain([Some(&mut out[..])]);
        let mut wanted: Vec<Option<&mut [S]>> = wanted.collect();
        op.double_backward(&args, &cotangent, &along, &mut wanted, &mut workspace).expect("second gradients");
    });
    [forward, backward, double]
}

/// The time of the definition for all rows, from that for some.
fn definition(problem: &Problem) -> f64 {
    let spec = Spec::new(problem.operation.clone());
    let (ports, sizes) = (spec.ports().expect("ports"), problem.sample);
    let inputs: Vec<Vec<f64>> = ports.inputs.iter().zip(1..).map(|(p, k)| numbers(p.len(sizes), k)).collect();
    let index =
        |p: &acerust::ops::IndexPort| (0..sizes.rows).map(|e| (e % p.bound.unwrap_or(sizes.nodes)) as u32).collect();
    let indices: Vec<Vec<u32>> = ports.indices.iter().map(index).collect();
    let run = |rows: usize| {
        let start = ThreadTime::now();
        black_box(naive::evaluate(&spec, Sizes { rows, ..sizes }, &inputs, &indices));
        start.elapsed().as_secs_f64()
    };
    // Without what is made once.
    (run(sizes.rows) - run(0)) * 1e3 * problem.sizes.rows as f64 / sizes.rows as f64
}

/// Bytes of arguments and results, once each, forward and forward with backward.
fn bytes<S: Storage>(problem: &Problem) -> [f64; 2] {
    let ports = Spec::new(problem.operation.clone()).ports().expect("ports");
    let inputs: usize = ports.inputs.iter().map(|p| p.len(problem.sizes)).sum();
    let out = ports.output.len(problem.sizes);
    [inputs + out, 3 * inputs + 2 * out].map(|n| (n * S::DTYPE.bytes()) as f64)
}

/// Bytes that a copy reads and writes in a second, in 10⁹.
fn copy_rate() -> f64 {
    let from = vec![1_u8; 128 << 20];
    let mut to = vec![0_u8; from.len()];
    2.0 * from.len() as f64 / time(|| black_box(&mut to).copy_from_slice(black_box(&from))) * 1e-6
}

fn main() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    pool.install(|| {
        let isa = Isa::detect();
        let peak = [fma_peak(Precision::F32, isa), fma_peak(Precision::F64, isa)];
        let copy = copy_rate();
        println!(
            "one core, {isa:?}: {:.0} GF/s in f32, {:.0} GF/s in f64; copies move {copy:.0} GB/s",
            peak[0], peak[1]
        );
        println!("ms in f32, beside the target and what arithmetic and memory alone would take");
        println!("| operation | forward | and backward | double/backward | f64/f32, both | definition/forward |");
        println!("| --- | --- | --- | --- | --- | --- |");
        for problem in &problems() {
            let [forward, backward, double] = measure::<f32>(problem);
            let [forward64, backward64, _] = measure::<f64>(problem);
            let bytes = bytes::<f32>(problem);
            let flops = flops::flops(&problem.operation, problem.sizes).expect("of all that are here");
            let cell = |k: usize, ms: f64| {
                let target = problem.targets[k];
                let target = if target.is_nan() { String::new() } else { format!(" ({target})") };
                format!("{ms:.2}{target}: {:.2}, {:.2}", flops[k] / peak[0] * 1e-6, bytes[k] / copy * 1e-6)
            };
            println!(
                "| {} | {} | {} | {:.1} | {:.1}, {:.1} | {:.0} |",
                problem.name,
                cell(0, forward),
                cell(1, forward + backward),
                double / backward,
                forward64 / forward,
                (forward64 + backward64) / (forward + backward),
                definition(problem) / forward,
            );
        }
    });
}
