//! One vector register as [`Lanes`](super::Lanes), whatever its instruction set.

/// `register!(Name, register, number, lanes, registers, features, …)`: a type over the intrinsics that follow.
macro_rules! register {
    ($Name:ident, $Wide:ident, $Reg:ty, $T:ty, $N:literal, $registers:literal, $features:literal,
     $splat:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident, $div:ident, $sqrt:ident,
     $fma:ident, $max:ident, $neg:ident, $select:ident, $any_lt:ident, $power_of_two:ident, $split:ident, $transpose:ident) => {
        #[derive(Clone, Copy)]
        #[repr(transparent)]
        pub struct $Name($Reg);

        // SAFETY (of every intrinsic here): the type is reached through `with_lanes` alone, which has asked the processor for the
        // instruction set.
        impl Add for $Name {
            type Output = Self;
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                unsafe { $Name($add(self.0, other.0)) }
            }
        }
        impl Sub for $Name {
            type Output = Self;
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                unsafe { $Name($sub(self.0, other.0)) }
            }
        }
        impl Mul for $Name {
            type Output = Self;
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                unsafe { $Name($mul(self.0, other.0)) }
            }
        }
        impl Neg for $Name {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                unsafe { $Name($neg(self.0)) }
            }
        }
        // SAFETY: transparent over a register of `N` numbers.
        unsafe impl Lanes for $Name {
            type Real = $T;
            type Wide = $Wide;
            const N: usize = $N;
            const REGISTERS: usize = $registers;
            #[inline(always)]
            fn splat(x: $T) -> Self {
                unsafe { $Name($splat(x)) }
            }
            #[inline(always)]
            fn load(x: &[$T]) -> Self {
                let x = &x[..$N];
                unsafe { $Name($load(x.as_ptr())) }
            }
            #[inline(always)]
            fn store(self, x: &mut [$T]) {
                let x = &mut x[..$N];
                unsafe { $store(x.as_mut_ptr(), self.0) }
            }
            #[inline(always)]
            fn div(self, other: Self) -> Self {
                unsafe { $Name($div(self.0, other.0)) }
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                unsafe { $Name($sqrt(self.0)) }
            }
            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                unsafe { $Name($fma(self.0, b.0, c.0)) }
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                unsafe { $Name($max(self.0, other.0)) }
            }
            #[inline(always)]
            fn select_lt(self, other: Self, then: Self, otherwise: Self) -> Self {
                unsafe { $Name($select(self.0, other.0, then.0, otherwise.0)) }
            }
            #[inline(always)]
            fn any_lt(self, other: Self) -> bool {
                unsafe { $any_lt(self.0, other.0) }
            }
            #[inline(always)]
            fn power_of_two(self) -> Self {
                unsafe { $Name($power_of_two(self.0)) }
            }
            #[inline(always)]
            fn split(self) -> (Self, Self) {
                let (m, k) = unsafe { $split(self.0) };
                ($Name(m), $Name(k))
            }
            #[inline(always)]
            fn transpose(rows: &mut [Self]) {
                let rows: &mut [Self; $N] = (&mut rows[..$N]).try_into().expect("N rows");
                // SAFETY: the wrapper is transparent.
                unsafe { $transpose(&mut *std::ptr::from_mut(rows).cast()) }
            }
            #[inline(always)]
            fn vectorize<R>(f: impl FnOnce() -> R) -> R {
                #[target_feature(enable = $features)]
                fn inner<R>(f: impl FnOnce() -> R) -> R {
                    f()
                }
                unsafe { inner(f) }
            }
        }
    };
}
pub(super) use register;

/// `power_of_two` and `split` of a register, from its intrinsics for numbers and for integers of the same width; the lowest `$fraction`
/// bits of a number are its fraction.
macro_rules! exponents {
    ($Reg:ty, $features:literal, $power:ident, $split:ident, $T:ident, $fraction:literal, $set:ident, $to:ident, $from:ident,
     $splat:ident, $add:ident, $sub:ident, $add_int:ident, $sub_int:ident, $and:ident, $or:ident, $xor:ident,
     $left:ident, $right:ident) => {
        #[inline]
        #[target_feature(enable = $features)]
        fn $power(k: $Reg) -> $Reg {
            $from($left::<$fraction>($to($add(k, $splat(bits::$T::ROUND + bits::$T::BIAS)))))
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn $split(x: $Reg) -> ($Reg, $Reg) {
            let half = $set(bits::$T::SQRT_HALF as _);
            let x = $sub_int($to(x), half);
            let m = $add_int($and(x, $set(bits::$T::FRACTION as _)), half);
            // A bit is added where the exponent has its sign, and taken away again as a number.
            let k = $or($xor($right::<$fraction>(x), $set(bits::$T::SIGN as _)), $set(bits::$T::WHOLE.to_bits() as _));
            ($from(m), $sub($from(k), $splat(bits::$T::WHOLE + bits::$T::SIGN as $T)))
        }
    };
}
pub(super) use exponents;
