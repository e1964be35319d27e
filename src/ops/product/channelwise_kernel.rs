//! Channels are the lanes. For an edge and a path, `M[a, c] = Σ_b C[a, b, c] y[b]` is shared by all channels:
//! `out[u, c] += Σ_a w[u] x[u, a] M[a, c]`. Backwards, with `z[u, a] = Σ_c M[a, c] ō[u, c]`,
//! `w̄[u] = Σ_a x[u, a] z[u, a]`, `x̄[u, a] += w[u] z[u, a]`, `M̄[a, c] = Σ_u w[u] x[u, a] ō[u, c]`, `ȳ[b] = Σ_ac C[a, b, c] M̄[a, c]`.
//!
//! Results stay in registers for all edges of a batch. For `M` and `ȳ` the edges of the batch are the lanes.

use super::convolution::{BATCH, MEMORY, Product};
use super::paths::Path;
use crate::ops::coupling::Entry;
use crate::ops::kernel::{Source, entries, load_at, load_part, store_at, store_part};
use crate::simd::{Lanes, MAX_LANES, Real, Value};

pub(super) struct ChannelwiseProduct<V: Lanes> {
    paths: Vec<Plan<V::Real>>,
    /// Numbers in `y`, and in all `M` of an edge.
    n_y: usize,
    n_matrix: usize,
}

struct Plan<T> {
    x: usize,
    out: usize,
    w: usize,
    mul: usize,
    /// `2l + 1` of the result.
    columns: usize,
    /// Rows of `M`, which is row-major from `matrix` on; none where `y` is a scalar: `M` is a number times the identity then.
    rows: Option<usize>,
    matrix: usize,
    /// Places in `M` and `y`, and the number of `C`.
    coupling: Vec<(usize, usize, T)>,
    /// Columns that are summed in registers: first one, and how many.
    tiles: Vec<(usize, usize)>,
}

fn tiles(columns: usize, sizes: &[usize]) -> Vec<(usize, usize)> {
    let mut tiles = Vec::new();
    let mut column = 0;
    while column < columns {
        let n = sizes.iter().copied().find(|&n| n <= columns - column).expect("one is left");
        tiles.push((column, n));
        column += n;
    }
    tiles
}

/// Runs `$run` with `$C` the columns of a tile and `$D`, whether `M` is a number.
macro_rules! for_tile {
    ($path:expr, $columns:expr, $C:ident, $D:ident => $run:expr) => {
        for_tile!($path, $columns, $C, $D => $run, (1, true) (3, true) (1, false) (3, false) (5, false) (7, false))
    };
    ($path:expr, $columns:expr, $C:ident, $D:ident => $run:expr, $(($c:literal, $d:literal))*) => {
        match ($columns, $path.rows.is_none()) {
            $(($c, $d) => {
                const $C: usize = $c;
                const $D: bool = $d;
                $run
            })*
            _ => unreachable!("no such tile"),
        }
    };
}

impl<V: Value<Plain = V>> ChannelwiseProduct<V> {
    pub fn new(paths: Vec<Path>, n_y: usize) -> Self {
        let mut n_matrix = 0;
        let mut plans = Vec::new();
        for path in paths.iter().filter(|p| p.mul[0] > 0) {
            let [rows, scalar, columns] = path.dim;
            let entry = |e: &Entry| {
                let at = if scalar == 1 { 0 } else { e.index[0] * columns + e.index[2] };
                (n_matrix + at, path.start[1] + e.index[1], V::Real::of(e.value))
            };
            // The identity, but for rounding: one number of it serves all.
            let numbers = if scalar == 1 { 1 } else { path.coupling.len() };
            plans.push(Plan {
                x: path.start[0],
                out: path.start[2],
                w: path.w.start,
                mul: path.mul[0],
                columns,
                rows: (scalar > 1).then_some(rows),
                matrix: n_matrix,
                coupling: path.coupling[..numbers].iter().map(entry).collect(),
                tiles: tiles(columns, if scalar == 1 { &[3, 1] } else { &[7, 5, 3, 1] }),
            });
            n_matrix += if scalar == 1 { 1 } else { rows * columns };
        }
        ChannelwiseProduct { paths: plans, n_y, n_matrix }
    }

    /// `M` of all paths and edges, or its tangent, from `y` or its.
    #[inline(always)]
    fn fill(&self, y: &[V::Real], places: &[[usize; 3]], transposed: &mut [V::Real], m: &mut [V::Real]) {
        transposed.fill(V::Real::default());
        for (lane, place) in places.iter().enumerate() {
            let y = &y[place[1]..place[1] + self.n_y];
            transposed.iter_mut().skip(lane).step_by(BATCH).zip(y).for_each(|(to, &y)| *to = y);
        }
        m.fill(V::Real::default());
        for path in &self.paths {
            for &(k, b, c) in &path.coupling {
                for lanes in (0..BATCH).step_by(V::N) {
                    let m = &mut m[k * BATCH + lanes..][..V::N];
                    let y = V::load(&transposed[b * BATCH + lanes..][..V::N]);
                    V::splat(c).mul_add(y, V::load(m)).store(m);
                }
            }
        }
    }

