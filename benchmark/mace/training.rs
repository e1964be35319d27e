//! `--training`: milliseconds of a step of training on a CUDA device and on the processor: energy, forces and virial of one structure, the gradient of a
//! loss on all of them by every parameter, and new parameters.

use acerust::dtype::Storage;
use acerust::model::Model;
use acerust::plan::{Conditions, Device};
use acerust::structure::Structure;
use acerust::train::{Cotangent, Training};
use std::time::Instant;

/// Cells of eight atoms along each direction.
const SIZES: [[usize; 3]; 2] = [[2, 2, 2], [8, 4, 4]];
/// Steps on a device, the first of which is not timed, and on the processor.
const STEPS: [usize; 2] = [6, 2];

pub fn print(models: &[(String, Model)], sizes: &[usize]) -> acerust::Result<()> {
    println!(
        "{:<16} {:>5} {:>8} {:>10} {:>9} {:>12} {:>7}",
        "training step", "", "atoms", "ms", "µs/atom", "processor", "ratio"
    );
    for (name, model) in models {
        both::<f32>(name, model, sizes)?;
        both::<f64>(name, model, sizes)?;
    }
    Ok(())
}

fn both<S: Storage>(name: &str, model: &Model, sizes: &[usize]) -> acerust::Result<()> {
    for cells in SIZES {
        let n = 8 * cells.iter().product::<usize>();
        if !sizes.is_empty() && !sizes.contains(&n) {
            continue;
        }
        let s = super::diamond(model, cells);
        let [device, processor] =
            [step::<S>(model, Device::Cuda(0), &s, STEPS[0])?, step::<S>(model, Device::Cpu, &s, STEPS[1])?];
        let (each, ratio) = (1e3 * device / n as f64, processor / device);
        let dtype = S::DTYPE.to_string();
        println!("{name:<16} {dtype:>5} {n:>8} {device:>10.2} {each:>9.2} {processor:>12.1} {ratio:>7.1}");
    }
    Ok(())
}

/// The shortest step after the first one.
fn step<S: Storage>(model: &Model, device: Device, s: &Structure, steps: usize) -> acerust::Result<f64> {
    let mut training = Training::<S>::on(model, device)?;
    let (mut gradient, mut shortest) = (vec![0.0; training.values().len()], f64::INFINITY);
    for step in 0..steps {
        let start = Instant::now();
        let run = training.evaluate(s, &Conditions::new())?;
        gradient.fill(0.0);
        // Of what an energy and forces of zero are off by, and a virial.
        let cotangent = Cotangent {
            energy: run.energy,
            forces: Some(&run.forces),
            virial: Some(run.virial),
            ..Cotangent::default()
        };
        training.gradient(&run, &cotangent, &mut gradient)?;
        let largest = gradient.iter().fold(1.0, |m: f64, g| m.max(g.abs()));
        let values: Vec<f64> = training.values().iter().zip(&gradient).map(|(x, g)| x - 1e-9 * g / largest).collect();
        training.set_values(&values)?;
        if step > 0 {
            shortest = shortest.min(1e3 * start.elapsed().as_secs_f64());
        }
    }
    Ok(shortest)
}
