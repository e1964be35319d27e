//! A block of centres: one centre to a lane, their edges in slots.

use crate::graph::Sites;
use crate::memory::at_least;
use crate::simd::{Lanes, MAX_LANES, Real, as_reals_mut};
use std::ops::Range;

/// An edge index that stands for "no edge in this lane".
pub const NONE: u32 = u32::MAX;

/// With more species than this, slots are mixed.
pub const MAX_SPECIES_BY_SLOT: usize = 16;

/// As many segments count in one register.
const FEW_SEGMENTS: usize = 4;

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
    pub slots: Range<usize>,
}

/// Where edges are put, by (segment, slot, lane).
struct Places<'a, T> {
    x: &'a mut [T],
    y: &'a mut [T],
    z: &'a mut [T],
    edge: &'a mut [u32],
    species: &'a mut [u32],
    n_segments: usize,
    /// Slots of a segment.
    room: usize,
    /// Of the cutoff of each segment.
    squares: &'a [f64; MAX_SPECIES_BY_SLOT],
}

impl<T: Real> Places<'_, T> {
    /// Puts the edges of a lane, fewer than a segment has slots, with the species of their neighbours: into the segment of that species,
    /// or, where they are to be `MIXED`, all into the first. Returns how many each segment has.
    ///
    /// A `FEW` next slots, of at most [`FEW_SEGMENTS`] segments and below 2¹⁶, find room in one register, so that an edge does not wait
    /// for the one before it to be counted in memory.
    #[inline(always)]
    fn put_all<V: Lanes<Real = T>, const MIXED: bool, const FEW: bool>(
        &mut self,
        lane: usize,
        edges: impl Iterator<Item = ((u32, [f64; 3]), usize)>,
    ) -> [u32; MAX_SPECIES_BY_SLOT] {
        let (room, n_segments) = (self.room, self.n_segments);
        let n = n_segments * room * V::N;
        assert!(n_segments <= MAX_SPECIES_BY_SLOT && lane < V::N && n <= self.x.len() && n <= self.y.len());
        assert!(n <= self.z.len() && n <= self.edge.len() && n <= self.species.len());
        assert!(!FEW || n_segments <= FEW_SEGMENTS && n_segments * room < 1 << 16);
        let mut next: [u32; MAX_SPECIES_BY_SLOT] = std::array::from_fn(|segment| (segment * room) as u32);
        let mut few = (0..FEW_SEGMENTS.min(n_segments)).fold(0, |few, k| few | (next[k] as u64) << (16 * k));
        // Nothing to predict: every edge is put, and counts where it is inside.
        for ((e, [x, y, z]), species) in edges.take(room) {
            let segment = if MIXED { 0 } else { species };
            assert!(segment < n_segments, "species {segment} of {n_segments}");
            let slot = if FEW { u32::from((few >> (16 * segment)) as u16) } else { next[segment] };
            let at = slot as usize * V::N + lane;
            // SAFETY: the slot lies in its segment, as fewer than `room` edges were counted before, and all segments in the slices.
            unsafe {
                *self.x.get_unchecked_mut(at) = T::of(x);
                *self.y.get_unchecked_mut(at) = T::of(y);
                *self.z.get_unchecked_mut(at) = T::of(z);
                *self.edge.get_unchecked_mut(at) = e;
                if MIXED {
                    *self.species.get_unchecked_mut(at) = species as u32;
                }
            }
            let inside = x * x + y * y + z * z < self.squares[segment];
            match FEW {
                true => few += u64::from(inside) << (16 * segment),
                false => next[segment] = slot + u32::from(inside),
            }
        }
        std::array::from_fn(|k| match FEW {
            true if k < FEW_SEGMENTS => u32::from((few >> (16 * k)) as u16).saturating_sub((k * room) as u32),
            _ => next[k] - (k * room) as u32,
        })
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
    /// Vectors of a centre, where the graph has none.
    row: Vec<[f64; 3]>,
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
            row: Vec::new(),
        }
    }
}

