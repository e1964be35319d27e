//! Edge vectors from positions: one formula for graphs that are built and for those whose positions change, so that
//! a structure has the same vectors, to the last bit, whatever its graph has been through.

use super::lattice::combine;
use super::{COINCIDENT, Graph, for_chunks};
use crate::parallel::Disjoint;
use crate::structure::Structure;
use crate::{Error, Result};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Shifts in one direction whose translations are kept.
const KEPT: i16 = 1;
const WIDTH: usize = 2 * KEPT as usize + 1;

/// `shift · cell`.
pub(super) struct Translations {
    cell: [[f64; 3]; 3],
    near: [[f64; 3]; WIDTH * WIDTH * WIDTH],
}

impl Translations {
    pub fn new(cell: [[f64; 3]; 3]) -> Translations {
        let shift = |k: usize| [k / WIDTH / WIDTH, k / WIDTH % WIDTH, k % WIDTH].map(|s| s as f64 - f64::from(KEPT));
        Translations { cell, near: std::array::from_fn(|k| combine(shift(k), &cell)) }
    }

    #[inline(always)]
    pub fn of(&self, shift: [i16; 3]) -> [f64; 3] {
        let [a, b, c] = shift.map(|s| s.wrapping_add(KEPT) as u16 as usize);
        match a.max(b).max(c) < WIDTH {
            true => self.near[(a * WIDTH + b) * WIDTH + c],
            false => combine(shift.map(f64::from), &self.cell),
        }
    }
}

/// `x_j − x_i + t`; exactly antisymmetric.
#[inline(always)]
pub(super) fn between(a: [f64; 3], b: [f64; 3], t: [f64; 3]) -> [f64; 3] {
    [b[0] - a[0] + t[0], b[1] - a[1] + t[1], b[2] - a[2] + t[2]]
}

/// Longer than the distance of atoms in one place, and finite.
#[inline(always)]
pub(super) fn is_sound(r: &[f64; 3]) -> bool {
    let square = r[0] * r[0] + r[1] * r[1] + r[2] * r[2];
    square > COINCIDENT * COINCIDENT && square < f64::INFINITY
}

impl Graph {
    /// Recomputes the vectors from new positions (and cell), with the edges as they are. Allocates nothing.
    ///
    /// The graph stays complete up to its cutoff only as long as no atom that it lacks an edge to has come that near.
    ///
    /// # Errors
    /// As [`Graph::update_positions`].
    pub fn update_vectors(&mut self, structure: &Structure) -> Result<()> {
        self.update_positions(&structure.positions, &structure.cell)
    }

    /// [`Graph::update_vectors`] for positions (n_atoms, 3), Å, and the rows of a cell, which only edges with shifts need.
    ///
    /// # Errors
    /// [`Error::Graph`] for another number of positions, and for two atoms in one place or too far away; the graph
    /// is then to be updated again before it is used.
    pub fn update_positions(&mut self, positions: &[[f64; 3]], cell: &[[f64; 3]; 3]) -> Result<()> {
        let (n_atoms, n_centres) = (self.n_atoms(), self.n_centres());
        if positions.len() != n_atoms {
            return Err(Error::Graph(format!("{} positions for a graph of {n_atoms} atoms", positions.len())));
        }
        let translations = Translations::new(*cell);
        let Graph { first, neighbour, shift, r, .. } = self;
        let rows = Disjoint::new(r);
        let sound = AtomicBool::new(true);
        for_chunks(n_centres, |centres| {
            let mut all = true;
            for i in centres {
                let row = first[i] as usize..first[i + 1] as usize;
                // SAFETY: rows of different centres do not overlap, as offsets rise.
                let r = unsafe { rows.slice(row.start, row.len()) };
                let shifts = shift.get(row.clone()).unwrap_or(&[]);
                for (e, (r, &j)) in r.iter_mut().zip(&neighbour[row]).enumerate() {
                    let t = shifts.get(e).map_or([0.0; 3], |&s| translations.of(s));
                    *r = between(positions[i], positions[j as usize], t);
                    all &= is_sound(r);
                }
            }
            if !all {
                sound.store(false, Relaxed);
            }
        });
        self.broken = !sound.into_inner();
        if self.broken { self.check_vectors() } else { Ok(()) }
    }

    /// # Errors
    /// The first vector that is none; the graph may not be used then.
    pub(super) fn check_vectors(&mut self) -> Result<()> {
        let bad = self.r.iter().position(|r| !is_sound(r));
        self.broken = bad.is_some();
        let Some(e) = bad else { return Ok(()) };
        let i = self.first.partition_point(|&first| first as usize <= e) - 1;
        let (j, r) = (self.neighbour[e], self.r[e]);
        Err(Error::Graph(format!(
            "edge {e} from atom {i} to atom {j}: vector {r:?} is shorter than {COINCIDENT:e} Å or not finite"
        )))
    }
}
