//! One pass over the occupied cells finds the edges; then every centre knows where its own begin, and they are put there.

use super::cells::Cells;
use super::select::Select;
use super::tile::{NEAR_BYTES, TILE, Tile};
use super::vectors::{Translations, between};
use super::{COINCIDENT, EDGE_BYTES, Graph};
use crate::memory::{self, reserve, resize};
use crate::parallel::{self, Disjoint};
use crate::simd::{Isa, with_lanes};
use crate::structure::Structure;
use crate::{Error, Result};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Occupied cells that a thread takes at a time.
const CELLS_PER_TURN: usize = 16;
/// Bytes that an edge takes while it is built, at most: in the graph, and as it was found in memory that grows by doubling.
const BUILD_BYTES: usize = EDGE_BYTES + 3 * size_of::<Found>();

/// An edge that was found, without its centre.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    atom: u32,
    shift: [i16; 3],
}

/// Memory that one build leaves to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Workspace {
    cells: Cells,
    /// One per thread.
    scratch: Vec<Scratch>,
    /// Per slot: number of edges.
    degree: Vec<u32>,
    /// Counters of the transposition.
    pub counts: Vec<u32>,
}

#[derive(Clone, Debug, Default)]
struct Scratch {
    tile: Tile,
    /// Per centre of the cell at hand.
    coincident: Vec<u32>,
    /// The cells, one after another, and the number of tiles of each.
    cells: Vec<(usize, usize)>,
    /// Edges by cell, tile and slot, and how many each slot has.
    found: Vec<Found>,
    runs: Vec<u32>,
    /// Where the next edge of each centre of the cell at hand goes.
    next: Vec<u32>,
}

/// Fills all of the graph but its incoming edges.
pub(super) fn build(
    graph: &mut Graph,
    structure: &Structure,
    rcut: f64,
    workspace: &mut Workspace,
    isa: Isa,
) -> Result<()> {
    structure.validate()?;
    if !(rcut > 0.0 && rcut.is_finite()) {
        return Err(Error::Graph(format!("cutoff {rcut} Å is not positive and finite")));
    }
    let n_atoms = structure.n_atoms();
    if n_atoms >= i32::MAX as usize {
        return Err(Error::Graph(format!("{n_atoms} atoms are more than 31 bits can count")));
    }
    let Workspace { cells, scratch, degree, .. } = workspace;
    cells.sort(structure, rcut)?;
    let turns = cells.n_occupied().div_ceil(CELLS_PER_TURN);
    scratch.resize_with(parallel::n_threads().min(turns).max(1), Scratch::default);
    refuse_absurd(cells, n_atoms, rcut)?;
    resize(degree, n_atoms, 0);

    with_lanes!(isa, f64, V => find::<V>(cells, scratch, degree, rcut))?;
    lay_rows(graph, cells, degree);
    with_lanes!(isa, f64, V => fill::<V>(graph, structure, cells, scratch));
    Ok(())
}

/// Refuses what can be seen to exceed 32 bits, or memory, before it is looked for.
fn refuse_absurd(cells: &Cells, n_atoms: usize, rcut: f64) -> Result<()> {
    use std::f64::consts::PI;
    let dimensions = cells.lattice.periodic.iter().filter(|&&p| p).count();
    let images = [1.0, 2.0 * rcut, PI * rcut * rcut, 4.0 / 3.0 * PI * rcut * rcut * rcut][dimensions];
    let n = n_atoms as f64;
    // In three dimensions the density is known; else at least the images of each atom itself.
    let sources = if dimensions == 3 { n * n } else { n };
    let edges = sources * images / cells.lattice.volume();
    if edges > 2.0 * f64::from(u32::MAX) {
        return Err(Error::Graph(format!("about {edges:.1e} edges within {rcut} Å, more than 32 bits can count")));
    }
    // What is near a cell is at least what one of its atoms sees.
    memory::check(edges * BUILD_BYTES as f64 + edges / n.max(1.0) * NEAR_BYTES as f64, || {
        format!("about {edges:.1e} edges within {rcut} Å")
    })
}

