//! Products of rows with a matrix, in tiles of registers.
//!
//! Sums run in the order of their index, in one chain each: the result of a row does not depend on the rows beside it, nor on
//! threads.

use crate::ops::kernel::{entries, load_part, store_part};
use crate::parallel::{Disjoint, prefetch_early};
use crate::simd::Lanes;

/// Columns in a panel, in vectors.
const WIDE: usize = 2;

/// Rows in a tile: as many as leave registers for a row of the panel and a factor.
const fn tall<V: Lanes>() -> usize {
    if V::REGISTERS >= 32 { 12 } else { 6 }
}

/// Numbers of a packed matrix with `k` rows and `n` columns.
pub(crate) fn packed_len<V: Lanes>(k: usize, n: usize) -> usize {
    k * n.next_multiple_of(WIDE * V::N)
}

/// A matrix to be packed: element `(k, n)` is `w[k · row + n · column]`, times `scale`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    pub w: &'a [T],
    pub row: usize,
    pub column: usize,
    pub scale: T,
}

/// Panels of columns one after the other, row-major, filled up with zeros.
#[inline(always)]
pub(crate) fn pack<V: Lanes>(m: Matrix<V::Real>, k: usize, n: usize, out: &mut [V::Real]) {
    let wide = WIDE * V::N;
    for (p, panel) in out[..packed_len::<V>(k, n)].chunks_mut((k * wide).max(1)).enumerate() {
        let (start, width) = (p * wide, wide.min(n - p * wide));
        for (i, row) in panel.chunks_mut(wide).enumerate() {
            let from = i * m.row + start * m.column;
            if m.column == 1 {
                row.iter_mut().zip(&m.w[from..from + width]).for_each(|(r, &w)| *r = m.scale * w);
            } else {
                row.iter_mut()
                    .zip(m.w[from..].iter().step_by(m.column))
                    .take(width)
                    .for_each(|(r, &w)| *r = m.scale * w);
            }
            row[width..].fill(V::Real::default());
        }
    }
}

/// `out[c(r)..][..n] = Σ_k x[a(r)..][k] packed[k, ·]`, added where `add`; the rows are those of `rows`, with
/// `a(r) = x_at(r)` and `c(r) = out_at(r)`.
///
/// # Safety
/// Nobody else uses these `n` numbers of `out` in the meantime.
#[inline(always)]
pub(crate) unsafe fn multiply<V: Lanes>(
    rows: std::ops::Range<usize>,
    (k, n): (usize, usize),
    (x, x_at): (&[V::Real], impl Fn(usize) -> usize),
    packed: &[V::Real],
    add: bool,
    (out, out_at): (Disjoint<V::Real>, impl Fn(usize) -> usize),
) {
    let wide = WIDE * V::N;
    for p in 0..n.div_ceil(wide) {
        let (panel, width) = (&packed[p * k * wide..(p + 1) * k * wide], wide.min(n - p * wide));
        let mut r = rows.start;
        macro_rules! tiles {
            ($($R:literal),*) => {$(
                while rows.end - r >= $R && $R <= tall::<V>() {
                    let lines: [&[V::Real]; $R] = std::array::from_fn(|i| &x[x_at(r + i)..][..k]);
                    let sums = tile::<V, $R, 1>(lines, panel);
                    for (i, sum) in sums.into_iter().enumerate() {
                        // SAFETY: nobody else uses these columns of the row in the meantime, by the contract; panels do not overlap.
                        let to = unsafe { out.slice(out_at(r + i) + p * wide, width) };
                        finish::<V>(sum, add, to);
                    }
                    r += $R;
                }
            )*};
        }
        tiles!(12, 6, 2, 1);
    }
}

/// Writes or adds the sums of a row.
#[inline(always)]
fn finish<V: Lanes>(sum: [V; WIDE], add: bool, to: &mut [V::Real]) {
    for (part, sum) in to.chunks_mut(V::N).zip(sum) {
        let n = part.len();
        store_part(if add { sum + load_part(part, n) } else { sum }, part, n);
    }
}

/// The products of `R` lines, whose numbers are `STEP` apart, with the columns of a panel.
#[inline(always)]
fn tile<V: Lanes, const R: usize, const STEP: usize>(lines: [&[V::Real]; R], panel: &[V::Real]) -> [[V; WIDE]; R] {
    let mut sums = [[V::zero(); WIDE]; R];
    let k = panel.len() / (WIDE * V::N);
    let lines = lines.map(|line| &line[..(k * STEP).saturating_sub(STEP - 1)]);
    for (i, row) in panel.chunks_exact(WIDE * V::N).enumerate() {
        let b = entries!(c < WIDE, V::zero() => V::load(&row[c * V::N..]));
        for r in 0..R {
            // SAFETY: `i < k`, so that this is the last number of every line at most.
            let a = V::splat(unsafe { *lines[r].get_unchecked(i * STEP) });
            for c in 0..WIDE {
                sums[r][c] = a.mul_add(b[c], sums[r][c]);
            }
        }
    }
    sums
}

