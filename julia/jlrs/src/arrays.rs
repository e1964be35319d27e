//! Julia's arrays as slices. Columns come first in memory: a matrix (3, n) is n vectors.

use acerust::shared::Taken;
use acerust::{Error, Result};
use jlrs::data::managed::array::TypedRankedArray;
use jlrs::data::types::construct_type::ConstructType;

pub type Array1<'a, T> = TypedRankedArray<'a, 'static, T, 1>;
pub type Array2<'a, T> = TypedRankedArray<'a, 'static, T, 2>;
pub type Array3<'a, T> = TypedRankedArray<'a, 'static, T, 3>;

/// What the numbers of an argument are.
///
/// # Safety
/// The caller of the exported function leaves its arguments alone while the call lasts.
pub unsafe fn input<'a, T: ConstructType, const N: isize>(array: &'a TypedRankedArray<'_, 'static, T, N>) -> &'a [T] {
    match array.length() {
        0 => &[],
        // SAFETY: the elements are `T`s in one piece, as all of Julia's arrays of numbers are.
        n => unsafe { std::slice::from_raw_parts(array.data_ptr().cast(), n) },
    }
}

/// `3 n` numbers as vectors.
///
/// # Errors
/// [`Error::Argument`] for columns of another length.
///
/// # Safety
/// As [`input`].
pub unsafe fn vectors<'a>(name: &str, array: &'a Array2<'_, f64>) -> Result<&'a [[f64; 3]]> {
    // SAFETY: passed on.
    match unsafe { input(array) }.as_chunks() {
        (vectors, []) => Ok(vectors),
        _ => Err(Error::Argument(format!("{name}: columns are not of 3"))),
    }
}

/// Where a result goes; an empty array is a result that is not wanted.
///
/// # Errors
/// [`Error::Argument`] where it overlaps a result that was taken before.
///
/// # Safety
/// As [`input`].
pub unsafe fn output<'a, T: ConstructType, const N: isize>(
    outputs: &mut Taken,
    name: &'static str,
    array: TypedRankedArray<'a, 'static, T, N>,
) -> Result<Option<&'a mut [T]>> {
    match array.length() {
        0 => Ok(None),
        // SAFETY: as for `input`; overlaps are refused.
        n => unsafe { outputs.take(name, array.data_ptr().cast(), n) },
    }
}

/// A count or an index from Julia.
///
/// # Errors
/// [`Error::Argument`] for a negative one.
pub fn count(name: &str, n: isize) -> Result<usize> {
    usize::try_from(n).map_err(|_| Error::Argument(format!("{name}: {n} is negative")))
}
