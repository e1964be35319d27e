//! Densities `ρ_p = Σ_k c[k, p] AA_k`, all in one pass over the products, and their adjoint.
//!
//! The products are nested as for one readout ([`super::product`]); each coefficient costs one fused product forwards and one
//! backwards. But backwards comes after all of forwards: what is passed back depends on all densities.

use super::product::{ANY, Trie};
use crate::simd::{Lanes, Real};
use std::ops::Range;

/// More densities than this are evaluated in groups of so many.
pub const GROUP: usize = 4;

/// Calls `$f::<.., P>` for the number of densities `$p` of a group.
macro_rules! by_densities {
    ($p:expr, $object:ident.$f:ident($($x:expr),*)) => {
        match $p {
            1 => $object.$f::<V, 1>($($x),*),
            2 => $object.$f::<V, 2>($($x),*),
            3 => $object.$f::<V, 3>($($x),*),
            _ => $object.$f::<V, 4>($($x),*),
        }
    };
}

/// Calls `$f::<.., P, L>` for the number of leaves `$n` of each node in a run.
macro_rules! by_leaves {
    ($n:expr, $P:ident, $object:ident.$f:ident($($x:expr),*)) => {
        if const { V::UNROLLED } {
            match $n {
                0 => $object.$f::<V, $P, 0>($($x),*),
                1 => $object.$f::<V, $P, 1>($($x),*),
                2 => $object.$f::<V, $P, 2>($($x),*),
                3 => $object.$f::<V, $P, 3>($($x),*),
                4 => $object.$f::<V, $P, 4>($($x),*),
                _ => $object.$f::<V, $P, ANY>($($x),*),
            }
        } else {
            $object.$f::<V, $P, ANY>($($x),*)
        }
    };
}

impl Trie {
    /// `rho[p]` for coefficients `c` (groups, n_coefficients, densities of the group). `s` keeps what the adjoint needs:
    /// (n_nodes · n_densities).
    #[inline(never)]
    pub fn densities<V: Lanes>(&self, c: &[V::Real], a: &[V], s: &mut [V], rho: &mut [V]) {
        V::vectorize(
            #[inline(always)]
            || {
                let (mut c, mut s) = (c, s);
                for rho in rho.chunks_mut(GROUP) {
                    let (these, rest) = c.split_at(self.n_coefficients() * rho.len());
                    let (sums, further) = std::mem::take(&mut s).split_at_mut(self.nodes.len() * rho.len());
                    by_densities!(rho.len(), self.forward(these, a, sums, rho));
                    (c, s) = (rest, further);
                }
            },
        );
    }

    /// `a_bar = Σ_p u[p] ∂ρ_p/∂A`; `s` as [`Trie::densities`] left it, `p` is scratch of [`Trie::n_inner`] entries.
    #[inline(never)]
    pub fn densities_adjoint<V: Lanes>(&self, c: &[V::Real], a: &[V], s: &[V], u: &[V], p: &mut [V], a_bar: &mut [V]) {
        V::vectorize(
            #[inline(always)]
            || {
                a_bar.fill(V::zero());
                let (mut c, mut s) = (c, s);
                for u in u.chunks(GROUP) {
                    let (these, rest) = c.split_at(self.n_coefficients() * u.len());
                    let (sums, further) = s.split_at(self.nodes.len() * u.len());
                    by_densities!(u.len(), self.backward(these, (a, sums), u, p, a_bar));
                    (c, s) = (rest, further);
                }
            },
        );
    }

    #[inline(always)]
    fn forward<V: Lanes, const P: usize>(&self, c: &[V::Real], a: &[V], s: &mut [V], rho: &mut [V]) {
        let n = self.nodes.len();
        assert!(c.len() == P * self.n_coefficients() && a.len() >= self.n_a && s.len() == P * n && rho.len() == P);
        // Sums that others add to before their turn comes.
        for (s, &c) in s.iter_mut().zip(&c[..P * self.n_inner()]) {
            *s = V::splat(c);
        }
        let mut root = [V::zero(); P];
        for run in self.runs.iter().rev() {
            let nodes = run.nodes.clone();
            // SAFETY: the lengths were checked above.
            root = unsafe { by_leaves!(run.n_leaves, P, self.forward_run(nodes, c, a, s, root)) };
        }
        rho.copy_from_slice(&root);
    }

