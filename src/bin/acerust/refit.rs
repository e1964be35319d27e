use crate::solving::Solving;
use crate::{fit as command, provenance, report};
use acerust::fit::{self, Factors, Settings};
use anyhow::Result;
use indexmap::IndexMap;
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
        let recipe = self.recipe.as_deref().map(command::load_recipe).transpose()?;
        let settings = self.solving.apply(recipe.map_or_else(Settings::default, |(settings, _)| settings))?;
        let factors = Factors::load(&self.factors)?;
        let mut fitted = fit::solve(&factors, &settings)?;
        let data = provenance::hashes(std::slice::from_ref(&self.factors))?;
        fitted.model = provenance::signed(fitted.model, &data, &settings, fitted.log_evidence, fitted.rows)?;
        fitted.model.save(&self.output)?;
        let committee = provenance::save_committee(&fitted.committee, &self.output)?;
        let left_out = self.solving.leave_one_out.then(|| fit::leave_one_out(&factors, &settings)).transpose()?;
        let none = IndexMap::new();
        let report = report::Report {
            fitted: &fitted,
            factors: &factors,
            settings: &settings,
            train: &none,
            test: &none,
            learning: &[],
            left_out: left_out.as_ref(),
        };
        print!("{}", report.text());
        println!("model: {}", self.output.display());
        committee.iter().for_each(|path| println!("committee: {}", path.display()));
        Ok(())
    }
}
