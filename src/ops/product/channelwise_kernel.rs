//! Channels are the lanes. For an edge and a path, `M[a, c] = Σ_b C[a, b, c] y[b]` is shared by all channels:
//! `out[u, c] += Σ_a w[u] x[u, a] M[a, c]`. Backwards, with `z[u, a] = Σ_c M[a, c] ō[u, c]`,
//! `w̄[u] = Σ_a x[u, a] z[u, a]`, `x̄[u, a] += w[u] z[u, a]`, `M̄[a, c] = Σ_u w[u] x[u, a] ō[u, c]`, `ȳ[b] = Σ_ac C[a, b, c] M̄[a, c]`.
//!
//! Results stay in registers for all edges of a batch. For `M` and `ȳ` the edges of the batch are the lanes.

use super::convolution::{BATCH, Bars, MEMORY, Product};
use super::paths::Path;
use crate::ops::coupling::Entry;
use crate::ops::kernel::{Source, entries, load_at, store_at};
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
    /// Is that of `w` to be overwritten?
    fresh: bool,
}

/// Some columns of a path's result for all edges; `D` where `M` is a number.
///
/// # Safety
/// That of [`Product::sum`].
#[inline(always)]
unsafe fn sum_tile<N: Value, const C: usize, const D: bool>(
    path: &Plan<N::Real>,
    column: usize,
    xwm: [Source<N::Real>; 3],
    places: &[[usize; 3]],
    out: &mut [N::Real],
) {
    let mut u = 0;
    // SAFETY: the caller's word; there are as many channels.
    unsafe {
        if N::REGISTERS >= 32 && C <= 5 {
            while path.mul - u >= 4 * N::N {
                sum_channels::<N, C, D, 4>(path, column, (u, N::N), xwm, places, out);
                u += 4 * N::N;
            }
        }
        while path.mul - u >= 2 * N::N {
            sum_channels::<N, C, D, 2>(path, column, (u, N::N), xwm, places, out);
            u += 2 * N::N;
        }
        while u < path.mul {
            sum_channels::<N, C, D, 1>(path, column, (u, N::N.min(path.mul - u)), xwm, places, out);
            u += N::N;
        }
    }
}

