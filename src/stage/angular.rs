//! Real solid or spherical harmonics of a slot of edges, and the pullback of their gradients.
//!
//! Orthonormal on the sphere, no Condon–Shortley sign, index `l² + l + m`; see Bigi, Fraux, Browning,
//! Ceriotti, J. Chem. Phys. 159, 064802 (2023). Spherical harmonics are solid ones times `r^(−l)`. The gradient
//! of a solid harmonic is a combination of those of degree `l − 1`, so the same code serves for both:
//! `∇(r^(−l) S_l) = (1/r) (∇S)(r^(1−l) S_(l−1)) − (l/r) r^(−l) S_l r̂`.

use super::block::Block;
use crate::simd::{Lanes, Real};
use std::f64::consts::PI;

/// Recursion and gradient coefficients up to `lmax`.
pub struct Angular<V: Lanes> {
    pub lmax: usize,
    /// Without the factor `r^l`.
    spherical: bool,
    pub(crate) y00: V::Real,
    /// `Y_{l,±l} = top[l] (x ± …) Y_{l−1,±(l−1)}`.
    pub(crate) top: Vec<V::Real>,
    /// `Y_lm = a z Y_{l−1,m} − b r² Y_{l−2,m}`, by (l, m ≥ 0).
    pub(crate) recursion: Vec<[V::Real; 2]>,
    /// `∂_z`: α; `∂_x`, `∂_y`: ½β⁻ (towards m − 1) and ½β⁺ (towards m + 1), by (l, m ≥ 0).
    pub(crate) gradient: Vec<[V::Real; 3]>,
}

/// The degree of a row is not known beforehand.
const ANY: usize = usize::MAX;

/// The number of harmonics up to `lmax`.
pub const fn n_harmonics(lmax: usize) -> usize {
    (lmax + 1) * (lmax + 1)
}

#[inline(always)]
pub(crate) const fn triangle(l: usize, m: usize) -> usize {
    l * (l + 1) / 2 + m
}

impl<V: Lanes> Angular<V> {
    pub fn new(lmax: usize, spherical: bool) -> Angular<V> {
        let mut top = vec![0.0];
        let mut recursion = Vec::new();
        let mut gradient = Vec::new();
        for l in 0..=lmax {
            if l > 0 {
                // N_l / N_(l−1) of N_m = √((2m+1)/4π) · √(2 − δ_m0) · (2m−1)!! / √(2m)!
                let l = l as f64;
                let norm = if l == 1.0 { 2.0 } else { 1.0 };
                top.push(
                    ((2.0 * l + 1.0) / (2.0 * l - 1.0) * norm).sqrt() * (2.0 * l - 1.0)
                        / ((2.0 * l) * (2.0 * l - 1.0)).sqrt(),
                );
            }
            for m in 0..=l {
                let (l, m) = (l as f64, m as f64);
                recursion.push(if m < l {
                    let d = l * l - m * m;
                    let b = if m < l - 1.0 {
                        (2.0 * l + 1.0) * ((l - 1.0) * (l - 1.0) - m * m) / ((2.0 * l - 3.0) * d)
                    } else {
                        0.0
                    };
                    [((4.0 * l * l - 1.0) / d).sqrt(), b.sqrt()]
                } else {
                    [0.0; 2]
                });
                gradient.push(if l > 0.0 {
                    let c = (2.0 * l + 1.0) / (2.0 * l - 1.0);
                    // The steps m = 1 → 0 and 0 → 1 cross the √2 between m = 0 and the rest.
                    let down = if m == 1.0 { 2f64.sqrt() } else { 1.0 };
                    let up = if m == 0.0 { 2f64.sqrt() } else { 1.0 };
                    [
                        (c * (l * l - m * m)).sqrt(),
                        0.5 * down * (c * (l + m) * (l + m - 1.0)).max(0.0).sqrt(),
                        0.5 * up * (c * (l - m) * (l - m - 1.0)).max(0.0).sqrt(),
                    ]
                } else {
                    [0.0; 3]
                });
            }
        }
        Angular {
            lmax,
            spherical,
            y00: V::Real::of((0.25 / PI).sqrt()),
            top: top.into_iter().map(V::Real::of).collect(),
            recursion: recursion.into_iter().map(|c| c.map(V::Real::of)).collect(),
            gradient: gradient.into_iter().map(|c| c.map(V::Real::of)).collect(),
        }
    }

