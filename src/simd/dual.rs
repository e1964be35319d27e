//! Vectors with a tangent: what is written for vectors gives its derivative along a direction as well.

use super::{Lanes, Portable, Real};
use std::ops::{Add, Mul, Neg, Sub};

/// A vector and its derivative along a direction.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Dual<V> {
    pub value: V,
    pub tangent: V,
}

/// What a formula computes with, and what of it is the result: a vector itself, or the tangent of a [`Dual`].
pub trait Value: Lanes {
    type Plain: Value<Real = Self::Real, Plain = Self::Plain>;
    const HAS_TANGENT: bool;
    fn join(value: Self::Plain, tangent: Self::Plain) -> Self;
    /// The vector without the tangent.
    fn value(self) -> Self::Plain;
    /// The vector, or the tangent.
    fn result(self) -> Self::Plain;
    /// `sum` and the result of `self · other`.
    fn add_product(self, other: Self, sum: Self::Plain) -> Self::Plain;
    /// `self · factor + sum`, where the factor is constant.
    fn scale_add(self, factor: Self::Plain, sum: Self) -> Self;
}

macro_rules! plain {
    ($($V:ty),*) => {$(
        impl Value for $V {
            type Plain = $V;
            const HAS_TANGENT: bool = false;
            #[inline(always)]
            fn join(value: $V, _: $V) -> $V {
                value
            }
            #[inline(always)]
            fn value(self) -> $V {
                self
            }
            #[inline(always)]
            fn result(self) -> $V {
                self
            }
            #[inline(always)]
            fn add_product(self, other: $V, sum: $V) -> $V {
                self.mul_add(other, sum)
            }
            #[inline(always)]
            fn scale_add(self, factor: $V, sum: $V) -> $V {
                self.mul_add(factor, sum)
            }
        }
    )*};
}
plain!(Portable<f64, 2>, Portable<f32, 4>);
#[cfg(target_arch = "aarch64")]
plain!(super::F64x2, super::F32x4);
#[cfg(target_arch = "x86_64")]
plain!(super::F64x4, super::F32x8, super::F64x8, super::F32x16);

impl<V: Value<Plain = V>> Value for Dual<V> {
    type Plain = V;
    const HAS_TANGENT: bool = true;
    #[inline(always)]
    fn join(value: V, tangent: V) -> Self {
        Dual { value, tangent }
    }
    #[inline(always)]
    fn value(self) -> V {
        self.value
    }
    #[inline(always)]
    fn result(self) -> V {
        self.tangent
    }
    #[inline(always)]
    fn add_product(self, other: Self, sum: V) -> V {
        self.value.mul_add(other.tangent, self.tangent.mul_add(other.value, sum))
    }
    #[inline(always)]
    fn scale_add(self, factor: V, sum: Self) -> Self {
        Dual { value: self.value.mul_add(factor, sum.value), tangent: self.tangent.mul_add(factor, sum.tangent) }
    }
}

impl<V: Lanes> Add for Dual<V> {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Dual { value: self.value + other.value, tangent: self.tangent + other.tangent }
    }
}

impl<V: Lanes> Sub for Dual<V> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Dual { value: self.value - other.value, tangent: self.tangent - other.tangent }
    }
}

impl<V: Lanes> Mul for Dual<V> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        let tangent = self.value.mul_add(other.tangent, self.tangent * other.value);
        Dual { value: self.value * other.value, tangent }
    }
}

impl<V: Lanes> Neg for Dual<V> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Dual { value: -self.value, tangent: -self.tangent }
    }
}

/// Numbers that are loaded are constants; what is stored is the value.
// SAFETY: a vector of an instruction set is in it; `as_reals` compares sizes.
unsafe impl<V: Lanes> Lanes for Dual<V> {
    type Real = V::Real;
    type Wide = Dual<V::Wide>;
    const N: usize = V::N;
    const REGISTERS: usize = V::REGISTERS / 2;
    const UNROLLED: bool = V::UNROLLED;

