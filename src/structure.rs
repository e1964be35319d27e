//! Atoms, cell and periodicity.

/// A set of atoms. Lengths in Å.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Structure {
    /// Atomic numbers, (n_atoms).
    pub numbers: Vec<u8>,
    /// Cartesian positions, (n_atoms, 3), Å. Atoms may lie outside the cell.
    pub positions: Vec<[f64; 3]>,
    /// Cell vectors as rows, Å. Rows of directions without periodicity are ignored.
    pub cell: [[f64; 3]; 3],
    /// Periodic along each cell vector?
    pub pbc: [bool; 3],
}
