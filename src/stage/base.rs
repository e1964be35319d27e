//! Base functions of pacemaker: the coordinate `y` and the envelope `e` of a distance, of which all `g_k` are `e` times a polynomial.
//!
//! With Chebyshev polynomials `T_q`: `ChebExpCos`, `g_1 = e`, `g_k = e (1 − T_(k−1)(y))/2`; `ChebPow` and `ChebLinear`,
//! `g_k = e (1 − T_k(y))/2`; `SBessel`, sums of `e U_n(y)` with `y = cos πr/c`, `e = sinc πr/c`. Inner cutoffs belong to the envelope.

use super::radial::Dual;
use super::spec::BaseSpec;
use super::spec::{Base, InnerCutoff};
use crate::simd::elementary::{exp, half_turn, pow};
use crate::simd::{Lanes, Real};
use std::f64::consts::PI;

/// The base functions of one ordered pair, laid out for numbers of type `T`; lengths in Å.
#[derive(Clone, Copy, Debug)]
pub struct Coordinate<T> {
    base: Base,
    rcut: T,
    inv_rcut: T,
    /// `ChebExpCos`: `−λ`, `2/(1 − e^−λ)` and that times `e^−λ`, plus 1. `ChebPow`: the exponent.
    numbers: [T; 3],
    /// The exponent of `ChebPow` where it is whole.
    whole: Option<u32>,
    /// Where the outer cutoff function begins, and 1 over its length.
    outer: [T; 2],
    /// Up to here nothing.
    dead: T,
    /// From there the inner cutoff function rises over a length with this inverse; 0: at once.
    inv_width: T,
}

/// `(y, ∂y/∂r, e, ∂e/∂r)`.
type Values<V> = (V, V, V, V);

impl<T: Real> Coordinate<T> {
    pub fn new(spec: &BaseSpec, inner: InnerCutoff) -> Coordinate<T> {
        let BaseSpec { base, lambda, rcut, dcut, inner: end, inner_width: width } = *spec;
        let numbers = match base {
            Base::ChebExpCos => {
                let scale = 2.0 / (1.0 - (-lambda).exp());
                [-lambda, scale, 1.0 + scale * (-lambda).exp()]
            }
            _ => [lambda, 0.0, 0.0],
        };
        let dead = match inner {
            // What is below has no share in the energy. Upstream's functions begin at 1 Å where the inner cutoff has no width.
            InnerCutoff::Zbl => f64::from(u8::from(width == 0.0)),
            _ => end - width,
        };
        let rises = inner == InnerCutoff::Distance && width > 0.0;
        Coordinate {
            base,
            rcut: T::of(rcut),
            inv_rcut: T::of(1.0 / rcut),
            numbers: numbers.map(T::of),
            whole: (lambda.fract() == 0.0).then_some(lambda as u32),
            outer: [rcut - dcut, 1.0 / dcut].map(T::of),
            dead: T::of(dead),
            inv_width: T::of(if rises { 1.0 / width } else { 0.0 }),
        }
    }

    /// The coordinates of the distances `r`, with their `1/r`.
    #[inline(always)]
    pub fn eval<V: Lanes<Real = T>>(&self, r: V, inv_r: V) -> Values<V> {
        let (zero, one) = (V::zero(), V::splat(T::of(1.0)));
        let number = |x: f64| V::splat(T::of(x));
        let (rcut, inv_rcut) = (V::splat(self.rcut), V::splat(self.inv_rcut));
        // 0 at the cutoff, 1 in contact, without loss close to the cutoff.
        let gap = (rcut - r).max(zero);
        let u = gap * inv_rcut;
        let (y, dy, mut e, mut de) = match self.base {
            Base::ChebExpCos => {
                let [exponent, scale, offset] = self.numbers.map(V::splat);
                let decay = exp(exponent * (one - u));
                let slope = exponent * inv_rcut;
                let (s, c) = half_turn(u);
                let (mut e, mut de) = (s * s, -(number(PI) * inv_rcut * s * c));
                let [begin, inv_length] = self.outer.map(V::splat);
                if begin.any_lt(r.select_lt(rcut, r, zero)) {
                    // It is 1, with slope 0, before it begins.
                    let v = -((-(gap * inv_length)).max(-one));
                    let (s, c) = half_turn(v);
                    let (f, df) = (s * s, v.select_lt(one, -(number(PI) * inv_length * s * c), zero));
                    (e, de) = (e * f, de.mul_add(f, e * df));
                }
                (offset - scale * decay, -(scale * slope * decay), e, de)
            }
            Base::ChebPow => {
                let low = self.power(u);
                let (twice, exponent) = (number(2.0), V::splat(self.numbers[0]));
                (one - twice * (low * u), twice * exponent * low * inv_rcut, one, zero)
            }
            Base::ChebLinear => (u, -inv_rcut, one, zero),
            Base::SBessel => {
                let (s, c) = half_turn(u);
                let (y, sine) = (number(2.0) * s * s - one, number(2.0) * s * c);
                let e = sine * rcut * inv_r * number(1.0 / PI);
                (y, -(number(PI) * inv_rcut * sine), e, (y - e) * inv_r)
            }
            Base::Zero => (zero, zero, zero, zero),
        };
        let inside = |x: V| r.select_lt(rcut, x, zero);
        (e, de) = (inside(e), inside(de));
        if self.dead > T::default() || self.inv_width > T::default() {
            let dead = V::splat(self.dead);
            if self.inv_width > T::default() {
                let z = (r - dead) * V::splat(self.inv_width);
                let z = -((-(z.max(zero))).max(-one));
                let t = one - (z + z);
                let t2 = t * t;
                // ½ − 15/4 (t/4 − t³/6 + t⁵/20)
                let odd = t2.mul_add(t2.mul_add(number(-3.0 / 16.0), number(10.0 / 16.0)), number(-15.0 / 16.0));
                let (f, rest) = (t.mul_add(odd, number(0.5)), one - t2);
                let df = number(15.0 / 8.0) * V::splat(self.inv_width) * (rest * rest);
                (e, de) = (e * f, de.mul_add(f, e * df));
            }
            (e, de) = (dead.select_lt(r, e, zero), dead.select_lt(r, de, zero));
        }
        (y, dy, e, de)
    }

