//! The convolution: over the edges of an atom, features of the neighbour times harmonics times radial weights, and its adjoint.
//!
//! The lanes are channels. `C·Y`, the harmonics coupled for a path, is a small matrix that all channels of an edge share.

// Indices run over several arrays at once.
#![allow(clippy::needless_range_loop)]

use super::edges::Edges;
use super::table::Tables;
use crate::mace::network::{Layer, Path, Quintic};
use crate::ops::coupling::{Convention, w3j};
use crate::parallel::{Disjoint, prefetch};
use crate::simd::{Lanes, Real};

/// Calls `$known` with the dimensions of the degrees as constants, `$other` for degrees above three.
macro_rules! by_degrees {
    (call $f:expr, ($($argument:expr),*)) => { $f($($argument),*) };
    (of $l1:expr, $l3:expr, $known:ident, $other:ident, $arguments:tt;
     $(($a:literal, $b:literal: $d1:literal, $d3:literal))*) => {
        match ($l1, $l3) {
            $(($a, $b) => by_degrees!(call $known::<V, $d1, $d3>, $arguments),)*
            _ => by_degrees!(call $other::<V>, $arguments),
        }
    };
    ($l1:expr, $l3:expr, $known:ident, $other:ident, $arguments:tt) => {
        by_degrees!(of $l1, $l3, $known, $other, $arguments;
            (0, 0: 1, 1) (0, 1: 1, 3) (0, 2: 1, 5) (0, 3: 1, 7) (1, 0: 3, 1) (1, 1: 3, 3) (1, 2: 3, 5) (1, 3: 3, 7)
            (2, 0: 5, 1) (2, 1: 5, 3) (2, 2: 5, 5) (2, 3: 5, 7) (3, 0: 7, 1) (3, 1: 7, 3) (3, 2: 7, 5) (3, 3: 7, 7))
    };
}

/// Paths of a layer, and what the sparse couplings make of the harmonics.
pub struct Convolution<V: Lanes> {
    paths: Vec<Step>,
    pub tables: Tables<V>,
    pub n_blocks: usize,
    /// Components of the features of an edge, and of the messages.
    pub n_x: usize,
    pub n_m: usize,
    pub n_harmonics: usize,
    /// Entries of `C·Y` of all paths.
    pub n_coupled: usize,
    pub couplings: Vec<Coupling>,
    /// For each path the same by harmonic, for the adjoint.
    by_harmonic: Vec<Vec<Harmonic<V>>>,
}

/// `coupled[entry] += c · Y[harmonic]`
pub struct Coupling {
    pub entry: usize,
    pub harmonic: usize,
    pub c: f64,
}

/// `Ȳ[harmonic] += Σ c · G[entry]`, entries counted within the path.
struct Harmonic<V: Lanes> {
    harmonic: usize,
    terms: Vec<(u32, V::Real)>,
}

struct Step {
    path: Path,
    x: usize,
    m: usize,
    coupled: usize,
}

/// Where the gradients by the features of the edges of a chunk go, (blocks, edges, n_x): a block is written for all edges before the next.
#[derive(Clone, Copy)]
pub struct EdgeRows<'a, V> {
    all: Disjoint<'a, V>,
    /// The first edge of the chunk, and how many it has.
    first: usize,
    n_edges: usize,
    n_x: usize,
}

impl<'a, V> EdgeRows<'a, V> {
    /// # Safety
    /// Nobody else reads or writes what belongs to the edges that this is used for while it lives.
    pub unsafe fn new(all: Disjoint<'a, V>, (first, n_edges): (usize, usize), n_x: usize) -> Self {
        EdgeRows { all, first, n_edges, n_x }
    }

    /// What belongs to an edge and a channel block.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub fn at(&self, edge: usize, block: usize) -> &mut [V] {
        // SAFETY: the word of whoever made it; one is in use at a time.
        unsafe { self.all.slice((block * self.n_edges + edge - self.first) * self.n_x, self.n_x) }
    }
}

/// Memory of the adjoint of an edge and a channel block: gradients by features and harmonics, a path's by `C·Y`.
struct Scratch<V> {
    x_bar: [V; MAX_X],
    y_bar: [V; MAX_Y],
    g: [V; MAX_MATRIX],
}

