//! Pooled polynomials, and `A` from them:
//! `A_{t,lm} = Σ_z Σ_q W[z_i, z][t, q] · (Σ_{j of species z} e P_q(y_j) Y_lm(r_j))`.
//!
//! The radial functions are linear in the polynomials, so polynomials can be pooled instead, and mixed
//! once a centre rather than once an edge. Pooled values lie as (n_q, n_y), all harmonics of a polynomial
//! side by side. Everything is a product of small matrices, in tiles that stay in registers.

use super::pool::{Shell, Slots, by_width};
use crate::simd::Lanes;

/// Splits `0..$n_y` into runs that fit into registers and calls `$f::<.., M>($at, ..)` for each.
macro_rules! for_runs {
    ($n_y:expr, $at:ident, $f:ident, $args:tt) => {
        let mut $at = 0;
        while $at < $n_y {
            let left = $n_y - $at;
            if left % 8 == 1 && left > 1 {
                $f::<V, 9> $args;
                $at += 9;
            } else if left >= 8 {
                $f::<V, 8> $args;
                $at += 8;
            } else if left >= 4 {
                $f::<V, 4> $args;
                $at += 4;
            } else {
                $f::<V, 1> $args;
                $at += 1;
            }
        }
    };
}

/// `pooled[q, lm] += Σ_s r[s, q] y[s, lm]` over `n` slots.
#[inline(never)]
pub fn pool<V: Lanes>(slots: Slots<V>, n: usize, pooled: &mut [V]) {
    #[inline(always)]
    fn run<V: Lanes, const M: usize>(slots: Slots<V>, n: usize, lm: usize, pooled: &mut [V]) {
        let mut q = 0;
        while q < slots.n_q {
            q += match (M, slots.n_q - q) {
                (1, 8..) => tile::<V, M, 8>(slots, n, q, lm, pooled),
                (1 | 4, 4..) => tile::<V, M, 4>(slots, n, q, lm, pooled),
                (8, 3..) => tile::<V, M, 3>(slots, n, q, lm, pooled),
                (_, 2..) => tile::<V, M, 2>(slots, n, q, lm, pooled),
                _ => tile::<V, M, 1>(slots, n, q, lm, pooled),
            };
        }
    }

    #[inline(always)]
    fn tile<V: Lanes, const M: usize, const T: usize>(
        slots: Slots<V>,
        n: usize,
        q: usize,
        lm: usize,
        pooled: &mut [V],
    ) -> usize {
        let Slots { r, y, n_q, n_y, .. } = slots;
        let mut acc = [[V::zero(); M]; T];
        for t in 0..T {
            acc[t].copy_from_slice(&pooled[(q + t) * n_y + lm..][..M]);
        }
        for s in 0..n {
            let (r, y) = (&r[s * n_q + q..][..T], &y[s * n_y + lm..][..M]);
            for t in 0..T {
                for m in 0..M {
                    acc[t][m] = r[t].mul_add(y[m], acc[t][m]);
                }
            }
        }
        for t in 0..T {
            pooled[(q + t) * n_y + lm..][..M].copy_from_slice(&acc[t]);
        }
        T
    }

    V::vectorize(
        #[inline(always)]
        || {
            for_runs!(slots.n_y, lm, run, (slots, n, lm, pooled));
        },
    );
}

/// The adjoint for slot `s`: `Ȳ_lm = Σ_q bar[q, lm] r[q]` into `y_bar`, and
/// `Σ_q (Σ_lm bar[q, lm] Y_lm) dr[q]`, which is returned.
#[inline(always)]
pub fn pool_pullback<V: Lanes>(slots: Slots<V>, s: usize, bar: &[V], y_bar: &mut [V]) -> V {
    #[inline(always)]
    fn run<V: Lanes, const M: usize>(slots: Slots<V>, s: usize, lm: usize, bar: &[V], y_bar: &mut [V], radial: &mut V) {
        let Slots { r, dr, y, n_q, n_y } = slots;
        let (r, dr) = (&r[s * n_q..][..n_q], &dr[s * n_q..][..n_q]);
        let y: &[V] = &y[s * n_y + lm..][..M];
        let mut acc = [V::zero(); M];
        for (bar, (&r, &dr)) in bar.chunks_exact(n_y).zip(r.iter().zip(dr)) {
            let bar = &bar[lm..][..M];
            let mut sum = [V::zero(); 2];
            for m in 0..M {
                acc[m] = bar[m].mul_add(r, acc[m]);
                sum[m % 2] = bar[m].mul_add(y[m], sum[m % 2]);
            }
            *radial = (sum[0] + sum[1]).mul_add(dr, *radial);
        }
        y_bar[lm..][..M].copy_from_slice(&acc);
    }

    let mut radial = V::zero();
    for_runs!(slots.n_y, lm, run, (slots, s, lm, bar, y_bar, &mut radial));
    radial
}

