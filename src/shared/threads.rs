//! The threads that a plan or graph runs on.

use crate::parallel::{self, Pool};
use crate::{Error, Result};
use std::sync::Arc;

/// A number of threads: the one that calls, or a pool that plans and graphs of the same number share.
#[derive(Clone, Debug)]
pub enum Threads {
    Calling,
    Some(Arc<Pool>),
}

impl Threads {
    /// `n` threads, 1 the one that calls, or for 0 all of the machine, or as many as `RAYON_NUM_THREADS` says. No more than
    /// there are processors: they would help nobody.
    ///
    /// # Errors
    /// [`Error::Argument`] for more threads than any machine has, and where they cannot be started.
    pub fn new(n: usize) -> Result<Threads> {
        /// More threads than any machine has are a mistake.
        const MOST: usize = 4096;
        match n {
            1 => Ok(Threads::Calling),
            n if n > MOST => Err(Error::Argument(format!("n_threads: {n} is more than {MOST}"))),
            n => Ok(Threads::Some(Pool::shared(n)?)),
        }
    }

    /// Runs `f` on these threads, also in a child of the process that started them.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        match self {
            Threads::Calling => parallel::alone(f),
            Threads::Some(pool) => pool.run(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::{Barrier, Mutex};
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
        let processors = thread::available_parallelism().unwrap().get();
        for n in [2, 3, 4000] {
            assert_eq!(Threads::new(n).unwrap().run(parallel::n_threads), n.min(processors));
        }
    }

    #[test]
    fn callers_on_one_thread_each_run_at_once() {
        let both = Barrier::new(2);
        let meet = || Threads::new(1).unwrap().run(|| both.wait().is_leader());
        let leaders = thread::scope(|s| [s.spawn(meet), s.spawn(meet)].map(|t| t.join().unwrap()));
        assert_ne!(leaders[0], leaders[1]);
    }
}