/// The widest matrix of a path.
const MAX_MATRIX: usize = 13 * 13;
/// Components of an edge's features, and harmonics with one more place.
const MAX_X: usize = 64;
const MAX_Y: usize = 50;

impl<V: Lanes> Convolution<V> {
    pub fn new(layer: &Layer, lmax: usize, tolerance: f64) -> Convolution<V> {
        let (edge, messages) = (layer.edge(), layer.messages());
        let (x, m) = (edge.offsets(), messages.offsets());
        let (mut paths, mut couplings, mut by_harmonic, mut coupled) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for (k, &path) in layer.paths.iter().enumerate() {
            let [d1, d2, d3] = [path.l1, path.l2, path.l3].map(|l| 2 * l + 1);
            // C(l1, l2 → l3), factor included.
            let c = w3j(path.l1, path.l2, path.l3, Convention::O3E3nn);
            let scale = (d3 as f64).sqrt();
            let mut rows: Vec<Harmonic<V>> =
                (0..d2).map(|b| Harmonic { harmonic: path.l2 * path.l2 + b, terms: Vec::new() }).collect();
            for a in 0..d1 {
                for b in 0..d2 {
                    for o in 0..d3 {
                        let c = scale * c[(a * d2 + b) * d3 + o];
                        if c.abs() > 1e-12 {
                            let entry = o * d1 + a;
                            couplings.push(Coupling { entry: coupled + entry, harmonic: path.l2 * path.l2 + b, c });
                            rows[b].terms.push((entry as u32, V::Real::of(c)));
                        }
                    }
                }
            }
            by_harmonic.push(rows);
            paths.push(Step { path, x: x[path.block], m: m[k], coupled });
            coupled += d1 * d3;
        }
        Convolution {
            paths,
            tables: Tables::new(&layer.radial, edge.k, tolerance),
            n_blocks: edge.k.div_ceil(V::N),
            n_x: edge.components(),
            n_m: messages.components(),
            n_harmonics: (lmax + 1) * (lmax + 1),
            n_coupled: coupled,
            couplings,
            by_harmonic,
        }
    }

    /// Whether edges have a density.
    pub fn has_density(&self) -> bool {
        self.tables.has_density()
    }

    /// Vectors of a node's features, `n_blocks · n_x`.
    pub fn width(&self) -> usize {
        self.n_blocks * self.n_x
    }

    /// Vectors from one node's features to the next one's: an odd number of cache lines, as a block of all neighbours is read before the next
    /// one, and lines a power of two apart share a few places in the cache.
    pub fn stride(&self) -> usize {
        let line = (64 / size_of::<V>()).max(1);
        (self.width().div_ceil(line) | 1) * line
    }

    /// Overwrites `messages` (atoms, blocks, n_m) with `Σ_j w x_j C·Y`; `x` (nodes, blocks, n_x), [`Convolution::stride`] apart, rows by
    /// [`Edges::source`].
    pub fn forward(&self, edges: &Edges<V>, x: &[V], messages: &mut [V]) {
        let stride = self.stride();
        V::vectorize(
            #[inline(always)]
            || {
                for block in 0..self.n_blocks {
                    for atom in 0..edges.n_atoms() {
                        let m = &mut messages[(atom * self.n_blocks + block) * self.n_m..][..self.n_m];
                        m.fill(V::zero());
                        for e in edges.of(atom) {
                            self.ask_for(edges, e + 1, block);
                            let x = &x[edges.source[e] as usize * stride + block * self.n_x..][..self.n_x];
                            self.add_edge(edges, e, block, x, m);
                        }
                    }
                }
            },
        );
    }

    /// Asks for an edge's part of the table, which is larger than the second cache.
    #[inline(always)]
    fn ask_for(&self, edges: &Edges<V>, e: usize, block: usize) {
        if let (Some(&table), Some(place)) = (edges.table.get(e), edges.place.get(e)) {
            let rows = self.tables.at(table as usize).rows(block, place.interval);
            prefetch(rows, 0..rows.len());
        }
    }