/// `B` vectors of channels from `u` on, of which `n` lanes are there.
///
/// # Safety
/// As above.
#[inline(always)]
unsafe fn sum_channels<N: Value, const C: usize, const D: bool, const B: usize>(
    path: &Plan<N::Real>,
    column: usize,
    (u, n): (usize, usize),
    [x, w, m]: [Source<N::Real>; 3],
    places: &[[usize; 3]],
    out: &mut [N::Real],
) {
    let (mul, out_at) = (path.mul, path.out + column * path.mul + u);
    let mut sums = [[N::Plain::zero(); C]; B];
    // SAFETY: blocks of rows that are there; `m` has as many numbers as all paths.
    unsafe {
        for (b, sums) in sums.iter_mut().enumerate() {
            for (c, sum) in sums.iter_mut().enumerate() {
                *sum = load_at(out, out_at + c * mul + b * N::N, n);
            }
        }
        for (lane, place) in places.iter().enumerate() {
            let (x_at, w_at, m_at) = (place[0] + path.x + u, place[2] + path.w + u, path.matrix * BATCH + lane);
            let weights = entries!(b < B, N::zero() => w.load_at(w_at + b * N::N, n));
            if D {
                let number: N = m.splat_at(m_at);
                for (b, sums) in sums.iter_mut().enumerate() {
                    let factor = weights[b] * number;
                    for (c, sum) in sums.iter_mut().enumerate() {
                        *sum = factor.add_product(x.load_at(x_at + (column + c) * mul + b * N::N, n), *sum);
                    }
                }
            } else {
                for a in 0..path.rows.unwrap_or(0) {
                    let factors = entries!(b < B, N::zero() => weights[b] * x.load_at(x_at + a * mul + b * N::N, n));
                    let row = m_at + (a * path.columns + column) * BATCH;
                    for c in 0..C {
                        let number: N = m.splat_at(row + c * BATCH);
                        for (sums, factor) in sums.iter_mut().zip(factors) {
                            sums[c] = factor.add_product(number, sums[c]);
                        }
                    }
                }
            }
        }
        for (b, sums) in sums.iter().enumerate() {
            for (c, &sum) in sums.iter().enumerate() {
                store_at(sum, out, out_at + c * mul + b * N::N, n);
            }
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
    for a in 0..path.rows.unwrap_or(1) {
        let number = if D { path.matrix } else { path.matrix + a * path.columns + column };
        // SAFETY: `m` has as many numbers as all paths.
        let factors = entries!(c < C, N::zero() => unsafe {
            let number = if D { number } else { number + c };
            m.splat_at(number * BATCH + lane)
        });
        let fresh = wants.fresh && a == 0 && column == 0;
        let row = Row::<N, C, D> { path, a, column, wants: Wants { fresh, ..wants }, xw: [x, w], place, o, factors };
        let (mut total, mut u) = ([N::Plain::zero(); C], 0);
        // SAFETY: the caller's word; there are as many channels.
        unsafe {
            while path.mul - u >= N::N {
                row.pull((u, N::N), [&mut *x_bar, &mut *w_bar], &mut total);
                u += N::N;
            }
            if u < path.mul {
                row.pull((u, path.mul - u), [&mut *x_bar, &mut *w_bar], &mut total);
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

/// Component `a` of `x` of one edge, and the columns of `M` from `column` on.
struct Row<'a, N: Value, const C: usize, const D: bool> {
    path: &'a Plan<N::Real>,
    a: usize,
    column: usize,
    wants: Wants,
    xw: [Source<'a, N::Real>; 2],
    place: [usize; 3],
    o: &'a [N::Real],
    factors: [N; C],
}

impl<N: Value, const C: usize, const D: bool> Row<'_, N, C, D> {
    /// A vector of channels from `u` on, of which `n` lanes are there; `total` is of `M̄`.
    ///
    /// # Safety
    /// That of [`pull_tile`].
    #[inline(always)]
    unsafe fn pull(&self, (u, n): (usize, usize), [x_bar, w_bar]: [&mut [N::Real]; 2], total: &mut [N::Plain; C]) {
        let &Row { path, a, column, wants, xw: [x, w], place, factors, .. } = self;
        let (mul, w_at) = (path.mul, path.w + u);
        // SAFETY: blocks of rows that are there.
        unsafe {
            let o = entries!(c < C, N::Plain::zero() => load_at(self.o, path.out + (column + c) * mul + u, n));
            let weight: N = w.load_at(place[2] + w_at, n);
            let before = if wants.fresh || !wants.w { N::Plain::zero() } else { load_at(w_bar, w_at, n) };
            let mut z = N::zero();
            if D {
                let factor = (weight * factors[0]).result();
                for (c, &o) in o.iter().enumerate() {
                    let at = path.x + (column + c) * mul + u;
                    z = x.load_at::<N>(place[0] + at, n).scale_add(o, z);
                    if wants.x {
                        store_at(factor.mul_add(o, load_at(x_bar, at, n)), x_bar, at, n);
                    }
                }
                if wants.w {
                    store_at(factors[0].add_product(z, before), w_bar, w_at, n);
                }
                if wants.y {
                    total[0] = weight.add_product(z, total[0]);
                }
            } else {
                let at = path.x + a * mul + u;
                let x_a: N = x.load_at(place[0] + at, n);
                for (c, &o) in o.iter().enumerate() {
                    z = factors[c].scale_add(o, z);
                }
                if wants.w {
                    store_at(x_a.add_product(z, before), w_bar, w_at, n);
                }
                if wants.x {
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
        Bars { x: x_bar, y: y_bar, w: w_bar, fresh }: Bars<V::Real>,
        [_, value, tangent, sums, m_bar, _]: &mut [&mut [V::Real]; MEMORY],
    ) {
        let m = Source { value, tangent: y.tangent.is_some().then_some(&**tangent) };
        let wants = Wants { x: x_bar.is_some(), y: y_bar.is_some(), w: w_bar.is_some(), fresh };
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
