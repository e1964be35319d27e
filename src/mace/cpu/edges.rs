//! The edges of a tile of atoms: places in the tables, harmonics, coupled harmonics, and the gradients by them.
//!
//! Harmonics of `v = −r_ij` in the convention of the training program: its axes (x, y, z) are (y, z, x) of the recursion.

use super::convolve::Convolution;
use super::table::Place;
use crate::graph::Graph;
use crate::memory;
use crate::simd::{Lanes, MAX_LANES, Real, as_reals};
use crate::stage::angular::Angular;
use std::f64::consts::PI;
use std::ops::Range;

/// Harmonics of the training program over orthonormal ones, √(4π).
fn norm() -> f64 {
    (4.0 * PI).sqrt()
}

pub struct Edges<V: Lanes> {
    first: Vec<usize>,
    /// The edge in the graph.
    pub id: Vec<u32>,
    /// The row of the neighbour's features.
    pub source: Vec<u32>,
    /// Table, and the place in it.
    pub table: Vec<u32>,
    pub place: Vec<Place>,
    /// Edge density and its slope.
    pub density: Vec<[f64; 2]>,
    /// Unit vectors of `−r_ij` with `1/r`, (z, x, y, 1/r), by groups of edges.
    unit: Vec<[V; 4]>,
    harmonics: Vec<V>,
    /// `C·Y`, (edges, entries).
    pub coupled: Vec<V::Real>,
    /// Gradients by the harmonics and by the place in the table, (edges, harmonics + 1), to be summed over lanes.
    pub bars: Vec<V>,
    scratch: Vec<V>,
}

impl<V: Lanes> Default for Edges<V> {
    fn default() -> Self {
        Edges {
            first: Vec::new(),
            id: Vec::new(),
            source: Vec::new(),
            table: Vec::new(),
            place: Vec::new(),
            density: Vec::new(),
            unit: Vec::new(),
            harmonics: Vec::new(),
            coupled: Vec::new(),
            bars: Vec::new(),
            scratch: Vec::new(),
        }
    }
}

/// What edges are made of.
#[derive(Clone, Copy)]
pub struct Sites<'a> {
    pub graph: &'a Graph,
    pub species_of: &'a [u32],
    /// The row of each atom's features; the species in the first layer.
    pub rows: Option<&'a [u32]>,
    /// Å; edges beyond are left out.
    pub cutoff: f64,
}

impl<V: Lanes> Edges<V> {
    pub fn n_atoms(&self) -> usize {
        self.first.len() - 1
    }

    /// The edges of an atom of the tile.
    #[inline(always)]
    pub fn of(&self, atom: usize) -> Range<usize> {
        self.first[atom]..self.first[atom + 1]
    }

    /// Fills in all but the gradients, for the atoms of a tile.
    pub fn fill(&mut self, sites: Sites, atoms: &[u32], conv: &Convolution<V>, angular: &Angular<V>) {
        let Sites { graph, species_of, rows, cutoff } = sites;
        self.first.clear();
        self.first.push(0);
        self.id.clear();
        self.source.clear();
        self.table.clear();
        self.place.clear();
        self.density.clear();
        self.unit.clear();
        let has_density = conv.has_density();
        let mut group = [[V::Real::default(); crate::simd::MAX_LANES]; 4];
        let vectors = graph.vectors();
        for &i in atoms {
            let receiver = species_of[i as usize] as usize;
            for e in graph.edges(i as usize) {
                let r = vectors[e];
                let length = (r[0] * r[0] + r[1] * r[1] + r[2] * r[2]).sqrt();
                if length >= cutoff {
                    continue;
                }
                let j = graph.neighbours()[e];
                let sender = species_of[j as usize] as usize;
                let index = conv.tables.index(sender, receiver);
                let table = conv.tables.at(index);
                let place = table.place(length);
                let lane = self.id.len() % V::N;
                self.id.push(e as u32);
                self.source.push(rows.map_or(j, |rows| rows[j as usize]));
                self.table.push(index as u32);
                self.place.push(place);
                if has_density {
                    self.density.push(table.density(place));
                }
                let inverse = 1.0 / length;
                for (group, x) in group.iter_mut().zip([-r[2] * inverse, -r[0] * inverse, -r[1] * inverse, inverse]) {
                    group[lane] = V::Real::of(x);
                }
                if lane + 1 == V::N {
                    self.unit.push(std::array::from_fn(|k| V::load(&group[k])));
                }
            }
            self.first.push(self.id.len());
        }
        if !self.id.len().is_multiple_of(V::N) {
            // What is left in the other lanes are unit vectors of edges before, or of none.
            self.unit.push(std::array::from_fn(|k| V::load(&group[k])));
        }
        self.couple(conv, angular);
    }

