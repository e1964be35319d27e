//! Atoms and their neighbours.

use super::outputs::exactly;
use super::{Sites, Threads};
use crate::graph::{Graph, NeighbourList};
use crate::structure::Structure;
use crate::{Error, Result, element};
use std::sync::{PoisonError, RwLock};

#[derive(Debug)]
enum Origin {
    /// Of a structure, up to a cutoff.
    List(Box<NeighbourList>),
    /// Of a structure, for models without neighbours.
    Isolated(Graph),
    /// Of the caller.
    Edges(Graph),
}

#[derive(Debug)]
struct Neighbours {
    origin: Origin,
    /// The structure of the last update; only the atomic numbers of a graph made from edges.
    structure: Structure,
    threads: Threads,
    /// Did the last update succeed?
    ready: bool,
}

/// Where the edges of a graph go, sorted by centre.
#[derive(Debug, Default)]
pub struct Edges<'a> {
    /// (n_centres + 1) offsets.
    pub first: Option<&'a mut [u32]>,
    /// (n_edges) indices of atoms.
    pub neighbour: Option<&'a mut [u32]>,
    /// (n_edges, 3), in cell vectors.
    pub shift: Option<&'a mut [i32]>,
    /// (n_edges, 3), Å.
    pub r: Option<&'a mut [f64]>,
}

/// A graph that several threads may evaluate on at once; an update waits for them.
#[derive(Debug)]
pub struct SharedGraph(RwLock<Neighbours>);

impl SharedGraph {
    /// The neighbours within `rcut` (Å; 0 for models without neighbours), to be reused while no atom has moved by more
    /// than half the skin (Å).
    ///
    /// # Errors
    /// As [`NeighbourList::new`] and [`NeighbourList::update`].
    pub fn build(structure: Structure, rcut: f64, skin: f64, n_threads: usize) -> Result<SharedGraph> {
        let origin = match rcut {
            0.0 => Origin::Isolated(Graph::default()),
            _ => Origin::List(Box::new(NeighbourList::new(rcut, skin)?)),
        };
        let mut neighbours = Neighbours { origin, structure, threads: Threads::new(n_threads)?, ready: false };
        neighbours.update()?;
        Ok(SharedGraph(RwLock::new(neighbours)))
    }

    /// A graph of the caller's edges, and the atomic numbers of its atoms, as `fill` leaves them.
    ///
    /// # Errors
    /// Those of `fill`, and where threads cannot be started.
    pub fn from_edges<E: From<Error> + Send>(
        n_threads: usize,
        fill: impl FnOnce(&mut Graph, &mut Vec<u8>) -> std::result::Result<(), E> + Send,
    ) -> std::result::Result<SharedGraph, E> {
        let (mut graph, mut structure, threads) = (Graph::default(), Structure::default(), Threads::new(n_threads)?);
        threads.run(|| fill(&mut graph, &mut structure.numbers))?;
        Ok(SharedGraph(RwLock::new(Neighbours { origin: Origin::Edges(graph), structure, threads, ready: true })))
    }

    /// Takes over the atoms that `fill` leaves in the structure; says whether the edges are others than before.
    ///
    /// # Errors
    /// Those of `fill`, [`NeighbourList::update`], and, for a graph of the caller's edges, which stay as they are,
    /// [`Graph::update_positions`]; the graph is of no use then until an update succeeds.
    pub fn update<E: From<Error>>(
        &self,
        fill: impl FnOnce(&mut Structure) -> std::result::Result<(), E>,
    ) -> std::result::Result<bool, E> {
        let mut neighbours = self.0.write().unwrap_or_else(PoisonError::into_inner);
        neighbours.ready = false;
        fill(&mut neighbours.structure)?;
        Ok(neighbours.update()?)
    }

    /// Replaces the edges of the caller, and the atomic numbers, by what `fill` leaves.
    ///
    /// # Errors
    /// Those of `fill`; the graph is of no use then until another list succeeds. [`Error::Graph`] for a graph of a structure.
    pub fn replace_edges<E: From<Error> + Send>(
        &self,
        fill: impl FnOnce(&mut Graph, &mut Vec<u8>) -> std::result::Result<(), E> + Send,
    ) -> std::result::Result<(), E> {
        let mut neighbours = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Neighbours { origin, structure, threads, ready } = &mut *neighbours;
        let Origin::Edges(graph) = origin else {
            return Err(Error::Graph("it was made from a structure and has no edges to replace".into()).into());
        };
        *ready = false;
        threads.run(|| fill(graph, &mut structure.numbers))?;
        *ready = true;
        Ok(())
    }

