use crate::options::standard_input;
use crate::output::Output;
use acerust::extxyz::is_standard;
use acerust::model::Model;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Writes a model file from a reference file, a potential of pacemaker or a MACE checkpoint, or a model file anew in canonical form
#[derive(clap::Args)]
pub struct Convert {
    /// A file of format acerust-reference/1 or acerust-model/1; a .yace file, or pacemaker's .yaml; a MACE checkpoint (*.model), which is
    /// read without Python and of which nothing is executed, or a MACE model as JSON: both are written as safetensors
    file: PathBuf,
    /// The model file to write: safetensors where it is named so, which is smaller and opens faster [default: JSON on the standard output]
    #[arg(short, long, value_name = "MODEL")]
    output: Option<PathBuf>,
}

/// What every file starts with; anything else is for the model to judge.
#[derive(Deserialize)]
struct Header {
    format: String,
}

impl Convert {
    pub fn run(self) -> Result<()> {
        let name = || self.file.display().to_string();
        let bytes = match is_standard(&self.file) {
            true => standard_input()?,
            false => std::fs::read(&self.file).with_context(name)?,
        };
        let is_reference =
            serde_json::from_slice::<Header>(&bytes).is_ok_and(|h| h.format.starts_with("acerust-reference/"));
        let stem = self.file.file_stem().map_or("MACE".into(), |stem| stem.to_string_lossy());
        let model = match is_reference {
            true => Model::from_reference_json(&bytes),
            false => Model::from_bytes(&bytes, &stem),
        };
        let model = model.with_context(name)?;
        let output = self.output.as_deref().filter(|path| !is_standard(path));
        if model.mace().is_some() || output.and_then(Path::extension).is_some_and(|e| e == "safetensors") {
            return Ok(model.save(output.context("MACE models are written as safetensors: name the file with -o")?)?);
        }
        let mut out = Output::new(self.output.as_deref())?;
        writeln!(out, "{}", model.to_json())?;
        out.finish()
    }
}
