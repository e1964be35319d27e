//! Memory of the caller for results, checked before it is touched.

use crate::{Error, Result};
use std::ops::Range;

/// The results of one call: none may overlap another.
#[derive(Default)]
pub struct Outputs {
    taken: Vec<(&'static str, Range<usize>)>,
}

impl Outputs {
    /// A buffer of `length` numbers; `None` where it is null.
    ///
    /// # Safety
    /// A pointer that is not null points to `length` numbers, nobody else's during `'a`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a pointer that is not aligned, a length beyond memory, or an overlap with a buffer that
    /// was taken before.
    pub unsafe fn take<'a, T>(
        &mut self,
        name: &'static str,
        pointer: *mut T,
        length: usize,
    ) -> Result<Option<&'a mut [T]>> {
        if pointer.is_null() {
            return Ok(None);
        }
        check(name, pointer, length)?;
        let range = pointer.addr()..pointer.addr() + length * size_of::<T>();
        if let Some((other, _)) = self.taken.iter().find(|(_, r)| r.start < range.end && range.start < r.end) {
            return Err(Error::Argument(format!("{name} overlaps {other} in memory")));
        }
        self.taken.push((name, range));
        // SAFETY: checked above, and exclusive by the caller's word.
        Ok(Some(unsafe { std::slice::from_raw_parts_mut(pointer, length) }))
    }
}

/// Is it what a slice of `n` numbers can start with?
///
/// # Errors
/// [`Error::Argument`] for a pointer that is null or not aligned, or a length beyond memory.
pub fn check<T>(name: &str, pointer: *const T, n: usize) -> Result<()> {
    let fail = |message: String| Err(Error::Argument(format!("{name} {message}")));
    if pointer.is_null() {
        return fail("is null".into());
    }
    if !pointer.is_aligned() {
        return fail(format!("at {pointer:p} is not aligned to {} bytes", align_of::<T>()));
    }
    let bytes = n.checked_mul(size_of::<T>()).filter(|&b| b <= isize::MAX as usize);
    match bytes.and_then(|b| pointer.addr().checked_add(b)) {
        Some(_) => Ok(()),
        None => fail(format!("of {n} entries is longer than memory")),
    }
}

/// A result that is wanted has exactly `expected` entries.
pub fn exactly<T>(name: &str, result: Option<&[T]>, expected: usize) -> Result<()> {
    match result {
        Some(r) if r.len() != expected => {
            Err(Error::Argument(format!("{name}: expected a length of {expected}, got {}", r.len())))
        }
        _ => Ok(()),
    }
}

/// Numbers as vectors; their number is a multiple of 3.
pub fn as_vectors(numbers: &mut [f64]) -> &mut [[f64; 3]] {
    numbers.as_chunks_mut().0
}

/// The caller's buffer, or one of our own where the caller wants no such result.
pub fn or_own<'a, T: Clone + Default>(wanted: Option<&'a mut [T]>, own: &'a mut Vec<T>, n: usize) -> &'a mut [T] {
    wanted.unwrap_or_else(|| {
        own.resize(n, T::default());
        own
    })
}
