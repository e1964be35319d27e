//! The versions of the library and of its binary interface, and what holds for the whole process.

use std::ffi::c_char;

/// The version of the binary interface. Functions and status codes are only ever added within a version;
/// what is removed or changed raises it.
pub const ACERUST_ABI_VERSION: u32 = 2;

/// The ABI version of the library, to be compared with `ACERUST_ABI_VERSION` of the header.
#[unsafe(no_mangle)]
pub extern "C" fn acerust_abi_version() -> u32 {
    ACERUST_ABI_VERSION
}

/// The version of the library, as `0.1.0`; a string that lives as long as the library.
#[unsafe(no_mangle)]
pub extern "C" fn acerust_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Sets the most bytes that one call may take beyond what its caller provides, as estimated before it takes them; for the process.
///
/// @param bytes 0: half of the memory that is free at the time of the call.
/// @return `ACERUST_OK`.
#[unsafe(no_mangle)]
pub extern "C" fn acerust_set_memory_limit(bytes: u64) -> i32 {
    super::status::guard(|| {
        crate::memory::set_limit((bytes > 0).then_some(bytes));
        Ok(())
    })
}

/// Asks whether a call may take so much memory: for callers that make large arrays of what the library gives them.
///
/// @param bytes What would be taken.
/// @param what What it is for, ending in NUL; the message begins with it.
/// @return `ACERUST_ERROR_MEMORY` where it is more than the limit of `acerust_set_memory_limit`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_check_memory(bytes: f64, what: *const c_char) -> i32 {
    // SAFETY: the promise of the module.
    super::status::guard(|| unsafe {
        let what = super::buffer::text("what", what)?.to_string_lossy();
        Ok(crate::memory::check(bytes, || what.into_owned())?)
    })
}
