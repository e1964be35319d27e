//! The threads that a plan or graph runs on.

use crate::{Error, Result};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A number of threads: those of the process, or a pool that plans and graphs of the same number share.
#[derive(Clone)]
pub enum Threads {
    All,
    Some(Arc<ThreadPool>),
}

impl Threads {
    /// `n` threads, or for 0 rayon's global pool: all of the machine, or as many as `RAYON_NUM_THREADS` says.
    ///
    /// # Errors
    /// [`Error::Argument`] for more threads than there can be.
    pub fn new(n: usize) -> Result<Threads> {
        static POOLS: Mutex<BTreeMap<usize, Weak<ThreadPool>>> = Mutex::new(BTreeMap::new());
        /// More threads than any machine has are a mistake.
        const MOST: usize = 4096;
        if n == 0 {
            return Ok(Threads::All);
        }
        if n > MOST {
            return Err(Error::Argument(format!("n_threads: {n} is more than {MOST}")));
        }
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&n).and_then(Weak::upgrade) {
            return Ok(Threads::Some(pool));
        }
        let built = ThreadPoolBuilder::new().num_threads(n).thread_name(|i| format!("acerust-{i}")).build();
        let pool = Arc::new(built.map_err(|e| Error::Argument(format!("n_threads: {n}: {e}")))?);
        pools.insert(n, Arc::downgrade(&pool));
        Ok(Threads::Some(pool))
    }

    /// Runs `f` on these threads.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        match self {
            Threads::All => f(),
            Threads::Some(pool) => pool.install(f),
        }
    }
}