    #[inline(always)]
    fn add_edge(&self, edges: &Edges<V>, e: usize, block: usize, x: &[V], m: &mut [V]) {
        let rows = self.tables.at(edges.table[e] as usize).rows(block, edges.place[e].interval);
        let t = V::splat(V::Real::of(edges.place[e].t));
        let coupled = &edges.coupled[e * self.n_coupled..][..self.n_coupled];
        for (step, row) in self.paths.iter().zip(rows) {
            let w = value(row, t);
            let Path { l1, l3, .. } = step.path;
            let (d1, d3) = (2 * l1 + 1, 2 * l3 + 1);
            let m = &mut m[step.m..step.m + d3];
            let c = &coupled[step.coupled..step.coupled + d1 * d3];
            let x = &x[step.x..step.x + d1];
            by_degrees!(l1, l3, message, message_any, (w, x, c, m));
        }
    }

    /// The adjoint: with `m_bar` (atoms, blocks, n_m) overwrites [`Edges::bars`] with the gradients by the harmonics and, last, by the place
    /// in the table; overwrites `x_bar` with the gradients by the features, if they are asked for.
    pub fn backward(&self, edges: &mut Edges<V>, x: &[V], m_bar: &[V], x_bar: Option<EdgeRows<V>>) {
        edges.make_room_for_bars(self);
        let stride = self.stride();
        V::vectorize(
            #[inline(always)]
            || {
                // Made once: clearing them for every edge would take longer than the edge.
                let mut scratch =
                    Scratch { x_bar: [V::zero(); MAX_X], y_bar: [V::zero(); MAX_Y], g: [V::zero(); MAX_MATRIX] };
                for block in 0..self.n_blocks {
                    for atom in 0..edges.n_atoms() {
                        let m_bar = &m_bar[(atom * self.n_blocks + block) * self.n_m..][..self.n_m];
                        for e in edges.of(atom) {
                            self.ask_for(edges, e + 1, block);
                            let x = &x[edges.source[e] as usize * stride + block * self.n_x..][..self.n_x];
                            self.edge_adjoint(edges, e, block, x, m_bar, &mut scratch);
                            if let Some(x_bar) = &x_bar {
                                x_bar.at(edges.id[e] as usize, block).copy_from_slice(&scratch.x_bar[..self.n_x]);
                            }
                        }
                    }
                }
            },
        );
    }

    #[inline(always)]
    fn edge_adjoint(
        &self,
        edges: &mut Edges<V>,
        e: usize,
        block: usize,
        x: &[V],
        m_bar: &[V],
        Scratch { x_bar, y_bar, g }: &mut Scratch<V>,
    ) {
        let rows = self.tables.at(edges.table[e] as usize).rows(block, edges.place[e].interval);
        let t = V::splat(V::Real::of(edges.place[e].t));
        let coupled = &edges.coupled[e * self.n_coupled..][..self.n_coupled];
        let n = self.n_harmonics;
        let bars = &mut edges.bars[e * (n + 1)..][..n + 1];
        let (x_bar, y_bar) = (&mut x_bar[..self.n_x], &mut y_bar[..n + 1]);
        x_bar.fill(V::zero());
        match block {
            0 => y_bar.fill(V::zero()),
            _ => y_bar.copy_from_slice(bars),
        }
        for (k, (step, row)) in self.paths.iter().zip(rows).enumerate() {
            let (w, slope) = value_and_slope(row, t);
            let Path { l1, l2, l3, .. } = step.path;
            let (d1, d3) = (2 * l1 + 1, 2 * l3 + 1);
            let m = &m_bar[step.m..step.m + d3];
            let c = &coupled[step.coupled..step.coupled + d1 * d3];
            let x = &x[step.x..step.x + d1];
            let bar = &mut x_bar[step.x..step.x + d1];
            let w_bar = match l1 {
                // `C` is the identity: no need of what the others keep.
                0 => {
                    let wx = w * x[0];
                    let mut sum = V::zero();
                    for ((y, &m), &c) in y_bar[l2 * l2..].iter_mut().zip(m).zip(c) {
                        *y = wx.mul_add(m, *y);
                        sum = m.mul_add(V::splat(c), sum);
                    }
                    bar[0] = w.mul_add(sum, bar[0]);
                    x[0] * sum
                }
                _ => {
                    let w_bar = by_degrees!(l1, l3, adjoint, adjoint_any, (w, x, c, m, bar, g));
                    for row in &self.by_harmonic[k] {
                        let mut y = y_bar[row.harmonic];
                        for &(entry, c) in &row.terms {
                            y = g[entry as usize].mul_add(V::splat(c), y);
                        }
                        y_bar[row.harmonic] = y;
                    }
                    w_bar
                }
            };
            y_bar[n] = w_bar.mul_add(slope, y_bar[n]);
        }
        bars.copy_from_slice(y_bar);
    }
}

