//! Vector registers: one trait, one implementation per instruction set.
//!
//! A kernel is written once, generic over [`Lanes`]. [`with_lanes`] picks the type for an instruction set of this processor;
//! [`Lanes::vectorize`] switches the set on, and everything below is `#[inline(always)]` so that it is compiled with it.
//! Nothing of this is public, as instructions that a processor lacks are undefined behaviour:
//!
//! ```compile_fail,E0603
//! use acerust::simd::Lanes;
//! ```

#[cfg(target_arch = "aarch64")]
mod arm;
mod dual;
pub mod elementary;
mod portable;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
mod register;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "aarch64")]
pub use arm::{F32x4, F64x2};
pub use dual::{Dual, Value};
pub use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub use x86::{F32x8, F32x16, F64x4, F64x8};

use std::ops::{Add, Mul, Neg, Sub};

/// A working precision: `f64` or `f32`.
pub trait Real:
    Copy
    + Default
    + PartialOrd
    + Send
    + Sync
    + std::fmt::Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Neg<Output = Self>
    + std::ops::AddAssign
    + 'static
{
    fn of(x: f64) -> Self;
    fn to_f64(self) -> f64;
}

impl Real for f64 {
    #[inline(always)]
    fn of(x: f64) -> f64 {
        x
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
}

impl Real for f32 {
    #[inline(always)]
    fn of(x: f64) -> f32 {
        x as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self as f64
    }
}

/// What numbers are as bits.
mod bits {
    macro_rules! layout {
        ($T:ident, $U:ident, $fraction:literal, $exponent:literal) => {
            pub mod $T {
                /// The lowest bits of `x + ROUND` are the whole number next to `x`.
                pub const ROUND: $T = 1.5 * WHOLE;
                /// Of the exponent.
                pub const BIAS: $T = ((1 << ($exponent - 1)) - 1) as $T;
                pub const FRACTION: $U = (1 << $fraction) - 1;
                /// Where exponents that have lost their bias have a sign.
                pub const SIGN: $U = 1 << $exponent;
                pub const SQRT_HALF: $U = core::$T::consts::FRAC_1_SQRT_2.to_bits();
                /// Its bits and those of a whole number are the sum of both.
                pub const WHOLE: $T = ((1 as $U) << $fraction) as $T;
            }
        };
    }
    layout!(f64, u64, 52, 11);
    layout!(f32, u32, 23, 8);
}

/// The widest vector of any instruction set, in lanes.
pub const MAX_LANES: usize = 16;

/// `N` numbers that are computed with at once.
///
/// # Safety
/// A value is `N` packed numbers of its `Real`, without padding: [`as_reals`] relies on it, and refuses a [`Dual`]. Values of an implementation for
/// an instruction set exist, and [`Lanes::vectorize`] is called, only on processors that have it: [`with_lanes`] is the
/// only door to them.
pub unsafe trait Lanes:
    Copy + Send + Sync + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Neg<Output = Self> + 'static
{
    type Real: Real;
    /// The vector of double precision of the same instruction set; this one itself where that is its precision.
    type Wide: Lanes<Real = f64>;
    const N: usize;
    /// Vector registers of the instruction set.
    const REGISTERS: usize;
    /// Are loops of a few lengths compiled for each of these? Not for plain arrays: they take the longest to compile, and few processors
    /// need them.
    const UNROLLED: bool = true;

    fn splat(x: Self::Real) -> Self;
    /// The first `N` entries of `x`.
    fn load(x: &[Self::Real]) -> Self;
    /// Overwrites the first `N` entries of `x`.
    fn store(self, x: &mut [Self::Real]);
    fn div(self, other: Self) -> Self;
    fn sqrt(self) -> Self;
    /// `self · b + c`
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// The larger of both, lane by lane.
    fn max(self, other: Self) -> Self;
    /// `then` in the lanes where `self < other`, `otherwise` in the rest.
    fn select_lt(self, other: Self, then: Self, otherwise: Self) -> Self;
    /// Is `self < other` in any lane?
    fn any_lt(self, other: Self) -> bool;
    /// `2^k` for whole `k` that make it a normal number.
    fn power_of_two(self) -> Self;
    /// `m` from √½ to √2 and whole `k` with `x = 2^k m`, for positive normal `x`.
    fn split(self) -> (Self, Self);
    /// Transposes the `N × N` matrix with these rows.
    fn transpose(rows: &mut [Self]);
    /// Runs `f` with the instruction set of this type switched on.
    fn vectorize<R>(f: impl FnOnce() -> R) -> R;

    #[inline(always)]
    fn zero() -> Self {
        Self::splat(Self::Real::default())
    }
    #[inline(always)]
    fn from_fn(f: impl FnMut(usize) -> Self::Real) -> Self {
        let x: [Self::Real; MAX_LANES] = {
            let mut f = f;
            std::array::from_fn(|k| if k < Self::N { f(k) } else { Self::Real::default() })
        };
        Self::load(&x)
    }
    #[inline(always)]
    fn to_array(self) -> [Self::Real; MAX_LANES] {
        let mut x = [Self::Real::default(); MAX_LANES];
        self.store(&mut x);
        x
    }
}

/// A slice of vectors as the numbers in them.
#[inline(always)]
pub fn as_reals<V: Lanes>(x: &[V]) -> &[V::Real] {
    const { assert!(size_of::<V>() == V::N * size_of::<V::Real>()) };
    // SAFETY: a vector is `N` packed numbers of its `Real`, without padding and without a tangent.
    unsafe { std::slice::from_raw_parts(x.as_ptr().cast(), x.len() * V::N) }
}

/// A slice of vectors as the numbers in them.
#[inline(always)]
pub fn as_reals_mut<V: Lanes>(x: &mut [V]) -> &mut [V::Real] {
    const { assert!(size_of::<V>() == V::N * size_of::<V::Real>()) };
    // SAFETY: as in `as_reals`.
    unsafe { std::slice::from_raw_parts_mut(x.as_mut_ptr().cast(), x.len() * V::N) }
}

/// An instruction set the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Isa {
    /// Whatever the compiler makes of arrays.
    Portable,
    /// 64-bit Arm.
    Neon,
    Avx2,
    Avx512,
}

