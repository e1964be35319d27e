//! Smoothness priors: a linear parameter of a rough basis function is expected to be small.

use crate::model::spec::AceSpec;
use crate::model::{Model, PartSpec};
use serde::{Deserialize, Serialize};

/// How the diagonal `Γ` of the prior grows with the `(n, l)` of a basis function's factors. A pair function counts as `(n, 0)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum Prior {
    /// 1 for all.
    Identity,
    /// `Σ (l / wl)^p + (n / wn)^p`
    Algebraic {
        #[serde(default = "four")]
        p: f64,
        #[serde(default = "two_thirds")]
        wl: f64,
        #[serde(default = "one")]
        wn: f64,
    },
    /// `exp Σ (l / wl + n / wn)`
    Exponential {
        #[serde(default = "two_thirds")]
        wl: f64,
        #[serde(default = "one")]
        wn: f64,
    },
    /// `exp Σ (l / wl)² + (n / wn)²`
    Gaussian {
        #[serde(default = "half_root")]
        wl: f64,
        #[serde(default = "half_root")]
        wn: f64,
    },
}

fn four() -> f64 {
    4.0
}

fn one() -> f64 {
    1.0
}

fn two_thirds() -> f64 {
    2.0 / 3.0
}

fn half_root() -> f64 {
    std::f64::consts::FRAC_1_SQRT_2
}

impl Default for Prior {
    /// Upstream's: algebraic, p = 4, wl = 2/3, wn = 1.
    fn default() -> Self {
        Prior::Algebraic { p: four(), wl: two_thirds(), wn: one() }
    }
}

impl Prior {
    /// # Errors
    /// A weight or a power that is not above 0, by its name.
    pub(crate) fn check(&self) -> Result<(), String> {
        let used = match *self {
            Prior::Identity => vec![],
            Prior::Algebraic { p, wl, wn } => vec![("wl", wl), ("wn", wn), ("p", p)],
            Prior::Exponential { wl, wn } | Prior::Gaussian { wl, wn } => vec![("wl", wl), ("wn", wn)],
        };
        match used.into_iter().find(|(_, x)| !(*x > 0.0 && x.is_finite())) {
            Some((name, x)) => Err(format!("{name} is {x}, not above 0")),
            None => Ok(()),
        }
    }

    /// `ln Γ` of every linear parameter, in the order of [`Model::linear_parameters`]; logarithms, since the gaussian prior overflows.
    pub fn log_diagonal(&self, model: &Model) -> Vec<f64> {
        let mut diagonal = Vec::with_capacity(model.length_basis());
        for part in &model.spec().parts {
            let of_part: Vec<f64> = labels(part).iter().map(|class| self.log_of(class)).collect();
            part.weights().iter().for_each(|_| diagonal.extend(&of_part));
        }
        diagonal
    }

    fn log_of(&self, class: &[[u32; 2]]) -> f64 {
        let sum = |f: &dyn Fn(f64, f64) -> f64| class.iter().map(|&[n, l]| f(f64::from(n), f64::from(l))).sum::<f64>();
        match *self {
            Prior::Identity => 0.0,
            Prior::Algebraic { p, wl, wn } => sum(&|n, l| (l / wl).powf(p) + (n / wn).powf(p)).ln(),
            Prior::Exponential { wl, wn } => sum(&|n, l| l / wl + n / wn),
            Prior::Gaussian { wl, wn } => sum(&|n, l| (l / wl).powi(2) + (n / wn).powi(2)),
        }
    }
}

/// The pairs `[n, l]` of the factors of a part's basis functions, those that have linear parameters. A pair function is `[n, 0]`.
pub fn labels(part: &PartSpec) -> Vec<Vec<[u32; 2]>> {
    match part {
        _ if part.weights().is_empty() => vec![],
        PartSpec::Ace(ace) => classes(ace),
        _ => (1..=part.n_basis() as u32).map(|n| vec![[n, 0]]).collect(),
    }
}

/// The pairs `[n, l]` of every basis function; of a function without products, none.
pub fn classes(ace: &AceSpec) -> Vec<Vec<[u32; 2]>> {
    let mut classes = vec![vec![]; ace.c.shape[0]];
    for (&row, &col) in ace.c.rows.iter().zip(&ace.c.cols) {
        let class = &mut classes[row as usize];
        if class.is_empty() {
            let factor = |&v: &u32| ace.radial.spec[ace.a[v as usize][0] as usize];
            class.extend(ace.aa[col as usize].iter().map(factor));
            class.sort_unstable_by_key(|&[n, l]| (l, n));
        }
    }
    classes
}
