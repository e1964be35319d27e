//! Rows by species.

use super::scratch::{Scratch, lines};
use crate::parallel;

/// Rows sorted by species, those of one species in their order.
pub(crate) struct Groups<'a> {
    /// The rows of species `z` are `rows[first[z]..first[z + 1]]`.
    first: &'a [u32],
    rows: &'a [u32],
    n_species: usize,
}

impl<'a> Groups<'a> {
    pub fn lines(rows: usize, n_species: usize) -> usize {
        lines::<u32>(rows) + lines::<u32>(n_species + 1)
    }

    /// All rows are of species 0 where there are no indices.
    pub fn new(n_rows: usize, n_species: usize, species: Option<&[u32]>, scratch: &mut Scratch<'a>) -> Groups<'a> {
        let (rows, first) = (scratch.indices(n_rows), scratch.indices(n_species + 1));
        match species {
            Some(species) => counting_sort(species, 0..n_rows as u32, first, rows),
            None => {
                rows.iter_mut().zip(0..).for_each(|(r, k)| *r = k);
                first.fill(n_rows as u32);
                first[0] = 0;
            }
        }
        Groups { first, rows, n_species }
    }

    pub fn of(&self, z: usize) -> &'a [u32] {
        &self.rows[self.first[z] as usize..self.first[z + 1] as usize]
    }

    /// Runs `f` for parts of at most `size` rows of one species; the parts depend on nothing but the groups.
    pub fn for_parts(&self, size: usize, f: impl Fn(usize, &[u32]) + Sync) {
        self.for_parts_init(size, 1, || (), |(), z, _, rows| f(z, rows));
    }

    /// The same `times` over, numbered, with a state that a thread makes once. Windows of the rows are shared out; one that spans
    /// several species has several parts.
    pub fn for_parts_init<S>(
        &self,
        size: usize,
        times: usize,
        init: impl Fn() -> S + Sync,
        f: impl Fn(&mut S, usize, usize, &[u32]) + Sync,
    ) {
        parallel::for_each_init(self.rows.len().div_ceil(size) * times, init, |state, k| {
            let (window, time) = (k / times, k % times);
            let window = window * size..self.rows.len().min((window + 1) * size);
            let mut z = self.first[..self.n_species].partition_point(|&f| f as usize <= window.start) - 1;
            while z < self.n_species && (self.first[z] as usize) < window.end {
                let (start, end) = (self.first[z] as usize, self.first[z + 1] as usize);
                let part = start.max(window.start)..end.min(window.end);
                if !part.is_empty() {
                    f(state, z, time, &self.rows[part]);
                }
                z += 1;
            }
        });
    }
}

/// Sorts `items` by `key[item]`, equal ones as they were: `first[k]..first[k + 1]` are those of key `k`.
pub(crate) fn counting_sort(
    key: &[u32],
    items: impl Iterator<Item = u32> + Clone,
    first: &mut [u32],
    sorted: &mut [u32],
) {
    first.fill(0);
    for k in items.clone() {
        first[key[k as usize] as usize + 1] += 1;
    }
    for k in 1..first.len() {
        first[k] += first[k - 1];
    }
    // `first[k]` runs ahead to the end of group `k` while it is filled, and is the start of the next one then.
    for item in items {
        let at = &mut first[key[item as usize] as usize];
        sorted[*at as usize] = item;
        *at += 1;
    }
    first.copy_within(0..first.len() - 1, 1);
    first[0] = 0;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::scratch::Workspace;
    use std::sync::Mutex;

    #[test]
    fn rows_are_grouped_and_shared_out_once() {
        let species = [2, 0, 4, 2, 2, 0, 4, 4, 4, 2];
        let mut memory = Workspace::new();
        for size in [1, 2, 3, 100] {
            let groups =
                Groups::new(10, 6, Some(&species), &mut Scratch::new(memory.lines(Groups::lines(10, 6)).unwrap()));
            assert_eq!((groups.of(0), groups.of(1), groups.of(2)), (&[1, 5][..], &[][..], &[0, 3, 4, 9][..]));
            let seen = Mutex::new(Vec::new());
            groups.for_parts(size, |z, rows| {
                assert!(rows.len() <= size && rows.iter().all(|&r| species[r as usize] as usize == z));
                seen.lock().unwrap().extend_from_slice(rows);
            });
            let mut seen = seen.into_inner().unwrap();
            seen.sort_unstable();
            assert_eq!(seen, (0..10).collect::<Vec<u32>>());
        }
    }
}
