//! The polynomial of all output components, in the order in which it is evaluated. Plain data.

use super::basis::{Couplings, Monomial};
use std::collections::BTreeMap;

/// `B_M = Σ_runs p_t Σ_leaves c · A[q]`, with the products `p_0 = 1`, `p_t = p_parent · A[q]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// Components of the argument.
    pub d: usize,
    pub n_paths: usize,
    /// Components of the result: all of the first output irrep, then those of the next.
    pub n_out: usize,
    /// Products: parent and factor of `t = 1, 2, …`; a parent comes before.
    pub products: Vec<[u32; 2]>,
    pub runs: Vec<Run>,
    /// Factors of the leaves; a leaf is a number `c` of the polynomial.
    pub leaves: Vec<u32>,
    /// `c = Σ value · W[path]`: those of leaf `k` are `fold[first_fold[k]..first_fold[k + 1]]`.
    pub first_fold: Vec<u32>,
    pub fold: Vec<(u32, f64)>,
}

/// Leaves beside each other that have the output component and all factors but one in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// The component `M`; runs are sorted by it.
    pub out: u32,
    /// The product `t` of the other factors.
    pub product: u32,
    pub first_leaf: u32,
    pub end_leaf: u32,
}

impl Program {
    pub(super) fn new(couplings: &Couplings) -> Program {
        let mut program = Program {
            d: couplings.d,
            n_paths: couplings.n_paths,
            n_out: couplings.outputs.len(),
            products: Vec::new(),
            runs: Vec::new(),
            leaves: Vec::new(),
            first_fold: vec![0],
            fold: Vec::new(),
        };
        let mut products = BTreeMap::from([(Monomial::new(), 0)]);
        for (m, component) in couplings.outputs.iter().enumerate() {
            // Sorted by prefix, since shorter monomials are prefixes of longer ones.
            let mut by_prefix: BTreeMap<&[u8], Vec<_>> = BTreeMap::new();
            for (factors, paths) in component {
                let (&last, prefix) = factors.split_last().expect("at least one factor");
                by_prefix.entry(prefix).or_default().push((last, paths));
            }
            for (prefix, leaves) in by_prefix {
                let product = program.product(&mut products, prefix);
                let first_leaf = program.leaves.len() as u32;
                for (q, paths) in leaves {
                    program.leaves.push(q.into());
                    program.fold.extend(paths);
                    program.first_fold.push(program.fold.len() as u32);
                }
                program.runs.push(Run { out: m as u32, product, first_leaf, end_leaf: program.leaves.len() as u32 });
            }
        }
        program
    }

    fn product(&mut self, known: &mut BTreeMap<Monomial, u32>, factors: &[u8]) -> u32 {
        if let Some(&t) = known.get(factors) {
            return t;
        }
        let (&last, prefix) = factors.split_last().expect("the empty product is known");
        let parent = self.product(known, prefix);
        self.products.push([parent, last.into()]);
        let t = self.products.len() as u32;
        known.insert(factors.to_vec(), t);
        t
    }
}
