//! The lattice of a structure and the grid of cells that its atoms are sorted into.

use super::list::{DeviceList, Frame};
use crate::device::cuda::kernel::{Grid, arguments};
use crate::graph::lattice::Lattice;
use crate::part::cuda::THREADS;
use crate::structure::Structure;
use crate::{Error, Result};

/// Blocks that look for the bounds of the positions.
const BOUNDS_BLOCKS: usize = 64;

/// The struct `Cells` of the kernels.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Cells {
    pub vectors: [[f64; 3]; 3],
    pub inverse: [[f64; 3]; 3],
    pub origin: [f64; 3],
    pub scale: [f64; 3],
    pub n: [i32; 3],
    pub reach: [i32; 3],
    pub periodic: [i32; 3],
    padding: i32,
}

impl DeviceList {
    /// The lattice and a grid of cells about half as wide as the cutoff, not many more than atoms.
    pub(super) fn lay_grid(&mut self, frame: &Frame, x: Option<u64>, n_atoms: usize) -> Result<()> {
        let shape = Structure { cell: frame.cell, pbc: frame.pbc, ..Structure::default() };
        shape.validate()?;
        let lattice = Lattice::new(&shape);
        let rcut = self.rcut + self.skin;
        let mut cells = Cells {
            vectors: lattice.vectors,
            inverse: lattice.inverse,
            scale: [1.0; 3],
            n: [1; 3],
            reach: [1; 3],
            periodic: lattice.periodic.map(i32::from),
            ..Cells::default()
        };
        let mut extent = [1.0; 3];
        if let Some(x) = x.filter(|_| n_atoms > 0) {
            let bounds = self.bounds(&cells, x, n_atoms)?;
            for d in (0..3).filter(|&d| !lattice.periodic[d]) {
                (cells.origin[d], extent[d]) = (bounds[0][d], bounds[1][d] - bounds[0][d]);
            }
        }
        let length: [f64; 3] = std::array::from_fn(|d| lattice.height(d) * extent[d]);
        let volume: f64 = length.iter().map(|l| l.max(rcut)).product();
        self.volume = lattice.volume();
        // As many cells as atoms, but neither much narrower than half the cutoff nor wider than it where that suffices.
        let wanted = (volume / n_atoms.max(1) as f64).cbrt();
        let width = wanted.max(0.5 * rcut) * (1.0 + 1e-6);
        for d in 0..3 {
            let n = (length[d] / width).floor().clamp(1.0, 1024.0 * 1024.0);
            let scale = n / extent[d];
            cells.n[d] = n as i32;
            cells.scale[d] = if scale.is_finite() { scale } else { 0.0 };
            let reach = (rcut * n / length[d] * (1.0 + 1e-9) + 1e-9).floor() + 1.0;
            let reach = if lattice.periodic[d] { reach } else { reach.min(n) };
            if lattice.periodic[d] && reach / n > 126.0 {
                let message = format!("the cutoff {rcut} Å spans more than 126 cells along vector {d}");
                return Err(Error::Graph(message));
            }
            cells.reach[d] = reach as i32;
        }
        self.cells = cells;
        Ok(())
    }

    /// The smallest and largest fractional coordinates. Waits.
    fn bounds(&mut self, cells: &Cells, x: u64, n: usize) -> Result<[[f64; 3]; 2]> {
        let out = self.bounds.reserve(6 * BOUNDS_BLOCKS)?;
        let (cells, n) = (*cells, n as u32);
        let grid = Grid { blocks: BOUNDS_BLOCKS, threads: THREADS, shared: 0 };
        self.launch("bounds", grid, arguments![cells, n, x, out])?;
        let mut all = [0.0; 6 * BOUNDS_BLOCKS];
        self.bounds.download(&mut all, &self.stream)?;
        let least = |k: usize| all.iter().skip(k).step_by(6).fold(f64::INFINITY, |m, &x| m.min(x));
        let bounds = [std::array::from_fn(least), std::array::from_fn(|d| -least(3 + d))];
        match bounds.as_flattened().iter().all(|b: &f64| b.is_finite() && b.abs() < 1e300) {
            true => Ok(bounds),
            false => Err(Error::Structure("a position is not finite".into())),
        }
    }
}
