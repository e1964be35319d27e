//! NEON, which every 64-bit Arm has.

use super::register::{exponents, register};
use super::{Lanes, bits};
use std::arch::aarch64::*;
use std::ops::{Add, Mul, Neg, Sub};

register!(
    F64x2,
    F64x2,
    float64x2_t,
    f64,
    2,
    32,
    "neon",
    vdupq_n_f64,
    vld1q_f64,
    vst1q_f64,
    vaddq_f64,
    vsubq_f64,
    vmulq_f64,
    vdivq_f64,
    vsqrtq_f64,
    fma_f64x2,
    vmaxq_f64,
    vnegq_f64,
    select_f64x2,
    any_lt_f64x2,
    power_of_two_f64x2,
    split_f64x2,
    transpose_f64x2
);
register!(
    F32x4,
    F64x2,
    float32x4_t,
    f32,
    4,
    32,
    "neon",
    vdupq_n_f32,
    vld1q_f32,
    vst1q_f32,
    vaddq_f32,
    vsubq_f32,
    vmulq_f32,
    vdivq_f32,
    vsqrtq_f32,
    fma_f32x4,
    vmaxq_f32,
    vnegq_f32,
    select_f32x4,
    any_lt_f32x4,
    power_of_two_f32x4,
    split_f32x4,
    transpose_f32x4
);

/// `a · b + c`: the intrinsic has the sum first.
#[inline]
#[target_feature(enable = "neon")]
fn fma_f64x2(a: float64x2_t, b: float64x2_t, c: float64x2_t) -> float64x2_t {
    vfmaq_f64(c, a, b)
}

#[inline]
#[target_feature(enable = "neon")]
fn fma_f32x4(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
    vfmaq_f32(c, a, b)
}

/// `then` where `a < b`.
#[inline]
#[target_feature(enable = "neon")]
fn select_f64x2(a: float64x2_t, b: float64x2_t, then: float64x2_t, otherwise: float64x2_t) -> float64x2_t {
    vbslq_f64(vcltq_f64(a, b), then, otherwise)
}

#[inline]
#[target_feature(enable = "neon")]
fn select_f32x4(a: float32x4_t, b: float32x4_t, then: float32x4_t, otherwise: float32x4_t) -> float32x4_t {
    vbslq_f32(vcltq_f32(a, b), then, otherwise)
}

#[inline]
#[target_feature(enable = "neon")]
fn any_lt_f64x2(a: float64x2_t, b: float64x2_t) -> bool {
    vmaxvq_u32(vreinterpretq_u32_u64(vcltq_f64(a, b))) != 0
}

#[inline]
#[target_feature(enable = "neon")]
fn any_lt_f32x4(a: float32x4_t, b: float32x4_t) -> bool {
    vmaxvq_u32(vcltq_f32(a, b)) != 0
}

exponents!(
    float64x2_t,
    "neon",
    power_of_two_f64x2,
    split_f64x2,
    f64,
    52,
    vdupq_n_u64,
    vreinterpretq_u64_f64,
    vreinterpretq_f64_u64,
    vdupq_n_f64,
    vaddq_f64,
    vsubq_f64,
    vaddq_u64,
    vsubq_u64,
    vandq_u64,
    vorrq_u64,
    veorq_u64,
    vshlq_n_u64,
    vshrq_n_u64
);
exponents!(
    float32x4_t,
    "neon",
    power_of_two_f32x4,
    split_f32x4,
    f32,
    23,
    vdupq_n_u32,
    vreinterpretq_u32_f32,
    vreinterpretq_f32_u32,
    vdupq_n_f32,
    vaddq_f32,
    vsubq_f32,
    vaddq_u32,
    vsubq_u32,
    vandq_u32,
    vorrq_u32,
    veorq_u32,
    vshlq_n_u32,
    vshrq_n_u32
);

#[inline]
#[target_feature(enable = "neon")]
fn transpose_f64x2(r: &mut [float64x2_t; 2]) {
    *r = [vtrn1q_f64(r[0], r[1]), vtrn2q_f64(r[0], r[1])];
}

#[inline]
#[target_feature(enable = "neon")]
fn transpose_f32x4(r: &mut [float32x4_t; 4]) {
    let pairs = |a, b| (vreinterpretq_f64_f32(vtrn1q_f32(a, b)), vreinterpretq_f64_f32(vtrn2q_f32(a, b)));
    let ((a, b), (c, d)) = (pairs(r[0], r[1]), pairs(r[2], r[3]));
    *r = [vtrn1q_f64(a, c), vtrn1q_f64(b, d), vtrn2q_f64(a, c), vtrn2q_f64(b, d)].map(|x| vreinterpretq_f32_f64(x));
}
