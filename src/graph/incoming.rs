//! The transposed graph: which edges end in an atom.

use super::{Graph, Shared, resize};
use crate::parallel;

/// Below this many edges a thread a single one is faster.
const EDGES_PER_THREAD: usize = 1 << 15;

/// Fills `incoming_first` and `incoming` by a counting sort. Each part (a range of edges) has its own
/// row of counters, so that the order is the same for any number of parts.
pub(super) fn transpose(graph: &mut Graph, n_atoms: usize, counts: &mut Vec<u32>) {
    let n_edges = graph.neighbour.len();
    let parts = parallel::n_threads().min(n_edges / EDGES_PER_THREAD).max(1);
    let range = |p: usize| p * n_edges / parts..(p + 1) * n_edges / parts;
    counts.clear();
    resize(counts, parts * n_atoms, 0);
    resize(&mut graph.incoming, n_edges, 0);
    resize(&mut graph.incoming_first, n_atoms + 1, 0);

    let neighbour = &graph.neighbour;
    let each = |p: usize, counts: &mut [u32]| neighbour[range(p)].iter().for_each(|&j| counts[j as usize] += 1);
    over_parts(counts, n_atoms, each);

    let mut next = 0;
    for j in 0..n_atoms {
        graph.incoming_first[j] = next;
        for p in 0..parts {
            let n = std::mem::replace(&mut counts[p * n_atoms + j], next);
            next += n;
        }
    }
    graph.incoming_first[n_atoms] = next;

    let incoming = Shared::new(&mut graph.incoming);
    over_parts(counts, n_atoms, |p, next| {
        for e in range(p) {
            let slot = &mut next[neighbour[e] as usize];
            // SAFETY: the counters of all parts hand out each slot once.
            unsafe { incoming.slice(*slot as usize..*slot as usize + 1)[0] = e as u32 };
            *slot += 1;
        }
    });
}

fn over_parts(counts: &mut [u32], n_atoms: usize, f: impl Fn(usize, &mut [u32]) + Sync) {
    parallel::for_chunks_mut(counts, n_atoms.max(1), f);
}
