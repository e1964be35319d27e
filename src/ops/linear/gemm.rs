//! Products of rows with a matrix, in tiles of registers.
//!
//! Sums run in the order of their index, in one chain each: the result of a row does not depend on the rows beside it, nor on
//! threads.

use crate::ops::kernel::{entries, load_part, store_part};
use crate::parallel::Disjoint;
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
                    let sums = tile::<V, $R>(lines, panel);
                    for (i, sum) in sums.into_iter().enumerate() {
                        // SAFETY: the caller's word.
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

#[inline(always)]
fn tile<V: Lanes, const R: usize>(rows: [&[V::Real]; R], panel: &[V::Real]) -> [[V; WIDE]; R] {
    let mut sums = [[V::zero(); WIDE]; R];
    let k = panel.len() / (WIDE * V::N);
    let rows = rows.map(|r| &r[..k]);
    for (i, line) in panel.chunks_exact(WIDE * V::N).enumerate() {
        let b = entries!(c < WIDE, V::zero() => V::load(&line[c * V::N..]));
        for r in 0..R {
            // SAFETY: `i < k`, the length of every row.
            let a = V::splat(unsafe { *rows[r].get_unchecked(i) });
            for c in 0..WIDE {
                sums[r][c] = a.mul_add(b[c], sums[r][c]);
            }
        }
    }
    sums
}

/// Rows whose products are summed before the sums leave the registers.
const DEEP: usize = 256;

/// `out[u, v] = scale Σ_r x[x_at(r) + u] y[y_at(r) + v]`, added where `add`: (columns `u`) × (`n` columns), row-major.
#[inline(always)]
pub(crate) fn outer<V: Lanes>(
    rows: usize,
    (u, n): (std::ops::Range<usize>, usize),
    (x, x_at): (&[V::Real], impl Fn(usize) -> usize),
    (y, y_at): (&[V::Real], impl Fn(usize) -> usize),
    (scale, add): (V::Real, bool),
    out: &mut [V::Real],
) {
    let wide = WIDE * V::N;
    if !add {
        out.fill(V::Real::default());
    }
    let base = u.start;
    let mut start = 0;
    while start < rows {
        let end = rows.min(start + DEEP);
        for p in 0..n.div_ceil(wide) {
            let (v, width) = (p * wide, wide.min(n - p * wide));
            let mut at = u.start;
            macro_rules! tiles {
                ($($R:literal),*) => {$(
                    while u.end - at >= $R && $R <= tall::<V>() {
                        let mut sums = [[V::zero(); WIDE]; $R];
                        for r in start..end {
                            let a: &[V::Real; $R] = x[x_at(r) + at..][..$R].try_into().expect("as long");
                            let line = &y[y_at(r) + v..][..width];
                            let mut b = [V::zero(); WIDE];
                            for (b, part) in b.iter_mut().zip(line.chunks(V::N)) {
                                *b = load_part(part, part.len());
                            }
                            for i in 0..$R {
                                for c in 0..WIDE {
                                    sums[i][c] = V::splat(a[i]).mul_add(b[c], sums[i][c]);
                                }
                            }
                        }
                        for (i, sum) in sums.into_iter().enumerate() {
                            let sum = entries!(c < WIDE, V::zero() => sum[c] * V::splat(scale));
                            finish(sum, true, &mut out[(at + i - base) * n + v..][..width]);
                        }
                        at += $R;
                    }
                )*};
            }
            tiles!(12, 6, 2, 1);
        }
        start = end;
    }
}