/// Rows whose products are summed before the sums leave the registers.
const DEEP: usize = 128;

/// Numbers of memory that [`outer`] needs for so many columns of both factors.
pub(crate) fn outer_len<V: Lanes>([u, n]: [usize; 2]) -> usize {
    DEEP * (u + n.next_multiple_of(WIDE * V::N))
}

/// `out[u, v] = scale Σ_r x[x_at(r) + u] y[y_at(r) + v]` for the columns `u` and `v`, added where `add`; the row of `u` starts at
/// `out_at(u)`.
///
/// Both factors are brought into the order in which they are used, [`DEEP`] rows at a time.
///
/// # Safety
/// Nobody else uses these numbers of `out` in the meantime.
#[inline(always)]
pub(crate) unsafe fn outer<V: Lanes>(
    rows: usize,
    [u, v]: [std::ops::Range<usize>; 2],
    (x, x_at): (&[V::Real], impl Fn(usize) -> usize),
    (y, y_at): (&[V::Real], impl Fn(usize) -> usize),
    (scale, add): (V::Real, bool),
    (out, out_at): (Disjoint<V::Real>, impl Fn(usize) -> usize),
    memory: &mut [V::Real],
) {
    let wide = WIDE * V::N;
    if !add {
        for u in u.clone() {
            // SAFETY: the caller's word.
            unsafe { out.slice(out_at(u) + v.start, v.len()) }.fill(V::Real::default());
        }
    }
    let (left, right) = memory.split_at_mut(DEEP * u.len());
    let n_tiles = u.len().div_ceil(tall::<V>()) * v.len().div_ceil(wide);
    let each = DEEP.div_ceil(n_tiles.max(1));
    // Runs `$run` for the columns `$at..$at + $R` of `x`, whose tile starts at `$at · DEEP`.
    macro_rules! tiles {
        ($at:ident, $R:ident => $run:expr) => {
            tiles!($at, $R => $run, 12 6 2 1)
        };
        ($at:ident, $R:ident => $run:expr, $($r:literal)*) => {
            let mut $at = 0;
            $(while u.len() - $at >= $r && $r <= tall::<V>() {
                const $R: usize = $r;
                $run;
                $at += $R;
            })*
        };
    }
    for start in (0..rows).step_by(DEEP) {
        let depth = DEEP.min(rows - start);
        for r in 0..depth {
            let line = &x[x_at(start + r)..][u.clone()];
            tiles!(at, R => {
                let part: &[V::Real; R] = line[at..at + R].try_into().expect("as long");
                left[at * DEEP + r * R..][..R].copy_from_slice(part);
            });
            let line = &y[y_at(start + r)..][v.clone()];
            for (p, part) in line.chunks(wide).enumerate() {
                let to = &mut right[(p * DEEP + r) * wide..][..wide];
                for c in 0..WIDE {
                    let part = part.get(c * V::N..).unwrap_or(&[]);
                    load_part::<V>(part, part.len().min(V::N)).store(&mut to[c * V::N..]);
                }
            }
        }
        // The next rows are asked for while these are multiplied, some with every tile.
        let mut ahead = (start + DEEP).min(rows)..(start + 2 * DEEP).min(rows);
        for column in (0..v.len()).step_by(wide) {
            let width = wide.min(v.len() - column);
            let panel = &right[column * DEEP..][..depth * wide];
            tiles!(at, R => {
                for r in ahead.by_ref().take(each) {
                    prefetch_early(x, x_at(r) + u.start..x_at(r) + u.end);
                    prefetch_early(y, y_at(r) + v.start..y_at(r) + v.end);
                }
                let tile_of = &left[at * DEEP..][..depth * R];
                let lines: [&[V::Real]; R] = std::array::from_fn(|i| &tile_of[i..]);
                for (i, sum) in tile::<V, R, R>(lines, panel).into_iter().enumerate() {
                    let sum = entries!(c < WIDE, V::zero() => sum[c] * V::splat(scale));
                    // SAFETY: the caller's word.
                    finish(sum, true, unsafe { out.slice(out_at(u.start + at + i) + v.start + column, width) });
                }
            });
        }
    }
}
