//! What a fit has to say for itself.

use super::comparison::{Comparison, Comparisons, QUANTITIES, compare, table};
use super::data::Remarks;
use super::factors::Factors;
use super::settings::Settings;
use super::{Fitted, RowErrors, leave_one_out};
use crate::extxyz::Frames;
use crate::{Result, element};
use indexmap::IndexMap;
use serde::{Serialize, Serializer};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Errors of a fit, and what it is of. Its fields are also those of the JSON that bindings hand out.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Frames that were looked at, and those of them that were used.
    pub frames: u64,
    pub used: u64,
    pub rows: u64,
    pub remarks: Remarks,
    /// Groups that have weights of their own, but no frames.
    pub absent: Vec<String>,
    /// Linear parameters, and how many of them the data determine.
    pub parameters: usize,
    pub effective: f64,
    /// The standard deviation of the noise of a row of weight 1.
    pub noise: f64,
    /// `ln p(y)`, where the solver has one.
    pub log_evidence: Option<f64>,
    /// Å, by pair of elements (`Si-O`); `None` where no frame has such neighbours.
    pub closest: IndexMap<String, Option<f64>>,
    /// What groups are named by.
    pub group_key: String,
    /// Of the training rows, by group.
    pub errors: IndexMap<String, RowErrors>,
    /// Of each group under a fit to all others, where that was asked for.
    pub left_out: Option<IndexMap<String, RowErrors>>,
    /// Sets of parameters drawn from the posterior.
    pub committee: usize,
    /// Results beside references of training and test frames; empty where they were not evaluated.
    #[serde(serialize_with = "with_all")]
    pub training: Comparisons,
    #[serde(serialize_with = "with_all")]
    pub test: Comparisons,
    /// Errors of the test frames by the number of training frames: none, or the last with all of them.
    pub learning: Vec<(u64, Comparison)>,
}

/// What a report is to say beyond what the factors know.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    /// Errors of each group under a fit to all others.
    pub leave_one_out: bool,
    /// Files whose frames are evaluated with the fitted model.
    pub training: Vec<PathBuf>,
    pub test: Vec<PathBuf>,
}

impl Report {
    /// Of a fit alone.
    pub fn new(factors: &Factors, settings: &Settings, fitted: &Fitted) -> Report {
        let species = factors.model.species();
        let pairs = (0..species.len()).flat_map(|i| (i..species.len()).map(move |j| (i, j)));
        let name = |(i, j): (usize, usize)| format!("{}-{}", element::name(species[i]), element::name(species[j]));
        let known = |name: &String| {
            let mut groups = factors.groups.keys().map(String::as_str).chain(["default"]);
            groups.any(|group| group.eq_ignore_ascii_case(name))
        };
        let closest = factors.closest.iter().map(|&r| Some(r).filter(|r| r.is_finite()));
        Report {
            frames: factors.frames,
            used: factors.groups.values().map(|g| g.frames).sum(),
            rows: fitted.rows,
            remarks: factors.remarks.clone(),
            absent: settings.weights.keys().filter(|name| !known(name)).cloned().collect(),
            parameters: factors.n_params(),
            effective: fitted.effective,
            noise: fitted.noise,
            log_evidence: fitted.log_evidence,
            closest: pairs.map(name).zip(closest).collect(),
            group_key: settings.group_key.clone(),
            errors: fitted.errors.clone(),
            left_out: None,
            committee: fitted.committee.len(),
            training: Comparisons::new(),
            test: Comparisons::new(),
            learning: Vec::new(),
        }
    }

    /// Adds what these checks find; `each` is called after every frame, and its errors end the work.
    ///
    /// # Errors
    /// As [`leave_one_out`] and [`compare`].
    pub fn check(
        &mut self,
        factors: &Factors,
        settings: &Settings,
        fitted: &Fitted,
        checks: &Checks,
        mut each: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        if checks.leave_one_out {
            self.left_out = Some(leave_one_out(factors, settings)?);
        }
        for (found, paths) in [(&mut self.training, &checks.training), (&mut self.test, &checks.test)] {
            let frames = Frames::new(paths)?.map(|found| Ok(found?.frame));
            *found = compare(&fitted.model, settings, frames, &mut each)?;
        }
        Ok(())
    }

    /// For programs: the fields, and the words as `text`.
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_value(self).expect("plain data");
        json["text"] = self.text().into();
        json.to_string()
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "{} frames, {} used, {} rows", self.frames, self.used, self.rows);
        for (reason, (count, first)) in &self.remarks.skipped {
            let _ = writeln!(text, "left out: {reason}: {count} frame(s), first frame {first}");
        }
        if self.remarks.duplicates > 0 {
            let _ = writeln!(text, "note: {} structure(s) appear more than once", self.remarks.duplicates);
        }
        if !self.absent.is_empty() {
            let _ = writeln!(text, "note: weights of groups without frames: {}", self.absent.join(", "));
        }
        let _ = write!(text, "{} parameters, {:.1} determined", self.parameters, self.effective);
        let _ = writeln!(text, ", noise {:.3e} a row of weight 1", self.noise);
        if let Some(evidence) = self.log_evidence {
            let _ = writeln!(text, "ln evidence {evidence:.2}");
        }
        for (title, groups) in [("training", &self.training), ("test", &self.test)] {
            if !groups.is_empty() {
                let _ = write!(text, "\n{title}\n{}", table(&self.group_key, groups));
            }
        }
        if self.learning.len() > 1 {
            let [energy, forces, _] = &QUANTITIES;
            let _ = writeln!(text, "\nlearning curve, RMSE of the test frames");
            let _ = writeln!(text, "{:>8} {:>16} {:>14}", "frames", "energy meV/atom", "forces eV/Å");
            for (frames, group) in &self.learning {
                let [[energy, _], [forces, _]] = [energy.shown(group), forces.shown(group)];
                let _ = writeln!(text, "{frames:>8} {energy:>16} {forces:>14}");
            }
        }
        if self.training.is_empty() {
            let _ = write!(text, "\ntraining rows\n{}", rows(&self.errors));
        }
        if let Some(errors) = &self.left_out {
            let _ = write!(text, "\nfitted to all other groups\n{}", rows(errors));
        }
        let closest = |(pair, r): (&String, &Option<f64>)| match r {
            Some(r) => format!("{pair} {r:.3}"),
            None => format!("{pair} none"),
        };
        let closest: Vec<String> = self.closest.iter().map(closest).collect();
        let _ = writeln!(text, "\nclosest neighbours of the training frames, Å: {}", closest.join(", "));
        text
    }
}

/// Groups, and all of them together as `all`.
fn with_all<S: Serializer>(groups: &Comparisons, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    let all = Comparison::sum(groups.values());
    let together = (!groups.is_empty()).then_some(("all", &all));
    serializer.collect_map(groups.iter().map(|(name, group)| (name.as_str(), group)).chain(together))
}

fn rows(errors: &IndexMap<String, RowErrors>) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{:16} {:>14} {:>12} {:>18}", "RMSE", "energy meV/atom", "forces eV/Å", "virial eV/√atoms");
    let shown = |x: Option<f64>, factor: f64| x.map_or_else(|| "-".into(), |x| format!("{:.4}", factor * x));
    for (name, e) in errors {
        let (energy, force, virial) = (shown(e.energy, 1e3), shown(e.force, 1.0), shown(e.virial, 1.0));
        let _ = writeln!(text, "{name:16} {energy:>15} {force:>12} {virial:>18}");
    }
    text
}
