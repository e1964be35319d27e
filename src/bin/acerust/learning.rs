//! The learning curve of a fit: errors on test frames of what is fitted to the first frames alone.

use crate::plot::{self, Curve};
use acerust::fit::{self, Assembler, Comparison, QUANTITIES, Quantity, Settings};
use acerust::model::Model;
use anyhow::Result;

/// No curve begins with fewer frames.
const FEWEST: u64 = 8;

/// Models by the number of frames that they were fitted to.
#[derive(Default)]
pub struct Learning(Vec<(u64, Model)>);

impl Learning {
    /// Fits a model where the number of frames is a power of two.
    pub fn look(&mut self, assembler: &mut Assembler, settings: &Settings) -> acerust::Result<()> {
        let frames = assembler.frames();
        if frames >= FEWEST && frames.is_power_of_two() {
            // Few frames may not tell all parameters: the curve begins where they do.
            self.0.extend(fit::solve(assembler.factors()?, settings).ok().map(|fitted| (frames, fitted.model)));
        }
        Ok(())
    }

    /// Their errors, as `compare` finds them, those of the final model, which were found already, last.
    pub fn curve(
        self,
        compare: impl Fn(&Model) -> Result<Comparison>,
        last: (u64, Comparison),
    ) -> Result<Vec<(u64, Comparison)>> {
        let earlier = self.0.into_iter().filter(|(frames, _)| *frames < last.0);
        let curve = earlier.map(|(frames, model)| Ok((frames, compare(&model)?)));
        curve.chain([Ok(last.clone())]).collect()
    }
}

/// An SVG of it, both axes logarithmic.
pub fn svg(curve: &[(u64, Comparison)]) -> Result<String> {
    let of = |q: &Quantity| -> Curve {
        let points = curve.iter().filter_map(|(frames, group)| {
            let [rmse, _] = (q.pairs)(group).errors()?;
            (rmse > 0.0).then(|| ((*frames as f64).log10(), (q.factor * rmse).log10()))
        });
        (format!("{}, {}", q.name, q.unit), points.collect())
    };
    let curves: Vec<Curve> = QUANTITIES[..2].iter().map(of).collect();
    plot::lines("RMSE of the test frames, log10", "training frames, log10", &curves)
}
