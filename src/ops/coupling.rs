//! Coupling of irreps: real 3j symbols, computed, and the sparse tensors of products.
//!
//! `w3j(l1, l2, l3)` is the tensor, unique up to its sign, that rotations leave alone, with `Σ w3j² = 1`. A product uses
//! `C(l1, l2 → l3) = √(2 l3 + 1) · w3j(l1, l2, l3)`, whose last axis is the result.

use super::irreps::Irrep;
use serde::{Deserialize, Serialize};

/// Whose sign 3j symbols have. It differs for some triples of odd sum only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub enum Convention {
    /// e3nn: for `l1 ≤ l2 ≤ l3` the middle element is positive or, for an odd sum, the first that is not zero;
    /// a transposition of axes gives `(−1)^(l1 + l2 + l3)`.
    #[default]
    #[serde(rename = "O3_e3nn")]
    O3E3nn,
    /// cuEquivariance: as the Clebsch–Gordan coefficients have it.
    #[serde(rename = "O3")]
    O3,
}

/// The 3j symbol, (2l1+1, 2l2+1, 2l3+1) row-major; zero where the degrees form no triangle.
pub fn w3j(l1: usize, l2: usize, l3: usize, convention: Convention) -> Vec<f64> {
    let n = (2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1);
    if l3 < l1.abs_diff(l2) || l3 > l1 + l2 {
        return vec![0.0; n];
    }
    match convention {
        Convention::O3 => clebsch_gordan_real(l1, l2, l3),
        Convention::O3E3nn => signed(l1, l2, l3),
    }
}

/// With the sign of `O3_e3nn`.
fn signed(l1: usize, l2: usize, l3: usize) -> Vec<f64> {
    let l = [l1, l2, l3];
    // `order[k]`: which axis is the k-th of the sorted ones.
    let mut order = [0, 1, 2];
    order.sort_by_key(|&axis| l[axis]);
    let dims = order.map(|axis| 2 * l[axis] + 1);
    let mut sorted = clebsch_gordan_real(l[order[0]], l[order[1]], l[order[2]]);
    let even = (l1 + l2 + l3).is_multiple_of(2);
    let lead = if even { sorted[sorted.len() / 2] } else { sorted.iter().copied().find(|&x| x != 0.0).unwrap_or(1.0) };
    let odd_permutation = matches!(order, [0, 2, 1] | [1, 0, 2] | [2, 1, 0]);
    if (lead < 0.0) != (odd_permutation && !even) {
        sorted.iter_mut().for_each(|x| *x = -*x);
    }
    let mut out = vec![0.0; sorted.len()];
    let dim = l.map(|l| 2 * l + 1);
    for (k, &x) in sorted.iter().enumerate() {
        let mut at = [0; 3];
        at[order[0]] = k / (dims[1] * dims[2]);
        at[order[1]] = k / dims[2] % dims[1];
        at[order[2]] = k % dims[2];
        out[(at[0] * dim[1] + at[1]) * dim[2] + at[2]] = x;
    }
    out
}

/// `R[A, B, C] = Σ_abc ⟨l1 a, l2 b | l3 c⟩ Q(l1)[a, A] Q(l2)[b, B] conj(Q(l3)[c, C])`, normalised.
fn clebsch_gordan_real(l1: usize, l2: usize, l3: usize) -> Vec<f64> {
    let (n1, n2, n3) = (2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1);
    let mut r = vec![0.0; n1 * n2 * n3];
    for a in 0..n1 {
        for b in 0..n2 {
            // m1 + m2 + l3
            let Some(c) = (a + b + l3).checked_sub(l1 + l2).filter(|&c| c < n3) else { continue };
            let cg = clebsch_gordan(l1, l2, l3, a, b);
            for (i, x) in real_from_complex(l1, a) {
                for (j, y) in real_from_complex(l2, b) {
                    for (k, z) in real_from_complex(l3, c) {
                        let xy = [x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]];
                        r[(i * n2 + j) * n3 + k] += cg * (xy[0] * z[0] + xy[1] * z[1]);
                    }
                }
            }
        }
    }
    // What cancels leaves a rest of rounding.
    let largest = r.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    r.iter_mut().for_each(|x| *x = if x.abs() < 1e-13 * largest { 0.0 } else { *x });
    let norm = r.iter().map(|x| x * x).sum::<f64>().sqrt();
    r.iter_mut().for_each(|x| *x /= norm);
    r
}

/// The entries of row `a`, of order `m = a − l`, of the matrix from real to complex harmonics: column, [re, im].
fn real_from_complex(l: usize, a: usize) -> impl Iterator<Item = (usize, [f64; 2])> {
    let half = 0.5_f64.sqrt();
    let m = a.abs_diff(l);
    let sign = if m.is_multiple_of(2) { half } else { -half };
    let [plus, minus] = match a.cmp(&l) {
        std::cmp::Ordering::Equal => [[1.0, 0.0], [0.0; 2]],
        std::cmp::Ordering::Less => [[half, 0.0], [0.0, -half]],
        std::cmp::Ordering::Greater => [[sign, 0.0], [0.0, sign]],
    };
    // times (−i)^l
    let turn = move |[re, im]: [f64; 2]| match l % 4 {
        0 => [re, im],
        1 => [im, -re],
        2 => [-re, -im],
        _ => [-im, re],
    };
    [(l + m, turn(plus)), (l - m, turn(minus))].into_iter().take(if m == 0 { 1 } else { 2 })
}

