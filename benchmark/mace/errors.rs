//! What each precision loses against double precision on a CUDA device.

use acerust::model::Model;
use acerust::plan::{Arithmetic, Device, Options, Outputs, Plan, Precision};
use acerust::structure::Structure;
use std::path::Path;

/// Golden models, and one that was trained on silicon.
const FILES: [&str; 10] = [
    "test/golden/mace/models/mp0_like.json",
    "test/golden/mace/models/off_like.json",
    "test/golden/mace/models/omat_like.json",
    "test/golden/mace/models/one_layer.json",
    "test/golden/mace/models/two_layers_scalar.json",
    "test/mace/three_layers.json",
    "test/mace/nonlinear.json",
    "test/mace/two_heads.json",
    "test/mace/chebyshev.json",
    "test/mace/silicon.safetensors",
];

struct Results {
    energy: f64,
    forces: Vec<[f64; 3]>,
}

/// The presets, offered or not, and what they are made of.
fn modes() -> Vec<(String, Precision)> {
    let presets = Precision::PRESETS.iter().filter(|(_, p)| ![Precision::F64, Precision::F32_DISTANCES].contains(p));
    let mut all: Vec<(String, Precision)> = presets.map(|(name, p)| ((*name).to_owned(), *p)).collect();
    all.push(("tf32, tables in f32".into(), Precision::F32.with_matrices(Arithmetic::Tf32)));
    all
}

/// Prints the table of `docs/mace.md`: errors of forces relative to the largest and of energies, in meV an atom, and how much forces change when
/// everything is turned.
pub fn print(models: Vec<(String, Model)>, only: &[String]) -> acerust::Result<()> {
    println!("| model | {} |", modes().iter().map(|(name, _)| &name[..]).collect::<Vec<_>>().join(" | "));
    println!("|{}", " --- |".repeat(modes().len() + 1));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let name = |file: &str| Path::new(file).file_stem().expect("a name").display().to_string();
    let golden = FILES.iter().map(|file| Ok((name(file), Model::load(root.join(file))?)));
    let golden = golden.collect::<acerust::Result<Vec<_>>>()?;
    let wanted = |(name, _): &(String, Model)| only.is_empty() || only.contains(name);
    let mut worst: Vec<f64> = modes().iter().map(|_| 0.0).collect();
    for (name, model) in golden.into_iter().chain(models).filter(wanted) {
        let s = structure(&model);
        let exact = evaluate(&Plan::new(&model, Device::Cuda(0), Precision::F64)?, &s)?;
        let mut row = format!("| {name} |");
        for ((_, precision), worst) in modes().into_iter().zip(&mut worst) {
            let plan = Plan::with_options(&model, Device::Cuda(0), precision, Options::new().any_precision())?;
            let (is, turned) = (evaluate(&plan, &s)?, evaluate(&plan, &turn(&s))?);
            let back: Vec<[f64; 3]> = turned.forces.iter().map(|&f| rotate(f, true)).collect();
            let (forces, rotation) = (error(&is.forces, &exact.forces), error(&back, &is.forces));
            let energy = 1e3 * (is.energy - exact.energy).abs() / s.n_atoms() as f64;
            *worst = worst.max(forces);
            row += &format!(" {forces:.1e}, {energy:.0e}, {rotation:.0e} |");
        }
        println!("{row}");
    }
    println!("| worst forces | {} |", worst.iter().map(|w| format!("{w:.1e}")).collect::<Vec<_>>().join(" | "));
    Ok(())
}

fn evaluate(plan: &Plan, s: &Structure) -> acerust::Result<Results> {
    let mut results = Results { energy: 0.0, forces: vec![[0.0; 3]; s.n_atoms()] };
    let mut list = plan.neighbours(0.0)?;
    plan.evaluate((s, &mut list), &mut Outputs::new().energy(&mut results.energy).forces(&mut results.forces[..]))?;
    Ok(results)
}

/// A rattled crystal of the first two species.
fn structure(model: &Model) -> Structure {
    let species = model.species();
    let mut s = match species.contains(&14) {
        true => Structure::diamond(14, 5.43).repeat([4; 3]).rattle(0.087, 1),
        false => Structure::bcc(0, 3.3).repeat([6; 3]).rattle(0.25, 3),
    };
    s.numbers.iter_mut().enumerate().for_each(|(i, z)| *z = species[i % species.len().min(2)]);
    s
}

/// By a rotation about no axis in particular, or back.
fn rotate(x: [f64; 3], back: bool) -> [f64; 3] {
    let (q, n) = ([0.3, -0.5, 0.7, 0.9_f64], (0.09 + 0.25 + 0.49 + 0.81_f64).sqrt());
    let [w, a, b, c] = q.map(|x| x / n);
    let r = [
        [1.0 - 2.0 * (b * b + c * c), 2.0 * (a * b - c * w), 2.0 * (a * c + b * w)],
        [2.0 * (a * b + c * w), 1.0 - 2.0 * (a * a + c * c), 2.0 * (b * c - a * w)],
        [2.0 * (a * c - b * w), 2.0 * (b * c + a * w), 1.0 - 2.0 * (a * a + b * b)],
    ];
    std::array::from_fn(|i| (0..3).map(|k| if back { r[k][i] } else { r[i][k] } * x[k]).sum())
}

fn turn(s: &Structure) -> Structure {
    let mut s = s.clone();
    s.positions.iter_mut().chain(&mut s.cell).for_each(|x| *x = rotate(*x, false));
    s
}

/// The largest difference, relative to the largest entry.
fn error(is: &[[f64; 3]], should: &[[f64; 3]]) -> f64 {
    let largest = should.as_flattened().iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    let pairs = is.as_flattened().iter().zip(should.as_flattened());
    pairs.fold(0.0_f64, |m, (a, b)| m.max((a - b).abs())) / largest
}
