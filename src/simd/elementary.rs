//! Elementary functions of vectors, by series about points that are never far: about as good as those of a library, without a call for
//! every lane.

use super::{Lanes, Real, bits};
use std::f64::consts::{FRAC_PI_2, LN_2, LOG2_E};

/// The same number in all lanes.
#[inline(always)]
fn number<V: Lanes>(x: f64) -> V {
    V::splat(V::Real::of(x))
}

/// Does `V` hold double precision?
#[inline(always)]
const fn is_double<V: Lanes>() -> bool {
    size_of::<V::Real>() == 8
}

/// `Σ_k c_k x^k`: from the third on, where roundings no longer count, even and odd powers side by side, which halves the time that each sum
/// waits for the one before.
#[inline(always)]
fn polynomial<V: Lanes, const N: usize>(x: V, c: [f64; N]) -> V {
    let (x2, mut sums) = (x * x, [V::zero(); 2]);
    for k in (2..N).rev() {
        let sum = &mut sums[k % 2];
        *sum = if k + 2 < N { x2.mul_add(*sum, number(c[k])) } else { number(c[k]) };
    }
    let rest = x.mul_add(sums[1], sums[0]);
    x.mul_add(x.mul_add(rest, number(c[1])), number(c[0]))
}

/// `x^n/n!` for every `step`-th `n` from `first` on, with the sign changed each time or not.
const fn series<const N: usize>(x: f64, first: usize, step: usize, sign: f64) -> [f64; N] {
    let (mut c, mut term, mut n, mut k) = ([0.0; N], 1.0, 0, 0);
    while k < N {
        while n < first + step * k {
            n += 1;
            term *= x / n as f64;
        }
        c[k] = term;
        (k, term) = (k + 1, sign * term);
    }
    c
}

/// `e^x` to the last bit or so; 0 below the logarithm of the smallest normal number.
#[inline(always)]
pub fn exp<V: Lanes>(x: V) -> V {
    let (low, high) = if is_double::<V>() { (-708.0, 709.0) } else { (-87.0, 88.0) };
    let inside = -number::<V>(-high).max(-number::<V>(low).max(x));
    // k ln 2 + r, with ln 2 in two parts: products of the first are exact.
    let (round, ln2, rest) = if is_double::<V>() {
        (bits::f64::ROUND, 0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10)
    } else {
        (f64::from(bits::f32::ROUND), 0.693_359_375, -2.121_944_400_546_905_8e-4)
    };
    let k = inside.mul_add(number(LOG2_E), number(round)) - number(round);
    let r = k.mul_add(number(-rest), k.mul_add(number(-ln2), inside));
    let sum = if is_double::<V>() {
        polynomial(r, const { series::<14>(1.0, 0, 1, 1.0) })
    } else {
        polynomial(r, const { series::<8>(1.0, 0, 1, 1.0) })
    };
    let e = sum * k.power_of_two();
    let e = x.select_lt(number(low), V::zero(), e);
    number::<V>(high).select_lt(x, number(f64::INFINITY), e)
}

/// `ln x` to the last bit or so; subnormal numbers are 0 to it.
#[inline(always)]
pub fn ln<V: Lanes>(x: V) -> V {
    let (m, k) = x.split();
    let one = number::<V>(1.0);
    let s = (m - one).div(m + one);
    // 2 artanh s
    let s2 = s * s;
    let sum = if is_double::<V>() {
        polynomial(s2, const { artanh::<11>() })
    } else {
        polynomial(s2, const { artanh::<5>() })
    };
    let ln = k.mul_add(number(LN_2), (s + s) * sum);
    let ln = x.select_lt(number(f64::INFINITY), ln, x);
    let smallest = if is_double::<V>() { f64::MIN_POSITIVE } else { f64::from(f32::MIN_POSITIVE) };
    let ln = x.select_lt(number(smallest), number(f64::NEG_INFINITY), ln);
    x.select_lt(V::zero(), number(f64::NAN), ln)
}

/// `artanh(s)/s` in powers of `s²`.
const fn artanh<const N: usize>() -> [f64; N] {
    let (mut c, mut k) = ([0.0; N], 0);
    while k < N {
        c[k] = 1.0 / (2 * k + 1) as f64;
        k += 1;
    }
    c
}

/// `x^y` for `x ≥ 0` and `y ≠ 0`, off by `1 + |y ln x|` times the last bit or so.
#[inline(always)]
pub fn pow<V: Lanes>(x: V, y: V) -> V {
    exp(y * ln(x))
}

