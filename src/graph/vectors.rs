//! Edge vectors from positions: one formula for graphs that are built and for those whose positions change, so that
//! a structure has the same vectors, to the last bit, whatever its graph has been through.
//!
//! Positions that have changed a little are only taken note of: whoever packs edges, or has them on a device, computes the vectors
//! that it needs. All of them are there as soon as somebody asks for them.

use super::lattice::combine;
use super::{COINCIDENT, Graph, for_chunks};
use crate::memory::{at_least, resize};
use crate::parallel::{self, Disjoint};
use crate::structure::Structure;
use crate::{Error, Result};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Shifts in one direction whose translations are kept.
const KEPT: i16 = 1;
const WIDTH: usize = 2 * KEPT as usize + 1;
/// How far an atom may be from the origin, in lengths of the shortest edge, and how short that may be (Å): rounding then is no matter.
const FAR: f64 = 1e8;
const SHORT: f64 = 1e-4;

/// `shift · cell`.
#[derive(Clone, Debug)]
pub(crate) struct Translations {
    pub cell: [[f64; 3]; 3],
    near: [[f64; 3]; WIDTH * WIDTH * WIDTH],
}

impl Default for Translations {
    fn default() -> Translations {
        Translations::new([[0.0; 3]; 3])
    }
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

/// Positions that a thread copies at a time.
const MANY: usize = 1 << 15;

/// Where the vectors come from, and what all of them are once they have been asked for.
#[derive(Debug, Default)]
pub(super) struct Vectors {
    all: OnceLock<Vec<[f64; 3]>>,
    /// Memory of vectors that are out of date.
    spare: Mutex<Vec<[f64; 3]>>,
    /// Of the last update; none where vectors were found with the edges, or given.
    positions: Vec<[f64; 3]>,
    translations: Translations,
    /// When the vectors were last looked through.
    sound: Option<Sound>,
}

/// Vectors that were found to be sound, all of them.
#[derive(Clone, Debug, Default)]
struct Sound {
    positions: Vec<[f64; 3]>,
    /// The square of how far atoms may go from there before two can be in one place.
    limit: f64,
}

impl Clone for Vectors {
    fn clone(&self) -> Vectors {
        let Vectors { all, positions, translations, sound, .. } = self;
        Vectors {
            all: all.clone(),
            spare: Mutex::default(),
            positions: positions.clone(),
            translations: translations.clone(),
            sound: sound.clone(),
        }
    }
}

impl Vectors {
    /// All vectors, to be overwritten: they are found with the edges, or given.
    pub fn renew(&mut self) -> &mut Vec<[f64; 3]> {
        self.positions.clear();
        self.sound = None;
        self.all_mut()
    }

    /// Those of the last time, whatever they are now.
    fn all_mut(&mut self) -> &mut Vec<[f64; 3]> {
        let spare = self.spare.get_mut().unwrap_or_else(PoisonError::into_inner);
        let all = self.all.take().unwrap_or_else(|| std::mem::take(spare));
        self.all.get_or_init(|| all);
        self.all.get_mut().expect("set above")
    }

    /// Whether positions are near those whose vectors are sound.
    fn are_near(&self, positions: &[[f64; 3]], cell: &[[f64; 3]; 3], shifted: bool) -> bool {
        match &self.sound {
            Some(Sound { positions: old, limit }) if !shifted || self.translations.cell == *cell => {
                let near = AtomicBool::new(true);
                for_chunks(old.len(), |atoms| {
                    // Not a number is far away.
                    let within = |(a, b): (&[f64; 3], &[f64; 3])| {
                        let d = [b[0] - a[0], b[1] - a[1], b[2] - a[2]];
                        d[0] * d[0] + d[1] * d[1] + d[2] * d[2] <= *limit
                    };
                    let all =
                        old[atoms.clone()].iter().zip(&positions[atoms]).fold(true, |all, pair| all & within(pair));
                    if !all {
                        near.store(false, Relaxed);
                    }
                });
                near.into_inner()
            }
            _ => false,
        }
    }

    /// Vectors are no longer those of the positions.
    fn forget(&mut self) {
        if let Some(old) = self.all.take() {
            *self.spare.get_mut().unwrap_or_else(PoisonError::into_inner) = old;
        }
    }

    fn note(&mut self, positions: &[[f64; 3]]) {
        resize(&mut self.positions, positions.len(), [0.0; 3]);
        parallel::copy(&mut self.positions, positions, MANY);
    }

    /// All vectors have been computed, the shortest of this squared length.
    fn looked_through(&mut self, least: f64) {
        let far = self.positions.iter().flatten().fold(0.0, |far: f64, x| far.max(x.abs()));
        let least = least.sqrt();
        let mut sound = self.sound.take().unwrap_or_default();
        // Without an edge there is nothing to come near.
        if least > SHORT && far < FAR * least.min(1.0) {
            resize(&mut sound.positions, self.positions.len(), [0.0; 3]);
            sound.positions.copy_from_slice(&self.positions);
            sound.limit = (0.49 * least.min(1e3)).powi(2);
            self.sound = Some(sound);
        }
    }
}

/// Positions that edge vectors follow.
#[derive(Clone, Copy)]
pub(crate) struct Moved<'a> {
    /// (n_atoms), Å.
    pub positions: &'a [[f64; 3]],
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
    pub translations: &'a Translations,
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
    /// `x_j + shift·cell − x_i` of each edge, (n_edges, 3), Å. After an update they are computed when they are first asked for.
    pub fn vectors(&self) -> &[[f64; 3]] {
        if let Some(all) = self.vectors.all.get() {
            return all;
        }
        if self.vectors.positions.is_empty() {
            return &[];
        }
        // No lock is held meanwhile: whoever shares the work may ask for them as well.
        let mut all = std::mem::take(&mut *self.vectors.spare.lock().unwrap_or_else(PoisonError::into_inner));
        resize(&mut all, self.n_edges(), [0.0; 3]);
        self.compute(&mut all);
        let _ = self.vectors.all.set(all);
        self.vectors.all.get().map_or(&[], |all| all)
    }