    /// The harmonics of some slots, one slot after another.
    #[inline(never)]
    pub fn eval_slots(&self, block: &Block<V>, slots: std::ops::Range<usize>, out: &mut [V]) {
        V::vectorize(
            #[inline(always)]
            || {
                for (s, out) in slots.zip(out.chunks_mut(n_harmonics(self.lmax))) {
                    self.eval(block.vectors(s), out);
                }
            },
        );
    }

    /// `out[l² + l + m] = r^l Y_lm`, or `Y_lm`, of the vectors `(x, y, z)` with their `1/r`.
    #[inline(always)]
    pub fn eval(&self, [x, y, z, inv_r]: [V; 4], out: &mut [V]) {
        // Spherical harmonics are the solid ones of the unit vector.
        let [x, y, z] = if self.spherical { [x * inv_r, y * inv_r, z * inv_r] } else { [x, y, z] };
        match self.lmax {
            0 => self.eval_to::<0>(0, x, y, z, out),
            1 => self.eval_to::<1>(1, x, y, z, out),
            2 => self.eval_to::<2>(2, x, y, z, out),
            3 => self.eval_to::<3>(3, x, y, z, out),
            4 => self.eval_to::<4>(4, x, y, z, out),
            lmax => self.eval_to::<ANY>(lmax, x, y, z, out),
        }
    }

    /// `L` is `lmax` where that is known at compile time, so that the loops unroll; else [`ANY`].
    #[inline(always)]
    fn eval_to<const L: usize>(&self, lmax: usize, x: V, y: V, z: V, out: &mut [V]) {
        let lmax = if L == ANY { lmax } else { L };
        let out = &mut out[..n_harmonics(lmax)];
        let (top, recursion) = (&self.top[..lmax + 1], &self.recursion[..triangle(lmax, lmax) + 1]);
        let r2 = x.mul_add(x, y.mul_add(y, z * z));
        out[0] = V::splat(self.y00);
        for l in 1..=lmax {
            let (row, below) = (l * l + l, l * l - l);
            let k = V::splat(top[l]);
            let (c, s) = (out[below + l - 1], if l > 1 { out[below - (l - 1)] } else { V::zero() });
            let (kx, ky) = (k * x, k * y);
            out[row + l] = kx.mul_add(c, -(ky * s));
            out[row - l] = kx.mul_add(s, ky * c);
            for m in 0..l {
                let [a, b] = recursion[triangle(l, m)];
                let za = z * V::splat(a);
                if m + 2 <= l {
                    let two = below - (2 * l - 2);
                    let rb = r2 * V::splat(b);
                    out[row + m] = za.mul_add(out[below + m], -(rb * out[two + m]));
                    if m > 0 {
                        out[row - m] = za.mul_add(out[below - m], -(rb * out[two - m]));
                    }
                } else {
                    out[row + m] = za * out[below + m];
                    if m > 0 {
                        out[row - m] = za * out[below - m];
                    }
                }
            }
        }
    }

    /// Adds `Σ_lm bar[lm] ∇` of the harmonics of some slots, and `radial r̂`, to the gradients of the block; `harmonics` and `bar` have
    /// those of one slot after another.
    #[inline(always)]
    pub fn pullback_slots(
        &self,
        block: &Block<V>,
        slots: std::ops::Range<usize>,
        (harmonics, bar): (&[V], &[V]),
        radial: &[V],
        gradient: &mut [[V; 3]],
    ) {
        let n_y = n_harmonics(self.lmax);
        let rows = harmonics.chunks_exact(n_y).zip(bar.chunks_exact(n_y));
        for (((s, g), (y, bar)), &radial) in slots.clone().zip(&mut gradient[slots]).zip(rows).zip(radial) {
            let vectors = block.vectors(s);
            let [gx, gy, gz] = self.pullback(vectors, y, bar);
            let [x, y, z, inv_r] = vectors;
            let k = radial * inv_r;
            *g = [g[0] + k.mul_add(x, gx), g[1] + k.mul_add(y, gy), g[2] + k.mul_add(z, gz)];
        }
    }

    /// `Σ_lm bar[lm] ∇` of the harmonics of `vectors`, given the harmonics `y` themselves.
    #[inline(always)]
    pub fn pullback(&self, vectors: [V; 4], y: &[V], bar: &[V]) -> [V; 3] {
        let (mut g, mut radial) = ([V::zero(); 3], V::zero());
        // Terms with known numbers are free of everything but arithmetic.
        macro_rules! row {
            ($l:literal: $($m:literal)*) => {
                if $l <= self.lmax {
                    $(self.pullback_term($l, $m, y, bar, &mut g);)*
                    radial = radial_row($l, y, bar, radial);
                }
            };
        }
        row!(1: 0 1);
        row!(2: 0 1 2);
        row!(3: 0 1 2 3);
        row!(4: 0 1 2 3 4);
        for l in 5..self.lmax + 1 {
            (0..l + 1).for_each(|m| self.pullback_term(l, m, y, bar, &mut g));
            radial = radial_row(l, y, bar, radial);
        }
        if !self.spherical {
            return g;
        }
        let [x, y, z, inv_r] = vectors;
        let k = radial * inv_r;
        [inv_r * (g[0] - k * x), inv_r * (g[1] - k * y), inv_r * (g[2] - k * z)]
    }

