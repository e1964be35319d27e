//! The rows of a graph in their order: by neighbour, and by image for those of one neighbour.
//!
//! The order follows from the structure alone, neither from cutoff and skin nor from the grid that found the edges. Sums over the
//! edges of a centre are therefore the same, to the last bit, for a graph that was built and for a list that was reused.

use super::vectors::{Translations, between};

/// An edge that was found, without its centre.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    pub atom: u32,
    pub shift: [i16; 3],
}

/// Entries that are ranked side by side.
const BLOCK: usize = 16;
/// Rows up to this length are ranked, all entries against all; longer ones are sorted.
const RANKED: usize = 128;

/// Scratch of one thread.
#[derive(Clone, Debug)]
pub(super) struct Order {
    keys: [i32; RANKED],
    ranks: [i32; RANKED],
    sorted: Vec<u64>,
}

impl Default for Order {
    fn default() -> Order {
        Order { keys: [0; RANKED], ranks: [0; RANKED], sorted: Vec::new() }
    }
}

/// One row of a graph.
pub(super) struct Row<'a> {
    pub neighbour: &'a mut [u32],
    pub shift: &'a mut [[i16; 3]],
    pub r: &'a mut [[f64; 3]],
}

impl Order {
    /// Writes the row of centre `i`; entries of one neighbour are in the order of their images.
    #[inline(always)]
    pub fn write(&mut self, i: usize, found: &[Found], x: &[[f64; 3]], translations: &Translations, row: Row) {
        let Row { neighbour, shift, r } = row;
        assert!(neighbour.len() == found.len() && shift.len() == found.len() && r.len() == found.len());
        let a = x[i];
        let mut put = |to: usize, f: &Found| {
            neighbour[to] = f.atom;
            shift[to] = f.shift;
            r[to] = between(a, x[f.atom as usize], translations.of(f.shift));
        };
        if self.rank(found) {
            found.iter().zip(&self.ranks).for_each(|(f, &to)| put(to as usize, f));
            return;
        }
        self.sorted.clear();
        self.sorted.extend(found.iter().zip(0..).map(|(f, k): (_, u64)| u64::from(f.atom) << 32 | k));
        self.sorted.sort_unstable();
        self.sorted.iter().enumerate().for_each(|(to, &key)| put(to, &found[key as u32 as usize]));
    }

    /// How many atoms have a lower number than each; says whether that tells all places.
    #[inline(always)]
    fn rank(&mut self, found: &[Found]) -> bool {
        let n = found.len();
        if n > RANKED {
            return false;
        }
        self.keys[..n.next_multiple_of(BLOCK)].fill(i32::MAX);
        self.keys.iter_mut().zip(found).for_each(|(key, f)| *key = f.atom as i32);
        let mut sum = 0;
        for at in (0..n).step_by(BLOCK) {
            let (keys, mut ranks) = (&self.keys[at..][..BLOCK], [0; BLOCK]);
            for &other in &self.keys[..n] {
                for k in 0..BLOCK {
                    ranks[k] += i32::from(other < keys[k]);
                }
            }
            self.ranks[at..][..BLOCK].copy_from_slice(&ranks);
            sum += ranks[..BLOCK.min(n - at)].iter().sum::<i32>() as usize;
        }
        // Two that are equal share the lower place.
        sum == n * n.saturating_sub(1) / 2
    }
}
