//! Several devices that share a structure, beside one.

use super::{diamond, time};
use acerust::model::Model;
use acerust::plan::{Device, Plan, Precision};

const ROUNDS: usize = 12;
/// Å: what atoms move in these rounds is less.
const SKIN: f64 = 0.5;
/// Cells of eight atoms: a cube, and a bar.
const SHAPES: [[usize; 3]; 2] = [[23, 23, 23], [46, 23, 12]];

/// Milliseconds of a step of a simulation whose list holds, the shortest and the median, on one device and on all.
pub fn print(models: &[(String, Model)], only: &[usize]) -> acerust::Result<()> {
    let n_devices = Device::n_cuda();
    println!(
        "{:<16} {:>5} {:>10} {:>8} {:>7} {:>10} {:>10} {:>7}",
        "model", "", "cells", "atoms", "devices", "ms", "median", "ratio"
    );
    for (name, model) in models {
        for precision in [Precision::F32, Precision::F64] {
            for cells in SHAPES {
                let mut s = diamond(model, cells);
                let n = s.n_atoms();
                if !only.is_empty() && !only.contains(&n) {
                    continue;
                }
                let mut one = f64::NAN;
                for n_used in [1, n_devices] {
                    let device = if n_used == 1 { Device::Cuda(0) } else { Device::Cudas { first: 0, n: n_used } };
                    let plan = Plan::new(model, device, precision)?;
                    let (mut list, mut forces) = (plan.neighbours(SKIN)?, vec![[0.0; 3]; n]);
                    let mut times = Vec::new();
                    for round in 0..ROUNDS {
                        // To and fro.
                        let step = if round % 2 == 0 { 1e-2 } else { -1e-2 };
                        s.positions.iter_mut().enumerate().for_each(|(i, x)| x[i % 3] += step);
                        times.push(time(&plan, &s, &mut list, &mut forces)?);
                    }
                    times.drain(..2);
                    times.sort_by(f64::total_cmp);
                    let (shortest, median) = (times[0], times[times.len() / 2]);
                    if n_used == 1 {
                        one = median;
                    }
                    let shape = cells.map(|n| n.to_string()).join("x");
                    println!(
                        "{name:<16} {precision:>5} {shape:>10} {n:>8} {n_used:>7} {shortest:>10.3} {median:>10.3} {:>7.2}",
                        one / median
                    );
                    if n_devices == 1 {
                        break;
                    }
                }
            }
        }
    }
    Ok(())
}
