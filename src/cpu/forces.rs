//! From edge gradients to forces and virial.

use crate::graph::Graph;
use crate::parallel::{self, Disjoint, prefetch};
use crate::simd::{Lanes, MAX_LANES, Real};
use crate::stage::block::{Block, NONE};

/// Writes the gradients of a block to its edges, or adds them; adds `Σ g ⊗ r` to `virial`, and the gradients of each centre
/// to its lane of `sums`. Lanes without an edge have no gradient.
#[inline(always)]
pub fn scatter_slots<V: Lanes, const ADD: bool>(
    block: &Block<V>,
    gradient: &[[V; 3]],
    (at, edges): (usize, Disjoint<[V::Real; 3]>),
    virial: &mut [f64; 9],
    sums: &mut [[f64; MAX_LANES]; 3],
) {
    let mut sum = [V::zero(); 9];
    for (s, g) in gradient.iter().enumerate() {
        let r = [block.x[s], block.y[s], block.z[s]];
        for a in 0..3 {
            for b in 0..3 {
                sum[3 * a + b] = g[a].mul_add(r[b], sum[3 * a + b]);
            }
        }
        let [x, y, z] = g.map(V::to_array);
        for (sums, x) in sums.iter_mut().zip([&x, &y, &z]) {
            for lane in 0..V::N {
                sums[lane] += x[lane].to_f64();
            }
        }
        for (lane, &e) in block.edges(s).iter().enumerate() {
            if e != NONE {
                // SAFETY: an edge belongs to one block.
                let g = unsafe { edges.entry(at + e as usize) };
                let new = [x[lane], y[lane], z[lane]];
                *g = if ADD { [g[0] + new[0], g[1] + new[1], g[2] + new[2]] } else { new };
            }
        }
    }
    for (v, s) in virial.iter_mut().zip(sum) {
        *v += s.to_array()[..V::N].iter().map(|x| x.to_f64()).sum::<f64>();
    }
}

/// Gradients of incoming edges are prefetched so many edges in advance.
const PREFETCH: usize = 128;
/// How many atoms a thread takes at a time.
const CHUNK: usize = 256;

/// `F_i −= Σ_(j→i) g`, in double precision and an order that the graph fixes. Centres have the sum of their own edges already.
pub fn subtract_incoming<T: Real>(graph: &Graph, gradients: &[[T; 3]], forces: &mut [[f64; 3]]) {
    let subtract = |i: usize, force: &mut [f64; 3]| {
        let mut sum = if i < graph.n_owned() { *force } else { [0.0; 3] };
        let incoming = graph.incoming_of(i);
        // Edges that end here lie anywhere: ask for those of a later atom.
        let next = incoming.start + PREFETCH..incoming.end + PREFETCH;
        for &e in graph.incoming().get(next).unwrap_or(&[]) {
            prefetch(gradients, e as usize..e as usize + 1);
        }
        for &e in &graph.incoming()[incoming] {
            (0..3).for_each(|a| sum[a] -= gradients[e as usize][a].to_f64());
        }
        *force = sum;
    };
    parallel::for_chunks_mut(forces, CHUNK, |c, forces| {
        forces.iter_mut().zip(c * CHUNK..).for_each(|(force, i)| subtract(i, force));
    });
}
