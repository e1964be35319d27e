//! Functions of a distance: bases, cutoffs, transforms of the distance.
//!
//! `e_n = b_n(t(r)) f(r)`, with `u = r/r_max`:
//! Bessel `b_n = √(2/r_max) sin(w_n t)/t`, `w_n = nπ/r_max`; Gaussian `exp(γ (t − μ_n)²)`, `μ_n` from 0 to `r_max`,
//! `γ = −½ ((n_b − 1)/r_max)²`; Chebyshev `T_n(t)`, n = 1…n_b; and none, `b = t`.
//! Agnesi `t = 1/(1 + a s^q/(1 + s^(q−p)))`, `s = r/r0`, `r0 = (R_i + R_j)/2`;
//! soft `t = p0 + (r − p0) ½ (1 + tanh(α (r − m)/(p1 − p0)))`, `p0 = ¾ r0`, `p1 = 4/3 r0`, `m = (p0 + p1)/2`, `r0 = R_i + R_j`.
//! Cutoff `f = 1 − (p+1)(p+2)/2 u^p + p(p+2) u^(p+1) − p(p+1)/2 u^(p+2)`, 0 for `u ≥ 1`.
//!
//! Computed in f64, with two derivatives each, whatever the type of the arguments.

use super::jet::Jet;
use super::kernel::{Call, Extent, IndexPort, Kernel, Pass, Port, Ports, Sizes, Wanted, for_parts};
use super::scratch::Scratch;
use crate::parallel::Disjoint;
use crate::simd::Real;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// Of rows `r`, in Å; with a transform, the indices `species_i` and `species_j` choose the radii.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Radial {
    pub r_max: f64,
    pub basis: RadialBasis,
    /// The exponent p.
    #[serde(default)]
    pub cutoff: Option<u32>,
    #[serde(default)]
    pub transform: Option<Transform>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RadialBasis {
    /// The distance itself, or what the transform makes of it.
    Identity,
    /// 1: the cutoff alone.
    Constant,
    /// `w_n` in 1/Å, where they are not those of the text; the prefactor `√(2/r_max)`, where it is another.
    Bessel {
        n: usize,
        #[serde(default)]
        weights: Option<Vec<f64>>,
        #[serde(default)]
        prefactor: Option<f64>,
    },
    Gaussian {
        n: usize,
    },
    Chebyshev {
        n: usize,
    },
}

/// Covalent radii `R` by species, in Å, and constants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Transform {
    Agnesi { radii: Vec<f64>, a: f64, q: f64, p: f64 },
    Soft { radii: Vec<f64>, alpha: f64 },
}

/// The most functions.
const MAX_FUNCTIONS: usize = 1 << 12;

impl Radial {
    pub fn n_functions(&self) -> usize {
        match &self.basis {
            RadialBasis::Identity | RadialBasis::Constant => 1,
            RadialBasis::Bessel { n, .. } | RadialBasis::Gaussian { n } | RadialBasis::Chebyshev { n } => *n,
        }
    }

    /// What multiplies Bessel functions, or the squares in Gaussians: γ.
    pub(crate) fn scale(&self) -> f64 {
        match &self.basis {
            RadialBasis::Bessel { prefactor, .. } => prefactor.unwrap_or((2.0 / self.r_max).sqrt()),
            RadialBasis::Gaussian { n } => -0.5 * (intervals(*n) / self.r_max).powi(2),
            _ => 1.0,
        }
    }

    /// The frequency of Bessel function `k`, the centre of Gaussian `k`.
    pub(crate) fn weight(&self, k: usize) -> f64 {
        match &self.basis {
            RadialBasis::Bessel { weights: Some(w), .. } => w[k],
            RadialBasis::Bessel { .. } => (k + 1) as f64 * PI / self.r_max,
            RadialBasis::Gaussian { n } => k as f64 * self.r_max / intervals(*n),
            _ => 0.0,
        }
    }

    pub(crate) fn radii(&self) -> Option<&[f64]> {
        self.transform.as_ref().map(|t| match t {
            Transform::Agnesi { radii, .. } | Transform::Soft { radii, .. } => &radii[..],
        })
    }

