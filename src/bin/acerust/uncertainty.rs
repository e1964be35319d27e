//! How far results are to be trusted: extrapolation grades, and the spread of a committee.

use acerust::extxyz::{Column, Data, Frame, Value};
use acerust::fit::ActiveSet;
use acerust::graph::Graph;
use acerust::ndarray::ArrayViewMut3;
use acerust::npz;
use acerust::plan::{Outputs, Plan};
use anyhow::{Result, ensure};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Flags {
    /// An active set (of `fit --active-set`): the extrapolation grade of every atom in a column `grade`, the largest as `max_grade`
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    grade: Option<PathBuf>,
    /// A committee (of `fit --committee`): mean and standard deviation of its energies as `energy_mean`, `energy_std`, and the standard
    /// deviation of each force component in a column `forces_std`
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    committee: Option<PathBuf>,
}

/// What the flags ask for, made ready.
pub struct Uncertainty {
    active: Option<ActiveSet>,
}

/// Of one frame.
pub struct Doubts {
    grades: Option<Vec<f64>>,
    /// Mean and standard deviation of the energy, and standard deviations of the forces.
    committee: Option<([f64; 2], Vec<f64>)>,
}

impl Flags {
    /// Reads the files; the committee goes into the plan.
    pub fn ready(&self, plan: &mut Plan) -> Result<Uncertainty> {
        if let Some(path) = &self.committee {
            let n = plan.length_basis();
            ensure!(n > 0, "{}: the model has no linear parameters", path.display());
            let numbers = npz::Reader::open(path)?.matrix("parameters", n)?;
            plan.set_committee(&numbers.chunks(n).map(<[f64]>::to_vec).collect::<Vec<_>>())?;
        }
        Ok(Uncertainty { active: self.grade.as_ref().map(ActiveSet::load).transpose()? })
    }
}

impl Uncertainty {
    pub fn of(&self, plan: &Plan, graph: &Graph, frame: &Frame) -> Result<Doubts> {
        let s = &frame.structure;
        let grades = self.active.as_ref().map(|active| active.grades(plan, graph, s)).transpose()?;
        let k = plan.committee().len();
        if k == 0 {
            return Ok(Doubts { grades, committee: None });
        }
        let (mut energies, mut forces) = (vec![0.0; k], vec![0.0; k * 3 * s.n_atoms()]);
        let view = ArrayViewMut3::from_shape((k, s.n_atoms(), 3), &mut forces)?;
        let mut out = Outputs::new().committee_energies(&mut energies[..]).committee_forces(view);
        plan.evaluate((graph, &s.numbers), &mut out)?;
        let spread = |x: &dyn Fn(usize) -> f64| {
            let mean = (0..k).map(x).sum::<f64>() / k as f64;
            [mean, ((0..k).map(|m| (x(m) - mean).powi(2)).sum::<f64>() / k as f64).sqrt()]
        };
        let n = 3 * s.n_atoms();
        let of_forces = (0..n).map(|c| spread(&|m| forces[m * n + c])[1]).collect();
        Ok(Doubts { grades, committee: Some((spread(&|m| energies[m]), of_forces)) })
    }
}

impl Doubts {
    /// Puts them into the frame.
    pub fn label(self, frame: &mut Frame) {
        let real = |width, numbers| Column { width, data: Data::Real(numbers) };
        if let Some(grades) = self.grades {
            // Files hold finite numbers alone.
            let grades: Vec<f64> = grades.into_iter().map(|g| g.min(f64::MAX)).collect();
            let largest = grades.iter().fold(0.0, |m: f64, g| m.max(*g));
            frame.arrays.insert("grade".into(), real(1, grades));
            frame.info.insert("max_grade".into(), Value::Real(largest));
        }
        if let Some(([mean, deviation], forces)) = self.committee {
            frame.info.insert("energy_mean".into(), Value::Real(mean));
            frame.info.insert("energy_std".into(), Value::Real(deviation));
            frame.arrays.insert("forces_std".into(), real(3, forces));
        }
    }

    /// The largest grade, 0 without any.
    pub fn largest_grade(&self) -> f64 {
        self.grades.iter().flatten().fold(0.0, |m: f64, g| m.max(*g))
    }
}

/// An active set alone.
pub fn grades_of(active: ActiveSet) -> Uncertainty {
    Uncertainty { active: Some(active) }
}