    /// `u^(λ−1)`.
    #[inline(always)]
    fn power<V: Lanes<Real = T>>(&self, u: V) -> V {
        match self.whole {
            Some(n) => (1..n).fold(V::splat(T::of(1.0)), |power, _| power * u),
            None => {
                // Finite at the cutoff, where the envelope is 0.
                pow(u.max(V::splat(T::of(1e-30))), V::splat(self.numbers[0] - T::of(1.0)))
            }
        }
    }
}

impl Coordinate<f64> {
    /// For device code: cutoff and inverse; `−λ`, scale and offset of `ChebExpCos`, or the exponent of `ChebPow`; begin and inverse
    /// length of the outer, then of the inner cutoff function.
    #[cfg(feature = "cuda")]
    pub fn constants(&self) -> [f64; 9] {
        let [a, b, c] = self.numbers;
        let [begin, inv_length] = self.outer;
        // Without an outer cutoff function nothing lies beyond its begin.
        let inv_length = if inv_length.is_finite() { inv_length } else { 0.0 };
        [self.rcut, self.inv_rcut, a, b, c, begin, inv_length, self.dead, self.inv_width]
    }

    /// For device code: which functions.
    #[cfg(feature = "cuda")]
    pub fn kind(&self) -> u32 {
        match self.base {
            Base::ChebExpCos => 0,
            Base::ChebPow => 1,
            Base::ChebLinear => 2,
            Base::SBessel => 3,
            Base::Zero => 4,
        }
    }

    /// `y` and `e` of one distance.
    pub fn at(&self, r: f64) -> (Dual, Dual) {
        type One = crate::simd::Portable<f64, 2>;
        let [r, inv_r] = [r, 1.0 / r].map(One::splat);
        let (y, dy, e, de) = self.eval(r, inv_r);
        let [y, dy, e, de] = [y, dy, e, de].map(|x| x.to_array()[0]);
        (Dual { value: y, slope: dy }, Dual { value: e, slope: de })
    }
}

/// The number of Chebyshev polynomials that the first `n` base functions are made of.
pub fn n_polynomials(base: Base, n: usize) -> usize {
    match base {
        Base::ChebExpCos | Base::Zero => n,
        Base::ChebPow | Base::ChebLinear | Base::SBessel => n + 1,
    }
}

/// The base functions `g_k` of a pair as sums of Chebyshev polynomials, (n, n_q).
pub fn chebyshev(spec: &BaseSpec, n: usize, n_q: usize) -> Vec<Vec<f64>> {
    let half_minus = |q: usize| {
        let mut row = vec![0.0; n_q];
        row[0] += 0.5;
        row[q] -= 0.5;
        row
    };
    match spec.base {
        Base::Zero => vec![vec![0.0; n_q]; n],
        Base::ChebExpCos => {
            let mut rows: Vec<_> = (0..n).map(half_minus).collect();
            if let Some(first) = rows.first_mut() {
                first[0] = 1.0;
            }
            rows
        }
        Base::ChebPow | Base::ChebLinear => (1..=n).map(half_minus).collect(),
        Base::SBessel => bessel(spec.rcut, n, n_q),
    }
}

/// Spherical Bessel functions made orthogonal: Kocer, Mason, Erturk, AIP Advances 10, 015021 (2020).
fn bessel(rcut: f64, n: usize, n_q: usize) -> Vec<Vec<f64>> {
    let mut rows: Vec<Vec<f64>> = Vec::new();
    let mut d = 1.0;
    for k in 0..n {
        let (a, b) = (k as f64 + 1.0, k as f64 + 2.0);
        let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
        let norm = sign * 2f64.sqrt() * PI / rcut.powf(1.5) * a * b / (a * a + b * b).sqrt();
        // sinc mθ = sinc θ · U_(m−1)(cos θ)/m
        let mut row = vec![0.0; n_q];
        add_second_kind(&mut row, k, norm / a);
        add_second_kind(&mut row, k + 1, norm / b);
        if let Some(last) = rows.last() {
            let x = k as f64;
            let e = x * x * (x + 2.0) * (x + 2.0) / (4.0 * (x + 1.0).powi(4) + 1.0);
            let before = d;
            d = 1.0 - e / before;
            for (f, g) in row.iter_mut().zip(last) {
                *f = (*f + g * (e / before).sqrt()) / d.sqrt();
            }
        }
        rows.push(row);
    }
    rows
}

/// Adds `c U_j` as polynomials of the first kind.
fn add_second_kind(row: &mut [f64], j: usize, c: f64) {
    for q in (j % 2..=j).step_by(2) {
        row[q] += if q == 0 { c } else { 2.0 * c };
    }
}
