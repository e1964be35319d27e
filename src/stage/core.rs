//! Repulsion at short distances, and the switch between it and the many-body energy; one edge at a time in double precision, as few
//! edges are that short.

use super::radial::{Dual, table_nodes};
use super::spec::InnerCutoff;
use super::spec::{CorePairSpec, CoreSpec};
use std::f64::consts::PI;

/// Coulomb's constant in eV Å.
const COULOMB: f64 = 14.399645351950543;

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

    /// The repulsion `V(r)` of a pair.
    pub fn eval(&self, pair: usize, r: f64) -> Dual {
        let pair = &self.pairs[pair];
        let Some(n) = pair.nodes else { return pair.exact(self.inner, r) };
        if r >= pair.spec.rcut {
            return ZERO;
        }
        let h = pair.spec.rcut / n as f64;
        let node = (r / h).floor().max(1.0);
        let at = |k: f64| if k >= n as f64 { ZERO } else { pair.exact(self.inner, k * h) };
        let (a, b, u) = (at(node), at(node + 1.0), (r / h - node).max(0.0));
        let v = 1.0 - u;
        let value = (1.0 + 2.0 * u) * v * v * a.value + u * v * v * h * a.slope;
        let value = value + u * u * (3.0 - 2.0 * u) * b.value - u * u * v * h * b.slope;
        let slope =
            6.0 * u * v * (b.value - a.value) / h + v * (1.0 - 3.0 * u) * a.slope + u * (3.0 * u - 2.0) * b.slope;
        Dual { value, slope: if r < h { 0.0 } else { slope } }
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
    pub fn share(&self, pair: usize, r: f64) -> Dual {
        let CorePairSpec { inner, inner_width, .. } = self.pairs[pair].spec;
        let s = switch(r, inner, inner_width);
        Dual { value: 1.0 - s.value, slope: -s.slope }
    }
}

const ZERO: Dual = Dual { value: 0.0, slope: 0.0 };

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
            let [v, dv, ddv] = pair.screened(rcut);
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

    fn exact(&self, inner: InnerCutoff, r: f64) -> Dual {
        let CorePairSpec { rcut, dcut, prefactor, lambda, .. } = self.spec;
        if r >= rcut || prefactor == 0.0 {
            return ZERO;
        }
        match inner {
            InnerCutoff::Zbl => {
                let [v, dv, _] = self.screened(r);
                let ([_, _, a, b, c], u) = (self.zbl, (r - rcut + dcut).max(0.0));
                let v = Dual { value: v + u.powi(3) * (a + u * b) + c, slope: dv + u * u * (3.0 * a + 4.0 * u * b) };
                scaled(product(v, switch(r, rcut, dcut)), 0.5 * prefactor)
            }
            _ => {
                let x = lambda.abs() * r * r;
                if x >= 50.0 {
                    return ZERO;
                }
                let bare = prefactor.abs() * (-x).exp() / r;
                let bare = Dual { value: bare, slope: -bare * (2.0 * x + 1.0) / r };
                let (s, c) = (PI * r / rcut).sin_cos();
                let v = product(bare, Dual { value: 0.5 * (1.0 + c), slope: -0.5 * PI / rcut * s });
                match inner {
                    InnerCutoff::Distance => product(v, switch(r, self.spec.inner, self.spec.inner_width)),
                    _ => v,
                }
            }
        }
    }

    /// `K z_i z_j φ(r/a)/r` and its first two derivatives: Ziegler, Biersack, Littmark (1985).
    fn screened(&self, r: f64) -> [f64; 3] {
        const PHI: [[f64; 2]; 4] = [[0.18175, 3.1998], [0.50986, 0.94229], [0.28022, 0.4029], [0.02817, 0.20162]];
        let [charges, k, ..] = self.zbl;
        let mut phi = [0.0; 3];
        for [c, q] in PHI {
            let term = c * (-q * k * r).exp();
            phi[0] += term;
            phi[1] -= q * k * term;
            phi[2] += q * k * q * k * term;
        }
        let [f, df, ddf] = phi;
        [f / r, (df - f / r) / r, (ddf - 2.0 * (df - f / r) / r) / r].map(|x| charges * x)
    }
}

/// 1 up to `h − w`, 0 from `h` on.
pub fn switch(x: f64, h: f64, w: f64) -> Dual {
    if x <= h - w {
        return Dual { value: 1.0, slope: 0.0 };
    }
    if x >= h {
        return ZERO;
    }
    let t = 1.0 - 2.0 * (1.0 + (x - h) / w);
    let (t2, rest) = (t * t, 1.0 - t * t);
    let value = 0.5 + 15.0 / 4.0 * t * (0.25 - t2 / 6.0 + t2 * t2 / 20.0);
    Dual { value, slope: -15.0 / 8.0 / w * rest * rest }
}

fn product(a: Dual, b: Dual) -> Dual {
    Dual { value: a.value * b.value, slope: a.value * b.slope + a.slope * b.value }
}

fn scaled(a: Dual, x: f64) -> Dual {
    Dual { value: a.value * x, slope: a.slope * x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_differences() {
        let pair = CorePairSpec { rcut: 4.0, dcut: 1.0, inner: 1.5, inner_width: 0.5, prefactor: 3.0, lambda: 0.7 };
        for inner in [InnerCutoff::Density, InnerCutoff::Distance, InnerCutoff::Zbl] {
            for bins in [None, Some(0.01)] {
                let core = Core::new(&CoreSpec { inner, pairs: vec![pair] }, &[29], bins);
                for k in 1..450 {
                    let (r, h) = (0.01 * f64::from(k) + 0.003, 1e-6);
                    let slope = |f: &dyn Fn(f64) -> Dual| (f(r + h).value - f(r - h).value) / (2.0 * h);
                    let (v, difference) = (core.eval(0, r), slope(&|r| core.eval(0, r)));
                    assert!((v.slope - difference).abs() < 1e-6 * (1.0 + v.slope.abs()), "{inner:?} {bins:?} {r}");
                    let (f, difference) = (core.share(0, r), slope(&|r| core.share(0, r)));
                    assert!((f.slope - difference).abs() < 1e-6, "{inner:?} {r}");
                    assert!(r < core.pairs[0].reach || v == ZERO, "{inner:?} {bins:?} {r}");
                }
            }
        }
    }
}
