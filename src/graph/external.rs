//! Lists made elsewhere, with ghost atoms.

use super::{Graph, incoming};
use crate::{Error, Result};

impl Graph {
    /// A list of a simulation engine: centres `0..n_centres`, neighbours below `n_atoms`, where those from
    /// `n_centres` on are ghosts. `first` (n_centres + 1), `neighbour` (n_edges), `r` (n_edges, 3) in Å
    /// as in [`Graph`]; `shift` stays empty, since ghosts stand where they are.
    ///
    /// # Errors
    /// Offsets that do not rise from 0 to n_edges, indices out of range, vectors that are zero or not
    /// finite. The message names the centre or the edge.
    pub fn from_edges(
        n_centres: usize,
        n_atoms: usize,
        first: &[u32],
        neighbour: &[u32],
        r: &[[f64; 3]],
    ) -> Result<Graph> {
        let fail = |message| Err(Error::Graph(message));
        if n_centres > n_atoms || n_atoms > u32::MAX as usize {
            return fail(format!("{n_centres} centres among {n_atoms} atoms"));
        }
        if first.len() != n_centres + 1 {
            return fail(format!("{} offsets for {n_centres} centres, expected {}", first.len(), n_centres + 1));
        }
        if r.len() != neighbour.len() {
            return fail(format!("{} vectors for {} neighbours", r.len(), neighbour.len()));
        }
        if first[0] != 0 {
            return fail(format!("the first offset is {}, not 0", first[0]));
        }
        if let Some(i) = (0..n_centres).find(|&i| first[i] > first[i + 1]) {
            return fail(format!("centre {i}: offsets {} and {} decrease", first[i], first[i + 1]));
        }
        if first[n_centres] as usize != neighbour.len() {
            return fail(format!("the last offset is {} for {} edges", first[n_centres], neighbour.len()));
        }
        if let Some(e) = neighbour.iter().position(|&j| j as usize >= n_atoms) {
            return fail(format!("edge {e}: neighbour {} of {n_atoms} atoms", neighbour[e]));
        }
        let length2 = |r: &[f64; 3]| r[0] * r[0] + r[1] * r[1] + r[2] * r[2];
        if let Some(e) = r.iter().position(|r| !(length2(r) > 0.0 && length2(r).is_finite())) {
            return fail(format!("edge {e}: vector {:?} is zero or not finite", r[e]));
        }
        let mut graph =
            Graph { first: first.to_vec(), neighbour: neighbour.to_vec(), r: r.to_vec(), ..Graph::default() };
        incoming::transpose(&mut graph, n_atoms, &mut Vec::new());
        Ok(graph)
    }
}
