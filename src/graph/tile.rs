//! A small contiguous set of atoms that may be neighbours of the centres of one cell.
//!
//! What is near a cell is sorted by atom, and by image for those of one atom, once for all centres of the cell: what each of them
//! finds among it is in the order of its row. That order follows from the structure alone, neither from cutoff and skin nor from
//! the grid. Sums over the edges of a centre are therefore the same, to the last bit, for a graph that was built and for a list
//! that was reused.

use super::cells::{Cells, Run};
use super::lattice::combine;
use super::select::{GROUP, Select};
use crate::memory::reserve;

/// Atoms in a tile at most: what fits the first-level cache. A power of two, so that an index `% TILE`
/// costs nothing and needs no check.
pub(super) const TILE: usize = 512;

type Column<T> = Box<[T; TILE]>;

/// Bytes that an atom takes that is near the cell at hand, at most: in memory that grows by doubling.
pub(super) const NEAR_BYTES: usize = 3 * (size_of::<u64>() + size_of::<[u32; 2]>() + size_of::<Image>());

/// A periodic image: its translation, and the shift of an edge from the first cell into it.
#[derive(Clone, Copy, Debug)]
struct Image {
    t: [f64; 3],
    shift: [i16; 3],
}

/// The atoms that are near the centres of a cell.
#[derive(Clone, Debug, Default)]
struct Near {
    /// Slot and index of the image, in the order of images.
    found: Vec<[u32; 2]>,
    images: Vec<Image>,
    /// Atom, and in the lower half the place in `found`, ascending.
    sorted: Vec<u64>,
}

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
    near: Near,
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
            near: Near::default(),
        }
    }
}

impl Tile {
    /// Calls `visit` with tiles that together hold every atom within `rcut` of an atom of occupied cell `b`, in the order of rows.
    #[inline(always)]
    pub fn for_tiles<V: Select>(&mut self, cells: &Cells, b: usize, rcut: f64, mut visit: impl FnMut(&mut Tile)) {
        let mut near = std::mem::take(&mut self.near);
        self.gather::<V>(cells, b, rcut, &mut near);
        for sorted in near.sorted.chunks(TILE) {
            for (at, &key) in sorted.iter().enumerate() {
                let [slot, image] = near.found[key as u32 as usize].map(|k| k as usize);
                let (at, Image { t, shift }) = (at % TILE, near.images[image]);
                for (d, t) in t.into_iter().enumerate() {
                    self.x[d][at] = cells.x[d][slot];
                    self.t[d][at] = t;
                }
                self.atom[at] = (key >> 32) as u32;
                let w = cells.wrap[slot];
                self.shift[at] = std::array::from_fn(|d| if d < 3 { shift[d] - w[d] } else { 0 });
            }
            self.len = sorted.len();
            // Whole groups, with atoms that are near nothing.
            self.x[0][self.len..self.len.next_multiple_of(GROUP)].fill(f64::INFINITY);
            visit(self);
        }
        self.near = near;
    }

    /// The atoms near the box of the centres of occupied cell `b`.
    #[inline(always)]
    fn gather<V: Select>(&mut self, cells: &Cells, b: usize, rcut: f64, near: &mut Near) {
        let centres = cells.slots(b);
        let bounds: [[f64; 2]; 3] = std::array::from_fn(|d| {
            let x = &cells.x[d][centres.clone()];
            x.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], &x| [low.min(x), high.max(x)])
        });
        // Farther than any rounding of positions that the exact test could forgive.
        let size = bounds.as_flattened().iter().fold(rcut, |m, x| m.max(x.abs()));
        let reach = rcut + 1e-12 * size;
        let limit = (reach * reach).min(f64::MAX);
        let Near { found, images, sorted } = near;
        found.clear();
        images.clear();
        sorted.clear();
        cells.for_runs(b, |Run { slots, image }| {
            let t = combine(image.map(|k| k as f64), &cells.lattice.vectors);
            let before = found.len();
            for start in slots.clone().step_by(TILE) {
                let slots = start..slots.end.min(start + TILE);
                let n = self.select_near::<V>(cells, slots, t, &bounds, limit);
                reserve(found, n);
                reserve(sorted, n);
                for &k in &self.list[..n] {
                    let slot = start + k as usize;
                    sorted.push(u64::from(cells.atom[slot]) << 32 | found.len() as u64);
                    found.push([slot as u32, images.len() as u32]);
                }
            }
            if found.len() > before {
                reserve(images, 1);
                images.push(Image { t, shift: cells.lattice.given(image).map(|n| n as i16) });
            }
        });
        sorted.sort_unstable();
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
