//! How much memory a call may take, allocations that fail with an error instead of ending the process, and memory that is kept.

use crate::{Error, Result};
use std::any::Any;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// 0: a share of the memory that is free.
static LIMIT: AtomicU64 = AtomicU64::new(0);
/// What is always granted where no limit is set: less is not worth asking the system for.
const SMALL: u64 = 64 << 20;

/// Sets the most bytes that one call may take beyond what its caller provides, as estimated before it takes them; `None`: half
/// of the memory that is free at the time of the call (of the process's control group, where that has less), as at the start.
///
/// It holds for the process.
pub fn set_limit(bytes: Option<u64>) {
    LIMIT.store(bytes.map_or(0, |b| b.max(1)), Relaxed);
}

/// The most bytes that a call may take now.
pub fn limit() -> u64 {
    match LIMIT.load(Relaxed) {
        0 => (free() / 2).max(SMALL),
        set => set,
    }
}

fn free() -> u64 {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let available = system.available_memory();
    system.cgroup_limits().map_or(available, |group| available.min(group.free_memory))
}

/// Refuses what would take more than the limit; `what` says what it is.
///
/// # Errors
/// [`Error::Memory`].
pub fn check(bytes: f64, what: impl FnOnce() -> String) -> Result<()> {
    if bytes <= SMALL as f64 && LIMIT.load(Relaxed) == 0 {
        return Ok(());
    }
    match limit() {
        limit if bytes <= limit as f64 => Ok(()),
        limit => {
            let [bytes, limit] = [bytes, limit as f64].map(|b| b * 1e-9);
            Err(Error::Memory(format!("{} would take about {bytes:.3} GB, the limit is {limit:.3} GB", what())))
        }
    }
}

/// At least `n` entries, contents unspecified.
///
/// Unwinds with an [`Error`] for [`caught`] where there is no memory.
#[inline(always)]
pub(crate) fn at_least<T: Copy>(v: &mut Vec<T>, n: usize, fill: T) -> &mut [T] {
    if v.len() < n {
        grow(v, n, fill);
    }
    &mut v[..n]
}

#[cold]
#[inline(never)]
fn grow<T: Copy>(v: &mut Vec<T>, n: usize, fill: T) {
    if v.try_reserve(n - v.len()).is_err() {
        refused::<T>(n);
    }
    v.resize(n, fill);
}

/// Sets the length, keeping memory where it suffices. The contents are left over or `zero`. Unwinds as [`at_least`].
#[inline(always)]
pub(crate) fn resize<T: Clone>(v: &mut Vec<T>, n: usize, zero: T) {
    if n > v.capacity() {
        // The old contents need not be kept, nor the memory twice.
        *v = Vec::new();
        if v.try_reserve_exact(n).is_err() {
            refused::<T>(n);
        }
    }
    v.resize(n, zero);
}

/// Room for `n` more entries. Unwinds as [`at_least`].
#[inline(always)]
pub(crate) fn reserve<T>(v: &mut Vec<T>, n: usize) {
    if v.try_reserve(n).is_err() {
        refused::<T>(v.len() + n);
    }
}

#[cold]
fn refused<T>(n: usize) -> ! {
    let gigabytes = (n as f64) * (size_of::<T>() as f64) * 1e-9;
    resume_unwind(Box::new(Error::Memory(format!("the system has no {gigabytes:.3} GB in one piece"))))
}

/// Runs `f`; memory that was refused in it, on whatever thread, becomes an error.
///
/// # Errors
/// Those of `f`; [`Error::Memory`].
pub(crate) fn caught<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
    // What a refusal leaves half done is scratch memory without meaning, or results of a call that fails.
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|payload: Box<dyn Any + Send>| match payload.downcast() {
        Ok(error) => Err(*error),
        Err(defect) => resume_unwind(defect),
    })
}

/// Scratch memory that outlives a call: workspaces are handed out and taken back, so that nothing is allocated after warm-up.
#[derive(Default)]
pub(crate) struct Kept<T>(Mutex<Vec<Box<T>>>);

impl<T: Default> Kept<T> {
    pub fn take(&self) -> Lease<'_, T> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Lease { of: self, item: Some(kept.unwrap_or_default()) }
    }
}

/// A workspace on loan; it goes back when dropped.
pub(crate) struct Lease<'a, T> {
    of: &'a Kept<T>,
    item: Option<Box<T>>,
}

impl<T> Deref for Lease<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.item.as_ref().expect("present until dropped")
    }
}

impl<T> DerefMut for Lease<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.item.as_mut().expect("present until dropped")
    }
}

impl<T> Drop for Lease<'_, T> {
    fn drop(&mut self) {
        if let Some(item) = self.item.take() {
            self.of.0.lock().unwrap_or_else(PoisonError::into_inner).push(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_refused_is_an_error() {
        let none = |f: &dyn Fn()| {
            let body = || {
                f();
                Ok(())
            };
            caught(body).unwrap_err().to_string()
        };
        for message in [
            none(&|| assert!(at_least(&mut Vec::new(), 1 << 58, 0_u64).is_empty())),
            none(&|| resize(&mut Vec::new(), 1 << 58, 0_u64)),
            none(&|| reserve(&mut Vec::<u64>::new(), 1 << 58)),
            none(&|| rayon::join(|| (), || reserve(&mut Vec::<u64>::new(), 1 << 58)).1),
        ] {
            assert!(message.starts_with("memory: the system has no 2305843009.214 GB"), "{message}");
        }
        let panicked = catch_unwind(|| caught(|| -> Result<()> { panic!("a defect") }));
        assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"a defect"));
    }

    #[test]
    fn half_of_the_free_memory_is_the_limit() {
        assert!(limit() >= SMALL && limit() < 1 << 50, "{}", limit());
        check(SMALL as f64, || unreachable!("granted")).unwrap();
        let message = check(1e15, || "a test".into()).unwrap_err().to_string();
        assert!(message.starts_with("memory: a test would take about 1000000.000 GB, the limit is "), "{message}");
    }
}
