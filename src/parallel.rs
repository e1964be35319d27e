//! Work that threads share: those of rayon's current pool, or the calling thread alone, which then waits for no other.

use rayon::prelude::*;
use std::cell::Cell;

thread_local! {
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` on the calling thread, with all that it would share.
pub fn alone<T>(f: impl FnOnce() -> T) -> T {
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
pub fn n_threads() -> usize {
    // Asked first: rayon would start its pool to answer.
    match ALONE.get() {
        true => 1,
        false => rayon::current_num_threads(),
    }
}

/// Runs `f` for `0..n`, with a state that a thread makes for what it does in one go.
pub fn for_each_init<S>(n: usize, init: impl Fn() -> S + Sync, f: impl Fn(&mut S, usize) + Sync) {
    match n_threads() {
        1 => {
            let mut state = init();
            (0..n).for_each(|k| f(&mut state, k));
        }
        _ => (0..n).into_par_iter().for_each_init(&init, &f),
    }
}

/// Runs `f` for the entries of a slice, numbered.
pub fn for_each_mut<T: Send>(slice: &mut [T], f: impl Fn(usize, &mut T) + Sync) {
    match n_threads() {
        1 => slice.iter_mut().enumerate().for_each(|(k, entry)| f(k, entry)),
        _ => slice.par_iter_mut().enumerate().for_each(|(k, entry)| f(k, entry)),
    }
}

/// Runs `f` for the chunks of a slice, numbered.
pub fn for_chunks_mut<T: Send>(slice: &mut [T], size: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    match n_threads() {
        1 => slice.chunks_mut(size).enumerate().for_each(|(k, chunk)| f(k, chunk)),
        _ => slice.par_chunks_mut(size).enumerate().for_each(|(k, chunk)| f(k, chunk)),
    }
}

/// The values of `f` for the entries of a slice.
#[cfg(feature = "cuda")]
pub fn map<T: Sync, U: Send>(slice: &[T], f: impl Fn(&T) -> U + Sync + Send) -> Vec<U> {
    match n_threads() {
        1 => slice.iter().map(f).collect(),
        _ => slice.par_iter().map(f).collect(),
    }
}

/// Copies a slice, a chunk at a time.
#[cfg(feature = "cuda")]
pub fn copy<T: Copy + Send + Sync>(to: &mut [T], from: &[T], size: usize) {
    for_chunks_mut(to, size, |k, chunk| chunk.copy_from_slice(&from[k * size..][..chunk.len()]));
}

/// Sorts by a key that no two entries share.
pub fn sort_by_key<T: Send, K: Ord>(slice: &mut [T], key: impl Fn(&T) -> K + Sync) {
    match n_threads() {
        1 => slice.sort_unstable_by_key(key),
        _ => slice.par_sort_unstable_by_key(key),
    }
}
