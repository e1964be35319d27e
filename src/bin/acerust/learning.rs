//! The learning curve of a fit: errors on test frames of what is fitted to the first frames alone.

use crate::compare::{Group, QUANTITIES, errors};
use crate::plot::{self, Curve};
use crate::report;
use acerust::fit::{self, Assembler, Settings};
use acerust::model::Model;
use anyhow::Result;
use std::fmt::Write as _;
use std::path::PathBuf;

/// No curve begins with fewer frames.
const FEWEST: u64 = 8;

/// Models by the number of frames that they were fitted to.
#[derive(Default)]
pub struct Learning(Vec<(u64, Model)>);

impl Learning {
    /// Fits a model where the number of frames is a power of two.
    pub fn look(&mut self, assembler: &mut Assembler, settings: &Settings) -> Result<()> {
        let frames = assembler.frames();
        if frames >= FEWEST && frames.is_power_of_two() {
            // Few frames may not tell all parameters: the curve begins where they do.
            self.0.extend(fit::solve(assembler.factors()?, settings).ok().map(|fitted| (frames, fitted.model)));
        }
        Ok(())
    }

    /// Their errors, those of the final model, which were found already, last.
    pub fn curve(self, paths: &[PathBuf], settings: &Settings, last: (u64, Group)) -> Result<Vec<(u64, Group)>> {
        let mut curve = Vec::new();
        for (frames, model) in self.0.into_iter().filter(|(frames, _)| *frames < last.0) {
            curve.push((frames, Group::sum(report::errors(&model, paths, settings)?.values())));
        }
        curve.push(last);
        Ok(curve)
    }
}

pub fn text(curve: &[(u64, Group)]) -> String {
    let mut text = String::new();
    let [energy, forces, _] = &QUANTITIES;
    let _ = writeln!(text, "{:>8} {:>16} {:>14}", "frames", "energy meV/atom", "forces eV/Å");
    for (frames, group) in curve {
        let [[energy, _], [forces, _]] = [energy.shown(group), forces.shown(group)];
        let _ = writeln!(text, "{frames:>8} {energy:>16} {forces:>14}");
    }
    text
}

/// An SVG of it, both axes logarithmic.
pub fn svg(curve: &[(u64, Group)]) -> Result<String> {
    let of = |q: &crate::compare::Quantity| -> Curve {
        let points = curve.iter().filter_map(|(frames, group)| {
            let [rmse, _] = errors((q.pairs)(group))?;
            (rmse > 0.0).then(|| ((*frames as f64).log10(), (q.factor * rmse).log10()))
        });
        (format!("{}, {}", q.name, q.unit), points.collect())
    };
    let curves: Vec<Curve> = QUANTITIES[..2].iter().map(of).collect();
    plot::lines("RMSE of the test frames, log10", "training frames, log10", &curves)
}
