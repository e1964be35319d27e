//! Picking the few that are near out of many.

use crate::simd::{Lanes, Portable};

/// Lists where a squared distance lies in a range, without branches.
pub(super) trait Select: Lanes<Real = f64> {
    /// Writes the ascending indices `k` with `low < squares[k] ≤ high` into `list` and returns their number.
    /// Both slices are whole vectors of 16; what follows the listed indices is arbitrary.
    fn select(squares: &[f64], low: f64, high: f64, list: &mut [u32]) -> usize;
}

/// Entries that [`Select::select`] takes at a time.
pub(super) const GROUP: usize = 16;

#[inline(always)]
fn select_one_by_one(squares: &[f64], low: f64, high: f64, list: &mut [u32]) -> usize {
    assert!(squares.len() <= list.len());
    let mut n = 0;
    for (k, &s) in squares.iter().enumerate() {
        list[n] = k as u32;
        n += usize::from((s > low) & (s <= high));
    }
    n
}

impl Select for Portable<f64, 2> {
    #[inline(always)]
    fn select(squares: &[f64], low: f64, high: f64, list: &mut [u32]) -> usize {
        select_one_by_one(squares, low, high, list)
    }
}

#[cfg(target_arch = "aarch64")]
impl Select for crate::simd::F64x2 {
    #[inline(always)]
    fn select(squares: &[f64], low: f64, high: f64, list: &mut [u32]) -> usize {
        select_one_by_one(squares, low, high, list)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{GROUP, Select, select_one_by_one};
    use crate::simd::{F64x4, F64x8};
    use std::arch::x86_64::*;

    impl Select for F64x4 {
        #[inline(always)]
        fn select(squares: &[f64], low: f64, high: f64, list: &mut [u32]) -> usize {
            select_one_by_one(squares, low, high, list)
        }
    }

    impl Select for F64x8 {
        #[inline(always)]
        fn select(squares: &[f64], low: f64, high: f64, list: &mut [u32]) -> usize {
            assert!(squares.len() <= list.len() && squares.len().is_multiple_of(GROUP));
            let mut n = 0;
            // SAFETY: this type is reached only where AVX-512 is (see `Lanes`). Loads stay within
            // whole groups; stores end at most one group after `n ≤ k`, the entries read so far.
            unsafe {
                let (low, high) = (_mm512_set1_pd(low), _mm512_set1_pd(high));
                let mut index = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
                for k in (0..squares.len()).step_by(GROUP) {
                    let [a, b] = [k, k + 8].map(|k| _mm512_loadu_pd(squares.as_ptr().add(k)));
                    let [a, b] = [a, b].map(|s| {
                        let near = _mm512_cmp_pd_mask::<_CMP_LE_OQ>(s, high);
                        _mm512_mask_cmp_pd_mask::<_CMP_GT_OQ>(near, s, low)
                    });
                    let mask = u16::from(a) | (u16::from(b) << 8);
                    let listed = _mm512_maskz_compress_epi32(mask, index);
                    _mm512_storeu_si512(list.as_mut_ptr().add(n).cast(), listed);
                    n += mask.count_ones() as usize;
                    index = _mm512_add_epi32(index, _mm512_set1_epi32(GROUP as i32));
                }
            }
            n
        }
    }
}
