//! Every kernel of every benchmark model compiles for `sm_90`, in both precisions, without a device.
//!
//! NVRTC is taken from `ACERUST_NVRTC`, from the loader's path, or from a private environment under `target/tmp`, which
//! is made (with pip) where `CI` or `ACERUST_FETCH_NVRTC` is set. Without it the test says that it is skipped.
//! `ACERUST_KERNELS=<folder>` keeps the sources.
#![cfg(feature = "cuda")]

use acerust::cuda::{compile, sources};
use acerust::model::Model;
use acerust::plan::Precision;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const MODELS: [&str; 4] = ["sio_o2", "si_bench", "si_fit", "hea_bench"];
/// Bytes that a thread may spill to local memory before we want to know.
const MAX_SPILL: usize = 2048;

#[test]
fn every_kernel_compiles() {
    if let (None, Some(folder)) = (std::env::var_os("ACERUST_NVRTC"), private_nvrtc()) {
        // SAFETY: the only thread of this test program that reads the environment is this one.
        unsafe { std::env::set_var("ACERUST_NVRTC", folder) };
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let keep = std::env::var_os("ACERUST_KERNELS");
    let mut seen = HashSet::new();
    for name in MODELS {
        let model = Model::load(root.join(format!("benchmark/models/{name}.json"))).expect("a benchmark model");
        for precision in [Precision::F64, Precision::F32, Precision::Mixed] {
            for (k, source) in sources(&model, precision).iter().enumerate() {
                if !seen.insert(source.text.clone()) {
                    continue;
                }
                let title = format!("{name}-{}-{}-{k}", format!("{precision:?}").to_lowercase(), source.name);
                if let Some(folder) = &keep {
                    std::fs::write(Path::new(folder).join(format!("{title}.cu")), &source.text).expect("written");
                }
                match compile::compile(source.name, &source.text, 90, &["--ptxas-options=-v"]) {
                    Ok((image, log)) => {
                        assert!(image.starts_with(b"\x7fELF"), "{title}: no machine code");
                        let report = report(&log);
                        assert!(!report.is_empty(), "{title}: no kernel");
                        for (kernel, registers, spill) in report {
                            println!("{title} {kernel}: {registers} registers, {spill} bytes spilled");
                            assert!(spill <= MAX_SPILL, "{title} {kernel} spills {spill} bytes");
                        }
                    }
                    Err(e) if e.to_string().contains("not NVRTC") => {
                        return eprintln!("SKIPPED: no kernel was compiled, since NVRTC is missing: {e}");
                    }
                    Err(e) => panic!("{title}: {e}"),
                }
            }
        }
    }
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