    pub(crate) fn ports(&self) -> Result<Ports> {
        let refuse = |what: &str| Err(Error::Argument(format!("radial: {what}")));
        let positive = |x: f64| x.is_finite() && x > 0.0;
        if !positive(self.r_max) {
            return refuse(&format!("r_max = {}, expected a length", self.r_max));
        }
        if !(1..=MAX_FUNCTIONS).contains(&self.n_functions()) {
            return refuse(&format!("n = {}, expected 1 to {MAX_FUNCTIONS}", self.n_functions()));
        }
        if let RadialBasis::Bessel { n, weights: Some(w), .. } = &self.basis
            && (w.len() != *n || w.iter().any(|w| !w.is_finite()))
        {
            return refuse(&format!("{} weights, expected {n} finite numbers", w.len()));
        }
        if self.cutoff.is_some_and(|p| !(1..=1000).contains(&p)) {
            return refuse("cutoff: expected an exponent from 1 to 1000");
        }
        if self.radii().is_some_and(|radii| !radii.iter().all(|&r| positive(r))) {
            return refuse("radii: expected lengths");
        }
        let constants = match &self.transform {
            Some(Transform::Agnesi { a, q, p, .. }) => vec![("a", *a), ("q", *q), ("p", *p)],
            Some(Transform::Soft { alpha, .. }) => vec![("alpha", *alpha)],
            None => vec![],
        };
        if let Some((name, x)) = constants.into_iter().find(|(_, x)| !x.is_finite()) {
            return refuse(&format!("{name} = {x}, expected a finite number"));
        }
        if !self.scale().is_finite() {
            return refuse(&format!("prefactor = {}, expected a finite number", self.scale()));
        }
        let species = |name| self.radii().map(|radii| IndexPort { name, bound: Some(radii.len()) });
        Ok(Ports {
            inputs: vec![Port::new("r", Extent::Rows, 1)],
            indices: ["species_i", "species_j"].into_iter().filter_map(species).collect(),
            output: Port::new("out", Extent::Rows, self.n_functions()),
        })
    }

    /// The functions of one distance, to `out`.
    fn eval(&self, r: f64, pair: Option<[usize; 2]>, mut out: impl FnMut(usize, Jet)) {
        let r = Jet::variable(r);
        let f = self.cutoff.map(|p| cutoff(r, self.r_max, p));
        let t = match (&self.transform, pair) {
            (Some(transform), Some(pair)) => transform.eval(r, pair),
            _ => r,
        };
        let mut put = |n: usize, b: Jet| out(n, f.map_or(b, |f| b * f));
        match &self.basis {
            RadialBasis::Identity => put(0, t),
            RadialBasis::Constant => put(0, Jet::constant(1.0)),
            RadialBasis::Bessel { n, .. } => {
                let scale = self.scale();
                (0..*n).for_each(|k| put(k, (t * self.weight(k)).sin() / t * scale));
            }
            RadialBasis::Gaussian { n } => {
                let gamma = self.scale();
                for k in 0..*n {
                    let d = t - Jet::constant(self.weight(k));
                    put(k, (d * d * gamma).exp());
                }
            }
            RadialBasis::Chebyshev { n } => {
                let (mut below, mut this) = (Jet::constant(1.0), t);
                for k in 0..*n {
                    put(k, this);
                    (below, this) = (this, t * this * 2.0 - below);
                }
            }
        }
    }

    pub(crate) fn kernel<T: Real>(&self) -> Box<dyn Kernel<T>> {
        Box::new(RadialKernel { radial: self.clone() })
    }
}

/// Between so many centres from 0 to `r_max`.
fn intervals(n: usize) -> f64 {
    (n as f64 - 1.0).max(1.0)
}

/// The polynomial cutoff.
pub(crate) fn cutoff(r: Jet, r_max: f64, p: u32) -> Jet {
    if r.value >= r_max {
        return Jet::constant(0.0);
    }
    let (u, q) = (r * (1.0 / r_max), f64::from(p));
    let inner = Jet::constant((q + 1.0) * (q + 2.0) / 2.0) - u * (q * (q + 2.0)) + u * u * (q * (q + 1.0) / 2.0);
    Jet::constant(1.0) - u.powi(p as i32) * inner
}

