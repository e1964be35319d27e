//! Times MACE models on a CUDA device: `make bench-mace-gpu`. Numbers of atoms and precisions, which others then are not, and names of files as
//! further models may follow. `--errors` prints what each precision loses instead, of all models or of those that are named; `--training` the time
//! of a step of training beside that of the processor; `--devices` that of a step of a simulation of 10⁵ atoms on one device and on all.
//!
//! A rattled diamond with 28 neighbours within 5 Å; energy, forces and virial, in milliseconds on the wall, the shortest of some rounds; with a
//! neighbour list that is built in the call, and with one that holds. Beside it the target of the call that builds, the memory that is
//! taken, and the share of the multiply–add peak by nominal operations. Then 1 024 structures of 20 atoms, 26 neighbours each, in one
//! call. `docs/mace.md` has a table.

mod devices;
mod errors;
mod model;
mod training;

use acerust::batch::{self, Item};
use acerust::mace::Network;
use acerust::model::Model;
use acerust::plan::{Device, Neighbours, Outputs, Plan, Precision};
use acerust::structure::Structure;
use cudarc::driver::result::mem_get_info;
use model::Size;
use std::time::Instant;

const ROUNDS: usize = 10;
/// Of systems of more atoms than this, as many more take their time.
const MANY_ATOMS: usize = 500_000;
const FEW_ROUNDS: usize = 3;
/// Structures of a batch.
const MANY: usize = 1024;
/// Tflop/s of multiply–adds, measured (`make bench-gpu`).
const PEAK: [(Precision, f64); 3] = [(Precision::F32, 56.9), (Precision::F64, 32.1), (Precision::F24_RADIAL, 56.9)];
/// Cells along each direction, of eight atoms; targets in f32, f64 and reduced precision, ms.
const SIZES: [(usize, [f64; 3]); 6] = [
    (2, [0.6, f64::NAN, f64::NAN]),
    (4, [0.9, f64::NAN, f64::NAN]),
    (8, [4.0, f64::NAN, f64::NAN]),
    (16, [25.0, 60.0, 15.0]),
    (32, [f64::NAN; 3]),
    (LARGEST, [f64::NAN; 3]),
];
/// Cells of the system that a device is to hold, in f32.
const LARGEST: usize = 63;
const NEIGHBOURS: f64 = 28.0;

fn main() -> acerust::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let only: Vec<usize> = arguments.iter().filter_map(|a| a.parse().ok()).collect();
    let modes: Vec<Precision> = arguments.iter().filter_map(|a| a.parse().ok()).collect();
    let mut models = Vec::new();
    for (name, k, l) in [("64x0e", 64, 0), ("128x0e+128x1o", 128, 1)] {
        models.push((name.to_owned(), Model::from_mace(Size { k, l, cutoff: 5.0 }.model()?, name)?));
    }
    if std::env::args().any(|a| a == "--errors") {
        return errors::print(models, &arguments);
    }
    let is_file = |a: &&String| a.parse::<usize>().is_err() && a.parse::<Precision>().is_err();
    for file in arguments.iter().filter(is_file) {
        models.push((file.clone(), Model::load(file)?));
    }
    if std::env::args().any(|a| a == "--training") {
        return training::print(&models, &only);
    }
    if std::env::args().any(|a| a == "--devices") {
        return devices::print(&models, &only);
    }
    println!(
        "{:<16} {:>12} {:>8} {:>10} {:>10} {:>9} {:>8} {:>8} {:>7}",
        "model", "", "atoms", "ms", "list held", "µs/atom", "target", "GiB", "share"
    );
    for (name, model) in models {
        let operations = operations(model.mace().expect("MACE").network());
        for (which, (precision, peak)) in PEAK.into_iter().enumerate() {
            if !modes.is_empty() && !modes.contains(&precision) {
                continue;
            }
            let plan = Plan::new(&model, Device::Cuda(0), precision)?;
            for (cells, targets) in SIZES {
                let n = 8 * cells.pow(3);
                if !only.is_empty() && !only.contains(&n) || cells == LARGEST && (which == 1 || name.starts_with("64"))
                {
                    continue;
                }
                let free = mem_get_info().expect("a device").0;
                let mut s = diamond(&model, [cells; 3]);
                let mut list = plan.neighbours(0.0)?;
                let (mut built, mut held) = (f64::INFINITY, f64::INFINITY);
                let mut forces = vec![[0.0; 3]; n];
                for round in 0..if n > MANY_ATOMS { FEW_ROUNDS } else { ROUNDS } {
                    // Another cell, and the list is no longer that of the structure.
                    s.cell[0][0] *= 1.0 + 1e-9 * (round % 2) as f64;
                    built = built.min(time(&plan, &s, &mut list, &mut forces)?);
                    held = held.min(time(&plan, &s, &mut list, &mut forces)?);
                }
                let taken = (free - mem_get_info().expect("a device").0) as f64 / (1_u64 << 30) as f64;
                let share = operations * n as f64 / held / (peak * 1e9);
                println!(
                    "{name:<16} {precision:>12} {n:>8} {built:>10.3} {held:>10.3} {:>9.3} {:>8} {taken:>8.2} {:>6.1}%",
                    1e3 * held / n as f64,
                    if name.starts_with("128") { targets[which] } else { f64::NAN },
                    100.0 * share
                );
            }
            if only.is_empty() || only.contains(&MANY) {
                let ms = batch(&plan)?;
                let (n, each) = (MANY * 20, 1e3 * ms / (MANY * 20) as f64);
                println!("{name:<16} {precision:>12} {n:>8} {ms:>10.3} {:>10} {each:>9.3} {MANY} structures of 20", "");
            }
        }
    }
    Ok(())
}

