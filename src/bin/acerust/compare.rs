use crate::options::Options;
use crate::output::Output;
use crate::results::{Results, vectors};
use crate::{frames, plot};
use acerust::extxyz::{Frame, Keys, Value, Writer};
use acerust::model::Model;
use anyhow::{Context, Result, ensure};
use indexmap::IndexMap;
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

/// Compares with reference energies and forces, for instance of density-functional theory
///
/// Prints root-mean-square and mean absolute errors of energies (an atom) and force components, for each
/// value of a key of the comment line and over all frames.
#[derive(clap::Args)]
pub struct Compare {
    /// The model file
    model: PathBuf,
    /// Structures with energies or forces or both, extended XYZ
    structures: PathBuf,
    /// Where the file has its energies
    #[arg(long, value_name = "KEY", default_value = "energy")]
    energy_key: String,
    /// The column of the forces
    #[arg(long, value_name = "KEY", default_value = "forces")]
    forces_key: String,
    /// The key that groups frames
    #[arg(long, value_name = "KEY", default_value = "config_type")]
    group_by: String,
    /// Print a line for each frame as well
    #[arg(long)]
    each: bool,
    /// Write the results as `eval` does
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Draw results against references into an SVG file
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Print one JSON object instead
    #[arg(long, conflicts_with = "each")]
    json: bool,
}

/// Reference and result, frame by frame and component by component.
#[derive(Default)]
pub struct Group {
    pub frames: usize,
    pub atoms: usize,
    /// eV an atom.
    pub energies: Vec<[f64; 2]>,
    /// eV/Å.
    pub forces: Vec<[f64; 2]>,
}

impl Compare {
    pub fn run(self, options: &Options) -> Result<()> {
        let model = Model::load(&self.model)?;
        let plan = options.plan(&model)?;
        let mut table = Output::new(None)?;
        let mut out = self.output.as_deref().map(|path| Output::new(Some(path))).transpose()?;
        let mut writer = out.as_mut().map(|out| Writer::new(out, &Keys::default()));
        let mut groups = IndexMap::<String, Group>::new();
        if self.each {
            writeln!(
                table,
                "{:>5}  {:14} {:>6}  {:>13} {:>13} {:>9}",
                "frame", self.group_by, "atoms", "E ref / eV", "E / eV", "meV/atom"
            )?;
        }
        let compute = |frame: &Frame| Results::new(&plan, &plan.graph(&frame.structure)?, &frame.structure);
        let bar = frames::bar(!self.each);
        let (start, mut number) = (Instant::now(), 0);
        frames::for_each(&self.structures, frames::CHUNK_ATOMS, &bar, compute, |mut frame, results| {
            let (energy, forces) = (self.energy_of(&frame)?, self.forces_of(&frame)?);
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
            group.frames += 1;
            group.atoms += n;
            if let Some(energy) = energy.filter(|_| n > 0) {
                group.energies.push([energy, results.energy].map(|e| e / n as f64));
            }
            if let Some(forces) = forces {
                let pairs = forces.as_flattened().iter().zip(results.forces.as_flattened());
                group.forces.extend(pairs.map(|(&a, &b)| [a, b]));
            }
            if let Some(writer) = &mut writer {
                results.label(&mut frame);
                writer.write(&frame)?;
            }
            Ok(())
        })?;
        let microseconds = start.elapsed().as_secs_f64() * 1e6;
        if let Some(out) = out {
            out.finish()?;
        }
        let all = Group::sum(groups.values());
        ensure!(
            !all.energies.is_empty() || !all.forces.is_empty(),
            "{}: no frame has `{}` or `{}`",
            self.structures.display(),
            self.energy_key,
            self.forces_key
        );
        if let Some(path) = &self.plot {
            let mut svg = Output::new(Some(path))?;
            svg.write_all(plot::parity(&groups)?.as_bytes())?;
            svg.finish()?;
        }
        let per_atom = microseconds / all.atoms.max(1) as f64;
        if self.json {
            let groups: serde_json::Map<_, _> = groups.iter().map(|(name, g)| (name.clone(), g.json())).collect();
            writeln!(table, "{}", json!({ "all": all.json(), "groups": groups, "us_per_atom": per_atom }))?;
        } else {
            if self.each {
                writeln!(table)?;
            }
            writeln!(
                table,
                "{:16} {:>6} {:>7}   {:>8} {:>8}   {:>8} {:>8}",
                "", "", "", "energy", "meV/atom", "forces", "eV/Å"
            )?;
            writeln!(
                table,
                "{:16} {:>6} {:>7}   {:>8} {:>8}   {:>8} {:>8}",
                self.group_by, "frames", "atoms", "RMSE", "MAE", "RMSE", "MAE"
            )?;
            for (name, group) in &groups {
                writeln!(table, "{}", group.row(name))?;
            }
            writeln!(table, "{}", all.row("all"))?;
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
        let Some(value) = frame.info.get(&self.energy_key) else { return Ok(None) };
        let energy = value.as_f64().with_context(|| format!("`{}` is not a finite number", self.energy_key));
        energy.map(Some)
    }

    /// The reference forces, if the frame has some.
    fn forces_of<'a>(&self, frame: &'a Frame) -> Result<Option<&'a [[f64; 3]]>> {
        let Some(column) = frame.arrays.get(&self.forces_key) else { return Ok(None) };
        let forces = vectors(column).filter(|x| x.as_flattened().iter().all(|x| x.is_finite()));
        let wrong = || format!("column `{}` is not three finite numbers an atom", self.forces_key);
        forces.with_context(wrong).map(Some)
    }

    fn group_of(&self, frame: &Frame) -> String {
        match frame.info.get(&self.group_by) {
            None => "-".into(),
            Some(Value::Text(text)) => text.clone(),
            Some(Value::Int(number)) => number.to_string(),
            Some(other) => format!("{other:?}"),
        }
    }
}

