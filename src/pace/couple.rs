//! Coupling of products of complex `A` to invariant functions.

use super::Function;
use std::collections::{HashMap, VecDeque};

/// Clebsch–Gordan coefficients, each computed once.
#[derive(Default)]
pub struct Couplings {
    known: HashMap<[i32; 5], f64>,
}

/// `(l, m)` of a factor, or of what factors were coupled to.
type Momentum = (i32, i32);

impl Couplings {
    /// `⟨l_a m_a l_b m_b | L m_a + m_b⟩` with the phase of Condon and Shortley.
    fn get(&mut self, (la, ma): Momentum, (lb, mb): Momentum, l: i32) -> f64 {
        *self.known.entry([la, ma, lb, mb, l]).or_insert_with(|| clebsch_gordan((la, ma), (lb, mb), l))
    }

    /// Fills `ms` and `coupling` of a function, given what its factors are coupled to (see [`along_tree`]). Returns how many sets of
    /// `m` it looked at.
    ///
    /// # Errors
    /// Momenta that cannot be coupled like this, or more than `most` sets of `m`.
    pub fn couple(&mut self, function: &mut Function, intermediates: &[usize], most: usize) -> Result<usize, String> {
        let ls: Vec<i32> = function.factors.iter().map(|f| f.l as i32).collect();
        let expected = ls.len().saturating_sub(2);
        // Two factors leave no choice, and upstream does not look.
        let intermediates = if expected == 0 { &[] } else { intermediates };
        if intermediates.len() != expected {
            return Err(format!("lint: expected {expected} entries, got {}", intermediates.len()));
        }
        let targets: Vec<i32> = intermediates.iter().map(|&l| l as i32).chain([0]).collect();
        let triangle = |a: i32, b: i32, l: i32| ((a - b).abs() <= l && l <= a + b).then_some(l);
        if along_tree(&ls, &targets, triangle) != Some(0) {
            return Err(format!("lint: l = {ls:?} do not couple to {intermediates:?} and 0"));
        }
        let last = ls.len() - 1;
        let sets = ls[..last].iter().fold(1_usize, |sets, l| sets.saturating_mul(2 * *l as usize + 1));
        if sets > most {
            return Err(format!("{sets} sets of m are too many"));
        }
        let mut ms: Vec<i32> = ls.iter().map(|l| -l).collect();
        loop {
            ms[last] = -ms[..last].iter().sum::<i32>();
            if ms[last].abs() <= ls[last] {
                let c = self.product(&ls, &ms, &targets);
                if c != 0.0 {
                    function.ms.extend(&ms);
                    function.coupling.push(c);
                }
            }
            // The next set of m but the last.
            let Some(k) = (0..last).rev().find(|&k| ms[k] < ls[k]) else { break };
            ms[k] += 1;
            (k + 1..last).for_each(|k| ms[k] = -ls[k]);
        }
        Ok(sets)
    }

    /// The product of the coefficients along the tree.
    fn product(&mut self, ls: &[i32], ms: &[i32], targets: &[i32]) -> f64 {
        let leaves: Vec<Momentum> = ls.iter().copied().zip(ms.iter().copied()).collect();
        let mut product = 1.0;
        let closed = along_tree(&leaves, targets, |a, b, l| {
            let m = a.1 + b.1;
            if m.abs() > l {
                return None;
            }
            product *= self.get(a, b, l);
            Some((l, m))
        });
        if closed.is_some() { product } else { 0.0 }
    }
}

/// Joins neighbouring leaves in pairs, then the results in pairs, first in, first out, an odd leaf after the results of the others;
/// the n-th join has the n-th target. Returns the root; `None` where a join fails or there are too few targets.
fn along_tree<T: Copy>(leaves: &[T], targets: &[i32], mut join: impl FnMut(T, T, i32) -> Option<T>) -> Option<T> {
    let mut targets = targets.iter();
    let mut queue = VecDeque::new();
    for pair in leaves.chunks(2) {
        queue.push_back(match *pair {
            [a, b] => join(a, b, *targets.next()?)?,
            _ => pair[0],
        });
    }
    while queue.len() > 1 {
        let (a, b) = (queue.pop_front()?, queue.pop_front()?);
        queue.push_back(join(a, b, *targets.next()?)?);
    }
    queue.pop_front()
}

/// Racah's sum.
fn clebsch_gordan((a, ma): Momentum, (b, mb): Momentum, l: i32) -> f64 {
    let m = ma + mb;
    let f = |n: i32| (1..=n).map(f64::from).product::<f64>();
    let norm = f64::from(2 * l + 1) * f(l + a - b) * f(l - a + b) * f(a + b - l) / f(a + b + l + 1);
    let states = f(l + m) * f(l - m) * f(a - ma) * f(a + ma) * f(b - mb) * f(b + mb);
    let least = 0.max(b - l - ma).max(a - l + mb);
    let most = (a + b - l).min(a - ma).min(b + mb);
    let term = |k: i32| {
        let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
        sign / (f(k) * f(a + b - l - k) * f(a - ma - k) * f(b + mb - k) * f(l - b + ma + k) * f(l - a - mb + k))
    };
    (least..=most).map(term).sum::<f64>() * norm.sqrt() * states.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coefficients_are_known_ones_and_orthonormal() {
        let c = |a, b, l| clebsch_gordan(a, b, l);
        assert!((c((1, 1), (1, -1), 0) - 1.0 / 3f64.sqrt()).abs() < 1e-15);
        assert!((c((1, 0), (1, 0), 0) + 1.0 / 3f64.sqrt()).abs() < 1e-15);
        assert!((c((2, 1), (1, 0), 3) - (8.0_f64 / 15.0).sqrt()).abs() < 1e-15);
        assert!((c((2, 1), (1, -1), 1) - (0.3_f64).sqrt()).abs() < 1e-15);
        for (a, b) in [(1_i32, 1_i32), (3, 2), (6, 6), (10, 7)] {
            for (l, k) in (0..=a + b).flat_map(|l| (0..=a + b).map(move |k| (l, k))) {
                if l < (a - b).abs() || k < (a - b).abs() {
                    continue;
                }
                let m = l.min(k).min(2);
                let sum: f64 = (-a..=a)
                    .filter(|ma| (m - ma).abs() <= b)
                    .map(|ma| c((a, ma), (b, m - ma), l) * c((a, ma), (b, m - ma), k))
                    .sum();
                assert!((sum - f64::from(u8::from(l == k))).abs() < 1e-12, "{a} {b} {l} {k}: {sum}");
            }
        }
    }
}
