use crate::compare::Group;
use crate::frames::{Frames, bar};
use crate::learning::Learning;
use crate::solving::Solving;
use crate::{provenance, report};
use acerust::build::{self, Recipe};
use acerust::fit::{self, Assembler, Factors, Selector, Settings};
use acerust::model::Model;
use acerust::plan::{ActiveSet, Device, Plan, Precision};
use anyhow::{Context, Result, bail, ensure};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Fits a potential to energies, forces and virials
///
/// Frames are read as a stream: memory depends on the number of parameters alone. The recipe (docs/fit.md) says which basis, its section
/// [fit] which data, weights, prior and solver; flags come before it. A model file in its place is fitted anew.
///
///   acerust fit si.toml Si_train.extxyz --test Si_test.extxyz -o si.json --report si.html
///
/// Large data sets go in shares, on any number of machines: each writes its factors, a last run merges them and solves:
///
///   acerust fit si.toml data/*.xyz --shard 3/16 --factors 3.npz
///   acerust fit si.toml --merge *.npz -o si.json
///
/// With --search the recipe is where a search for a better one begins, which looks at the training frames alone; the best one is
/// written beside the model, as si.recipe.toml.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Fit {
    /// Recipe (.toml, .json) or model file
    recipe: PathBuf,
    /// Frames to train on, extended XYZ
    frames: Vec<PathBuf>,
    /// The model file to write
    #[arg(short, long, value_name = "FILE", required_unless_present = "factors")]
    output: Option<PathBuf>,
    /// Frames to test on
    #[arg(long, value_name = "FILE", num_args = 1..)]
    test: Vec<PathBuf>,
    /// Write the factors, for `refit` and `--merge`
    #[arg(long, value_name = "FILE")]
    factors: Option<PathBuf>,
    /// Only every n-th frame, from the k-th on
    #[arg(long, value_name = "K/N", value_parser = shard, requires = "factors")]
    shard: Option<(u64, u64)>,
    /// Save the factors of so many frames at a time, and go on from there after an end that was not foreseen
    #[arg(long, value_name = "FRAMES", requires = "factors")]
    checkpoint: Option<std::num::NonZeroU64>,
    /// Merge factors instead of reading frames
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["frames", "shard"])]
    merge: Vec<PathBuf>,
    /// Write a report with pictures, one HTML page
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write the active set of the training frames, for `select`
    #[arg(long, value_name = "FILE", conflicts_with = "merge")]
    active_set: Option<PathBuf>,
    /// Search for the recipe that predicts frames best that were left out
    #[arg(long, requires = "output", conflicts_with_all = ["merge", "shard", "checkpoint"])]
    search: bool,
    /// Minutes after which the search tries nothing new
    #[arg(long, value_name = "N", default_value_t = 30.0, requires = "search")]
    search_minutes: f64,
    /// Most parameters of a recipe that is tried
    #[arg(long, value_name = "N", default_value_t = 2000, requires = "search")]
    max_parameters: usize,
    #[command(flatten)]
    solving: Solving,
}

fn shard(text: &str) -> Result<(u64, u64), String> {
    let parsed = text.split_once('/').and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
    parsed.filter(|(k, n)| (1..=*n).contains(k)).ok_or_else(|| "no K/N with K in 1 … N".into())
}

impl Fit {
    pub fn run(self) -> Result<()> {
        // Flags are where a search begins; what it finds stays.
        let (settings, model) = if self.search {
            self.search()?
        } else {
            let (settings, model) = load(&self.recipe)?;
            (self.solving.apply(settings)?, model)
        };
        let mut learning = Learning::default();
        let factors = match self.merge.as_slice() {
            [] => self.assemble(&model, &settings, &mut learning)?,
            [first, rest @ ..] => {
                let mut factors = Factors::load(first)?;
                for path in rest {
                    factors.merge(&Factors::load(path)?).with_context(|| path.display().to_string())?;
                }
                factors
            }
        };
        if let Some(path) = &self.factors {
            factors.save(path)?;
            let _ = std::fs::remove_file(part(path)); // nothing to go on with
        }
        let Some(output) = &self.output else {
            return Ok(());
        };
        let mut fitted = fit::solve(&factors, &settings)?;
        let data = provenance::hashes(if self.merge.is_empty() { &self.frames } else { &self.merge })?;
        fitted.model = provenance::signed(fitted.model, &data, &settings, fitted.log_evidence, fitted.rows)?;
        fitted.model.save(output)?;
        let committee = provenance::save_committee(&fitted.committee, output)?;
        if let Some(path) = &self.active_set {
            active_set(&fitted.model, &self.frames, &settings)?.save(path)?;
        }
        let left_out = self.solving.leave_one_out.then(|| fit::leave_one_out(&factors, &settings)).transpose()?;
        let train = report::errors(&fitted.model, &self.frames, &settings)?;
        let test = report::errors(&fitted.model, &self.test, &settings)?;
        let all = (factors.frames, Group::sum(test.values()));
        let learning = if test.is_empty() { vec![] } else { learning.curve(&self.test, &settings, all)? };
        let report = report::Report {
            fitted: &fitted,
            factors: &factors,
            settings: &settings,
            train: &train,
            test: &test,
            learning: &learning,
            left_out: left_out.as_ref(),
        };
        print!("{}", report.text());
        println!("model: {}", output.display());
        committee.iter().for_each(|path| println!("committee: {}", path.display()));
        if let Some(path) = &self.report {
            report.write_html(path)?;
            println!("report: {}", path.display());
        }
        Ok(())
    }

