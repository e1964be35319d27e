//! Couplings and harmonics from their textbook formulas, for the naive reference.
#![allow(clippy::needless_range_loop)]

use std::f64::consts::PI;

fn factorial(n: i64) -> f64 {
    (1..=n).map(|k| k as f64).product()
}

/// `⟨l1 m1, l2 m2 | l3 m3⟩` by the formula of Racah.
fn clebsch_gordan([l1, l2, l3]: [i64; 3], [m1, m2, m3]: [i64; 3]) -> f64 {
    if m1 + m2 != m3 {
        return 0.0;
    }
    let f = factorial;
    let delta = f(l1 + l2 - l3) * f(l3 + l1 - l2) * f(l3 + l2 - l1) / f(l1 + l2 + l3 + 1);
    let norm = f(l1 + m1) * f(l1 - m1) * f(l2 + m2) * f(l2 - m2) * f(l3 + m3) * f(l3 - m3);
    let term = |k: i64| {
        let d = [k, l1 + l2 - l3 - k, l1 - m1 - k, l2 + m2 - k, l3 - l2 + m1 + k, l3 - l1 - m2 + k];
        let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
        if d.iter().any(|&x| x < 0) { 0.0 } else { sign / d.into_iter().map(f).product::<f64>() }
    };
    ((2 * l3 + 1) as f64 * delta * norm).sqrt() * (0..=l1 + l2 + l3).map(term).sum::<f64>()
}

type Complex = [f64; 2];

fn times(a: Complex, b: Complex) -> Complex {
    [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]]
}

/// `Q(l)[a, A]`, from real to complex.
fn real_to_complex(l: usize) -> Vec<Vec<Complex>> {
    let mut q = vec![vec![[0.0; 2]; 2 * l + 1]; 2 * l + 1];
    let h = 0.5_f64.sqrt();
    q[l][l] = [1.0, 0.0];
    for m in 1..=l {
        let sign = if m % 2 == 0 { h } else { -h };
        q[l - m][l + m] = [h, 0.0];
        q[l - m][l - m] = [0.0, -h];
        q[l + m][l + m] = [sign, 0.0];
        q[l + m][l - m] = [0.0, sign];
    }
    let phase = [[1.0, 0.0], [0.0, -1.0], [-1.0, 0.0], [0.0, 1.0]][l % 4];
    q.iter_mut().flatten().for_each(|x| *x = times(*x, phase));
    q
}

/// `w3j(l1, l2, l3)[a][b][c]` for an even sum of degrees: the element in the middle is positive.
pub fn w3j(l1: usize, l2: usize, l3: usize) -> Vec<Vec<Vec<f64>>> {
    let (q1, q2, q3) = (real_to_complex(l1), real_to_complex(l2), real_to_complex(l3));
    let dims = [2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1];
    let mut r = vec![vec![vec![0.0; dims[2]]; dims[1]]; dims[0]];
    let m = |k: usize, l: usize| k as i64 - l as i64;
    for (a, b, c) in (0..dims[0]).flat_map(|a| (0..dims[1]).flat_map(move |b| (0..dims[2]).map(move |c| (a, b, c)))) {
        let cg = clebsch_gordan([l1, l2, l3].map(|l| l as i64), [m(a, l1), m(b, l2), m(c, l3)]);
        for (x, y, z) in (0..dims[0]).flat_map(|x| (0..dims[1]).flat_map(move |y| (0..dims[2]).map(move |z| (x, y, z))))
        {
            let conj = [q3[c][z][0], -q3[c][z][1]];
            r[x][y][z] += cg * times(times(q1[a][x], q2[b][y]), conj)[0];
        }
    }
    let norm = r.iter().flatten().flatten().map(|x| x * x).sum::<f64>().sqrt();
    let sign = if r[l1][l2][l3] < 0.0 { -1.0 } else { 1.0 };
    r.iter_mut().flatten().flatten().for_each(|x| *x *= sign / norm);
    r
}

/// `Y_l` of the unit vector of `v`, all degrees: associated Legendre functions with the polar axis y.
pub fn harmonics(lmax: usize, v: [f64; 3]) -> Vec<f64> {
    let r = v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let [y, z, x] = v.map(|x| x / r);
    let mut out = Vec::new();
    for l in 0..=lmax as i64 {
        for m in -l..=l {
            let k = m.abs();
            let (mut re, mut im) = (1.0, 0.0);
            (0..k).for_each(|_| (re, im) = (re * x - im * y, re * y + im * x));
            let term = |q: i64| {
                let binomial = |n: i64, k: i64| factorial(n) / factorial(k) / factorial(n - k);
                let falling = factorial(l - 2 * q) / factorial(l - 2 * q - k);
                (-1.0_f64).powi(q as i32)
                    * 0.5_f64.powi(l as i32)
                    * binomial(l, q)
                    * binomial(2 * l - 2 * q, l)
                    * falling
                    * z.powi((l - 2 * q - k) as i32)
            };
            let legendre: f64 = (0..=(l - k) / 2).map(term).sum();
            let norm = ((2 * l + 1) as f64 / (4.0 * PI) * factorial(l - k) / factorial(l + k)).sqrt();
            let azimuth = if m == 0 { 1.0 } else { 2_f64.sqrt() * if m > 0 { re } else { im } };
            out.push((4.0 * PI).sqrt() * norm * legendre * azimuth);
        }
    }
    out
}
