//! Memory that calls and threads keep.

use super::layer::{Saved, Tile};
use crate::memory;
use crate::simd::Lanes;

/// Memory of a call.
pub struct Call<V> {
    pub between: Vec<Between<V>>,
    /// Gradients by the features of the edges of a chunk, (edges, blocks, components).
    pub edge_bars: Vec<V>,
    /// Features after the last layer, where they are asked for.
    pub last: Vec<V>,
    pub energies: Vec<f64>,
}

/// Features of nodes between two layers, and gradients by them.
pub struct Between<V> {
    pub h: Vec<V>,
    pub up: Vec<V>,
    pub h_bar: Vec<V>,
    pub up_bar: Vec<V>,
    /// Gradients by an atom's own edge features, through its residual.
    pub own_bar: Vec<V>,
    pub saved: Saved<V>,
}

/// Memory of a thread: that of a tile, and what else its atoms have.
pub struct Worker<V: Lanes> {
    pub tile: Tile<V>,
    pub rows: Vec<u32>,
    pub energies: Vec<f64>,
    /// Features of edges, and gradients by them.
    pub up: Vec<V>,
    pub counted: Vec<V>,
    pub own_h: Vec<V>,
    pub own_up: Vec<V>,
}

impl<V> Default for Call<V> {
    fn default() -> Self {
        Call { between: vec![], edge_bars: vec![], last: vec![], energies: vec![] }
    }
}

impl<V> Default for Between<V> {
    fn default() -> Self {
        Between { h: vec![], up: vec![], h_bar: vec![], up_bar: vec![], own_bar: vec![], saved: Saved::default() }
    }
}

impl<V: Lanes> Default for Worker<V> {
    fn default() -> Self {
        Worker {
            tile: Tile::default(),
            rows: vec![],
            energies: vec![],
            up: vec![],
            counted: vec![],
            own_h: vec![],
            own_up: vec![],
        }
    }
}

/// `n` entries, all zero.
pub fn clear<T: Copy>(v: &mut Vec<T>, n: usize, zero: T) -> &mut [T] {
    v.clear();
    memory::resize(v, n, zero);
    v
}
