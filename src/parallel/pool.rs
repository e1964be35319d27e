//! Pools of threads that outlive a call, and forks.

use super::{alone, fork::forks};
use crate::{Error, Result};
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use std::num::NonZero;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// Threads of this process: a pool that all who ask for the same number share.
#[derive(Debug)]
pub struct Pool {
    n: usize,
    /// [`forks`] of the process that has the threads.
    forks: u32,
    pool: ThreadPool,
}

impl Pool {
    /// `n` threads, 0 for all that help, and no more than these.
    ///
    /// # Errors
    /// [`Error::Argument`] where they cannot be started.
    pub fn shared(n: usize) -> Result<Arc<Pool>> {
        static POOLS: Mutex<Vec<Weak<Pool>>> = Mutex::new(Vec::new());
        let n = helpful(n);
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| pool.strong_count() > 0);
        if let Some(pool) = pools.iter().filter_map(Weak::upgrade).find(|p| p.n == n && p.forks == forks()) {
            return Ok(pool);
        }
        let pool = builder(n).build().map_err(|e| cannot_start(n, e))?;
        let pool = Arc::new(Pool { n, forks: forks(), pool });
        pools.push(Arc::downgrade(&pool));
        Ok(pool)
    }

    /// Runs `f` on these threads; in a child of the process that started them on as many of its own, or where it cannot have them on
    /// the one that calls.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        /// Pools of a child, for as long as it lives.
        static OWN: Mutex<Vec<Arc<Pool>>> = Mutex::new(Vec::new());
        if self.forks == forks() {
            return self.pool.install(f);
        }
        let own = Pool::shared(self.n).inspect(|pool| {
            let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
            if !own.iter().any(|p| Arc::ptr_eq(p, pool)) {
                own.push(pool.clone());
            }
        });
        match own {
            Ok(pool) => pool.pool.install(f),
            Err(_) => alone(f),
        }
    }
}

/// Starts rayon's global pool, which everything shares that no other pool runs: `n` threads, 0 for all that help, and no more than
/// these. Without this call it starts by itself when it is needed.
///
/// # Errors
/// [`Error::Argument`] where the threads cannot be started, or have been started before.
pub fn start(n: usize) -> Result<()> {
    let n = helpful(n);
    let mut started = Err(Error::Argument(format!("{n} threads: the pool has been started before")));
    let forks = forks();
    GLOBAL.get_or_init(|| {
        started = builder(n).build_global().map_err(|e| cannot_start(n, e));
        started.is_ok().then_some(forks)
    });
    started
}

/// [`forks`] of the process that has the threads of rayon's global pool; `None` where they could not be started.
static GLOBAL: OnceLock<Option<u32>> = OnceLock::new();

/// Can rayon's current pool be used from here? Not its global one in a child of the process that started it, nor where it does
/// not start.
pub fn is_alive() -> bool {
    if rayon::current_thread_index().is_some() {
        return true;
    }
    let forks = forks();
    let start = || match builder(helpful(0)).build_global() {
        // Started before, by somebody else.
        Err(e) if std::error::Error::source(&e).is_none() => Some(forks),
        started => started.ok().map(|()| forks),
    };
    *GLOBAL.get_or_init(start) == Some(forks)
}

/// As many threads as are asked for, or for 0 as `RAYON_NUM_THREADS` says or as there are processors; more than processors help nobody.
fn helpful(n: usize) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let asked = match n {
        0 => std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).unwrap_or(0),
        n => n,
    };
    if asked == 0 { processors } else { asked.min(processors) }
}

fn builder(n: usize) -> ThreadPoolBuilder {
    ThreadPoolBuilder::new().num_threads(n).thread_name(|k| format!("acerust-{k}"))
}

fn cannot_start(n: usize, error: ThreadPoolBuildError) -> Error {
    Error::Argument(format!("{n} threads cannot be started: {error}"))
}
