//! Types of numbers in memory, and what is computed with them.

use crate::simd::Real;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use serde::{Deserialize, Serialize};

/// A type of numbers in memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Dtype {
    #[default]
    F64,
    F32,
    F16,
    Bf16,
}

impl Dtype {
    pub const fn bytes(self) -> usize {
        match self {
            Dtype::F64 => 8,
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::Bf16 => 2,
        }
    }

    /// Half the distance from 1 to the next number: the relative error of rounding.
    pub fn rounding(self) -> f64 {
        match self {
            Dtype::F64 => f64::EPSILON / 2.0,
            Dtype::F32 => f64::from(f32::EPSILON) / 2.0,
            Dtype::F16 => 2f64.powi(-11),
            Dtype::Bf16 => 2f64.powi(-8),
        }
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Dtype::F64 => "f64",
            Dtype::F32 => "f32",
            Dtype::F16 => "f16",
            Dtype::Bf16 => "bf16",
        })
    }
}

/// How products of matrices are computed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Arithmetic {
    /// By multiply–adds in f64, or in f32 where storage has 32 bits or fewer.
    #[default]
    Full,
    /// By the tensor cores of a CUDA device: factors are rounded to TF32 (10 bits of mantissa), sums are in f32.
    Tf32,
    /// Likewise, factors are rounded to bf16 (7 bits).
    Bf16,
}

impl std::fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Arithmetic::Full => "full",
            Arithmetic::Tf32 => "tf32",
            Arithmetic::Bf16 => "bf16",
        })
    }
}

/// A number in memory: `f64`, `f32`, `f16` or `bf16`. One of 16 bits is computed with in `f32`.
pub trait Storage: Copy + Default + Send + Sync + std::fmt::Debug + PartialEq + 'static {
    type Compute: Real;
    const DTYPE: Dtype;
    /// The numbers themselves, where they are computed with as they are.
    fn same(x: &[Self]) -> Option<&[Self::Compute]>;
    fn same_mut(x: &mut [Self]) -> Option<&mut [Self::Compute]>;
    /// Without loss.
    fn widen(x: &[Self], out: &mut [Self::Compute]);
    /// Rounded to nearest.
    fn narrow(x: &[Self::Compute], out: &mut [Self]);
    fn up(self) -> Self::Compute;
    fn down(x: Self::Compute) -> Self;
    fn of(x: f64) -> Self;
    fn to_f64(self) -> f64;
}

macro_rules! full {
    ($T:ty, $dtype:expr) => {
        impl Storage for $T {
            type Compute = $T;
            const DTYPE: Dtype = $dtype;
            fn same(x: &[$T]) -> Option<&[$T]> {
                Some(x)
            }
            fn same_mut(x: &mut [$T]) -> Option<&mut [$T]> {
                Some(x)
            }
            fn widen(x: &[$T], out: &mut [$T]) {
                out.copy_from_slice(x);
            }
            fn narrow(x: &[$T], out: &mut [$T]) {
                out.copy_from_slice(x);
            }
            fn up(self) -> $T {
                self
            }
            fn down(x: $T) -> $T {
                x
            }
            fn of(x: f64) -> $T {
                x as $T
            }
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
        }
    };
}
full!(f64, Dtype::F64);
full!(f32, Dtype::F32);

macro_rules! half {
    ($T:ty, $dtype:expr) => {
        impl Storage for $T {
            type Compute = f32;
            const DTYPE: Dtype = $dtype;
            fn same(_: &[$T]) -> Option<&[f32]> {
                None
            }
            fn same_mut(_: &mut [$T]) -> Option<&mut [f32]> {
                None
            }
            fn widen(x: &[$T], out: &mut [f32]) {
                x.convert_to_f32_slice(out);
            }
            fn narrow(x: &[f32], out: &mut [$T]) {
                out.convert_from_f32_slice(x);
            }
            fn up(self) -> f32 {
                self.to_f32()
            }
            fn down(x: f32) -> $T {
                <$T>::from_f32(x)
            }
            fn of(x: f64) -> $T {
                <$T>::from_f64(x)
            }
            fn to_f64(self) -> f64 {
                <$T>::to_f64(self)
            }
        }
    };
}
half!(f16, Dtype::F16);
half!(bf16, Dtype::Bf16);

/// Numbers rounded to a type, as bytes.
pub fn to_bytes(x: &[f64], dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::F64 => x.iter().flat_map(|x| x.to_ne_bytes()).collect(),
        Dtype::F32 => x.iter().flat_map(|&x| (x as f32).to_ne_bytes()).collect(),
        Dtype::F16 => x.iter().flat_map(|&x| f16::from_f64(x).to_ne_bytes()).collect(),
        Dtype::Bf16 => x.iter().flat_map(|&x| bf16::from_f64(x).to_ne_bytes()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn battery<S: Storage>() {
        let x: [S; 3] = [1.0, -0.375, 1.0 / 3.0].map(S::of);
        let mut wide = [S::Compute::default(); 3];
        let mut back = [S::default(); 3];
        S::widen(&x, &mut wide);
        S::narrow(&wide, &mut back);
        assert_eq!(x, back);
        let error = 3.0 * (S::of(1.0 / 3.0).to_f64() - 1.0 / 3.0).abs();
        assert!(error <= S::DTYPE.rounding(), "{}", S::DTYPE);
        // One third is rounded; in f64 it was before.
        assert_eq!(error > 0.0, S::DTYPE != Dtype::F64, "{}", S::DTYPE);
        assert_eq!(size_of::<S>(), S::DTYPE.bytes());
        assert_eq!(S::same(&x).is_some(), S::same_mut(&mut back).is_some());
        // SAFETY: numbers of these four types have no padding, and `x` outlives the view.
        let raw = unsafe { std::slice::from_raw_parts(x.as_ptr().cast::<u8>(), size_of_val(&x)) };
        assert_eq!(to_bytes(&x.map(S::to_f64), S::DTYPE), raw);
        assert_eq!(serde_json::to_string(&S::DTYPE).unwrap(), format!("\"{}\"", S::DTYPE));
    }

    #[test]
    fn numbers_survive() {
        battery::<f64>();
        battery::<f32>();
        battery::<f16>();
        battery::<bf16>();
    }
}
