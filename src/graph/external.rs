//! Lists made elsewhere, with ghost atoms.

use super::{EDGE_BYTES, Graph, incoming};
use crate::memory;
use crate::{Error, Result};

/// The list of a simulation engine: atoms `0..n_owned` have energies, `0..n_centres` rows of edges, and those from
/// there on are ghosts. See [`Graph`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Edges<'a> {
    /// Å: the list has all edges of every centre up to it.
    pub cutoff: f64,
    pub n_owned: usize,
    pub n_centres: usize,
    pub n_atoms: usize,
    /// (n_centres + 1): the edges of centre `i` are `first[i]..first[i+1]`.
    pub first: &'a [u32],
    /// (n_edges), below `n_atoms`.
    pub neighbour: &'a [u32],
    /// In cell vectors, (n_edges, 3), or empty, where ghosts stand where they are.
    pub shift: &'a [[i16; 3]],
}

impl Graph {
    /// A graph of the caller's edges and their vectors (n_edges, 3), from centre to neighbour, Å. Edges stay in their order.
    ///
    /// # Errors
    /// [`Error::Graph`] for a cutoff that is negative or not finite, offsets that do not rise from 0 to n_edges, indices out of range,
    /// vectors shorter than 1e-10 Å or not finite. The message names the centre or the edge.
    pub fn from_edges(edges: &Edges, vectors: &[[f64; 3]]) -> Result<Graph> {
        let mut graph = Graph::default();
        graph.set_edges(edges, |graph| {
            if vectors.len() != graph.n_edges() {
                let message = format!("{} vectors for {} neighbours", vectors.len(), graph.n_edges());
                return Err(Error::Graph(message));
            }
            copy(graph.vectors.renew(), vectors);
            graph.check_vectors()
        })?;
        Ok(graph)
    }

    /// A graph of the caller's edges from positions (n_atoms, 3), Å, and the rows of a cell, which only edges with shifts need.
    ///
    /// # Errors
    /// As [`Graph::from_edges`].
    pub fn from_positions(edges: &Edges, positions: &[[f64; 3]], cell: &[[f64; 3]; 3]) -> Result<Graph> {
        let mut graph = Graph::default();
        graph.replace_edges(edges, positions, cell)?;
        Ok(graph)
    }

    /// [`Graph::from_positions`] into the memory of this graph.
    ///
    /// # Errors
    /// As [`Graph::from_edges`]; the graph has no atoms then.
    pub fn replace_edges(&mut self, edges: &Edges, positions: &[[f64; 3]], cell: &[[f64; 3]; 3]) -> Result<()> {
        self.set_edges(edges, |graph| graph.update_positions(positions, cell))
    }

    /// Takes over the edges; `fill` sets the vectors.
    fn set_edges(&mut self, edges: &Edges, fill: impl FnOnce(&mut Graph) -> Result<()>) -> Result<()> {
        let result = memory::caught(|| {
            edges.check()?;
            let &Edges { cutoff, n_owned, n_atoms, .. } = edges;
            (self.cutoff, self.n_owned) = (cutoff, n_owned);
            copy(&mut self.first, edges.first);
            copy(&mut self.neighbour, edges.neighbour);
            copy(&mut self.shift, edges.shift);
            self.vectors.renew();
            incoming::transpose(self, n_atoms, &mut Vec::new());
            self.reissue();
            fill(self)
        });
        if result.is_err() {
            *self = Graph::isolated(0);
        }
        result
    }
}

fn copy<T: Copy>(to: &mut Vec<T>, from: &[T]) {
    to.clear();
    memory::reserve(to, from.len());
    to.extend_from_slice(from);
}

impl Edges<'_> {
    fn check(&self) -> Result<()> {
        let &Edges { cutoff, n_owned, n_centres, n_atoms, first, neighbour, shift } = self;
        let fail = |message| Err(Error::Graph(message));
        if !(cutoff >= 0.0 && cutoff.is_finite()) {
            return fail(format!("cutoff {cutoff} Å is negative or not finite"));
        }
        if n_owned > n_centres {
            return fail(format!("{n_owned} owned atoms among {n_centres} centres"));
        }
        if n_centres > n_atoms || n_atoms > i32::MAX as usize {
            return fail(format!("{n_centres} centres among {n_atoms} atoms"));
        }
        if n_centres.checked_add(1) != Some(first.len()) {
            return fail(format!("{} offsets for {n_centres} centres, expected {}", first.len(), n_centres + 1));
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
        if !(shift.is_empty() || shift.len() == neighbour.len()) {
            return fail(format!("{} shifts for {} neighbours", shift.len(), neighbour.len()));
        }
        if let Some(e) = neighbour.iter().position(|&j| j as usize >= n_atoms) {
            return fail(format!("edge {e}: neighbour {} of {n_atoms} atoms", neighbour[e]));
        }
        memory::check((neighbour.len() * EDGE_BYTES) as f64, || format!("a graph of {} edges", neighbour.len()))
    }
}
