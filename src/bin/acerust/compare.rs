use crate::conditions;
use crate::frames;
use crate::options::{self, Options};
use crate::output::{Output, bare};
use crate::plot;
use crate::results::{Results, vectors};
use acerust::extxyz::{Frame, Frames, Keys, Value, Writer};
use acerust::fit::{Comparison, Comparisons, QUANTITIES};
use acerust::plan::Virial;
use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

/// Compares with reference energies, forces and stresses, for instance of density-functional theory
///
/// Prints root-mean-square and mean absolute errors of energies (an atom), force components and the six components of stresses (in
/// GPa; from virials where frames have them), for each value of a key of the comment line and over all frames. A key that is given here
/// and that no frame has is an error.
#[derive(clap::Args)]
pub struct Compare {
    /// The model file
    model: PathBuf,
    /// Structures with energies, forces, stresses or virials, extended XYZ; several files follow one another
    #[arg(required = true)]
    structures: Vec<PathBuf>,
    /// Where the file has its energies [default: energy]
    #[arg(long, value_name = "KEY")]
    energy_key: Option<String>,
    /// The column of the forces [default: forces]
    #[arg(long, value_name = "KEY")]
    forces_key: Option<String>,
    /// Where the file has its virials, eV [default: virial]
    #[arg(long, value_name = "KEY")]
    virial_key: Option<String>,
    /// Where the file has its stresses, eV/Å³, for frames without virial [default: stress]
    #[arg(long, value_name = "KEY")]
    stress_key: Option<String>,
    /// The key that groups frames [default: config_type]
    #[arg(long, value_name = "KEY")]
    group_by: Option<String>,
    /// Print a line for each frame as well
    #[arg(long)]
    each: bool,
    /// Write the results as `eval` does
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Draw results against references into an SVG file (FILE.svg)
    #[arg(long, value_name = "FILE", value_parser = svg)]
    plot: Option<PathBuf>,
    /// Print one JSON object instead
    #[arg(long, conflicts_with = "each")]
    json: bool,
    #[command(flatten)]
    conditions: conditions::Flags,
}

fn svg(name: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(name);
    match path.extension().is_some_and(|e| e.eq_ignore_ascii_case("svg")) {
        true => Ok(path),
        false => Err("a plot is an SVG file, named FILE.svg; `rsvg-convert` or Inkscape make others of it".into()),
    }
}

