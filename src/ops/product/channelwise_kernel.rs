//! Channels are the lanes. For an edge and a path, `M[a, c] = Σ_b C[a, b, c] y[b]` is shared by all channels:
//! `out[u, c] += Σ_a w[u] x[u, a] M[a, c]`. Backwards, with `z[u, a] = Σ_c M[a, c] ō[u, c]`,
//! `w̄[u] = Σ_a x[u, a] z[u, a]`, `x̄[u, a] += w[u] z[u, a]`, `M̄[a, c] = Σ_u w[u] x[u, a] ō[u, c]`, `ȳ[b] = Σ_ac C[a, b, c] M̄[a, c]`.

use super::convolution::{MEMORY, Product};
use super::paths::Path;
use crate::ops::coupling::Entry;
use crate::ops::kernel::{Source, entries, load_part, store_part};
use crate::simd::{Lanes, MAX_LANES, Real, Value};
use std::ops::Range;

pub(super) struct ChannelwiseProduct<V: Lanes> {
    paths: Vec<Plan<V::Real>>,
    /// Numbers in all `M` of an edge.
    n_matrix: usize,
}

struct Plan<T> {
    x: usize,
    out: usize,
    w: usize,
    mul: usize,
    /// `2l + 1` of `x` and of the result.
    dim: [usize; 2],
    /// Where `M` starts, row-major.
    matrix: usize,
    /// Places in `M` and `y`, and the number of `C`.
    coupling: Vec<(usize, usize, T)>,
    tiles: Vec<Tile>,
}

/// Columns of `M` that are summed in registers, and the rows where they are not zero.
#[derive(Clone)]
struct Tile {
    column: usize,
    /// 1, 3, 5 or 7.
    columns: usize,
    rows: Range<usize>,
}

fn tiles(path: &Path) -> Vec<Tile> {
    let [rows, scalar, columns] = path.dim;
    if scalar == 1 {
        // `M` is diagonal.
        return (0..columns).map(|c| Tile { column: c, columns: 1, rows: c..c + 1 }).collect();
    }
    let mut tiles = Vec::new();
    let mut column = 0;
    while column < columns {
        let n = [7, 5, 3, 1].into_iter().find(|&n| n <= columns - column).expect("one is left");
        tiles.push(Tile { column, columns: n, rows: 0..rows });
        column += n;
    }
    tiles
}

impl<V: Value<Plain = V>> ChannelwiseProduct<V> {
    pub fn new(paths: Vec<Path>) -> Self {
        let mut n_matrix = 0;
        let mut plans = Vec::new();
        for path in paths.iter().filter(|p| p.mul[0] > 0) {
            let dim = [path.dim[0], path.dim[2]];
            let entry = |e: &Entry| {
                (n_matrix + e.index[0] * dim[1] + e.index[2], path.start[1] + e.index[1], V::Real::of(e.value))
            };
            plans.push(Plan {
                x: path.start[0],
                out: path.start[2],
                w: path.w.start,
                mul: path.mul[0],
                dim,
                matrix: n_matrix,
                coupling: path.coupling.iter().map(entry).collect(),
                tiles: tiles(path),
            });
            n_matrix += dim[0] * dim[1];
        }
        ChannelwiseProduct { paths: plans, n_matrix }
    }

    /// `M` of all paths, and its tangent.
    #[inline(always)]
    fn matrices<N: Value>(&self, y: Source<V::Real>, value: &mut [V::Real], tangent: &mut [V::Real]) {
        let fill = |y: &[V::Real], m: &mut [V::Real]| {
            m.fill(V::Real::default());
            for path in &self.paths {
                for &(k, b, c) in &path.coupling {
                    m[k] += c * y[b];
                }
            }
        };
        fill(y.value, value);
        if let Some(y) = y.tangent.filter(|_| N::HAS_TANGENT) {
            fill(y, tangent);
        }
    }

