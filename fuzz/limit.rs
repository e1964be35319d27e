//! A limit for the memory of an input: beyond it the process ends, after it has said where the input is.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

struct Limited;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(usize::MAX);
/// What to keep of an input that takes too much, and where.
static FINDING: Mutex<Option<(PathBuf, Vec<u8>)>> = Mutex::new(None);

impl Limited {
    fn more(&self, bytes: usize) {
        if LIVE.fetch_add(bytes, Relaxed).saturating_add(bytes) > MOST.load(Relaxed) {
            MOST.store(usize::MAX, Relaxed);
            if let Some((path, input)) = FINDING.lock().unwrap_or_else(PoisonError::into_inner).take() {
                let _ = std::fs::write(&path, input);
                eprintln!("an input takes too much memory; it is {}", path.display());
            }
            eprintln!("{bytes} bytes more are beyond the limit");
            std::process::abort();
        }
    }
}

// SAFETY: all memory is the system's.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.more(layout.size());
        // SAFETY: the caller's layout is valid, here and below.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.more(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.more(size.saturating_sub(layout.size()));
        LIVE.fetch_sub(layout.size().saturating_sub(size), Relaxed);
        // SAFETY: the caller's memory is that of `alloc`, which is the system's.
        unsafe { System.realloc(ptr, layout, size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as in `realloc`.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Limited = Limited;

/// Runs `f`, which may take so many bytes more than live now.
pub fn within<T>(bytes: usize, f: impl FnOnce() -> T) -> T {
    struct Lift;
    impl Drop for Lift {
        fn drop(&mut self) {
            MOST.store(usize::MAX, Relaxed);
        }
    }
    let _lift = Lift;
    MOST.store(LIVE.load(Relaxed).saturating_add(bytes), Relaxed);
    f()
}

/// Where an input goes that takes too much.
#[allow(dead_code)]
pub fn keep(path: PathBuf, input: &[u8]) {
    *FINDING.lock().unwrap_or_else(PoisonError::into_inner) = Some((path, input.to_vec()));
}
