//! Rows into a triangle: `[R; B] = Q [R'; 0]`.
//!
//! Panel after panel by block reflectors `I − V T Vᵀ`, `V = [I; V_B]` (Elmroth, Gustavson 2000; LAPACK's `tpqrt`): `2 m n²` operations, nearly
//! all in matrix products. While threads update what is right of a panel, one of them has the next panel ready.

use crate::parallel;
use crate::simd::{Isa, Lanes, with_lanes};
use faer::linalg::matmul::matmul;
use faer::prelude::*;
use faer::{Accum, Mat, MatMut, MatRef, Par};

/// Columns of a panel.
const PANEL: usize = 48;
/// Columns that a thread updates at a time.
const STRIP: usize = 96;
/// Columns that are reflected one by one.
const LEAF: usize = 8;
/// Columns as small as that count as zero: the inverse of what is left of them might overflow.
const TINY: f64 = 1e-290;
/// Sums of squares that have lost nothing to the limits of numbers.
const PLAIN: std::ops::Range<f64> = 1e-270..1e290;

/// A strip of columns to be updated, and what comes next where it is the next panel: its triangle and that of its reflectors.
struct Strip<'a> {
    top: MatMut<'a, f64>,
    below: MatMut<'a, f64>,
    next: Option<(MatMut<'a, f64>, MatMut<'a, f64>)>,
}

/// The rows of `B`, which is used up, go into the triangle `R`. `triangular`: row `i` of `B` begins at column `i`.
pub fn absorb(mut r: MatMut<f64>, mut b: MatMut<f64>, triangular: bool) {
    let (n, m) = (r.ncols(), b.nrows());
    // Rows further down begin further to the right.
    let height = |end: usize| if triangular { m.min(end) } else { m };
    let mut panels = (0..n).step_by(PANEL).map(|start| start..n.min(start + PANEL));
    let Some(mut now) = panels.next() else { return };
    let mut t = Mat::zeros(now.len(), now.len());
    let first = b.rb_mut().submatrix_mut(0, 0, height(now.end), now.end);
    panel(r.rb_mut().submatrix_mut(0, 0, now.end, now.end), first, t.as_mut());
    for next in panels {
        let (left, right) = b.rb_mut().split_at_col_mut(now.end);
        let v = left.rb().submatrix(0, now.start, height(now.end), now.len());
        let (upper, lower) = r.rb_mut().split_at_row_mut(now.end);
        let top = upper.submatrix_mut(now.start, now.end, now.len(), n - now.end);
        let corner = lower.submatrix_mut(0, now.end, next.len(), next.len());
        let mut t_next = Mat::zeros(next.len(), next.len());
        let (mut strips, mut rest, mut width, mut ahead) =
            (Vec::new(), (top, right), next.len(), Some((corner, t_next.as_mut())));
        while rest.0.ncols() > 0 {
            let width = std::mem::replace(&mut width, STRIP).min(rest.0.ncols());
            let (top, more_top) = rest.0.split_at_col_mut(width);
            let (below, more_below) = rest.1.split_at_col_mut(width);
            strips.push(Strip { top, below, next: ahead.take() });
            rest = (more_top, more_below);
        }
        parallel::for_each_mut(&mut strips, |_, Strip { top, below, next: ahead }| {
            reflect(v, t.as_ref(), top.rb_mut(), below.rb_mut().subrows_mut(0, v.nrows()));
            if let Some((corner, t)) = ahead {
                panel(corner.rb_mut(), below.rb_mut().subrows_mut(0, height(next.end)), t.rb_mut());
            }
        });
        drop(strips);
        (now, t) = (next, t_next);
    }
}

/// `[top; below] −= V Tᵀ Vᵀ [top; below]`.
fn reflect(v: MatRef<f64>, t: MatRef<f64>, mut top: MatMut<f64>, mut below: MatMut<f64>) {
    let mut w = top.rb().to_owned();
    matmul(w.as_mut(), Accum::Add, v.transpose(), below.rb(), 1.0, Par::Seq);
    let mut tw = Mat::zeros(w.nrows(), w.ncols());
    matmul(tw.as_mut(), Accum::Replace, t.transpose(), w.as_ref(), 1.0, Par::Seq);
    top -= &tw;
    matmul(below.rb_mut(), Accum::Add, v, tw.as_ref(), -1.0, Par::Seq);
}