/// The matrix `W` of an ordered pair: `n_q` rows, `stride` apart.
#[derive(Clone, Copy)]
pub struct Mixing<'a, T> {
    pub w: &'a [T],
    pub n_q: usize,
    pub stride: usize,
}

/// `A_{t,lm} += Σ_q W[q, t] pooled[q, lm]`.
#[inline(never)]
pub fn mix<V: Lanes>(shells: &[Shell], w: Mixing<V::Real>, n_y: usize, pooled: &[V], a: &mut [V]) {
    #[inline(always)]
    fn shell<V: Lanes, const M: usize>(s: Shell, w: Mixing<V::Real>, n_y: usize, pooled: &[V], a: &mut [V]) {
        let product = Product { w: &w.w[s.t0..], strides: [1, w.stride], x: &pooled[s.l * s.l..], x_stride: n_y };
        product.add::<M>(s.n, w.n_q, &mut a[s.a0..], M);
    }
    #[inline(always)]
    fn wide<V: Lanes>(s: Shell, w: Mixing<V::Real>, n_y: usize, pooled: &[V], a: &mut [V]) {
        for m in 0..2 * s.l + 1 {
            let x = &pooled[s.l * s.l + m..];
            let product = Product { w: &w.w[s.t0..], strides: [1, w.stride], x, x_stride: n_y };
            product.add::<1>(s.n, w.n_q, &mut a[s.a0 + m..], 2 * s.l + 1);
        }
    }
    V::vectorize(
        #[inline(always)]
        || {
            for &s in shells {
                by_width!(s.l, shell(s, w, n_y, pooled, a));
            }
        },
    );
}

/// The adjoint of [`mix`]: overwrites `pooled_bar[q, lm]` with `Σ_t W[q, t] Ā_{t,lm}`.
#[inline(never)]
pub fn mix_pullback<V: Lanes>(shells: &[Shell], w: Mixing<V::Real>, n_y: usize, a_bar: &[V], pooled_bar: &mut [V]) {
    #[inline(always)]
    fn shell<V: Lanes, const M: usize>(s: Shell, w: Mixing<V::Real>, n_y: usize, a_bar: &[V], out: &mut [V]) {
        let product = Product { w: &w.w[s.t0..], strides: [w.stride, 1], x: &a_bar[s.a0..], x_stride: M };
        product.add::<M>(w.n_q, s.n, &mut out[s.l * s.l..], n_y);
    }
    #[inline(always)]
    fn wide<V: Lanes>(s: Shell, w: Mixing<V::Real>, n_y: usize, a_bar: &[V], out: &mut [V]) {
        let width = 2 * s.l + 1;
        for m in 0..width {
            let product = Product { w: &w.w[s.t0..], strides: [w.stride, 1], x: &a_bar[s.a0 + m..], x_stride: width };
            product.add::<1>(w.n_q, s.n, &mut out[s.l * s.l + m..], n_y);
        }
    }
    pooled_bar.fill(V::zero());
    V::vectorize(
        #[inline(always)]
        || {
            for &s in shells {
                by_width!(s.l, shell(s, w, n_y, a_bar, pooled_bar));
            }
        },
    );
}

/// `out[i, m] += Σ_k w[i, k] x[k, m]` with numbers `w` and vectors `x`.
struct Product<'a, T, V> {
    w: &'a [T],
    /// Of `i` and `k` in `w`.
    strides: [usize; 2],
    x: &'a [V],
    x_stride: usize,
}

impl<V: Lanes> Product<'_, V::Real, V> {
    #[inline(always)]
    fn add<const M: usize>(&self, n: usize, n_k: usize, out: &mut [V], out_stride: usize) {
        let mut i = 0;
        while i < n {
            i += match (M, n - i) {
                (1, 8..) => self.tile::<M, 8>(i, n_k, out, out_stride),
                (1 | 3 | 5, 4..) => self.tile::<M, 4>(i, n_k, out, out_stride),
                (_, 2..) if M < 13 => self.tile::<M, 2>(i, n_k, out, out_stride),
                _ => self.tile::<M, 1>(i, n_k, out, out_stride),
            };
        }
    }

    #[inline(always)]
    fn tile<const M: usize, const T: usize>(&self, i: usize, n_k: usize, out: &mut [V], out_stride: usize) -> usize {
        let mut acc = [[V::zero(); M]; T];
        for k in 0..n_k {
            let x = &self.x[k * self.x_stride..][..M];
            for (t, acc) in acc.iter_mut().enumerate() {
                let w = V::splat(self.w[(i + t) * self.strides[0] + k * self.strides[1]]);
                for m in 0..M {
                    acc[m] = w.mul_add(x[m], acc[m]);
                }
            }
        }
        for (t, acc) in acc.into_iter().enumerate() {
            for (out, acc) in out[(i + t) * out_stride..].iter_mut().zip(acc) {
                *out = *out + acc;
            }
        }
        T
    }
}