/// Offsets of the rows, and room for them.
fn lay_rows(graph: &mut Graph, cells: &Cells, degree: &[u32]) {
    let n_atoms = cells.atom.len();
    resize(&mut graph.first, n_atoms + 1, 0);
    for (&i, &n) in cells.atom.iter().zip(degree) {
        graph.first[i as usize] = n;
    }
    let mut next = 0;
    for first in &mut graph.first[..n_atoms] {
        next += std::mem::replace(first, next);
    }
    graph.first[n_atoms] = next;
    resize(&mut graph.neighbour, next as usize, 0);
    resize(graph.vectors.renew(), next as usize, [0.0; 3]);
    resize(&mut graph.shift, next as usize, [0; 3]);
}

fn centre(cells: &Cells, slot: usize) -> [f64; 3] {
    std::array::from_fn(|d| cells.x[d][slot])
}

/// Squares of the shortest and the longest distance of an edge.
fn range(rcut: f64) -> (f64, f64) {
    (COINCIDENT * COINCIDENT, (rcut * rcut).min(f64::MAX))
}

fn find<V: Select>(cells: &Cells, scratch: &mut [Scratch], degree: &mut [u32], rcut: f64) -> Result<()> {
    let (low, high) = range(rcut);
    let (total, clash) = (AtomicU64::new(0), AtomicU32::new(u32::MAX));
    // A system without three periods may have more edges than could be seen.
    let most = (memory::limit() / BUILD_BYTES as u64).min(u32::MAX.into());
    let degree = Disjoint::new(degree);
    let (n_cells, turn) = (cells.n_occupied(), AtomicUsize::new(0));
    let cell = |b: usize, scratch: &mut Scratch| {
        let slots = cells.slots(b);
        let Scratch { tile, coincident, found, runs, .. } = scratch;
        let mut n_tiles = 0;
        coincident.clear();
        coincident.resize(slots.len(), 0);
        // SAFETY: a cell is handled once, and no other cell has its slots.
        let degree = unsafe { degree.slice(slots.start, slots.len()) };
        degree.fill(0);
        let before = found.len();
        tile.for_tiles::<V>(
            cells,
            b,
            rcut,
            #[inline(always)]
            |tile| {
                for (k, slot) in slots.clone().enumerate() {
                    let n = tile.measure(centre(cells, slot));
                    coincident[k] += tile.squares[..n].iter().map(|&square| u32::from(square <= low)).sum::<u32>();
                    let n = V::select(&tile.squares[..n], low, high, &mut tile.list[..]);
                    reserve(found, n);
                    let w = cells.wrap[slot];
                    found.extend(tile.list[..n].iter().map(|&k| {
                        let (k, s) = (k as usize % TILE, tile.shift[k as usize % TILE]);
                        Found { atom: tile.atom[k], shift: std::array::from_fn(|d| s[d] + w[d]) }
                    }));
                    runs.push(n as u32);
                    degree[k] += n as u32;
                }
                n_tiles += 1;
            },
        );
        scratch.cells.push((b, n_tiles));
        if let Some(k) = coincident.iter().position(|&n| n > 1) {
            let least = slots.clone().skip(k).zip(&coincident[k..]).filter(|(_, n)| **n > 1);
            let least = least.map(|(slot, _)| cells.atom[slot]).min();
            clash.fetch_min(least.unwrap_or(u32::MAX), Relaxed);
        }
        total.fetch_add((scratch.found.len() - before) as u64, Relaxed);
    };
    parallel::for_each_mut(scratch, |_, scratch| {
        scratch.cells.clear();
        scratch.found.clear();
        scratch.runs.clear();
        V::vectorize(
            #[inline(always)]
            || loop {
                let start = turn.fetch_add(CELLS_PER_TURN, Relaxed);
                if start >= n_cells || total.load(Relaxed) > most {
                    return;
                }
                (start..n_cells.min(start + CELLS_PER_TURN)).for_each(|b| cell(b, scratch));
            },
        )
    });
    if clash.load(Relaxed) != u32::MAX {
        return Err(name_clash::<V>(cells, &mut scratch[0].tile, clash.into_inner(), rcut));
    }
    match total.into_inner() {
        n if n > u64::from(u32::MAX) => Err(Error::Graph(format!("more than {} edges within {rcut} Å", u32::MAX))),
        n => memory::check((n as usize * BUILD_BYTES) as f64, || format!("more than {n} edges within {rcut} Å")),
    }
}

