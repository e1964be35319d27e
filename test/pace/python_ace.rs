//! Potentials at random in python-ace, which `make setup` fetches; skipped loudly where it is not there.

use crate::pace_golden::results;
use crate::random;
use acerust::pace::{Base, Form, InnerCutoff, Potential};
use acerust::plan::RadialMode;
use acerust::structure::Structure;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The interpreter of the environment of `make setup`.
fn python() -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).parent()?.join("pace/bin/python");
    python.exists().then_some(python)
}

fn bases(base: Base) -> &'static str {
    match base {
        Base::ChebExpCos => "ChebExpCos",
        Base::ChebPow => "ChebPow",
        Base::ChebLinear => "ChebLinear",
        Base::SBessel => "SBessel",
        Base::Zero => "TEST_Zero",
    }
}

/// The potential as a `.yace` file.
pub fn yace(p: &Potential) -> String {
    let n = p.species.len();
    let mut t = String::new();
    let names: Vec<String> = p.species.iter().map(|&z| acerust::element::name(z)).collect();
    let inner = match p.inner {
        InnerCutoff::Density => "density",
        InnerCutoff::Distance => "distance",
        InnerCutoff::Zbl => "zbl",
    };
    let mut put = |text: std::fmt::Arguments| t.write_fmt(text).expect("a string");
    put(format_args!("elements: [{}]\nE0: {:?}\ndeltaSplineBins: {:?}\nembeddings:\n", names.join(", "), p.e0, p.bins));
    for (z, e) in p.embeddings.iter().enumerate() {
        let form = match e.form {
            Form::FinnisSinclair => "FinnisSinclair",
            Form::FinnisSinclairShiftedScaled => "FinnisSinclairShiftedScaled",
        };
        let parameters = e.densities.as_flattened();
        put(format_args!("  {z}: {{ndensity: {}, FS_parameters: {parameters:?}, npoti: {form}, ", e.densities.len()));
        put(format_args!("rho_core_cutoff: {:?}, drho_core_cutoff: {:?}}}\n", e.core[0], e.core[1]));
    }
    put(format_args!("bonds:\n"));
    for (pair, b) in p.bonds.iter().enumerate() {
        let c = &b.coefficients;
        let lmax = c.first().map_or(0, |by_l| by_l.len() - 1);
        put(format_args!("  [{}, {}]: {{nradmax: {}, lmax: {lmax}, ", pair / n, pair % n, c.len()));
        put(format_args!("nradbasemax: {}, radbasename: {}, ", b.n_base, bases(b.base)));
        put(format_args!("radparameters: [{:?}], radcoefficients: {c:?}, ", b.lambda));
        put(format_args!(
            "prehc: {:?}, lambdahc: {:?}, rcut: {:?}, dcut: {:?}, ",
            b.core[0], b.core[1], b.rcut, b.dcut
        ));
        put(format_args!("rcut_in: {:?}, dcut_in: {:?}, inner_cutoff_type: {inner}}}\n", b.inner, b.inner_width));
    }
    put(format_args!("functions:\n"));
    for (z, list) in p.functions.iter().enumerate() {
        put(format_args!("  {z}:\n"));
        for f in list {
            let of = |field: fn(&acerust::pace::Factor) -> usize| f.factors.iter().map(field).collect::<Vec<_>>();
            let densities = p.embeddings[z].densities.len();
            let (ns, ls, mus) = (of(|f| f.n + 1), of(|f| f.l), of(|f| f.species));
            put(format_args!("    - {{mu0: {z}, rank: {}, ndensity: {densities}, ", f.rank()));
            put(format_args!("num_ms_combs: {}, mus: {mus:?}, ns: {ns:?}, ls: {ls:?}, ", f.ms.len() / f.rank()));
            put(format_args!("ms_combs: {:?}, ctildes: {:?}}}\n", f.ms, f.coefficients));
        }
    }
    t
}

fn structure(s: &Structure) -> Value {
    let symbols: Vec<String> = s.numbers.iter().map(|&z| acerust::element::name(z)).collect();
    let cell = s.pbc[0].then_some(s.cell);
    json!({ "symbols": symbols, "positions": s.positions, "cell": cell, "pbc": s.pbc[0] })
}

#[test]
fn what_is_written_is_what_was_meant() {
    for seed in 1..=8 {
        let p = random::potential(seed);
        assert_eq!(Potential::parse(yace(&p).as_bytes()).expect("a potential"), p);
    }
}

#[test]
fn random_potentials_agree_with_python_ace() {
    let Some(python) = python() else {
        // Not `eprintln`, which is not seen where tests pass.
        writeln!(std::io::stderr(), "SKIPPED: python-ace is not there: `make setup` fetches it")
            .expect("a standard error");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let seeds = 1..=24_u64;
    let cases: Vec<(Potential, Vec<Structure>)> = seeds
        .map(|seed| {
            let p = random::potential(seed);
            let structures = (0..3).map(|k| random::structure(&p, 100 * seed + k)).collect();
            (p, structures)
        })
        .collect();
    let job = |(k, (p, structures)): (usize, &(Potential, Vec<Structure>))| {
        let file = folder.path().join(format!("{k}.yace"));
        std::fs::write(&file, yace(p)).expect("written");
        json!({ "potential": file, "structures": structures.iter().map(structure).collect::<Vec<_>>() })
    };
    let jobs: Value = cases.iter().enumerate().map(job).collect::<Vec<_>>().into();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("test/pace/reference.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python");
    child.stdin.take().expect("a pipe").write_all(jobs.to_string().as_bytes()).expect("written");
    let done = child.wait_with_output().expect("results");
    assert!(done.status.success(), "python-ace: {}", String::from_utf8_lossy(&done.stderr));
    let answers: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    for (k, (p, structures)) in cases.iter().enumerate() {
        let plan = random::plan(p, RadialMode::PaceTable);
        for (s, structure) in structures.iter().enumerate() {
            let (energies, forces, _) = results(&plan, structure);
            let close = |what: &str, found: &[f64]| {
                let expected = crate::common::flat(&answers[k][s][what]);
                let scale = expected.iter().fold(1.0_f64, |m, x| m.max(x.abs()));
                let error = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / scale;
                assert!(error < 1e-10, "potential {k}, structure {s}, {:?}, {what}: {error:e}", p.inner);
            };
            close("energies", &energies);
            close("forces", forces.as_flattened());
        }
    }
}
