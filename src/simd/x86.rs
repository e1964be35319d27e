//! AVX2 with FMA, and AVX-512.

use super::register::{exponents, register};
use super::{Lanes, bits};
use std::arch::x86_64::*;
use std::ops::{Add, Mul, Neg, Sub};

register!(
    F64x4,
    F64x4,
    __m256d,
    f64,
    4,
    16,
    "avx2,fma",
    _mm256_set1_pd,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    _mm256_add_pd,
    _mm256_sub_pd,
    _mm256_mul_pd,
    _mm256_div_pd,
    _mm256_sqrt_pd,
    _mm256_fmadd_pd,
    _mm256_max_pd,
    neg_f64x4,
    select_f64x4,
    any_lt_f64x4,
    power_of_two_f64x4,
    split_f64x4,
    transpose_f64x4
);
register!(
    F32x8,
    F64x4,
    __m256,
    f32,
    8,
    16,
    "avx2,fma",
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_add_ps,
    _mm256_sub_ps,
    _mm256_mul_ps,
    _mm256_div_ps,
    _mm256_sqrt_ps,
    _mm256_fmadd_ps,
    _mm256_max_ps,
    neg_f32x8,
    select_f32x8,
    any_lt_f32x8,
    power_of_two_f32x8,
    split_f32x8,
    transpose_f32x8
);
register!(
    F64x8,
    F64x8,
    __m512d,
    f64,
    8,
    32,
    "avx512f,avx512dq,avx512vl",
    _mm512_set1_pd,
    _mm512_loadu_pd,
    _mm512_storeu_pd,
    _mm512_add_pd,
    _mm512_sub_pd,
    _mm512_mul_pd,
    _mm512_div_pd,
    _mm512_sqrt_pd,
    _mm512_fmadd_pd,
    _mm512_max_pd,
    neg_f64x8,
    select_f64x8,
    any_lt_f64x8,
    power_of_two_f64x8,
    split_f64x8,
    transpose_f64x8
);
register!(
    F32x16,
    F64x8,
    __m512,
    f32,
    16,
    32,
    "avx512f,avx512dq,avx512vl",
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_add_ps,
    _mm512_sub_ps,
    _mm512_mul_ps,
    _mm512_div_ps,
    _mm512_sqrt_ps,
    _mm512_fmadd_ps,
    _mm512_max_ps,
    neg_f32x16,
    select_f32x16,
    any_lt_f32x16,
    power_of_two_f32x16,
    split_f32x16,
    transpose_f32x16
);

macro_rules! neg {
    ($Reg:ty, $features:literal, $name:ident, $xor:ident, $splat:ident) => {
        /// Optimisers know this as a change of sign, and merge it with fused products.
        #[inline]
        #[target_feature(enable = $features)]
        fn $name(a: $Reg) -> $Reg {
            $xor($splat(-0.0), a)
        }
    };
}
neg!(__m256d, "avx2,fma", neg_f64x4, _mm256_xor_pd, _mm256_set1_pd);
neg!(__m256, "avx2,fma", neg_f32x8, _mm256_xor_ps, _mm256_set1_ps);
neg!(__m512d, "avx512f,avx512dq,avx512vl", neg_f64x8, _mm512_xor_pd, _mm512_set1_pd);
neg!(__m512, "avx512f,avx512dq,avx512vl", neg_f32x16, _mm512_xor_ps, _mm512_set1_ps);

