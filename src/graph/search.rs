//! Two passes over the occupied cells: count the edges of each centre, then write them in place.

use super::cells::Cells;
use super::select::Select;
use super::tile::{TILE, Tile};
use super::{COINCIDENT, Graph, resize};
use crate::parallel::{self, Disjoint};
use crate::simd::{Isa, with_lanes};
use crate::structure::Structure;
use crate::{Error, Result};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Occupied cells that a thread takes at a time.
const CELLS_PER_TURN: usize = 16;

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
    within: Vec<u64>,
    coincident: Vec<u64>,
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
    if n_atoms >= u32::MAX as usize {
        return Err(Error::Graph(format!("{n_atoms} atoms are more than 32 bits can count")));
    }
    let Workspace { cells, scratch, degree, .. } = workspace;
    cells.sort(structure, rcut)?;
    let turns = cells.n_occupied().div_ceil(CELLS_PER_TURN);
    scratch.resize_with(parallel::n_threads().min(turns).max(1), Scratch::default);
    refuse_absurd(cells, n_atoms, rcut)?;

    with_lanes!(isa, f64, V => passes::<V>(graph, cells, scratch, degree, rcut))
}

/// Refuses what can be seen to exceed 32 bits before it is counted.
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
    Ok(())
}

fn too_many(rcut: f64) -> Error {
    Error::Graph(format!("more than {} edges within {rcut} Å", u32::MAX))
}

fn passes<V: Select>(
    graph: &mut Graph,
    cells: &Cells,
    scratch: &mut [Scratch],
    degree: &mut Vec<u32>,
    rcut: f64,
) -> Result<()> {
    let n_atoms = cells.atom.len();
    resize(degree, n_atoms, 0);
    count::<V>(cells, scratch, degree, rcut)?;

    resize(&mut graph.first, n_atoms + 1, 0);
    for (&i, &n) in cells.atom.iter().zip(&*degree) {
        graph.first[i as usize] = n;
    }
    let mut next = 0;
    for first in &mut graph.first[..n_atoms] {
        next += std::mem::replace(first, next);
    }
    graph.first[n_atoms] = next;

    resize(&mut graph.neighbour, next as usize, 0);
    resize(&mut graph.r, next as usize, [0.0; 3]);
    resize(&mut graph.shift, next as usize, [0; 3]);
    fill::<V>(graph, cells, scratch, rcut);
    Ok(())
}

/// Runs `f` for every occupied cell, on all threads, each with its own scratch.
fn over_cells<V: Select>(cells: &Cells, scratch: &mut [Scratch], f: impl Fn(usize, &mut Scratch) + Sync) {
    let n = cells.n_occupied();
    let turn = AtomicUsize::new(0);
    let work = |scratch: &mut Scratch| {
        V::vectorize(
            #[inline(always)]
            || loop {
                let start = turn.fetch_add(CELLS_PER_TURN, Relaxed);
                if start >= n {
                    return;
                }
                (start..n.min(start + CELLS_PER_TURN)).for_each(|b| f(b, scratch));
            },
        )
    };
    parallel::for_each_mut(scratch, |_, scratch| work(scratch));
}

fn centre(cells: &Cells, slot: usize) -> [f64; 3] {
    std::array::from_fn(|d| cells.x[d][slot])
}

/// Squares of the shortest and the longest distance of an edge.
fn range(rcut: f64) -> (f64, f64) {
    (COINCIDENT * COINCIDENT, (rcut * rcut).min(f64::MAX))
}

fn count<V: Select>(cells: &Cells, scratch: &mut [Scratch], degree: &mut [u32], rcut: f64) -> Result<()> {
    let (low, high) = range(rcut);
    let total = AtomicU64::new(0);
    let clash = AtomicU32::new(u32::MAX);
    let degree = Disjoint::new(degree);
    over_cells::<V>(
        cells,
        scratch,
        #[inline(always)]
        |b, scratch| {
            if total.load(Relaxed) > u64::from(u32::MAX) {
                return;
            }
            let slots = cells.slots(b);
            let Scratch { tile, within, coincident } = scratch;
            within.clear();
            within.resize(slots.len(), 0);
            coincident.clear();
            coincident.resize(slots.len(), 0);
            tile.for_tiles::<V>(
                cells,
                b,
                rcut,
                #[inline(always)]
                |tile| {
                    for (k, slot) in slots.clone().enumerate() {
                        let n = tile.measure(centre(cells, slot));
                        let (mut near, mut same) = (0, 0);
                        for &square in &tile.squares[..n] {
                            near += u64::from(square <= high);
                            same += u64::from(square <= low);
                        }
                        within[k] += near;
                        coincident[k] += same;
                    }
                },
            );
            // SAFETY: each cell is handled once.
            let degree = unsafe { degree.slice(slots.start, slots.len()) };
            let mut all = 0;
            for (k, slot) in slots.enumerate() {
                let edges = within[k].saturating_sub(coincident[k]);
                degree[k] = edges as u32;
                all += edges;
                if coincident[k] > 1 {
                    clash.fetch_min(cells.atom[slot], Relaxed);
                }
            }
            total.fetch_add(all, Relaxed);
        },
    );
    if clash.load(Relaxed) != u32::MAX {
        return Err(name_clash::<V>(cells, &mut scratch[0].tile, clash.into_inner(), rcut));
    }
    if total.into_inner() > u64::from(u32::MAX) {
        return Err(too_many(rcut));
    }
    Ok(())
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

fn fill<V: Select>(graph: &mut Graph, cells: &Cells, scratch: &mut [Scratch], rcut: f64) {
    let (low, high) = range(rcut);
    let first = &graph.first;
    let rows = (Disjoint::new(&mut graph.neighbour), Disjoint::new(&mut graph.r), Disjoint::new(&mut graph.shift));
    over_cells::<V>(
        cells,
        scratch,
        #[inline(always)]
        |b, scratch| {
            let slots = cells.slots(b);
            let Scratch { tile, within: next, .. } = scratch;
            next.clear();
            next.extend(slots.clone().map(|slot| u64::from(first[cells.atom[slot] as usize])));
            tile.for_tiles::<V>(
                cells,
                b,
                rcut,
                #[inline(always)]
                |tile| {
                    for (k, slot) in slots.clone().enumerate() {
                        let (x, w) = (centre(cells, slot), cells.wrap[slot]);
                        let n = tile.measure(x);
                        let found = V::select(&tile.squares[..n], low, high, &mut tile.list[..]);
                        let at = next[k] as usize;
                        next[k] += found as u64;
                        // SAFETY: rows of different centres do not overlap, and this thread alone has this one.
                        let (neighbour, r, shift) =
                            unsafe { (rows.0.slice(at, found), rows.1.slice(at, found), rows.2.slice(at, found)) };
                        let written = neighbour.iter_mut().zip(r).zip(shift);
                        for (&k, ((neighbour, r), shift)) in tile.list.iter().zip(written) {
                            let k = k as usize % TILE;
                            *neighbour = tile.atom[k];
                            *r = std::array::from_fn(|d| (tile.x[d][k] - x[d]) + tile.t[d][k]);
                            let s = tile.shift[k];
                            *shift = std::array::from_fn(|d| s[d] + w[d]);
                        }
                    }
                },
            );
        },
    );
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
