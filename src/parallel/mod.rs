//! Work that threads share: those of rayon's current pool, or the calling thread alone, which then waits for no other.

mod disjoint;
mod fork;
mod pool;
mod prefetch;

pub(crate) use disjoint::Disjoint;
pub(crate) use pool::Pool;
pub use pool::start;
pub(crate) use prefetch::{prefetch, prefetch_disjoint, prefetch_early};
use rayon::prelude::*;
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

thread_local! {
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` on the calling thread, with all that it would share.
pub(crate) fn alone<T>(f: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            ALONE.set(self.0);
        }
    }
    let _restore = Restore(ALONE.replace(true));
    f()
}

/// How many threads share the work.
pub(crate) fn n_threads() -> usize {
    // Asked first: rayon would start its pool to answer.
    match ALONE.get() || !pool::is_alive() {
        true => 1,
        false => rayon::current_num_threads(),
    }
}

/// What a thread has to do; on a cache line pair of its own.
#[repr(align(128))]
struct Share {
    next: AtomicUsize,
    end: usize,
}

impl Share {
    fn take(&self) -> Option<usize> {
        // Read first: those who look for work must not slow down its owner.
        (self.next.load(Relaxed) < self.end).then(|| self.next.fetch_add(1, Relaxed)).filter(|&k| k < self.end)
    }
}

/// Runs `f` for `0..n`, with a state that a thread makes once.
///
/// A thread has the same share in every call with as many threads, whose data may be in its cache still; then it helps the others.
pub(crate) fn for_each_init<S>(n: usize, init: impl Fn() -> S + Sync, f: impl Fn(&mut S, usize) + Sync) {
    deal(n, &|items| {
        let mut state = init();
        while let Some(k) = items() {
            f(&mut state, k);
        }
    });
}

/// What a thread does with the items that it is dealt, one after another.
type Work<'a> = dyn Fn(&mut dyn FnMut() -> Option<usize>) + Sync + 'a;

/// Runs `work` on threads that take the items `0..n` between them. Not generic: rayon's code is compiled once, not for each caller.
fn deal(n: usize, work: &Work) {
    let threads = n_threads().min(n);
    if threads <= 1 {
        let mut items = 0..n;
        return work(&mut || items.next());
    }
    let share = |t: usize| Share { next: (t * n / threads).into(), end: (t + 1) * n / threads };
    let shares: Vec<Share> = (0..threads).map(share).collect();
    (0..threads).into_par_iter().with_max_len(1).for_each(|t| {
        let own = rayon::current_thread_index().unwrap_or(t);
        let mut others = own..own + threads;
        let mut t = others.next();
        work(&mut || {
            while let Some(at) = t {
                match shares[at % threads].take() {
                    None => t = others.next(),
                    item => return item,
                }
            }
            None
        });
    });
}

/// Runs `f` for the entries of a slice, numbered.
pub(crate) fn for_each_mut<T: Send>(slice: &mut [T], f: impl Fn(usize, &mut T) + Sync) {
    for_chunks_mut(slice, 1, |k, entry| f(k, &mut entry[0]));
}

/// Runs `f` for the chunks of a slice, numbered.
pub(crate) fn for_chunks_mut<T: Send>(slice: &mut [T], size: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    let n = slice.len();
    let slice = Disjoint::new(slice);
    // SAFETY: chunks do not overlap.
    let chunk = |k: usize| unsafe { slice.slice(k * size, size.min(n - k * size)) };
    for_each_init(n.div_ceil(size), || (), |(), k| f(k, chunk(k)));
}

/// The values of `f` on every thread, all at once.
pub(crate) fn on_each<T: Send>(f: impl Fn() -> T + Sync) -> Vec<T> {
    match n_threads() {
        1 => vec![f()],
        _ => rayon::broadcast(|_| f()),
    }
}

/// The values of `f` for the entries of a slice.
pub(crate) fn map<T: Sync, U: Send>(slice: &[T], f: impl Fn(&T) -> U + Sync + Send) -> Vec<U> {
    match n_threads() {
        1 => slice.iter().map(f).collect(),
        _ => slice.par_iter().map(f).collect(),
    }
}

/// Copies a slice, a chunk at a time.
pub(crate) fn copy<T: Copy + Send + Sync>(to: &mut [T], from: &[T], size: usize) {
    for_chunks_mut(to, size, |k, chunk| chunk.copy_from_slice(&from[k * size..][..chunk.len()]));
}

/// Sorts by a key that no two entries share.
pub(crate) fn sort_by_key<T: Send, K: Ord>(slice: &mut [T], key: impl Fn(&T) -> K + Sync) {
    match n_threads() {
        1 => slice.sort_unstable_by_key(key),
        _ => slice.par_sort_unstable_by_key(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::time::Instant;

    fn pool(n: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(n).build().expect("a pool")
    }

    #[test]
    fn all_is_done_once() {
        let many = if cfg!(miri) { 30 } else { 1000 };
        for (threads, n) in [(1, 5), (4, 0), (4, 1), (4, 3), (4, many), (3, many)] {
            let done: Vec<AtomicUsize> = (0..n).map(|_| 0.into()).collect();
            let states = AtomicUsize::new(0);
            let init = || states.fetch_add(1, Relaxed);
            let count = |k: usize| {
                done[k].fetch_add(1, Relaxed);
            };
            pool(threads).install(|| for_each_init(n, init, |_, k| count(k)));
            assert!(done.iter().all(|d| d.load(Relaxed) == 1), "{threads} threads, {n} items");
            assert!(states.into_inner() <= threads);
        }
    }

    #[test]
    fn who_is_done_helps() {
        let n = 100;
        let (done, start) = (AtomicUsize::new(0), Instant::now());
        let f = |(): &mut (), k| {
            // One thread is held up until the other one has done the rest of both shares.
            while k == 0 && done.load(Relaxed) < n - 1 {
                assert!(start.elapsed().as_secs() < 60, "{done:?} of {n} are done: nobody helps");
                std::thread::yield_now();
            }
            done.fetch_add(1, Relaxed);
        };
        pool(2).install(|| for_each_init(n, || (), f));
        assert_eq!(done.into_inner(), n);
    }

    #[test]
    fn a_thread_keeps_its_share() {
        let n = 4;
        let pool = pool(n);
        for _ in 0..20 {
            // All are at work at once, so that nobody helps.
            let meet = Barrier::new(n);
            let own: Vec<AtomicUsize> = (0..n).map(|_| usize::MAX.into()).collect();
            let f = |(): &mut (), k: usize| {
                meet.wait();
                own[k].store(rayon::current_thread_index().unwrap_or(n), Relaxed);
            };
            pool.install(|| for_each_init(n, || (), f));
            assert!(own.iter().enumerate().all(|(k, own)| own.load(Relaxed) == k), "{own:?}");
        }
    }

    #[test]
    fn work_may_share_work() {
        let done = AtomicUsize::new(0);
        pool(3).install(|| {
            let inner = |(): &mut (), _| {
                done.fetch_add(1, Relaxed);
            };
            for_each_init(10, || (), |(), _| for_each_init(10, || (), inner));
        });
        assert_eq!(done.into_inner(), 100);
    }
}