/// `⟨l1 m1, l2 m2 | l3 m1+m2⟩` for `m1 = a − l1`, `m2 = b − l2`, but for a factor that the degrees alone determine.
///
/// Racah's sum in binomials: whole numbers, of which no digit is lost up to l = 11.
fn clebsch_gordan(l1: usize, l2: usize, l3: usize, a: usize, b: usize) -> f64 {
    let t = l1 + l2 - l3;
    // j1 − m1, j2 + m2, j2 − m2, j3 − m3
    let (down1, up2, down2) = (2 * l1 - a, b, 2 * l2 - b);
    let down3 = 2 * l3 - (a + b + l3 - l1 - l2);
    let term = |k: usize| {
        let rest = |from: usize| from.checked_sub(k);
        match (rest(down1), rest(up2)) {
            (Some(p), Some(q)) => binomial(t, k) * binomial(2 * l1 - t, p) * binomial(2 * l2 - t, q),
            _ => 0,
        }
    };
    let sum: i128 = (0..=t).map(|k| if k.is_multiple_of(2) { term(k) } else { -term(k) }).sum();
    let weight = binomial(2 * l1, down1) as f64 * binomial(2 * l2, down2) as f64 * binomial(2 * l3, down3) as f64;
    sum as f64 / weight.sqrt()
}

fn binomial(n: usize, k: usize) -> i128 {
    if k > n {
        return 0;
    }
    (0..k.min(n - k)).fold(1, |b, i| b * (n - i) as i128 / (i + 1) as i128)
}

/// A number of a tensor with three axes that is not zero.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Entry {
    /// Components of the first factor, the second one, the result.
    pub index: [usize; 3],
    pub value: f64,
}

/// `C(l1, l2 → l3)` as its non-zero numbers, row-major; the last axis is the result.
pub fn coupling(l1: Irrep, l2: Irrep, l3: Irrep, convention: Convention) -> Vec<Entry> {
    let scale = (l3.dim() as f64).sqrt();
    let entry = |(k, x): (usize, f64)| Entry {
        index: [k / (l2.dim() * l3.dim()), k / l3.dim() % l2.dim(), k % l3.dim()],
        value: scale * x,
    };
    let symbol = w3j(l1.l, l2.l, l3.l, convention).into_iter().enumerate();
    symbol.filter(|&(_, x)| x != 0.0).map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden() -> serde_json::Value {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/test/golden/mace/ops/cg.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    #[test]
    fn symbols_are_those_of_e3nn() {
        for case in golden()["cases"].as_array().unwrap() {
            let l: Vec<usize> = serde_json::from_value(case["l"].clone()).unwrap();
            let index: Vec<usize> = serde_json::from_value(case["index"].clone()).unwrap();
            let value: Vec<f64> = serde_json::from_value(case["value"].clone()).unwrap();
            let ours = w3j(l[0], l[1], l[2], Convention::O3E3nn);
            let mut theirs = vec![0.0; ours.len()];
            index.iter().zip(value).for_each(|(&k, x)| theirs[k] = x);
            for (k, (a, b)) in ours.iter().zip(&theirs).enumerate() {
                assert!((a - b).abs() < 1e-14, "{l:?}[{k}]: {a}, {b}");
                assert!(*b == 0.0 || b.abs() < 1e-13 || *a != 0.0, "{l:?}[{k}] is lost");
            }
        }
    }

    #[test]
    fn conventions_differ_where_they_should() {
        let negative: Vec<[usize; 3]> = serde_json::from_value(golden()["cue_O3_negative_triples"].clone()).unwrap();
        for (l1, l2) in (0..=4_usize).flat_map(|l1| (0..=4).map(move |l2| (l1, l2))) {
            for l3 in l1.abs_diff(l2)..=(l1 + l2).min(4) {
                let (a, b) = (w3j(l1, l2, l3, Convention::O3E3nn), w3j(l1, l2, l3, Convention::O3));
                let sign = if negative.contains(&[l1, l2, l3]) { -1.0 } else { 1.0 };
                assert!(a.iter().zip(&b).all(|(a, b)| (a - sign * b).abs() < 1e-15), "{l1} {l2} {l3}");
            }
        }
    }

    /// `Σ_ab C[a, b, c] C'[a, b, c'] = δ` over all results: an orthogonal matrix, to rounding, up to the largest degree.
    #[test]
    fn symbols_are_orthogonal_to_rounding() {
        for (l1, l2) in [(2_usize, 3), (5, 5), (7, 11), (11, 11)] {
            let mut columns = Vec::new();
            for l3 in l1.abs_diff(l2)..=(l1 + l2) {
                let (n3, scale) = (2 * l3 + 1, ((2 * l3 + 1) as f64).sqrt());
                let symbol = w3j(l1, l2, l3, Convention::O3E3nn);
                columns
                    .extend((0..n3).map(|c| symbol.iter().skip(c).step_by(n3).map(|x| scale * x).collect::<Vec<_>>()));
            }
            assert_eq!(columns.len(), columns[0].len());
            for (i, a) in columns.iter().enumerate().step_by(7) {
                for (j, b) in columns.iter().enumerate() {
                    let dot: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                    assert!((dot - f64::from(i == j)).abs() < 5e-15, "{l1} {l2}: columns {i} and {j}: {dot}");
                }
            }
        }
    }

    #[test]
    fn scalars_couple_by_one() {
        for l in (0..=11).map(Irrep::natural) {
            for (a, b) in [(Irrep::SCALAR, l), (l, Irrep::SCALAR)] {
                let c = coupling(a, b, l, Convention::O3E3nn);
                assert!(c.len() == l.dim() && c.iter().all(|e| (e.value - 1.0).abs() < 1e-15));
            }
        }
        assert!(w3j(1, 1, 3, Convention::O3).iter().all(|&x| x == 0.0));
    }
}
