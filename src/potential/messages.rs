//! What potentials that pass messages have in common on all devices: conditions of a call, and sums over edges, of which those of
//! ghosts have gradients, too.

use super::{Conditions, Virial};
use crate::graph::Graph;
use crate::mace::Network;
use crate::mace::network::Property;
use crate::parallel;
use crate::{Error, Result};

/// The index of the head that is asked for.
///
/// # Errors
/// A head that the model does not have.
pub(crate) fn head(network: &Network, conditions: &Conditions) -> Result<usize> {
    let Some(name) = &conditions.head else { return Ok(0) };
    let heads = &network.heads;
    let head = heads.iter().position(|h| h == name);
    head.ok_or_else(|| Error::Argument(format!("head `{name}`: the model has {}", heads.join(", "))))
}

/// The values of what the model embeds. What nobody has said is neutral and of spin multiplicity 1.
pub(crate) fn properties(network: &Network, conditions: &Conditions) -> Result<Vec<i64>> {
    let value = |p: &Property| match p.name.as_str() {
        "total_charge" => Ok(conditions.total_charge.unwrap_or(0)),
        "total_spin" => Ok(conditions.total_spin.unwrap_or(1)),
        other => Err(Error::Model(format!("MACE: the embedding of `{other}` is not covered"))),
    };
    network.extra.iter().flat_map(|e| &e.properties).map(value).collect()
}

/// How many atoms a thread takes at a time.
const CHUNK: usize = 256;

/// The edges that start, and those that end, in an atom. Unlike those of site models, edges of ghosts have gradients as well.
fn edges_of(graph: &Graph, i: usize) -> (std::ops::Range<usize>, impl Iterator<Item = usize>) {
    let own = if i < graph.n_centres() { graph.edges(i) } else { 0..0 };
    let ends = graph.incoming_first()[i] as usize..graph.incoming_first()[i + 1] as usize;
    (own, graph.incoming()[ends].iter().map(|&e| e as usize))
}

/// `F_i = Σ_(i→j) g − Σ_(j→i) g`.
pub(crate) fn assemble(graph: &Graph, gradients: &[[f64; 3]], forces: &mut [[f64; 3]]) {
    parallel::for_chunks_mut(forces, CHUNK, |c, forces| {
        for (force, i) in forces.iter_mut().zip(c * CHUNK..) {
            let (own, incoming) = edges_of(graph, i);
            *force = [0.0; 3];
            own.for_each(|e| (0..3).for_each(|d| force[d] += gradients[e][d]));
            incoming.for_each(|e| (0..3).for_each(|d| force[d] -= gradients[e][d]));
        }
    });
}

/// `−Σ g ⊗ r / 2` over the edges that start or end at each atom.
pub(crate) fn site_virials(graph: &Graph, gradients: &[[f64; 3]], virials: &mut [Virial]) {
    let vectors = graph.vectors();
    parallel::for_chunks_mut(virials, CHUNK, |c, virials| {
        for (virial, i) in virials.iter_mut().zip(c * CHUNK..) {
            let (own, incoming) = edges_of(graph, i);
            *virial = Virial::default();
            own.chain(incoming).for_each(|e| add(virial, 0.5, gradients[e], vectors[e]));
        }
    });
}

/// `−Σ g ⊗ r`, chunk by chunk in their order.
pub(crate) fn virial(vectors: &[[f64; 3]], gradients: &[[f64; 3]]) -> Virial {
    let mut sums = vec![Virial::default(); gradients.len().div_ceil(CHUNK * 16)];
    parallel::for_each_mut(&mut sums, |c, sum| {
        let part = c * CHUNK * 16..gradients.len().min((c + 1) * CHUNK * 16);
        part.for_each(|e| add(sum, 1.0, gradients[e], vectors[e]));
    });
    let mut total = Virial::default();
    sums.iter().for_each(|s| (0..9).for_each(|k| total[k / 3][k % 3] += s[k / 3][k % 3]));
    total
}

fn add(virial: &mut Virial, share: f64, g: [f64; 3], r: [f64; 3]) {
    for a in 0..3 {
        (0..3).for_each(|b| virial[a][b] -= share * g[a] * r[b]);
    }
}