/// The error for atom `i`, which shares its place with another one.
fn name_clash<V: Select>(cells: &Cells, tile: &mut Tile, i: u32, rcut: f64) -> Error {
    let slot = cells.atom.iter().position(|&a| a == i).unwrap_or(0);
    let b = (0..cells.n_occupied()).find(|&b| cells.slots(b).contains(&slot)).unwrap_or(0);
    let mut other = u32::MAX;
    tile.for_tiles::<V>(cells, b, rcut, |tile| {
        let n = tile.measure(centre(cells, slot));
        let same = (0..n).filter(|&k| tile.squares[k] <= COINCIDENT * COINCIDENT).map(|k| tile.atom[k]);
        other = same.filter(|&j| j != i).fold(other, u32::min);
    });
    Error::Graph(format!("atoms {i} and {other} are at the same place"))
}

fn fill<V: Select>(graph: &mut Graph, structure: &Structure, cells: &Cells, scratch: &mut [Scratch]) {
    let Graph { first, neighbour, vectors, shift, .. } = graph;
    let (neighbour, r, shift) = (Disjoint::new(neighbour), Disjoint::new(vectors.renew()), Disjoint::new(shift));
    let (x, translations) = (&structure.positions, Translations::new(structure.cell));
    parallel::for_each_mut(scratch, |_, scratch| {
        V::vectorize(
            #[inline(always)]
            || {
                let Scratch { cells: own, found, runs, next, .. } = scratch;
                let (mut found, mut runs) = (found.iter(), runs.iter());
                for &(b, n_tiles) in &*own {
                    let slots = cells.slots(b);
                    next.clear();
                    next.extend(cells.atom[slots.clone()].iter().map(|&i| first[i as usize]));
                    for _ in 0..n_tiles {
                        for ((&i, next), &n) in cells.atom[slots.clone()].iter().zip(&mut *next).zip(&mut runs) {
                            let (at, n) = (*next as usize, n as usize);
                            *next += n as u32;
                            // SAFETY: rows of different centres do not overlap, and the thread that found the edges of this one
                            // has all of them.
                            let (neighbour, shift, r) =
                                unsafe { (neighbour.slice(at, n), shift.slice(at, n), r.slice(at, n)) };
                            let a = x[i as usize];
                            for (((neighbour, shift), r), f) in neighbour.iter_mut().zip(shift).zip(r).zip(&mut found) {
                                (*neighbour, *shift) = (f.atom, f.shift);
                                *r = between(a, x[f.atom as usize], translations.of(f.shift));
                            }
                        }
                    }
                }
            },
        )
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_finds_the_same_edges_in_the_same_order() {
        let mut s = Structure::diamond(14, 5.43).repeat([3, 4, 5]).rattle(0.4, 1);
        s.pbc[1] = false;
        let built = Isa::available().into_iter().map(|isa| {
            let mut graph = Graph::default();
            build(&mut graph, &s, 5.5, &mut Workspace::default(), isa).unwrap();
            graph
        });
        let graphs: Vec<Graph> = built.collect();
        assert!(graphs[0].n_edges() > 10_000);
        assert!(graphs.iter().all(|g| *g == graphs[0]));
    }
}