#[inline(always)]
fn value<V: Lanes>(c: &Quintic<V>, t: V) -> V {
    (0..5).rev().fold(c[5], |sum, k| sum.mul_add(t, c[k]))
}

/// With the derivative by `t`.
#[inline(always)]
fn value_and_slope<V: Lanes>(c: &Quintic<V>, t: V) -> (V, V) {
    (0..5).rev().fold((c[5], V::zero()), |(sum, slope), k| (sum.mul_add(t, c[k]), slope.mul_add(t, sum)))
}

/// `m[o] += w Σ_a c[o, a] x[a]`
#[inline(always)]
fn message<V: Lanes, const D1: usize, const D3: usize>(w: V, x: &[V], c: &[V::Real], m: &mut [V]) {
    let wx: [V; D1] = std::array::from_fn(|a| w * x[a]);
    let (m, c) = (&mut m[..D3], &c[..D1 * D3]);
    for o in 0..D3 {
        let mut sum = m[o];
        for a in 0..D1 {
            sum = wx[a].mul_add(V::splat(c[o * D1 + a]), sum);
        }
        m[o] = sum;
    }
}

/// As [`message`], for degrees above three.
#[inline(always)]
fn message_any<V: Lanes>(w: V, x: &[V], c: &[V::Real], m: &mut [V]) {
    for (m, c) in m.iter_mut().zip(c.chunks_exact(x.len())) {
        let sum = x.iter().zip(c).fold(V::zero(), |sum, (x, &c)| x.mul_add(V::splat(c), sum));
        *m = w.mul_add(sum, *m);
    }
}

/// Returns the gradient by `w`, adds that by `x`, and writes `g[o, a] = w m̄[o] x[a]`.
#[inline(always)]
fn adjoint<V: Lanes, const D1: usize, const D3: usize>(
    w: V,
    x: &[V],
    c: &[V::Real],
    m: &[V],
    x_bar: &mut [V],
    g: &mut [V],
) -> V {
    let x: [V; D1] = std::array::from_fn(|a| x[a]);
    let (m, c, g) = (&m[..D3], &c[..D1 * D3], &mut g[..D1 * D3]);
    // Σ_o c[o, a] m̄[o]
    let mut sums = [V::zero(); D1];
    for o in 0..D3 {
        let wm = w * m[o];
        for a in 0..D1 {
            sums[a] = m[o].mul_add(V::splat(c[o * D1 + a]), sums[a]);
            g[o * D1 + a] = wm * x[a];
        }
    }
    let mut w_bar = V::zero();
    for a in 0..D1 {
        x_bar[a] = w.mul_add(sums[a], x_bar[a]);
        w_bar = x[a].mul_add(sums[a], w_bar);
    }
    w_bar
}

/// As [`adjoint`], for degrees above three.
#[inline(always)]
fn adjoint_any<V: Lanes>(w: V, x: &[V], c: &[V::Real], m: &[V], x_bar: &mut [V], g: &mut [V]) -> V {
    let d = x.len();
    let mut w_bar = V::zero();
    for (a, &x) in x.iter().enumerate() {
        let mut sum = V::zero();
        for (o, &m) in m.iter().enumerate() {
            sum = m.mul_add(V::splat(c[o * d + a]), sum);
            g[o * d + a] = w * m * x;
        }
        x_bar[a] = w.mul_add(sum, x_bar[a]);
        w_bar = x.mul_add(sum, w_bar);
    }
    w_bar
}
