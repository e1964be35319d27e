//! The invariant polynomials of one class: its products `AA` and the rows of `C` over them.

use super::levels::signed_zero;
use crate::ops::coupling::{Convention, w3j};
use crate::{Error, Result};
use faer::{Mat, Side};
use std::collections::HashMap;

/// Largest tensor that is coupled, `Π (2l + 1)`.
const MAX_TENSOR: usize = 1 << 24;
/// Most numbers in the invariants of one class, before dependent ones are removed.
const MAX_NUMBERS: usize = 1 << 26;
/// Eigenvalues below it belong to invariants that symmetry makes zero.
const RANK: f64 = 1e-12;
/// Products with smaller coefficients are dropped.
const ZERO: f64 = 1e-12;

/// Couplings of real harmonics `l1`, `l2` → `L`, made once: for each `m2` the entries `(m1, M, w)`, all counted from 0.
#[derive(Default)]
pub struct Couplings {
    known: HashMap<[u32; 3], Vec<Entries>>,
}

type Entries = Vec<(usize, usize, f64)>;

impl Couplings {
    fn get(&mut self, l: [u32; 3]) -> &[Entries] {
        self.known.entry(l).or_insert_with(|| {
            let [l1, l2, to] = l.map(|l| l as usize);
            let (n2, n) = (2 * l2 + 1, 2 * to + 1);
            let scale = (n as f64).sqrt();
            let mut by_second = vec![vec![]; n2];
            for (k, &w) in w3j(l1, l2, to, Convention::O3).iter().enumerate().filter(|(_, w)| **w != 0.0) {
                by_second[k / n % n2].push((k / (n * n2), k % n, scale * w));
            }
            by_second
        })
    }
}

/// What the invariants of a class depend on: its `l`, and which of its factors have the same `n` as the one before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    pub l: Vec<u32>,
    /// `same[k]`: factor `k` is the same function as factor `k − 1`.
    pub same: Vec<bool>,
}

/// `B_b = Σ_k c[b][k] Π_i A_{n_i l_i m[k][i]}`; rows are orthogonal and have the norms `s`, in descending order.
pub struct Invariants {
    pub m: Vec<Vec<i32>>,
    pub c: Vec<Vec<f64>>,
}

impl Pattern {
    /// # Errors
    /// A pattern too large for memory.
    pub fn invariants(&self, couplings: &mut Couplings) -> Result<Invariants> {
        let too_large = || Error::Recipe(format!("the couplings of l = {:?} are too large", self.l));
        let size = self.l.iter().try_fold(1_usize, |n, &l| n.checked_mul(2 * l as usize + 1));
        let size = size.filter(|&n| n <= MAX_TENSOR).ok_or_else(too_large)?;
        let mut m = self.products();
        let mut tree = Tree { pattern: self, couplings, columns: self.columns(&m, size), n: m.len(), rows: vec![] };
        if self.l.len() == 1 {
            tree.rows = vec![1.0];
        } else {
            let l = self.l[0] as usize;
            let n = 2 * l + 1;
            let identity: Vec<f64> = (0..n * n).map(|k| if k % (n + 1) == 0 { 1.0 } else { 0.0 }).collect();
            tree.couple(1, self.l[0], &identity).ok_or_else(too_large)?;
        }
        let f = Mat::from_fn(tree.rows.len() / m.len(), m.len(), |i, j| tree.rows[i * m.len() + j]);
        let eigen = (&f * f.transpose()).self_adjoint_eigen(Side::Lower);
        let eigen = eigen.map_err(|e| Error::Recipe(format!("the couplings of l = {:?}: {e:?}", self.l)))?;
        let s = eigen.S().column_vector();
        let rows = eigen.U().transpose() * &f;
        let kept = (0..s.nrows()).rev().filter(|&b| s[b] > RANK);
        let mut c: Vec<Vec<f64>> = kept.map(|b| (0..m.len()).map(|k| s[b].sqrt() * rows[(b, k)]).collect()).collect();
        let used: Vec<bool> = (0..m.len()).map(|k| c.iter().any(|row| row[k].abs() > ZERO)).collect();
        let keep = |k: &mut usize| {
            *k += 1;
            used[*k - 1]
        };
        let mut k = 0;
        m.retain(|_| keep(&mut k));
        for row in &mut c {
            let mut k = 0;
            row.retain(|_| keep(&mut k));
            row.iter_mut().filter(|x| x.abs() <= ZERO).for_each(|x| *x = 0.0);
        }
        Ok(Invariants { m, c })
    }

