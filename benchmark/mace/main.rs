//! Times MACE models on one core: `make bench-mace`. Names of files are further models; `--write FOLDER` writes its own there instead, for other
//! programs.
//!
//! A rattled diamond of 216 atoms with 28 neighbours within 5 Å; energy, forces and virial, the neighbour list included.

mod model;

use acerust::model::Model;
use acerust::plan::{Device, Outputs, Plan, Precision};
use acerust::structure::Structure;
use model::Size;
use std::time::Instant;

/// Rounds, of which the shortest counts.
const ROUNDS: usize = 8;

fn main() -> acerust::Result<()> {
    let mut models = Vec::new();
    for (name, k, l) in [("64x0e", 64, 0), ("128x0e+128x1o", 128, 1)] {
        models.push((name.to_owned(), Model::from_mace(Size { k, l, cutoff: 5.0 }.model()?, name)?));
    }
    if let Some(folder) = std::env::args().skip_while(|a| a != "--write").nth(1) {
        return models.iter().try_for_each(|(name, model)| model.save(format!("{folder}/{name}.safetensors")));
    }
    for file in std::env::args().skip(1).filter(|a| !a.starts_with("--")) {
        models.push((file.clone(), Model::load(&file)?));
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    println!("{:<40} {:>6} {:>10} {:>12} {:>12}", "model", "", "µs/atom", "energy only", "to first / s");
    for (name, model) in models {
        for precision in [Precision::F64, Precision::F32] {
            let start = Instant::now();
            let plan = Plan::new(&model, Device::Cpu, precision)?;
            let mut s = Structure::diamond(model.species()[0], 5.43).repeat([3, 3, 3]).rattle(0.087, 1);
            let species = model.species();
            s.numbers.iter_mut().enumerate().for_each(|(i, z)| *z = species[i % species.len().min(2)]);
            let n = s.n_atoms();
            let (mut energy, mut forces, mut virial) = (0.0, vec![[0.0; 3]; n], [[0.0; 3]; 3]);
            let mut both = || {
                let mut out = Outputs::new().energy(&mut energy).forces(&mut forces[..]).virial(&mut virial[..]);
                plan.evaluate(&s, &mut out)
            };
            let time = |f: &mut (dyn FnMut() -> acerust::Result<()> + Send)| -> acerust::Result<f64> {
                pool.install(|| {
                    let start = Instant::now();
                    f()?;
                    Ok(start.elapsed().as_secs_f64())
                })
            };
            time(&mut both)?;
            let first = start.elapsed().as_secs_f64();
            let (mut full, mut alone) = (f64::INFINITY, f64::INFINITY);
            for _ in 0..ROUNDS {
                full = full.min(time(&mut both)?);
                alone = alone.min(time(&mut || plan.energy(&s).map(drop))?);
            }
            let per_atom = |t: f64| t / n as f64 * 1e6;
            println!("{name:<40} {precision:>6} {:>10.1} {:>12.1} {first:>12.2}", per_atom(full), per_atom(alone));
        }
    }
    Ok(())
}
