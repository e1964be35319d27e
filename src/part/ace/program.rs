//! What engines evaluate, free of device and precision.

use super::AceSpec;
use crate::stage::couple::Coupling;
use crate::stage::pool::Shell;
use crate::stage::product::Trie;
use crate::stage::radial::Radial;
use crate::stage::spec::{FunctionsSpec, HarmonicsKind};
use crate::stage::table::RadialMode;

/// A many-body model compiled for evaluation, free of device and precision.
///
/// Radial functions, harmonics and `A` that no product uses are left out; those that remain are
/// sorted into shells of one angular momentum.
#[derive(Clone, Debug)]
pub struct Program {
    pub rcut: f64,
    pub n_species: usize,
    pub n_basis: usize,
    /// The functions that are used, sorted by `l`.
    pub radial: Radial,
    /// Largest angular momentum in use.
    pub lmax: usize,
    /// The harmonics are spherical: `A` takes a factor `r^(−l)`.
    pub spherical: bool,
    pub shells: Vec<Shell>,
    pub n_a: usize,
    /// `A` of one species of neighbours after those of another, so many of each; all of them where species are not told apart.
    pub n_channel: usize,
    /// The factors of every product, places in `A`; none for products that no basis function has.
    products: Vec<Vec<u32>>,
    pub trie: Trie,
    pub coupling: Coupling,
    /// Entries `(k, C[b,k])` of each `b`.
    couplings: Vec<Vec<(usize, f64)>>,
}

impl Program {
    /// Compiles a validated specification.
    pub fn new(n_species: usize, spec: &AceSpec) -> Program {
        let mut couplings = vec![Vec::new(); spec.c.shape[0]];
        for ((&b, &k), &c) in spec.c.rows.iter().zip(&spec.c.cols).zip(&spec.c.vals) {
            couplings[b as usize].push((k as usize, c));
        }
        let used_v: std::collections::BTreeSet<u32> =
            couplings.iter().flatten().flat_map(|&(k, _)| spec.aa[k].iter().copied()).collect();
        let l_of = |t: usize| spec.radial.spec[t][1] as usize;
        let mut columns: Vec<usize> = used_v.iter().map(|&v| spec.a[v as usize][0] as usize).collect();
        columns.sort_by_key(|&t| (l_of(t), t));
        columns.dedup();
        let mut shells = Vec::<Shell>::new();
        let mut n_a = 0;
        for (t0, &t) in columns.iter().enumerate() {
            match shells.last_mut() {
                Some(shell) if shell.l == l_of(t) => shell.n += 1,
                _ => shells.push(Shell { l: l_of(t), t0, n: 1, a0: n_a }),
            }
            n_a += 2 * l_of(t) + 1;
        }
        let n_channel = n_a;
        if spec.neighbours.is_some() {
            n_a *= n_species;
        }
        // The place of A_v among the shells.
        let place = |v: u32| {
            let [t, lm] = spec.a[v as usize].map(|x| x as usize);
            let column = columns.iter().position(|&c| c == t).expect("a used column");
            let shell = shells.iter().find(|s| s.l == l_of(t)).expect("a used shell");
            let channel = spec.neighbours.as_ref().map_or(0, |n| n[v as usize] as usize) * n_channel;
            (channel + shell.a0 + (column - shell.t0) * (2 * shell.l + 1) + lm - shell.l * shell.l) as u32
        };
        let products: Vec<Vec<u32>> = spec
            .aa
            .iter()
            .map(|vs| {
                let used = vs.iter().all(|v| used_v.contains(v));
                let mut places: Vec<u32> = if used { vs.iter().map(|&v| place(v)).collect() } else { vec![] };
                places.sort_unstable();
                places
            })
            .collect();
        Program {
            rcut: spec.rcut,
            n_species,
            n_basis: spec.c.shape[0],
            radial: Radial::new(n_species, &spec.radial, &columns),
            lmax: shells.last().map_or(0, |s| s.l),
            spherical: spec.angular.kind == HarmonicsKind::Spherical,
            shells,
            n_a,
            n_channel,
            trie: Trie::new(&products),
            coupling: Coupling::new(&products, &couplings),
            products,
            couplings,
        }
    }

    /// The same with the radial functions that `mode` asks for; returns also the wanted distance of upstream's nodes, where its
    /// tables are to be reproduced.
    pub fn with_mode(n_species: usize, spec: &AceSpec, mode: RadialMode) -> (Program, Option<f64>) {
        let mut program = Program::new(n_species, spec);
        let FunctionsSpec::Pace { bins, .. } = spec.radial.functions else { return (program, None) };
        if mode != RadialMode::PaceTable {
            return (program, None);
        }
        program.radial = program.radial.upstream_tables();
        (program, Some(bins))
    }

    /// `c[z, ·] = Σ_b W[z, b] C[b, ·]` in the order of the trie, from weights (n_species · n_basis).
    pub fn fold(&self, weights: &[f64]) -> Vec<f64> {
        let n = self.trie.n_coefficients();
        let mut folded = vec![0.0; self.n_species * n];
        for (c, w) in folded.chunks_mut(n).zip(weights.chunks(self.n_basis.max(1))) {
            for (&w, row) in w.iter().zip(&self.couplings) {
                for &(k, value) in row {
                    c[self.trie.slot[k]] += w * value;
                }
            }
        }
        folded
    }

    /// The products that the densities of one species have, from their weights (n_densities · n_basis).
    pub fn trie_of(&self, weights: &[f64]) -> Trie {
        let mut used = vec![false; self.products.len()];
        self.each_coefficient(weights, |_, k, c| used[k] |= c != 0.0);
        let products = self.products.iter().zip(used).map(|(factors, used)| if used { &factors[..] } else { &[] });
        Trie::new(&products.collect::<Vec<_>>())
    }

    /// The coefficients of densities in the order of a trie that has their products: (n_coefficients, n_densities).
    pub fn fold_densities(&self, trie: &Trie, weights: &[f64], n_densities: usize) -> Vec<f64> {
        let mut folded = vec![0.0; trie.n_coefficients() * n_densities];
        self.each_coefficient(weights, |p, k, c| folded[trie.slot[k] * n_densities + p] += c);
        folded
    }

    /// Calls `each` with a density, a product and what one basis function adds to the coefficient of it.
    fn each_coefficient(&self, weights: &[f64], mut each: impl FnMut(usize, usize, f64)) {
        for (p, w) in weights.chunks(self.n_basis.max(1)).enumerate() {
            for (&w, row) in w.iter().zip(&self.couplings).filter(|(w, _)| **w != 0.0) {
                row.iter().for_each(|&(k, value)| each(p, k, w * value));
            }
        }
    }

    /// Is `A` different for each species of neighbours?
    pub fn has_channels(&self) -> bool {
        self.n_channel < self.n_a
    }

    /// Where `A` of this species of neighbours begins.
    pub fn channel(&self, species: usize) -> usize {
        if self.has_channels() { species * self.n_channel } else { 0 }
    }
}
