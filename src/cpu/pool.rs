//! Scratch memory that outlives a call, and memory that is prefetched.

use crate::parallel::Disjoint;
use std::ops::Range;
use std::sync::Mutex;

/// Workspaces that are handed out and taken back, so that nothing is allocated after warm-up.
pub struct Pool<T>(Mutex<Vec<Box<T>>>);

impl<T: Default> Pool<T> {
    pub fn new() -> Pool<T> {
        Pool(Mutex::new(Vec::new()))
    }

    pub fn take(&self) -> Lease<'_, T> {
        let kept = self.0.lock().unwrap_or_else(|e| e.into_inner()).pop();
        Lease { pool: self, item: Some(kept.unwrap_or_default()) }
    }
}

/// A workspace on loan; it goes back when dropped.
pub struct Lease<'a, T> {
    pool: &'a Pool<T>,
    item: Option<Box<T>>,
}

impl<T> std::ops::Deref for Lease<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.item.as_ref().expect("present until dropped")
    }
}

impl<T> std::ops::DerefMut for Lease<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.item.as_mut().expect("present until dropped")
    }
}

impl<T> Drop for Lease<'_, T> {
    fn drop(&mut self) {
        if let Some(item) = self.item.take() {
            self.pool.0.lock().unwrap_or_else(|e| e.into_inner()).push(item);
        }
    }
}

/// Asks for the cache lines of `slice[range]` before they are needed.
#[inline(always)]
pub fn prefetch<T>(slice: &[T], range: Range<usize>) {
    if let Some(part) = slice.get(range) {
        prefetch_lines(part.as_ptr(), part.len());
    }
}

/// As [`prefetch`], for memory that is written to.
#[inline(always)]
pub fn prefetch_disjoint<T>(slice: &Disjoint<T>, range: Range<usize>) {
    prefetch_lines(slice.address(range.start), range.len());
}

/// As many lines as `n` entries from `start` on take. Reads nothing, so any address will do.
#[inline(always)]
fn prefetch_lines<T>(start: *const T, n: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: a prefetch reads nothing.
        let ask = |offset: usize| unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(
                start.cast::<i8>().wrapping_add(offset),
            )
        };
        let bytes = n * size_of::<T>();
        (0..bytes).step_by(64).for_each(ask);
        // Entries may cross from one line to the next.
        ask(bytes.saturating_sub(1));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (start, n);
}
