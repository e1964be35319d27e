//! The symmetric contraction as a polynomial for each channel, couplings and weights folded into its coefficients.

use super::Shape;
use crate::mace::spec::{ContractionConfig, MaceSpec};
use std::collections::BTreeMap;

/// The largest number of factors.
pub const MAX_ORDER: usize = 4;

/// `B_i[c, out] = Σ_terms coefficient[z_i, term, c] Π_{q ∈ term} A_i[c, q]`.
#[derive(Clone, Debug)]
pub struct Contraction {
    pub from: Shape,
    pub to: Shape,
    /// Sorted by factors, then by component of the output.
    pub terms: Vec<Term>,
    /// (species or 1, terms, channels).
    pub coefficients: Vec<f64>,
    /// Whether the coefficients differ between species.
    pub by_species: bool,
}

/// A product of components of `A` that adds to a component of `B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term {
    pub order: u8,
    /// Ascending; the first `order` count.
    pub factors: [u16; MAX_ORDER],
    pub out: u16,
}

impl Contraction {
    /// The contraction of layer `t`.
    pub fn new(
        spec: &MaceSpec,
        t: usize,
        config: &ContractionConfig,
        k: usize,
        n_species: usize,
    ) -> Result<Self, String> {
        let name = format!("products.{t}.symmetric_contractions");
        let from = Shape::new(&config.irreps_in, k, &name)?;
        let to = Shape::new(&config.irreps_out, k, &name)?;
        if config.correlation.len() != to.ls.len() {
            return Err(format!("{name}: {} correlations for {} irreps", config.correlation.len(), to.ls.len()));
        }
        let agnostic = spec.config.use_agnostic_product;
        let nz = if agnostic { 1 } else { n_species };
        let d = from.components();
        // Of each term: (species, channels) of its coefficient.
        let mut sums = BTreeMap::<Term, Vec<f64>>::new();
        for (block, (&l, offset)) in to.ls.iter().zip(to.offsets()).enumerate() {
            let max = config.correlation[block];
            if !(1..=MAX_ORDER).contains(&max) {
                return Err(format!("{name}: correlation {max}: only 1 to {MAX_ORDER} are covered"));
            }
            for order in 1..=max {
                let name = format!("{name}.contractions.{block}");
                let weights = match max - order {
                    0 => format!("{name}.weights_max"),
                    below => format!("{name}.weights.{}", below - 1),
                };
                let n_paths = spec.tensors.get(&weights).and_then(|w| w.shape.get(1)).copied().unwrap_or(0);
                let w = spec.values(&weights, &[nz, n_paths, k])?;
                let u = format!("{name}.U_matrix_{order}");
                let tensor = spec.tensors.get(&u).ok_or_else(|| format!("tensor `{u}` is missing"))?;
                let mut shape = if l > 0 { vec![2 * l + 1] } else { vec![] };
                shape.extend(std::iter::repeat_n(d, order).chain([n_paths]));
                if tensor.shape != shape {
                    return Err(format!("tensor `{u}` has the shape {:?} instead of {shape:?}", tensor.shape));
                }
                if !tensor.is_finite() {
                    return Err(format!("tensor `{u}` has a number that is not finite"));
                }
                // Only the part that is symmetric in the factors acts: coefficients by sorted factors.
                let mut symmetric = BTreeMap::<(Term, usize), f64>::new();
                for (flat, x) in tensor.nonzeros() {
                    let mut rest = flat as usize;
                    let path = rest % n_paths;
                    rest /= n_paths;
                    let mut factors = [0; MAX_ORDER];
                    for f in factors[..order].iter_mut() {
                        *f = (rest % d) as u16;
                        rest /= d;
                    }
                    factors[..order].sort_unstable();
                    let term = Term { order: order as u8, factors, out: (offset + rest) as u16 };
                    *symmetric.entry((term, path)).or_default() += x;
                }
                // What cancels leaves a rest of rounding.
                let largest = symmetric.values().fold(0.0, |m: f64, x| m.max(x.abs()));
                for ((term, path), x) in symmetric {
                    if x.abs() < 1e-12 * largest {
                        continue;
                    }
                    let sum = sums.entry(term).or_insert_with(|| vec![0.0; nz * k]);
                    for (z, sum) in sum.chunks_mut(k).enumerate() {
                        let w = &w[(z * n_paths + path) * k..][..k];
                        sum.iter_mut().zip(w).for_each(|(s, w)| *s += x * w);
                    }
                }
            }
        }
        let terms: Vec<Term> = sums.keys().copied().collect();
        let mut coefficients = Vec::with_capacity(nz * terms.len() * k);
        for z in 0..nz {
            sums.values().for_each(|sum| coefficients.extend_from_slice(&sum[z * k..][..k]));
        }
        Ok(Contraction { from, to, terms, coefficients, by_species: !agnostic })
    }

    /// The coefficients of a species, (terms, channels).
    pub fn of_species(&self, z: usize) -> &[f64] {
        let n = self.terms.len() * self.from.k;
        &self.coefficients[if self.by_species { z * n } else { 0 }..][..n]
    }
}
