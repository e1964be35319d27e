//! The neighbour graph: directed edges `i → j` in compressed rows.
//!
//! Atoms are sorted into the cells of a grid over the most compact basis of the lattice (`lattice`, `cells`).
//! Per cell the atoms near its own ones are gathered, sorted, into small contiguous tiles (`tile`), which each centre is
//! then tested against; what was found is put in its final place (`search`).

mod cells;
#[cfg(feature = "cuda")]
mod domains;
mod exchange;
mod external;
mod incoming;
mod joined;
pub(crate) mod lattice;
mod list;
mod neighbours;
mod search;
mod select;
mod tile;
mod vectors;

#[cfg(feature = "cuda")]
pub(crate) use domains::Domain;
pub use exchange::Exchange;
pub use external::Edges;
pub use list::NeighbourList;
#[cfg(feature = "cuda")]
pub(crate) use neighbours::ListOnDevice;
pub(crate) use neighbours::Place;
pub use neighbours::{Neighbours, OnDevice};
#[cfg(feature = "cuda")]
pub(crate) use vectors::Moved;

use crate::memory;
use crate::parallel;
use crate::simd::Isa;
use crate::structure::Structure;
use crate::{Error, Result};
use search::Workspace;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use vectors::Vectors;

/// The longest cutoff of a model, Å.
pub const MAX_CUTOFF: f64 = 100.0;

/// Atoms closer than this (Å) occupy the same place, which is an error.
const COINCIDENT: f64 = 1e-10;

/// Bytes that an edge takes in a graph.
const EDGE_BYTES: usize = 2 * size_of::<u32>() + size_of::<[f64; 3]>() + size_of::<[i16; 3]>();

/// Edges sorted by centre, and within a centre by neighbour; those to several images of one neighbour by image.
///
/// Three kinds of atoms: the *owned* ones come first and have energies; then *centres* that have edges all the same, as
/// messages that owned atoms receive need them; then atoms that edges may end in and nothing else. They are all
/// the same where a graph is made from a structure; an engine that splits space has ghosts. Every centre has all edges
/// up to the [`Graph::cutoff`], and perhaps longer ones, which are passed over.
///
/// Offsets rise, neighbours are atoms, and vectors are finite and not zero, whoever made the graph: kernels rely on it.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    cutoff: f64,
    n_owned: usize,
    first: Vec<u32>,
    neighbour: Vec<u32>,
    vectors: Vectors,
    shift: Vec<[i16; 3]>,
    incoming_first: Vec<u32>,
    incoming: Vec<u32>,
    /// The last update has left vectors that are none.
    broken: bool,
    /// Others for other edges, whatever graph they are of; 0 for none.
    edition: u64,
}

impl PartialEq for Graph {
    /// Equal atoms and edges, to the last bit of their vectors.
    fn eq(&self, other: &Graph) -> bool {
        let whole = |g: &Graph| (g.cutoff, g.n_owned, g.broken);
        whole(self) == whole(other)
            && (&self.first, &self.neighbour, &self.shift) == (&other.first, &other.neighbour, &other.shift)
            && (&self.incoming_first, &self.incoming) == (&other.incoming_first, &other.incoming)
            && self.vectors() == other.vectors()
    }
}

impl Graph {
    /// All edges with `0 < r ≤ cutoff` (Å): also those of an atom to its own periodic images.
    /// An edge `i → j` with shift `s` always comes with the edge `j → i` with shift `−s`.
    /// The work is shared among the threads of rayon's current pool.
    ///
    /// # Errors
    /// [`Structure::validate`]; a cutoff that is not positive and finite; two atoms in one place;
    /// shifts beyond 16 bits; more than `u32::MAX` edges; [`Error::Memory`] for more edges than memory allows.
    pub fn build(structure: &Structure, cutoff: f64) -> Result<Graph> {
        let mut graph = Graph::default();
        graph.rebuild(structure, (cutoff, 0.0), &mut Workspace::default())?;
        Ok(graph)
    }

    /// The graph of a structure whose atoms do not see each other.
    pub fn isolated(n_atoms: usize) -> Graph {
        let none = vec![0; n_atoms + 1];
        Graph { n_owned: n_atoms, first: none.clone(), incoming_first: none, ..Graph::default() }
    }

