//! How far each precision is from double precision on the processor: the largest difference, relative to the largest entry.

use crate::evaluate::energy_forces_virial;
use crate::{crystal, model};
use acerust::model::spec::FunctionsSpec;
use acerust::model::{Model, PartSpec};
use acerust::plan::{Device, Plan, Precision, Virial};
use acerust::structure::Structure;

struct Results {
    energies: Vec<f64>,
    forces: Vec<[f64; 3]>,
    virial: Virial,
}

fn evaluate(plan: &Plan, s: &Structure) -> Results {
    let (mut energies, mut forces) = (vec![0.0; s.n_atoms()], vec![[0.0; 3]; s.n_atoms()]);
    let mut list = plan.neighbours(0.0).expect("a list");
    let done = energy_forces_virial(plan, (s, &mut list), &mut energies, &mut forces);
    Results { energies, forces, virial: done.expect("forces").1 }
}

/// Relative to the largest entry, and root mean square in meV or meV/Å.
fn difference(found: &[f64], expected: &[f64]) -> [f64; 2] {
    let largest = expected.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    let differences = || found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    let square = differences().map(|d| d * d).sum::<f64>() / found.len().max(1) as f64;
    [differences().fold(0.0, f64::max) / largest, square.sqrt() * 1e3]
}

fn weights(functions: &mut FunctionsSpec) -> Box<dyn Iterator<Item = &mut f64> + '_> {
    match functions {
        FunctionsSpec::Polynomial { w, .. } | FunctionsSpec::Pace { w, .. } => {
            Box::new(w.iter_mut().flatten().flatten())
        }
        FunctionsSpec::Spline { tables } => {
            Box::new(tables.iter_mut().flat_map(|t| t.values.iter_mut().chain(&mut t.slopes).flatten()))
        }
    }
}

/// The model with the weights of its radial functions rounded to so many bits of mantissa, as tables in a shorter format would be.
fn rounded(model: &Model, bits: i32) -> Model {
    let round = |x: &mut f64| {
        if *x != 0.0 {
            let unit = (x.abs().log2().floor() - f64::from(bits)).exp2();
            *x = (*x / unit).round_ties_even() * unit;
        }
    };
    let mut spec = model.clone().into_spec();
    for part in &mut spec.parts {
        match part {
            PartSpec::Ace(ace) => weights(&mut ace.radial.functions).for_each(round),
            PartSpec::Pair(pair) => weights(&mut pair.radial.functions).for_each(round),
            _ => {}
        }
    }
    Model::new(spec).expect("a model")
}

pub fn print() {
    println!("| model, atoms | | energies, max (rms, meV) | forces, max (rms, meV/Å) | virial, max |");
    println!("| --- | --- | --- | --- | --- |");
    for name in ["si_bench", "si_fit", "sio_o2", "hea_bench"] {
        let model = model(name);
        let cells: &[[usize; 3]] =
            if name == "hea_bench" { &[[3, 3, 3], [30, 30, 28]] } else { &[[3, 3, 3], [20, 25, 25]] };
        for &cell in cells {
            let s = crystal(name, cell);
            let cpu = Plan::new(&model, Device::Cpu, Precision::F64).expect("a plan");
            let expected = evaluate(&cpu, &s);
            let line = |what: &str, found: &Results| {
                let [e, f, v] = [
                    difference(&found.energies, &expected.energies),
                    difference(found.forces.as_flattened(), expected.forces.as_flattened()),
                    difference(found.virial.as_flattened(), expected.virial.as_flattened()),
                ];
                let n = s.n_atoms();
                println!(
                    "| {name}, {n} | {what} | {:.0e} ({:.0e}) | {:.0e} ({:.0e}) | {:.0e} |",
                    e[0], e[1], f[0], f[1], v[0]
                );
            };
            for precision in [Precision::F64, Precision::F32, Precision::F32_DISTANCES] {
                let plan = Plan::new(&model, Device::Cuda(0), precision).expect("a plan");
                line(&precision.to_string(), &evaluate(&plan, &s));
            }
            for (what, bits) in [("f64, radial weights in f16", 10), ("f64, radial weights in bf16", 7)] {
                let plan = Plan::new(&rounded(&model, bits), Device::Cpu, Precision::F64).expect("a plan");
                line(what, &evaluate(&plan, &s));
            }
        }
    }
}
