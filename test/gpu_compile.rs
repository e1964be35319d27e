//! Every kernel of every benchmark model and of potentials of pacemaker compiles, in all precisions, without a device.
//!
//! NVRTC is taken from `ACERUST_NVRTC`, from the loader's path, or from a private environment under `target/tmp`, which
//! is made (with pip) where `CI` or `ACERUST_FETCH_NVRTC` is set. Without it the test says that it is skipped.
//! `ACERUST_KERNELS=<folder>` keeps the sources.
#![cfg(feature = "cuda")]

#[path = "../benchmark/mace/model.rs"]
mod model;

use acerust::cuda::{compile, sources};
use acerust::dtype::Dtype;
use acerust::model::spec::ZblSpec;
use acerust::model::{Model, PartSpec};
use acerust::ops::Spec;
use acerust::plan::Precision;
use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Models, and the architectures that their kernels are compiled for.
const MODELS: [(&str, u32); 8] = [
    ("benchmark/models/sio_o2.json", 90),
    ("benchmark/models/si_bench.json", 90),
    ("benchmark/models/si_fit.json", 90),
    ("benchmark/models/hea_bench.json", 90),
    ("test/golden/pace/si-rank4.yace", 90),
    ("test/golden/pace/cho-chebpow.yace", 100),
    ("test/golden/pace/cuzr-zbl.yace", 80),
    ("test/golden/pace/ch-linear.yace", 80),
];
/// Bytes that a thread may spill to local memory, by model (empty: any) and whether in double precision; other kernels spill
/// nothing. `kernels/README.md` says why.
const SPILLS: [(&str, bool, &str, usize); 12] = [
    ("", true, "sort_small", 16),
    ("", false, "sort_small", 16),
    ("si_bench", true, "site", 400),
    ("si_bench", true, "basis_ace", 200),
    ("si_bench", false, "site", 900),
    ("si_fit", true, "site", 1800),
    ("si_fit", true, "basis_ace", 700),
    ("si_fit", false, "site", 1000),
    ("hea_bench", true, "site", 64),
    ("hea_bench", false, "site", 64),
    ("si-rank4", true, "site", 32),
    ("si-rank4", false, "site", 32),
];

