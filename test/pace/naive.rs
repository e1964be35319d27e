//! PACE potentials written down from their formulas: complex `A`, no cleverness, every derivative by dual numbers.
//!
//! Independent of the library but for the plain data of potential and structure.
// Formulas as they stand, index by index.
#![allow(clippy::needless_range_loop)]

use crate::naive::dual::Dual;
use acerust::pace::{Base, Bond, Form, Function, InnerCutoff, Potential};
use acerust::structure::Structure;
use std::collections::HashMap;
use std::f64::consts::PI;

/// How functions of the distance are evaluated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    Exact,
    /// Upstream's tables.
    Table,
}

pub struct Answer {
    pub energies: Vec<f64>,
    pub forces: Vec<[f64; 3]>,
    pub virial: [[f64; 3]; 3],
}

/// Energies, forces and virial.
pub fn evaluate(p: &Potential, s: &Structure, mode: Mode) -> Answer {
    let edges = crate::naive::edges(s, p.rcut());
    let n = s.n_atoms();
    let species: Vec<usize> =
        s.numbers.iter().map(|z| p.species.iter().position(|x| x == z).expect("a species")).collect();
    let mut answer = Answer { energies: vec![0.0; n], forces: vec![[0.0; 3]; n], virial: [[0.0; 3]; 3] };
    for i in 0..n {
        let mine: Vec<_> = edges.iter().filter(|e| e.i == i).collect();
        let site = |moving: Option<usize>| {
            let neighbours: Vec<(usize, [Dual; 3])> = mine
                .iter()
                .enumerate()
                .map(|(k, e)| {
                    let r = if moving == Some(k) { Dual::vector(e.r) } else { e.r.map(Dual::constant) };
                    (species[e.j], r)
                })
                .collect();
            site_energy(p, mode, species[i], &neighbours)
        };
        answer.energies[i] = site(None).value;
        for (k, e) in mine.iter().enumerate() {
            let g = site(Some(k)).gradient;
            for a in 0..3 {
                answer.forces[i][a] += g[a];
                answer.forces[e.j][a] -= g[a];
                for b in 0..3 {
                    answer.virial[a][b] -= g[a] * e.r[b];
                }
            }
        }
    }
    answer
}

