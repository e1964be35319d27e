//! Repulsion at short distances, and the switch between it and the many-body energy, in double precision, one edge to a lane. Few edges are
//! short, but the exponentials of some potentials reach as far as their functions.

use super::radial::table_nodes;
use super::spec::{CorePairSpec, CoreSpec, InnerCutoff};
use crate::simd::elementary::{exp, half_turn};
use crate::simd::{Lanes, Portable};
use std::f64::consts::PI;

/// Coulomb's constant in eV Å.
const COULOMB: f64 = 14.399645351950543;

/// Lanes for a single number.
pub type One = Portable<f64, 2>;

/// An ordered pair, with what can be known before its distance.
#[derive(Clone, Debug)]
pub struct CorePair {
    spec: CorePairSpec,
    /// From here on the repulsion is 0, Å.
    pub reach: f64,
    /// Product of the charges, inverse length (1/Å) and shift `A/3, B/4, C` of the repulsion between nuclei.
    zbl: [f64; 5],
    /// Nodes of upstream's table, if its values are wanted.
    nodes: Option<usize>,
}

/// The repulsion of a part.
#[derive(Clone, Debug)]
pub struct Core {
    pub inner: InnerCutoff,
    /// By ordered pair.
    pub pairs: Vec<CorePair>,
}

impl Core {
    /// `tables` is the wanted distance of upstream's nodes, where its tables are to be reproduced.
    pub fn new(spec: &CoreSpec, numbers: &[u8], tables: Option<f64>) -> Core {
        let n = numbers.len();
        let pair = |(p, pair): (usize, &CorePairSpec)| {
            let charges = [numbers[p / n], numbers[p % n]].map(f64::from);
            CorePair::new(*pair, spec.inner, charges, tables.map(|bins| table_nodes(pair.rcut, bins)))
        };
        Core { inner: spec.inner, pairs: spec.pairs.iter().enumerate().map(pair).collect() }
    }

    /// Is there neither repulsion nor a switch?
    #[cfg(feature = "cuda")]
    pub fn is_nothing(&self) -> bool {
        self.inner != InnerCutoff::Zbl && self.pairs.iter().all(|p| p.reach == 0.0)
    }

    /// The repulsion `V(r)` of a pair. Not inlined: it is long, and few edges are short.
    #[inline(never)]
    pub fn eval<D: Lanes<Real = f64>>(&self, pair: usize, r: D) -> Values<D> {
        let pair = &self.pairs[pair];
        D::vectorize(
            #[inline(always)]
            || match pair.nodes {
                None => pair.exact(self.inner, r),
                Some(n) => pair.interpolated(self.inner, n, r),
            },
        )
    }

    /// Where the inner cutoff of a pair begins, below which the many-body energy of the centre is off.
    pub fn begin(&self, pair: usize) -> f64 {
        let CorePairSpec { inner, inner_width, .. } = self.pairs[pair].spec;
        inner - inner_width
    }

    /// Over which length the many-body energy comes back.
    pub fn width(&self, pair: usize) -> f64 {
        self.pairs[pair].spec.inner_width
    }

    /// The cutoff of a pair, Å.
    pub fn rcut(&self, pair: usize) -> f64 {
        self.pairs[pair].spec.rcut
    }

    /// The share of the many-body energy, given its closest neighbour.
    #[inline(never)]
    pub fn share<D: Lanes<Real = f64>>(&self, pair: usize, r: D) -> Values<D> {
        let CorePairSpec { inner, inner_width, .. } = self.pairs[pair].spec;
        D::vectorize(
            #[inline(always)]
            || {
                let [s, ds] = switch(r, inner, inner_width);
                [D::splat(1.0) - s, -ds]
            },
        )
    }
}

/// A value and its derivative.
type Values<D> = [D; 2];

impl CorePair {
    fn new(spec: CorePairSpec, inner: InnerCutoff, charges: [f64; 2], nodes: Option<usize>) -> CorePair {
        let CorePairSpec { rcut, dcut, prefactor, lambda, .. } = spec;
        let reach = match inner {
            _ if prefactor == 0.0 => 0.0,
            InnerCutoff::Zbl => rcut,
            InnerCutoff::Density => rcut.min((50.0 / lambda.abs()).sqrt()),
            InnerCutoff::Distance => rcut.min((50.0 / lambda.abs()).sqrt()).min(spec.inner),
        };
        // A table smears what ends between two nodes.
        let reach = match nodes {
            Some(n) if reach > 0.0 => (reach + rcut / n as f64).min(rcut),
            _ => reach,
        };
        let [zi, zj] = charges;
        let inv_length = (zi.powf(0.23) + zj.powf(0.23)) / 0.4685;
        let mut pair = CorePair { spec, reach, zbl: [COULOMB * zi * zj, inv_length, 0.0, 0.0, 0.0], nodes };
        if inner == InnerCutoff::Zbl {
            // With these V, V′ and V″ vanish at the cutoff.
            let [v, dv, ddv] = pair.screened(One::splat(rcut)).map(|x| x.to_array()[0]);
            let a = (dcut * ddv - 3.0 * dv) / dcut.powi(2);
            let b = (2.0 * dv - dcut * ddv) / dcut.powi(3);
            let c = -v + dcut * dv / 2.0 - dcut * dcut * ddv / 12.0;
            pair.zbl[2..].copy_from_slice(&[a / 3.0, b / 4.0, c]);
        }
        pair
    }

