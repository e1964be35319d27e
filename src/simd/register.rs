//! One vector register as [`Lanes`](super::Lanes), whatever its instruction set.

/// `register!(Name, register, number, lanes, registers, features, …)`: a type over the intrinsics that follow.
macro_rules! register {
    ($Name:ident, $Reg:ty, $T:ty, $N:literal, $registers:literal, $features:literal,
     $splat:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident, $div:ident, $sqrt:ident,
     $fma:ident, $max:ident, $neg:ident, $select:ident, $transpose:ident) => {
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
