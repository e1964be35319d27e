//! Where the design rows of linear potentials go.

use super::outputs::sizes;
use crate::{Error, Result};
use ndarray::{ArrayViewMut1, ArrayViewMut2};
use std::fmt::{self, Debug, Formatter};
use std::ops::Range;

/// Which rows to write; columns are the linear parameters. Numbers of one row, or of one column, follow each other in memory.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Rows<'a> {
    /// (n_params), eV.
    pub energy: Option<ArrayViewMut1<'a, f64>>,
    /// (3·n_atoms, n_params), eV/Å; row `3·atom + axis`.
    pub forces: Option<ArrayViewMut2<'a, f64>>,
    /// (9, n_params), row `3·a + b`, or (6, n_params) in the order xx, yy, zz, yz, xz, xy; eV.
    pub virial: Option<ArrayViewMut2<'a, f64>>,
    /// Force rows in the memory of the device, with all columns of a fit.
    pub(crate) stored: Option<Stored<'a>>,
}

/// Where force rows go that stay on the device of the plan: into a block of [`Triangles`], column after column.
#[cfg_attr(not(feature = "cuda"), allow(dead_code))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored<'a> {
    /// Of the first row in the first column.
    pub address: u64,
    /// Numbers from one column to the next.
    pub step: usize,
    /// What the columns of the parameters are multiplied by.
    pub weight: f64,
    /// (3·n_atoms), what stands in column `n_columns − 1`.
    pub data: &'a [f64],
    pub n_columns: usize,
    /// Calls that share the device.
    pub calls: usize,
}

/// Triangular factors of rows in the memory of a device, by name.
pub(crate) trait Triangles: Send {
    /// Rows that blocks have room for without asking for more memory.
    fn capacity(&self) -> usize;

    /// A block of zeros with room for so many rows: the address of the first one, and the numbers from one column to the next. It may be
    /// written to until the next block but one is asked for.
    fn block(&mut self, n_rows: usize) -> Result<(u64, usize)>;

    /// Queues the elimination of rows of the latest block; those of a block go in their order.
    fn eliminate(&mut self, rows: Range<usize>, name: &str) -> Result<()>;

    /// Whether the triangles have taken much of the memory.
    fn are_many(&self) -> bool;

    /// Waits for a triangle and takes it: its name, the number of its rows, and itself, (n, n) row-major.
    fn pop(&mut self) -> Result<Option<(String, u64, Vec<f64>)>>;
}

impl Debug for dyn Triangles {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Triangles of blocks of {} rows", self.capacity())
    }
}

impl<'a> Rows<'a> {
    pub fn new() -> Rows<'a> {
        Rows::default()
    }

    /// Sets [`Rows::energy`].
    pub fn energy(mut self, view: impl Into<ArrayViewMut1<'a, f64>>) -> Self {
        self.energy = Some(view.into());
        self
    }

    /// Sets [`Rows::forces`].
    pub fn forces(mut self, view: impl Into<ArrayViewMut2<'a, f64>>) -> Self {
        self.forces = Some(view.into());
        self
    }

    /// Sets [`Rows::virial`].
    pub fn virial(mut self, view: impl Into<ArrayViewMut2<'a, f64>>) -> Self {
        self.virial = Some(view.into());
        self
    }

    /// # Errors
    /// [`Error::Argument`] for another shape, or gaps within both rows and columns.
    pub(crate) fn check(&self, n_atoms: usize, n_params: usize) -> Result<()> {
        let wrong = |name: &str, found: &[usize], expected: &[usize]| {
            Err(Error::Argument(format!("{name}: expected {}, got {}", sizes(expected), sizes(found))))
        };
        if let Some(energy) = self.energy.as_ref().filter(|e| e.len() != n_params) {
            return wrong("energy row", energy.shape(), &[n_params]);
        }
        if let Some(stored) = self.stored.as_ref().filter(|s| s.data.len() != 3 * n_atoms) {
            return wrong("forces", &[stored.data.len()], &[3 * n_atoms]);
        }
        for (name, rows, n_rows) in
            [("force rows", &self.forces, &[3 * n_atoms][..]), ("virial rows", &self.virial, &[9, 6])]
        {
            let Some(rows) = rows else { continue };
            if rows.ncols() != n_params || !n_rows.contains(&rows.nrows()) {
                return wrong(name, rows.shape(), &[n_rows[0], n_params]);
            }
            let [row, column] = [rows.strides()[0], rows.strides()[1]];
            if !(rows.is_empty() || row > 0 && column > 0 && (row == 1 || column == 1)) {
                let message = format!("{name}: neither rows nor columns follow one another in memory");
                return Err(Error::Argument(message));
            }
        }
        Ok(())
    }
}
