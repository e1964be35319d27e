//! A block of centres: one centre to a lane, their edges in slots.

use crate::graph::Sites;
use crate::memory::at_least;
use crate::simd::{Lanes, MAX_LANES, Real, as_reals_mut};

/// An edge index that stands for "no edge in this lane".
pub const NONE: u32 = u32::MAX;

/// With more species than this, slots are mixed.
pub const MAX_SPECIES_BY_SLOT: usize = 16;

/// Which edges a block has.
#[derive(Clone, Copy)]
pub struct Cutoff<'a> {
    /// Å.
    pub rcut: f64,
    /// The neighbours in a slot are all of one species, at the price of some padding.
    pub by_species: bool,
    /// Smaller cutoffs of ordered pairs, if there are any, Å; but in slots that are mixed.
    pub of_pairs: &'a [f64],
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
    /// While packing: edges by (species of the neighbour, lane).
    sorted: Vec<u32>,
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
            sorted: Vec::new(),
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

    /// Fills the block with the edges of `centres` (all of species `species`) that are shorter than the cutoff. Calls `each` before
    /// every lane.
    ///
    /// # Panics
    /// For more centres than lanes, a centre that is not in the graph, or slots by more species than [`MAX_SPECIES_BY_SLOT`].
    pub fn pack(&mut self, sites: Sites, species: usize, centres: &[u32], cutoff: Cutoff, each: impl Fn(usize)) {
        V::vectorize(
            #[inline(always)]
            || self.pack_inner(sites, species, centres, cutoff, each),
        );
    }

    #[inline(always)]
    fn pack_inner(&mut self, sites: Sites, species: usize, centres: &[u32], cutoff: Cutoff, each: impl Fn(usize)) {
        let Sites { graph, species: of_atoms, n_species } = sites;
        let Cutoff { rcut, by_species, of_pairs } = cutoff;
        let (neighbours, vectors) = (graph.neighbours(), graph.vectors());
        // Edges are put without a check for each: this one and the counts below are what keeps them inside.
        assert!(centres.len() <= V::N, "{} centres for {} lanes", centres.len(), V::N);
        assert!(!by_species || n_species <= MAX_SPECIES_BY_SLOT, "slots by {n_species} species");
        self.species = species;
        self.centres.clear();
        self.centres.extend_from_slice(centres);
        let square = |[x, y, z]: [f64; 3]| x * x + y * y + z * z;
        let species_of = |e: usize| of_atoms[neighbours[e] as usize];
        let edges_of = |i: u32| {
            let edges = graph.edges(i as usize);
            edges.clone().zip(&vectors[edges])
        };
        let most = centres.iter().map(|&i| graph.edges(i as usize).len()).max().unwrap_or(0);
        let n_segments = if by_species { n_species } else { 1 };
        // Edges of each lane in each segment.
        let mut counts = [[0; MAX_LANES]; MAX_SPECIES_BY_SLOT];
        if n_segments > 1 {
            let mut squares = [rcut * rcut; MAX_SPECIES_BY_SLOT];
            for (square, r) in squares.iter_mut().zip(of_pairs.iter().skip(species * n_species)) {
                *square = square.min(r * r);
            }
            at_least(&mut self.sorted, n_segments * V::N * (most + 1), 0);
            for lane in 0..V::N {
                // Lanes without a centre have lists, too.
                let edges = centres.get(lane).map_or(0..0, |&i| {
                    each(lane);
                    graph.edges(i as usize)
                });
                let edges = edges.clone().zip(&neighbours[edges.clone()]).zip(&vectors[edges]);
                let edges = edges.map(|((e, &j), &r)| (e as u32, of_atoms[j as usize] as usize, square(r)));
                // A few counts find room in one register, and edges need not wait for each other.
                let (sorted, sizes) = (&mut self.sorted[lane * (most + 1)..], (n_segments, most + 1));
                let of_lane = match n_segments <= 4 && most < 1 << 16 {
                    true => sort::<V, 1>(edges, &squares, sorted, sizes),
                    false => sort::<V, MAX_SPECIES_BY_SLOT>(edges, &squares, sorted, sizes),
                };
                for (counts, n) in counts.iter_mut().zip(of_lane) {
                    counts[lane] = n;
                }
            }
        }
        self.segments.clear();
        let mut start = 0;
        for (species, counts) in counts.iter().enumerate().take(n_segments) {
            let needed = if n_segments > 1 { counts.iter().copied().max().unwrap_or(0) } else { most };
            if needed > 0 {
                self.segments.push(Segment { species, slots: start..start + needed });
                start += needed;
            }
        }
        // One slot more: for an edge beyond the cutoff.
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
        if n_segments == 1 {
            for (lane, &i) in centres.iter().enumerate() {
                each(lane);
                // Again every edge is put.
                let mut count = 0;
                for (e, &r) in edges_of(i) {
                    let at = count * V::N + lane;
                    // SAFETY: there is room for all edges of a centre.
                    unsafe { places.put(at, e as u32, r) };
                    if !common {
                        places.species[at] = species_of(e);
                    }
                    count += usize::from(square(r) < rcut * rcut);
                }
                counts[0][lane] = count;
            }
            // There is room for edges beyond the cutoff too.
            for segment in &mut self.segments {
                segment.slots.end = counts[0].into_iter().max().unwrap_or(0);
                for (lane, &count) in counts[0].iter().enumerate().take(V::N) {
                    for at in (count..segment.slots.end).map(|s| s * V::N + lane) {
                        // SAFETY: within the slots there is room for.
                        unsafe { places.put(at, NONE, [rcut, 0.0, 0.0]) };
                        places.species[at] = 0;
                    }
                }
            }
        } else {
            for Segment { species, slots } in &self.segments {
                let (counts, lists) = (&counts[*species], &self.sorted[species * V::N * (most + 1)..]);
                for (k, s) in slots.clone().enumerate() {
                    for (lane, list) in lists.chunks_exact(most + 1).enumerate().take(V::N) {
                        // Where a list ends is not to be predicted: it ends with an edge that there is, of no account.
                        let e = list[k.min(counts[lane])];
                        let known = if k < counts[lane] { e } else { NONE };
                        // SAFETY: within the slots there is room for.
                        unsafe { places.put(s * V::N + lane, known, vectors[e as usize]) };
                    }
                }
            }
        }
        self.n_edges = counts.as_flattened().iter().sum();
        self.n_slots = self.segments.last().map_or(0, |s| s.slots.end);
        self.complete(&counts, rcut);
    }

    /// Leaves what is of no use in all memory.
    #[cfg(test)]
    pub fn scribble(&mut self) {
        for v in [&mut self.x, &mut self.y, &mut self.z, &mut self.r, &mut self.inv_r, &mut self.mask] {
            v.fill(V::splat(V::Real::of(f64::NAN)));
        }
        for v in [&mut self.edge, &mut self.neighbour_species, &mut self.sorted, &mut self.slot_species] {
            v.fill(u32::MAX - 1);
        }
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

    /// Lengths and masks, and vectors where there is no edge.
    #[inline(always)]
    fn complete(&mut self, counts: &[[usize; MAX_LANES]; MAX_SPECIES_BY_SLOT], rcut: f64) {
        let (zero, one, rcut) = (V::zero(), V::splat(V::Real::of(1.0)), V::splat(V::Real::of(rcut)));
        for Segment { species, slots } in &self.segments {
            let counts = V::load(&counts[*species].map(|n| V::Real::of(n as f64)));
            for (k, s) in slots.clone().enumerate() {
                let mask = V::splat(V::Real::of(k as f64)).select_lt(counts, one, zero);
                let x = zero.select_lt(mask, self.x[s], rcut);
                let (y, z) = (zero.select_lt(mask, self.y[s], zero), zero.select_lt(mask, self.z[s], zero));
                let r = x.mul_add(x, y.mul_add(y, z * z)).sqrt();
                (self.x[s], self.y[s], self.z[s]) = (x, y, z);
                (self.r[s], self.inv_r[s], self.mask[s]) = (r, one.div(r), mask);
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

/// Sorts the edges of a centre, with species and squared length, into lists by species, of `room` entries each; the lists of a species
/// are `V::N · room` apart, and each ends with an edge 0. Returns their lengths, which `W` words hold.
#[inline(always)]
fn sort<V: Lanes, const W: usize>(
    edges: impl Iterator<Item = (u32, usize, f64)>,
    squares: &[f64; MAX_SPECIES_BY_SLOT],
    sorted: &mut [u32],
    (n_lists, room): (usize, usize),
) -> [usize; MAX_SPECIES_BY_SLOT] {
    let word = |z: usize| if W == 1 { (0, 16 * z as u32, 0xffff) } else { (z, 0, u64::MAX) };
    let (mut counts, apart) = ([0; W], V::N * room);
    assert!(n_lists <= MAX_SPECIES_BY_SLOT && sorted.len() > (n_lists - 1) * apart);
    // Nothing to predict: every edge is put, and counts where it is inside.
    for (e, z, square) in edges {
        assert!(z < n_lists, "species {z} of {n_lists}");
        let (w, shift, mask) = word(z);
        sorted[z * apart + (counts[w] >> shift & mask) as usize] = e;
        counts[w] += u64::from(square < squares[z]) << shift;
    }
    let mut lengths = [0; MAX_SPECIES_BY_SLOT];
    for (z, length) in lengths.iter_mut().enumerate().take(n_lists) {
        let (w, shift, mask) = word(z);
        *length = (counts[w] >> shift & mask) as usize;
        sorted[z * apart + *length] = 0;
    }
    lengths
}
