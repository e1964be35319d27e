//! What goes with a fitted model: data by their hashes, settings, evidence; the committee.

use crate::output::Output;
use acerust::fit::Settings;
use acerust::model::Model;
use acerust::npz;
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// `name sha256` of every file.
pub fn hashes(paths: &[PathBuf]) -> Result<Vec<String>> {
    let hash = |path: &PathBuf| -> Result<String> {
        let mut hasher = Sha256::new();
        let mut file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
        std::io::copy(&mut file, &mut HashWriter(&mut hasher)).with_context(|| path.display().to_string())?;
        let hex: String = hasher.finalize().iter().map(|b| format!("{b:02x}")).collect();
        let name = path.file_name().unwrap_or(path.as_os_str());
        Ok(format!("{} sha256:{hex}", name.display()))
    };
    paths.iter().map(hash).collect()
}

struct HashWriter<'a>(&'a mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The model with its `source`.
pub fn signed(
    model: Model,
    data: &[String],
    settings: &Settings,
    log_evidence: Option<f64>,
    rows: u64,
) -> Result<Model> {
    let mut spec = model.into_spec();
    let evidence = log_evidence.map_or(String::new(), |e| format!("; ln evidence {e:.3}"));
    spec.source = format!(
        "acerust {} fit: data {}; {rows} rows; settings {}{evidence}",
        env!("CARGO_PKG_VERSION"),
        data.join(", "),
        serde_json::to_string(settings)?
    );
    Ok(Model::new(spec)?)
}

/// Writes the members, if there are any, as the array `parameters`, (n_members, n_params), beside the model: `si.json` has `si.committee.npz`.
pub fn save_committee(members: &[Vec<f64>], model: &Path) -> Result<Option<PathBuf>> {
    let Some(first) = members.first() else { return Ok(None) };
    let path = model.with_extension("committee.npz");
    let mut npz = npz::Writer::new(Output::new(Some(&path))?);
    npz.start("parameters", "<f8", &[members.len(), first.len()])?;
    npz.write(members.iter().flatten().map(|x| x.to_le_bytes()))?;
    npz.finish()?.finish()?;
    Ok(Some(path))
}
