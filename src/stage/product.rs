//! Products `AA_k = Π A_v` contracted with folded coefficients: `E = Σ_k c_k AA_k` and `∂E/∂A`.
//!
//! The products form a trie (a product of order ν is a lower one times one `A`; of a few orders of the factors the one that takes the
//! fewest nodes), evaluated in nested form:
//! `E = Σ_a A_a (c_a + Σ_b A_b (c_ab + Σ_c A_c c_abc))`. Each coefficient costs one fused product
//! forwards and one backwards.

use crate::simd::{Lanes, Real};
use std::collections::BTreeMap;
use std::ops::Range;

/// The trie, for any correlation order. Node 0 is the empty product. Indices are trusted: only this module makes them.
#[derive(Clone, Debug)]
pub struct Trie {
    /// Products that are factors of longer ones, parents before children.
    pub(crate) nodes: Vec<Node>,
    /// The last factor of every other product, by parent.
    pub(crate) leaves: Vec<u32>,
    /// Consecutive nodes with equally many leaves.
    pub(super) runs: Vec<Run>,
    /// Nodes from here on are no parents.
    n_inner: usize,
    pub(super) n_a: usize,
    /// Where the coefficient of product `k` goes: a node, or `nodes.len()` plus a leaf.
    pub(crate) slot: Vec<usize>,
}

/// The product `parent · A_v`, and the leaves `first .. last` below it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Node {
    pub parent: u32,
    pub v: u32,
    pub first: u32,
    pub last: u32,
}

/// For [`Trie::run`]: the number of leaves is not known beforehand.
pub(super) const ANY: usize = usize::MAX;

#[derive(Clone, Debug)]
pub(super) struct Run {
    pub n_leaves: usize,
    pub nodes: Range<usize>,
}

#[derive(Default)]
struct Branch {
    children: BTreeMap<u32, Branch>,
    products: Vec<usize>,
}

impl Branch {
    /// The root of all products, their factors sorted by `key`.
    fn of<F: AsRef<[u32]>>(products: &[F], key: impl Fn(u32) -> (u32, u32)) -> Branch {
        let mut root = Branch::default();
        for (k, factors) in products.iter().enumerate() {
            let mut factors = factors.as_ref().to_vec();
            factors.sort_unstable_by_key(|&v| key(v));
            let branch = factors.iter().fold(&mut root, |b, &v| b.children.entry(v).or_default());
            branch.products.push(k);
        }
        root
    }

    /// What evaluation takes, in leaves: a node takes as much as three.
    fn cost(&self) -> usize {
        let inner = self.children.values().filter(|c| !c.children.is_empty());
        3 + self.n_leaves() + inner.map(Branch::cost).sum::<usize>()
    }

    fn n_leaves(&self) -> usize {
        self.children.values().filter(|c| c.children.is_empty()).count()
    }
}

impl Trie {
    /// From lists of factors.
    pub fn new<F: AsRef<[u32]>>(products: &[F]) -> Trie {
        let all = || products.iter().flat_map(|factors| factors.as_ref());
        let n_a = all().map(|&v| v as usize + 1).max().unwrap_or(0);
        let mut uses = vec![0u32; n_a];
        all().for_each(|&v| uses[v as usize] += 1);
        // As they are numbered, or the least or the most frequent first.
        let orders = [|_: u32| 0, |uses: u32| uses, |uses: u32| u32::MAX - uses];
        let branches = orders.map(|order| Branch::of(products, |v| (order(uses[v as usize]), v)));
        let root = branches.into_iter().min_by_key(Branch::cost).expect("some orders");
        let mut trie =
            Trie { nodes: vec![], leaves: vec![], runs: vec![], n_inner: 1, n_a: 0, slot: vec![0; products.len()] };
        let mut leaf_products = Vec::new();
        let mut generation = vec![(0, 0, &root)];
        while !generation.is_empty() {
            // Nodes with equally many leaves follow each other, so that loops over leaves have a fixed length; of these, nodes
            // with one parent stand apart, as they add to the same sum.
            let mut of_parent = BTreeMap::new();
            generation.sort_by_cached_key(|(parent, _, branch)| {
                let n = branch.n_leaves();
                let turn: &mut usize = of_parent.entry((n, *parent)).or_default();
                *turn += 1;
                (n, *turn)
            });
            let mut next = Vec::new();
            for (parent, v, branch) in generation {
                let index = trie.nodes.len();
                let n_leaves = branch.n_leaves();
                match trie.runs.last_mut() {
                    Some(run) if run.n_leaves == n_leaves => run.nodes.end = index + 1,
                    _ => trie.runs.push(Run { n_leaves, nodes: index..index + 1 }),
                }
                branch.products.iter().for_each(|&k| trie.slot[k] = index);
                let first = trie.leaves.len() as u32;
                for (&v, child) in &branch.children {
                    if child.children.is_empty() {
                        leaf_products.push(&child.products);
                        trie.leaves.push(v);
                    } else {
                        next.push((index as u32, v, child));
                    }
                }
                trie.nodes.push(Node { parent, v, first, last: trie.leaves.len() as u32 });
            }
            generation = next;
        }
        trie.n_inner += trie.nodes.iter().map(|node| node.parent as usize).max().unwrap_or(0);
        trie.n_a = n_a;
        for (leaf, products) in leaf_products.into_iter().enumerate() {
            products.iter().for_each(|&k| trie.slot[k] = trie.nodes.len() + leaf);
        }
        trie
    }

