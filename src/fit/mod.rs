//! From data to parameters: rows go straight into triangular factors, whose size the data do not matter for.
//!
//! ```text
//! frames ──► rows of E, F, V ──► factors by group and kind ──► [weights, prior, E0] ──► system ──► solver ──► parameters, committee
//!            (evaluator)         (TSQR; merge, save, load)                                                   errors, active set
//! ```
//!
//! | file | does |
//! | --- | --- |
//! | `settings` | names of the data, weights, prior, solver |
//! | `data` | what a frame has to say, or why it says nothing |
//! | `factor`, `absorb` | blocks of rows into one triangle |
//! | `factors` | one factor for every group and kind of row; the file |
//! | `assemble`, `read` | frames into factors, on all threads; those of files, in shares |
//! | `block` | where rows go on a device |
//! | `active` | the active set of extrapolation grades |
//! | `search` | recipes compared by what they say of frames that they have not seen |
//! | `comparison`, `pairs`, `report` | errors of a fit, in numbers and words |
//! | `system`, `solver` | ridge, truncated SVD, Bayesian regression, relevance |
//!
//! ```
//! use acerust::build::{self, Recipe};
//! use acerust::fit::{self, Assembler, Settings};
//!
//! let model = build::model(&Recipe::from_toml("elements = ['Si']\norder = 2\ndegree = 6\nE0 = { Si = -0.846 }\nrcut = 5.5")?)?;
//! let settings = Settings::default();
//! let mut assembler = Assembler::new(&model, &settings)?;
//! for frame in acerust::extxyz::read("benchmark/data/Si_test.extxyz", &Default::default())? {
//!     assembler.push(frame)?;
//! }
//! let fitted = fit::solve(&assembler.finish()?, &settings)?;
//! assert!(fitted.model.linear_parameters().iter().any(|&x| x != 0.0));
//! # Ok::<(), acerust::Error>(())
//! ```
mod absorb;
mod active;
mod assemble;
mod block;
mod comparison;
mod data;
mod factor;
mod factors;
mod lasso;
mod pairs;
mod read;
mod report;
mod search;
mod settings;
mod solver;
mod system;

pub(crate) use active::Selection;
pub use active::{Selector, active_set, max_volume};
pub use assemble::{Assembler, Work};
pub use comparison::{Comparison, Comparisons, QUANTITIES, Quantity, References, compare, table};
pub use data::{Observation, Remarks};
pub use factor::Factor;
pub use factors::{Factors, Group};
pub use pairs::Pairs;
pub use read::Share;
pub use report::{Checks, Report};
pub use search::{Candidate, Limits, Trial, search};
pub use settings::{OneBody, Settings, Weights};
pub use solver::{Solution, Solver, log_evidence};
pub use system::System;

use crate::model::{Model, PartSpec};
pub use crate::random::Random;
use crate::{Error, Result, memory};
use indexmap::IndexMap;

/// What a fit gives.
#[derive(Debug)]
#[non_exhaustive]
pub struct Fitted {
    /// With parameters and one-body energies.
    pub model: Model,
    /// Parameter vectors drawn from the posterior.
    pub committee: Vec<Vec<f64>>,
    pub solver: Solver,
    /// `ln p(y)`, where the solver has one.
    pub log_evidence: Option<f64>,
    /// Parameters that the data determine.
    pub effective: f64,
    /// The standard deviation of the noise of a row of weight 1.
    pub noise: f64,
    pub rows: u64,
    /// Root-mean-square errors by group, from the factors alone.
    pub errors: IndexMap<String, RowErrors>,
}

/// Root-mean-square errors; `None` without data.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct RowErrors {
    /// eV an atom.
    pub energy: Option<f64>,
    /// eV/Å, of a component.
    pub force: Option<f64>,
    /// eV by the square root of the number of atoms, of a component.
    pub virial: Option<f64>,
}

