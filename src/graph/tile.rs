//! A small contiguous set of atoms that may be neighbours of the centres of one cell.

use super::cells::{Cells, Run};
use super::lattice::combine;
use super::select::{GROUP, Select};

/// Atoms in a tile at most: what fits the first-level cache. A power of two, so that an index `% TILE`
/// costs nothing and needs no check.
pub(super) const TILE: usize = 512;

type Column<T> = Box<[T; TILE]>;

/// Candidates: position in the first cell, translation of the periodic image, atom and shift.
/// Distances come from `(x_j − x_i) + t`, which is exactly antisymmetric.
#[derive(Clone, Debug)]
pub(super) struct Tile {
    pub len: usize,
    pub x: [Column<f64>; 3],
    pub t: [Column<f64>; 3],
    pub atom: Column<u32>,
    /// Shift of an edge that starts in the first cell.
    pub shift: Column<[i16; 4]>,
    /// Squared distances, and where they are short enough.
    pub squares: Column<f64>,
    pub list: Column<u32>,
}

impl Default for Tile {
    fn default() -> Self {
        let zeros = || Box::new([0.0; TILE]);
        Tile {
            len: 0,
            x: [zeros(), zeros(), zeros()],
            t: [zeros(), zeros(), zeros()],
            atom: Box::new([0; TILE]),
            shift: Box::new([[0; 4]; TILE]),
            squares: zeros(),
            list: Box::new([0; TILE]),
        }
    }
}

impl Tile {
    /// Calls `visit` with tiles that together hold every atom within `rcut` of an atom of occupied cell `b`.
    #[inline(always)]
    pub fn for_tiles<V: Select>(&mut self, cells: &Cells, b: usize, rcut: f64, mut visit: impl FnMut(&mut Tile)) {
        let centres = cells.slots(b);
        let bounds: [[f64; 2]; 3] = std::array::from_fn(|d| {
            let x = &cells.x[d][centres.clone()];
            x.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], &x| [low.min(x), high.max(x)])
        });
        // Farther than any rounding of positions that the exact test could forgive.
        let size = bounds.as_flattened().iter().fold(rcut, |m, x| m.max(x.abs()));
        let reach = rcut + 1e-12 * size;
        let near = (reach * reach).min(f64::MAX);
        self.len = 0;
        cells.for_runs(b, |Run { slots, image }| {
            let t = combine(image.map(|k| k as f64), &cells.lattice.vectors);
            let given = cells.lattice.given(image);
            for start in slots.clone().step_by(TILE) {
                let slots = start..slots.end.min(start + TILE);
                let found = self.select_near::<V>(cells, slots.clone(), t, &bounds, near);
                if self.len + found > TILE {
                    self.close();
                    visit(self);
                    self.len = 0;
                    // `visit` has used the list.
                    self.select_near::<V>(cells, slots.clone(), t, &bounds, near);
                }
                for k in 0..found.min(TILE) {
                    let (slot, at) = (slots.start + self.list[k] as usize, (self.len + k) % TILE);
                    for (d, &t) in t.iter().enumerate() {
                        self.x[d][at] = cells.x[d][slot];
                        self.t[d][at] = t;
                    }
                    self.atom[at] = cells.atom[slot];
                    let w = cells.wrap[slot];
                    self.shift[at] = std::array::from_fn(|d| if d < 3 { given[d] as i16 - w[d] } else { 0 });
                }
                self.len += found;
            }
        });
        if self.len > 0 {
            self.close();
            visit(self);
        }
    }

    /// Lists which of these slots, moved by `t`, are near the box of the centres.
    #[inline(always)]
    fn select_near<V: Select>(
        &mut self,
        cells: &Cells,
        slots: std::ops::Range<usize>,
        t: [f64; 3],
        bounds: &[[f64; 2]; 3],
        near: f64,
    ) -> usize {
        let n = slots.len();
        let padded = n.next_multiple_of(GROUP);
        let (x, y, z) = (&cells.x[0][slots.clone()], &cells.x[1][slots.clone()], &cells.x[2][slots]);
        let squares = &mut self.squares[..padded];
        for (k, square) in squares[..n].iter_mut().enumerate() {
            let outside = |p: f64, [low, high]: [f64; 2]| {
                let below = if low - p > 0.0 { low - p } else { 0.0 };
                if p - high > below { p - high } else { below }
            };
            let dx = outside(x[k] + t[0], bounds[0]);
            let dy = outside(y[k] + t[1], bounds[1]);
            let dz = outside(z[k] + t[2], bounds[2]);
            *square = dx * dx + dy * dy + dz * dz;
        }
        squares[n..].fill(f64::INFINITY);
        V::select(squares, -1.0, near, &mut self.list[..])
    }

    /// Fills up to whole groups with atoms that are near nothing.
    #[inline(always)]
    fn close(&mut self) {
        self.x[0][self.len..self.len.next_multiple_of(GROUP)].fill(f64::INFINITY);
    }

    /// Squared distances of all candidates from a centre into `squares`; returns how many there are.
    #[inline(always)]
    pub fn measure(&mut self, centre: [f64; 3]) -> usize {
        let n = self.len.next_multiple_of(GROUP);
        let [x, y, z] = self.x.each_ref().map(|x| &x[..n]);
        let [tx, ty, tz] = self.t.each_ref().map(|t| &t[..n]);
        for (k, square) in self.squares[..n].iter_mut().enumerate() {
            let dx = (x[k] - centre[0]) + tx[k];
            let dy = (y[k] - centre[1]) + ty[k];
            let dz = (z[k] - centre[2]) + tz[k];
            *square = dx * dx + dy * dy + dz * dz;
        }
        n
    }
}
