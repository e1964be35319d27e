//! Plain arrays, left to the compiler: lane by lane in the source, as closures over arrays take it long.

use super::{Lanes, bits};
use std::ops::{Add, Mul, Neg, Sub};

#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub struct Portable<T, const N: usize>([T; N]);

macro_rules! portable {
    ($T:ident, $N:literal, $($k:literal)*) => {
        impl Add for Portable<$T, $N> {
            type Output = Self;
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                Portable([$(self.0[$k] + other.0[$k]),*])
            }
        }

        impl Sub for Portable<$T, $N> {
            type Output = Self;
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                Portable([$(self.0[$k] - other.0[$k]),*])
            }
        }

        impl Mul for Portable<$T, $N> {
            type Output = Self;
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                Portable([$(self.0[$k] * other.0[$k]),*])
            }
        }

        impl Neg for Portable<$T, $N> {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                Portable([$(-self.0[$k]),*])
            }
        }

        // SAFETY: an array of `N` numbers, whose alignment of 16 bytes its size is a multiple of; no instruction set needed.
        unsafe impl Lanes for Portable<$T, $N> {
            type Real = $T;
            type Wide = Portable<f64, 2>;
            const N: usize = $N;
            const REGISTERS: usize = 16;
            const UNROLLED: bool = false;
            #[inline(always)]
            fn splat(x: $T) -> Self {
                Portable([x; $N])
            }
            #[inline(always)]
            fn load(x: &[$T]) -> Self {
                let x = &x[..$N];
                Portable([$(x[$k]),*])
            }
            #[inline(always)]
            fn store(self, x: &mut [$T]) {
                x[..$N].copy_from_slice(&self.0);
            }
            #[inline(always)]
            fn div(self, other: Self) -> Self {
                Portable([$(self.0[$k] / other.0[$k]),*])
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                Portable([$(self.0[$k].sqrt()),*])
            }
            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                // Without the instruction, a fused product is a slow library call.
                if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
                    Portable([$(self.0[$k].mul_add(b.0[$k], c.0[$k])),*])
                } else {
                    self * b + c
                }
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                Portable([$(if self.0[$k] > other.0[$k] { self.0[$k] } else { other.0[$k] }),*])
            }
            #[inline(always)]
            fn select_lt(self, other: Self, then: Self, otherwise: Self) -> Self {
                Portable([$(if self.0[$k] < other.0[$k] { then.0[$k] } else { otherwise.0[$k] }),*])
            }
            #[inline(always)]
            fn any_lt(self, other: Self) -> bool {
                false $(|| self.0[$k] < other.0[$k])*
            }
            #[inline(always)]
            fn power_of_two(self) -> Self {
                let bits = self + Self::splat(bits::$T::ROUND + bits::$T::BIAS);
                Portable([$(<$T>::from_bits(bits.0[$k].to_bits() << ($T::MANTISSA_DIGITS - 1))),*])
            }
            #[inline(always)]
            fn split(self) -> (Self, Self) {
                use bits::$T::{FRACTION, SIGN, SQRT_HALF, WHOLE};
                let bits = [$(self.0[$k].to_bits().wrapping_sub(SQRT_HALF)),*];
                let exponent = [$((bits[$k] >> ($T::MANTISSA_DIGITS - 1)) ^ SIGN),*];
                (
                    Portable([$(<$T>::from_bits((bits[$k] & FRACTION) + SQRT_HALF)),*]),
                    Portable([$(<$T>::from_bits(exponent[$k] | WHOLE.to_bits()) - (WHOLE + SIGN as $T)),*]),
                )
            }
            #[inline(always)]
            fn transpose(rows: &mut [Self]) {
                for i in 0..$N {
                    for j in 0..i {
                        (rows[i].0[j], rows[j].0[i]) = (rows[j].0[i], rows[i].0[j]);
                    }
                }
            }
            #[inline(always)]
            fn vectorize<R>(f: impl FnOnce() -> R) -> R {
                f()
            }
        }
    };
}

portable!(f64, 2, 0 1);
portable!(f32, 4, 0 1 2 3);
