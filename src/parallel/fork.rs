//! Forks: a child has only the thread that forked, whatever pools its memory tells of.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

static FORKS: AtomicU32 = AtomicU32::new(0);

/// How many forks lie between this process and the first one that asked: what was started at another count is not there.
pub fn forks() -> u32 {
    #[cfg(unix)]
    {
        static COUNTED: std::sync::Once = std::sync::Once::new();
        extern "C" fn count() {
            FORKS.fetch_add(1, Relaxed);
        }
        // SAFETY: what runs in the child is one atomic addition, which any state of the process allows.
        COUNTED.call_once(|| _ = unsafe { libc::pthread_atfork(None, None, Some(count)) });
    }
    FORKS.load(Relaxed)
}