    fn couple(&mut self, conv: &Convolution<V>, angular: &Angular<V>) {
        let (n_y, n_c) = (conv.n_harmonics, conv.n_coupled);
        self.harmonics.resize(self.unit.len() * n_y, V::zero());
        self.coupled.resize(self.unit.len() * V::N * n_c, V::Real::default());
        self.scratch.resize(n_c, V::zero());
        let norm = V::Real::of(norm());
        V::vectorize(
            #[inline(always)]
            || {
                for (g, &[z, x, y, _]) in self.unit.iter().enumerate() {
                    let harmonics = &mut self.harmonics[g * n_y..][..n_y];
                    let one = V::splat(V::Real::of(1.0));
                    angular.eval([z, x, y, one], harmonics);
                    let scratch = &mut self.scratch[..];
                    scratch.fill(V::zero());
                    for c in &conv.couplings {
                        let k = V::splat(norm * V::Real::of(c.c));
                        scratch[c.entry] = harmonics[c.harmonic].mul_add(k, scratch[c.entry]);
                    }
                    let scratch = as_reals(scratch);
                    for lane in 0..V::N {
                        let to = &mut self.coupled[(g * V::N + lane) * n_c..][..n_c];
                        for (to, x) in to.iter_mut().zip(scratch[lane..].iter().step_by(V::N)) {
                            *to = *x;
                        }
                    }
                }
            },
        );
    }

    /// Makes room for the gradients of whole groups of edges.
    pub fn make_room_for_bars(&mut self, conv: &Convolution<V>) {
        memory::at_least(&mut self.bars, self.unit.len() * V::N * (conv.n_harmonics + 1), V::zero());
    }

    /// Calls `f` with each edge of the graph and `∂E/∂r_ij`; `density_bar` are the gradients by the densities of the atoms.
    pub fn gradients(
        &mut self,
        conv: &Convolution<V>,
        angular: &Angular<V>,
        density_bar: &[f64],
        mut f: impl FnMut(u32, [f64; 3]),
    ) {
        let n_y = conv.n_harmonics;
        let mut radial = vec![0.0; self.id.len()];
        for (atom, &bar) in density_bar.iter().enumerate() {
            self.of(atom).for_each(|e| radial[e] = bar * self.density[e][1]);
        }
        self.scratch.resize((n_y + 1).max(self.scratch.len()), V::zero());
        let norm = V::splat(V::Real::of(norm()));
        for (g, &[z, x, y, inverse]) in self.unit.iter().enumerate() {
            let edges = g * V::N..self.id.len().min((g + 1) * V::N);
            let bars = &self.bars[g * V::N * (n_y + 1)..][..V::N * (n_y + 1)];
            let sums = &mut self.scratch[..n_y + 1];
            let one = V::splat(V::Real::of(1.0));
            let pulled = V::vectorize(
                #[inline(always)]
                || {
                    sums_over_lanes(bars, sums);
                    sums[..n_y].iter_mut().for_each(|sum| *sum = *sum * norm);
                    angular.pullback([z, x, y, one], &self.harmonics[g * n_y..][..n_y], &sums[..n_y])
                },
            );
            // The harmonics are those of the unit vector: their gradient has the factor 1/r.
            let [pz, px, py] = pulled.map(|p| (p * inverse).to_array());
            let [uz, ux, uy] = [z, x, y].map(V::to_array);
            let by_place = self.scratch[n_y].to_array();
            for (lane, e) in edges.enumerate() {
                let dr = radial[e] + by_place[lane].to_f64() * self.place[e].inverse_step;
                // By v = −r_ij along its unit vector, hence the sign.
                let along = |p: V::Real, u: V::Real| -(p.to_f64() + dr * u.to_f64());
                f(self.id[e], [along(px[lane], ux[lane]), along(py[lane], uy[lane]), along(pz[lane], uz[lane])]);
            }
        }
    }
}

/// Of `N` rows of vectors, one after another, the sums over the lanes of each: the lanes of `sums` are the rows.
#[inline(always)]
fn sums_over_lanes<V: Lanes>(rows: &[V], sums: &mut [V]) {
    for (k, sum) in sums.iter_mut().enumerate() {
        let mut square = [V::zero(); MAX_LANES];
        for (to, row) in square.iter_mut().zip(rows.chunks_exact(rows.len() / V::N)) {
            *to = row[k];
        }
        V::transpose(&mut square[..V::N]);
        // In pairs: rounding grows with the logarithm of their number.
        let mut n = V::N / 2;
        while n > 0 {
            for i in 0..n {
                square[i] = square[i] + square[i + n];
            }
            n /= 2;
        }
        *sum = square[0];
    }
}
