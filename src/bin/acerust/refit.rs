use crate::fit::{Solved, load_recipe};
use crate::output;
use crate::solving::Solving;
use acerust::fit::{Checks, Factors, Settings};
use anyhow::Result;
use std::path::PathBuf;

/// Fits anew from factors: other weights, priors, solvers, without reading data
///
/// Errors are those of the rows that went into the factors.
#[derive(clap::Args)]
pub struct Refit {
    /// Factors that `fit --factors` wrote
    factors: PathBuf,
    /// The model file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// A recipe whose section [fit] to take
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    #[command(flatten)]
    solving: Solving,
}

impl Refit {
    pub fn run(self) -> Result<()> {
        output::expect([self.output.as_path()])?;
        let recipe = self.recipe.as_deref().map(load_recipe).transpose()?;
        let settings = self.solving.apply(recipe.map_or_else(Settings::default, |(settings, _)| settings))?;
        let factors = Factors::load(&self.factors)?;
        let checks = Checks { leave_one_out: self.solving.leave_one_out, ..Checks::default() };
        Solved::new(&factors, &settings, &self.output)?.report(&factors, &settings, &checks)?.print();
        Ok(())
    }
}
