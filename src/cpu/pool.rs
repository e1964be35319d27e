//! Scratch memory that outlives a call.

use std::sync::Mutex;

/// Workspaces that are handed out and taken back, so that nothing is allocated after warm-up.
pub struct Pool<T>(Mutex<Vec<Box<T>>>);

impl<T: Default> Pool<T> {
    pub fn new() -> Pool<T> {
        Pool(Mutex::new(Vec::new()))
    }

    pub fn take(&self) -> Lease<'_, T> {
        let kept = self.0.lock().unwrap_or_else(|e| e.into_inner()).pop();
        Lease { pool: self, item: Some(kept.unwrap_or_default()) }
    }
}

/// A workspace on loan; it goes back when dropped.
pub struct Lease<'a, T> {
    pool: &'a Pool<T>,
    item: Option<Box<T>>,
}

impl<T> std::ops::Deref for Lease<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.item.as_ref().expect("present until dropped")
    }
}

impl<T> std::ops::DerefMut for Lease<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.item.as_mut().expect("present until dropped")
    }
}

impl<T> Drop for Lease<'_, T> {
    fn drop(&mut self) {
        if let Some(item) = self.item.take() {
            self.pool.0.lock().unwrap_or_else(|e| e.into_inner()).push(item);
        }
    }
}
