//! Parts on the processor: compositions of stages on blocks of centres.

use super::ace::embedded::Push;
use crate::simd::{Lanes, Real};
use crate::stage::block::Block;
use crate::stage::features::Features;
use crate::stage::rows::RowsScratch;

/// A site model on blocks of centres. Energies are in eV, gradients in eV/Å.
pub(crate) trait SitePart<V: Lanes>: Send + Sync {
    /// Å.
    fn rcut(&self) -> f64;
    /// Are the neighbours in a slot to be of one species?
    fn by_species(&self) -> bool;
    /// The cutoffs of ordered pairs where some are smaller, Å; else nothing.
    fn of_pairs(&self) -> Vec<f64> {
        vec![]
    }
    /// Basis functions a species. 0: energies are all there is.
    fn n_basis(&self) -> usize {
        0
    }
    /// Folds readout weights, (n_readouts, n_species · n_basis).
    fn set_readouts(&mut self, _: &[&[f64]]) {}
    /// Adds the site energies of the readouts `first..first + energy.len()` to `energy`.
    fn energy(&self, block: &Block<V>, ws: &mut Scratch<V>, first: usize, energy: &mut [V]);
    /// Adds the site energies, and their gradients to `gradient[k · n_slots + slot]` for the `k`-th of these readouts.
    fn energy_gradient(
        &self,
        block: &Block<V>,
        ws: &mut Scratch<V>,
        first: usize,
        energy: &mut [V],
        gradient: &mut [[V; 3]],
    );
    /// The basis `B` of every centre into `out[..n_basis]`, and, where a Jacobian is wanted, what [`SitePart::open_slot`] needs.
    fn basis(&self, _: &Block<V>, _: &mut Scratch<V>, _: bool, _: &mut [V]) {}
    /// Prepares [`SitePart::jacobian`] for one slot; after [`SitePart::basis`] of the same block.
    fn open_slot(&self, _: &Block<V>, _: usize, _: &mut Scratch<V>) {}
    /// `∂B_b/∂r` of the edges in the open slot, for the functions `first .. first + out.len()`.
    fn jacobian(&self, _first: usize, _: &Scratch<V>, _out: &mut [[V; 3]]) {}
    /// Is the energy linear in parameters?
    fn is_linear(&self) -> bool {
        true
    }
    /// What active sets of a part that is not linear are made of, if that is known.
    fn features(&self) -> Option<&Features> {
        None
    }
    /// The features of every centre, (width).
    fn write_features(&self, _: &Block<V>, _: &mut Scratch<V>, _: &mut [V]) {}
    /// Bytes of tables and coefficients.
    fn bytes(&self) -> usize;
    /// Bytes of [`Scratch`] that a slot takes where gradients are wanted.
    fn slot_bytes(&self) -> usize {
        0
    }
}

/// Intermediates of one block; they keep their memory.
pub(crate) struct Scratch<V: Lanes> {
    pub rows: RowsScratch<V>,
    /// Radial functions and their derivatives, by slot.
    pub r: Vec<V>,
    pub dr: Vec<V>,
    /// Harmonics by slot, their adjoint and gradients in one slot.
    pub y: Vec<V>,
    pub y_bar: Vec<V>,
    pub dy: Vec<[V; 3]>,
    /// `A` and pooled polynomials to be mixed into it, the adjoint of both, and its derivative with respect to the edge in one slot.
    pub a: Vec<V>,
    pub a_bar: Vec<V>,
    pub da: Vec<[V; 3]>,
    /// Products below and sums above each node of the trie.
    pub p: Vec<V>,
    pub s: Vec<V>,
    pub monomials: Vec<V>,
    pub derivatives: Vec<V>,
    /// Densities, then the derivatives of the energy with respect to them.
    pub rho: Vec<V>,
    pub pushes: Vec<Push<V>>,
}

impl<V: Lanes> Default for Scratch<V> {
    fn default() -> Self {
        Scratch {
            rows: RowsScratch::default(),
            r: vec![],
            dr: vec![],
            y: vec![],
            y_bar: vec![],
            dy: vec![],
            a: vec![],
            a_bar: vec![],
            da: vec![],
            p: vec![],
            s: vec![],
            monomials: vec![],
            derivatives: vec![],
            rho: vec![],
            pushes: vec![],
        }
    }
}

/// Numbers in the working precision.
pub(crate) fn reals<T: Real>(x: &[f64]) -> Vec<T> {
    x.iter().map(|&x| T::of(x)).collect()
}