    /// For device code: the lengths, prefactor and λ, reach, numbers of the repulsion between nuclei, nodes of the table or 0.
    #[cfg(feature = "cuda")]
    pub fn numbers(&self) -> [f64; 13] {
        let CorePairSpec { rcut, dcut, inner, inner_width, prefactor, lambda } = self.spec;
        let [z, k, a, b, c] = self.zbl;
        let nodes = self.nodes.unwrap_or(0) as f64;
        [rcut, dcut, inner, inner_width, prefactor, lambda, self.reach, z, k, a, b, c, nodes]
    }

    /// The cubic Hermite polynomial between the nodes on both sides, of `n`; constant below the first.
    #[inline(always)]
    fn interpolated<D: Lanes<Real = f64>>(&self, inner: InnerCutoff, n: usize, r: D) -> Values<D> {
        let (zero, one, last, h) = (D::zero(), D::splat(1.0), D::splat(n as f64), D::splat(self.spec.rcut / n as f64));
        let position = r.div(h);
        let node = floor(position).max(one);
        let u = (position - node).max(zero);
        let next = node + one;
        let mut ends = [[zero; 2]; 2];
        for (end, node) in ends.iter_mut().zip([node, next]) {
            *end = self.exact(inner, node * h);
        }
        let ([a, da], [b, db]) = (ends[0], below(last, next, ends[1]));
        let (v, two, three) = (one - u, one + one, D::splat(3.0));
        let (u3, v3) = (three * u, three * v);
        let value = (one + two * u) * v * v * a + u * v * v * h * da + u * u * (one + two * v) * b - u * u * v * h * db;
        let slope = (two * u3 * v * (b - a)).div(h) + v * (one - u3) * da + u * (one - v3) * db;
        let slope = position.select_lt(one, zero, slope);
        below(D::splat(self.spec.rcut), r, [value, slope])
    }

    #[inline(always)]
    fn exact<D: Lanes<Real = f64>>(&self, inner: InnerCutoff, r: D) -> Values<D> {
        let CorePairSpec { rcut, dcut, prefactor, lambda, .. } = self.spec;
        if prefactor == 0.0 {
            return [D::zero(); 2];
        }
        let number = D::splat;
        let v = match inner {
            InnerCutoff::Zbl => {
                let ([v, dv, _], [_, _, a, b, c]) = (self.screened(r), self.zbl);
                let (a, b, c) = (number(a), number(b), number(c));
                let u = (r - number(rcut - dcut)).max(D::zero());
                let v = v + u * u * u * (a + u * b) + c;
                let dv = dv + u * u * (number(3.0) * a + number(4.0) * u * b);
                let factor = number(0.5 * prefactor);
                product([factor * v, factor * dv], switch(r, rcut, dcut))
            }
            InnerCutoff::Density | InnerCutoff::Distance => {
                let (x, inv_r) = (number(lambda.abs()) * r * r, number(1.0).div(r));
                let bare = number(prefactor.abs()) * exp(-x) * inv_r;
                let d_bare = -(bare * (x + x + number(1.0)) * inv_r);
                // ½ (1 + cos πr/c) = sin² ½π(1 − r/c)
                let (s, c) = half_turn((number(rcut) - r).max(D::zero()) * number(1.0 / rcut));
                let v = product([bare, d_bare], [s * s, -(number(PI / rcut) * s * c)]);
                let v = below(number(50.0), x, v);
                match inner {
                    InnerCutoff::Distance => product(v, switch(r, self.spec.inner, self.spec.inner_width)),
                    _ => v,
                }
            }
        };
        below(number(rcut), r, v)
    }

    /// `K z_i z_j φ(r/a)/r` and its first two derivatives: Ziegler, Biersack, Littmark (1985).
    #[inline(always)]
    fn screened<D: Lanes<Real = f64>>(&self, r: D) -> [D; 3] {
        const PHI: [[f64; 2]; 4] = [[0.18175, 3.1998], [0.50986, 0.94229], [0.28022, 0.4029], [0.02817, 0.20162]];
        let [charges, k, ..] = self.zbl;
        let mut phi = [D::zero(); 3];
        for [c, q] in PHI {
            let (q, term) = (D::splat(q * k), D::splat(c) * exp(D::splat(-q * k) * r));
            phi = [phi[0] + term, phi[1] - q * term, phi[2] + q * q * term];
        }
        let ([f, df, ddf], inv_r) = (phi, D::splat(1.0).div(r));
        let (slope, charges) = ((df - f * inv_r) * inv_r, D::splat(charges));
        [charges * f * inv_r, charges * slope, charges * (ddf - slope - slope) * inv_r]
    }
}

