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
    /// Nodes with children, parents first.
    nodes: Vec<Node>,
    /// `A` index of each leaf, grouped by parent.
    leaves: Vec<u32>,
    /// Where the coefficient of product `k` goes: a node, or `nodes.len()` plus a leaf.
    pub slot: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    parent: u32,
    /// The last factor.
    v: u32,
    leaves: [u32; 2],
}

impl Trie {
    /// From lists of factors, each sorted.
    pub fn new(products: &[Vec<u32>]) -> Trie {
        #[derive(Default)]
        struct Branch {
            children: BTreeMap<u32, Branch>,
            ks: Vec<usize>,
        }
        let mut root = Branch::default();
        for (k, factors) in products.iter().enumerate() {
            let branch = factors.iter().fold(&mut root, |b, &v| b.children.entry(v).or_default());
            branch.ks.push(k);
        }
        let mut trie = Trie { nodes: Vec::new(), leaves: Vec::new(), slot: vec![usize::MAX; products.len()] };
        let mut leaf_ks = Vec::new();
        let mut queue = std::collections::VecDeque::from([(0u32, 0u32, &root)]);
        while let Some((parent, v, branch)) = queue.pop_front() {
            let index = trie.nodes.len();
            for &k in &branch.ks {
                trie.slot[k] = index;
            }
            let first = trie.leaves.len() as u32;
            for (&v, child) in &branch.children {
                if child.children.is_empty() {
                    leaf_ks.push((trie.leaves.len(), &child.ks));
                    trie.leaves.push(v);
                } else {
                    queue.push_back((index as u32, v, child));
                }
            }
            trie.nodes.push(Node { parent, v, leaves: [first, trie.leaves.len() as u32] });
        }
        for (leaf, ks) in leaf_ks {
            for &k in ks {
                trie.slot[k] = trie.nodes.len() + leaf;
            }
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
        s[0] = V::splat(c_node[0]);
        for k in 1..n {
            let node = self.nodes[k];
            if GRAD {
                p[k] = p[node.parent as usize] * a[node.v as usize];
            }
            s[k] = V::splat(c_node[k]);
        }
        if GRAD {
            a_bar.fill(V::zero());
        }
        for k in (0..n).rev() {
            let node = self.nodes[k];
            let (mut sum, mut other) = (s[k], V::zero());
            let range = node.leaves[0] as usize..node.leaves[1] as usize;
            for (flip, (&v, &c)) in self.leaves[range.clone()].iter().zip(&c_leaf[range]).enumerate() {
                let (v, c) = (v as usize, V::splat(c));
                // Two sums hide the latency of the addition.
                if flip % 2 == 0 {
                    sum = c.mul_add(a[v], sum);
                } else {
                    other = c.mul_add(a[v], other);
                }
                if GRAD {
                    a_bar[v] = c.mul_add(p[k], a_bar[v]);
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
