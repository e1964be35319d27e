//! A block of centres: one centre to a lane, their edges in slots.

use crate::graph::Sites;
use crate::memory::at_least;
use crate::simd::{Lanes, MAX_LANES, Real, as_reals_mut};

/// An edge index that stands for "no edge in this lane".
pub const NONE: u32 = u32::MAX;

/// With more species than this, slots are mixed.
pub const MAX_SPECIES_BY_SLOT: usize = 16;

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
    /// # Safety
    /// All slices are longer than `at`.
    #[inline(always)]
    unsafe fn put(&mut self, at: usize, edge: u32, [x, y, z]: [f64; 3]) {
        // SAFETY: `at` lies in every slice, as the caller has made sure.
        unsafe {
            *self.x.get_unchecked_mut(at) = T::of(x);
            *self.y.get_unchecked_mut(at) = T::of(y);
            *self.z.get_unchecked_mut(at) = T::of(z);
            *self.edge.get_unchecked_mut(at) = edge;
        }
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
    /// Memory of a slot.
    pub const SLOT_BYTES: usize = 6 * size_of::<V>() + (2 * V::N + 1) * size_of::<u32>();

    /// Fills the block with the edges of `centres` (all of species `species`) that are shorter than `rcut`.
    ///
    /// Where `by_species`, the neighbours in a slot are all of one species, at the price of some padding. Calls `each` before
    /// every lane.
    ///
    /// # Panics
    /// For more centres than lanes, a centre that is not in the graph, or slots by more species than [`MAX_SPECIES_BY_SLOT`].
    pub fn pack(&mut self, sites: Sites, species: usize, centres: &[u32], cutoff: (f64, bool), each: impl Fn(usize)) {
        V::vectorize(
            #[inline(always)]
            || self.pack_inner(sites, species, centres, cutoff, each),
        );
    }

    #[inline(always)]
    fn pack_inner(
        &mut self,
        sites: Sites,
        species: usize,
        centres: &[u32],
        (rcut, by_species): (f64, bool),
        each: impl Fn(usize),
    ) {
        let Sites { graph, species: of_atoms, n_species } = sites;
        let (neighbours, vectors) = (graph.neighbours(), graph.vectors());
        // Edges are put without a check for each: this one and the count below are what keeps them inside.
        assert!(centres.len() <= V::N, "{} centres for {} lanes", centres.len(), V::N);
        assert!(!by_species || n_species <= MAX_SPECIES_BY_SLOT, "slots by {n_species} species");
        self.species = species;
        self.centres.clear();
        self.centres.extend_from_slice(centres);
        let rcut2 = rcut * rcut;
        let inside = |[x, y, z]: [f64; 3]| x * x + y * y + z * z < rcut2;
        let species_of = |e: usize| of_atoms[neighbours[e] as usize];
        // Slots that each segment may need.
        let n_segments = if by_species { n_species } else { 1 };
        let mut needed = [0; MAX_SPECIES_BY_SLOT];
        for &i in centres {
            let mut count = [0; MAX_SPECIES_BY_SLOT];
            match n_segments {
                1 => count[0] = graph.edges(i as usize).len(),
                _ => graph
                    .edges(i as usize)
                    .for_each(|e| count[species_of(e) as usize] += usize::from(inside(vectors[e]))),
            }
            needed.iter_mut().zip(count).for_each(|(n, c)| *n = (*n).max(c));
        }
        self.segments.clear();
        let mut start = 0;
        for (species, needed) in needed.into_iter().enumerate().take(n_segments).filter(|(_, n)| *n > 0) {
            self.segments.push(Segment { species, slots: start..start + needed });
            start += needed;
        }
        // One slot more: for an edge beyond the cutoff, which the next one overwrites.
        self.make_room(start + 1);
        let common = by_species || n_species == 1;
        for segment in &self.segments {
            let species = if common { segment.species as u32 } else { NONE };
            self.slot_species[segment.slots.clone()].fill(species);
        }
        let mut places = Places {
            x: as_reals_mut(&mut self.x),
            y: as_reals_mut(&mut self.y),
            z: as_reals_mut(&mut self.z),
            edge: &mut self.edge,
            species: &mut self.neighbour_species,
        };
        // Edges of each lane in each segment.
        let mut counts = [[0; MAX_LANES]; MAX_SPECIES_BY_SLOT];
        for (lane, &i) in centres.iter().enumerate() {
            each(lane);
            let edges = graph.edges(i as usize);
            let edges = edges.clone().zip(&vectors[edges]);
            if n_segments == 1 {
                // Nothing to predict: every edge is put, and counts where it is inside.
                let mut count = 0;
                for (e, &r) in edges {
                    let at = count * V::N + lane;
                    // SAFETY: there is room for all edges of a centre.
                    unsafe { places.put(at, e as u32, r) };
                    if !common {
                        places.species[at] = species_of(e);
                    }
                    count += usize::from(inside(r));
                }
                counts[0][lane] = count;
                continue;
            }
            let mut first = [0; MAX_SPECIES_BY_SLOT];
            self.segments.iter().for_each(|s| first[s.species] = s.slots.start);
            for (e, &r) in edges.filter(|(_, r)| inside(**r)) {
                let z = species_of(e) as usize;
                let count = &mut counts[z][lane];
                // SAFETY: there is room for all edges of a centre to a species.
                unsafe { places.put((first[z] + *count) * V::N + lane, e as u32, r) };
                *count += 1;
            }
        }
        // One segment has room for edges beyond the cutoff too.
        if let [segment] = &mut self.segments[..] {
            segment.slots.end = counts[segment.species].into_iter().max().unwrap_or(0);
        }
        for Segment { species, slots } in &self.segments {
            for (lane, count) in counts[*species].iter().enumerate().take(V::N) {
                for s in slots.start + count..slots.end {
                    // SAFETY: within the slots there is room for.
                    unsafe { places.put(s * V::N + lane, NONE, [rcut, 0.0, 0.0]) };
                    places.species[s * V::N + lane] = 0;
                }
            }
        }
        self.n_edges = counts.as_flattened().iter().sum();
        self.n_slots = self.segments.last().map_or(0, |s| s.slots.end);
        self.complete(&counts);
    }

    /// Room for so many slots, contents unspecified.
    fn make_room(&mut self, n_slots: usize) {
        for v in [&mut self.x, &mut self.y, &mut self.z, &mut self.r, &mut self.inv_r, &mut self.mask] {
            at_least(v, n_slots, V::zero());
        }
        at_least(&mut self.edge, n_slots * V::N, NONE);
        at_least(&mut self.slot_species, n_slots, NONE);
        at_least(&mut self.neighbour_species, n_slots * V::N, 0);
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
