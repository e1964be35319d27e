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

/// Where edges are put, by (slot, lane).
struct Places<'a, T> {
    x: &'a mut [T],
    y: &'a mut [T],
    z: &'a mut [T],
    edge: &'a mut [u32],
    species: &'a mut [u32],
}

impl<T: Real> Places<'_, T> {
    #[inline(always)]
    fn put(&mut self, at: usize, edge: u32, [x, y, z]: [f64; 3], species: u32) {
        (self.x[at], self.y[at], self.z[at]) = (T::of(x), T::of(y), T::of(z));
        self.edge[at] = edge;
        self.species[at] = species;
    }
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
    /// Species of the neighbour in (slot, lane), where they differ within slots; (n_slots · N).
    neighbour_species: Vec<u32>,
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
    /// Where `by_species`, the neighbours in a slot are all of one species, at the price of some padding. Calls `each` before
    /// every lane.
    #[inline]
    pub fn pack(
        &mut self,
        sites: Sites,
        species: usize,
        centres: &[u32],
        (rcut, by_species): (f64, bool),
        each: impl Fn(usize),
    ) {
        let Sites { graph, species_of, n_species } = sites;
        debug_assert!(centres.len() <= V::N);
        self.species = species;
        self.centres.clear();
        self.centres.extend_from_slice(centres);
        let rcut2 = rcut * rcut;
        let inside = |[x, y, z]: [f64; 3]| x * x + y * y + z * z < rcut2;
        let species_of = |e: usize| species_of[graph.neighbour[e] as usize];
        let edges_of = |i: u32| graph.edges(i as usize).map(|e| (e, graph.r[e]));
        // Slots that each segment may need.
        let n_segments = if by_species { n_species } else { 1 };
        let mut needed = [0; MAX_SPECIES_BY_SLOT];
        for &i in centres {
            let mut count = [0; MAX_SPECIES_BY_SLOT];
            match n_segments {
                1 => count[0] = graph.edges(i as usize).len(),
                _ => edges_of(i).for_each(|(e, r)| count[species_of(e) as usize] += usize::from(inside(r))),
            }
            needed.iter_mut().zip(count).for_each(|(n, c)| *n = (*n).max(c));
        }
        self.segments.clear();
        let mut start = 0;
        for (species, needed) in needed.into_iter().enumerate().take(n_segments).filter(|(_, n)| *n > 0) {
            self.segments.push(Segment { species, slots: start..start + needed });
            start += needed;
        }
        self.clear(start + 1, rcut);
        let common = by_species || n_species == 1;
        for segment in &self.segments {
            let species = if common { segment.species as u32 } else { NONE };
            self.slot_species[segment.slots.clone()].fill(species);
        }
        // Of one length, as far as the compiler can see.
        let n = self.edge.len();
        let mut places = Places {
            x: &mut as_reals_mut(&mut self.x)[..n],
            y: &mut as_reals_mut(&mut self.y)[..n],
            z: &mut as_reals_mut(&mut self.z)[..n],
            edge: &mut self.edge[..n],
            species: &mut self.neighbour_species[..n],
        };
        // Edges of each lane in each segment.
        let mut counts = [[0; MAX_LANES]; MAX_SPECIES_BY_SLOT];
        for (lane, &i) in centres.iter().enumerate() {
            each(lane);
            if n_segments == 1 {
                // An edge beyond the cutoff is put, and the next one takes its place: nothing to predict.
                let mut count = 0;
                for (e, r) in edges_of(i) {
                    places.put(count * V::N + lane, e as u32, r, if common { 0 } else { species_of(e) });
                    count += usize::from(inside(r));
                }
                places.put(count * V::N + lane, NONE, [rcut, 0.0, 0.0], 0);
                counts[0][lane] = count;
                continue;
            }
            let mut first = [0; MAX_SPECIES_BY_SLOT];
            self.segments.iter().for_each(|s| first[s.species] = s.slots.start);
            for (e, r) in edges_of(i).filter(|(_, r)| inside(*r)) {
                let z = species_of(e);
                let count = &mut counts[z as usize][lane];
                places.put((first[z as usize] + *count) * V::N + lane, e as u32, r, z);
                *count += 1;
            }
        }
        // One segment has room for edges beyond the cutoff too.
        if let [segment] = &mut self.segments[..] {
            segment.slots.end = counts[segment.species].into_iter().max().unwrap_or(0);
        }
        self.n_edges = counts.as_flattened().iter().sum();
        self.n_slots = self.segments.last().map_or(0, |s| s.slots.end);
        V::vectorize(
            #[inline(always)]
            || self.complete(&counts),
        );
    }

    /// Room for so many slots, all padding.
    fn clear(&mut self, n_slots: usize, rcut: f64) {
        for (v, padding) in [(&mut self.x, rcut), (&mut self.y, 0.0), (&mut self.z, 0.0)] {
            v.clear();
            v.resize(n_slots, V::splat(V::Real::of(padding)));
        }
        for v in [&mut self.r, &mut self.inv_r, &mut self.mask] {
            v.resize(n_slots, V::zero());
        }
        self.edge.clear();
        self.edge.resize(n_slots * V::N, NONE);
        self.slot_species.resize(n_slots, NONE);
        self.neighbour_species.resize(n_slots * V::N, 0);
    }

    /// Lengths and masks.
    #[inline(always)]
    fn complete(&mut self, counts: &[[usize; MAX_LANES]; MAX_SPECIES_BY_SLOT]) {
        let one = V::splat(V::Real::of(1.0));
        for Segment { species, slots } in &self.segments {
            let counts = V::load(&counts[*species].map(|n| V::Real::of(n as f64)));
            for (k, s) in slots.clone().enumerate() {
                let (x, y, z) = (self.x[s], self.y[s], self.z[s]);
                let r = x.mul_add(x, y.mul_add(y, z * z)).sqrt();
                self.r[s] = r;
                self.inv_r[s] = one.div(r);
                self.mask[s] = V::splat(V::Real::of(k as f64)).select_lt(counts, one, V::zero());
            }
        }
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
        match self.common_pair(s, n_species) {
            Some(pair) => p.fill(pair),
            None => {
                for (p, &z) in p.iter_mut().zip(&self.neighbour_species[s * V::N..][..V::N]) {
                    *p = self.species * n_species + z as usize;
                }
            }
        }
        p
    }
}
