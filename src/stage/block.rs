//! A block of centres: one centre to a lane, their edges in slots.

use crate::graph::Graph;
use crate::simd::{Lanes, MAX_LANES, Real};

/// An edge index that stands for "no edge in this lane".
pub const NONE: u32 = u32::MAX;

/// Up to `V::N` centres of one species, with the edges shorter than a cutoff.
///
/// Slot `s` holds the `s`-th edge of every centre. Lanes without an edge there are padded with
/// a vector of the cutoff's length; the radial stage gives them zero weight.
pub struct Block<V: Lanes> {
    /// Species of all centres.
    pub species: usize,
    /// The centres, one to a lane.
    pub centres: Vec<u32>,
    pub n_slots: usize,
    /// Edge in (slot, lane), or [`NONE`]; (n_slots · N).
    pub edge: Vec<u32>,
    /// Species of the neighbour in (slot, lane); (n_slots · N).
    pub neighbour_species: Vec<u32>,
    /// Edge vectors, one entry a slot.
    pub x: Vec<V>,
    pub y: Vec<V>,
    pub z: Vec<V>,
    pub r: Vec<V>,
    pub inv_r: Vec<V>,
}

impl<V: Lanes> Default for Block<V> {
    fn default() -> Self {
        Block {
            species: 0,
            centres: Vec::new(),
            n_slots: 0,
            edge: Vec::new(),
            neighbour_species: Vec::new(),
            x: Vec::new(),
            y: Vec::new(),
            z: Vec::new(),
            r: Vec::new(),
            inv_r: Vec::new(),
        }
    }
}

impl<V: Lanes> Block<V> {
    /// Fills the block with the edges of `centres` (all of species `species`) that are shorter than `rcut`.
    pub fn pack(&mut self, graph: &Graph, species_of: &[u32], species: usize, centres: &[u32], rcut: f64) {
        debug_assert!(centres.len() <= V::N);
        self.species = species;
        self.centres.clear();
        self.centres.extend_from_slice(centres);
        let most = centres.iter().map(|&i| graph.edges(i as usize).len()).max().unwrap_or(0);
        self.edge.clear();
        self.edge.resize(most * V::N, NONE);
        self.neighbour_species.clear();
        self.neighbour_species.resize(most * V::N, 0);
        for v in [&mut self.x, &mut self.y, &mut self.z, &mut self.r, &mut self.inv_r] {
            v.clear();
        }
        self.x.resize(most, V::splat(V::Real::of(rcut)));
        self.y.resize(most, V::zero());
        self.z.resize(most, V::zero());
        let xs = crate::simd::as_reals_mut(&mut self.x);
        let ys = crate::simd::as_reals_mut(&mut self.y);
        let zs = crate::simd::as_reals_mut(&mut self.z);
        let rcut2 = rcut * rcut;
        self.n_slots = 0;
        for (lane, &i) in centres.iter().enumerate() {
            let mut at = lane;
            for e in graph.edges(i as usize) {
                let [x, y, z] = graph.r[e];
                if x * x + y * y + z * z < rcut2 {
                    xs[at] = V::Real::of(x);
                    ys[at] = V::Real::of(y);
                    zs[at] = V::Real::of(z);
                    self.edge[at] = e as u32;
                    self.neighbour_species[at] = species_of[graph.neighbour[e] as usize];
                    at += V::N;
                }
            }
            self.n_slots = self.n_slots.max(at / V::N);
        }
        V::vectorize(
            #[inline(always)]
            || {
                let one = V::splat(V::Real::of(1.0));
                for s in 0..self.n_slots {
                    let (x, y, z) = (self.x[s], self.y[s], self.z[s]);
                    let r = x.mul_add(x, y.mul_add(y, z * z)).sqrt();
                    self.r.push(r);
                    self.inv_r.push(one.div(r));
                }
            },
        );
    }

    /// The edges of slot `s`, one to a lane.
    #[inline(always)]
    pub fn edges(&self, s: usize) -> &[u32] {
        &self.edge[s * V::N..][..V::N]
    }

    /// Ordered species pair (centre, neighbour) in each lane of slot `s`.
    #[inline(always)]
    pub fn pairs(&self, s: usize, n_species: usize) -> [usize; MAX_LANES] {
        let mut p = [0; MAX_LANES];
        for (p, &z) in p.iter_mut().zip(&self.neighbour_species[s * V::N..][..V::N]) {
            *p = self.species * n_species + z as usize;
        }
        p
    }
}
