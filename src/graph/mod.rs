//! The neighbour graph: directed edges `i → j` in compressed rows.
//!
//! Atoms are sorted into the cells of a grid over the most compact basis of the lattice (`lattice`, `cells`).
//! Per cell the atoms near its own ones are gathered into small contiguous tiles (`tile`), which each centre is
//! then tested against: once to count its edges, once to write them to their final place (`search`).

mod cells;
mod external;
mod incoming;
pub(crate) mod lattice;
mod list;
mod search;
mod select;
mod tile;

pub use list::NeighbourList;

use crate::parallel::{self, Disjoint};
use crate::simd::Isa;
use crate::structure::Structure;
use crate::{Error, Result};
use search::Workspace;

/// Atoms closer than this (Å) occupy the same place, which is an error.
const COINCIDENT: f64 = 1e-10;

/// Edges sorted by centre: those of centre `i` are `first[i]..first[i+1]`.
///
/// Within a centre the order is fixed by the structure and the cutoff alone: neither the number
/// of threads nor the instruction set changes it. It follows the grid of the search, not the indices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// Offsets, (n_centres + 1).
    pub first: Vec<u32>,
    /// Neighbour of each edge, (n_edges), an index below `n_atoms`.
    pub neighbour: Vec<u32>,
    /// `x_j + shift·cell − x_i` of each edge, (n_edges, 3), Å.
    pub r: Vec<[f64; 3]>,
    /// Cell shift of each edge, (n_edges, 3); empty for a list with ghost atoms.
    pub shift: Vec<[i16; 3]>,
    /// Incoming edges in compressed columns: those that end in atom `j` are
    /// `incoming[incoming_first[j]..incoming_first[j+1]]`, ascending.
    pub incoming_first: Vec<u32>,
    pub incoming: Vec<u32>,
}

impl Graph {
    /// All edges with `0 < r ≤ rcut` (Å): also those of an atom to its own periodic images.
    /// An edge `i → j` with shift `s` always comes with the edge `j → i` with shift `−s`.
    /// The work is shared among the threads of rayon's current pool.
    ///
    /// # Errors
    /// [`Structure::validate`]; a cutoff that is not positive and finite; two atoms in one place;
    /// shifts beyond 16 bits; more than `u32::MAX` edges.
    pub fn build(structure: &Structure, rcut: f64) -> Result<Graph> {
        let mut graph = Graph::default();
        graph.rebuild(structure, rcut, &mut Workspace::default())?;
        Ok(graph)
    }

    /// The graph of a structure whose atoms do not see each other.
    pub fn isolated(n_atoms: usize) -> Graph {
        Graph { first: vec![0; n_atoms + 1], incoming_first: vec![0; n_atoms + 1], ..Graph::default() }
    }

    /// [`Graph::build`] into the memory of this graph.
    fn rebuild(&mut self, structure: &Structure, rcut: f64, workspace: &mut Workspace) -> Result<()> {
        search::build(self, structure, rcut, workspace, Isa::detect())?;
        incoming::transpose(self, structure.n_atoms(), &mut workspace.counts);
        Ok(())
    }

    /// Number of atoms that have a row of edges.
    pub fn n_centres(&self) -> usize {
        self.first.len().saturating_sub(1)
    }

    /// Number of atoms that edges may end in: centres and ghosts.
    pub fn n_atoms(&self) -> usize {
        self.incoming_first.len().saturating_sub(1)
    }

    pub fn n_edges(&self) -> usize {
        self.neighbour.len()
    }

    /// Edge indices of centre `i`.
    pub fn edges(&self, i: usize) -> std::ops::Range<usize> {
        self.first[i] as usize..self.first[i + 1] as usize
    }

    /// Recomputes `r` from new positions (and cell) with the edges as they are. Allocates nothing.
    ///
    /// # Errors
    /// The structure must have as many atoms as the graph.
    pub fn update_vectors(&mut self, structure: &Structure) -> Result<()> {
        let (n_atoms, n_centres) = (self.n_atoms(), self.n_centres());
        if structure.n_atoms() != n_atoms {
            return Err(Error::Graph(format!("{} positions for a graph of {n_atoms} atoms", structure.n_atoms())));
        }
        let (x, cell) = (&structure.positions, &structure.cell);
        let (first, neighbour, shift) = (&self.first, &self.neighbour, &self.shift);
        let rows = Disjoint::new(&mut self.r);
        for_chunks(n_centres, |centres| {
            // Edges with the same shift follow one another.
            let (mut s, mut t) = ([0; 3], [0.0; 3]);
            for i in centres {
                let row = first[i] as usize..first[i + 1] as usize;
                // SAFETY: rows of different centres do not overlap.
                let r = unsafe { rows.slice(row.start, row.len()) };
                let shifts = shift.get(row.clone()).unwrap_or(&[]);
                let a = x[i];
                for (e, (r, &j)) in r.iter_mut().zip(&neighbour[row]).enumerate() {
                    if let Some(&shift) = shifts.get(e)
                        && shift != s
                    {
                        (s, t) = (shift, lattice::combine(shift.map(f64::from), cell));
                    }
                    let b = x[j as usize];
                    *r = [b[0] - a[0] + t[0], b[1] - a[1] + t[1], b[2] - a[2] + t[2]];
                }
            }
        });
        Ok(())
    }
}

/// Runs `f` over `0..n` in chunks that threads share; small ranges stay on this one.
fn for_chunks(n: usize, f: impl Fn(std::ops::Range<usize>) + Sync) {
    if n <= CHUNK || parallel::n_threads() == 1 {
        return f(0..n);
    }
    parallel::for_each_init(n.div_ceil(CHUNK), || (), |(), c| f(chunk(c, n)));
}

const CHUNK: usize = 512;

/// Chunk `c` of `0..n`.
fn chunk(c: usize, n: usize) -> std::ops::Range<usize> {
    c * CHUNK..n.min((c + 1) * CHUNK)
}

/// Sets the length, keeping memory where it suffices. The contents are left over or `zero`.
#[inline(always)]
fn resize<T: Clone>(v: &mut Vec<T>, n: usize, zero: T) {
    if n > v.capacity() {
        // Zeros come from the allocator without being written.
        *v = vec![zero; n];
    } else {
        v.resize(n, zero);
    }
}