    #[inline(always)]
    fn sum_edge<N: Value<Real = V::Real, Plain = V>>(
        &self,
        x: Source<V::Real>,
        w: Source<V::Real>,
        m: Source<V::Real>,
        out: &mut [V::Real],
    ) {
        for path in &self.paths {
            let x = x.slice(path.x, path.mul * path.dim[0]);
            let w = w.slice(path.w, path.mul);
            let m = m.slice(path.matrix, path.dim[0] * path.dim[1]);
            let out = &mut out[path.out..path.out + path.mul * path.dim[1]];
            for tile in &path.tiles {
                match tile.columns {
                    1 => sum_tile::<N, 1>(path, tile, x, w, m, out),
                    3 => sum_tile::<N, 3>(path, tile, x, w, m, out),
                    5 => sum_tile::<N, 5>(path, tile, x, w, m, out),
                    _ => sum_tile::<N, 7>(path, tile, x, w, m, out),
                }
            }
        }
    }

    #[inline(always)]
    fn pull_edge<N: Value<Real = V::Real, Plain = V>>(
        &self,
        wants: Wants,
        [x, w, m]: [Source<V::Real>; 3],
        o: &[V::Real],
        [x_bar, w_bar, sums]: [&mut [V::Real]; 3],
    ) {
        for path in &self.paths {
            let n_x = path.mul * path.dim[0];
            let n_m = path.dim[0] * path.dim[1];
            let factors = [x.slice(path.x, n_x), w.slice(path.w, path.mul), m.slice(path.matrix, n_m)];
            let o = &o[path.out..path.out + path.mul * path.dim[1]];
            let x_bar = if wants.x { &mut x_bar[path.x..path.x + n_x] } else { &mut [] };
            let w_bar = if wants.w { &mut w_bar[path.w..path.w + path.mul] } else { &mut [] };
            let sums = &mut sums[path.matrix * V::N..(path.matrix + n_m) * V::N];
            for tile in &path.tiles {
                let bars = [&mut *x_bar, &mut *w_bar, &mut *sums];
                match tile.columns {
                    1 => pull_tile::<N, 1>(path, tile, wants, factors, o, bars),
                    3 => pull_tile::<N, 3>(path, tile, wants, factors, o, bars),
                    5 => pull_tile::<N, 5>(path, tile, wants, factors, o, bars),
                    _ => pull_tile::<N, 7>(path, tile, wants, factors, o, bars),
                }
            }
        }
    }

