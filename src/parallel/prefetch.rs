//! Memory that will be wanted soon.

use super::Disjoint;
use std::ops::Range;

/// Which cache it is brought to, from the one next to the registers on.
const FIRST: u8 = 1;
const SECOND: u8 = 2;

/// Asks for the cache lines of `slice[range]` before they are needed.
#[inline(always)]
pub fn prefetch<T>(slice: &[T], range: Range<usize>) {
    if let Some(part) = slice.get(range) {
        prefetch_lines::<FIRST, T>(part.as_ptr(), part.len());
    }
}

/// As [`prefetch`], for what is needed after more than the first cache holds.
#[inline(always)]
pub fn prefetch_early<T>(slice: &[T], range: Range<usize>) {
    if let Some(part) = slice.get(range) {
        prefetch_lines::<SECOND, T>(part.as_ptr(), part.len());
    }
}

/// As [`prefetch`], for memory that is written to.
#[inline(always)]
pub fn prefetch_disjoint<T>(slice: &Disjoint<T>, range: Range<usize>) {
    prefetch_lines::<FIRST, T>(slice.address(range.start), range.len());
}

/// As many lines as `n` entries from `start` on take. Reads nothing, so any address will do.
#[inline(always)]
fn prefetch_lines<const CACHE: u8, T>(start: *const T, n: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        let ask = |offset: usize| {
            let line = start.cast::<i8>().wrapping_add(offset);
            // SAFETY: a prefetch reads nothing.
            unsafe {
                if CACHE == FIRST { _mm_prefetch::<_MM_HINT_T0>(line) } else { _mm_prefetch::<_MM_HINT_T1>(line) }
            }
        };
        let bytes = n * size_of::<T>();
        (0..bytes).step_by(64).for_each(ask);
        // Entries may cross from one line to the next.
        ask(bytes.saturating_sub(1));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (start, n);
}
