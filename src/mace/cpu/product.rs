//! The symmetric contraction: a polynomial for each channel, and its gradient.

// Indices run over several arrays at once.
#![allow(clippy::needless_range_loop)]

use crate::mace::network::{Contraction, MAX_ORDER};
use crate::simd::{Lanes, Real};

/// Atoms of one species that share the coefficients in a register.
const ATOMS: usize = 4;

/// Terms of the same first factors and output follow one another.
struct Group {
    order: usize,
    /// All factors but the last.
    first: [u16; MAX_ORDER - 1],
    out: usize,
    end: usize,
}

pub struct Product<V> {
    groups: Vec<Group>,
    /// The last factor of each term.
    last: Vec<u16>,
    /// (species or 1, channel block, term).
    coefficients: Vec<V>,
    by_species: bool,
    n_blocks: usize,
    pub n_a: usize,
    pub n_b: usize,
}

impl<V: Lanes> Product<V> {
    pub fn new(c: &Contraction) -> Product<V> {
        // By order, then by first factors, then by output, so that a group's terms differ in the last factor alone.
        let key = |k: usize| {
            let t = &c.terms[k];
            let order = t.order as usize;
            let mut first = [0; MAX_ORDER - 1];
            first[..order - 1].copy_from_slice(&t.factors[..order - 1]);
            (order, first, t.out as usize)
        };
        let mut sorted: Vec<usize> = (0..c.terms.len()).collect();
        sorted.sort_by_key(|&k| (key(k), c.terms[k].factors));
        let mut groups: Vec<Group> = Vec::new();
        let mut last = Vec::new();
        for &k in &sorted {
            let (order, first, out) = key(k);
            last.push(c.terms[k].factors[order - 1]);
            match groups.last_mut() {
                Some(g) if (g.order, g.first, g.out) == (order, first, out) => g.end = last.len(),
                _ => groups.push(Group { order, first, out, end: last.len() }),
            }
        }
        let k = c.from.k;
        let n_blocks = k.div_ceil(V::N);
        let n_species = if c.by_species { c.coefficients.len() / (c.terms.len() * k).max(1) } else { 1 };
        let mut coefficients = Vec::with_capacity(n_species * n_blocks * last.len());
        for z in 0..n_species {
            let of_species = c.of_species(z);
            for block in 0..n_blocks {
                coefficients.extend(sorted.iter().map(|&term| {
                    V::from_fn(|lane| {
                        let u = block * V::N + lane;
                        V::Real::of(if u < k { of_species[term * k + u] } else { 0.0 })
                    })
                }));
            }
        }
        let (n_a, n_b) = (c.from.components(), c.to.components());
        Product { groups, last, coefficients, by_species: c.by_species, n_blocks, n_a, n_b }
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&self.coefficients[..])
    }

    /// `b` (atoms, blocks, n_b) of `a` (atoms, blocks, n_a), for atoms of one species.
    pub fn forward(&self, species: usize, n: usize, a: &[V], b: &mut [V]) {
        b.fill(V::zero());
        V::vectorize(
            #[inline(always)]
            || {
                for block in 0..self.n_blocks {
                    let c = self.of(species, block);
                    let mut atom = 0;
                    while atom < n {
                        if atom + ATOMS <= n {
                            self.values::<ATOMS>(c, block, atom, a, b);
                            atom += ATOMS;
                        } else {
                            self.values::<1>(c, block, atom, a, b);
                            atom += 1;
                        }
                    }
                }
            },
        );
    }

    /// Overwrites `a_bar` with the gradient for that of `b`.
    pub fn backward(&self, species: usize, n: usize, a: &[V], b_bar: &[V], a_bar: &mut [V]) {
        a_bar.fill(V::zero());
        V::vectorize(
            #[inline(always)]
            || {
                for block in 0..self.n_blocks {
                    let c = self.of(species, block);
                    let mut atom = 0;
                    while atom < n {
                        if atom + ATOMS <= n {
                            self.gradient::<ATOMS>(c, block, atom, a, b_bar, a_bar);
                            atom += ATOMS;
                        } else {
                            self.gradient::<1>(c, block, atom, a, b_bar, a_bar);
                            atom += 1;
                        }
                    }
                }
            },
        );
    }

    fn of(&self, species: usize, block: usize) -> &[V] {
        let z = if self.by_species { species } else { 0 };
        &self.coefficients[(z * self.n_blocks + block) * self.last.len()..][..self.last.len()]
    }

    #[inline(always)]
    fn values<const N: usize>(&self, c: &[V], block: usize, atom: usize, a: &[V], b: &mut [V]) {
        let a: [&[V]; N] = std::array::from_fn(|n| &a[((atom + n) * self.n_blocks + block) * self.n_a..][..self.n_a]);
        let to: [usize; N] = std::array::from_fn(|n| ((atom + n) * self.n_blocks + block) * self.n_b);
        let mut start = 0;
        for g in &self.groups {
            let mut sum = [V::zero(); N];
            for (&c, &q) in c[start..g.end].iter().zip(&self.last[start..g.end]) {
                for n in 0..N {
                    sum[n] = c.mul_add(a[n][q as usize], sum[n]);
                }
            }
            start = g.end;
            for n in 0..N {
                let product = g.first[..g.order - 1].iter().fold(sum[n], |p, &q| p * a[n][q as usize]);
                b[to[n] + g.out] = b[to[n] + g.out] + product;
            }
        }
    }

    #[inline(always)]
    fn gradient<const N: usize>(&self, c: &[V], block: usize, atom: usize, a: &[V], b_bar: &[V], a_bar: &mut [V]) {
        let at: [usize; N] = std::array::from_fn(|n| ((atom + n) * self.n_blocks + block) * self.n_a);
        let a: [&[V]; N] = std::array::from_fn(|n| &a[at[n]..][..self.n_a]);
        let b: [&[V]; N] =
            std::array::from_fn(|n| &b_bar[((atom + n) * self.n_blocks + block) * self.n_b..][..self.n_b]);
        // Atoms side by side, so that a term's places follow one another.
        let mut bar = [[V::zero(); N]; MAX_COMPONENTS];
        let bar = &mut bar[..self.n_a];
        let mut start = 0;
        for g in &self.groups {
            let first = &g.first[..g.order - 1];
            let seed: [V; N] = std::array::from_fn(|n| first.iter().fold(b[n][g.out], |p, &q| p * a[n][q as usize]));
            let mut sum = [V::zero(); N];
            for (&c, &q) in c[start..g.end].iter().zip(&self.last[start..g.end]) {
                let bar = &mut bar[q as usize];
                for n in 0..N {
                    sum[n] = c.mul_add(a[n][q as usize], sum[n]);
                    bar[n] = c.mul_add(seed[n], bar[n]);
                }
            }
            start = g.end;
            for (k, &q) in first.iter().enumerate() {
                let bar = &mut bar[q as usize];
                for n in 0..N {
                    // The product of all others.
                    let others = first.iter().enumerate().filter(|(j, _)| *j != k);
                    let rest = others.fold(b[n][g.out] * sum[n], |p, (_, &q)| p * a[n][q as usize]);
                    bar[n] = bar[n] + rest;
                }
            }
        }
        for (q, bar) in bar.iter().enumerate() {
            for n in 0..N {
                a_bar[at[n] + q] = bar[n];
            }
        }
    }
}

/// Components of `A` up to the highest degree that is covered.
const MAX_COMPONENTS: usize = 49;
