/// A slice that several threads write to, each to its own entries.
#[derive(Clone, Copy)]
pub struct Disjoint<'a, T> {
    start: *mut T,
    len: usize,
    slice: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: access goes through `slice` and `entry`, whose callers keep what different threads have apart.
unsafe impl<T: Send> Send for Disjoint<'_, T> {}
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    pub fn new(slice: &'a mut [T]) -> Self {
        Disjoint { start: slice.as_mut_ptr(), len: slice.len(), slice: std::marker::PhantomData }
    }

    /// # Safety
    /// As for a slice of `len` entries from `start` on, but that entries which nobody asks for may be those of others.
    pub unsafe fn from_raw(start: *mut T, len: usize) -> Self {
        Disjoint { start, len, slice: std::marker::PhantomData }
    }

    /// Where entry `k` is, or would be: an address to prefetch.
    #[inline(always)]
    pub fn address(&self, k: usize) -> *const T {
        self.start.wrapping_add(k)
    }

    /// The `n` entries from `start` on. Not a range, whose check would be dearer where slices are short.
    ///
    /// # Panics
    /// If there are fewer.
    ///
    /// # Safety
    /// While the result lives, nothing else reads or writes these entries.
    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    pub unsafe fn slice(&self, start: usize, n: usize) -> &mut [T] {
        assert!(start + n <= self.len);
        // SAFETY: in bounds; exclusive by the caller's word.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), n) }
    }

    /// Entry `k`, as [`Disjoint::slice`].
    ///
    /// # Safety
    /// As there.
    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    pub unsafe fn entry(&self, k: usize) -> &mut T {
        assert!(k < self.len);
        // SAFETY: `k` is in bounds; exclusive by the caller's word.
        unsafe { &mut *self.start.add(k) }
    }
}
