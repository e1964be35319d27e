//! Where the design rows of linear potentials go.

use super::outputs::sizes;
use crate::{Error, Result};
use ndarray::{ArrayViewMut1, ArrayViewMut2};

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
