//! What a fit has to say for itself: a text, and a page with pictures.

use crate::compare::{Group, table_of};
use crate::frames::Frames;
use crate::learning;
use crate::output::Output;
use crate::plot::{self, Curve};
use crate::results::Results;
use acerust::element;
use acerust::fit::{Factors, Fitted, Observation, RowErrors, Settings};
use acerust::model::Model;
use acerust::plan::{Device, Plan, Precision};
use anyhow::Result;
use indexmap::IndexMap;
use rayon::prelude::*;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Frames to evaluate at a time.
const CHUNK: usize = 256;

type Groups = IndexMap<String, Group>;

pub struct Report<'a> {
    pub fitted: &'a Fitted,
    pub factors: &'a Factors,
    pub settings: &'a Settings,
    pub train: &'a Groups,
    pub test: &'a Groups,
    /// Errors of the test frames by the number of training frames; none, or the last with all of them.
    pub learning: &'a [(u64, Group)],
    pub left_out: Option<&'a IndexMap<String, RowErrors>>,
}

/// Results beside references, of the frames that a fit would use.
pub fn errors(model: &Model, paths: &[PathBuf], settings: &Settings) -> Result<Groups> {
    let plan = Plan::new(model, Device::Cpu, Precision::F64)?;
    let mut groups = Groups::new();
    let mut add = |chunk: &mut Vec<Observation>| -> Result<()> {
        let result = |o: &Observation| Results::new(&plan, &plan.graph(&o.structure)?, &o.structure);
        let results: Vec<Result<Results>> = chunk.par_iter().map(result).collect();
        for (o, result) in chunk.drain(..).zip(results) {
            let virial = o.virial.filter(|_| o.structure.volume() > 0.0);
            let references = (o.energy, o.forces.as_deref(), virial);
            groups.entry(o.group.clone()).or_default().add(&result?, &o.structure, references);
        }
        Ok(())
    };
    let mut chunk = Vec::new();
    for found in Frames::new(paths)? {
        chunk.extend(settings.observe(found?.frame, model.species()).ok());
        if chunk.len() == CHUNK {
            add(&mut chunk)?;
        }
    }
    add(&mut chunk)?;
    Ok(groups)
}

