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
    let n = abc[0].len();
    let (mut w, mut dw) = (slots::<V, S>(w, stride, n), slots::<V, S>(dw, stride, n));
    recursion(
        abc,
        at,
        #[inline(always)]
        |q, p, d| {
            for s in 0..S {
                w[s][q] = p[s];
                if GRAD {
                    dw[s][q] = d[s];
                }
            }
        },
    );
}

/// The first `n` entries of each of `S` slots.
#[inline(always)]
fn slots<V, const S: usize>(mut w: &mut [V], stride: usize, n: usize) -> [&mut [V]; S] {
    std::array::from_fn(|_| {
        let (slot, rest) = std::mem::take(&mut w).split_at_mut(stride);
        w = rest;
        &mut slot[..n]
    })
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
    let (n, b, c) = (a.len(), &b[..a.len()], &c[..a.len()]);
    // Values and slopes of the last two, which take turns.
    let [mut even, mut odd] = [[[V::zero(); S]; 2]; 2];
    if n > 0 {
        step::<V, S, 0>([a[0], b[0], c[0]], &at, &odd, &mut even);
        each(0, &even[0], &even[1]);
    }
    if n > 1 {
        step::<V, S, 1>([a[1], b[1], c[1]], &at, &even, &mut odd);
        each(1, &odd[0], &odd[1]);
    }
    for q in (2..n).step_by(2) {
        step::<V, S, 2>([a[q], b[q], c[q]], &at, &odd, &mut even);
        each(q, &even[0], &even[1]);
        if q + 1 < n {
            step::<V, S, 2>([a[q + 1], b[q + 1], c[q + 1]], &at, &even, &mut odd);
            each(q + 1, &odd[0], &odd[1]);
        }
    }
}

/// From the values and slopes before `last`, in `new`, to those after it; of the first (`Q` = 0), second (1), or a later polynomial.
#[inline(always)]
fn step<V: Lanes, const S: usize, const Q: usize>(
    abc: [V::Real; 3],
    at: &[Distances<V>; S],
    last: &[[V; S]; 2],
    new: &mut [[V; S]; 2],
) {
    let [a, b, c] = abc.map(V::splat);
    for s in 0..S {
        let Distances { y, dy, e, de } = at[s];
        let (g, [p, d]) = (a.mul_add(y, b), [last[0][s], last[1][s]]);
        (new[0][s], new[1][s]) = match Q {
            0 => (a * e, a * de),
            // P_2 = A_2 y + B_2 stands alone.
            1 => (g * e, g.mul_add(de, a * dy * e)),
            _ => (g.mul_add(p, c * new[0][s]), g.mul_add(d, (a * dy).mul_add(p, c * new[1][s]))),
        };
    }
}