/// The same for a few columns: the reflectors take the place of `v`, and `t` is their triangle.
fn panel(mut r: MatMut<f64>, mut v: MatMut<f64>, mut t: MatMut<f64>) {
    let n = r.ncols();
    if n <= LEAF {
        let tau = with_lanes!(Isa::detect(), f64, V => leaf::<V>(r, v.rb_mut()));
        // Column by column: T_j = −τ_j T Vᵀ v_j.
        let products = v.rb().transpose() * v.rb();
        for j in 0..n {
            t[(j, j)] = tau[j];
            for i in 0..j {
                t[(i, j)] = -tau[j] * (i..j).map(|k| t[(i, k)] * products[(k, j)]).sum::<f64>();
            }
        }
        return;
    }
    let k = (n / 2).next_multiple_of(LEAF);
    let (mut v1, mut v2) = v.split_at_col_mut(k);
    panel(r.rb_mut().submatrix_mut(0, 0, k, k), v1.rb_mut(), t.rb_mut().submatrix_mut(0, 0, k, k));
    reflect(v1.rb(), t.rb().submatrix(0, 0, k, k), r.rb_mut().submatrix_mut(0, k, k, n - k), v2.rb_mut());
    panel(r.submatrix_mut(k, k, n - k, n - k), v2.rb_mut(), t.rb_mut().submatrix_mut(k, k, n - k, n - k));
    // T12 = −T1 V1ᵀ V2 T2
    let between = v1.rb().transpose() * v2.rb();
    let t12 = t.rb().submatrix(0, 0, k, k) * between * t.rb().submatrix(k, k, n - k, n - k);
    t.submatrix_mut(0, k, k, n - k).copy_from(-t12);
}

/// The same of at most [`LEAF`] columns, one by one; returns the factors `τ` of their reflectors.
fn leaf<V: Lanes<Real = f64>>(mut r: MatMut<f64>, v: MatMut<f64>) -> [f64; LEAF] {
    let n = r.ncols();
    let mut columns: Vec<&mut [f64]> =
        v.col_iter_mut().map(|c| c.try_as_col_major_mut().expect("columns without gaps").as_slice_mut()).collect();
    let mut tau = [0.0; LEAF];
    // Products of column `j` with itself and those that follow: a pass has those of the next one.
    let mut products = sweep::<V>(&mut [], &mut columns, 1.0, [0.0; LEAF]);
    for j in 0..n {
        let (alpha, mut size, mut scale, mut factors) = (r[(j, j)], 1.0, 0.0, [0.0; LEAF]);
        if !PLAIN.contains(&products[0]) {
            size = columns[j].iter().fold(0.0, |size: f64, x| size.max(x.abs()));
            if size >= TINY {
                columns[j].iter_mut().for_each(|x| *x /= size);
                products = sweep::<V>(&mut [], &mut columns[j..], 1.0, factors);
            }
        }
        if size >= TINY {
            let beta = -alpha.hypot(size * products[0].sqrt()).copysign(alpha);
            tau[j] = (beta - alpha) / beta;
            scale = size / (alpha - beta);
            r[(j, j)] = beta;
            for k in j + 1..n {
                let w = tau[j] * (r[(j, k)] + scale * products[k - j]);
                r[(j, k)] -= w;
                factors[k - j - 1] = -scale * w;
            }
        }
        let (own, rest) = columns.split_at_mut(j + 1);
        products = sweep::<V>(own[j], rest, scale, factors);
    }
    tau
}

/// Adds `factors` times a column to those that follow, then multiplies it by `scale`; returns the products of the first of those that follow with
/// itself and the others.
fn sweep<V: Lanes<Real = f64>>(
    own: &mut [f64],
    rest: &mut [&mut [f64]],
    scale: f64,
    factors: [f64; LEAF],
) -> [f64; LEAF] {
    macro_rules! of {
        ($($k:literal)*) => {
            match rest.len() {
                $($k => V::vectorize(#[inline(always)] || sweep_few::<V, $k>(own, rest.try_into().expect("as many"), scale, factors)),)*
                _ => unreachable!("no more than a leaf"),
            }
        };
    }
    of!(0 1 2 3 4 5 6 7 8)
}

#[inline(always)]
fn sweep_few<V: Lanes<Real = f64>, const K: usize>(
    own: &mut [f64],
    rest: &mut [&mut [f64]; K],
    scale: f64,
    factors: [f64; LEAF],
) -> [f64; LEAF] {
    let m = if K > 0 { rest[0].len() } else { own.len() };
    let with_own = !own.is_empty();
    rest.iter().for_each(|x| assert_eq!(x.len(), m));
    let load = |x: &[f64], i: usize| match x.get(i..i + V::N) {
        Some(x) => V::load(x),
        None => V::from_fn(|k| x.get(i + k).copied().unwrap_or(0.0)),
    };
    let store = |x: &mut [f64], i: usize, y: V| match x.get_mut(i..i + V::N) {
        Some(x) => y.store(x),
        None => x[i..].copy_from_slice(&y.to_array()[..m - i]),
    };
    let f: [V; K] = std::array::from_fn(|k| V::splat(factors[k]));
    let (scale, mut sums) = (V::splat(scale), [V::zero(); K]);
    for i in (0..m).step_by(V::N) {
        let x = if with_own { load(own, i) } else { V::zero() };
        if with_own {
            store(own, i, x * scale);
        }
        let mut first = V::zero();
        for k in 0..K {
            let y = x.mul_add(f[k], load(rest[k], i));
            if with_own {
                store(rest[k], i, y);
            }
            if k == 0 {
                first = y;
            }
            sums[k] = first.mul_add(y, sums[k]);
        }
    }
    std::array::from_fn(|k| if k < K { sums[k].to_array()[..V::N].iter().sum() } else { 0.0 })
}