    #[inline(always)]
    fn splat(x: V::Real) -> Self {
        Dual { value: V::splat(x), tangent: V::zero() }
    }
    #[inline(always)]
    fn load(x: &[V::Real]) -> Self {
        Dual { value: V::load(x), tangent: V::zero() }
    }
    #[inline(always)]
    fn store(self, x: &mut [V::Real]) {
        self.value.store(x);
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        let value = self.value.div(other.value);
        Dual { value, tangent: (self.tangent - value * other.tangent).div(other.value) }
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        let value = self.value.sqrt();
        Dual { value, tangent: self.tangent.div(value + value) }
    }
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        let tangent = self.value.mul_add(b.tangent, self.tangent.mul_add(b.value, c.tangent));
        Dual { value: self.value.mul_add(b.value, c.value), tangent }
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.select_lt(other, other, self)
    }
    #[inline(always)]
    fn select_lt(self, other: Self, then: Self, otherwise: Self) -> Self {
        let select = |then, otherwise| self.value.select_lt(other.value, then, otherwise);
        Dual { value: select(then.value, otherwise.value), tangent: select(then.tangent, otherwise.tangent) }
    }
    #[inline(always)]
    fn any_lt(self, other: Self) -> bool {
        self.value.any_lt(other.value)
    }
    #[inline(always)]
    fn power_of_two(self) -> Self {
        // Where it is a share of an exponent that a whole number stands for, it has a tangent.
        let value = self.value.power_of_two();
        Dual { value, tangent: value * self.tangent * V::splat(V::Real::of(std::f64::consts::LN_2)) }
    }
    #[inline(always)]
    fn split(self) -> (Self, Self) {
        let (m, k) = self.value.split();
        (Dual { value: m, tangent: self.tangent * (-k).power_of_two() }, Dual { value: k, tangent: V::zero() })
    }
    #[inline(always)]
    fn transpose(rows: &mut [Self]) {
        let mut part = [V::zero(); super::MAX_LANES];
        for tangent in [false, true] {
            for (part, row) in part.iter_mut().zip(rows.iter()) {
                *part = if tangent { row.tangent } else { row.value };
            }
            V::transpose(&mut part[..V::N]);
            for (part, row) in part.iter().zip(rows.iter_mut()) {
                *(if tangent { &mut row.tangent } else { &mut row.value }) = *part;
            }
        }
    }
    #[inline(always)]
    fn vectorize<R>(f: impl FnOnce() -> R) -> R {
        V::vectorize(f)
    }
}

#[cfg(test)]
mod tests {
    use super::super::elementary::pow;
    use super::*;

    type V = Portable<f64, 2>;

    fn f<N: Lanes<Real = f64>>(x: N, y: N) -> N {
        (x * y + y).sqrt().div(x - -y).mul_add(x, y)
    }

    #[test]
    fn tangents_are_derivatives() {
        let (x, y, dx, dy, h) = (1.3, 0.7, 0.4, -0.9, 1e-6);
        let at = |t: f64| f(V::splat(x + t * dx), V::splat(y + t * dy)).to_array()[0];
        let dual = |v, d| Dual::join(V::splat(v), V::splat(d));
        let z = f(dual(x, dx), dual(y, dy));
        assert_eq!(z.value.to_array()[0], at(0.0));
        assert!((z.tangent.to_array()[0] - (at(h) - at(-h)) / (2.0 * h)).abs() < 1e-9);
        let smaller = dual(x, dx).select_lt(dual(y, dy), dual(1.0, 2.0), dual(3.0, 4.0));
        assert_eq!((smaller.value.to_array()[0], smaller.tangent.to_array()[0]), (3.0, 4.0));
        assert_eq!(dual(x, dx).max(dual(y, dy)).tangent.to_array()[0], dx);
        assert!(dual(y, dy).any_lt(dual(x, dx)) && !dual(x, dx).any_lt(dual(x, dy)));
        let z = pow(dual(x, dx), dual(y, dy));
        let exact = x.powf(y) * (dy * x.ln() + dx * y / x);
        assert!((z.value.to_array()[0] - x.powf(y)).abs() + (z.tangent.to_array()[0] - exact).abs() < 1e-15, "{exact}");
    }

    #[test]
    fn values_and_tangents_are_transposed() {
        let mut rows: Vec<Dual<V>> =
            (0..2).map(|i| Dual::join(V::load(&[10.0 * i as f64, 1.0]), V::load(&[2.0, 3.0 + i as f64]))).collect();
        Dual::<V>::transpose(&mut rows);
        assert_eq!(rows[0].value.to_array()[..2], [0.0, 10.0]);
        assert_eq!(rows[1].tangent.to_array()[..2], [3.0, 4.0]);
    }

    #[test]
    fn results_of_products() {
        let (a, b) = (Dual::join(V::splat(2.0), V::splat(3.0)), Dual::join(V::splat(5.0), V::splat(7.0)));
        assert_eq!(a.add_product(b, V::splat(1.0)).to_array()[0], 30.0);
        assert_eq!(V::splat(2.0).add_product(V::splat(5.0), V::splat(1.0)).to_array()[0], 11.0);
        let z = a.scale_add(V::splat(2.0), b);
        assert_eq!((z.value.to_array()[0], z.tangent.to_array()[0]), (9.0, 13.0));
    }
}