    /// Nodes with `L` leaves each, or with [`ANY`] number, last to first; adds to `root`, and returns it.
    ///
    /// # Safety
    /// `P` of `c` for each coefficient and of `s` for each node, one of `a` for every factor that occurs.
    #[inline(always)]
    unsafe fn forward_run<V: Lanes, const P: usize, const L: usize>(
        &self,
        nodes: Range<usize>,
        c: &[V::Real],
        a: &[V],
        s: &mut [V],
        mut root: [V; P],
    ) -> [V; P] {
        // SAFETY: nodes, leaves and their indices are those of the trie; the caller vouches for the lengths.
        unsafe {
            for k in nodes.rev() {
                let node = *self.nodes.get_unchecked(k);
                let first = node.first as usize;
                let last = if L == ANY { node.last as usize } else { first + L };
                let start = |p: usize| match k < self.n_inner() {
                    true => *s.get_unchecked(k * P + p),
                    false => V::splat(*c.get_unchecked(k * P + p)),
                };
                let mut sums = [std::array::from_fn(start), [V::zero(); P]];
                let c = c.get_unchecked(self.nodes.len() * P..);
                let add = |i: usize, sum: &mut [V; P]| {
                    let a = *a.get_unchecked(*self.leaves.get_unchecked(i) as usize);
                    for (p, sum) in sum.iter_mut().enumerate() {
                        *sum = V::splat(*c.get_unchecked(i * P + p)).mul_add(a, *sum);
                    }
                };
                // Two sums in turn hide the latency of the addition.
                for i in (first..last).step_by(2) {
                    add(i, &mut sums[0]);
                    if i + 1 < last {
                        add(i + 1, &mut sums[1]);
                    }
                }
                let (parent, a) = (node.parent as usize, *a.get_unchecked(node.v as usize));
                for p in 0..P {
                    let sum = if last > first + 1 { sums[0][p] + sums[1][p] } else { sums[0][p] };
                    *s.get_unchecked_mut(k * P + p) = sum;
                    if k == 0 {
                        root[p] = root[p] + sum;
                    } else if parent == 0 {
                        // Most nodes have this parent: its sum stays in a register.
                        root[p] = sum.mul_add(a, root[p]);
                    } else {
                        let above = s.get_unchecked_mut(parent * P + p);
                        *above = sum.mul_add(a, *above);
                    }
                }
            }
        }
        root
    }

    #[inline(always)]
    fn backward<V: Lanes, const P: usize>(
        &self,
        c: &[V::Real],
        (a, s): (&[V], &[V]),
        u: &[V],
        p: &mut [V],
        a_bar: &mut [V],
    ) {
        let n = self.nodes.len();
        assert!(c.len() == P * self.n_coefficients() && s.len() == P * n && u.len() == P && p.len() >= self.n_inner());
        assert!(a.len() >= self.n_a && a_bar.len() >= self.n_a);
        for run in &self.runs {
            let nodes = run.nodes.clone();
            // SAFETY: the lengths were checked above, and parents come before their children.
            unsafe { by_leaves!(run.n_leaves, P, self.backward_run(nodes, c, (a, s), u, p, a_bar)) }
        }
    }

    /// Nodes with `L` leaves each, or with [`ANY`] number; leaves the products of those that are parents in `p`.
    ///
    /// # Safety
    /// `P` of `c` for each coefficient, of `s` for each node, and of `u`; one of `a` and `a_bar` for every factor that occurs, of `p` for
    /// every inner node, made before those of its children are.
    #[inline(always)]
    unsafe fn backward_run<V: Lanes, const P: usize, const L: usize>(
        &self,
        nodes: Range<usize>,
        c: &[V::Real],
        (a, s): (&[V], &[V]),
        u: &[V],
        p: &mut [V],
        a_bar: &mut [V],
    ) {
        // SAFETY: nodes, leaves and their indices are those of the trie; the caller vouches for the lengths.
        unsafe {
            let u: [V; P] = std::array::from_fn(|p| *u.get_unchecked(p));
            for k in nodes {
                let node = *self.nodes.get_unchecked(k);
                let (v, parent) = (node.v as usize, node.parent as usize);
                let (first, c) = (node.first as usize, c.get_unchecked(self.nodes.len() * P..));
                let last = if L == ANY { node.last as usize } else { first + L };
                let mut above = V::splat(V::Real::of(1.0));
                if k > 0 {
                    let mut below = V::zero();
                    for (p, &u) in u.iter().enumerate() {
                        let s = *s.get_unchecked(k * P + p);
                        below = if p == 0 { u * s } else { u.mul_add(s, below) };
                    }
                    let (a, a_bar) = (*a.get_unchecked(v), a_bar.get_unchecked_mut(v));
                    // Most nodes have the root as parent, the empty product.
                    (above, *a_bar) = match parent {
                        0 => (a, *a_bar + below),
                        _ => {
                            let p = *p.get_unchecked(parent);
                            (p * a, below.mul_add(p, *a_bar))
                        }
                    };
                }
                if k < self.n_inner() {
                    *p.get_unchecked_mut(k) = above;
                }
                let weights = u.map(|u| u * above);
                for i in first..last {
                    let a_bar = a_bar.get_unchecked_mut(*self.leaves.get_unchecked(i) as usize);
                    let mut sum = *a_bar;
                    for (p, &w) in weights.iter().enumerate() {
                        sum = V::splat(*c.get_unchecked(i * P + p)).mul_add(w, sum);
                    }
                    *a_bar = sum;
                }
            }
        }
    }
}
