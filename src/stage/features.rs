//! What grades are computed from.

use std::ops::Range;

/// The numbers of a site that its grade is computed from: basis functions, then, where the energy is not linear in them, its
/// derivatives with respect to the densities.
#[derive(Clone, Debug)]
pub(crate) struct Features {
    /// Numbers a site.
    pub width: usize,
    /// The functions of each species of centres.
    pub functions: Vec<Range<usize>>,
    /// Densities of each species; their derivatives follow all functions. 0 where the energy is linear.
    pub n_densities: Vec<usize>,
}

impl Features {
    /// Of a linear potential.
    pub fn linear(n_basis: usize, n_species: usize) -> Features {
        Features { width: n_basis, functions: vec![0..n_basis; n_species], n_densities: vec![0; n_species] }
    }
}