/// Solves for the parameters. Nothing is read: other weights, priors and solvers are a matter of seconds.
///
/// # Errors
/// [`Error::Fit`]: no data, a system without a unique solution, one-body energies that the data do not tell.
/// [`Error::Memory`]: a committee that is larger than a call may take.
pub fn solve(factors: &Factors, settings: &Settings) -> Result<Fitted> {
    settings.check()?;
    let e0 = factors.one_body(settings.one_body)?;
    let log_gamma = settings.prior.log_diagonal(&factors.model);
    let system = factors.system(settings, &e0, &log_gamma, |_| true);
    let solution = settings.solver.solve(&system)?;
    if !solution.noise.is_finite() || solution.log_evidence.is_some_and(|e| !e.is_finite()) {
        return Err(Error::Fit("the solution: squares of errors are not finite: data or weights are too large".into()));
    }
    let theta = parameters(&solution.phi, &log_gamma);
    let mut random = Random::new(settings.seed);
    let bytes = settings.committee as f64 * (size_of_val(&*theta) + size_of::<Vec<f64>>()) as f64;
    memory::check(bytes, || format!("a committee of {} members", settings.committee))?;
    let committee = (0..settings.committee).map(|_| parameters(&solution.sample(&mut random), &log_gamma)).collect();
    let errors = factors.groups.iter().map(|(name, g)| (name.clone(), g.errors(&theta, &e0))).collect();
    let mut spec = factors.model.clone().into_spec();
    let mut e0 = e0.into_iter().map(Some).collect::<Vec<_>>();
    for part in &mut spec.parts {
        if let PartSpec::OneBody(one) = part {
            // The first part has them all.
            one.e0.iter_mut().zip(&mut e0).for_each(|(x, e)| *x = e.take().unwrap_or(0.0));
        }
    }
    spec.source = source(factors, settings, solution.log_evidence, system.rows);
    let mut model = Model::new(spec)?;
    model.set_linear_parameters(&theta).map_err(|e| Error::Fit(format!("the solution: {e}")))?;
    let Solution { log_evidence, effective, noise, .. } = solution;
    Ok(Fitted { model, committee, solver: settings.solver, log_evidence, effective, noise, rows: system.rows, errors })
}

/// What a fitted model says of its origin.
fn source(factors: &Factors, settings: &Settings, log_evidence: Option<f64>, rows: u64) -> String {
    let data = match factors.sources.is_empty() {
        true => "in memory".into(),
        false => factors.sources.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
    };
    let settings = serde_json::to_string(settings).expect("plain data");
    let evidence = log_evidence.map_or(String::new(), |e| format!("; ln evidence {e:.3}"));
    format!("acerust {} fit: data {data}; {rows} rows; settings {settings}{evidence}", env!("CARGO_PKG_VERSION"))
}

/// The errors of each group under the parameters fitted to all others.
///
/// # Errors
/// As [`solve`]; a single group.
pub fn leave_one_out(factors: &Factors, settings: &Settings) -> Result<IndexMap<String, RowErrors>> {
    let n = factors.groups.len();
    if n < 2 {
        return Err(Error::Fit(format!("leaving one group out needs two of them; there is {n}")));
    }
    let e0 = factors.one_body(settings.one_body)?;
    let log_gamma = settings.prior.log_diagonal(&factors.model);
    let group = |k: usize| factors.groups.get_index(k).expect("one of the groups");
    let add = |k: usize, system: &mut System| group(k).1.add_to(system, settings, group(k).0, &e0, &log_gamma);
    let mut errors = IndexMap::new();
    all_but_one(n, System::new(factors.n_params()), add, |k, others| {
        let theta = parameters(&settings.solver.solve(others)?.phi, &log_gamma);
        errors.insert(group(k).0.clone(), group(k).1.errors(&theta, &e0));
        Ok(())
    })?;
    Ok(errors)
}

/// Hands over, for each of `n` parts, the sum of all others: halves are added in turn on the way down, about `n log₂ n` additions.
fn all_but_one(
    n: usize,
    none: System,
    add: impl Fn(usize, &mut System),
    mut each: impl FnMut(usize, &System) -> Result<()>,
) -> Result<()> {
    let mut open = vec![(0..n, none)];
    while let Some((parts, others)) = open.pop() {
        if parts.len() == 1 {
            each(parts.start, &others)?;
            continue;
        }
        let middle = (parts.start + parts.end) / 2;
        for (left, other) in [(middle..parts.end, parts.start..middle), (parts.start..middle, middle..parts.end)] {
            let mut system = others.clone();
            other.for_each(|k| add(k, &mut system));
            open.push((left, system));
        }
    }
    Ok(())
}

/// `θ = Γ⁻¹ φ`
fn parameters(phi: &[f64], log_gamma: &[f64]) -> Vec<f64> {
    phi.iter().zip(log_gamma).map(|(p, g)| p * (-g).exp()).collect()
}

impl Group {
    /// Root-mean-square errors of parameters and one-body energies.
    pub fn errors(&self, parameters: &[f64], e0: &[f64]) -> RowErrors {
        let x: Vec<f64> = parameters.iter().chain(e0).copied().chain([-1.0]).collect();
        let of = |f: &Factor| (f.rows() > 0).then(|| (f.squares(&x) / f.rows() as f64).sqrt());
        RowErrors { energy: of(&self.energy_per_atom), force: of(&self.force), virial: of(&self.virial) }
    }
}
