//! Handles: keys into tables of live objects.
//!
//! A handle looks like a pointer to the caller but is only a number, used once in the life of the process. A handle that was freed,
//! or is no handle at all, is therefore told with certainty, and an object that is freed while another thread works with it lives
//! until that work is done. This is the one global state of the library beside the thread pool: C has nowhere else to keep it.

use super::status::{Failure, Result};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// The live objects of one kind.
pub struct Table<T> {
    kind: &'static str,
    objects: RwLock<BTreeMap<usize, Arc<T>>>,
}

impl<T> Table<T> {
    pub const fn new(kind: &'static str) -> Table<T> {
        Table { kind, objects: RwLock::new(BTreeMap::new()) }
    }

    /// Keeps the object and writes its handle to `out`.
    pub fn insert<H>(&self, object: T, out: &mut *mut H) {
        // Multiples of 16, as addresses of objects are; 0 is the null handle.
        static NEXT: AtomicUsize = AtomicUsize::new(16);
        let key = NEXT.fetch_add(16, Ordering::Relaxed);
        self.objects.write().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::new(object));
        *out = std::ptr::without_provenance_mut(key);
    }

    pub fn get<H>(&self, handle: *const H) -> Result<Arc<T>> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.get(&handle.addr()).cloned().ok_or_else(|| self.unknown(handle.addr()))
    }

    /// Null is freed without further ado.
    pub fn remove<H>(&self, handle: *mut H) -> Result {
        if handle.is_null() {
            return Ok(());
        }
        let object = self.objects.write().unwrap_or_else(PoisonError::into_inner).remove(&handle.addr());
        object.map(drop).ok_or_else(|| self.unknown(handle.addr()))
    }

    fn unknown(&self, key: usize) -> Failure {
        Failure::Handle(match key {
            0 => format!("the {} is null", self.kind),
            _ => format!("{key:#x} is no {}, or it was freed", self.kind),
        })
    }
}