    /// Runs `f` on the graph while nobody updates it.
    ///
    /// # Errors
    /// Those of `f`; [`Error::Graph`] where the last update failed.
    pub fn read<T, E: From<Error>>(
        &self,
        f: impl FnOnce(&Graph) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        f(self.0.read().unwrap_or_else(PoisonError::into_inner).graph()?)
    }

    /// Copies the edges out.
    ///
    /// # Errors
    /// [`Error::Argument`] for a wrong length; [`Error::Graph`] for shifts of a graph made from edges.
    pub fn edges(&self, wanted: Edges) -> Result<()> {
        let Edges { first, neighbour, shift, r } = wanted;
        self.read(|graph| {
            exactly("first", first.as_deref(), graph.n_centres() + 1)?;
            exactly("neighbour", neighbour.as_deref(), graph.n_edges())?;
            exactly("shift", shift.as_deref(), 3 * graph.n_edges())?;
            exactly("r", r.as_deref(), 3 * graph.n_edges())?;
            if shift.is_some() && graph.shifts().len() != graph.n_edges() {
                return Err(Error::Graph("it was made from edges and has no shifts".into()));
            }
            first.into_iter().for_each(|out| out.copy_from_slice(graph.first()));
            neighbour.into_iter().for_each(|out| out.copy_from_slice(graph.neighbours()));
            r.into_iter().for_each(|out| out.copy_from_slice(graph.vectors().as_flattened()));
            let shifts = graph.shifts().as_flattened();
            shift.into_iter().for_each(|out| out.iter_mut().zip(shifts).for_each(|(out, &s)| *out = s.into()));
            Ok(())
        })
    }

    /// Runs `f` on the atoms of the graph while nobody updates it.
    ///
    /// # Errors
    /// As [`SharedGraph::read`].
    pub fn sites<T, E: From<Error>>(
        &self,
        f: impl FnOnce(&Sites) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let neighbours = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f(&Sites::Graph(neighbours.graph()?, &neighbours.structure.numbers))
    }
}

impl Neighbours {
    fn graph(&self) -> Result<&Graph> {
        if !self.ready {
            return Err(Error::Graph("its last update failed".into()));
        }
        Ok(match &self.origin {
            Origin::List(list) => list.graph(),
            Origin::Isolated(graph) | Origin::Edges(graph) => graph,
        })
    }

    /// Brings the graph up to date with the structure; says whether the list was built anew.
    fn update(&mut self) -> Result<bool> {
        let structure = &mut self.structure;
        let rebuilt = match &mut self.origin {
            Origin::List(list) => {
                let builds = list.builds();
                self.threads.run(|| list.update(structure).map(drop))?;
                list.builds() != builds
            }
            Origin::Isolated(graph) => {
                structure.validate()?;
                *graph = Graph::isolated(structure.n_atoms());
                true
            }
            Origin::Edges(graph) => {
                let plain = structure.numbers.len() == structure.n_atoms()
                    && (structure.pbc, structure.cell) == ([false; 3], [[0.0; 3]; 3]);
                self.threads.run(|| {
                    // Positions near others that were finite are so themselves.
                    if plain && graph.follow(&mut structure.positions, &structure.cell) {
                        return Ok(());
                    }
                    structure.validate()?;
                    graph.update_positions(&structure.positions, &structure.cell)
                })?;
                false
            }
        };
        self.ready = true;
        Ok(rebuilt)
    }
}

/// Atomic numbers as callers have them.
///
/// # Errors
/// [`Error::Structure`] for a number that no element has.
pub fn atomic_numbers(out: &mut Vec<u8>, numbers: &[i32]) -> Result<()> {
    // Most often they are those of the last time.
    if out.len() == numbers.len() && out.iter().zip(numbers).fold(true, |same, (&old, &z)| same & (i32::from(old) == z))
    {
        return Ok(());
    }
    out.clear();
    out.extend(numbers.iter().map(|&z| u8::try_from(z).unwrap_or(0)));
    match out.iter().position(|&z| element::symbol(z).is_none()) {
        None => Ok(()),
        Some(i) => {
            out.clear();
            let message = format!("atom {i}: no element has the atomic number {}", numbers[i]);
            Err(Error::Structure(message))
        }
    }
}