    /// The `m` of all products with a signed zero sum, in the order of upstream.
    fn products(&self) -> Vec<Vec<i32>> {
        let mut found = Vec::new();
        let mut seen = HashMap::new();
        let mut abs: Vec<i32> = self.l.iter().map(|&l| l as i32).collect();
        loop {
            if signed_zero(&abs) {
                let nonzero: Vec<usize> = (0..abs.len()).filter(|&k| abs[k] > 0).collect();
                for signs in 0..1_u32 << nonzero.len() {
                    let mut m = abs.clone();
                    for (bit, &k) in nonzero.iter().enumerate() {
                        if signs >> bit & 1 == 0 {
                            m[k] = -m[k];
                        }
                    }
                    self.sort(&mut m);
                    if seen.insert(m.clone(), ()).is_none() {
                        found.push(m);
                    }
                }
            }
            let Some(k) = abs.iter().position(|&x| x > 0) else { return found };
            abs[k] -= 1;
            abs[..k].iter_mut().zip(&self.l).for_each(|(x, &l)| *x = l as i32);
        }
    }

    /// Sorts `m` inside equal factors.
    fn sort(&self, m: &mut [i32]) {
        let mut start = 0;
        for end in 1..=m.len() {
            if end == m.len() || !self.same[end] {
                m[start..end].sort_unstable();
                start = end;
            }
        }
    }

    /// The product of every entry of the tensor, `u32::MAX` where there is none.
    fn columns(&self, m: &[Vec<i32>], size: usize) -> Vec<u32> {
        let index: HashMap<&[i32], u32> = m.iter().map(Vec::as_slice).zip(0..).collect();
        let mut at: Vec<i32> = self.l.iter().map(|&l| -(l as i32)).collect();
        let mut sorted = at.clone();
        (0..size)
            .map(|_| {
                sorted.copy_from_slice(&at);
                self.sort(&mut sorted);
                for (x, &l) in at.iter_mut().zip(&self.l).rev() {
                    if *x < l as i32 {
                        *x += 1;
                        break;
                    }
                    *x = -(l as i32);
                }
                index.get(sorted.as_slice()).copied().unwrap_or(u32::MAX)
            })
            .collect()
    }
}

/// All ways to couple the factors one after another to `L = 0`: an orthonormal set of invariant tensors, of which the symmetric sums are kept.
struct Tree<'a> {
    pattern: &'a Pattern,
    couplings: &'a mut Couplings,
    columns: Vec<u32>,
    n: usize,
    /// (n_paths, n)
    rows: Vec<f64>,
}

impl Tree<'_> {
    /// `tensor`, (Π of the first `k` factors, 2L + 1), couples those to `L`. `None`: too many.
    fn couple(&mut self, k: usize, l: u32, tensor: &[f64]) -> Option<()> {
        let ls = &self.pattern.l;
        let next = ls[k];
        if k + 1 == ls.len() {
            let start = self.rows.len();
            if l != next || start + self.n > MAX_NUMBERS {
                return (l != next).then_some(());
            }
            self.rows.resize(start + self.n, 0.0);
            let scale = 1.0 / f64::from(2 * next + 1).sqrt();
            for (&column, &u) in self.columns.iter().zip(tensor) {
                if column != u32::MAX {
                    self.rows[start + column as usize] += scale * u;
                }
            }
            return Some(());
        }
        // What is left must be able to couple to L.
        let (sum, max) = ls[k + 1..].iter().fold((0, 0), |(s, m), &l| (s + l, l.max(m)));
        let least = (2 * max).saturating_sub(sum);
        for to in l.abs_diff(next)..=l + next {
            if to > sum || to < least {
                continue;
            }
            let (n_from, n_to) = (2 * l as usize + 1, 2 * to as usize + 1);
            let w = self.couplings.get([l, next, to]);
            let mut out = vec![0.0; tensor.len() / n_from * (2 * next as usize + 1) * n_to];
            let mut rows = out.chunks_exact_mut(n_to);
            for from in tensor.chunks_exact(n_from) {
                for entries in w {
                    let row = rows.next().expect("one for each of both");
                    entries.iter().for_each(|&(m1, m, w)| row[m] += w * from[m1]);
                }
            }
            self.couple(k + 1, to, &out)?;
        }
        Some(())
    }
}
