//! Virials of atoms.

use super::Virial;
use crate::graph::Graph;
use crate::parallel;
use crate::simd::Real;

/// How many atoms a thread takes at a time.
const CHUNK: usize = 256;

/// `−Σ g ⊗ r / 2` over the edges that start or end at each atom, in an order that the graph fixes.
pub(crate) fn site_virials<T: Real>(graph: &Graph, gradients: &[[T; 3]], virials: &mut [Virial]) {
    let vectors = graph.vectors();
    parallel::for_chunks_mut(virials, CHUNK, |c, virials| {
        for (virial, i) in virials.iter_mut().zip(c * CHUNK..) {
            *virial = [[0.0; 3]; 3];
            let own = if i < graph.n_owned() { graph.edges(i) } else { 0..0 };
            for e in own.chain(graph.incoming()[graph.incoming_of(i)].iter().map(|&e| e as usize)) {
                let (g, r) = (gradients[e].map(Real::to_f64), vectors[e]);
                for a in 0..3 {
                    (0..3).for_each(|b| virial[a][b] -= 0.5 * g[a] * r[b]);
                }
            }
        }
    });
}