impl<V: Lanes> Block<V> {
    /// Memory of a slot while packing, where each segment has slots for all edges of a centre.
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
        let neighbours = graph.neighbours();
        // Edges are put without a check for each: this one, that of their segment and the counts are what keeps them inside.
        assert!(centres.len() <= V::N, "{} centres for {} lanes", centres.len(), V::N);
        assert!(!by_species || n_species <= MAX_SPECIES_BY_SLOT, "slots by {n_species} species");
        self.species = species;
        self.centres.clear();
        self.centres.extend_from_slice(centres);
        let most = centres.iter().map(|&i| graph.edges(i as usize).len()).max().unwrap_or(0);
        let n_segments = if by_species { n_species } else { 1 };
        // Each segment has room for all edges of a centre, and for one beyond the cutoff.
        let room = most + 1;
        assert!(n_segments * room <= u32::MAX as usize, "{most} edges of a centre");
        self.make_room(n_segments * room);
        let few = n_segments <= FEW_SEGMENTS && n_segments * room < 1 << 16;
        let mut squares = [rcut * rcut; MAX_SPECIES_BY_SLOT];
        for (square, r) in squares.iter_mut().zip(of_pairs.iter().skip(species * n_species)).take(n_segments) {
            *square = if n_segments > 1 { square.min(r * r) } else { *square };
        }
        // Edges of each lane in each segment.
        let mut counts = [[0; MAX_LANES]; MAX_SPECIES_BY_SLOT];
        let row = &mut self.row;
        let mut places = Places {
            x: as_reals_mut(&mut self.x),
            y: as_reals_mut(&mut self.y),
            z: as_reals_mut(&mut self.z),
            edge: &mut self.edge,
            species: &mut self.neighbour_species,
            n_segments,
            room,
            squares: &squares,
        };
        for (lane, &i) in centres.iter().enumerate() {
            each(lane);
            let edges = graph.edges(i as usize);
            let vectors = edges.clone().zip(graph.row(i as usize, row)).map(|(e, &r)| (e as u32, r));
            let species = neighbours[edges].iter().map(|&j| of_atoms[j as usize] as usize);
            let of_lane = match (few, n_segments == n_species) {
                (true, true) if n_species == 1 => {
                    places.put_all::<V, false, true>(lane, vectors.zip(std::iter::repeat(0)))
                }
                (true, true) => places.put_all::<V, false, true>(lane, vectors.zip(species)),
                (true, false) => places.put_all::<V, true, true>(lane, vectors.zip(species)),
                (false, true) => places.put_all::<V, false, false>(lane, vectors.zip(species)),
                (false, false) => places.put_all::<V, true, false>(lane, vectors.zip(species)),
            };
            for (counts, n) in counts.iter_mut().zip(of_lane).take(n_segments) {
                counts[lane] = n;
            }
        }
        self.segments.clear();
        (self.n_slots, self.n_edges) = (0, counts.as_flattened().iter().map(|&n| n as usize).sum());
        let common = by_species || n_species == 1;
        for (species, counts) in counts.iter().enumerate().take(n_segments) {
            let n = counts.iter().copied().max().unwrap_or(0) as usize;
            if n > 0 {
                let slots = self.n_slots..self.n_slots + n;
                self.slot_species[slots.clone()].fill(if common { species as u32 } else { NONE });
                self.complete(species * room, slots.clone(), counts, rcut);
                self.n_slots = slots.end;
                self.segments.push(Segment { species, slots });
            }
        }
    }

    /// Leaves what is of no use in all memory.
    #[cfg(test)]
    pub fn scribble(&mut self) {
        for v in [&mut self.x, &mut self.y, &mut self.z, &mut self.r, &mut self.inv_r, &mut self.mask] {
            v.fill(V::splat(V::Real::of(f64::NAN)));
        }
        for v in [&mut self.edge, &mut self.neighbour_species, &mut self.slot_species] {
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

    /// Brings a segment from where its edges were put to its slots, which lie not behind; adds lengths and masks, and vectors where there
    /// is no edge.
    #[inline(always)]
    fn complete(&mut self, from: usize, slots: Range<usize>, counts: &[u32; MAX_LANES], rcut: f64) {
        let (zero, one, rcut) = (V::zero(), V::splat(V::Real::of(1.0)), V::splat(V::Real::of(rcut)));
        let limits = V::from_fn(|lane| V::Real::of(f64::from(counts[lane])));
        for (k, s) in slots.clone().enumerate() {
            let mask = V::splat(V::Real::of(k as f64)).select_lt(limits, one, zero);
            let x = zero.select_lt(mask, self.x[from + k], rcut);
            let (y, z) = (zero.select_lt(mask, self.y[from + k], zero), zero.select_lt(mask, self.z[from + k], zero));
            let r = x.mul_add(x, y.mul_add(y, z * z)).sqrt();
            (self.x[s], self.y[s], self.z[s]) = (x, y, z);
            (self.r[s], self.inv_r[s], self.mask[s]) = (r, one.div(r), mask);
        }
        // Species in mixed slots, which are a single segment, lie where they belong.
        if from > slots.start {
            self.edge.copy_within(from * V::N..(from + slots.len()) * V::N, slots.start * V::N);
        }
        for (lane, &count) in counts.iter().enumerate().take(V::N) {
            for s in slots.start + count as usize..slots.end {
                (self.edge[s * V::N + lane], self.neighbour_species[s * V::N + lane]) = (NONE, 0);
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
