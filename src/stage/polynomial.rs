//! The polynomials of the transformed distance, times the envelope, by recursion.

use super::distance::Distances;
use crate::simd::Lanes;

/// `e P_q(y)` and, where `GRAD`, its derivative with respect to `r`, for every polynomial; `S` slots `stride` apart.
#[inline(always)]
pub fn polynomials<V: Lanes, const GRAD: bool, const S: usize>(
    abc: [&[V::Real]; 3],
    at: [Distances<V>; S],
    stride: usize,
    w: &mut [V],
    dw: &mut [V],
) {
    let n = (S - 1) * stride + abc[0].len();
    let (w, dw) = (&mut w[..n], &mut dw[..n]);
    recursion(
        abc,
        at,
        #[inline(always)]
        |q, p, d| {
            for s in 0..S {
                w[s * stride + q] = p[s];
                if GRAD {
                    dw[s * stride + q] = d[s];
                }
            }
        },
    );
}

/// `Σ_q folded[q] e P_q(y)` and its derivative with respect to `r`, in `S` slots.
#[inline(always)]
pub fn folded_polynomials<V: Lanes, const S: usize>(
    abc: [&[V::Real]; 3],
    at: [Distances<V>; S],
    folded: &[V::Real],
) -> ([V; S], [V; S]) {
    let (mut f, mut df) = ([V::zero(); S], [V::zero(); S]);
    recursion(
        abc,
        at,
        #[inline(always)]
        |q, p, d| {
            let c = V::splat(folded[q]);
            for s in 0..S {
                f[s] = c.mul_add(p[s], f[s]);
                df[s] = c.mul_add(d[s], df[s]);
            }
        },
    );
    (f, df)
}

/// Calls `each(q, P, ∂P/∂r)` with `P = e P_q(y)` for every polynomial of the recursion with coefficients `A`, `B`, `C`; several slots
/// share the coefficients, and hide each other's latency.
#[inline(always)]
fn recursion<V: Lanes, const S: usize>(
    [a, b, c]: [&[V::Real]; 3],
    at: [Distances<V>; S],
    mut each: impl FnMut(usize, &[V; S], &[V; S]),
) {
    let (b, c) = (&b[..a.len()], &c[..a.len()]);
    let [mut p, mut p1, mut d, mut d1] = [[V::zero(); S]; 4];
    for q in 0..a.len() {
        let (aq, bq, cq) = (V::splat(a[q]), V::splat(b[q]), V::splat(c[q]));
        for s in 0..S {
            let Distances { y, dy, e, de } = at[s];
            let g = aq.mul_add(y, bq);
            let (next, d_next) = match q {
                0 => (aq * e, aq * de),
                // P_2 = A_2 y + B_2 stands alone.
                1 => (g * e, g.mul_add(de, aq * dy * e)),
                _ => (g.mul_add(p[s], cq * p1[s]), g.mul_add(d[s], (aq * dy).mul_add(p[s], cq * d1[s]))),
            };
            (p1[s], d1[s], p[s], d[s]) = (p[s], d[s], next, d_next);
        }
        each(q, &p, &d);
    }
}