    /// The same for the same edges, wherever atoms are; 0 for none.
    #[cfg(feature = "cuda")]
    pub(crate) fn edition(&self) -> u64 {
        self.edition
    }

    /// The edges are others from now on.
    fn reissue(&mut self) {
        static LAST: AtomicU64 = AtomicU64::new(0);
        self.edition = LAST.fetch_add(1, Relaxed) + 1;
    }

    /// [`Graph::build`] into the memory of this graph, with edges up to cutoff and skin.
    fn rebuild(&mut self, structure: &Structure, (cutoff, skin): (f64, f64), workspace: &mut Workspace) -> Result<()> {
        memory::caught(|| {
            search::build(self, structure, cutoff + skin, workspace, Isa::detect())?;
            (self.cutoff, self.n_owned, self.broken) = (cutoff, structure.n_atoms(), false);
            incoming::transpose(self, structure.n_atoms(), &mut workspace.counts);
            self.reissue();
            Ok(())
        })
    }

    /// Every centre has all its edges up to this length, Å; 0 where nothing has neighbours.
    pub fn cutoff(&self) -> f64 {
        self.cutoff
    }

    /// Number of atoms that have energies, the first ones.
    pub fn n_owned(&self) -> usize {
        self.n_owned
    }

    /// Number of atoms that have a row of edges, the owned ones among them.
    pub fn n_centres(&self) -> usize {
        self.first.len().saturating_sub(1)
    }

    /// Number of atoms that edges may end in: centres and others.
    pub fn n_atoms(&self) -> usize {
        self.incoming_first.len().saturating_sub(1)
    }

    pub fn n_edges(&self) -> usize {
        self.neighbour.len()
    }

    /// Offsets, (n_centres + 1): the edges of centre `i` are `first[i]..first[i+1]`.
    pub fn first(&self) -> &[u32] {
        &self.first
    }

    /// Neighbour of each edge, (n_edges), an index below `n_atoms`.
    pub fn neighbours(&self) -> &[u32] {
        &self.neighbour
    }

    /// Cell shift of each edge, (n_edges, 3); empty for a list whose ghosts stand where they are.
    pub fn shifts(&self) -> &[[i16; 3]] {
        &self.shift
    }

    /// The edges that end in an atom are those of [`Graph::incoming`] from its offset to the next one, (n_atoms + 1).
    pub fn incoming_first(&self) -> &[u32] {
        &self.incoming_first
    }

    /// Edges by the atom that they end in, ascending for each, (n_edges).
    pub fn incoming(&self) -> &[u32] {
        &self.incoming
    }

    /// Edge indices of centre `i`.
    #[inline(always)]
    pub fn edges(&self, i: usize) -> std::ops::Range<usize> {
        self.first[i] as usize..self.first[i + 1] as usize
    }

    /// Places in [`Graph::incoming`] of the edges that end in an atom.
    #[inline(always)]
    pub(crate) fn incoming_of(&self, atom: usize) -> std::ops::Range<usize> {
        self.incoming_first[atom] as usize..self.incoming_first[atom + 1] as usize
    }

    /// Edges of the owned centres.
    pub(crate) fn n_owned_edges(&self) -> usize {
        self.first.get(self.n_owned).map_or(0, |&n| n as usize)
    }

    /// # Errors
    /// [`Error::Graph`] where it may lack edges of this length (Å), or its last update failed.
    pub(crate) fn check(&self, needed: f64) -> Result<()> {
        if self.broken {
            return Err(Error::Graph("its last update failed".into()));
        }
        if self.cutoff >= needed {
            return Ok(());
        }
        Err(Error::Graph(format!("its cutoff, {} Å, is less than the potential's, {needed} Å", self.cutoff)))
    }
}

/// Atoms to evaluate: their graph and the species index of each.
#[derive(Clone, Copy)]
pub(crate) struct Sites<'a> {
    pub graph: &'a Graph,
    /// (n_atoms), below `n_species`.
    pub species: &'a [u32],
    pub n_species: usize,
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