impl Isa {
    /// By what they can do.
    const ALL: [Isa; 4] = [Isa::Portable, Isa::Neon, Isa::Avx2, Isa::Avx512];

    /// Has this processor the instruction set?
    pub fn is_available(self) -> bool {
        match self {
            Isa::Portable => true,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            // Of another architecture.
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// The instruction sets of this processor, best last.
    pub fn available() -> Vec<Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// The best instruction set of this processor.
    pub fn detect() -> Isa {
        Isa::ALL.into_iter().rfind(|isa| isa.is_available()).unwrap_or(Isa::Portable)
    }
}

/// `with_lanes!(isa, f64, V => …)`: the expression with `V` the registers of an instruction set that hold `f64` (or `f32`).
///
/// Panics where this processor lacks the instruction set.
macro_rules! with_lanes {
    ($isa:expr, f64, $V:ident => $run:expr) => {
        $crate::simd::with_lanes!($isa, [Portable<f64, 2>, F64x2, F64x4, F64x8], $V => $run)
    };
    ($isa:expr, f32, $V:ident => $run:expr) => {
        $crate::simd::with_lanes!($isa, [Portable<f32, 4>, F32x4, F32x8, F32x16], $V => $run)
    };
    ($isa:expr, [$Portable:ident<$T:ty, $n:literal>, $Neon:ident, $Avx2:ident, $Avx512:ident], $V:ident => $run:expr) => {{
        let isa: $crate::simd::Isa = $isa;
        assert!(isa.is_available(), "this processor has no {isa:?}");
        match isa {
            #[cfg(target_arch = "aarch64")]
            $crate::simd::Isa::Neon => {
                type $V = $crate::simd::$Neon;
                $run
            }
            #[cfg(target_arch = "x86_64")]
            $crate::simd::Isa::Avx512 => {
                type $V = $crate::simd::$Avx512;
                $run
            }
            #[cfg(target_arch = "x86_64")]
            $crate::simd::Isa::Avx2 => {
                type $V = $crate::simd::$Avx2;
                $run
            }
            _ => {
                type $V = $crate::simd::$Portable<$T, $n>;
                $run
            }
        }
    }};
}
pub(crate) use with_lanes;

#[cfg(test)]
mod tests {
    use super::*;

    fn battery<V: Lanes>() {
        let x: Vec<V::Real> = (0..V::N * V::N).map(|k| V::Real::of(k as f64 + 1.0)).collect();
        let mut rows: Vec<V> = x.chunks(V::N).map(V::load).collect();
        let r = V::vectorize(|| rows[0].mul_add(rows[1], V::splat(V::Real::of(2.0))) - rows[0]);
        for k in 0..V::N {
            let (a, b) = (k as f64 + 1.0, (V::N + k) as f64 + 1.0);
            assert_eq!(r.to_array()[k].to_f64(), a * b + 2.0 - a);
        }
        let three = V::splat(V::Real::of(3.0));
        let pick = V::vectorize(|| rows[0].select_lt(three, -rows[0], rows[0].max(V::splat(V::Real::of(4.0)))));
        for (k, x) in pick.to_array()[..V::N].iter().enumerate() {
            assert_eq!(x.to_f64(), [-1.0, -2.0, 4.0].get(k).copied().unwrap_or(k as f64 + 1.0));
        }
        assert!(V::vectorize(|| !rows[0].any_lt(V::splat(V::Real::of(1.0))) && rows[0].any_lt(three)));
        assert!(V::vectorize(|| !V::splat(V::Real::of(f64::NAN)).any_lt(three)));
        for (x, m, k) in
            [(1.0, 1.0, 0.0), (0.708, 0.708, 0.0), (0.706, 1.412, -1.0), (1e30, 1e30 * 0.5_f64.powi(100), 100.0)]
        {
            let (a, b) = V::vectorize(|| V::splat(V::Real::of(x)).split());
            for lane in 0..V::N {
                assert_eq!([a, b].map(|v| v.to_array()[lane]), [m, k].map(V::Real::of));
            }
            assert_eq!(V::vectorize(|| b.power_of_two()).to_array()[0].to_f64(), k.exp2());
        }
        let q = V::vectorize(|| (rows[0] * rows[0]).sqrt().div(-rows[0]));
        assert!((0..V::N).all(|k| q.to_array()[k].to_f64() == -1.0));
        V::vectorize(|| V::transpose(&mut rows));
        for (i, row) in rows.iter().enumerate() {
            for j in 0..V::N {
                assert_eq!(row.to_array()[j].to_f64(), (j * V::N + i) as f64 + 1.0);
            }
        }
    }

    #[test]
    fn every_instruction_set_computes_alike() {
        for isa in Isa::available() {
            with_lanes!(isa, f64, V => battery::<V>());
            with_lanes!(isa, f32, V => battery::<V>());
        }
    }

    #[test]
    fn what_the_processor_lacks_is_out_of_reach() {
        assert!(Isa::detect().is_available());
        for isa in Isa::ALL {
            let reached = std::panic::catch_unwind(|| with_lanes!(isa, f64, V => V::N));
            assert_eq!(reached.is_ok(), isa.is_available(), "{isa:?}");
        }
    }
}
