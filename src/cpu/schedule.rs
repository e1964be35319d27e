//! Which centres are evaluated side by side.
//!
//! Inside a window of consecutive atoms, centres of one species with about as many edges share a block,
//! so that few lanes are padded; where slots are of one species each, with about as many edges to each. The result depends on the graph alone, not on the number of threads;
//! and what a centre computes does not depend on the block it is in.

use crate::graph::Graph;
use crate::memory::at_least;
use crate::parallel::{self, Disjoint};
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
    /// Edges of the centre that has most.
    pub most_edges: usize,
}

impl Schedule {
    /// Blocks of up to `lanes` centres for all owned atoms of the graph, for slots of one species each or not.
    pub fn fill(&mut self, graph: &Graph, species_of: &[u32], lanes: usize, by_species: bool) {
        let n = graph.n_owned();
        self.most_edges = graph.first()[..n + 1].windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0) as usize;
        at_least(&mut self.order, n, 0);
        let n_windows = n.div_ceil(WINDOW);
        // Never shorter, so that every window keeps its memory.
        self.windows.resize_with(n_windows.max(self.windows.len()), Vec::new);
        let order = Disjoint::new(&mut self.order);
        parallel::for_each_mut(&mut self.windows[..n_windows], |w, entries| {
            let atoms = w * WINDOW..n.min((w + 1) * WINDOW);
            // SAFETY: windows do not overlap.
            let order = unsafe { order.slice(atoms.start, atoms.len()) };
            // Species (at most 255), numbers of edges, atom as one number, which sorts faster than what it stands for.
            let mut keys = [0u64; WINDOW];
            let keys = &mut keys[..order.len()];
            for (key, i) in keys.iter_mut().zip(atoms) {
                let n = match by_species {
                    true => edges_by_species(&graph.neighbours()[graph.edges(i)], species_of),
                    false => graph.edges(i).len().min(0xff_ffff) as u64,
                };
                *key = u64::from(species_of[i]) << 56 | n << 32 | i as u64;
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

    /// How many blocks a task has, the grain of parallel work. Small systems are spread thinly, large ones in pieces that keep
    /// the cost of sharing low.
    fn grain(&self) -> usize {
        (self.entries.len() / 1024).clamp(1, 8)
    }

    pub fn n_tasks(&self) -> usize {
        self.entries.len().div_ceil(self.grain())
    }

    /// Runs `f` on every task with its blocks, as [`parallel::for_each_init`]. The graph alone fixes which blocks share a task.
    pub fn for_tasks<S>(&self, init: impl Fn() -> S + Sync, f: impl Fn(&mut S, usize, Range<usize>) + Sync) {
        let (n, grain) = (self.entries.len(), self.grain());
        parallel::for_each_init(self.n_tasks(), init, |state, t| f(state, t, t * grain..n.min((t + 1) * grain)));
    }
}

/// Neighbours of each of the first three species, up to 255, in 24 bits.
fn edges_by_species(neighbours: &[u32], species_of: &[u32]) -> u64 {
    const STEP: [u64; 4] = [1 << 42, 1 << 21, 1, 0];
    let counts: u64 = neighbours.iter().map(|&j| STEP[species_of[j as usize].min(3) as usize]).sum();
    [42, 21, 0].into_iter().fold(0, |key, shift| key << 8 | (counts >> shift & 0x1f_ffff).min(0xff))
}