/// A rattled diamond of the first two elements that the model knows.
fn diamond(model: &Model, cells: [usize; 3]) -> Structure {
    let species = model.species();
    let mut s = Structure::diamond(species[0], 5.43).repeat(cells).rattle(0.087, 1);
    s.numbers.iter_mut().enumerate().for_each(|(i, z)| *z = species[i % species.len().min(2)]);
    s
}

/// Milliseconds of a call with many small structures, neighbours included.
fn batch(plan: &Plan) -> acerust::Result<f64> {
    let species = plan.model().species();
    let crystal = |seed: usize| {
        // As dense as the diamond.
        let mut s = Structure::bcc(species[0], 3.42).repeat([5, 2, 1]).rattle(0.087, seed as u64);
        s.numbers.iter_mut().enumerate().for_each(|(i, z)| *z = species[i % species.len().min(2)]);
        s
    };
    let structures: Vec<Structure> = (0..MANY).map(crystal).collect();
    let mut results = vec![(0.0, [[0.0; 3]; 20], [[0.0; 3]; 3]); MANY];
    let mut shortest = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let outputs =
            results.iter_mut().map(|(e, f, v)| Outputs::new().energy(e).forces(&mut f[..]).virial(&mut v[..]));
        let mut items: Vec<Item> = structures.iter().zip(outputs).map(|(s, out)| Item::new(s, out)).collect();
        batch::evaluate(plan, &mut items)?;
        shortest = shortest.min(1e3 * start.elapsed().as_secs_f64());
    }
    Ok(shortest)
}

/// Milliseconds of a call.
fn time(plan: &Plan, s: &Structure, list: &mut Neighbours, forces: &mut [[f64; 3]]) -> acerust::Result<f64> {
    let (mut energy, mut virial) = (0.0, [[0.0; 3]; 3]);
    let start = Instant::now();
    plan.evaluate((s, list), &mut Outputs::new().energy(&mut energy).forces(forces).virial(&mut virial[..]))?;
    Ok(1e3 * start.elapsed().as_secs_f64())
}

/// Operations an atom, forwards and backwards: three times those forwards.
fn operations(net: &Network) -> f64 {
    let layer = |l: &acerust::mace::network::Layer| {
        let k_edge = l.up.to.k as f64;
        let pairs: usize = l.paths.iter().map(|p| (2 * p.l1 + 1) * (2 * p.l3 + 1)).sum();
        let edges = NEIGHBOURS * k_edge * (10 * l.paths.len() + 2 * pairs) as f64;
        let map = |m: &acerust::mace::network::Map| -> f64 {
            m.blocks.iter().map(|b| (2 * m.from.ls[b.from] + 1) as f64 * 2.0 * b.w.len() as f64).sum()
        };
        let maps = map(&l.up) + map(&l.message[0]) + map(&l.linear) + l.skip.first().map_or(0.0, map);
        edges + maps + 2.0 * (l.product.terms.len() * l.product.from.k) as f64
    };
    3.0 * net.layers.iter().map(layer).sum::<f64>()
}