impl Compare {
    pub fn run(self, options: &Options) -> Result<()> {
        let model = options::model(&self.model)?;
        let plan = options.plan(&model)?;
        let mut table = Output::new(None)?;
        let mut out = self.output.as_deref().map(|path| Output::new(Some(path))).transpose()?;
        let mut writer = out.as_mut().map(|out| Writer::new(out, &Keys::default()));
        let mut groups = Comparisons::new();
        if self.each {
            writeln!(
                table,
                "{:>5}  {:14} {:>6}  {:>13} {:>13} {:>9}",
                "frame",
                self.group_key(),
                "atoms",
                "E ref / eV",
                "E / eV",
                "meV/atom"
            )?;
        }
        let compute = |frame: &Frame| {
            let graph = plan.graph(&frame.structure)?;
            self.conditions.at(&plan, frame, |plan| Results::new(plan, &graph, &frame.structure))
        };
        let bar = frames::bar(!self.each);
        let (start, mut number) = (Instant::now(), 0);
        let mut missing: Vec<&String> =
            [&self.energy_key, &self.forces_key, &self.virial_key, &self.stress_key, &self.group_by]
                .into_iter()
                .flatten()
                .collect();
        frames::for_each(Frames::new(&self.structures)?, frames::CHUNK_ATOMS, &bar, compute, |mut frame, results| {
            missing.retain(|key| !frame.info.contains_key(*key) && !frame.arrays.contains_key(*key));
            let (energy, forces, virial) = (self.energy_of(&frame)?, self.forces_of(&frame)?, self.virial_of(&frame)?);
            let name = self.group_of(&frame);
            let n = frame.structure.n_atoms();
            if self.each {
                let shown = energy.map_or([String::new(), String::new()], |e| {
                    [format!("{e:.4}"), format!("{:.3}", 1e3 * (results.energy - e) / n as f64)]
                });
                writeln!(
                    table,
                    "{number:>5}  {name:14} {n:>6}  {:>13} {:>13.4} {:>9}",
                    shown[0], results.energy, shown[1]
                )?;
            }
            number += 1;
            let group = groups.entry(name).or_default();
            let found = (results.energy, &results.forces[..], results.virial);
            group.add(&frame.structure, (energy, forces, virial), found);
            if let Some(writer) = &mut writer {
                results.label(&mut frame, false);
                writer.write(&frame).map_err(bare)?;
            }
            Ok(())
        })?;
        let microseconds = start.elapsed().as_secs_f64() * 1e6;
        if let Some(out) = out {
            out.finish()?;
        }
        let names = || self.structures.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        if let Some(key) = missing.first() {
            bail!("{}: no frame has `{key}`", names());
        }
        let all = Comparison::sum(groups.values());
        let compared: Vec<_> = QUANTITIES.iter().filter(|q| !(q.pairs)(&all).is_empty()).collect();
        ensure!(!compared.is_empty(), "{}: no frame has `energy`, `forces`, `virial` or `stress`", names());
        if let Some(path) = &self.plot {
            let mut svg = Output::new(Some(path))?;
            svg.write_all(plot::parity(&groups, &all)?.as_bytes())?;
            svg.finish()?;
        }
        let per_atom = microseconds / all.atoms.max(1) as f64;
        if self.json {
            writeln!(table, "{}", json!({ "all": all, "groups": groups, "us_per_atom": per_atom }))?;
        } else {
            if self.each {
                writeln!(table)?;
            }
            write!(table, "{}", acerust::fit::table(self.group_key(), &groups))?;
            writeln!(
                table,
                "{per_atom:.1} µs/atom: reading, neighbours, energies and forces, {} thread(s)",
                rayon::current_num_threads()
            )?;
            let files = [("parity plot", &self.plot), ("results", &self.output)];
            for (what, path) in files.iter().filter_map(|(what, path)| Some((what, path.as_ref()?))) {
                writeln!(table, "{what}: {}", path.display())?;
            }
        }
        table.finish()
    }

    /// The reference energy, if the frame has one.
    fn energy_of(&self, frame: &Frame) -> Result<Option<f64>> {
        let key = self.energy_key.as_deref().unwrap_or("energy");
        let Some(value) = frame.info.get(key) else { return Ok(None) };
        let energy = value.as_f64().with_context(|| format!("`{key}` is not a finite number"));
        energy.map(Some)
    }

    /// The reference forces, if the frame has some.
    fn forces_of<'a>(&self, frame: &'a Frame) -> Result<Option<&'a [[f64; 3]]>> {
        let key = self.forces_key.as_deref().unwrap_or("forces");
        let Some(column) = frame.arrays.get(key) else { return Ok(None) };
        let forces = vectors(column).filter(|x| x.as_flattened().iter().all(|x| x.is_finite()));
        let wrong = || format!("column `{key}` is not three finite numbers an atom");
        forces.with_context(wrong).map(Some)
    }

    /// The reference virial, eV, if the frame has one, or a stress, and a cell.
    fn virial_of(&self, frame: &Frame) -> Result<Option<Virial>> {
        let volume = frame.structure.volume();
        let keys = [(&self.virial_key, "virial", 1.0), (&self.stress_key, "stress", -volume)];
        let found = |(key, usual, factor): (&'_ Option<String>, &'static str, f64)| {
            let key = key.as_deref().unwrap_or(usual).to_owned();
            frame.info.get(&key).map(|value| (key, value, factor))
        };
        let Some((key, value, factor)) = keys.into_iter().find_map(found).filter(|_| volume > 0.0) else {
            return Ok(None);
        };
        let virial = value.as_tensor().map(|t| t.map(|row| row.map(|x| factor * x)));
        virial.with_context(|| format!("`{key}` is not nine or six finite numbers")).map(Some)
    }

    fn group_key(&self) -> &str {
        self.group_by.as_deref().unwrap_or("config_type")
    }

    fn group_of(&self, frame: &Frame) -> String {
        match frame.info.get(self.group_key()) {
            None => "-".into(),
            Some(Value::Text(text)) => text.clone(),
            Some(Value::Int(number)) => number.to_string(),
            Some(other) => format!("{other:?}"),
        }
    }
}
