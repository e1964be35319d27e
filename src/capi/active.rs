//! The active set of a fit's structures.

use super::buffer::{self, sized};
use super::evaluate::acerust_input;
use super::fit::{FITS, acerust_fit, files};
use super::status::guard;
use crate::extxyz::Frames;
use std::ffi::c_char;

/// Looks at frames of files in extended XYZ for the active set that extrapolation grades are relative to: at those that the fit would use.
/// The fit itself takes nothing from them. May be called several times.
///
/// @param paths (n_paths) names of files, each ending in NUL.
/// @return `ACERUST_ERROR_IO`, `ACERUST_ERROR_STRUCTURE` for files that cannot be read; frames before the place may have been looked at.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_fit_look(fit: *mut acerust_fit, paths: *const *const c_char, n_paths: usize) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let fit = FITS.get(fit)?;
        let paths = files("paths", paths, n_paths)?;
        fit.with(|work| {
            let settings = work.assembler.settings().clone();
            let frames = Frames::new(&paths)?.map(|found| Ok(found?.frame));
            Ok(work.selection()?.look(&settings, frames)?)
        })
    })
}

/// Looks at one structure for the active set, as `acerust_fit_look` at frames; it needs no data.
///
/// @param input A structure on the host, without graph and list.
/// @return `ACERUST_ERROR_STRUCTURE` for a malformed structure, `ACERUST_ERROR_ARGUMENT` for an element that the model lacks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_fit_look_at(fit: *mut acerust_fit, input: *const acerust_input) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let fit = FITS.get(fit)?;
        let structure = sized::<acerust_input>("input", input)?.structure("fits")?;
        fit.with(|work| Ok(work.selection()?.push(&[structure])?))
    })
}

/// The active set of what `acerust_fit_look` looked at: the bytes of a file that `acerust eval --grade` reads, and
/// `acerust_plan_active_set_from_file`. Both calls, for the size and for the bytes, choose it.
///
/// @param buffer `length` bytes, or null.
/// @param needed How many bytes there are, or null.
/// @return `ACERUST_ERROR_ARGUMENT` where the atoms of an element have too few independent rows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_fit_active_set(
    fit: *mut acerust_fit,
    buffer: *mut u8,
    length: usize,
    needed: *mut usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let bytes = FITS.get(fit)?.with(|work| Ok(work.selection()?.finish()?.to_bytes()))?;
        buffer::return_bytes(&bytes, buffer, length, needed)
    })
}
