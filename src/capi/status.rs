//! Status codes, the message of the last failure, and the guard around every exported function.

use super::buffer;
use crate::{Error, memory};
use std::any::Any;
use std::cell::RefCell;
use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// All went well.
pub const ACERUST_OK: i32 = 0;
/// A file could not be read or written.
pub const ACERUST_ERROR_IO: i32 = 1;
/// A model file is malformed or inconsistent.
pub const ACERUST_ERROR_MODEL: i32 = 2;
/// A structure is malformed.
pub const ACERUST_ERROR_STRUCTURE: i32 = 3;
/// A neighbour graph is inconsistent or cannot be built.
pub const ACERUST_ERROR_GRAPH: i32 = 4;
/// An argument has the wrong shape or value: null, misaligned, of the wrong length, overlapping another, out of range.
pub const ACERUST_ERROR_ARGUMENT: i32 = 5;
/// The device cannot do what was asked.
pub const ACERUST_ERROR_DEVICE: i32 = 6;
/// A handle is null, was freed, or never was one of the kind that the function expects.
pub const ACERUST_ERROR_HANDLE: i32 = 7;
/// A defect of the library: an internal check failed. Please report it with the message.
pub const ACERUST_ERROR_PANIC: i32 = 8;
/// More memory than there is, or than `acerust_set_memory_limit` allows.
pub const ACERUST_ERROR_MEMORY: i32 = 9;
/// A result is not a finite number; the message names the atom.
pub const ACERUST_ERROR_NOT_FINITE: i32 = 10;
/// A callback of the caller's ended the work.
pub const ACERUST_ERROR_CANCELLED: i32 = 11;

/// Why an exported function fails.
#[derive(Debug)]
pub enum Failure {
    Library(Error),
    Handle(String),
    Panic(String),
}

pub type Result<T = ()> = std::result::Result<T, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Library(error)
    }
}

impl Failure {
    pub fn argument(message: impl Into<String>) -> Failure {
        Failure::Library(Error::Argument(message.into()))
    }

    /// The same about a part of the input.
    pub fn of(self, part: impl std::fmt::Display) -> Failure {
        match self {
            Failure::Library(error) => Failure::Library(error.of(part)),
            other => other,
        }
    }

    /// `ACERUST_ERROR_…`.
    pub fn code(&self) -> i32 {
        match self {
            Failure::Library(Error::Io { .. }) => ACERUST_ERROR_IO,
            Failure::Library(Error::Model(_)) => ACERUST_ERROR_MODEL,
            Failure::Library(Error::Structure(_)) => ACERUST_ERROR_STRUCTURE,
            Failure::Library(Error::Graph(_)) => ACERUST_ERROR_GRAPH,
            Failure::Library(Error::Argument(_) | Error::Recipe(_) | Error::Fit(_)) => ACERUST_ERROR_ARGUMENT,
            Failure::Library(Error::Device(_)) => ACERUST_ERROR_DEVICE,
            Failure::Library(Error::Memory(_)) => ACERUST_ERROR_MEMORY,
            Failure::Library(Error::NotFinite(_)) => ACERUST_ERROR_NOT_FINITE,
            Failure::Library(Error::Cancelled(_)) => ACERUST_ERROR_CANCELLED,
            Failure::Handle(_) => ACERUST_ERROR_HANDLE,
            Failure::Panic(_) => ACERUST_ERROR_PANIC,
        }
    }

    /// The sentence for the user.
    pub fn message(&self) -> String {
        match self {
            Failure::Library(error) => error.to_string(),
            Failure::Handle(message) => format!("handle: {message}"),
            Failure::Panic(message) => format!("defect of the library: {message}"),
        }
    }
}

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs the body of a function that another language calls; a panic becomes a failure.
pub fn attempt<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    let body = || memory::caught(|| Ok(body()))?;
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| Err(Failure::Panic(text(payload.as_ref()))))
}

/// Runs the body of an exported function; failures and panics become a status and the thread's last error.
pub fn guard(body: impl FnOnce() -> Result) -> i32 {
    let Err(failure) = attempt(body) else { return ACERUST_OK };
    // A thread that is being torn down has no message any more, only the code.
    let _ = LAST.try_with(|last| last.replace(failure.message()));
    failure.code()
}

fn text(payload: &(dyn Any + Send)) -> String {
    let fixed = payload.downcast_ref::<&str>().map(|s| s.to_string());
    fixed.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".into())
}

/// Copies the message of this thread's last failure, UTF-8, into `buffer`, of `length` bytes; it is cut where it does not fit and
/// always ends in a NUL byte. Returns the bytes that the whole message needs with its NUL; 1 where nothing has failed yet.
/// `buffer` may be null for that number alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_last_error(buffer: *mut c_char, length: usize) -> usize {
    let copy = || {
        // SAFETY: `buffer` has `length` bytes by the caller's word.
        LAST.try_with(|last| unsafe { buffer::copy_text(&last.borrow(), buffer, length) }).unwrap_or(0)
    };
    catch_unwind(copy).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last() -> String {
        let mut bytes = vec![0_u8; 256];
        // SAFETY: the length is the buffer's.
        let n = unsafe { acerust_last_error(bytes.as_mut_ptr().cast(), bytes.len()) };
        String::from_utf8(bytes[..n - 1].to_vec()).unwrap()
    }

    #[test]
    fn panics_become_a_status_and_a_message() {
        assert_eq!(guard(|| Ok(())), ACERUST_OK);
        assert_eq!(last(), "");
        assert_eq!(guard(|| panic!("a {}", "wolf")), ACERUST_ERROR_PANIC);
        assert_eq!(last(), "defect of the library: a wolf");
        assert_eq!(guard(|| panic!("sheep")), ACERUST_ERROR_PANIC);
        assert_eq!(last(), "defect of the library: sheep");
        assert_eq!(guard(|| std::panic::panic_any(7)), ACERUST_ERROR_PANIC);
        assert_eq!(last(), "defect of the library: a panic without a message");
        // What went well leaves the message alone; other threads have their own.
        assert_eq!(guard(|| Ok(())), ACERUST_OK);
        assert_eq!(last(), "defect of the library: a panic without a message");
        std::thread::spawn(|| assert_eq!(last(), "")).join().unwrap();
    }

    #[test]
    fn every_kind_of_error_has_its_code() {
        let io = Error::Io { path: "x".into(), source: std::io::ErrorKind::NotFound.into() };
        let errors = [
            io,
            Error::Model("m".into()),
            Error::Structure("s".into()),
            Error::Graph("g".into()),
            Error::Argument("a".into()),
            Error::Device("d".into()),
        ];
        for (error, code) in errors.into_iter().zip(1..) {
            let message = error.to_string();
            assert_eq!(guard(|| Err(error.into())), code);
            assert_eq!(last(), message);
        }
        assert_eq!(guard(|| Err(Error::Memory("m".into()).into())), ACERUST_ERROR_MEMORY);
        assert_eq!(guard(|| Err(Error::NotFinite("n".into()).into())), ACERUST_ERROR_NOT_FINITE);
        assert_eq!(last(), "result: n");
        assert_eq!(guard(|| Err(Error::Cancelled("at once".into()).into())), ACERUST_ERROR_CANCELLED);
        assert_eq!(guard(|| Err(Failure::Handle("h".into()))), ACERUST_ERROR_HANDLE);
        assert_eq!(last(), "handle: h");
    }
}
