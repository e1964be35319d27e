//! Solvers: from the triangle of all rows to parameters and their spread. All but the truncated SVD are ridge regressions with a
//! damping of their own finding, `|X φ − y|² + Σ (d_i φ_i)²`: one triangular elimination, and the posterior `φ + σ R'⁻¹ ξ`.

use super::lasso;
use super::system::System;
use crate::random::Random;
use crate::{Error, Result};
use faer::Mat;
use serde::{Deserialize, Serialize};

/// How the parameters are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum Solver {
    /// Damped least squares.
    Ridge {
        /// The damping, relative to `‖X‖_F / √n` unless `absolute`.
        #[serde(default = "Solver::default_lambda")]
        lambda: f64,
        #[serde(default)]
        absolute: bool,
    },
    /// Least squares without the directions whose singular values are below this part of the largest.
    Svd {
        #[serde(default = "Solver::default_tolerance")]
        tolerance: f64,
    },
    /// Bayesian linear regression: the damping of the largest evidence.
    #[default]
    Blr,
    /// Automatic relevance determination: a damping for each parameter, of the largest evidence.
    Ard {
        #[serde(default = "Solver::default_iterations")]
        iterations: usize,
    },
    /// Active set pursuit: least squares of the parameters that come first on the path of the lasso.
    Asp {
        /// So many of them; where nothing is said as many as make the Bayesian information criterion least, up to half the number of rows.
        #[serde(default)]
        parameters: Option<usize>,
    },
}

impl Solver {
    fn default_lambda() -> f64 {
        1e-6
    }

    fn default_tolerance() -> f64 {
        1e-9
    }

    fn default_iterations() -> usize {
        30
    }
}

/// Parameters `φ` with what is known of their spread.
#[derive(Debug)]
#[non_exhaustive]
pub struct Solution {
    pub phi: Vec<f64>,
    /// The standard deviation of the noise of a row of weight 1.
    pub noise: f64,
    /// `ln p(y)`, where the solver has one.
    pub log_evidence: Option<f64>,
    /// Parameters that the data determine.
    pub effective: f64,
    /// The damping of every parameter.
    pub damping: Vec<f64>,
    posterior: Posterior,
}

#[derive(Debug)]
enum Posterior {
    /// `φ + σ R⁻¹ ξ`
    Triangle(System),
    /// `φ + σ V diag(1/d) ξ`
    Directions(Mat<f64>),
}

impl Solution {
    /// A member of the committee, drawn from the posterior.
    pub fn sample(&self, random: &mut Random) -> Vec<f64> {
        let n = self.phi.len();
        let spread = match &self.posterior {
            Posterior::Triangle(system) => {
                let xi: Vec<f64> = (0..n).map(|_| self.noise * random.normal()).collect();
                system.back_substitute(&xi).expect("it was solved before")
            }
            Posterior::Directions(directions) => {
                let xi: Vec<f64> = (0..directions.ncols()).map(|_| self.noise * random.normal()).collect();
                (0..n).map(|i| xi.iter().enumerate().map(|(k, x)| directions[(i, k)] * x).sum()).collect()
            }
        };
        self.phi.iter().zip(spread).map(|(p, s)| p + s).collect()
    }
}

