use crate::allocator;
use crate::frames::bar;
use crate::learning::Learning;
use crate::options::Options;
use crate::output;
use crate::report;
use crate::solving::Solving;
use crate::uncertainty::save_committee;
use acerust::bench::fma_peak;
use acerust::build::{self, Recipe};
use acerust::extxyz::{Frames, is_standard};
use acerust::fit::{self, Assembler, Checks, Comparison, Factors, Fitted, Report, Settings, Share, Work};
use acerust::model::Model;
use acerust::plan::{Device, Isa, Precision};
use anyhow::{Context, Result, bail};
use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{BufRead, BufReader, Write};
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
    /// Say what took how long, and what the factorisation reaches of the processor's multiply–add peak
    #[arg(long)]
    times: bool,
    #[command(flatten)]
    solving: Solving,
}

fn shard(text: &str) -> Result<(u64, u64), String> {
    let parsed = text.split_once('/').and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
    parsed.filter(|(k, n)| (1..=*n).contains(k)).ok_or_else(|| "no K/N with K in 1 … N".into())
}

/// A model and its committee, written.
pub struct Solved<'a> {
    pub fitted: Fitted,
    pub report: Report,
    output: &'a Path,
    committee: Option<PathBuf>,
}

impl<'a> Solved<'a> {
    pub fn new(factors: &Factors, settings: &Settings, output: &'a Path) -> Result<Solved<'a>> {
        let fitted = fit::solve(factors, settings)?;
        fitted.model.save(output)?;
        let committee = save_committee(&fitted.committee, output)?;
        Ok(Solved { report: Report::new(factors, settings, &fitted), fitted, output, committee })
    }

    /// With what these checks find.
    pub fn report(mut self, factors: &Factors, settings: &Settings, checks: &Checks) -> Result<Self> {
        self.report.check(factors, settings, &self.fitted, checks, || Ok(()))?;
        Ok(self)
    }

    pub fn print(&self) {
        print!("{}", self.report.text());
        println!("model: {}", self.output.display());
        self.committee.iter().for_each(|path| println!("committee: {}", path.display()));
    }
}

impl Fit {
    pub fn run(self, options: &Options) -> Result<()> {
        allocator::give_back();
        // What is piped is gone when it was read: rows are all that is left of it.
        let piped = |paths: &[PathBuf]| paths.iter().any(|path| is_standard(path));
        if piped(&self.test) || piped(&self.frames) && (self.search || self.active_set.is_some()) {
            anyhow::bail!(
                "the standard input is read once, but --test, --active-set and --search read frames again: name a file"
            );
        }
        if self.search && options.device != Device::Cpu {
            anyhow::bail!("--search runs on the processor: leave out --device");
        }
        let outputs = [&self.output, &self.factors, &self.report, &self.active_set];
        output::expect(outputs.into_iter().flatten().map(PathBuf::as_path))?;
        for path in &self.test {
            std::fs::metadata(path).with_context(|| path.display().to_string())?;
        }
        // Flags are where a search begins; what it finds stays.
        let (settings, model) = if self.search {
            self.search()?
        } else {
            let (settings, model) = load(&self.recipe)?;
            (self.solving.apply(settings)?, model)
        };
        let mut learning = Learning::default();
        let mut assembler = Assembler::on(options.device, Factors::new(&model), &settings)?;
        if self.merge.is_empty() {
            self.read(&mut assembler, &settings, &mut learning)?;
        }
        let mut seen = HashMap::new();
        for path in &self.merge {
            if let Some(other) = seen.insert(fingerprint(path)?, path) {
                bail!("{}: the factors of {} once more", path.display(), other.display());
            }
            assembler.merge(&Factors::load(path)?).with_context(|| path.display().to_string())?;
        }
        assembler.factors()?;
        let work = assembler.work();
        let factors = assembler.finish()?;
        if self.times {
            print_times(&work);
        }
        if let Some(path) = &self.factors {
            factors.save(path)?;
            let _ = std::fs::remove_file(part(path)); // nothing to go on with
        }
        let Some(output) = &self.output else {
            return Ok(());
        };
        let solved = Solved::new(&factors, &settings, output)?;
        let frames = |paths| anyhow::Ok(Frames::new(paths)?.map(|found| Ok(found?.frame)));
        if let Some(path) = &self.active_set {
            fit::active_set(&solved.fitted.model, &settings, frames(&self.frames)?)?.save(path)?;
        }
        let leave_one_out = self.solving.leave_one_out;
        let training = if piped(&self.frames) { vec![] } else { self.frames.clone() };
        let checks = Checks { leave_one_out, training, test: self.test.clone() };
        let mut solved = solved.report(&factors, &settings, &checks)?;
        if !self.test.is_empty() {
            let compare = |model: &Model| -> Result<Comparison> {
                let groups = fit::compare(model, &settings, frames(&self.test)?, || Ok(()))?;
                Ok(Comparison::sum(groups.values()))
            };
            let last = (factors.frames, Comparison::sum(solved.report.test.values()));
            solved.report.learning = learning.curve(compare, last)?;
        }
        solved.print();
        if let Some(path) = &self.report {
            report::Page { model: &solved.fitted.model, report: &solved.report }.write(path)?;
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
        let mut file = output::Output::new(Some(&path))?;
        file.write_all(toml::to_string(&table)?.as_bytes())?;
        file.finish()?;
        println!("recipe: {}", path.display());
        Ok((settings, build::model(&recipe)?))
    }

    fn read(&self, assembler: &mut Assembler, settings: &Settings, learning: &mut Learning) -> Result<()> {
        let part = self.factors.as_deref().map(part);
        let checkpoint = part.zip(self.checkpoint.map(std::num::NonZeroU64::get));
        if let Some((path, _)) = checkpoint.as_ref().filter(|(path, _)| path.exists()) {
            eprintln!("acerust: going on after the frames of {}", path.display());
        }
        let (number, of) = self.shard.unwrap_or((1, 1));
        let bar = bar(true);
        let curve = self.report.is_some() && !self.test.is_empty();
        assembler.read(&self.frames, &Share { number, of, checkpoint }, |assembler| {
            bar.inc(1);
            if curve { learning.look(assembler, settings) } else { Ok(()) }
        })?;
        bar.finish_and_clear();
        Ok(())
    }
}

fn print_times(work: &Work) {
    let Work { rows, factors, operations, .. } = work;
    let (rate, peak) = (operations / factors * 1e-9, fma_peak(Precision::F64, Isa::detect()));
    println!("rows {rows:.2} s, factors {factors:.2} s: {rate:.1} of {peak:.1} Gflop/s, {:.1} %", 100.0 * rate / peak);
}

/// Where factors under way are kept.
fn part(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Settings and model of a recipe or of a model file.
pub fn load(path: &Path) -> Result<(Settings, Model)> {
    read(path, Settings::with_model)
}

/// Settings and recipe of a recipe file.
pub fn load_recipe(path: &Path) -> Result<(Settings, Recipe)> {
    read(path, Settings::split)
}

fn read<T>(path: &Path, of: impl FnOnce(&str) -> acerust::Result<T>) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    of(&text).with_context(|| path.display().to_string())
}

/// What tells files of different content apart.
fn fingerprint(path: &Path) -> Result<u64> {
    let name = || path.display().to_string();
    let (mut file, mut hasher) = (BufReader::new(File::open(path).with_context(name)?), DefaultHasher::new());
    loop {
        let piece = file.fill_buf().with_context(name)?;
        if piece.is_empty() {
            return Ok(hasher.finish());
        }
        hasher.write(piece);
        let n = piece.len();
        file.consume(n);
    }
}
