//! The threads that a plan or graph runs on.

use crate::{Error, Result, parallel};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A number of threads: those of the process, the one that calls, or a pool that plans and graphs of the same number share.
#[derive(Clone)]
pub enum Threads {
    All,
    Calling,
    Some(Arc<ThreadPool>),
}

impl Threads {
    /// `n` threads, 1 the one that calls, or for 0 rayon's global pool: all of the machine, or as many as
    /// `RAYON_NUM_THREADS` says.
    ///
    /// # Errors
    /// [`Error::Argument`] for more threads than there can be.
    pub fn new(n: usize) -> Result<Threads> {
        static POOLS: Mutex<BTreeMap<usize, Weak<ThreadPool>>> = Mutex::new(BTreeMap::new());
        /// More threads than any machine has are a mistake.
        const MOST: usize = 4096;
        match n {
            0 => return Ok(Threads::All),
            1 => return Ok(Threads::Calling),
            _ => {}
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
            // Handed over once, not with each of its loops.
            Threads::All => rayon::scope(|_| f()),
            Threads::Calling => parallel::alone(f),
            Threads::Some(pool) => pool.install(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;
    use std::thread;

    #[test]
    fn one_thread_is_the_one_that_calls_and_shares_nothing() {
        let one = Threads::new(1).unwrap();
        let here = thread::current().id();
        let ran = Mutex::new(Vec::new());
        let note = |_: usize, _: &mut u8| ran.lock().unwrap().push(thread::current().id());
        one.run(|| {
            assert_eq!(parallel::n_threads(), 1);
            parallel::for_each_mut(&mut [0; 64], note);
        });
        assert_eq!(ran.into_inner().unwrap(), [here; 64]);

        // What is started elsewhere is shared again, also after a panic.
        let panicked = catch_unwind(AssertUnwindSafe(|| one.run(|| panic!("on purpose"))));
        assert!(panicked.is_err());
        assert_eq!(Threads::new(3).unwrap().run(parallel::n_threads), 3);
    }

    #[test]
    fn callers_on_one_thread_each_run_at_once() {
        let both = Barrier::new(2);
        let meet = || Threads::new(1).unwrap().run(|| both.wait().is_leader());
        let leaders = thread::scope(|s| [s.spawn(meet), s.spawn(meet)].map(|t| t.join().unwrap()));
        assert_ne!(leaders[0], leaders[1]);
    }
}
