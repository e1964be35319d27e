//! Transforms, polynomials, envelopes, splines and weights of radial functions.

use crate::model::spec::{FunctionsSpec, SplineSpec, TransformSpec};
use crate::random::Random;

/// The generalised Agnesi transform that is steepest at `r0` and takes `[rin, rcut]` to `[−1, 1]`.
pub fn transform([rin, r0, rcut]: [f64; 3], [pin, pcut]: [u32; 2]) -> TransformSpec {
    let (p, q) = (f64::from(pin), f64::from(pcut));
    let a = (-2.0 * p + q * (4.0 * p - 2.0)) / (q + q * q + p + p * p);
    let s = (rcut - rin) / (r0 - rin);
    let x = 1.0 / (1.0 + a * s.powi(pin as i32) / (1.0 + s.powi(pin as i32 - pcut as i32)));
    let b1 = 2.0 / (x - 1.0);
    TransformSpec { rin, req: r0, pin, pcut, a, b0: -1.0 - b1, b1 }
}

/// Three-term recursion of `n` polynomials, orthonormal on [−1, 1] for the weight `(1 − y)^α (1 + y)^β`.
pub struct Polynomials {
    pub a: Vec<f64>,
    pub b: Vec<f64>,
    pub c: Vec<f64>,
}

impl Polynomials {
    /// `a_k`, `b_k` are those of the monic Jacobi polynomials.
    pub fn new(n: usize, [alpha, beta]: [u32; 2]) -> Polynomials {
        let (alpha, beta) = (f64::from(alpha), f64::from(beta));
        let sigma = alpha + beta;
        let a = |k: usize| match k {
            0 => (beta - alpha) / (sigma + 2.0),
            _ => {
                let t = 2.0 * k as f64 + sigma;
                (beta * beta - alpha * alpha) / (t * (t + 2.0))
            }
        };
        let b = |k: usize| match k {
            1 => 4.0 * (1.0 + alpha) * (1.0 + beta) / ((2.0 + sigma).powi(2) * (3.0 + sigma)),
            _ => {
                let (k, t) = (k as f64, 2.0 * k as f64 + sigma);
                4.0 * k * (k + alpha) * (k + beta) * (k + sigma) / (t * t * (t * t - 1.0))
            }
        };
        // μ = 2^(σ+1) B(α + 1, β + 1); powers are whole numbers: Γ(β + 1) / Γ(α + β + 2) is a product.
        let mu = 2f64.powf(sigma + 1.0)
            * (1..=alpha as u32).fold(1.0 / (sigma + 1.0), |g, k| g * f64::from(k) / (beta + f64::from(k)));
        let mut p = Polynomials { a: vec![], b: vec![], c: vec![] };
        for k in 0..n {
            let (ak, bk, ck) = match k {
                0 => (mu.powf(-0.5), 0.0, 0.0),
                1 => {
                    let a2 = p.a[0] / b(1).sqrt();
                    (a2, -a(0) * a2, 0.0)
                }
                _ => {
                    let an = 1.0 / b(k).sqrt();
                    (an, -a(k - 1) * an, -(b(k - 1) / b(k)).sqrt())
                }
            };
            p.a.push(ak);
            p.b.push(bk);
            p.c.push(ck);
        }
        p
    }

    /// All polynomials at `y`.
    pub fn eval(&self, y: f64) -> Vec<f64> {
        let mut p: Vec<f64> = Vec::with_capacity(self.a.len());
        for k in 0..self.a.len() {
            p.push(match k {
                0 => self.a[0],
                1 => self.a[1] * y + self.b[1],
                _ => (self.a[k] * y + self.b[k]) * p[k - 1] + self.c[k] * p[k - 2],
            });
        }
        p
    }
}

/// Weights of radial functions by ordered pair of species, (n_species², n_t, n_q).
pub type Weights = Vec<Vec<Vec<f64>>>;

/// Function `n` is polynomial `(n − 1) div S` for neighbours of species `(n − 1) mod S`, whatever the centre.
pub fn one_hot(n_species: usize, n: impl Iterator<Item = u32> + Clone, n_q: usize) -> Weights {
    let of = |neighbour: usize| {
        let row = |n: u32| {
            let (q, species) = ((n as usize - 1) / n_species, (n as usize - 1) % n_species);
            (0..n_q).map(|k| if k == q && species == neighbour { 1.0 } else { 0.0 }).collect()
        };
        n.clone().map(row).collect::<Vec<Vec<f64>>>()
    };
    (0..n_species * n_species).map(|pair| of(pair % n_species)).collect()
}

/// Normal, with variance `2 / (n_t + n_q)`.
pub fn glorot(n_species: usize, n_t: usize, n_q: usize, seed: u64) -> Weights {
    let mut random = Random::new(seed);
    let scale = (2.0 / (n_t + n_q) as f64).sqrt();
    let mut row = || (0..n_q).map(|_| scale * random.normal()).collect();
    (0..n_species * n_species).map(|_| (0..n_t).map(|_| row()).collect()).collect()
}

/// Polynomials with their weights, or natural cubic splines through so many nodes of them.
pub fn functions(polynomials: Polynomials, weights: Weights, nodes: Option<usize>) -> FunctionsSpec {
    let Some(n) = nodes else {
        let Polynomials { a, b, c } = polynomials;
        return FunctionsSpec::Polynomial { a, b, c, w: weights };
    };
    let h = 2.0 / (n - 1) as f64;
    let values: Vec<Vec<f64>> = (0..n).map(|k| polynomials.eval(-1.0 + k as f64 * h)).collect();
    let slopes = natural_slopes(&values, h);
    let mixed = |table: &[Vec<f64>], w: &[Vec<f64>]| -> Vec<Vec<f64>> {
        let dot = |p: &[f64], row: &[f64]| p.iter().zip(row).map(|(p, w)| p * w).sum();
        table.iter().map(|p| w.iter().map(|row| dot(p, row)).collect()).collect()
    };
    let tables =
        weights.iter().map(|w| SplineSpec { x0: -1.0, x1: 1.0, values: mixed(&values, w), slopes: mixed(&slopes, w) });
    FunctionsSpec::Spline { tables: tables.collect() }
}

/// The slopes at the nodes, (n_nodes, n_functions), of natural cubic splines: `g_{k−1} + 4 g_k + g_{k+1} = 3 (f_{k+1} − f_{k−1}) / h`.
fn natural_slopes(f: &[Vec<f64>], h: f64) -> Vec<Vec<f64>> {
    let (n, n_f) = (f.len(), f[0].len());
    let mut slopes = vec![vec![0.0; n_f]; n];
    // Gauss, without pivots: the matrix is dominated by its diagonal.
    let mut upper = vec![0.0; n];
    for k in 0..n {
        let (low, high) = (k.saturating_sub(1), (k + 1).min(n - 1));
        let end = k == 0 || k == n - 1;
        let pivot = if end { 2.0 } else { 4.0 } - if k > 0 { upper[k - 1] } else { 0.0 };
        upper[k] = 1.0 / pivot;
        for t in 0..n_f {
            let before = if k > 0 { slopes[k - 1][t] } else { 0.0 };
            slopes[k][t] = (3.0 * (f[high][t] - f[low][t]) / h - before) / pivot;
        }
    }
    for k in (0..n - 1).rev() {
        let (head, tail) = slopes.split_at_mut(k + 1);
        head[k].iter_mut().zip(&tail[0]).for_each(|(g, next)| *g -= upper[k] * next);
    }
    slopes
}
