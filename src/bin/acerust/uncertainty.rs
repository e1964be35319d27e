//! How far results are to be trusted: extrapolation grades, and the spread of a committee.

use crate::output::Output;
use acerust::extxyz::{Column, Data, Frame, Value};
use acerust::graph::Graph;
use acerust::ndarray::ArrayViewMut3;
use acerust::npz;
use acerust::plan::{ActiveSet, Outputs, Plan};
use acerust::structure::Structure;
use anyhow::Result;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Flags {
    /// An active set (of `fit --active-set`, or an `.asi` of pacemaker for its `.yaml`): the extrapolation grade of every atom in a column
    /// `grade`, the largest as `max_grade`
    #[arg(long, value_name = "FILE")]
    grade: Option<PathBuf>,
    /// A committee (of `fit --committee`): mean and standard deviation of its energies as `energy_mean`, `energy_std`, and the standard
    /// deviation of each force component in a column `forces_std`
    #[arg(long, value_name = "FILE")]
    committee: Option<PathBuf>,
}

/// Of one frame.
#[derive(Default)]
pub struct Doubts {
    grades: Option<Vec<f64>>,
    /// Mean and standard deviation of the energy, and standard deviations of the forces.
    committee: Option<([f64; 2], Vec<f64>)>,
}

impl Flags {
    /// Reads the files into the plan.
    pub fn ready(&self, plan: &mut Plan) -> Result<()> {
        if let Some(path) = &self.committee {
            plan.load_committee(path)?;
        }
        if let Some(path) = &self.grade {
            plan.set_active_set(Some(ActiveSet::load(path)?))?;
        }
        Ok(())
    }
}

impl Doubts {
    /// Grades and spreads, as far as the plan has an active set and a committee.
    pub fn new(plan: &Plan, graph: &Graph, s: &Structure) -> Result<Doubts> {
        let grades = plan.active_set().map(|_| {
            let mut grades = vec![0.0; s.n_atoms()];
            plan.evaluate((graph, &s.numbers), &mut Outputs::new().grade(&mut grades[..])).map(|()| grades)
        });
        let (grades, k) = (grades.transpose()?, plan.committee().len());
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

    /// Puts them into the frame.
    pub fn label(self, frame: &mut Frame) {
        let real = |width, numbers| Column { width, data: Data::Real(numbers) };
        if let Some(grades) = self.grades {
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