impl Solver {
    /// # Errors
    /// A number that the solver cannot work with.
    pub(super) fn check(&self) -> std::result::Result<(), String> {
        match *self {
            Solver::Ridge { lambda, .. } if !(lambda >= 0.0 && lambda.is_finite()) => {
                Err(format!("the damping {lambda} is negative or not finite"))
            }
            Solver::Svd { tolerance } if !(0.0..1.0).contains(&tolerance) => {
                Err(format!("the tolerance {tolerance} is not in 0 … 1"))
            }
            Solver::Asp { parameters: Some(0) } => Err("no parameters are asked for".into()),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// A number that the solver cannot work with; no rows; a system that has no unique solution.
    pub fn solve(&self, system: &System) -> Result<Solution> {
        self.check().map_err(Error::Fit)?;
        if system.rows == 0 {
            return fail("no rows: no frame has data of a weight that is not zero");
        }
        let norm = system.norm();
        if !norm.is_finite() || !system.rho().is_finite() || system.z().iter().any(|z| !z.is_finite()) {
            return fail("rows are not finite");
        }
        if norm == 0.0 {
            return fail("all rows are zero");
        }
        let squares = system.z().iter().map(|z| z * z).sum::<f64>() + system.rho().powi(2);
        if !(norm * norm).is_finite() || !squares.is_finite() {
            return fail("rows are too large to be squared: data or weights are");
        }
        let n = system.n();
        match *self {
            Solver::Ridge { lambda, absolute } => {
                let lambda = if absolute { lambda } else { lambda * norm / (n as f64).sqrt() };
                ridge(system, vec![lambda; n])
            }
            Solver::Svd { tolerance } => truncated(system, tolerance),
            Solver::Blr => bayes(system, norm),
            Solver::Ard { iterations } => relevance(system, norm, iterations),
            Solver::Asp { parameters } => pursuit(system, norm, parameters),
        }
    }
}

fn fail<T>(message: &str) -> Result<T> {
    Err(Error::Fit(message.into()))
}

fn ridge(system: &System, damping: Vec<f64>) -> Result<Solution> {
    let damped = system.damped(&damping);
    let Some(phi) = damped.back_substitute(&damped.z()) else {
        return fail("the data do not determine all parameters: damp them (ridge with lambda, blr), or truncate (svd)");
    };
    let inverse = damped.inverse_diagonal();
    let effective = inverse.iter().zip(&damping).map(|(v, d)| 1.0 - d * d * v).sum::<f64>();
    let noise = (system.squares(&phi) / (system.rows as f64 - effective).max(1.0)).sqrt();
    Ok(Solution { phi, noise, log_evidence: None, effective, damping, posterior: Posterior::Triangle(damped) })
}

fn truncated(system: &System, tolerance: f64) -> Result<Solution> {
    let n = system.n();
    let svd = system.r().svd().map_err(|e| Error::Fit(format!("the singular values: {e:?}")))?;
    let (u, v) = (svd.U(), svd.V());
    let d: Vec<f64> = (0..n).map(|k| svd.S().column_vector()[k]).collect();
    let kept = d.iter().take_while(|&&x| x > tolerance.max(f64::EPSILON) * d[0]).count();
    let z = system.z();
    let dot = |k: usize| (0..n).map(|i| u[(i, k)] * z[i]).sum::<f64>() / d[k];
    let along: Vec<f64> = (0..kept).map(dot).collect();
    let phi: Vec<f64> = (0..n).map(|i| along.iter().enumerate().map(|(k, x)| v[(i, k)] * x).sum()).collect();
    let noise = (system.squares(&phi) / (system.rows as f64 - kept as f64).max(1.0)).sqrt();
    let directions = Mat::from_fn(n, kept, |i, k| v[(i, k)] / d[k]);
    let (effective, damping) = (kept as f64, vec![0.0; n]);
    let posterior = Posterior::Directions(directions);
    Ok(Solution { phi, noise, log_evidence: None, effective, damping, posterior })
}

/// `ln p(y)` for the variances `σ_e² = κ σ_0²` of noise and parameters, with the best `σ_0²`, which comes second.
///
/// With `S = min |Xφ − y|² + κ|φ|²`: `−2 ln p = S / (κ σ_0²) + N ln σ_0² + ln |RᵀR + κ| + (N − n) ln κ + N ln 2π`.
pub fn log_evidence(system: &System, kappa: f64) -> (f64, f64) {
    log_evidence_in(system, kappa, &mut (System::new(system.n()), Mat::new()))
}

/// The same with memory for a damped system and its rows.
fn log_evidence_in(system: &System, kappa: f64, (damped, block): &mut (System, Mat<f64>)) -> (f64, f64) {
    let (n, rows) = (system.n() as f64, system.rows as f64);
    system.damp(&vec![kappa.sqrt(); system.n()], damped, block);
    let variance = (damped.rho().powi(2) / (kappa * rows)).max(f64::MIN_POSITIVE);
    let twice =
        rows * (1.0 + variance.ln() + std::f64::consts::TAU.ln()) + damped.log_determinant() + (rows - n) * kappa.ln();
    (-0.5 * twice, variance)
}

/// The damping between rounding and nonsense for which the data are most likely: first on a grid, then by golden section.
fn bayes(system: &System, norm: f64) -> Result<Solution> {
    let scale = 2.0 * (norm / (system.n() as f64).sqrt()).ln();
    let mut memory = (System::new(system.n()), Mat::new());
    let mut evidence = |x: f64| {
        let (e, _) = log_evidence_in(system, (scale + x).exp(), &mut memory);
        if e.is_finite() { e } else { f64::NEG_INFINITY }
    };
    const STEP: f64 = 4.0;
    let grid = || (-14..=3).map(|k| f64::from(k) * STEP);
    let (best, _) =
        grid().map(|x| (x, evidence(x))).fold((0.0, f64::NEG_INFINITY), |a, b| if b.1 > a.1 { b } else { a });
    let golden = 0.5 * (5f64.sqrt() - 1.0);
    let (mut low, mut high) = (best - STEP, best + STEP);
    let (mut a, mut b) = (high - golden * STEP * 2.0, low + golden * STEP * 2.0);
    let (mut fa, mut fb) = (evidence(a), evidence(b));
    while high - low > 0.02 {
        if fa > fb {
            (high, b, fb) = (b, a, fa);
            a = high - golden * (high - low);
            fa = evidence(a);
        } else {
            (low, a, fa) = (a, b, fb);
            b = low + golden * (high - low);
            fb = evidence(b);
        }
    }
    let kappa = (scale + 0.5 * (low + high)).exp();
    let (e, variance) = log_evidence_in(system, kappa, &mut memory);
    drop(memory);
    let mut solution = ridge(system, vec![kappa.sqrt(); system.n()])?;
    solution.noise = (kappa * variance).sqrt();
    solution.log_evidence = Some(e);
    Ok(solution)
}

/// Corners beyond the best of the path so far that are looked at, besides a tenth of their number.
const PATIENCE: usize = 64;

/// Least squares of the parameters on the path of the lasso up to a number of them, or to the least
/// `N ln(|Xφ − y|²/N) + k ln N` of `k` parameters and `N` rows (G. Schwarz, Ann. Stat. 6, 461 (1978)).
fn pursuit(system: &System, norm: f64, parameters: Option<usize>) -> Result<Solution> {
    if !(norm * system.squares(&vec![0.0; system.n()])).is_finite() {
        return fail("rows are too large to be squared");
    }
    let (rows, rest) = (system.rows as f64, system.rho().powi(2));
    let criterion =
        |squares: f64, k: usize| rows * ((squares + rest) / rows).max(f64::MIN_POSITIVE).ln() + k as f64 * rows.ln();
    // No parameters at all are a choice, too.
    let none = system.squares(&vec![0.0; system.n()]) - rest;
    let (mut best, mut least) = (vec![], parameters.map_or(criterion(none, 0), |_| f64::INFINITY));
    let (mut corners, mut at) = (0, 0);
    lasso::path(system, |corner| {
        corners += 1;
        let k = corner.active.len();
        let criterion = match parameters {
            Some(n) if k <= n => -(corners as f64),
            Some(_) => f64::INFINITY,
            // With half as many parameters as rows it has lost its meaning.
            None if 2 * k as u64 > system.rows => f64::INFINITY,
            None => criterion(corner.squares, k),
        };
        if criterion < least {
            let active = corner.active.iter().zip(corner.phi).filter(|(_, phi)| **phi != 0.0);
            (best, least, at) = (active.map(|(&k, _)| k).collect::<Vec<_>>(), criterion, corners);
        }
        match parameters {
            Some(n) => k <= n,
            None => corners < at + PATIENCE + corners / 10,
        }
    });
    let mut damping = vec![1e6 * norm; system.n()];
    best.iter().for_each(|&k| damping[k] = 0.0);
    let mut solution = ridge(system, damping)?;
    solution.phi.iter_mut().zip(&solution.damping).filter(|(_, d)| **d > 0.0).for_each(|(phi, _)| *phi = 0.0);
    Ok(solution)
}

/// MacKay's fixed point for a variance of each parameter: `γ_i = 1 − d_i² V_ii`, `σ_i² = φ_i² / γ_i`, `σ_e² = |Xφ − y|² / (N − Σγ)`.
fn relevance(system: &System, norm: f64, iterations: usize) -> Result<Solution> {
    let mut solution = bayes(system, norm)?;
    // Parameters damped more than that are as good as gone; less would leave a singular system where there is no noise.
    let (least, gone) = (1e-10 * norm / (system.n() as f64).sqrt(), 1e3 * norm);
    for _ in 0..iterations {
        let Posterior::Triangle(damped) = &solution.posterior else { unreachable!("a ridge regression") };
        let inverse = damped.inverse_diagonal();
        let step = |i: usize| {
            let d = solution.damping[i];
            let gamma = (1.0 - d * d * inverse[i]).clamp(1e-12, 1.0);
            (solution.noise * gamma.sqrt() / solution.phi[i].abs().max(f64::MIN_POSITIVE)).clamp(least, gone)
        };
        let damping: Vec<f64> = (0..system.n()).map(step).collect();
        let change = damping.iter().zip(&solution.damping).fold(0.0, |m: f64, (a, b)| m.max((a / b).ln().abs()));
        solution = ridge(system, damping)?;
        if change < 1e-2 {
            break;
        }
    }
    Ok(solution)
}
