use crate::fit;
use crate::output;
use anyhow::Result;
use std::path::PathBuf;

/// Builds a model from a recipe; its linear parameters are zero
///
/// A recipe is a few lines of TOML (or JSON, where its name ends in .json):
///
///   elements = ["Si", "O"]   # their order is the species index
///   order = 3                # at most so many neighbours in a product
///   degree = 12              # or one number for each order
///   rcut = 5.5               # or { "Si-O" = 5.0, default = 5.5 }; 2.5 bond lengths
///
/// The preset is "ace1", the basis of ACEpotentials.jl's `ace1_model`, or "ace", that of `ace_model`.
/// docs/fit.md lists the other keys; the section [fit] is for `fit`.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Build {
    /// The recipe
    recipe: PathBuf,
    /// The model file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

impl Build {
    pub fn run(self) -> Result<()> {
        output::expect([self.output.as_path()])?;
        let (_, model) = fit::load(&self.recipe)?;
        model.save(&self.output)?;
        println!("{model}");
        Ok(())
    }
}