    /// What `Y_lm` and `Y_l,−m` add to the gradient of solid harmonics.
    #[inline(always)]
    fn pullback_term(&self, l: usize, m: usize, y: &[V], bar: &[V], [gx, gy, gz]: &mut [V; 3]) {
        let (y, bar) = (&y[(l - 1) * (l - 1)..][..2 * l - 1], &bar[l * l..][..2 * l + 1]);
        let [alpha, down, up] = self.gradient[triangle(l, m)].map(V::splat);
        // Indices of (l, 0) and (l − 1, 0).
        let (row, low) = (l, l - 1);
        let (a, b) = (bar[row + m], bar[row - m]);
        if m == 0 {
            *gz = alpha.mul_add(a * y[low], *gz);
            if l > 1 {
                let c = up * a;
                *gx = c.mul_add(-y[low + 1], *gx);
                *gy = c.mul_add(-y[low - 1], *gy);
            }
            return;
        }
        if m < l {
            *gz = alpha.mul_add(a.mul_add(y[low + m], b * y[low - m]), *gz);
        }
        let p = y[low + m - 1];
        let (mut tx, mut ty) = match m > 1 {
            true => (a.mul_add(p, b * y[low + 1 - m]), b.mul_add(p, -(a * y[low + 1 - m]))),
            false => (a * p, b * p),
        };
        (tx, ty) = (down * tx, down * ty);
        if m + 1 < l {
            let (q, q_) = (y[low + m + 1], y[low - m - 1]);
            tx = up.mul_add(-a.mul_add(q, b * q_), tx);
            ty = up.mul_add(b.mul_add(q, -(a * q_)), ty);
        }
        (*gx, *gy) = (*gx + tx, *gy + ty);
    }

    /// `∇` of all harmonics of `vectors`, into `out[lm]`, given the harmonics `y` themselves.
    #[inline(always)]
    pub fn gradients(&self, vectors: [V; 4], y: &[V], out: &mut [[V; 3]]) {
        self.gradients_solid(y, out);
        if self.spherical {
            let [x0, x1, x2, inv_r] = vectors;
            for l in 1..=self.lmax {
                let degree = V::splat(V::Real::of(l as f64)) * inv_r;
                for lm in l * l..(l + 1) * (l + 1) {
                    let k = degree * y[lm];
                    let g = out[lm];
                    out[lm] = [inv_r * (g[0] - k * x0), inv_r * (g[1] - k * x1), inv_r * (g[2] - k * x2)];
                }
            }
        }
    }

    #[inline(always)]
    fn gradients_solid(&self, y: &[V], out: &mut [[V; 3]]) {
        out[0] = [V::zero(); 3];
        for l in 1..=self.lmax {
            let (row, low) = (l * l + l, l * l - l);
            let at = |m: isize| if m.unsigned_abs() < l { y[(low as isize + m) as usize] } else { V::zero() };
            for m in 0..=l {
                let [alpha, down, up] = self.gradient[triangle(l, m)].map(V::splat);
                let k = m as isize;
                if m == 0 {
                    out[row] = [-(up * at(1)), -(up * at(-1)), alpha * at(0)];
                    continue;
                }
                let (p, p_) = (at(k - 1), if m > 1 { at(1 - k) } else { V::zero() });
                let (q, q_) = (at(k + 1), at(-k - 1));
                out[row + m] = [down * p - up * q, -(down * p_) - up * q_, alpha * at(k)];
                out[row - m] = [down * p_ - up * q_, down.mul_add(p, up * q), alpha * at(-k)];
            }
        }
    }
}