/// 1 up to `h − w`, 0 from `h` on, and its derivative.
#[inline(always)]
pub fn switch<D: Lanes<Real = f64>>(x: D, h: f64, w: f64) -> Values<D> {
    let (one, begin, end) = (D::splat(1.0), D::splat(h - w), D::splat(h));
    let t = one - D::splat(2.0) * (one + (x - end).div(D::splat(w)));
    let (t2, rest) = (t * t, one - t * t);
    let odd = D::splat(0.25) - t2 * (D::splat(1.0 / 6.0) - t2 * D::splat(1.0 / 20.0));
    let between = [D::splat(0.5) + D::splat(15.0 / 4.0) * t * odd, D::splat(-15.0 / 8.0 / w) * rest * rest];
    let [value, slope] = below(end, x, between);
    [begin.select_lt(x, value, one), begin.select_lt(x, slope, D::zero())]
}

/// `f` where `x` is below `end`, else 0.
#[inline(always)]
fn below<D: Lanes>(end: D, x: D, [f, df]: Values<D>) -> Values<D> {
    [x.select_lt(end, f, D::zero()), x.select_lt(end, df, D::zero())]
}

/// The largest whole number up to `x`, which is far from what doubles cannot hold.
#[inline(always)]
fn floor<D: Lanes<Real = f64>>(x: D) -> D {
    let round = D::splat(6_755_399_441_055_744.0);
    let near = (x + round) - round;
    x.select_lt(near, near - D::splat(1.0), near)
}

#[inline(always)]
fn product<D: Lanes>([a, da]: Values<D>, [b, db]: Values<D>) -> Values<D> {
    [a * b, a * db + da * b]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(f: impl Fn(One) -> Values<One>, r: f64) -> [f64; 2] {
        f(One::splat(r)).map(|x| x.to_array()[0])
    }

    #[test]
    fn slopes_are_differences() {
        let pair = CorePairSpec { rcut: 4.0, dcut: 1.0, inner: 1.5, inner_width: 0.5, prefactor: 3.0, lambda: 0.7 };
        for inner in [InnerCutoff::Density, InnerCutoff::Distance, InnerCutoff::Zbl] {
            for bins in [None, Some(0.01)] {
                let core = Core::new(&CoreSpec { inner, pairs: vec![pair] }, &[29], bins);
                for k in 1..450 {
                    let (r, h) = (0.01 * f64::from(k) + 0.003, 1e-6);
                    let difference = |f: &dyn Fn(One) -> Values<One>| (at(f, r + h)[0] - at(f, r - h)[0]) / (2.0 * h);
                    let v = at(|r| core.eval(0, r), r);
                    let error = (v[1] - difference(&|r| core.eval(0, r))).abs();
                    assert!(error < 1e-6 * (1.0 + v[1].abs()), "{inner:?} {bins:?} {r}");
                    let f = at(|r| core.share(0, r), r);
                    assert!((f[1] - difference(&|r| core.share(0, r))).abs() < 1e-6, "{inner:?} {r}");
                    assert!(r < core.pairs[0].reach || v == [0.0; 2], "{inner:?} {bins:?} {r}");
                }
            }
        }
    }

    /// By the formulas, with the functions of the library.
    #[test]
    fn values_are_those_of_the_formulas() {
        let pair = CorePairSpec { rcut: 4.0, dcut: 1.0, inner: 3.0, inner_width: 0.0, prefactor: -3.0, lambda: 4.0 };
        for (inner, reach) in [(InnerCutoff::Density, 50.0_f64.sqrt() / 2.0), (InnerCutoff::Distance, 3.0)] {
            let core = Core::new(&CoreSpec { inner, pairs: vec![pair] }, &[29], None);
            for k in 1..450 {
                let r = 0.01 * f64::from(k) + 0.003;
                let exact = 1.5 * (-4.0 * r * r).exp() / r * (1.0 + (PI * r / 4.0).cos());
                let exact = if r < reach { exact } else { 0.0 };
                let v = at(|r| core.eval(0, r), r)[0];
                assert!((v - exact).abs() <= 1e-14 * exact, "{inner:?} {r}: {v} {exact}");
            }
        }
        assert_eq!([1.0, 2.0, 2.5, 3.0, 4.0].map(|x| at(|x| switch(x, 3.0, 1.0), x)[0]), [1.0, 1.0, 0.5, 0.0, 0.0]);
        assert_eq!([2.9, 3.0, 3.1].map(|x| at(|x| switch(x, 3.0, 0.0), x)), [[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]);
    }
}
