//! Random models of every kind that the file format allows.

use super::random::Random;
use acerust::model::spec::*;
use acerust::model::{Model, ModelSpec, PartSpec};

const ELEMENTS: [u8; 5] = [14, 8, 1, 22, 79];

/// What a random many-body part looks like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub n_species: usize,
    pub order: usize,
    pub lmax: usize,
    pub kind: HarmonicsKind,
    pub splines: bool,
    /// Couple orders 1 and 2 to rotation invariants; else at random.
    pub invariant: bool,
}

/// A dozen of stacks that together cover 1–5 species, orders 1–4, lmax 0–7, both kinds of harmonics, both kinds of
/// functions, all envelopes, cutoffs equal and different, several parts of one kind.
pub fn random_models() -> Vec<Model> {
    (0..12).map(random_model).collect()
}

pub fn random_model(seed: u64) -> Model {
    let mut random = Random::new(seed);
    let k = seed as usize;
    let shape = Shape {
        n_species: 1 + k % 5,
        order: 1 + k % 4,
        lmax: [3, 4, 2, 5, 1, 3, 0, 7, 2, 3, 5, 4][k % 12],
        kind: if k % 3 == 1 { HarmonicsKind::Spherical } else { HarmonicsKind::Solid },
        splines: k % 4 == 2 || k % 4 == 3,
        invariant: false,
    };
    let n_species = shape.n_species;
    let rcut = random.between(3.5, 5.0);
    let mut parts = vec![PartSpec::Ace(ace(&mut random, shape, rcut))];
    if k != 3 {
        // Polynomial where the first one is splined: parts must not disturb each other.
        let pair_rcut = if k.is_multiple_of(2) { rcut } else { random.between(3.0, 6.0) };
        parts.push(PartSpec::Pair(pair(&mut random, n_species, !shape.splines, pair_rcut)));
    }
    if !k.is_multiple_of(3) {
        let e0 = || (0..n_species).map(|z| -10.0 - z as f64).collect();
        parts.push(PartSpec::OneBody(OneBodySpec { e0: e0() }));
        if k.is_multiple_of(2) {
            parts.push(PartSpec::OneBody(OneBodySpec { e0: e0() }));
        }
    }
    if k % 4 == 1 {
        // A second one of each, that knows fewer angular momenta.
        let other = Shape { lmax: shape.lmax.min(2), order: 2, splines: !shape.splines, ..shape };
        let mut second = ace(&mut random, other, 3.2);
        leave_out_l(&mut second, 1);
        parts.push(PartSpec::Ace(second));
        parts.push(PartSpec::Pair(pair(&mut random, n_species, false, 3.2)));
    }
    random.shuffle(&mut parts);
    if k % 3 == 1 {
        parts.push(PartSpec::Zbl(zbl(&mut random, n_species)));
    }
    finish(&format!("random {seed}"), n_species, parts)
}

/// Invariant under rotation and reflection, orders 1 and 2, with a pair part.
pub fn invariant_model(seed: u64, n_species: usize, kind: HarmonicsKind, splines: bool) -> Model {
    let mut random = Random::new(1000 + seed);
    let shape = Shape { n_species, order: 2, lmax: 3, kind, splines, invariant: true };
    let parts = vec![
        PartSpec::OneBody(OneBodySpec { e0: vec![-3.0; n_species] }),
        PartSpec::Pair(pair(&mut random, n_species, splines, 5.0)),
        PartSpec::Ace(ace(&mut random, shape, 4.5)),
    ];
    finish("invariant", n_species, parts)
}

/// Envelopes that end before the cutoff of their part, or with a kink: nothing that a table could follow.
pub fn kinked_model() -> Model {
    let mut random = Random::new(77);
    let shape = Shape { n_species: 1, order: 3, lmax: 2, kind: HarmonicsKind::Solid, splines: false, invariant: false };
    let mut many = ace(&mut random, shape, 4.5);
    many.radial.envelopes = vec![EnvelopeSpec::Poly1sr { rcut: 3.7, p: 2 }];
    let mut two = pair(&mut random, 1, false, 5.0);
    two.radial.envelopes = vec![EnvelopeSpec::Poly2sx { x1: -1.0, x2: 1.0, p1: 1, p2: 1, s: 0.7 }];
    two.radial.transforms[0].rin = 1.0;
    finish("kinked", 1, vec![PartSpec::Ace(many), PartSpec::Pair(two)])
}

pub fn finish(name: &str, n_species: usize, parts: Vec<PartSpec>) -> Model {
    let species = ELEMENTS[..n_species].to_vec();
    let spec = ModelSpec { format: FORMAT.into(), name: name.into(), source: String::new(), species, parts };
    Model::new(spec).expect("a valid model")
}