    /// Settings and model of the best recipe, which is written.
    fn search(&self) -> Result<(Settings, Model)> {
        let (settings, recipe) = load_recipe(&self.recipe)?;
        let start = fit::Candidate { recipe, settings: self.solving.apply(settings)? };
        let time = Duration::try_from_secs_f64(60.0 * self.search_minutes).context("--search-minutes")?;
        let limits = fit::Limits { parameters: self.max_parameters, time, ..Default::default() };
        println!("{:>7} {:>10} {:>12} {:>10}", "", "", "energy", "forces");
        println!("{:>7} {:>10} {:>12} {:>10}", "s", "parameters", "meV/atom", "eV/Å");
        let frames = || anyhow::Ok(Frames::new(&self.frames)?.map(|found| anyhow::Ok(found?.frame)));
        let best = fit::search(start, limits, frames, |trial| {
            let of =
                |error: Option<f64>, unit: f64, digits| error.map_or("-".into(), |e| format!("{:.digits$}", e * unit));
            let (energy, force) = (of(trial.errors.energy, 1000.0, 3), of(trial.errors.force, 1.0, 5));
            println!("{:7.1} {:10} {energy:>12} {force:>10}  {}", trial.seconds, trial.parameters, trial.change);
        })?;
        let fit::Candidate { recipe, settings } = best.candidate;
        let mut table = toml::Table::try_from(&recipe)?;
        table.insert("fit".into(), toml::Value::try_from(&settings)?);
        let path = self.output.as_ref().expect("clap asks for it").with_extension("recipe.toml");
        let mut file = crate::output::Output::new(Some(&path))?;
        file.write_all(toml::to_string(&table)?.as_bytes())?;
        file.finish()?;
        println!("recipe: {}", path.display());
        Ok((settings, build::model(&recipe)?))
    }

    fn assemble(&self, model: &Model, settings: &Settings, learning: &mut Learning) -> Result<Factors> {
        ensure!(!self.frames.is_empty(), "no frames: name files in extended XYZ");
        let part = self.factors.as_deref().map(part);
        let mut assembler = match part.as_ref().filter(|part| self.checkpoint.is_some() && part.exists()) {
            Some(part) => {
                let mut factors = Factors::load(part)?;
                let frames = factors.frames;
                // That those are of the same model, merging tells.
                factors.merge(&Factors::new(model)).with_context(|| part.display().to_string())?;
                eprintln!("acerust: going on after {frames} frames of {}", part.display());
                Assembler::resume(factors, settings)?
            }
            None => Assembler::new(model, settings)?,
        };
        let done = assembler.frames();
        let (k, n) = self.shard.unwrap_or((1, 1));
        let bar = bar(true);
        let share = Frames::new(&self.frames)?.zip(0..).filter(|(_, i)| i % n == k - 1).map(|(found, _)| found);
        for found in share.skip(done as usize) {
            assembler.push(found?.frame)?;
            bar.inc(1);
            if self.report.is_some() && !self.test.is_empty() {
                learning.look(&mut assembler, settings)?;
            }
            if let (Some(every), Some(part)) = (self.checkpoint, &part)
                && assembler.frames() % every == 0
            {
                assembler.factors()?.save(part)?;
            }
        }
        bar.finish_and_clear();
        Ok(assembler.finish()?)
    }
}

/// The active set of the frames that a fit would use.
fn active_set(model: &Model, paths: &[PathBuf], settings: &Settings) -> Result<ActiveSet> {
    const CHUNK: usize = 64;
    let plan = Plan::new(model, Device::Cpu, Precision::F64)?;
    let mut selector = Selector::new(&plan);
    let mut chunk = Vec::new();
    for found in Frames::new(paths)? {
        chunk.extend(settings.observe(found?.frame, model.species()).ok());
        if chunk.len() == CHUNK {
            selector.push(&plan, chunk.drain(..).map(|o| o.structure).collect::<Vec<_>>().iter())?;
        }
    }
    selector.push(&plan, chunk.iter().map(|o| &o.structure))?;
    Ok(selector.finish()?)
}

/// Where factors under way are kept.
fn part(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Settings and model of a recipe or of a model file.
pub fn load(path: &Path) -> Result<(Settings, Model)> {
    let is_json = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    if is_json && text.contains("\"acerust-model/") {
        return Ok((Settings::default(), Model::load(path)?));
    }
    let (settings, recipe) = load_recipe(path)?;
    Ok((settings, build::model(&recipe).with_context(|| path.display().to_string())?))
}

/// Settings and recipe of a recipe file.
pub fn load_recipe(path: &Path) -> Result<(Settings, Recipe)> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let split = match path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json")) {
        true if text.contains("\"acerust-model/") => bail!("{}: a model file is no recipe", path.display()),
        true => Settings::split_json(&text),
        false => Settings::split_toml(&text),
    };
    split.with_context(|| path.display().to_string())
}
