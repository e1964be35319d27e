use crate::frames::is_standard;
use crate::options::standard_input;
use crate::output::Output;
use acerust::model::Model;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::io::Write;
use std::path::PathBuf;

/// Writes a model file from a reference file or a potential of pacemaker, or a model file anew in canonical form
#[derive(clap::Args)]
pub struct Convert {
    /// A file of format acerust-reference/1 or acerust-model/1, a .yace file, or pacemaker's .yaml
    file: PathBuf,
    /// The model file to write [default: standard output]
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
        let text = match is_standard(&self.file) {
            true => standard_input()?,
            false => std::fs::read(&self.file).with_context(name)?,
        };
        let is_reference =
            serde_json::from_slice::<Header>(&text).is_ok_and(|h| h.format.starts_with("acerust-reference/"));
        let model = if is_reference { Model::from_reference_json(&text) } else { Model::from_text(&text) };
        let mut out = Output::new(self.output.as_deref())?;
        writeln!(out, "{}", model.with_context(name)?.to_json())?;
        out.finish()
    }
}