/// Sine and cosine of `πu/2` for `0 ≤ u ≤ 1`, to the last bit of 1 or so; the sine of small `u` to its own last bit.
#[inline(always)]
pub fn half_turn<V: Lanes>(u: V) -> (V, V) {
    let u2 = u * u;
    let (sine, cosine) = if is_double::<V>() {
        (
            polynomial(u2, const { series::<11>(FRAC_PI_2, 1, 2, -1.0) }),
            polynomial(u2, const { series::<12>(FRAC_PI_2, 0, 2, -1.0) }),
        )
    } else {
        (
            polynomial(u2, const { series::<6>(FRAC_PI_2, 1, 2, -1.0) }),
            polynomial(u2, const { series::<7>(FRAC_PI_2, 0, 2, -1.0) }),
        )
    };
    (u * sine, cosine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Isa, with_lanes};

    /// Distance of `x` from `exact` in last bits of the latter, or of `least`.
    fn ulp<T: Real>(x: T, exact: f64, least: f64) -> f64 {
        let bit = if size_of::<T>() == 8 { f64::EPSILON } else { f64::from(f32::EPSILON) };
        (x.to_f64() - exact).abs() / (bit * exact.abs().max(least).max(f64::MIN_POSITIVE))
    }

    fn at<V: Lanes>(f: impl Fn(V) -> V, x: V::Real) -> V::Real {
        let y = V::vectorize(|| f(V::splat(x))).to_array();
        assert!(y[..V::N].iter().all(|z| z.to_f64().to_bits() == y[0].to_f64().to_bits()));
        y[0]
    }

    fn battery<V: Lanes>() {
        let double = is_double::<V>();
        let (low, high, tiny) = if double { (-708.0, 709.0, 1e-307) } else { (-87.0, 88.0, 2e-38) };
        let grid = |n: i32| (0..=n).map(move |k| f64::from(k) / f64::from(n));
        for t in grid(20_011) {
            let x = V::Real::of(low + t * (high - low));
            assert!(ulp(at(exp::<V>, x), x.to_f64().exp(), 0.0) < 1.5, "exp {x:?}");
            let x = V::Real::of(0.7 * (t - 0.5));
            assert!(ulp(at(exp::<V>, x), x.to_f64().exp(), 0.0) < 1.1, "exp {x:?}");
            let x = V::Real::of((low + 0.8 + t * (high - low - 1.0)).exp());
            assert!(ulp(at(ln::<V>, x), x.to_f64().ln(), 0.0) < 1.5, "ln {x:?}");
            let x = V::Real::of(0.6 + t);
            assert!(
                ulp(at(ln::<V>, x), x.to_f64().ln(), if x.to_f64() < 0.71 || x.to_f64() > 1.41 { 0.7 } else { 0.0 })
                    < 2.0,
                "ln {x:?}"
            );
            for y in [-2.5, 0.25, 1.2, 7.0].map(V::Real::of) {
                let x = V::Real::of(20.0 * t + 1e-3);
                let (y64, exact) = (y.to_f64(), x.to_f64().powf(y.to_f64()));
                let bits = 2.0 + 2.0 * (y64 * x.to_f64().ln()).abs();
                assert!(ulp(at(|x| pow(x, V::splat(y)), x), exact, 0.0) < bits, "{x:?}^{y:?}");
            }
            let u = V::Real::of(t);
            let (sine, cosine) = (FRAC_PI_2 * u.to_f64()).sin_cos();
            assert!(ulp(at(|u| half_turn::<V>(u).0, u), sine, 0.0) < 2.0, "sine {u:?}");
            assert!(ulp(at(|u| half_turn::<V>(u).1, u), cosine, 1.0) < 1.5, "cosine {u:?}");
        }
        let special = |f: fn(V) -> V, x: f64| at(f, V::Real::of(x)).to_f64();
        let f = special;
        assert_eq!([0.0, -0.0, f64::NEG_INFINITY, low - 1.0].map(|x| f(exp, x)), [1.0, 1.0, 0.0, 0.0]);
        assert_eq!([f64::INFINITY, high + 1.0].map(|x| f(exp, x)), [f64::INFINITY; 2]);
        assert_eq!(f(exp, tiny), 1.0);
        assert_eq!(
            [1.0, 0.0, -0.0, f64::INFINITY].map(|x| f(ln, x)),
            [0.0, f64::NEG_INFINITY, f64::NEG_INFINITY, f64::INFINITY]
        );
        assert!(ulp(V::Real::of(f(ln, tiny)), V::Real::of(tiny).to_f64().ln(), 0.0) < 1.5);
        assert!([f(ln, -1.0), f(ln, f64::NEG_INFINITY), f(ln, f64::NAN), f(exp, f64::NAN)].iter().all(|x| x.is_nan()));
        assert_eq!(at(|x| pow(x, V::splat(V::Real::of(0.5))), V::Real::default()).to_f64(), 0.0);
    }

    #[test]
    fn they_are_those_of_the_library_with_every_instruction_set() {
        for isa in Isa::available() {
            with_lanes!(isa, f64, V => battery::<V>());
            with_lanes!(isa, f32, V => battery::<V>());
        }
    }
}