pub fn pair(random: &mut Random, n_species: usize, splines: bool, rcut: f64) -> PairSpec {
    let n_b = random.integer(1, 9);
    let radial = radial(random, n_species, n_b, splines, rcut);
    PairSpec { rcut, radial, weights: weights(random, n_species, n_b) }
}

/// Up to well within other parts.
pub fn zbl(random: &mut Random, n_species: usize) -> ZblSpec {
    let pair = |_| {
        let rcut = random.between(1.5, 3.4);
        [rcut, rcut * random.between(0.2, 1.0)]
    };
    ZblSpec { pairs: (0..n_species * (n_species + 1) / 2).map(pair).collect() }
}

fn weights(random: &mut Random, n_species: usize, n_b: usize) -> Vec<Vec<f64>> {
    (0..n_species).map(|_| (0..n_b).map(|_| random.signed()).collect()).collect()
}

pub fn ace(random: &mut Random, shape: Shape, rcut: f64) -> AceSpec {
    let Shape { n_species, lmax, .. } = shape;
    let mut spec: Vec<[u32; 2]> =
        (0..=lmax as u32).flat_map(|l| (1..=random.integer(1, 6) as u32).map(move |n| [n, l])).collect();
    random.shuffle(&mut spec);
    let mut a: Vec<[u32; 2]> = (spec.iter().enumerate())
        .flat_map(|(t, &[_, l])| (l * l..(l + 1) * (l + 1)).map(move |lm| [t as u32, lm]))
        .collect();
    random.shuffle(&mut a);
    let (aa, c) = if shape.invariant { invariants(&spec, &a) } else { products(random, shape.order, a.len()) };
    let n_b = c.shape[0];
    AceSpec {
        rcut,
        radial: RadialSpec { spec: spec.clone(), ..radial(random, n_species, spec.len(), shape.splines, rcut) },
        angular: AngularSpec { kind: shape.kind, lmax: lmax as u32 },
        a,
        neighbours: None,
        aa,
        c,
        weights: weights(random, n_species, n_b),
        embedding: None,
    }
}

/// `A_n00`, and `Σ_m A_nlm A_n'lm` for all `n ≤ n'`.
fn invariants(spec: &[[u32; 2]], a: &[[u32; 2]]) -> (Vec<Vec<u32>>, SparseSpec) {
    let at = |t: usize, lm: u32| a.iter().position(|&x| x == [t as u32, lm]).unwrap() as u32;
    let (mut aa, mut rows, mut n_b) = (Vec::new(), Vec::new(), 0);
    for (t, &[_, l]) in spec.iter().enumerate() {
        if l == 0 {
            aa.push(vec![at(t, 0)]);
            rows.push(n_b);
            n_b += 1;
        }
        for t2 in (t..spec.len()).filter(|&t2| spec[t2][1] == l) {
            for lm in l * l..(l + 1) * (l + 1) {
                aa.push(vec![at(t, lm), at(t2, lm)]);
                rows.push(n_b);
            }
            n_b += 1;
        }
    }
    let cols = (0..aa.len() as u32).collect();
    let c = SparseSpec { shape: [n_b as usize, aa.len()], vals: vec![1.0; aa.len()], cols, rows };
    (aa, c)
}

/// Products of every order up to `order`, powers of one `A` among them, and a coupling that leaves some unused.
fn products(random: &mut Random, order: usize, n_a: usize) -> (Vec<Vec<u32>>, SparseSpec) {
    let mut aa = Vec::<Vec<u32>>::new();
    for nu in 1..=order {
        for k in 0..20 {
            let mut factors: Vec<u32> = (0..nu).map(|_| random.integer(0, n_a - 1) as u32).collect();
            if k == 0 {
                factors = vec![factors[0]; nu];
            }
            factors.sort_unstable();
            if !aa.contains(&factors) {
                aa.push(factors);
            }
        }
    }
    random.shuffle(&mut aa);
    let n_b = random.integer(10, 25);
    let mut entries = std::collections::BTreeMap::new();
    for b in 0..n_b as u32 {
        for _ in 0..random.integer(1, 5) {
            entries.insert((b, random.integer(0, aa.len() - 1) as u32), random.signed());
        }
    }
    let mut entries: Vec<_> = entries.into_iter().collect();
    random.shuffle(&mut entries);
    let c = SparseSpec {
        shape: [n_b, aa.len()],
        rows: entries.iter().map(|e| e.0.0).collect(),
        cols: entries.iter().map(|e| e.0.1).collect(),
        vals: entries.iter().map(|e| e.1).collect(),
    };
    (aa, c)
}

/// Removes the products with a factor of angular momentum `l` from `C`.
fn leave_out_l(ace: &mut AceSpec, l: u32) {
    let keep = |k: u32| ace.aa[k as usize].iter().all(|&v| ace.a[v as usize][1].isqrt() != l);
    let kept: Vec<usize> = (0..ace.c.cols.len()).filter(|&e| keep(ace.c.cols[e])).collect();
    assert!(!kept.is_empty());
    ace.c.rows = kept.iter().map(|&e| ace.c.rows[e]).collect();
    ace.c.vals = kept.iter().map(|&e| ace.c.vals[e]).collect();
    ace.c.cols = kept.iter().map(|&e| ace.c.cols[e]).collect();
}