/// The energy of a centre of species `zi` and these neighbours.
pub fn site_energy(p: &Potential, mode: Mode, zi: usize, neighbours: &[(usize, [Dual; 3])]) -> Dual {
    let n_species = p.species.len();
    let bond = |zj: usize| &p.bonds[zi * n_species + zj];
    let mut core = Dual::default();
    let mut closest: Option<(f64, Dual, &Bond)> = None;
    let mut pools: HashMap<(usize, bool, usize, usize, i32), Complex> = HashMap::new();
    for &(zj, v) in neighbours {
        let r = (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt();
        let b = bond(zj);
        if r.value >= b.rcut {
            continue;
        }
        let distance = r.value - (b.inner - b.inner_width);
        if closest.is_none_or(|(d, ..)| distance < d) {
            closest = Some((distance, r, b));
        }
        core = core + tabulated(p, mode, b, r, |r| vec![core_pair(p, b, zi, zj, r)])[0];
        let [n_base, n_radial, lmax] = p.sizes();
        for (k, g) in tabulated(p, mode, b, r, |r| base_functions(p, b, r, n_base)).into_iter().enumerate() {
            add(&mut pools, (zj, true, k, 0, 0), Complex::real(g));
        }
        let radial = tabulated(p, mode, b, r, |r| radial_functions(p, b, r));
        for (n, l) in (0..n_radial).flat_map(|n| (0..=lmax).map(move |l| (n, l))) {
            for m in -(l as i32)..=l as i32 {
                add(&mut pools, (zj, false, n, l, m), harmonic(l as i32, m, v, r).times(radial[n * (lmax + 1) + l]));
            }
        }
    }
    let densities = &p.embeddings[zi].densities;
    let mut rho = vec![Dual::default(); densities.len()];
    for f in &p.functions[zi] {
        for (ms, c) in f.terms().zip(f.coefficients.chunks(densities.len())) {
            let product = product(&pools, f, ms);
            rho.iter_mut().zip(c).for_each(|(rho, &c)| *rho = *rho + product * c);
        }
    }
    let e = p.embeddings[zi]
        .densities
        .iter()
        .zip(&rho)
        .map(|(&[w, m], &rho)| embed(p.embeddings[zi].form, rho, m) * w)
        .sum::<Dual>();
    let energy = match p.inner {
        InnerCutoff::Zbl => {
            let f = match closest {
                Some((_, r, b)) => Dual::constant(1.0) - switch(r, b.inner, b.inner_width),
                None => Dual::constant(1.0),
            };
            f * e + (Dual::constant(1.0) - f) * core
        }
        _ => {
            let [cut, width] = p.embeddings[zi].core;
            switch(core, cut, width) * e + core
        }
    };
    energy + p.e0[zi]
}

fn product(pools: &HashMap<(usize, bool, usize, usize, i32), Complex>, f: &Function, ms: &[i32]) -> Dual {
    let of = |(factor, &m): (&acerust::pace::Factor, &i32)| {
        let key = (factor.species, f.rank() == 1, factor.n, factor.l, m);
        pools.get(&key).copied().unwrap_or_default()
    };
    f.factors.iter().zip(ms).map(of).reduce(Complex::multiply).expect("a factor").re
}

/// Functions of the distance that vanish at the cutoff of a bond: as they are, or by cubic Hermite interpolation.
fn tabulated(p: &Potential, mode: Mode, b: &Bond, r: Dual, f: impl Fn(Dual) -> Vec<Dual>) -> Vec<Dual> {
    if mode == Mode::Exact {
        return f(r);
    }
    let n = (b.rcut / p.bins).floor();
    let h = b.rcut / n;
    let node = (r.value / h).floor();
    let u = (r * (1.0 / h)).chain(r.value / h - node, 1.0);
    let at = |k: f64| {
        let mut x = f(Dual { value: k * h, gradient: [1.0, 0.0, 0.0] });
        if k >= n {
            x.iter_mut().for_each(|x| *x = Dual::default());
        }
        x
    };
    let one = Dual::constant(1.0);
    let v = one - u;
    let weights = [(one + u * 2.0) * v * v, u * v * v * h, u * u * (Dual::constant(3.0) - u * 2.0), u * u * v * -h];
    at(node)
        .iter()
        .zip(at(node + 1.0))
        .map(|(a, b)| {
            weights[0] * a.value + weights[1] * a.gradient[0] + weights[2] * b.value + weights[3] * b.gradient[0]
        })
        .collect()
}

/// `R_nl`, `n` outer.
fn radial_functions(p: &Potential, b: &Bond, r: Dual) -> Vec<Dual> {
    let [n_base, n_radial, lmax] = p.sizes();
    let g = base_functions(p, b, r, n_base);
    let coefficient = |n: usize, l: usize, k: usize| {
        b.coefficients.get(n).and_then(|x| x.get(l)).and_then(|x| x.get(k)).copied().unwrap_or(0.0)
    };
    (0..n_radial)
        .flat_map(|n| (0..=lmax).map(move |l| (n, l)))
        .map(|(n, l)| (0..n_base).map(|k| g[k] * coefficient(n, l, k)).sum())
        .collect()
}

/// `g_k` with the cutoffs of the bond.
fn base_functions(p: &Potential, b: &Bond, r: Dual, n: usize) -> Vec<Dual> {
    let one = Dual::constant(1.0);
    if r.value >= b.rcut || r.value <= b.inner - b.inner_width {
        return vec![Dual::default(); n];
    }
    if p.inner == InnerCutoff::Zbl && b.inner_width == 0.0 && r.value <= 1.0 {
        return vec![Dual::default(); n];
    }
    let t = r * (1.0 / b.rcut);
    let g: Vec<Dual> = match b.base {
        Base::ChebExpCos => {
            let end = (-b.lambda).exp();
            let x = one - (exp(t * -b.lambda) + -end) * (2.0 / (1.0 - end));
            let mut fc = (one + cos(t * PI)) * 0.5;
            if r.value > b.rcut - b.dcut {
                fc = fc * (one + cos((r + (b.dcut - b.rcut)) * (PI / b.dcut))) * 0.5;
            }
            (0..n).map(|k| if k == 0 { fc } else { (one - chebyshev(k, x)) * 0.5 * fc }).collect()
        }
        Base::ChebPow => {
            let x = one - powf(one - t, b.lambda) * 2.0;
            (1..=n).map(|k| (one - chebyshev(k, x)) * 0.5).collect()
        }
        Base::ChebLinear => (1..=n).map(|k| (one - chebyshev(k, one - t)) * 0.5).collect(),
        Base::SBessel => bessel(n, r, b.rcut),
        Base::Zero => vec![Dual::default(); n],
    };
    if p.inner == InnerCutoff::Distance {
        let f = one - switch(r, b.inner, b.inner_width);
        return g.into_iter().map(|g| g * f).collect();
    }
    g
}

fn chebyshev(k: usize, x: Dual) -> Dual {
    let (mut a, mut b) = (Dual::constant(1.0), x);
    for _ in 0..k {
        (a, b) = (b, x * b * 2.0 - a);
    }
    a
}

fn bessel(count: usize, r: Dual, c: f64) -> Vec<Dual> {
    let sinc = |x: Dual| sin(x) / x;
    let f = |n: usize| {
        let (a, b) = (n as f64 + 1.0, n as f64 + 2.0);
        let sign = if n.is_multiple_of(2) { 1.0 } else { -1.0 };
        let norm = sign * 2f64.sqrt() * PI / c.powf(1.5) * a * b / (a * a + b * b).sqrt();
        (sinc(r * (a * PI / c)) + sinc(r * (b * PI / c))) * norm
    };
    let mut g: Vec<Dual> = Vec::new();
    let mut d = 1.0;
    for n in 0..count {
        let k = n as f64;
        let next = match g.last() {
            None => f(0),
            Some(&last) => {
                let e = k * k * (k + 2.0) * (k + 2.0) / (4.0 * (k + 1.0).powi(4) + 1.0);
                let before = d;
                d = 1.0 - e / before;
                (f(n) + last * (e / before).sqrt()) * (1.0 / d.sqrt())
            }
        };
        g.push(next);
    }
    g
}

/// The core repulsion of a pair, before its switch with the many-body energy.
fn core_pair(p: &Potential, b: &Bond, zi: usize, zj: usize, r: Dual) -> Dual {
    let one = Dual::constant(1.0);
    let [prefactor, lambda] = b.core;
    if r.value >= b.rcut {
        return Dual::default();
    }
    match p.inner {
        InnerCutoff::Zbl => {
            let [a, b_] = [zi, zj].map(|z| f64::from(p.species[z]));
            let v = |r: Dual| zbl(a, b_, r);
            let (cut, width) = (b.rcut, b.dcut);
            let [value, first, second] = derivatives(v, cut);
            let a3 = (width * second - 3.0 * first) / width.powi(2);
            let b4 = (2.0 * first - width * second) / width.powi(3);
            let constant = -value + width * first / 2.0 - width * width * second / 12.0;
            let u = if r.value > cut - width { r + (width - cut) } else { Dual::default() };
            let shift = u.powi(3) * (a3 / 3.0) + u.powi(4) * (b4 / 4.0) + constant;
            (v(r) + shift) * switch(r, cut, width) * (prefactor / 2.0)
        }
        _ => {
            let x = r * r * lambda.abs();
            if x.value >= 50.0 {
                return Dual::default();
            }
            let v = exp(-x) / r * prefactor.abs() * (one + cos(r * (PI / b.rcut))) * 0.5;
            if p.inner == InnerCutoff::Distance { v * switch(r, b.inner, b.inner_width) } else { v }
        }
    }
}

fn zbl(zi: f64, zj: f64, r: Dual) -> Dual {
    let a = 0.4685 / (zi.powf(0.23) + zj.powf(0.23));
    let x = r * (1.0 / a);
    let phi = [(0.18175, 3.1998), (0.50986, 0.94229), (0.28022, 0.4029), (0.02817, 0.20162)];
    let phi: Dual = phi.into_iter().map(|(c, k)| exp(x * -k) * c).sum();
    phi / r * (14.399645351950543 * zi * zj)
}

/// Value and two derivatives at `x`; the second by a difference of the first, in the fourth order.
fn derivatives(f: impl Fn(Dual) -> Dual, x: f64) -> [f64; 3] {
    let at = |x: f64| f(Dual { value: x, gradient: [1.0, 0.0, 0.0] });
    let (h, d) = (1e-3, |k: f64| at(x + k * 1e-3).gradient[0]);
    let second = (8.0 * (d(1.0) - d(-1.0)) - (d(2.0) - d(-2.0))) / (12.0 * h);
    [at(x).value, at(x).gradient[0], second]
}

/// 1 below `h − w`, 0 above `h`.
fn switch(x: Dual, h: f64, w: f64) -> Dual {
    if x.value <= h - w {
        return Dual::constant(1.0);
    }
    if x.value >= h {
        return Dual::default();
    }
    let t = Dual::constant(1.0) - (Dual::constant(1.0) + (x + -h) * (1.0 / w)) * 2.0;
    (t * 0.25 - t.powi(3) * (1.0 / 6.0) + t.powi(5) * (1.0 / 20.0)) * (15.0 / 4.0) + 0.5
}

/// `F(ρ; m)`.
fn embed(form: Form, rho: Dual, m: f64) -> Dual {
    let (a, sign) = if rho.value < 0.0 { (-rho, -1.0) } else { (rho, 1.0) };
    let one = Dual::constant(1.0);
    let f = match form {
        Form::FinnisSinclair if m == 1.0 => a,
        Form::FinnisSinclair => {
            let omega: f64 = 1e6;
            let q = (a * omega).powi(3);
            let gamma = if q.value > 30.0 { Dual::default() } else { exp(-q) };
            if a.value <= 1e-10 {
                a * omega.powf(1.0 - m)
            } else {
                (one - gamma) * powf(a, m) + gamma * omega.powf(1.0 - m) * a
            }
        }
        Form::FinnisSinclairShiftedScaled if (m - 1.0).abs() < 1e-10 => a,
        Form::FinnisSinclairShiftedScaled => {
            let n = 1.0 / m;
            let x = exp(-a) * n.powf(n / (1.0 - n));
            let y = exp(-a) * n.powf(1.0 / (1.0 - n));
            powf(x + a, m) - y
        }
    };
    f * sign
}

fn exp(x: Dual) -> Dual {
    x.chain(x.value.exp(), x.value.exp())
}

fn sin(x: Dual) -> Dual {
    x.chain(x.value.sin(), x.value.cos())
}

fn cos(x: Dual) -> Dual {
    x.chain(x.value.cos(), -x.value.sin())
}

fn powf(x: Dual, n: f64) -> Dual {
    x.chain(x.value.powf(n), n * x.value.powf(n - 1.0))
}

#[derive(Clone, Copy, Default)]
struct Complex {
    re: Dual,
    im: Dual,
}

impl Complex {
    fn real(re: Dual) -> Complex {
        Complex { re, im: Dual::default() }
    }

    fn multiply(self, other: Complex) -> Complex {
        Complex { re: self.re * other.re - self.im * other.im, im: self.re * other.im + self.im * other.re }
    }

    fn times(self, x: Dual) -> Complex {
        Complex { re: self.re * x, im: self.im * x }
    }
}

fn add<K: std::hash::Hash + Eq>(pools: &mut HashMap<K, Complex>, key: K, x: Complex) {
    let sum = pools.entry(key).or_default();
    *sum = Complex { re: sum.re + x.re, im: sum.im + x.im };
}

/// `Y_lm` of a direction, with the phase of Condon and Shortley and `Y_00 = 1`.
fn harmonic(l: i32, m: i32, v: [Dual; 3], r: Dual) -> Complex {
    let [x, y, z] = v.map(|c| c / r);
    let k = m.abs();
    let f = |n: i32| (1..=n).map(f64::from).product::<f64>();
    // (−1)^m √((2l+1) (l−m)!/(l+m)!) (sin θ)^m d^(l+m)/dz^(l+m) (z² − 1)^l / (2^l l!)
    let norm = (f64::from(2 * l + 1) * f(l - k) / f(l + k)).sqrt() / 2f64.powi(l) / f(l);
    let legendre: Dual = (0..=l)
        .filter(|j| 2 * j >= l + k)
        .map(|j| {
            let sign = if (l - j) % 2 == 0 { 1.0 } else { -1.0 };
            let power = 2 * j - l - k;
            z.powi(power) * (sign * f(l) / f(j) / f(l - j) * f(2 * j) / f(power))
        })
        .sum();
    let mut phase = Complex::real(Dual::constant(if k % 2 == 0 { norm } else { -norm }));
    for _ in 0..k {
        phase = phase.multiply(Complex { re: x, im: y });
    }
    let mut out = phase.times(legendre);
    if m < 0 {
        let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
        out = Complex { re: out.re * sign, im: out.im * -sign };
    }
    out
}