    #[inline(always)]
    fn matrices<N: Value>(
        &self,
        y: Source<V::Real>,
        places: &[[usize; 3]],
        [transposed, value, tangent, ..]: &mut [&mut [V::Real]; MEMORY],
    ) {
        self.fill(y.value, places, transposed, value);
        if let Some(y) = y.tangent.filter(|_| N::HAS_TANGENT) {
            self.fill(y, places, transposed, tangent);
        }
    }

    /// The sums of `M̄` over lanes: each of them beside those of other edges.
    #[inline(always)]
    fn total(sums: &[V::Real], lane: usize, m_bar: &mut [V::Real]) {
        for (square, m_bar) in sums.chunks(V::N * V::N).zip(m_bar.chunks_mut(V::N * BATCH)) {
            let mut rows = [V::zero(); MAX_LANES];
            for (row, lanes) in rows.iter_mut().zip(square.chunks(V::N)) {
                *row = V::load(lanes);
            }
            V::transpose(&mut rows[..V::N]);
            let mut total = rows[0];
            for &row in &rows[1..V::N] {
                total = total + row;
            }
            m_bar.iter_mut().skip(lane).step_by(BATCH).zip(total.to_array()).for_each(|(to, x)| *to = x);
        }
    }
}

/// Which gradients are asked for.
#[derive(Clone, Copy)]
struct Wants {
    x: bool,
    y: bool,
    w: bool,
}

/// Some columns of a path's result for all edges; `D` where `M` is a number.
///
/// # Safety
/// That of [`Product::sum`].
#[inline(always)]
unsafe fn sum_tile<N: Value, const C: usize, const D: bool>(
    path: &Plan<N::Real>,
    column: usize,
    [x, w, m]: [Source<N::Real>; 3],
    places: &[[usize; 3]],
    out: &mut [N::Real],
) {
    let mul = path.mul;
    for u in (0..mul).step_by(N::N) {
        let n = N::N.min(mul - u);
        let mut sums = entries!(c < C, N::Plain::zero() => load_part(&out[path.out + (column + c) * mul + u..], n));
        for (lane, place) in places.iter().enumerate() {
            let (x_at, m_at) = (place[0] + path.x + u, path.matrix * BATCH + lane);
            // SAFETY: blocks of rows that are there; `m` has as many numbers as all paths.
            unsafe {
                let weight: N = w.load_at(place[2] + path.w + u, n);
                if D {
                    let factor = weight * m.splat_at(m_at);
                    for (c, sum) in sums.iter_mut().enumerate() {
                        *sum = factor.add_product(x.load_at(x_at + (column + c) * mul, n), *sum);
                    }
                } else {
                    for a in 0..path.rows.unwrap_or(0) {
                        let factor = weight * x.load_at(x_at + a * mul, n);
                        let row = m_at + (a * path.columns + column) * BATCH;
                        for (c, sum) in sums.iter_mut().enumerate() {
                            *sum = factor.add_product(m.splat_at(row + c * BATCH), *sum);
                        }
                    }
                }
            }
        }
        for (c, &sum) in sums.iter().enumerate() {
            store_part(sum, &mut out[path.out + (column + c) * mul + u..], n);
        }
    }
}

/// What some columns of a path's cotangent `o` add to the gradients of edge `lane`.
///
/// # Safety
/// That of [`Product::pull`]; `o` and the gradients that are wanted are whole rows.
#[inline(always)]
unsafe fn pull_tile<N: Value, const C: usize, const D: bool>(
    path: &Plan<N::Real>,
    column: usize,
    wants: Wants,
    [x, w, m]: [Source<N::Real>; 3],
    (lane, place): (usize, [usize; 3]),
    o: &[N::Real],
    [x_bar, w_bar, sums]: [&mut [N::Real]; 3],
) {
    let mul = path.mul;
    let (x_at, w_at, o_at) = (place[0] + path.x, place[2] + path.w, path.out + column * mul);
    for a in 0..path.rows.unwrap_or(1) {
        let number = if D { path.matrix } else { path.matrix + a * path.columns + column };
        // SAFETY: blocks of rows that are there; `m` has as many numbers as all paths.
        let factors = entries!(c < C, N::zero() => unsafe {
            let number = if D { number } else { number + c };
            m.splat_at(number * BATCH + lane)
        });
        let mut total = [N::Plain::zero(); C];
        for u in (0..mul).step_by(N::N) {
            let n = N::N.min(mul - u);
            // SAFETY: as above.
            unsafe {
                let o = entries!(c < C, N::Plain::zero() => load_at(o, o_at + c * mul + u, n));
                let weight: N = w.load_at(w_at + u, n);
                if D {
                    let mut t = N::zero();
                    let factor = (weight * factors[0]).result();
                    for (c, &o) in o.iter().enumerate() {
                        let row = (column + c) * mul + u;
                        t = x.load_at::<N>(x_at + row, n).scale_add(o, t);
                        if wants.x {
                            let at = path.x + row;
                            store_at(factor.mul_add(o, load_at(x_bar, at, n)), x_bar, at, n);
                        }
                    }
                    if wants.w {
                        let at = path.w + u;
                        store_at(factors[0].add_product(t, load_at(w_bar, at, n)), w_bar, at, n);
                    }
                    if wants.y {
                        total[0] = weight.add_product(t, total[0]);
                    }
                } else {
                    let x_a: N = x.load_at(x_at + a * mul + u, n);
                    let mut z = N::zero();
                    for (c, &o) in o.iter().enumerate() {
                        z = factors[c].scale_add(o, z);
                    }
                    if wants.w {
                        let at = path.w + u;
                        store_at(x_a.add_product(z, load_at(w_bar, at, n)), w_bar, at, n);
                    }
                    if wants.x {
                        let at = path.x + a * mul + u;
                        store_at(weight.add_product(z, load_at(x_bar, at, n)), x_bar, at, n);
                    }
                    if wants.y {
                        let wx = (weight * x_a).result();
                        for c in 0..C {
                            total[c] = wx.mul_add(o[c], total[c]);
                        }
                    }
                }
            }
        }
        if wants.y {
            for (c, total) in total.iter().enumerate().take(if D { 1 } else { C }) {
                let sum = &mut sums[(number + c) * N::N..][..N::N];
                // Of a number there may be several tiles.
                (if D && column > 0 { *total + N::Plain::load(sum) } else { *total }).store(sum);
            }
        }
    }
}