fn radial(random: &mut Random, n_species: usize, n_t: usize, splines: bool, rcut: f64) -> RadialSpec {
    let n_pairs = n_species * (n_species + 1) / 2;
    // Exponents and kinds of envelopes: often the same for all pairs, as in models that are fitted.
    let (seed, alike) = (random.integer(0, 1 << 20) as u64, random.flip());
    let powers = |pair: usize| Random::new(if alike { seed } else { seed + pair as u64 });
    let transforms: Vec<_> = (0..n_pairs).map(|p| transform(random, &mut powers(p), rcut)).collect();
    let envelopes = (0..n_pairs).map(|p| envelope(random, &mut powers(p), rcut)).collect();
    let n_ordered = n_species * n_species;
    let functions = if splines {
        let table = |p: usize| {
            let n = 9 + 7 * p % 23;
            let (x0, x1) = if p.is_multiple_of(2) { (-1.0, 1.0) } else { (-1.1, 1.25) };
            // A wave for each function, with slopes that are not quite its own.
            let waves: Vec<_> = (0..n_t).map(|_| random.vector()).collect();
            let mut rows = |f: fn(f64) -> f64, power: i32, noise: f64| -> Vec<Vec<f64>> {
                let y = |k: usize| x0 + (x1 - x0) * k as f64 / (n - 1) as f64;
                let wave = |[a, k, phase]: [f64; 3], y: f64| a * (4.0 * k).powi(power) * f(4.0 * k * y + 3.0 * phase);
                (0..n).map(|k| waves.iter().map(|&w| wave(w, y(k)) + noise * random.signed()).collect()).collect()
            };
            SplineSpec { x0, x1, values: rows(f64::sin, 0, 0.0), slopes: rows(f64::cos, 1, 0.1) }
        };
        FunctionsSpec::Spline { tables: (0..n_ordered).map(table).collect() }
    } else {
        let mut numbers = |n: usize| (0..n).map(|_| random.signed()).collect::<Vec<_>>();
        let n_q = 2 + n_t % 7;
        let mut w = || (0..n_t).map(|_| numbers(n_q)).collect();
        let w = (0..n_ordered).map(|_| w()).collect();
        // Near the Legendre recursion, so that nothing grows.
        let a = (0..n_q).map(|q| if q == 0 { 0.9 } else { 2.0 - 1.0 / q as f64 }).collect();
        let b = (0..n_q).map(|q| 0.05 * q as f64).collect();
        let c = (0..n_q).map(|q| if q < 2 { 0.0 } else { -1.0 + 1.0 / q as f64 }).collect();
        FunctionsSpec::Polynomial { a, b, c, w }
    };
    RadialSpec { transforms, envelopes, functions, spec: vec![] }
}

fn transform(random: &mut Random, powers: &mut Random, rcut: f64) -> TransformSpec {
    let pin = powers.integer(1, 5) as u32;
    let pcut = powers.integer(1, pin as usize) as u32;
    let rin = if random.flip() { 0.0 } else { random.between(0.2, 0.9) };
    let req = random.between(1.5, 2.8);
    let (p, c) = (f64::from(pin), f64::from(pcut));
    // The slope is steepest at req; where that has no positive solution, anything.
    let a = (-2.0 * p + c * (4.0 * p - 2.0)) / (c + c * c + p + p * p);
    let a = if a > 0.0 { a } else { 0.4 };
    let s: f64 = (rcut - rin) / (req - rin);
    let x = 1.0 / (1.0 + a * s.powi(pin as i32) / (1.0 + s.powi((pin - pcut) as i32)));
    // [rin, rcut] onto [−1, 1], in either direction.
    let b1 = 2.0 / (x - 1.0) * if random.flip() { 1.0 } else { -1.0 };
    let b0 = -0.5 * b1 * (x + 1.0);
    TransformSpec { rin, req, pin, pcut, a, b0, b1 }
}

fn envelope(random: &mut Random, powers: &mut Random, rcut: f64) -> EnvelopeSpec {
    let p = powers.integer(1, 3) as u32;
    match powers.integer(0, 3) {
        0 => EnvelopeSpec::Poly1sr { rcut, p },
        1 => EnvelopeSpec::Ace1Poly1sr { rcut, r0: random.between(2.0, 3.0), p },
        _ => {
            let (p1, p2) = (powers.integer(2, 4) as u32, powers.integer(2, 4) as u32);
            EnvelopeSpec::Poly2sx { x1: -1.0, x2: 1.0, p1, p2, s: random.between(0.5, 1.5) }
        }
    }
}
