//! The report of a fit as a page with pictures.

use crate::learning;
use crate::output::Output;
use crate::plot::{self, Curve};
use acerust::element;
use acerust::fit::{Comparison, Report};
use acerust::model::Model;
use acerust::plan::{Device, Plan, Precision};
use anyhow::Result;
use std::io::Write as _;
use std::path::Path;

/// A fitted model with its report.
pub struct Page<'a> {
    pub model: &'a Model,
    pub report: &'a Report,
}

impl Page<'_> {
    /// One page that needs nothing beside it.
    pub fn write(&self, path: &Path) -> Result<()> {
        let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let name = escape(&self.model.spec().name);
        let mut out = Output::new(Some(path))?;
        writeln!(out, "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{name}</title><style>")?;
        writeln!(
            out,
            "body{{font-family:sans-serif;max-width:62rem;margin:2rem auto}}pre{{font-size:.9rem;overflow:auto}}"
        )?;
        writeln!(out, "</style></head><body><h1>{name}</h1><pre>{}</pre>", escape(&self.report.text()))?;
        for (title, groups) in [("Training", &self.report.training), ("Test", &self.report.test)] {
            if !groups.is_empty() {
                writeln!(out, "<h2>{title}</h2>{}", plot::parity(groups, &Comparison::sum(groups.values()))?)?;
                writeln!(out, "{}", plot::histogram(groups)?)?;
            }
        }
        if self.report.learning.len() > 1 {
            writeln!(out, "<h2>Learning curve</h2>{}", learning::svg(&self.report.learning)?)?;
        }
        writeln!(out, "<h2>Dimers</h2>{}", plot::lines("energy of a dimer, eV", "r, Å", &self.dimers()?)?)?;
        writeln!(out, "<h2>Parameters</h2>{}", plot::lines("|θ|, log10", "parameter", &[self.spectrum()])?)?;
        let spec = self.model.spec();
        writeln!(out, "<h2>Model</h2><pre>{}</pre><pre>{}</pre>", escape(&self.model.summary()), escape(&spec.source))?;
        writeln!(out, "</body></html>")?;
        out.finish()
    }

    /// Energies of pairs of atoms beyond those of single ones, from 0.5 Å to the cutoff.
    fn dimers(&self) -> Result<Vec<Curve>> {
        let model = self.model;
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
        let theta = self.model.linear_parameters();
        let points = theta.iter().enumerate().filter(|(_, x)| **x != 0.0);
        ("θ".into(), points.map(|(k, x)| (k as f64, x.abs().log10())).collect())
    }
}
