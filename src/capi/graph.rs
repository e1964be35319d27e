//! Graphs: neighbour lists that outlive a call.

use super::buffer::{self, input, vectors};
use super::evaluate::fill;
use super::handle::Table;
use super::status::{Failure, Result, guard};
use crate::graph::{Edges, Graph};
use crate::shared::{self, SharedGraph, Taken, atomic_numbers};
use crate::structure::Structure;

/// Atoms and their neighbours. Several threads may evaluate on one graph at once; an update waits for them.
#[allow(non_camel_case_types)]
pub struct acerust_graph(());

pub(super) static GRAPHS: Table<SharedGraph> = Table::new("graph");

/// The neighbour graph of a structure: all directed edges i → j with 0 < r ≤ rcut, those to periodic images included, and, with
/// a skin, some that are longer; evaluations pass over these.
///
/// @param n_atoms,numbers,positions,cell,pbc As for `acerust_input`.
/// @param rcut Å, at least that of the plans that will be evaluated; 0 for models without neighbours.
/// @param skin Å. Updates keep the edges while no atom has moved by more than half the skin. 0 for graphs that will not be
/// updated.
/// @param n_threads For building: 0 for all threads of the machine, or as many as the environment variable RAYON_NUM_THREADS says.
/// @param out The graph; to be freed with `acerust_graph_free`.
/// @return `ACERUST_ERROR_STRUCTURE` or `ACERUST_ERROR_GRAPH` for a structure, cutoff or skin that makes no sense.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_graph_build(
    n_atoms: usize,
    numbers: *const i32,
    positions: *const f64,
    cell: *const f64,
    pbc: *const i32,
    rcut: f64,
    skin: f64,
    n_threads: usize,
    out: *mut *mut acerust_graph,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let out = buffer::result("out", out)?;
        let mut structure = Structure::default();
        fill(&mut structure, n_atoms, numbers, positions, cell, pbc)?;
        GRAPHS.insert(SharedGraph::build(structure, rcut, skin, n_threads)?, out);
        Ok(())
    })
}

/// Takes over new positions, or another structure altogether. Builds anew only where an atom has moved by more than half the skin,
/// or atoms, cell or periodicity have changed; else it allocates nothing. Waits until no thread evaluates on the graph.
///
/// @param n_atoms,numbers,positions,cell,pbc As for `acerust_input`.
/// @param rebuilt 1 where the edges are others than before, 0 where they are the same; may be null.
/// @return As `acerust_graph_build`; the graph can then not be evaluated until an update succeeds. A graph made from edges keeps them, and
/// its vectors follow the positions, which must be as many as before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_graph_update(
    graph: *mut acerust_graph,
    n_atoms: usize,
    numbers: *const i32,
    positions: *const f64,
    cell: *const f64,
    pbc: *const i32,
    rebuilt: *mut i32,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let shared = GRAPHS.get(graph)?;
        let rebuilt = if rebuilt.is_null() { None } else { Some(buffer::result("rebuilt", rebuilt)?) };
        let anew = shared.update(|structure| fill(structure, n_atoms, numbers, positions, cell, pbc))?;
        rebuilt.into_iter().for_each(|r| *r = anew.into());
        Ok(())
    })
}

/// A list of the caller, as of a simulation engine. Set `size` to `sizeof(acerust_edges)` and what is not needed to 0.
///
/// Atoms 0 … n_owned − 1 have energies; those up to n_centres − 1 have rows of edges, too; all from there on are ghosts, which only exert
/// and feel forces. Every centre has all its directed edges within the cutoff; longer ones are passed over.
#[allow(non_camel_case_types)]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct acerust_edges {
    /// `sizeof(acerust_edges)`.
    pub size: usize,
    /// Å; at least that of the plans that will be evaluated.
    pub cutoff: f64,
    /// At most n_centres.
    pub n_owned: usize,
    /// At most n_atoms.
    pub n_centres: usize,
    /// Owned atoms, other centres and ghosts.
    pub n_atoms: usize,
    /// (n_atoms) atomic numbers.
    pub numbers: *const i32,
    /// (n_centres + 1) offsets: the edges of centre i are first[i] … first[i + 1] − 1.
    pub first: *const u32,
    /// first[n_centres].
    pub n_edges: usize,
    /// (n_edges) indices below n_atoms.
    pub neighbour: *const u32,
    /// (n_edges, 3), vectors from centre to neighbour, Å; null where `positions` say as much.
    pub r: *const f64,
    /// (n_atoms, 3), Å; null where there are vectors.
    pub positions: *const f64,
    /// For new lists and updates, of the list that a graph is made from: 0 for all threads of the machine, or as many as the environment
    /// variable RAYON_NUM_THREADS says.
    pub n_threads: usize,
}