impl Transform {
    fn eval(&self, r: Jet, [i, j]: [usize; 2]) -> Jet {
        let one = Jet::constant(1.0);
        match self {
            Transform::Agnesi { radii, a, q, p } => {
                let s = r * (2.0 / (radii[i] + radii[j]));
                one / (one + s.powf(*q) * *a / (one + s.powf(q - p)))
            }
            Transform::Soft { radii, alpha } => {
                let r0 = radii[i] + radii[j];
                let (p0, p1) = (0.75 * r0, 4.0 / 3.0 * r0);
                let s = (r - Jet::constant(0.5 * (p0 + p1))) * (alpha / (p1 - p0));
                Jet::constant(p0) + (r - Jet::constant(p0)) * (one + s.tanh()) * 0.5
            }
        }
    }
}

struct RadialKernel {
    radial: Radial,
}

/// Rows that a thread takes at a time.
const ROWS: usize = 64;

impl RadialKernel {
    /// Runs `f(row, n, e_n)` for all rows.
    fn run<T: Real>(&self, call: Call<T>, f: impl Fn(usize, usize, Jet) + Sync) {
        let pair = |row: usize| match call.indices {
            [i, j] => Some([i[row] as usize, j[row] as usize]),
            _ => None,
        };
        for_parts(call.sizes.rows, ROWS, |part| {
            for row in part {
                self.radial.eval(call.inputs[0][row].to_f64(), pair(row), |n, e| f(row, n, e));
            }
        });
    }

    /// `r̄ = Σ_n ē_n e(n)`
    fn pull<T: Real>(
        &self,
        call: Call<T>,
        cotangent: &[T],
        r_bar: &mut [T],
        factor: impl Fn(usize, Jet) -> f64 + Sync,
    ) {
        let n_functions = self.radial.n_functions();
        r_bar.fill(T::default());
        let r_bar = Disjoint::new(r_bar);
        self.run(call, |row, n, e| {
            // SAFETY: every row is in one task.
            let r = unsafe { r_bar.entry(row) };
            *r += T::of(cotangent[row * n_functions + n].to_f64() * factor(row, e));
        });
    }
}

impl<T: Real> Kernel<T> for RadialKernel {
    fn scratch(&self, _: Sizes, _: Pass, _: usize) -> usize {
        0
    }

    fn forward(&self, call: Call<T>, out: &mut [T], _: Scratch) {
        let (n_functions, out) = (self.radial.n_functions(), Disjoint::new(out));
        // SAFETY: every row is in one task.
        self.run(call, |row, n, e| unsafe { *out.entry(row * n_functions + n) = T::of(e.value) });
    }

    fn backward(&self, call: Call<T>, cotangent: &[T], gradients: Wanted<T>, _: Scratch) {
        if let Some(r) = &mut gradients[0] {
            self.pull(call, cotangent, r, |_, e| e.first);
        }
    }

    fn double_backward(
        &self,
        call: Call<T>,
        cotangent: &[T],
        directions: &[Option<&[T]>],
        seconds: Wanted<T>,
        _: Scratch,
    ) {
        let direction = |row: usize| directions[0].map_or(0.0, |d| d[row].to_f64());
        let [r, out] = seconds else { unreachable!("one input and the cotangent") };
        if let Some(r) = r {
            self.pull(call, cotangent, r, |row, e| e.second * direction(row));
        }
        if let Some(out) = out {
            let (n_functions, out) = (self.radial.n_functions(), Disjoint::new(out));
            // SAFETY: every row is in one task.
            self.run(call, |row, n, e| unsafe { *out.entry(row * n_functions + n) = T::of(e.first * direction(row)) });
        }
    }

    fn diagnose(&self, call: Call<T>) -> Option<String> {
        let wrong = call.inputs[0].iter().position(|r| r.to_f64() <= 0.0);
        wrong.map(|row| format!("r: {} in row {row}, expected a distance", call.inputs[0][row].to_f64()))
    }
}