#[test]
fn every_kernel_compiles() {
    if !prepare() {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let keep = std::env::var_os("ACERUST_KERNELS");
    let (mut seen, mut failures) = (HashSet::new(), Vec::new());
    for (file, architecture) in MODELS {
        let model = Model::load(root.join(file)).expect("a model");
        // With a core, for one.
        let mut spec = model.spec().clone();
        if file.contains("sio_o2") {
            spec.parts.push(PartSpec::Zbl(ZblSpec { pairs: vec![[1.8, 0.9]; 3] }));
        }
        let model = Model::new(spec).expect("a model");
        let name = Path::new(file).file_stem().and_then(|name| name.to_str()).expect("a name");
        for precision in [Precision::F64, Precision::F32, Precision::F32_DISTANCES] {
            for (k, source) in sources(&model, precision).unwrap().iter().enumerate() {
                if !seen.insert(source.text.clone()) {
                    continue;
                }
                let title = format!("{name}-{}-{}-{k}", format!("{precision}").to_lowercase(), source.name);
                if let Some(folder) = &keep {
                    std::fs::write(Path::new(folder).join(format!("{title}.cu")), &source.text).expect("written");
                }
                let double = precision == Precision::F64;
                let most = |kernel: &str| most(name, double, kernel);
                failures.extend(check(&title, source.name, &source.text, architecture, most));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Compiles a kernel file; kernels that spill more than they may.
fn check(title: &str, name: &str, text: &str, architecture: u32, most: impl Fn(&str) -> usize) -> Vec<String> {
    let compiled = compile::compile(name, text, architecture, &["--ptxas-options=-v"]);
    let (image, log) = compiled.unwrap_or_else(|e| panic!("{title}: {e}"));
    assert!(image.starts_with(b"\x7fELF"), "{title}: no machine code");
    let report = report(&log);
    assert!(!report.is_empty(), "{title}: no kernel");
    let mut failures = Vec::new();
    for (kernel, registers, spill) in report {
        println!("{title} {kernel}: {registers} registers, {spill} bytes spilled");
        if spill > most(kernel) {
            failures.push(format!("{title} {kernel} spills {spill} bytes, more than {}", most(kernel)));
        }
    }
    failures
}

/// Golden MACE models, beside one of the size in use.
const MACE: [&str; 5] = ["three_layers", "nonlinear", "two_heads", "chebyshev", "tiny"];

#[test]
fn kernels_of_mace_compile() {
    if !prepare() {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = |name: &&str| Model::load(root.join(format!("test/mace/{name}.json"))).expect("a golden model");
    let mut models: Vec<(String, Model)> = MACE.iter().map(|name| ((*name).into(), file(name))).collect();
    let size = model::Size { k: 128, l: 1, cutoff: 5.0 };
    models.push(("128x0e+128x1o".into(), Model::from_mace(size.model().expect("a model"), "mace").expect("a network")));
    let (mut seen, mut failures) = (HashSet::new(), Vec::new());
    for (name, model) in &models {
        // The adjoint of a convolution trades some bytes for a third block on a multiprocessor.
        let modes = [
            (Precision::F64, 24),
            (Precision::F32, 0),
            (Precision::F24_RADIAL, 0),
            (Precision::TF32, 0),
            (Precision::F16_FEATURES, 0),
            (Precision::BF16_FEATURES, 0),
        ];
        for (precision, most) in modes {
            for source in sources(model, precision).unwrap() {
                if (source.name.starts_with("mace") || source.name == "linear") && seen.insert(source.text.clone()) {
                    if let Some(folder) = std::env::var_os("ACERUST_KERNELS") {
                        let file = format!("{name}-{precision}-{}-{}.cu", source.name, seen.len());
                        std::fs::write(Path::new(&folder).join(file), &source.text).expect("written");
                    }
                    // Products of two deep panels, as of the operations.
                    let most = |kernel: &str| if kernel.starts_with("linear") { 16.max(most) } else { most };
                    failures.extend(check(&format!("{name}-{precision}"), source.name, &source.text, 90, most));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Operations of networks with 128 channels, their types and architectures, and how many bytes a thread may spill: around calls of the sine of
/// large numbers, where the assembler wants to stay below 32 or 48 registers, and outside the loop of a product of two deep panels (`tiles.cuh`).
const OPERATIONS: [(&str, &str, &str, u32, usize); 24] = [
    ("linear", LINEAR, "f32", 80, 16),
    ("linear", LINEAR, "f32", 90, 16),
    ("linear", LINEAR, "bf16", 100, 0),
    ("linear", LINEAR, "f64", 90, 0),
    ("channelwise", CHANNELWISE, "f32", 90, 0),
    ("channelwise", CHANNELWISE, "f16", 80, 0),
    ("channelwise", CHANNELWISE, "f64", 100, 0),
    ("contraction", CONTRACTION, "f32", 90, 0),
    ("contraction", CONTRACTION, "f64", 90, 0),
    ("contraction", CONTRACTION, "bf16", 80, 0),
    ("harmonics", HARMONICS, "f32", 100, 0),
    ("harmonics", HARMONICS, "f64", 80, 0),
    ("harmonics", HARMONICS, "bf16", 90, 0),
    ("fully_connected", FULLY_CONNECTED, "f32", 80, 0),
    ("fully_connected", FULLY_CONNECTED, "f64", 90, 0),
    ("fully_connected", SHARED, "f16", 100, 32),
    ("radial", RADIAL, "f32", 90, 0),
    ("radial", RADIAL, "f64", 100, 4),
    ("mlp", MLP, "f64", 90, 0),
    ("mlp", MLP, r#"f32", "arithmetic": "tf32"#, 80, 16),
    ("linear", LINEAR, r#"f32", "arithmetic": "bf16"#, 90, 0),
    ("mlp", NORMED, "bf16", 80, 16),
    ("gate", GATE, "f32", 90, 0),
    ("gate", GATE, "f16", 100, 0),
];
const LINEAR: &str = r#"{"irreps_in": "128x0e+128x1o", "irreps_out": "128x0e+128x1o", "species": 20}"#;
const CHANNELWISE: &str = r#"{"irreps_in1": "128x0e+128x1o", "irreps_in2": "0e+1o+2e+3o", "targets": "0e+1o+2e+3o",
    "convolution": true}"#;
const CONTRACTION: &str = r#"{"irreps_in": "128x0e+128x1o+128x2e+128x3o", "irreps_out": "128x0e+128x1o",
    "correlation": 3, "species": 10}"#;
const HARMONICS: &str = r#"{"lmax": 4}"#;
const FULLY_CONNECTED: &str = r#"{"irreps_in1": "32x0e+32x1o", "irreps_in2": "0e+1o+2e", "irreps_out": "32x0e+32x1o+32x2e",
    "convolution": true}"#;
const SHARED: &str = r#"{"irreps_in1": "128x0e+128x1o", "irreps_in2": "4x0e+4x1o", "irreps_out": "128x0e+128x1o",
    "shared_weights": true}"#;
const RADIAL: &str = r#"{"r_max": 5.0, "basis": {"bessel": {"n": 8}}, "cutoff": 5,
    "transform": {"agnesi": {"radii": [0.7, 1.1], "a": 1.0805, "q": 0.9183, "p": 4.5791}}}"#;
const MLP: &str = r#"{"widths": [8, 64, 64, 1280], "activation": "silu", "constant": 1.68}"#;
const NORMED: &str = r#"{"widths": [24, 64, 64, 1280], "activation": "silu", "layer_norm": 1e-5}"#;
const GATE: &str = r#"{"scalars": "128x0e", "gated": "128x1o+128x2e", "activation": "silu", "constant": 1.68,
    "gate_activation": "sigmoid", "gate_constant": 1.85}"#;

#[test]
fn kernels_of_operations_compile() {
    if !prepare() {
        return;
    }
    let mut failures = Vec::new();
    for (name, operation, storage, architecture, most) in OPERATIONS {
        let text = format!(r#"{{"operation": {{"{name}": {operation}}}, "storage": "{storage}"}}"#);
        let spec: Spec = serde_json::from_str(&text).expect("an operation");
        for (file, text) in acerust::ops::cuda::sources(&spec).expect("kernels") {
            let title = format!("{name}-{}-sm_{architecture}", storage.replace(|c: char| !c.is_alphanumeric(), ""));
            if let Some(folder) = std::env::var_os("ACERUST_KERNELS") {
                std::fs::write(Path::new(&folder).join(format!("{title}-{file}.cu")), &text).expect("written");
            }
            failures.extend(check(&title, file, &text, architecture, |_| most));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn kernels_of_training_compile() {
    if !prepare() {
        return;
    }
    let cases = [(Dtype::F64, 90), (Dtype::F32, 80), (Dtype::F16, 100), (Dtype::Bf16, 90)];
    let one = |(dtype, architecture)| {
        let text = acerust::mace::train::source(dtype);
        check(&format!("training-{dtype}"), "tape", &text, architecture, |_| 0)
    };
    let failures: Vec<String> = cases.into_iter().flat_map(one).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Whether there is an NVRTC to compile with.
fn prepare() -> bool {
    static READY: OnceLock<bool> = OnceLock::new();
    *READY.get_or_init(|| {
        if let (None, Some(folder)) = (std::env::var_os("ACERUST_NVRTC"), private_nvrtc()) {
            // SAFETY: no other thread of this program reads the environment before this is done.
            unsafe { std::env::set_var("ACERUST_NVRTC", folder) };
        }
        match compile::compile("nothing", "", 90, &[]) {
            Err(e) if e.to_string().contains("install the CUDA toolkit's package") => {
                // Not `eprintln`, which is not seen where tests pass.
                writeln!(std::io::stderr(), "SKIPPED: no kernel was compiled: {e}").expect("a standard error");
                false
            }
            _ => true,
        }
    })
}

fn most(model: &str, double: bool, kernel: &str) -> usize {
    let known = SPILLS.iter().find(|s| (s.0.is_empty() || s.0 == model) && s.1 == double && kernel.starts_with(s.2));
    known.map_or(0, |s| s.3)
}

#[test]
fn unknown_architectures_are_named() {
    if !prepare() {
        return;
    }
    let message = compile::compile("none", "", 35, &[]).unwrap_err().to_string();
    assert!(message.starts_with("device: CUDA: this NVRTC compiles for sm_"), "{message}");
    assert!(message.ends_with("not for sm_35: install another version of it"), "{message}");
    let message = compile::compile("broken", "int f() { return }", 90, &[]).unwrap_err().to_string();
    assert!(message.contains("broken.cu for sm_90") && message.contains("error: expected an expression"), "{message}");
}

#[test]
fn nested_code_compiles_on_any_thread() {
    if !prepare() {
        return;
    }
    let (open, close) = ("if (x[threadIdx.x] > 0) {".repeat(700), "}".repeat(700));
    let text = format!("extern \"C\" __global__ void nested(float* x) {{ {open} x[0] = 1; {close} }}");
    let small = std::thread::Builder::new().stack_size(256 << 10);
    let compiled = small.spawn(move || compile::compile("nested", &text, 90, &[]).map(|_| ())).expect("a thread");
    compiled.join().expect("no panic").expect("machine code");
}

#[test]
fn a_missing_nvrtc_is_told_with_a_remedy() {
    let mut alone = Command::new(std::env::current_exe().expect("this program"));
    alone.args(["compile_without_nvrtc", "--exact", "--ignored"]).env("ACERUST_NVRTC", "/nonexistent");
    let done = alone.output().expect("a process");
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "it needs an environment of its own; `a_missing_nvrtc_is_told_with_a_remedy` runs it"]
fn compile_without_nvrtc() {
    let message = compile::compile("none", "", 90, &[]).unwrap_err().to_string();
    assert!(message.contains("is not in ACERUST_NVRTC=/nonexistent: install"), "{message}");
    assert!(message.contains("pip install nvidia-cuda-nvrtc"), "{message}");
}

/// The folder of an NVRTC installed for these tests alone.
fn private_nvrtc() -> Option<PathBuf> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nvrtc");
    let wanted = ["CI", "ACERUST_FETCH_NVRTC"].iter().any(|v| std::env::var_os(v).is_some());
    if !home.join("bin/pip").exists() && wanted {
        let run = |program: &Path, arguments: &[&str]| {
            let done = Command::new(program).args(arguments).status();
            done.is_ok_and(|s| s.success())
        };
        let made = run(Path::new("python3"), &["-m", "venv", home.to_str()?])
            && run(&home.join("bin/pip"), &["install", "-q", "nvidia-cuda-nvrtc==13.0.*"]);
        if !made {
            eprintln!("NVRTC could not be installed under {}", home.display());
        }
    }
    let versions = std::fs::read_dir(home.join("lib")).ok()?.flatten();
    versions.map(|v| v.path().join("site-packages/nvidia/cu13/lib")).find(|folder| folder.exists())
}

/// Kernel, registers and bytes of spill stores, from the log of the assembler.
fn report(log: &str) -> Vec<(&str, usize, usize)> {
    let number = |text: &str| text.split_whitespace().rev().find_map(|w| w.parse().ok()).unwrap_or(0);
    let (mut kernel, mut spill, mut out) = ("", 0, Vec::new());
    for line in log.lines() {
        if line.contains("Compiling entry function") {
            kernel = line.split('\'').nth(1).unwrap_or("");
        } else if let Some((before, _)) = line.split_once(" bytes spill stores") {
            spill = number(before);
        } else if let Some((_, used)) = line.split_once("Used ") {
            out.push((kernel, number(used.split(" registers").next().unwrap_or("")), spill));
        }
    }
    out
}