impl Report<'_> {
    pub fn text(&self) -> String {
        let Report { fitted, factors, settings, .. } = self;
        let mut text = String::new();
        let used: u64 = factors.groups.values().map(|g| g.frames).sum();
        let _ = writeln!(text, "{} frames, {used} used, {} rows", factors.frames, fitted.rows);
        for (reason, (count, first)) in &factors.remarks.skipped {
            let _ = writeln!(text, "left out: {reason}: {count} frame(s), first frame {first}");
        }
        if factors.remarks.duplicates > 0 {
            let _ = writeln!(text, "note: {} structure(s) appear more than once", factors.remarks.duplicates);
        }
        let _ = write!(text, "{} parameters, {:.1} determined", factors.n_params(), fitted.effective);
        let _ = writeln!(text, ", noise {:.3e} a row of weight 1", fitted.noise);
        if let Some(evidence) = fitted.log_evidence {
            let _ = writeln!(text, "ln evidence {evidence:.2}");
        }
        for (title, groups) in [("training", self.train), ("test", self.test)] {
            if !groups.is_empty() {
                let _ = write!(text, "\n{title}\n{}", table_of(&settings.group_key, groups));
            }
        }
        if self.learning.len() > 1 {
            let _ = write!(text, "\nlearning curve, RMSE of the test frames\n{}", learning::text(self.learning));
        }
        if self.train.is_empty() {
            let _ = write!(text, "\ntraining rows\n{}", rows_text(&fitted.errors));
        }
        if let Some(errors) = self.left_out {
            let _ = write!(text, "\nfitted to all other groups\n{}", rows_text(errors));
        }
        let _ = writeln!(text, "\nclosest neighbours of the training frames, Å: {}", self.closest());
        text
    }

    fn closest(&self) -> String {
        let species = self.factors.model.species();
        let pairs = (0..species.len()).flat_map(|i| (i..species.len()).map(move |j| (i, j)));
        let shown = pairs.zip(&self.factors.closest).map(|((i, j), r)| {
            let names = format!("{}-{}", element::name(species[i]), element::name(species[j]));
            if r.is_finite() { format!("{names} {r:.3}") } else { format!("{names} none") }
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// One page that needs nothing beside it.
    pub fn write_html(&self, path: &Path) -> Result<()> {
        let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let name = escape(&self.fitted.model.spec().name);
        let mut out = Output::new(Some(path))?;
        writeln!(out, "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{name}</title><style>")?;
        writeln!(
            out,
            "body{{font-family:sans-serif;max-width:62rem;margin:2rem auto}}pre{{font-size:.9rem;overflow:auto}}"
        )?;
        writeln!(out, "</style></head><body><h1>{name}</h1><pre>{}</pre>", escape(&self.text()))?;
        for (title, groups) in [("Training", self.train), ("Test", self.test)] {
            if !groups.is_empty() {
                writeln!(out, "<h2>{title}</h2>{}", plot::parity(groups, &Group::sum(groups.values()))?)?;
                writeln!(out, "{}", plot::histogram(groups)?)?;
            }
        }
        if self.learning.len() > 1 {
            writeln!(out, "<h2>Learning curve</h2>{}", learning::svg(self.learning)?)?;
        }
        writeln!(out, "<h2>Dimers</h2>{}", plot::lines("energy of a dimer, eV", "r, Å", &self.dimers()?)?)?;
        writeln!(out, "<h2>Parameters</h2>{}", plot::lines("|θ|, log10", "parameter", &[self.spectrum()])?)?;
        let spec = self.fitted.model.spec();
        writeln!(
            out,
            "<h2>Model</h2><pre>{}</pre><pre>{}</pre>",
            escape(&self.fitted.model.summary()),
            escape(&spec.source)
        )?;
        writeln!(out, "</body></html>")?;
        out.finish()
    }

    /// Energies of pairs of atoms beyond those of single ones, from 0.5 Å to the cutoff.
    fn dimers(&self) -> Result<Vec<Curve>> {
        let model = &self.fitted.model;
        let plan = Plan::new(model, Device::Cpu, Precision::F64)?;
        let mut curves = Vec::new();
        for (i, &a) in model.species().iter().enumerate() {
            for &b in &model.species()[i..] {
                let energy = |r: f64| -> Result<f64> {
                    let s = acerust::structure::Structure {
                        numbers: vec![a, b],
                        positions: vec![[0.0; 3], [r, 0.0, 0.0]],
                        ..Default::default()
                    };
                    Ok(plan.energy(&s)?)
                };
                let far = energy(model.rcut() + 1.0)?;
                let n = 200;
                let points = (0..=n).map(|k| 0.5 + (model.rcut() - 0.5) * f64::from(k) / f64::from(n));
                let points: Result<Vec<_>> = points.map(|r| Ok((r, energy(r)? - far))).collect();
                // What is far above the rest would hide it.
                let points = points?.into_iter().filter(|(_, e)| e.abs() < 20.0).collect();
                curves.push((format!("{}-{}", element::name(a), element::name(b)), points));
            }
        }
        Ok(curves)
    }

    fn spectrum(&self) -> Curve {
        let theta = self.fitted.model.linear_parameters();
        let points = theta.iter().enumerate().filter(|(_, x)| **x != 0.0);
        ("θ".into(), points.map(|(k, x)| (k as f64, x.abs().log10())).collect())
    }
}

fn rows_text(errors: &IndexMap<String, RowErrors>) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{:16} {:>14} {:>12} {:>18}", "RMSE", "energy meV/atom", "forces eV/Å", "virial eV/√atoms");
    let shown = |x: Option<f64>, factor: f64| x.map_or_else(|| "-".into(), |x| format!("{:.4}", factor * x));
    for (name, e) in errors {
        let (energy, force, virial) = (shown(e.energy, 1e3), shown(e.force, 1.0), shown(e.virial, 1.0));
        let _ = writeln!(text, "{name:16} {energy:>15} {force:>12} {virial:>18}");
    }
    text
}
