//! Chemical symbols.

use super::buffer;
use super::status::{Failure, guard};
use crate::element;
use std::ffi::c_char;

/// The atomic number of a chemical symbol.
///
/// @param symbol Spelt as usual, `Si`, ending in NUL.
/// @param out 1 to 118.
/// @return `ACERUST_ERROR_ARGUMENT` for a symbol that no element has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_atomic_number(symbol: *const c_char, out: *mut i32) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let out = buffer::result("out", out)?;
        let symbol = buffer::text("symbol", symbol)?.to_string_lossy();
        let number = element::number(&symbol);
        *out = number.ok_or_else(|| Failure::argument(format!("no element has the symbol {symbol}")))?.into();
        Ok(())
    })
}
