//! Which atoms are worked on together: tiles of one species, in chunks of atoms that follow one another.

use crate::graph::Graph;
use crate::parallel;
use std::ops::Range;

pub struct Schedule {
    /// Atoms, tile by tile.
    order: Vec<u32>,
    pub tiles: Vec<(usize, Range<usize>)>,
    pub chunks: Vec<Chunk>,
}

pub struct Chunk {
    pub atoms: Range<usize>,
    pub tiles: Range<usize>,
}

/// Atoms of a chunk, for one thread and for each of more.
const ATOMS: [usize; 2] = [64, 32];

impl Schedule {
    pub fn new(graph: &Graph, species_of: &[u32], tile: usize) -> Schedule {
        let n = graph.n_centres();
        let size = ATOMS[0].max(ATOMS[1] * parallel::n_threads());
        let mut order: Vec<u32> = (0..n as u32).collect();
        let (mut tiles, mut chunks) = (Vec::new(), Vec::new());
        for (c, atoms) in order.chunks_mut(size).enumerate() {
            let (start, first_tile) = (c * size, tiles.len());
            atoms.sort_by_key(|&i| species_of[i as usize]);
            let mut at = start;
            for same in atoms.chunk_by(|&a, &b| species_of[a as usize] == species_of[b as usize]) {
                for part in same.chunks(tile) {
                    tiles.push((species_of[part[0] as usize] as usize, at..at + part.len()));
                    at += part.len();
                }
            }
            chunks.push(Chunk { atoms: start..start + atoms.len(), tiles: first_tile..tiles.len() });
        }
        Schedule { order, tiles, chunks }
    }

    /// Species and atoms of a tile.
    pub fn tile(&self, k: usize) -> (usize, &[u32]) {
        let (species, range) = &self.tiles[k];
        (*species, &self.order[range.clone()])
    }
}
