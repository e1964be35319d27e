//! The options of every subcommand.

use acerust::extxyz::is_standard;
use acerust::model::{MAX_FILE_BYTES, Model};
use acerust::parallel;
use acerust::plan::{self, Device, Plan, Precision, RadialMode};
use anyhow::{Context, Result};
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::Path;

#[derive(clap::Args)]
pub struct Options {
    /// Threads to use, at most one a processor [default: all processors]
    #[arg(long, global = true, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Working precision: f64, f32 (but for the transform of distances), f32-distances (f32 without exception); of MACE models on
    /// CUDA devices also f24-radial
    #[arg(long, global = true, default_value = "f64", value_parser = str::parse::<Precision>)]
    pub precision: Precision,
    /// Where to compute: cpu, cuda, cuda:INDEX, or cuda:FIRST-LAST for devices that share each structure
    #[arg(long, global = true, default_value = "cpu", value_parser = str::parse::<Device>)]
    pub device: Device,
    /// Radial functions: exact, table=TOLERANCE (relative to each function's largest value), pace-table (pacemaker's functions from
    /// the tables that LAMMPS builds of them), or auto (now exact)
    #[arg(long, global = true, default_value = "auto", value_parser = radial)]
    radial: Radial,
}

/// `None`: as the library thinks best.
#[derive(Clone, Copy)]
struct Radial(Option<RadialMode>);

impl Options {
    /// Sizes the pool that all work runs on.
    pub fn set_threads(&self) -> Result<()> {
        let threads = self.threads.map_or(0, NonZeroUsize::get); // 0: all processors
        Ok(parallel::start(threads)?)
    }

    /// Refuses what a command without plans of its own has no use for.
    pub fn refuse(&self, with_device: bool) -> Result<()> {
        let exact = matches!(self.radial.0, None | Some(RadialMode::Exact));
        let given = [
            ("--device", self.device != Device::Cpu && !with_device),
            ("--precision", self.precision != Precision::F64),
            ("--radial", !exact),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) => anyhow::bail!("{flag}: this command has no use for it"),
            None => Ok(()),
        }
    }

    pub fn plan(&self, model: &Model) -> Result<Plan> {
        let mut options = plan::Options::new();
        options.radial = self.radial.0;
        Ok(Plan::with_options(model, self.device, self.precision, options)?)
    }
}

/// The model of a file, or of the standard input.
pub fn model(path: &Path) -> Result<Model> {
    match is_standard(path) {
        true => Model::from_text(standard_input()?).context("standard input"),
        false => Ok(Model::load(path)?),
    }
}

/// All of the standard input, or one byte more than a model file may have.
pub fn standard_input() -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::stdin().take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).context("standard input")?;
    Ok(bytes)
}

fn radial(text: &str) -> Result<Radial, String> {
    match (text, text.strip_prefix("table=").map(str::parse)) {
        ("auto", _) => Ok(Radial(None)),
        ("exact", _) => Ok(Radial(Some(RadialMode::Exact))),
        ("pace-table", _) => Ok(Radial(Some(RadialMode::PaceTable))),
        (_, Some(Ok(tolerance))) => Ok(Radial(Some(RadialMode::Table { tolerance }))),
        _ => Err("none of auto, exact, table=TOLERANCE, pace-table".into()),
    }
}