/// `sum + l Σ_m bar[lm] y[lm]`.
#[inline(always)]
fn radial_row<V: Lanes>(l: usize, y: &[V], bar: &[V], sum: V) -> V {
    let (y, bar) = (&y[l * l..][..2 * l + 1], &bar[l * l..][..2 * l + 1]);
    let mut row = bar[0] * y[0];
    for m in 1..2 * l + 1 {
        row = bar[m].mul_add(y[m], row);
    }
    V::splat(V::Real::of(l as f64)).mul_add(row, sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Portable;

    type V = Portable<f64, 2>;

    /// Associated Legendre functions by their definition, without the Condon–Shortley sign.
    fn naive(l: usize, m: isize, [x, y, z]: [f64; 3]) -> f64 {
        let r = (x * x + y * y + z * z).sqrt();
        let (ct, k) = (z / r, m.unsigned_abs());
        let st = (1.0 - ct * ct).sqrt();
        let factorial = |n: usize| (1..=n).map(|k| k as f64).product::<f64>();
        // P_l^m = sin^m / (2^l l!) d^(l+m)/dc^(l+m) (c² − 1)^l
        let p: f64 = (0..=l)
            .filter(|j| 2 * j >= l + k)
            .map(|j| {
                let binomial = factorial(l) / factorial(j) / factorial(l - j);
                let sign = if (l - j).is_multiple_of(2) { 1.0 } else { -1.0 };
                let power = 2 * j - l - k;
                sign * binomial * factorial(2 * j) / factorial(power) * ct.powi(power as i32)
            })
            .sum::<f64>()
            * st.powi(k as i32)
            / 2f64.powi(l as i32)
            / factorial(l);
        let norm = ((2 * l + 1) as f64 / (4.0 * PI) * factorial(l - k) / factorial(l + k)).sqrt();
        let phi = y.atan2(x);
        let azimuth = match m {
            0 => 1.0,
            m if m > 0 => 2f64.sqrt() * (m as f64 * phi).cos(),
            _ => 2f64.sqrt() * (k as f64 * phi).sin(),
        };
        r.powi(l as i32) * norm * p * azimuth
    }

    fn harmonics(angular: &Angular<V>, v: [f64; 3]) -> Vec<V> {
        let mut out = vec![V::zero(); n_harmonics(angular.lmax)];
        angular.eval(vectors(v), &mut out);
        out
    }

    fn vectors([x, y, z]: [f64; 3]) -> [V; 4] {
        [x, y, z, 1.0 / (x * x + y * y + z * z).sqrt()].map(V::splat)
    }

    #[test]
    fn harmonics_agree_with_the_definition() {
        for (lmax, spherical) in (0..=9).flat_map(|lmax| [(lmax, false), (lmax, true)]) {
            let angular = Angular::<V>::new(lmax, spherical);
            for v in [[0.3, -0.7, 1.1], [-1.0, 0.2, -0.4], [0.0, 0.0, 1.0], [0.0, 0.0, -1.3], [0.0, 0.5, 0.0]] {
                let y = harmonics(&angular, v);
                for l in 0..=lmax {
                    for m in -(l as isize)..=l as isize {
                        let index = ((l * l + l) as isize + m) as usize;
                        let r = v.iter().map(|x| x * x).sum::<f64>().sqrt();
                        let expected = naive(l, m, v) / if spherical { r.powi(l as i32) } else { 1.0 };
                        assert!((y[index].to_array()[0] - expected).abs() < 1e-12, "l = {l}, m = {m}");
                    }
                }
            }
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences_and_with_the_pullback() {
        for (lmax, spherical) in (0..=7).flat_map(|lmax| [(lmax, false), (lmax, true)]) {
            let angular = Angular::<V>::new(lmax, spherical);
            let v = [0.31, -0.72, 0.93];
            let y = harmonics(&angular, v);
            let mut gradients = vec![[V::zero(); 3]; y.len()];
            angular.gradients(vectors(v), &y, &mut gradients);
            for axis in 0..3 {
                let step = 1e-5;
                let (mut plus, mut minus) = (v, v);
                plus[axis] += step;
                minus[axis] -= step;
                let (plus, minus) = (harmonics(&angular, plus), harmonics(&angular, minus));
                for lm in 0..y.len() {
                    let fd = (plus[lm] - minus[lm]).to_array()[0] / (2.0 * step);
                    assert!((gradients[lm][axis].to_array()[0] - fd).abs() < 1e-8, "lm = {lm}, axis = {axis}");
                }
            }
            let bar: Vec<V> = (0..y.len()).map(|k| V::splat((k as f64 * 0.7).sin())).collect();
            let pulled = angular.pullback(vectors(v), &y, &bar);
            for axis in 0..3 {
                let sum: f64 = (0..y.len()).map(|k| (bar[k] * gradients[k][axis]).to_array()[0]).sum();
                assert!((pulled[axis].to_array()[0] - sum).abs() < 1e-12);
            }
        }
    }
}
