//! Dense matrices that belong to the caller.

use crate::{Error, Result};

/// How the entries of a matrix follow each other in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Entry `(i, j)` at `i·ld + j`.
    RowMajor,
    /// Entry `(i, j)` at `i + j·ld`.
    ColMajor,
}

/// A matrix to be written to, in memory of the caller.
#[derive(Debug)]
pub struct MatrixMut<'a> {
    data: &'a mut [f64],
    n_rows: usize,
    n_cols: usize,
    order: Order,
    ld: usize,
}

impl<'a> MatrixMut<'a> {
    /// A view of `data` as an (n_rows, n_cols) matrix with leading dimension `ld`.
    ///
    /// # Errors
    /// A leading dimension shorter than a row (column, for [`Order::ColMajor`]), or too little data.
    pub fn new(data: &'a mut [f64], n_rows: usize, n_cols: usize, order: Order, ld: usize) -> Result<Self> {
        let (inner, outer) = match order {
            Order::RowMajor => (n_cols, n_rows),
            Order::ColMajor => (n_rows, n_cols),
        };
        if ld < inner {
            return Err(Error::Argument(format!("leading dimension {ld} is less than {inner}")));
        }
        let needed = match (inner, outer) {
            (0, _) | (_, 0) => Some(0),
            _ => (outer - 1).checked_mul(ld).and_then(|x| x.checked_add(inner)),
        };
        if needed.is_none_or(|n| data.len() < n) {
            let n = data.len();
            return Err(Error::Argument(format!("a {n_rows} × {n_cols} matrix does not fit into {n} numbers")));
        }
        Ok(MatrixMut { data, n_rows, n_cols, order, ld })
    }

    /// A view of `data` as a row-major matrix without gaps.
    ///
    /// # Errors
    /// Too little data.
    pub fn rows(data: &'a mut [f64], n_rows: usize, n_cols: usize) -> Result<Self> {
        Self::new(data, n_rows, n_cols, Order::RowMajor, n_cols)
    }

    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// The distance in memory between neighbours in a column, and in a row.
    pub(crate) fn strides(&self) -> [usize; 2] {
        match self.order {
            Order::RowMajor => [self.ld, 1],
            Order::ColMajor => [1, self.ld],
        }
    }

    pub(crate) fn data(&mut self) -> &mut [f64] {
        self.data
    }

    pub(crate) fn clear(&mut self) {
        let (inner, outer) = match self.order {
            Order::RowMajor => (self.n_cols, self.n_rows),
            Order::ColMajor => (self.n_rows, self.n_cols),
        };
        if inner > 0 {
            self.data.chunks_mut(self.ld).take(outer).for_each(|c| c[..inner].fill(0.0));
        }
    }
}
