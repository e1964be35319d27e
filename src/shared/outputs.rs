//! Memory of the caller for results, checked before it is touched.

use crate::{Error, Result};
use ndarray::{ArrayViewMut2, IntoDimension, ShapeBuilder};
use std::collections::BTreeMap;

/// The memory of one call: no result may overlap another, or what is read.
#[derive(Debug, Default)]
pub struct Taken {
    read: Ranges,
    written: Ranges,
}

/// Ends and names by where they start, without overlaps.
#[derive(Debug, Default)]
struct Ranges(BTreeMap<usize, (usize, &'static str)>);

impl Ranges {
    /// Where one starts that overlaps: of all that start before the end the last one reaches farthest.
    fn overlap(&self, start: usize, end: usize) -> Option<(usize, usize, &'static str)> {
        let last = self.0.range(..end).next_back().map(|(&at, &(end, name))| (at, end, name));
        last.filter(|&(_, end, _)| end > start)
    }

    /// Adds one, together with those that it overlaps.
    fn add(&mut self, mut start: usize, mut end: usize, name: &'static str) {
        while let Some((at, until, _)) = self.overlap(start, end) {
            self.0.remove(&at);
            (start, end) = (start.min(at), end.max(until));
        }
        self.0.insert(start, (end, name));
    }
}

impl Taken {
    /// Memory that is read, which no result may overlap.
    pub fn read<T>(&mut self, name: &'static str, pointer: *const T, length: usize) {
        let end = pointer.addr().saturating_add(length.saturating_mul(size_of::<T>()));
        if length > 0 && check(name, pointer, length).is_ok() {
            self.read.add(pointer.addr(), end, name);
        }
    }

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
        let (start, end) = (pointer.addr(), pointer.addr() + length * size_of::<T>());
        if start < end {
            if let Some((.., other)) = self.written.overlap(start, end).or_else(|| self.read.overlap(start, end)) {
                return Err(Error::Argument(format!("{name} overlaps {other} in memory")));
            }
            self.written.add(start, end, name);
        }
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

/// A matrix of the caller, columns of `ld` numbers or rows of them.
///
/// # Errors
/// [`Error::Argument`] for a leading dimension shorter than a row (column, where `by_columns`), or too little data.
pub fn matrix<'a>(
    data: &'a mut [f64],
    (n_rows, n_columns): (usize, usize),
    by_columns: bool,
    ld: usize,
) -> Result<ArrayViewMut2<'a, f64>> {
    let (inner, outer) = if by_columns { (n_rows, n_columns) } else { (n_columns, n_rows) };
    if ld < inner {
        return Err(Error::Argument(format!("leading dimension {ld} is less than {inner}")));
    }
    let length = data.len();
    let strides = if by_columns { [1, ld] } else { [ld, 1] };
    let empty = inner == 0 || outer == 0;
    let shape = [n_rows, n_columns].into_dimension().strides((if empty { [0, 0] } else { strides }).into_dimension());
    let view = ArrayViewMut2::from_shape(shape, data);
    view.map_err(|_| Error::Argument(format!("a {n_rows} × {n_columns} matrix does not fit into {length} numbers")))
}
