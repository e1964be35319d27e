//! Products `AA_k = Π A_v` contracted with folded coefficients: `E = Σ_k c_k AA_k` and `∂E/∂A`.
//!
//! The products form a trie (a product of order ν is a lower one times one `A`), evaluated in nested form:
//! `E = Σ_a A_a (c_a + Σ_b A_b (c_ab + Σ_c A_c c_abc))`. Each coefficient costs one fused product
//! forwards and one backwards.

use crate::simd::{Lanes, Real};
use std::collections::BTreeMap;

/// The trie, for any correlation order. Node 0 is the empty product.
#[derive(Clone, Debug)]
pub struct Trie {
    /// Products that are factors of longer ones, parents before children.
    pub nodes: Vec<Node>,
    /// The last factor of every other product, by parent.
    pub leaves: Vec<u32>,
    /// Where the coefficient of product `k` goes: a node, or `nodes.len()` plus a leaf.
    pub slot: Vec<usize>,
}

/// The product `parent · A_v`, and the leaves `first .. last` below it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Node {
    pub parent: u32,
    pub v: u32,
    pub first: u32,
    pub last: u32,
}

#[derive(Default)]
struct Branch {
    children: BTreeMap<u32, Branch>,
    products: Vec<usize>,
}

impl Branch {
    fn n_leaves(&self) -> usize {
        self.children.values().filter(|c| c.children.is_empty()).count()
    }
}

impl Trie {
    /// From lists of factors, each sorted.
    pub fn new(products: &[Vec<u32>]) -> Trie {
        let mut root = Branch::default();
        for (k, factors) in products.iter().enumerate() {
            let branch = factors.iter().fold(&mut root, |b, &v| b.children.entry(v).or_default());
            branch.products.push(k);
        }
        let mut trie = Trie { nodes: vec![], leaves: vec![], slot: vec![0; products.len()] };
        let mut leaf_products = Vec::new();
        let mut generation = vec![(0, 0, &root)];
        while !generation.is_empty() {
            // Nodes with equally many leaves follow each other: the length of their loops can be foreseen.
            generation.sort_by_key(|(_, _, branch)| branch.n_leaves());
            let mut next = Vec::new();
            for (parent, v, branch) in generation {
                let index = trie.nodes.len();
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
        for (leaf, products) in leaf_products.into_iter().enumerate() {
            products.iter().for_each(|&k| trie.slot[k] = trie.nodes.len() + leaf);
        }
        trie
    }

    pub fn n_nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The number of coefficients: nodes, then leaves.
    pub fn n_coefficients(&self) -> usize {
        self.nodes.len() + self.leaves.len()
    }

    /// `E`; where `GRAD` also `a_bar = ∂E/∂A`. `p` and `s` are scratch, one entry a node.
    #[inline(always)]
    pub fn eval<V: Lanes, const GRAD: bool>(
        &self,
        c: &[V::Real],
        a: &[V],
        a_bar: &mut [V],
        p: &mut [V],
        s: &mut [V],
    ) -> V {
        let n = self.nodes.len();
        let (c_node, c_leaf) = c.split_at(n);
        let (p, s) = (&mut p[..n], &mut s[..n]);
        p[0] = V::splat(V::Real::of(1.0));
        if GRAD {
            a_bar.fill(V::zero());
            for (k, node) in self.nodes.iter().enumerate().skip(1) {
                p[k] = p[node.parent as usize] * a[node.v as usize];
            }
        }
        for (s, &c) in s.iter_mut().zip(c_node) {
            *s = V::splat(c);
        }
        for (k, node) in self.nodes.iter().enumerate().rev() {
            let range = node.first as usize..node.last as usize;
            let (mut sum, mut other, above) = (s[k], V::zero(), p[k]);
            for (&v, &c) in self.leaves[range.clone()].iter().zip(&c_leaf[range]) {
                let (v, c) = (v as usize, V::splat(c));
                // Two sums in turn hide the latency of the addition.
                (sum, other) = (other, c.mul_add(a[v], sum));
                if GRAD {
                    a_bar[v] = c.mul_add(above, a_bar[v]);
                }
            }
            let sum = sum + other;
            s[k] = sum;
            if k > 0 {
                let (v, parent) = (node.v as usize, node.parent as usize);
                s[parent] = sum.mul_add(a[v], s[parent]);
                if GRAD {
                    a_bar[v] = sum.mul_add(p[parent], a_bar[v]);
                }
            }
        }
        s[0]
    }
}
