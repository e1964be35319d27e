//! What is done atom by atom around the layers: which atoms need edges, sums by neighbour, the pair term, features for the caller.

use super::convolve::Convolution;
use super::{Cpu, Evaluate};
use crate::graph::Graph;
use crate::parallel::{self, Disjoint};
use crate::simd::{Lanes, Real, as_reals};
use crate::{Error, Result};
use std::ops::Range;

/// # Errors
/// [`Error::Graph`] for an atom without edges among those whose features reach an owned atom.
pub fn complete(graph: &Graph, n_owned: usize, n_layers: usize) -> Result<()> {
    let (n_centres, n_atoms) = (graph.n_centres(), graph.n_atoms());
    if n_centres == n_atoms {
        return Ok(());
    }
    let mut reached = vec![false; n_atoms];
    let mut front: Vec<usize> = (0..n_owned).collect();
    for _ in 1..n_layers {
        let mut next = Vec::new();
        for e in front.iter().flat_map(|&i| graph.edges(i)) {
            let j = graph.neighbours()[e] as usize;
            if j >= n_centres {
                return Err(Error::Graph(format!(
                    "atom {j} has no edges, but a model of {n_layers} layers needs those of all atoms within {} edges of an owned one",
                    n_layers - 1
                )));
            }
            if j >= n_owned && !std::mem::replace(&mut reached[j], true) {
                next.push(j);
            }
        }
        front = next;
    }
    Ok(())
}

/// Adds the gradients of the edges of a chunk, as [`super::convolve::EdgeRows`] has them, to the rows of the atoms that they end in, in the
/// order of the edges.
pub(super) fn collect<V: Lanes>(graph: &Graph, chunk: Range<usize>, bars: &[V], conv: &Convolution<V>, to: &mut [V]) {
    let (stride, n_x, ends) = (conv.stride(), conv.n_x, graph.incoming_first());
    parallel::for_chunks_mut(to, stride * 64, |c, rows| {
        for block in 0..conv.n_blocks {
            let bars = &bars[block * chunk.len() * n_x..][..chunk.len() * n_x];
            for (k, row) in rows.chunks_mut(stride).enumerate() {
                let (j, row) = (c * 64 + k, &mut row[block * n_x..][..n_x]);
                let incoming = &graph.incoming()[ends[j] as usize..ends[j + 1] as usize];
                let start = incoming.partition_point(|&e| (e as usize) < chunk.start);
                for &e in incoming[start..].iter().take_while(|&&e| (e as usize) < chunk.end) {
                    let bar = &bars[(e as usize - chunk.start) * n_x..][..n_x];
                    row.iter_mut().zip(bar).for_each(|(r, b)| *r = *r + *b);
                }
            }
        }
    });
}

impl<V: Lanes> Cpu<V> {
    /// The pair term: adds it to the energies, before the scale, and its gradient times the scale to those of the edges.
    pub(super) fn repulsion(
        &self,
        graph: &Graph,
        species_of: &[u32],
        n_owned: usize,
        energies: &mut [f64],
        gradients: Option<(&mut [[f64; 3]], f64)>,
    ) {
        let Some(zbl) = &self.network.zbl else { return };
        let vectors = graph.vectors();
        let (gradients, scale) = gradients.map_or((None, 0.0), |(g, s)| (Some(Disjoint::new(g)), s));
        parallel::for_each_mut(&mut energies[..n_owned], |i, energy| {
            for e in graph.edges(i) {
                let r = vectors[e];
                let length = (r[0] * r[0] + r[1] * r[1] + r[2] * r[2]).sqrt();
                let [p, slope] =
                    zbl.pair(species_of[i] as usize, species_of[graph.neighbours()[e] as usize] as usize, length);
                *energy += p;
                if let Some(g) = &gradients {
                    // SAFETY: an edge belongs to one atom.
                    let g = unsafe { g.entry(e) };
                    (0..3).for_each(|d| g[d] += scale * slope * r[d] / length);
                }
            }
        });
    }

    /// Features (atoms, all layers), within a layer block by block, channels slowest.
    pub(super) fn write_features(&self, n: usize, layers: &[&[V]], invariant: bool, to: &mut [f64]) {
        let total = self.n_features(invariant);
        for (i, row) in to.chunks_mut(total).take(n).enumerate() {
            let mut row = row.iter_mut();
            for (step, (layer, x)) in self.steps.iter().zip(self.network.layers.iter().zip(layers)) {
                let shape = &layer.linear.to;
                let x = as_reals(&x[i * step.n_blocks * step.n_next..][..step.n_blocks * step.n_next]);
                for (&l, offset) in shape.ls.iter().zip(shape.offsets()).take(if invariant { 1 } else { usize::MAX }) {
                    for (u, m) in (0..shape.k).flat_map(|u| (0..2 * l + 1).map(move |m| (u, m))) {
                        let at = (u / V::N * step.n_next + offset + m) * V::N + u % V::N;
                        *row.next().expect("as many as counted") = x[at].to_f64();
                    }
                }
            }
        }
    }
}
