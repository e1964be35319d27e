//! Memory of the caller, checked before it is touched.

use super::status::{Failure, Result};
use crate::shared::{Taken, check};
use std::ffi::{CStr, OsStr, c_char};
use std::path::Path;

/// `n` numbers to read; null is an empty slice where `n` is 0.
///
/// # Safety
/// A pointer that is not null points to `n` numbers that nobody writes to during `'a`.
pub unsafe fn input<'a, T>(name: &str, pointer: *const T, n: usize) -> Result<&'a [T]> {
    if n == 0 {
        return Ok(&[]);
    }
    check(name, pointer, n)?;
    // SAFETY: not null, aligned, of a legal size, and valid by the caller's word.
    Ok(unsafe { std::slice::from_raw_parts(pointer, n) })
}

/// `n` vectors to read.
///
/// # Safety
/// As [`input`], for `3 n` numbers.
pub unsafe fn vectors<'a>(name: &str, pointer: *const f64, n: usize) -> Result<&'a [[f64; 3]]> {
    // SAFETY: a vector is three numbers without padding and aligned like them: `n` of them are the 3 n that the caller vouches for.
    unsafe { input(name, pointer.cast(), n) }
}

/// A struct that begins with its size as the caller knows it: shorter ones are filled up with zeros, longer ones may not have more.
///
/// # Safety
/// `T` is plain data that begins with its size as a `usize`, for which zeros are legal. The pointer is null or to as many readable bytes as it says.
pub unsafe fn sized<T: Copy>(name: &str, pointer: *const T) -> Result<T> {
    let fail = |message: String| Err(Failure::argument(format!("{name}: {message}")));
    let ours = size_of::<T>();
    // SAFETY: at least the size is readable.
    let theirs = unsafe { input(name, pointer.cast::<usize>(), 1) }?[0];
    // Of whole words, as sizes of structs are: a pointer cut in two would be none of the caller's.
    if !(size_of::<usize>()..=4096).contains(&theirs) || theirs % align_of::<T>() != 0 {
        return fail(format!("size is {theirs}, not the struct's, {ours}"));
    }
    // SAFETY: `theirs` bytes by the caller's word.
    let bytes = unsafe { input(name, pointer.cast::<u8>(), theirs) }?;
    let (known, unknown) = bytes.split_at(theirs.min(ours));
    if unknown.iter().any(|&b| b != 0) {
        return fail(format!("a field beyond the {ours} bytes known to this version is set"));
    }
    let mut found = std::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: the copy ends within both, and any bytes after it are zeros, which are legal.
    unsafe {
        std::ptr::copy_nonoverlapping(known.as_ptr(), found.as_mut_ptr().cast(), known.len());
        Ok(found.assume_init())
    }
}

/// A single result.
///
/// # Safety
/// A pointer that is not null is writable and nobody else's during `'a`.
pub unsafe fn result<'a, T>(name: &str, pointer: *mut T) -> Result<&'a mut T> {
    check(name, pointer, 1)?;
    // SAFETY: not null, aligned, and exclusive by the caller's word.
    Ok(unsafe { &mut *pointer })
}

/// A result that has to be there, of exactly `expected` numbers; null is fine where that is 0.
///
/// # Safety
/// As [`Taken::take`].
pub unsafe fn output<'a, T>(
    name: &'static str,
    pointer: *mut T,
    length: usize,
    expected: usize,
) -> Result<&'a mut [T]> {
    // SAFETY: the caller vouches for `length` writable numbers that nobody else uses, which is all that `take` asks for.
    let found = unsafe { Taken::default().take(name, pointer, length) }?;
    match found {
        None if expected > 0 => Err(Failure::argument(format!("{name} is null"))),
        Some(out) if out.len() != expected => {
            Err(Failure::argument(format!("{name}: expected a length of {expected}, got {length}")))
        }
        found => Ok(found.unwrap_or_default()),
    }
}

/// A string that ends in NUL.
///
/// # Safety
/// A pointer that is not null points to such a string, which nobody writes to during `'a`.
pub unsafe fn text<'a>(name: &str, pointer: *const c_char) -> Result<&'a CStr> {
    check(name, pointer, 1)?;
    // SAFETY: not null, and terminated by the caller's word.
    Ok(unsafe { CStr::from_ptr(pointer) })
}

/// # Errors
/// Bytes that are no UTF-8.
pub fn utf8<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|_| Failure::argument(format!("{name} is not UTF-8")))
}

/// A file's name.
///
/// # Safety
/// As [`text`].
pub unsafe fn path<'a>(pointer: *const c_char) -> Result<&'a Path> {
    // SAFETY: the caller vouches for a terminated string, or null, which is refused.
    let text = unsafe { text("path", pointer) }?;
    #[cfg(unix)]
    let name = std::os::unix::ffi::OsStrExt::from_bytes(text.to_bytes());
    #[cfg(not(unix))]
    let name = OsStr::new(text.to_str().map_err(|_| Failure::argument("path is not UTF-8"))?);
    Ok(Path::new::<OsStr>(name))
}

/// Copies as much of the text as fits, always with a NUL at the end; returns the bytes that all of it needs.
///
/// # Safety
/// A buffer that is not null has `length` writable bytes.
pub unsafe fn copy_text(text: &str, buffer: *mut c_char, length: usize) -> usize {
    if !buffer.is_null() && length > 0 {
        let most = text.len().min(length - 1);
        let n = (0..=most).rev().find(|&n| text.is_char_boundary(n)).unwrap_or(0);
        // SAFETY: `n + 1 ≤ length`, and the text is ours.
        unsafe {
            std::ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), n);
            *buffer.add(n) = 0;
        }
    }
    text.len() + 1
}

/// Bytes as a result: into `buffer`, if that is not null, and how many they are into `needed`, if that is not null.
///
/// # Safety
/// As [`output`] and [`result`].
pub unsafe fn return_bytes(bytes: &[u8], buffer: *mut u8, length: usize, needed: *mut usize) -> Result {
    if !needed.is_null() {
        // SAFETY: not null, and the caller vouches that it is writable and nobody else's.
        *unsafe { result("needed", needed) }? = bytes.len();
    }
    if !buffer.is_null() {
        // SAFETY: the caller vouches for `length` writable bytes.
        unsafe { output("buffer", buffer, length, bytes.len()) }?.copy_from_slice(bytes);
    }
    Ok(())
}

/// A text as a result: into `buffer`, if that is not null, and the bytes it needs into `needed`, if that is not null.
///
/// # Safety
/// As [`copy_text`] and [`result`].
pub unsafe fn return_text(text: &str, buffer: *mut c_char, length: usize, needed: *mut usize) -> Result {
    if !needed.is_null() {
        // SAFETY: not null, and the caller vouches that it is writable and nobody else's.
        *unsafe { result("needed", needed) }? = text.len() + 1;
    }
    if buffer.is_null() {
        return Ok(());
    }
    if length <= text.len() {
        return Err(Failure::argument(format!("buffer: {length} bytes for a text of {}", text.len() + 1)));
    }
    // SAFETY: the caller vouches for `length` writable bytes, of which the text takes fewer, as was just checked.
    unsafe { copy_text(text, buffer, length) };
    Ok(())
}
