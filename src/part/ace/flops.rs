//! What a many-body part asks of the processor: see [`crate::bench::nominal_flops`].

use super::{AceSpec, EmbeddingSpec};
use std::collections::{BTreeSet, HashSet};

/// Operations an edge and a centre.
pub fn many_body(ace: &AceSpec) -> (usize, usize) {
    let products: BTreeSet<u32> = ace.c.cols.iter().copied().collect();
    let factors: Vec<&[u32]> = products.iter().map(|&k| &ace.aa[k as usize][..]).collect();
    let used: BTreeSet<u32> = factors.iter().copied().flatten().copied().collect();
    let radial: HashSet<u32> = used.iter().map(|&v| ace.a[v as usize][0]).collect();
    let lmax = radial.iter().map(|&t| ace.radial.spec[t as usize][1]).max().unwrap_or(0) as usize;
    let (n_r, n_y, n_a) = (radial.len(), (lmax + 1).pow(2), used.len());
    // The products as paths of a tree, which share their beginnings.
    let inner: HashSet<&[u32]> = factors.iter().flat_map(|f| (1..f.len()).map(|n| &f[..n])).collect();
    let leaves = factors.iter().filter(|f| !inner.contains(*f)).count();
    let channels = ace.neighbours.as_ref().map_or(1, |n| n.iter().collect::<HashSet<_>>().len());
    let densities = |e: &EmbeddingSpec| e.species.iter().map(|e| e.densities.len()).max();
    let n_densities = ace.embedding.as_ref().and_then(|e| densities(e)).unwrap_or(1);
    (10 * n_r + 10 * n_y + 6 * n_a / channels.max(1), n_densities * (4 * leaves + 5 * inner.len()))
}
