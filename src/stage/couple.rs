//! The basis `B_b = Σ_k C[b,k] AA_k` and its derivatives `∂B_b/∂A_v`, for basis, Jacobian and design rows.

use crate::simd::{Lanes, Real};
use std::collections::HashMap;

/// Monomials of the `A`, closed under leaving out a factor, and two sparse maps from them.
#[derive(Clone, Debug)]
pub struct Coupling {
    /// Monomial `k + 1` is `[parent, v]`: monomial `parent` times `A_v`. Monomial 0 is 1.
    pub(crate) monomials: Vec<[u32; 2]>,
    /// `B` from monomials.
    pub(crate) basis: SparseRows,
    /// `∂B_b/∂A_v` from monomials, one row for each non-zero entry.
    pub(crate) derivative: SparseRows,
    /// The `(v)` of each derivative row, grouped by `b`: those of `b` are `first[b]..first[b+1]`.
    pub derivative_v: Vec<u32>,
    pub(crate) derivative_first: Vec<u32>,
}

/// A sparse matrix by rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct SparseRows {
    pub(crate) first: Vec<u32>,
    pub(crate) columns: Vec<u32>,
    pub(crate) values: Vec<f64>,
}

impl SparseRows {
    fn push(&mut self, row: impl IntoIterator<Item = (u32, f64)>) {
        if self.first.is_empty() {
            self.first.push(0);
        }
        for (column, value) in row {
            self.columns.push(column);
            self.values.push(value);
        }
        self.first.push(self.columns.len() as u32);
    }

    #[inline(always)]
    fn apply<V: Lanes>(&self, x: &[V], out: &mut [V]) {
        for (range, out) in self.first.windows(2).zip(out) {
            let range = range[0] as usize..range[1] as usize;
            let mut sum = V::zero();
            for (&k, &c) in self.columns[range.clone()].iter().zip(&self.values[range]) {
                sum = V::splat(V::Real::of(c)).mul_add(x[k as usize], sum);
            }
            *out = sum;
        }
    }
}

impl Coupling {
    /// `products[k]` are the sorted factors of `AA_k`; `couplings[b]` the entries `(k, C[b,k])`.
    pub fn new(products: &[Vec<u32>], couplings: &[Vec<(usize, f64)>]) -> Coupling {
        let mut index = HashMap::from([(Vec::new(), 0u32)]);
        let mut monomials = Vec::new();
        let mut basis = SparseRows::default();
        let mut derivative = SparseRows::default();
        let (mut derivative_v, mut derivative_first) = (Vec::new(), vec![0]);
        for row in couplings {
            let mut terms = std::collections::BTreeMap::<u32, Vec<(u32, f64)>>::new();
            basis.push(row.iter().map(|&(k, c)| (intern(&products[k], &mut index, &mut monomials), c)));
            for &(k, c) in row {
                for (place, &v) in products[k].iter().enumerate() {
                    let mut rest = products[k].clone();
                    rest.remove(place);
                    let m = intern(&rest, &mut index, &mut monomials);
                    let terms = terms.entry(v).or_default();
                    match terms.iter_mut().find(|t| t.0 == m) {
                        Some(t) => t.1 += c,
                        None => terms.push((m, c)),
                    }
                }
            }
            for (v, terms) in terms {
                derivative.push(terms);
                derivative_v.push(v);
            }
            derivative_first.push(derivative_v.len() as u32);
        }
        Coupling { monomials, basis, derivative, derivative_v, derivative_first }
    }

    pub fn n_monomials(&self) -> usize {
        self.monomials.len() + 1
    }

    pub fn n_derivatives(&self) -> usize {
        self.derivative_v.len()
    }

    /// The entries of `derivative_v` that belong to `b`.
    #[inline(always)]
    pub fn derivatives_of(&self, b: usize) -> std::ops::Range<usize> {
        self.derivative_first[b] as usize..self.derivative_first[b + 1] as usize
    }

    /// All monomials of `a`.
    #[inline(always)]
    pub fn monomials<V: Lanes>(&self, a: &[V], out: &mut [V]) {
        out[0] = V::splat(V::Real::of(1.0));
        for (k, &[parent, v]) in self.monomials.iter().enumerate() {
            out[k + 1] = out[parent as usize] * a[v as usize];
        }
    }

    /// `B` from the monomials.
    #[inline(always)]
    pub fn basis<V: Lanes>(&self, monomials: &[V], out: &mut [V]) {
        self.basis.apply(monomials, out);
    }

    /// The non-zero `∂B_b/∂A_v` from the monomials, in the order of `derivative_v`.
    #[inline(always)]
    pub fn derivatives<V: Lanes>(&self, monomials: &[V], out: &mut [V]) {
        self.derivative.apply(monomials, out);
    }
}

/// The index of a monomial, made with all its leading parts where it is new.
fn intern(factors: &[u32], index: &mut HashMap<Vec<u32>, u32>, monomials: &mut Vec<[u32; 2]>) -> u32 {
    if let Some(&k) = index.get(factors) {
        return k;
    }
    let (&last, rest) = factors.split_last().expect("the empty monomial is known");
    let parent = intern(rest, index, monomials);
    monomials.push([parent, last]);
    index.insert(factors.to_vec(), monomials.len() as u32);
    monomials.len() as u32
}
