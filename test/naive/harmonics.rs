//! Real harmonics from the closed formula of the associated Legendre functions.

use super::dual::Dual;
use std::f64::consts::PI;

fn factorial(n: usize) -> f64 {
    (1..=n).map(|k| k as f64).product()
}

fn binomial(n: usize, k: usize) -> f64 {
    factorial(n) / factorial(k) / factorial(n - k)
}

/// `r^l Y_lm` of one vector; no Condon–Shortley sign.
pub fn solid(l: usize, m: isize, [x, y, z]: [Dual; 3]) -> Dual {
    let k = m.unsigned_abs();
    // Re and Im of (x + iy)^|m|.
    let (mut re, mut im) = (Dual::constant(1.0), Dual::constant(0.0));
    for _ in 0..k {
        (re, im) = (re * x - im * y, re * y + im * x);
    }
    // r^(l−m) P_l^m / sin^m = Σ_q (−1)^q 2^(−l) (l q)(2l−2q l) (l−2q)!/(l−2q−m)! r^(2q) z^(l−2q−m)
    let r2 = x * x + y * y + z * z;
    let legendre: Dual = (0..=(l - k) / 2)
        .map(|q| {
            let sign = if q % 2 == 0 { 1.0 } else { -1.0 };
            let falling = factorial(l - 2 * q) / factorial(l - 2 * q - k);
            let c = sign * 2f64.powi(-(l as i32)) * binomial(l, q) * binomial(2 * l - 2 * q, l) * falling;
            r2.powi(q as i32) * z.powi((l - 2 * q - k) as i32) * c
        })
        .sum();
    let norm = ((2 * l + 1) as f64 / (4.0 * PI) * factorial(l - k) / factorial(l + k)).sqrt();
    let azimuth = match m {
        0 => Dual::constant(1.0),
        m if m > 0 => re * 2f64.sqrt(),
        _ => im * 2f64.sqrt(),
    };
    legendre * azimuth * norm
}