    /// Those of centre `i`; `room` is for them where they have to be computed.
    #[inline(always)]
    pub(crate) fn row<'a>(&'a self, i: usize, room: &'a mut Vec<[f64; 3]>) -> &'a [[f64; 3]] {
        let edges = self.edges(i);
        match self.vectors.all.get() {
            Some(all) => &all[edges],
            None => {
                let row = at_least(room, edges.len(), [0.0; 3]);
                let mut to = row.iter_mut();
                self.each_of(i, edges, |r| to.next().into_iter().for_each(|to| *to = r));
                row
            }
        }
    }

    /// Calls `f` with the vectors of centre `i`.
    #[inline(always)]
    fn each_of(&self, i: usize, edges: Range<usize>, mut f: impl FnMut([f64; 3])) {
        let Vectors { positions, translations, .. } = &self.vectors;
        let Some(&centre) = positions.get(i) else { return };
        let neighbours = &self.neighbour[edges.clone()];
        match self.shift.get(edges) {
            Some(shifts) if !self.shift.is_empty() => neighbours
                .iter()
                .zip(shifts)
                .for_each(|(&j, &shift)| f(between(centre, positions[j as usize], translations.of(shift)))),
            _ => neighbours.iter().for_each(|&j| f(between(centre, positions[j as usize], [0.0; 3]))),
        }
    }

    /// All vectors from the positions; returns the least square.
    fn compute(&self, all: &mut [[f64; 3]]) -> f64 {
        let rows = Disjoint::new(all);
        // Bits of positive numbers are in their order; the sign bit, or what is none, comes last.
        let least = AtomicU64::new(f64::INFINITY.to_bits());
        let sound = AtomicBool::new(true);
        for_chunks(self.n_centres(), |centres| {
            let (mut low, mut all) = (f64::INFINITY, true);
            for i in centres {
                let edges = self.edges(i);
                // SAFETY: rows of different centres do not overlap, as offsets rise.
                let mut to = unsafe { rows.slice(edges.start, edges.len()) }.iter_mut();
                self.each_of(i, edges, |r| {
                    let square = r[0] * r[0] + r[1] * r[1] + r[2] * r[2];
                    low = low.min(square);
                    all &= square > COINCIDENT * COINCIDENT && square < f64::INFINITY;
                    to.next().into_iter().for_each(|to| *to = r);
                });
            }
            least.fetch_min(low.to_bits(), Relaxed);
            if !all {
                sound.store(false, Relaxed);
            }
        });
        if sound.into_inner() { f64::from_bits(least.into_inner()) } else { f64::NAN }
    }

    /// Where vectors follow positions.
    pub(crate) fn moved(&self) -> Option<Moved<'_>> {
        let Vectors { positions, translations, .. } = &self.vectors;
        (!positions.is_empty()).then_some(Moved { positions, translations })
    }

    /// Whether all vectors are in memory.
    pub(crate) fn has_vectors(&self) -> bool {
        self.vectors.all.get().is_some()
    }

    /// As [`Graph::update_positions`], where that is no more than to take note of positions; gives the old ones for them.
    /// Else it does nothing and says so.
    pub(crate) fn follow(&mut self, positions: &mut Vec<[f64; 3]>, cell: &[[f64; 3]; 3]) -> bool {
        let near = self.may_follow(positions, cell);
        if near {
            self.vectors.forget();
            std::mem::swap(&mut self.vectors.positions, positions);
        }
        near
    }

    /// Whether vectors are sound for certain, as positions are near others from which they were.
    fn may_follow(&self, positions: &[[f64; 3]], cell: &[[f64; 3]; 3]) -> bool {
        let shifted = !self.shift.is_empty();
        !self.broken && positions.len() == self.n_atoms() && self.vectors.are_near(positions, cell, shifted)
    }

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
        let n_atoms = self.n_atoms();
        if positions.len() != n_atoms {
            return Err(Error::Graph(format!("{} positions for a graph of {n_atoms} atoms", positions.len())));
        }
        if self.may_follow(positions, cell) {
            self.vectors.forget();
            self.vectors.note(positions);
            return Ok(());
        }
        self.vectors.translations = Translations::new(*cell);
        self.vectors.note(positions);
        let mut all = std::mem::take(self.vectors.all_mut());
        resize(&mut all, self.n_edges(), [0.0; 3]);
        let least = self.compute(&mut all);
        *self.vectors.all_mut() = all;
        self.broken = least.is_nan();
        if self.broken {
            return self.check_vectors();
        }
        self.vectors.looked_through(least);
        Ok(())
    }

    /// # Errors
    /// The first vector that is none; the graph may not be used then.
    pub(super) fn check_vectors(&mut self) -> Result<()> {
        let bad = self.vectors().iter().position(|r| !is_sound(r));
        self.broken = bad.is_some();
        let Some(e) = bad else { return Ok(()) };
        let i = self.first.partition_point(|&first| first as usize <= e) - 1;
        let (j, r) = (self.neighbour[e], self.vectors()[e]);
        Err(Error::Graph(format!(
            "edge {e} from atom {i} to atom {j}: vector {r:?} is shorter than {COINCIDENT:e} Å or not finite"
        )))
    }
}
