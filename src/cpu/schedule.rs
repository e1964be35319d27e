//! Which centres are evaluated side by side.
//!
//! Inside a window of consecutive atoms, centres of one species with about as many edges share a block,
//! so that few lanes are padded. The result depends on the graph alone, not on the number of threads;
//! and what a centre computes does not depend on the block it is in.

use super::memory::Disjoint;
use crate::graph::Graph;
use crate::parallel;
use std::ops::Range;

/// Consecutive atoms among which blocks are formed.
const WINDOW: usize = 512;

#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub species: u32,
    start: u32,
    len: u32,
}

/// The blocks of one evaluation; keeps its memory.
#[derive(Default)]
pub struct Schedule {
    order: Vec<u32>,
    windows: Vec<Vec<Entry>>,
    pub entries: Vec<Entry>,
}

impl Schedule {
    /// Blocks of up to `lanes` centres for all centres of the graph.
    pub fn fill(&mut self, graph: &Graph, species_of: &[u32], lanes: usize) {
        let n = graph.n_centres();
        self.order.clear();
        self.order.extend(0..n as u32);
        let n_windows = n.div_ceil(WINDOW);
        // Never shorter, so that every window keeps its memory.
        self.windows.resize_with(n_windows.max(self.windows.len()), Vec::new);
        let order = Disjoint::new(&mut self.order);
        parallel::for_each_mut(&mut self.windows[..n_windows], |w, entries| {
            // SAFETY: windows do not overlap.
            let order = unsafe { order.slice_mut(w * WINDOW, WINDOW.min(n - w * WINDOW)) };
            // Species (at most 255), number of edges, atom as one number, which sorts faster than what it stands for.
            let mut keys = [0u64; WINDOW];
            let keys = &mut keys[..order.len()];
            for (key, &i) in keys.iter_mut().zip(&*order) {
                let n = graph.edges(i as usize).len().min(0xff_ffff) as u64;
                *key = u64::from(species_of[i as usize]) << 56 | n << 32 | u64::from(i);
            }
            keys.sort_unstable();
            order.iter_mut().zip(keys).for_each(|(i, key)| *i = *key as u32);
            entries.clear();
            let mut at = 0;
            while at < order.len() {
                let species = species_of[order[at] as usize];
                let same = order[at..].iter().take(lanes).take_while(|&&i| species_of[i as usize] == species);
                let len = same.count();
                entries.push(Entry { species, start: (w * WINDOW + at) as u32, len: len as u32 });
                at += len;
            }
        });
        self.entries.clear();
        for window in &self.windows[..n_windows] {
            self.entries.extend_from_slice(window);
        }
    }

    pub fn centres(&self, entry: Entry) -> &[u32] {
        &self.order[entry.start as usize..][..entry.len as usize]
    }

    /// Runs `f` on fixed groups of consecutive blocks, the grain of parallel work, as [`parallel::for_each_init`].
    pub fn for_tasks<S>(&self, init: impl Fn() -> S + Sync, f: impl Fn(&mut S, Range<usize>) + Sync) {
        let n = self.entries.len();
        // Small systems are spread thinly, large ones in pieces that make stealing cheap.
        let grain = (n / 1024).clamp(1, 8);
        parallel::for_each_init(n.div_ceil(grain), init, |state, t| f(state, t * grain..((t + 1) * grain).min(n)));
    }
}