impl acerust_edges {
    /// What makes a graph of the list, and its atomic numbers.
    ///
    /// # Safety
    /// The promise of the module.
    unsafe fn read<'a>(&self) -> Result<impl FnOnce(&mut Graph, &mut Vec<u8>) -> Result + Send + use<'a>> {
        let &acerust_edges { cutoff, n_owned, n_centres, n_atoms, n_edges, .. } = self;
        let n_first = n_centres.checked_add(1).ok_or_else(|| Failure::argument("n_centres is too large"))?;
        let from_positions = !self.positions.is_null();
        if from_positions && !self.r.is_null() {
            return Err(Failure::argument("r and positions: expected one of them"));
        }
        // SAFETY: arrays as long as the numbers beside them say, by the caller's word.
        let (edges, numbers, given): (_, &'a [i32], &'a [[f64; 3]]) = unsafe {
            let numbers = input("numbers", self.numbers, n_atoms)?;
            let (first, neighbour): (&'a [u32], &'a [u32]) =
                (input("first", self.first, n_first)?, input("neighbour", self.neighbour, n_edges)?);
            let given = match from_positions {
                true => vectors("positions", self.positions, n_atoms)?,
                false => vectors("r", self.r, n_edges)?,
            };
            (Edges { cutoff, n_owned, n_centres, n_atoms, first, neighbour, shift: &[] }, numbers, given)
        };
        Ok(move |graph: &mut Graph, found: &mut Vec<u8>| {
            atomic_numbers(found, numbers)?;
            match from_positions {
                true => graph.replace_edges(&edges, given, &[[0.0; 3]; 3])?,
                false => *graph = Graph::from_edges(&edges, given)?,
            }
            Ok(())
        })
    }
}

/// A graph from a list of the caller, which is copied. `acerust_graph_update` moves its atoms, `acerust_graph_replace_edges` changes the list.
///
/// @param edges The list.
/// @param out The graph; to be freed with `acerust_graph_free`.
/// @return `ACERUST_ERROR_GRAPH` for offsets, indices or vectors that make no sense; the message names the centre or the edge.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_graph_from_edges(edges: *const acerust_edges, out: *mut *mut acerust_graph) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let out = buffer::result("out", out)?;
        let edges = buffer::sized::<acerust_edges>("edges", edges)?;
        GRAPHS.insert(SharedGraph::from_edges(edges.n_threads, edges.read()?)?, out);
        Ok(())
    })
}

/// Replaces the list of a graph that was made from edges, in its memory. Waits until no thread evaluates on the graph.
///
/// @return As `acerust_graph_from_edges`; the graph can then not be evaluated until a list succeeds. `ACERUST_ERROR_GRAPH` for a graph
/// made from a structure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_graph_replace_edges(graph: *mut acerust_graph, edges: *const acerust_edges) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let edges = buffer::sized::<acerust_edges>("edges", edges)?;
        GRAPHS.get(graph)?.replace_edges(edges.read()?)
    })
}

/// Frees a graph, as soon as no other thread works with it. Null is ignored.
///
/// @return `ACERUST_ERROR_HANDLE` for a handle that was freed before.
#[unsafe(no_mangle)]
pub extern "C" fn acerust_graph_free(graph: *mut acerust_graph) -> i32 {
    guard(|| GRAPHS.remove(graph))
}

/// The number of centres, n_centres: all atoms, but for graphs from edges with ghosts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_graph_n_centres(graph: *const acerust_graph, out: *mut usize) -> i32 {
    // SAFETY: the promise of the module.
    unsafe { scalar(graph, out, Graph::n_centres) }
}

/// The number of atoms, n_atoms: centres and ghosts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_graph_n_atoms(graph: *const acerust_graph, out: *mut usize) -> i32 {
    // SAFETY: the promise of the module.
    unsafe { scalar(graph, out, Graph::n_atoms) }
}

/// The number of directed edges, n_edges.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_graph_n_edges(graph: *const acerust_graph, out: *mut usize) -> i32 {
    // SAFETY: the promise of the module.
    unsafe { scalar(graph, out, Graph::n_edges) }
}

/// Copies the edges out, sorted by centre. A result whose pointer is null is not wanted.
///
/// @param first (n_centres + 1) offsets: the edges of centre i are first[i] … first[i + 1] − 1.
/// @param neighbour (n_edges) indices below n_atoms.
/// @param shift (n_edges, 3), in cell vectors: r = x_j + shift · cell − x_i. Graphs from edges have none.
/// @param r (n_edges, 3), Å.
/// @return `ACERUST_ERROR_ARGUMENT` for a wrong length; each must be the number of entries as given here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_graph_edges(
    graph: *const acerust_graph,
    first: *mut u32,
    n_first: usize,
    neighbour: *mut u32,
    n_neighbour: usize,
    shift: *mut i32,
    n_shift: usize,
    r: *mut f64,
    n_r: usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let mut outputs = Taken::default();
        let edges = shared::Edges {
            first: outputs.take("first", first, n_first)?,
            neighbour: outputs.take("neighbour", neighbour, n_neighbour)?,
            shift: outputs.take("shift", shift, n_shift)?,
            r: outputs.take("r", r, n_r)?,
        };
        Ok(GRAPHS.get(graph)?.edges(edges)?)
    })
}

/// # Safety
/// The promise of the module.
unsafe fn scalar<T>(graph: *const acerust_graph, out: *mut T, value: impl FnOnce(&Graph) -> T) -> i32 {
    // SAFETY: `out` is the caller's, by the promise of the module.
    guard(|| unsafe {
        *buffer::result("out", out)? = GRAPHS.get(graph)?.read(|graph| Ok::<_, Failure>(value(graph)))?;
        Ok(())
    })
}