macro_rules! compare {
    ($Reg:ty, $features:literal, $select:ident, $any:ident, $lt:expr, $blend:expr, $is_any:expr) => {
        /// `then` where `a < b`.
        #[inline]
        #[target_feature(enable = $features)]
        fn $select(a: $Reg, b: $Reg, then: $Reg, otherwise: $Reg) -> $Reg {
            $blend($lt(a, b), otherwise, then)
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn $any(a: $Reg, b: $Reg) -> bool {
            $is_any($lt(a, b))
        }
    };
}
compare!(
    __m256d,
    "avx2,fma",
    select_f64x4,
    any_lt_f64x4,
    _mm256_cmp_pd::<_CMP_LT_OQ>,
    |m, a, b| _mm256_blendv_pd(a, b, m),
    |m| _mm256_movemask_pd(m) != 0
);
compare!(
    __m256,
    "avx2,fma",
    select_f32x8,
    any_lt_f32x8,
    _mm256_cmp_ps::<_CMP_LT_OQ>,
    |m, a, b| _mm256_blendv_ps(a, b, m),
    |m| _mm256_movemask_ps(m) != 0
);
compare!(
    __m512d,
    "avx512f,avx512dq,avx512vl",
    select_f64x8,
    any_lt_f64x8,
    _mm512_cmp_pd_mask::<_CMP_LT_OQ>,
    _mm512_mask_blend_pd,
    |m| m != 0
);
compare!(
    __m512,
    "avx512f,avx512dq,avx512vl",
    select_f32x16,
    any_lt_f32x16,
    _mm512_cmp_ps_mask::<_CMP_LT_OQ>,
    _mm512_mask_blend_ps,
    |m| m != 0
);

exponents!(
    __m256d,
    "avx2,fma",
    power_of_two_f64x4,
    split_f64x4,
    f64,
    52,
    _mm256_set1_epi64x,
    _mm256_castpd_si256,
    _mm256_castsi256_pd,
    _mm256_set1_pd,
    _mm256_add_pd,
    _mm256_sub_pd,
    _mm256_add_epi64,
    _mm256_sub_epi64,
    _mm256_and_si256,
    _mm256_or_si256,
    _mm256_xor_si256,
    _mm256_slli_epi64,
    _mm256_srli_epi64
);
exponents!(
    __m256,
    "avx2,fma",
    power_of_two_f32x8,
    split_f32x8,
    f32,
    23,
    _mm256_set1_epi32,
    _mm256_castps_si256,
    _mm256_castsi256_ps,
    _mm256_set1_ps,
    _mm256_add_ps,
    _mm256_sub_ps,
    _mm256_add_epi32,
    _mm256_sub_epi32,
    _mm256_and_si256,
    _mm256_or_si256,
    _mm256_xor_si256,
    _mm256_slli_epi32,
    _mm256_srli_epi32
);
exponents!(
    __m512d,
    "avx512f,avx512dq,avx512vl",
    power_of_two_f64x8,
    split_f64x8,
    f64,
    52,
    _mm512_set1_epi64,
    _mm512_castpd_si512,
    _mm512_castsi512_pd,
    _mm512_set1_pd,
    _mm512_add_pd,
    _mm512_sub_pd,
    _mm512_add_epi64,
    _mm512_sub_epi64,
    _mm512_and_si512,
    _mm512_or_si512,
    _mm512_xor_si512,
    _mm512_slli_epi64,
    _mm512_srli_epi64
);
exponents!(
    __m512,
    "avx512f,avx512dq,avx512vl",
    power_of_two_f32x16,
    split_f32x16,
    f32,
    23,
    _mm512_set1_epi32,
    _mm512_castps_si512,
    _mm512_castsi512_ps,
    _mm512_set1_ps,
    _mm512_add_ps,
    _mm512_sub_ps,
    _mm512_add_epi32,
    _mm512_sub_epi32,
    _mm512_and_si512,
    _mm512_or_si512,
    _mm512_xor_si512,
    _mm512_slli_epi32,
    _mm512_srli_epi32
);

#[inline]
#[target_feature(enable = "avx2,fma")]
fn transpose_f64x4(r: &mut [__m256d; 4]) {
    let (a, b) = (_mm256_unpacklo_pd(r[0], r[1]), _mm256_unpackhi_pd(r[0], r[1]));
    let (c, d) = (_mm256_unpacklo_pd(r[2], r[3]), _mm256_unpackhi_pd(r[2], r[3]));
    r[0] = _mm256_permute2f128_pd::<0x20>(a, c);
    r[1] = _mm256_permute2f128_pd::<0x20>(b, d);
    r[2] = _mm256_permute2f128_pd::<0x31>(a, c);
    r[3] = _mm256_permute2f128_pd::<0x31>(b, d);
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn transpose_f32x8(r: &mut [__m256; 8]) {
    let mut t = *r;
    for k in 0..4 {
        t[2 * k] = _mm256_unpacklo_ps(r[2 * k], r[2 * k + 1]);
        t[2 * k + 1] = _mm256_unpackhi_ps(r[2 * k], r[2 * k + 1]);
    }
    let mut u = t;
    for h in 0..2 {
        let t = &t[4 * h..4 * h + 4];
        u[4 * h] = _mm256_shuffle_ps::<0x44>(t[0], t[2]);
        u[4 * h + 1] = _mm256_shuffle_ps::<0xee>(t[0], t[2]);
        u[4 * h + 2] = _mm256_shuffle_ps::<0x44>(t[1], t[3]);
        u[4 * h + 3] = _mm256_shuffle_ps::<0xee>(t[1], t[3]);
    }
    for k in 0..4 {
        r[k] = _mm256_permute2f128_ps::<0x20>(u[k], u[k + 4]);
        r[k + 4] = _mm256_permute2f128_ps::<0x31>(u[k], u[k + 4]);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
fn transpose_f64x8(r: &mut [__m512d; 8]) {
    let mut t = *r;
    for k in 0..4 {
        t[2 * k] = _mm512_unpacklo_pd(r[2 * k], r[2 * k + 1]);
        t[2 * k + 1] = _mm512_unpackhi_pd(r[2 * k], r[2 * k + 1]);
    }
    for h in 0..2 {
        // Columns 2b + h of the 2×2 blocks: 4×4 transposition of 128-bit blocks after these shuffles.
        let (a, b, c, d) = (t[h], t[2 + h], t[4 + h], t[6 + h]);
        let ab_lo = _mm512_shuffle_f64x2::<0x88>(a, b);
        let ab_hi = _mm512_shuffle_f64x2::<0xdd>(a, b);
        let cd_lo = _mm512_shuffle_f64x2::<0x88>(c, d);
        let cd_hi = _mm512_shuffle_f64x2::<0xdd>(c, d);
        r[h] = _mm512_shuffle_f64x2::<0x88>(ab_lo, cd_lo);
        r[4 + h] = _mm512_shuffle_f64x2::<0xdd>(ab_lo, cd_lo);
        r[2 + h] = _mm512_shuffle_f64x2::<0x88>(ab_hi, cd_hi);
        r[6 + h] = _mm512_shuffle_f64x2::<0xdd>(ab_hi, cd_hi);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
fn transpose_f32x16(r: &mut [__m512; 16]) {
    let mut t = *r;
    for k in 0..8 {
        t[2 * k] = _mm512_unpacklo_ps(r[2 * k], r[2 * k + 1]);
        t[2 * k + 1] = _mm512_unpackhi_ps(r[2 * k], r[2 * k + 1]);
    }
    let mut u = t;
    for h in 0..4 {
        let t = &t[4 * h..4 * h + 4];
        u[4 * h] = _mm512_shuffle_ps::<0x44>(t[0], t[2]);
        u[4 * h + 1] = _mm512_shuffle_ps::<0xee>(t[0], t[2]);
        u[4 * h + 2] = _mm512_shuffle_ps::<0x44>(t[1], t[3]);
        u[4 * h + 3] = _mm512_shuffle_ps::<0xee>(t[1], t[3]);
    }
    for h in 0..4 {
        let (a, b, c, d) = (u[h], u[4 + h], u[8 + h], u[12 + h]);
        let ab_lo = _mm512_shuffle_f32x4::<0x88>(a, b);
        let ab_hi = _mm512_shuffle_f32x4::<0xdd>(a, b);
        let cd_lo = _mm512_shuffle_f32x4::<0x88>(c, d);
        let cd_hi = _mm512_shuffle_f32x4::<0xdd>(c, d);
        r[h] = _mm512_shuffle_f32x4::<0x88>(ab_lo, cd_lo);
        r[8 + h] = _mm512_shuffle_f32x4::<0xdd>(ab_lo, cd_lo);
        r[4 + h] = _mm512_shuffle_f32x4::<0x88>(ab_hi, cd_hi);
        r[12 + h] = _mm512_shuffle_f32x4::<0xdd>(ab_hi, cd_hi);
    }
}