    /// Entries of the scratch that [`Trie::eval`] needs.
    pub fn n_inner(&self) -> usize {
        self.n_inner
    }

    /// The number of coefficients: nodes, then leaves.
    pub fn n_coefficients(&self) -> usize {
        self.nodes.len() + self.leaves.len()
    }

    /// `E`; where `GRAD` also `a_bar = ∂E/∂A`. `p` and `s` are scratch of [`Trie::n_inner`] entries.
    #[inline(always)]
    pub fn eval<V: Lanes, const GRAD: bool>(
        &self,
        c: &[V::Real],
        a: &[V],
        a_bar: &mut [V],
        p: &mut [V],
        s: &mut [V],
    ) -> V {
        let n = self.n_inner;
        assert!(c.len() == self.n_coefficients() && a.len() >= self.n_a && (!GRAD || a_bar.len() >= self.n_a));
        let (p, s) = (&mut p[..n], &mut s[..n]);
        if GRAD {
            p[0] = V::splat(V::Real::of(1.0));
            a_bar.fill(V::zero());
            for (k, node) in self.nodes[..n].iter().enumerate().skip(1) {
                p[k] = p[node.parent as usize] * a[node.v as usize];
            }
        }
        for (s, &c) in s.iter_mut().zip(c) {
            *s = V::splat(c);
        }
        let mut root = V::zero();
        for run in self.runs.iter().rev() {
            let nodes = run.nodes.clone();
            // SAFETY: the lengths were checked above.
            root = root
                + unsafe {
                    if const { V::UNROLLED } {
                        match run.n_leaves {
                            0 => self.run::<V, GRAD, 0>(nodes, c, a, a_bar, p, s),
                            1 => self.run::<V, GRAD, 1>(nodes, c, a, a_bar, p, s),
                            2 => self.run::<V, GRAD, 2>(nodes, c, a, a_bar, p, s),
                            3 => self.run::<V, GRAD, 3>(nodes, c, a, a_bar, p, s),
                            4 => self.run::<V, GRAD, 4>(nodes, c, a, a_bar, p, s),
                            5 => self.run::<V, GRAD, 5>(nodes, c, a, a_bar, p, s),
                            _ => self.run::<V, GRAD, ANY>(nodes, c, a, a_bar, p, s),
                        }
                    } else {
                        self.run::<V, GRAD, ANY>(nodes, c, a, a_bar, p, s)
                    }
                };
        }
        root
    }

    /// Nodes with `L` leaves each, or with [`ANY`] number, last to first; returns what they add to the root.
    ///
    /// # Safety
    /// One of `c` for each coefficient, of `a` (and `a_bar`, where `GRAD`) for every factor that occurs, of `p` and `s` for
    /// every inner node.
    #[inline(always)]
    unsafe fn run<V: Lanes, const GRAD: bool, const L: usize>(
        &self,
        nodes: Range<usize>,
        c: &[V::Real],
        a: &[V],
        a_bar: &mut [V],
        p: &[V],
        s: &mut [V],
    ) -> V {
        let mut root = V::zero();
        // SAFETY: `new` made nodes, leaves and their indices; the caller vouches for the lengths.
        unsafe {
            for k in nodes.rev() {
                let node = *self.nodes.get_unchecked(k);
                let (first, v, parent) = (node.first as usize, node.v as usize, node.parent as usize);
                let n = if L == ANY { node.last as usize - first } else { L };
                let is_inner = k < self.n_inner;
                let above = match (GRAD, is_inner) {
                    (false, _) => V::zero(),
                    (true, true) => *p.get_unchecked(k),
                    (true, false) => *p.get_unchecked(parent) * *a.get_unchecked(v),
                };
                // Two sums in turn hide the latency of the addition.
                let start = if is_inner { *s.get_unchecked(k) } else { V::splat(*c.get_unchecked(k)) };
                let mut sums = [start, V::zero()];
                let mut add = |i: usize, sum: &mut V| {
                    let leaf = *self.leaves.get_unchecked(first + i) as usize;
                    let c = V::splat(*c.get_unchecked(self.nodes.len() + first + i));
                    *sum = c.mul_add(*a.get_unchecked(leaf), *sum);
                    if GRAD {
                        let a_bar = a_bar.get_unchecked_mut(leaf);
                        *a_bar = c.mul_add(above, *a_bar);
                    }
                };
                for i in (0..n).step_by(2) {
                    add(i, &mut sums[0]);
                    if i + 1 < n {
                        add(i + 1, &mut sums[1]);
                    }
                }
                let sum = if n > 1 { sums[0] + sums[1] } else { sums[0] };
                if k == 0 {
                    root = root + sum;
                    continue;
                }
                let a = *a.get_unchecked(v);
                if parent == 0 {
                    // Most nodes have this parent: its sum stays in a register.
                    root = sum.mul_add(a, root);
                } else {
                    let s = s.get_unchecked_mut(parent);
                    *s = sum.mul_add(a, *s);
                }
                if GRAD {
                    let a_bar = a_bar.get_unchecked_mut(v);
                    *a_bar = sum.mul_add(*p.get_unchecked(parent), *a_bar);
                }
            }
        }
        root
    }
}
