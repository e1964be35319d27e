//! `A` from pooled polynomials: `A_{t,lm} = Σ_z Σ_q W[z_i, z][t, q] · (Σ_{j of species z} e P_q(y_j) Y_lm(r_j))`.
//!
//! The radial functions are linear in the polynomials, so polynomials can be pooled instead, and mixed
//! once a centre rather than once an edge. A product of small matrices, in tiles that stay in registers.

use super::pool::{Shell, by_width};
use crate::simd::Lanes;

/// The polynomials of shell `from`, pooled, make up the functions of shell `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mixed {
    pub from: Shell,
    pub to: Shell,
}

/// The matrix `W` of an ordered pair: a row for each polynomial, `stride` apart.
#[derive(Clone, Copy)]
pub struct Weights<'a, T> {
    pub w: &'a [T],
    pub stride: usize,
}

/// `A_{t,lm} += Σ_q W[q, t] pooled[q, lm]`; shells `to` lie in `a`, shells `from` in `pooled`.
#[inline(never)]
pub fn mix<V: Lanes>(shells: &[Mixed], w: Weights<V::Real>, pooled: &[V], a: &mut [V]) {
    #[inline(always)]
    fn shell<V: Lanes, const M: usize>(s: Mixed, w: Weights<V::Real>, pooled: &[V], a: &mut [V]) {
        let product = Product { w: s.weights(w), strides: [1, w.stride], x: &pooled[s.from.a0..], x_stride: M };
        product.add::<M>(s.to.n, s.from.n, &mut a[s.to.a0..], M);
    }
    #[inline(always)]
    fn wide<V: Lanes>(s: Mixed, w: Weights<V::Real>, pooled: &[V], a: &mut [V]) {
        let width = s.to.width();
        for m in 0..width {
            let x = &pooled[s.from.a0 + m..];
            let product = Product { w: s.weights(w), strides: [1, w.stride], x, x_stride: width };
            product.add::<1>(s.to.n, s.from.n, &mut a[s.to.a0 + m..], width);
        }
    }
    V::vectorize(
        #[inline(always)]
        || {
            for &s in shells {
                by_width!(s.to.l, shell(s, w, pooled, a));
            }
        },
    );
}

/// The adjoint of [`mix`]: overwrites `pooled_bar[q, lm]` with `Σ_t W[q, t] Ā_{t,lm}`.
#[inline(never)]
pub fn pullback<V: Lanes>(shells: &[Mixed], w: Weights<V::Real>, a_bar: &[V], pooled_bar: &mut [V]) {
    #[inline(always)]
    fn shell<V: Lanes, const M: usize>(s: Mixed, w: Weights<V::Real>, a_bar: &[V], out: &mut [V]) {
        let product = Product { w: s.weights(w), strides: [w.stride, 1], x: &a_bar[s.to.a0..], x_stride: M };
        product.add::<M>(s.from.n, s.to.n, &mut out[s.from.a0..], M);
    }
    #[inline(always)]
    fn wide<V: Lanes>(s: Mixed, w: Weights<V::Real>, a_bar: &[V], out: &mut [V]) {
        let width = s.to.width();
        for m in 0..width {
            let x = &a_bar[s.to.a0 + m..];
            let product = Product { w: s.weights(w), strides: [w.stride, 1], x, x_stride: width };
            product.add::<1>(s.from.n, s.to.n, &mut out[s.from.a0 + m..], width);
        }
    }
    pooled_bar.fill(V::zero());
    V::vectorize(
        #[inline(always)]
        || {
            for &s in shells {
                by_width!(s.to.l, shell(s, w, a_bar, pooled_bar));
            }
        },
    );
}

impl Mixed {
    /// From the first polynomial and the first function on.
    fn weights<'a, T>(&self, w: Weights<'a, T>) -> &'a [T] {
        &w.w[self.from.t0 * w.stride + self.to.t0..]
    }
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