    /// `ȳ` from the sums over channels, whose lanes are still apart.
    #[inline(always)]
    fn pull_matrices(&self, sums: &mut [V::Real], y_bar: &mut [V::Real]) {
        y_bar.fill(V::Real::default());
        for square in sums.chunks_mut(V::N * V::N) {
            let mut rows = [V::zero(); MAX_LANES];
            let n = square.len() / V::N;
            for (row, lanes) in rows.iter_mut().zip(square.chunks(V::N)) {
                *row = V::load(lanes);
            }
            V::transpose(&mut rows[..V::N]);
            let mut total = rows[0];
            for &row in &rows[1..V::N] {
                total = total + row;
            }
            store_part(total, square, n.min(V::N));
        }
        // The sums of square `k` are at its start now.
        let sum = |at: usize| sums[at / V::N * V::N * V::N + at % V::N];
        for path in &self.paths {
            for &(k, b, c) in &path.coupling {
                y_bar[b] += c * sum(k);
            }
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

#[inline(always)]
fn sum_tile<N: Value, const C: usize>(
    path: &Plan<N::Real>,
    tile: &Tile,
    x: Source<N::Real>,
    w: Source<N::Real>,
    m: Source<N::Real>,
    out: &mut [N::Real],
) {
    let mul = path.mul;
    let mut u = 0;
    while u < mul {
        let n = N::N.min(mul - u);
        let mut sums = entries!(c < C, N::Plain::zero() => load_part(&out[(tile.column + c) * mul + u..], n));
        let weight: N = w.load(u, n);
        for a in tile.rows.clone() {
            let wx = weight * x.load(a * mul + u, n);
            let row = a * path.dim[1] + tile.column;
            for (c, sum) in sums.iter_mut().enumerate() {
                *sum = wx.add_product(m.splat(row + c), *sum);
            }
        }
        for (c, &sum) in sums.iter().enumerate() {
            store_part(sum, &mut out[(tile.column + c) * mul + u..], n);
        }
        u += N::N;
    }
}

#[inline(always)]
fn pull_tile<N: Value, const C: usize>(
    path: &Plan<N::Real>,
    tile: &Tile,
    wants: Wants,
    [x, w, m]: [Source<N::Real>; 3],
    o: &[N::Real],
    [x_bar, w_bar, sums]: [&mut [N::Real]; 3],
) {
    let mul = path.mul;
    for a in tile.rows.clone() {
        let at = a * path.dim[1] + tile.column;
        let mut total = [N::Plain::zero(); C];
        let mut u = 0;
        while u < mul {
            let n = N::N.min(mul - u);
            let o = entries!(c < C, N::Plain::zero() => load_part(&o[(tile.column + c) * mul + u..], n));
            let (x_a, weight): (N, N) = (x.load(a * mul + u, n), w.load(u, n));
            let mut z = N::zero();
            for (c, &o) in o.iter().enumerate() {
                z = m.splat::<N>(at + c).scale_add(o, z);
            }
            if wants.w {
                let w_bar = &mut w_bar[u..];
                store_part(x_a.add_product(z, load_part(w_bar, n)), w_bar, n);
            }
            if wants.x {
                let x_bar = &mut x_bar[a * mul + u..];
                store_part(weight.add_product(z, load_part(x_bar, n)), x_bar, n);
            }
            if wants.y {
                let wx = (weight * x_a).result();
                for c in 0..C {
                    total[c] = wx.mul_add(o[c], total[c]);
                }
            }
            u += N::N;
        }
        if wants.y {
            for c in 0..C {
                total[c].store(&mut sums[(at + c) * N::N..]);
            }
        }
    }
}

impl<V: Value<Plain = V>> Product<V> for ChannelwiseProduct<V> {
    fn memory(&self) -> [usize; MEMORY] {
        [self.n_matrix, self.n_matrix, self.n_matrix.next_multiple_of(V::N) * V::N, 0]
    }

    #[inline(always)]
    fn sum<N: Value<Real = V::Real, Plain = V>>(
        &self,
        [x, y, w]: [Source<V::Real>; 3],
        out: &mut [V::Real],
        [value, tangent, ..]: &mut [&mut [V::Real]; MEMORY],
    ) {
        self.matrices::<N>(y, value, tangent);
        let m = Source { value, tangent: y.tangent.is_some().then_some(tangent) };
        self.sum_edge::<N>(x, w, m, out);
    }

    #[inline(always)]
    fn pull<N: Value<Real = V::Real, Plain = V>>(
        &self,
        [x, y, w]: [Source<V::Real>; 3],
        o: &[V::Real],
        [x_bar, y_bar, w_bar]: [Option<&mut [V::Real]>; 3],
        [value, tangent, sums, _]: &mut [&mut [V::Real]; MEMORY],
    ) {
        self.matrices::<N>(y, value, tangent);
        let m = Source { value, tangent: y.tangent.is_some().then_some(tangent) };
        let wants = Wants { x: x_bar.is_some(), y: y_bar.is_some(), w: w_bar.is_some() };
        self.pull_edge::<N>(wants, [x, w, m], o, [x_bar.unwrap_or(&mut []), w_bar.unwrap_or(&mut []), sums]);
        if let Some(y) = y_bar {
            self.pull_matrices(sums, y);
        }
    }
}
