//! A block of centres: one centre to a lane, their edges in slots.

use crate::graph::Graph;
use crate::simd::{Lanes, MAX_LANES, Real, as_reals_mut};

/// An edge index that stands for "no edge in this lane".
pub const NONE: u32 = u32::MAX;

/// With more species than this, slots are mixed.
pub const MAX_SPECIES_BY_SLOT: usize = 16;

/// The atoms to evaluate: their graph and the species index of each.
#[derive(Clone, Copy)]
pub struct Sites<'a> {
    pub graph: &'a Graph,
    /// (n_atoms).
    pub species_of: &'a [u32],
    pub n_species: usize,
}

/// Consecutive slots whose neighbours are of one species.
#[derive(Clone, Debug)]
pub struct Segment {
    pub species: usize,
    pub slots: std::ops::Range<usize>,
}

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
    /// Edges in all slots together.
    pub n_edges: usize,
    /// Slots in which all neighbours are of one species; a single one where slots are mixed.
    pub segments: Vec<Segment>,
    /// Edge in (slot, lane), or [`NONE`]; (n_slots · N).
    pub edge: Vec<u32>,
    /// Species of the neighbour in (slot, lane); (n_slots · N).
    pub neighbour_species: Vec<u32>,
    /// Species of all neighbours in a slot, or [`NONE`] where they differ; (n_slots).
    slot_species: Vec<u32>,
    /// Edge vectors, one entry a slot.
    pub x: Vec<V>,
    pub y: Vec<V>,
    pub z: Vec<V>,
    pub r: Vec<V>,
    pub inv_r: Vec<V>,
    /// 1 in lanes with an edge, else 0.
    pub mask: Vec<V>,
}

impl<V: Lanes> Default for Block<V> {
    fn default() -> Self {
        Block {
            species: 0,
            centres: Vec::new(),
            n_slots: 0,
            n_edges: 0,
            segments: Vec::new(),
            edge: Vec::new(),
            neighbour_species: Vec::new(),
            slot_species: Vec::new(),
            x: Vec::new(),
            y: Vec::new(),
            z: Vec::new(),
            r: Vec::new(),
            inv_r: Vec::new(),
            mask: Vec::new(),
        }
    }
}

impl<V: Lanes> Block<V> {
    /// Fills the block with the edges of `centres` (all of species `species`) that are shorter than `rcut`.
    ///
    /// Where `by_species`, the neighbours in a slot are all of one species, at the price of some padding.
    pub fn pack(&mut self, sites: Sites, species: usize, centres: &[u32], rcut: f64, by_species: bool) {
        let Sites { graph, species_of, n_species } = sites;
        debug_assert!(centres.len() <= V::N);
        self.species = species;
        self.centres.clear();
        self.centres.extend_from_slice(centres);
        let rcut2 = rcut * rcut;
        let inside = |e: usize| {
            let [x, y, z] = graph.r[e];
            x * x + y * y + z * z < rcut2
        };
        let species_of = |e: usize| species_of[graph.neighbour[e] as usize];
        // Slots that each segment may need.
        let n_segments = if by_species { n_species } else { 1 };
        let mut needed = [0; MAX_SPECIES_BY_SLOT];
        self.segments.clear();
        for &i in centres {
            let edges = graph.edges(i as usize);
            if n_segments == 1 {
                needed[0] = needed[0].max(edges.len());
                continue;
            }
            let mut count = [0; MAX_SPECIES_BY_SLOT];
            edges.filter(|&e| inside(e)).for_each(|e| count[species_of(e) as usize] += 1);
            needed.iter_mut().zip(count).for_each(|(n, c)| *n = (*n).max(c));
        }
        let mut start = 0;
        for (z, needed) in needed.iter().enumerate().take(n_segments).filter(|(_, n)| **n > 0) {
            self.segments.push(Segment { species: z, slots: start..start + needed });
            start += needed;
        }
        let most = start;
        self.edge.clear();
        self.edge.resize(most * V::N, NONE);
        self.neighbour_species.clear();
        self.neighbour_species.resize(most * V::N, 0);
        for v in [&mut self.x, &mut self.y, &mut self.z, &mut self.r, &mut self.inv_r, &mut self.mask] {
            v.clear();
        }
        self.x.resize(most, V::splat(V::Real::of(rcut)));
        self.y.resize(most, V::zero());
        self.z.resize(most, V::zero());
        self.mask.resize(most, V::zero());
        self.slot_species.clear();
        self.slot_species.resize(most, if n_species == 1 { 0 } else { NONE });
        for segment in self.segments.iter().filter(|_| by_species) {
            self.slot_species[segment.slots.clone()].fill(segment.species as u32);
            let slots = segment.slots.start * V::N..segment.slots.end * V::N;
            self.neighbour_species[slots].fill(segment.species as u32);
        }
        let xs = as_reals_mut(&mut self.x);
        let ys = as_reals_mut(&mut self.y);
        let zs = as_reals_mut(&mut self.z);
        let mask = as_reals_mut(&mut self.mask);
        let mut end = 0;
        self.n_edges = 0;
        for (lane, &i) in centres.iter().enumerate() {
            let mut next = [lane; MAX_SPECIES_BY_SLOT];
            for segment in self.segments.iter().filter(|_| by_species) {
                next[segment.species] = segment.slots.start * V::N + lane;
            }
            for e in graph.edges(i as usize).filter(|&e| inside(e)) {
                let z = if n_species > 1 { species_of(e) } else { 0 };
                let next = &mut next[if by_species { z as usize } else { 0 }];
                let [x, y, z_] = graph.r[e];
                xs[*next] = V::Real::of(x);
                ys[*next] = V::Real::of(y);
                zs[*next] = V::Real::of(z_);
                mask[*next] = V::Real::of(1.0);
                self.edge[*next] = e as u32;
                self.neighbour_species[*next] = z;
                *next += V::N;
                self.n_edges += 1;
            }
            end = end.max(next[0] / V::N);
        }
        // One segment counts edges beyond the cutoff too: drop the slots that nobody used.
        if n_segments == 1 && !self.segments.is_empty() {
            self.segments[0].slots.end = end;
        }
        self.n_slots = self.segments.last().map_or(0, |s| s.slots.end);
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

    /// `(x, y, z, 1/r)` of slot `s`.
    #[inline(always)]
    pub fn vectors(&self, s: usize) -> [V; 4] {
        [self.x[s], self.y[s], self.z[s], self.inv_r[s]]
    }

    /// The ordered species pair of all lanes of slot `s`, where they have one.
    #[inline(always)]
    pub fn common_pair(&self, s: usize, n_species: usize) -> Option<usize> {
        let z = self.slot_species[s];
        (z != NONE).then_some(self.species * n_species + z as usize)
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
