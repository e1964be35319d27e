//! The transposed graph: which edges end in an atom.

use super::{CHUNK, Graph, chunk};
use crate::memory::resize;
use crate::parallel::{self, Disjoint};

/// Below this many edges a thread a single one is faster.
const EDGES_PER_THREAD: usize = 1 << 15;

/// Fills `incoming_first` and `incoming` by a counting sort. Each part (a range of edges) has its own
/// row of counters, so that the order is the same for any number of parts.
pub(super) fn transpose(graph: &mut Graph, n_atoms: usize, counts: &mut Vec<u32>) {
    let n_edges = graph.neighbour.len();
    let parts = parallel::n_threads().min(n_edges / EDGES_PER_THREAD).max(1);
    let range = |p: usize| p * n_edges / parts..(p + 1) * n_edges / parts;
    resize(counts, parts * n_atoms, 0);
    resize(&mut graph.incoming, n_edges, 0);
    resize(&mut graph.incoming_first, n_atoms + 1, 0);

    let neighbour = &graph.neighbour;
    over_parts(counts, n_atoms, |p, counts| {
        counts.fill(0);
        neighbour[range(p)].iter().for_each(|&j| counts[j as usize] += 1);
    });
    graph.incoming_first[n_atoms] = n_edges as u32;
    hand_out(counts, &mut graph.incoming_first[..n_atoms]);

    let incoming = Disjoint::new(&mut graph.incoming);
    over_parts(counts, n_atoms, |p, next| {
        for e in range(p) {
            let slot = &mut next[neighbour[e] as usize];
            // SAFETY: the counters of all parts hand out each slot once.
            unsafe { *incoming.entry(*slot as usize) = e as u32 };
            *slot += 1;
        }
    });
}

/// Turns numbers of edges, (n_parts, n_atoms), into the place of the first one: by atom, and by part within an atom.
fn hand_out(counts: &mut [u32], first: &mut [u32]) {
    let (n, n_atoms) = (counts.len(), first.len());
    let counts = Disjoint::new(counts);
    // SAFETY: an atom belongs to one chunk.
    let each = |j: usize| (j..n).step_by(n_atoms).map(|k| unsafe { counts.entry(k) });
    let mut starts: Vec<u32> = vec![0; n_atoms.div_ceil(CHUNK)];
    parallel::for_each_mut(&mut starts, |c, sum| {
        *sum = chunk(c, n_atoms).map(|j| each(j).map(|n| *n).sum::<u32>()).sum();
    });
    let mut next = 0;
    for start in &mut starts {
        next += std::mem::replace(start, next);
    }
    parallel::for_chunks_mut(first, CHUNK, |c, first| {
        let mut next = starts[c];
        for (first, j) in first.iter_mut().zip(chunk(c, n_atoms)) {
            *first = next;
            each(j).for_each(|n| next += std::mem::replace(n, next));
        }
    });
}

fn over_parts(counts: &mut [u32], n_atoms: usize, f: impl Fn(usize, &mut [u32]) + Sync) {
    parallel::for_chunks_mut(counts, n_atoms.max(1), f);
}