impl Group {
    fn sum<'a>(groups: impl Iterator<Item = &'a Group>) -> Group {
        groups.fold(Group::default(), |mut all, group| {
            all.frames += group.frames;
            all.atoms += group.atoms;
            all.energies.extend(&group.energies);
            all.forces.extend(&group.forces);
            all
        })
    }

    fn row(&self, name: &str) -> String {
        let Group { frames, atoms, energies, forces } = self;
        let shown = |pairs: &[[f64; 2]], factor: f64, digits: usize| {
            let show = |e: f64| format!("{:>8.digits$}", factor * e);
            errors(pairs).map_or_else(|| format!("{:>8} {:>8}", "-", "-"), |[a, b]| format!("{} {}", show(a), show(b)))
        };
        let (energies, forces) = (shown(energies, 1e3, 2), shown(forces, 1.0, 4));
        format!("{name:16} {frames:>6} {atoms:>7}   {energies}   {forces}")
    }

    fn json(&self) -> serde_json::Value {
        let [energy, forces] = [&self.energies, &self.forces].map(|pairs| errors(pairs));
        json!({
            "frames": self.frames,
            "atoms": self.atoms,
            "energy_rmse": energy.map(|e| e[0]),
            "energy_mae": energy.map(|e| e[1]),
            "forces_rmse": forces.map(|e| e[0]),
            "forces_mae": forces.map(|e| e[1]),
        })
    }
}

/// Root-mean-square and mean absolute difference; `None` of nothing.
fn errors(pairs: &[[f64; 2]]) -> Option<[f64; 2]> {
    let mean = |f: fn(f64) -> f64| pairs.iter().map(|[a, b]| f(b - a)).sum::<f64>() / pairs.len() as f64;
    (!pairs.is_empty()).then(|| [mean(|d| d * d).sqrt(), mean(f64::abs)])
}