impl<V: Value<Plain = V>> Product<V> for ChannelwiseProduct<V> {
    /// `y` and later `ȳ` by edge, `M`, its tangent, lanes of `M̄`, `M̄`.
    fn memory(&self) -> [usize; MEMORY] {
        let m = self.n_matrix;
        [self.n_y * BATCH, m * BATCH, m * BATCH, m.next_multiple_of(V::N) * V::N, m.next_multiple_of(V::N) * BATCH, 0]
    }

    #[inline(always)]
    unsafe fn sum<N: Value<Real = V::Real, Plain = V>>(
        &self,
        [x, y, w]: [Source<V::Real>; 3],
        places: &[[usize; 3]],
        out: &mut [V::Real],
        memory: &mut [&mut [V::Real]; MEMORY],
    ) {
        self.matrices::<N>(y, places, memory);
        let m = Source { value: &*memory[1], tangent: y.tangent.is_some().then_some(&*memory[2]) };
        for path in &self.paths {
            for &(column, columns) in &path.tiles {
                // SAFETY: rows and places are those that the caller has checked; `matrices` filled what `m` reads.
                for_tile!(path, columns, C, D => unsafe { sum_tile::<N, C, D>(path, column, [x, w, m], places, out) });
            }
        }
    }

    #[inline(always)]
    fn open<N: Value<Real = V::Real, Plain = V>>(
        &self,
        y: Source<V::Real>,
        places: &[[usize; 3]],
        memory: &mut [&mut [V::Real]; MEMORY],
    ) {
        self.matrices::<N>(y, places, memory);
    }

    #[inline(always)]
    unsafe fn pull<N: Value<Real = V::Real, Plain = V>>(
        &self,
        k: usize,
        [x, y, w]: [Source<V::Real>; 3],
        places: &[[usize; 3]],
        o: &[V::Real],
        [x_bar, y_bar, w_bar]: [Option<&mut [V::Real]>; 3],
        [_, value, tangent, sums, m_bar, _]: &mut [&mut [V::Real]; MEMORY],
    ) {
        let m = Source { value, tangent: y.tangent.is_some().then_some(&**tangent) };
        let wants = Wants { x: x_bar.is_some(), y: y_bar.is_some(), w: w_bar.is_some() };
        let (x_bar, w_bar) = (x_bar.unwrap_or(&mut []), w_bar.unwrap_or(&mut []));
        for path in &self.paths {
            for &(column, columns) in &path.tiles {
                let (edge, bars) = ((k, places[k]), [&mut *x_bar, &mut *w_bar, &mut **sums]);
                // SAFETY: rows and places are those that the caller has checked; sums are as long as the plan's matrices.
                for_tile!(path, columns, C, D => unsafe {
                    pull_tile::<N, C, D>(path, column, wants, [x, w, m], edge, o, bars)
                });
            }
        }
        if wants.y {
            Self::total(sums, k, m_bar);
        }
    }

    #[inline(always)]
    fn close(&self, y_bars: &mut [&mut [V::Real]], [y, _, _, _, m_bar, _]: &mut [&mut [V::Real]; MEMORY]) {
        y.fill(V::Real::default());
        for path in &self.paths {
            for &(k, b, c) in &path.coupling {
                for lanes in (0..BATCH).step_by(V::N) {
                    let m = V::load(&m_bar[k * BATCH + lanes..][..V::N]);
                    let y = &mut y[b * BATCH + lanes..][..V::N];
                    V::splat(c).mul_add(m, V::load(y)).store(y);
                }
            }
        }
        for (lane, bar) in y_bars.iter_mut().enumerate() {
            bar.iter_mut().zip(y.iter().skip(lane).step_by(BATCH)).for_each(|(to, &y)| *to = y);
        }
    }
}
