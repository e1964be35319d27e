//! The grid that atoms are sorted into.

use super::for_chunks;
use super::lattice::{Lattice, combine};
use crate::memory::resize;
use crate::parallel::{self, Disjoint};
use crate::structure::Structure;
use crate::{Error, Result};

/// Atoms that a cell should hold on average: enough to share the search, few enough to stay narrow.
const ATOMS_PER_CELL: f64 = 8.0;
/// A table of all cells may have this many entries per atom; beyond it occupied cells are searched for.
const TABLE_PER_ATOM: u64 = 16;
/// Cells along one direction at most: three such numbers fit a 64-bit key.
const MAX_CELLS: f64 = ((1 << 21) - 1) as f64;

/// Atoms sorted by cell: *slots* number them in that order, the first direction of the grid fastest.
#[derive(Clone, Debug, Default)]
pub(super) struct Cells {
    pub lattice: Lattice,
    /// Cells along each direction.
    n: [i64; 3],
    /// How many cells away neighbours can be, at most.
    reach: [i64; 3],
    /// `cell = (fractional − origin) · scale`
    origin: [f64; 3],
    scale: [f64; 3],
    /// Atom of each slot.
    pub atom: Vec<u32>,
    /// Positions per slot, moved into the first cell of the lattice.
    pub x: [Vec<f64>; 3],
    /// How many given cells that move went along each vector, relative to atom 0.
    pub wrap: Vec<[i16; 4]>,
    /// Key and first slot of each occupied cell; `starts` has the number of atoms at its end.
    keys: Vec<u64>,
    starts: Vec<u32>,
    /// First slot by key, if the grid is small enough for a table.
    table: Vec<u32>,
    atom_keys: Vec<u64>,
}

/// A run of slots and the periodic image it is seen in.
pub(super) struct Run {
    pub slots: std::ops::Range<usize>,
    pub image: [i64; 3],
}

impl Cells {
    /// Sorts the atoms of a validated structure.
    pub fn sort(&mut self, structure: &Structure, rcut: f64) -> Result<()> {
        self.lattice = Lattice::new(structure);
        self.lay_grid(structure, rcut);
        self.place(structure);
        self.move_in(structure)
    }

    /// Number of occupied cells.
    pub fn n_occupied(&self) -> usize {
        self.keys.len()
    }

    /// Slots of occupied cell `b`.
    pub fn slots(&self, b: usize) -> std::ops::Range<usize> {
        self.starts[b] as usize..self.starts[b + 1] as usize
    }

    /// The atoms within reach of occupied cell `b`, run by run.
    #[inline(always)]
    pub fn for_runs(&self, b: usize, mut f: impl FnMut(Run)) {
        let [nx, ny, nz] = self.n;
        let key = self.keys[b] as i64;
        let (cx, cy, cz) = (key % nx, key / nx % ny, key / nx / ny);
        let range = |d: usize, c: i64| {
            let (low, high) = (c - self.reach[d], c + self.reach[d]);
            if self.lattice.periodic[d] { low..=high } else { low.max(0)..=high.min(self.n[d] - 1) }
        };
        for z in range(2, cz) {
            let (kz, z) = (z.div_euclid(nz), z.rem_euclid(nz));
            for y in range(1, cy) {
                let (ky, y) = (y.div_euclid(ny), y.rem_euclid(ny));
                let row = (z * ny + y) * nx;
                let (low, high) = range(0, cx).into_inner();
                for kx in low.div_euclid(nx)..=high.div_euclid(nx) {
                    let (from, to) = ((low - kx * nx).max(0), (high - kx * nx).min(nx - 1));
                    let slots = self.first_slot((row + from) as u64)..self.first_slot((row + to + 1) as u64);
                    if !slots.is_empty() {
                        f(Run { slots, image: [kx, ky, kz] });
                    }
                }
            }
        }
    }

    /// The farthest images that [`Cells::for_runs`] can name, per direction.
    pub fn max_image(&self) -> [i64; 3] {
        std::array::from_fn(|d| if self.lattice.periodic[d] { (self.reach[d] - 1) / self.n[d] + 1 } else { 0 })
    }

    #[inline(always)]
    fn first_slot(&self, key: u64) -> usize {
        if self.table.is_empty() {
            self.starts[self.keys.partition_point(|&k| k < key)] as usize
        } else {
            self.table[key as usize] as usize
        }
    }

    fn lay_grid(&mut self, structure: &Structure, rcut: f64) {
        let lattice = &self.lattice;
        let (mut origin, mut extent) = ([0.0; 3], [1.0; 3]);
        if lattice.periodic != [true; 3] && structure.n_atoms() > 0 {
            let mut bounds = [[f64::INFINITY; 3], [f64::NEG_INFINITY; 3]];
            for &x in &structure.positions {
                let f = lattice.fractional(x);
                bounds =
                    [std::array::from_fn(|d| bounds[0][d].min(f[d])), std::array::from_fn(|d| bounds[1][d].max(f[d]))];
            }
            for d in (0..3).filter(|&d| !lattice.periodic[d]) {
                (origin[d], extent[d]) = (bounds[0][d], bounds[1][d] - bounds[0][d]);
            }
        }
        let open = (0..3).filter(|&d| !lattice.periodic[d]);
        let volume = open.fold(lattice.volume(), |v, d| v * extent[d].max(rcut));
        let wanted = (ATOMS_PER_CELL * volume / structure.n_atoms() as f64).cbrt();
        // Whole fractions of the cutoff waste the least reach; a hair wider, so that rounding adds none.
        let width = rcut / (rcut / wanted).round().clamp(1.0, 3.0) * (1.0 + 1e-6);
        for d in 0..3 {
            let length = lattice.height(d) * extent[d];
            let n = (length / width).floor().clamp(1.0, MAX_CELLS);
            let scale = n / extent[d];
            self.n[d] = n as i64;
            self.origin[d] = origin[d];
            self.scale[d] = if scale.is_finite() { scale } else { 0.0 };
            let reach = (rcut * n / length * (1.0 + 1e-9) + 1e-9).floor() + 1.0;
            self.reach[d] = if lattice.periodic[d] { reach as i64 } else { reach.min(n) as i64 };
        }
    }

    /// Sorts atoms into cells, ascending within each.
    fn place(&mut self, structure: &Structure) {
        let n_atoms = structure.n_atoms();
        let mut keys = std::mem::take(&mut self.atom_keys);
        resize(&mut keys, n_atoms, 0);
        resize(&mut self.atom, n_atoms, 0);
        let (positions, shared) = (&structure.positions, Disjoint::new(&mut keys));
        for_chunks(n_atoms, |atoms| {
            // SAFETY: chunks do not overlap.
            let keys = unsafe { shared.slice(atoms.start, atoms.len()) };
            keys.iter_mut().zip(&positions[atoms]).for_each(|(key, &x)| *key = self.key(x));
        });
        self.keys.clear();
        self.starts.clear();
        self.table.clear();
        let n_cells = self.n.iter().product::<i64>() as u64;
        if n_cells <= TABLE_PER_ATOM * n_atoms as u64 + 4096 {
            self.place_by_table(&keys, n_cells as usize);
        } else {
            self.atom.iter_mut().zip(0..).for_each(|(a, i)| *a = i);
            parallel::sort_by_key(&mut self.atom, |&i| (keys[i as usize], i));
            for (slot, &i) in self.atom.iter().enumerate() {
                let key = keys[i as usize];
                if self.keys.last() != Some(&key) {
                    self.keys.push(key);
                    self.starts.push(slot as u32);
                }
            }
        }
        self.starts.push(n_atoms as u32);
        self.atom_keys = keys;
    }

    fn place_by_table(&mut self, keys: &[u64], n_cells: usize) {
        let table = &mut self.table;
        resize(table, n_cells + 1, 0);
        keys.iter().for_each(|&key| table[key as usize] += 1);
        let mut next = 0;
        for (key, start) in table.iter_mut().enumerate() {
            let n = std::mem::replace(start, next);
            if n > 0 {
                self.keys.push(key as u64);
                self.starts.push(next);
            }
            next += n;
        }
        for (i, &key) in keys.iter().enumerate() {
            let slot = &mut table[key as usize];
            self.atom[*slot as usize] = i as u32;
            *slot += 1;
        }
        // Placing has moved every start to the next one.
        table.copy_within(0..n_cells, 1);
        table[0] = 0;
    }

    #[inline(always)]
    fn key(&self, x: [f64; 3]) -> u64 {
        let f = self.lattice.fractional(x);
        let wraps = self.lattice.wraps(f);
        let c: [i64; 3] = std::array::from_fn(|d| {
            let c = (f[d] - wraps[d] - self.origin[d]) * self.scale[d];
            (c as i64).clamp(0, self.n[d] - 1)
        });
        ((c[2] * self.n[1] + c[1]) * self.n[0] + c[0]) as u64
    }

    /// Copies the positions in slot order, moved into the first cell.
    fn move_in(&mut self, structure: &Structure) -> Result<()> {
        let n_atoms = structure.n_atoms();
        self.x.iter_mut().for_each(|x| resize(x, n_atoms, 0.0));
        resize(&mut self.wrap, n_atoms, [0; 4]);
        if n_atoms == 0 {
            return Ok(());
        }
        let lattice = &self.lattice;
        let wraps = |i: usize| lattice.wraps(lattice.fractional(structure.positions[i]));
        let home = lattice.given(wraps(0).map(|w| w as i64));
        let far = std::sync::atomic::AtomicU32::new(u32::MAX);
        // Shifts are differences of two such moves plus an image.
        let limit = (i64::from(i16::MAX) - self.farthest_image()).div_euclid(2);
        let [x, y, z] = &mut self.x;
        let (x, y, z, wrap) = (Disjoint::new(x), Disjoint::new(y), Disjoint::new(z), Disjoint::new(&mut self.wrap));
        for_chunks(n_atoms, |slots| {
            let (at, n) = (slots.start, slots.len());
            // SAFETY: chunks do not overlap.
            let (x, y, z, wrap) = unsafe { (x.slice(at, n), y.slice(at, n), z.slice(at, n), wrap.slice(at, n)) };
            for (k, &i) in self.atom[slots].iter().enumerate() {
                let w = wraps(i as usize);
                let (p, t) = (structure.positions[i as usize], combine(w, &lattice.vectors));
                [x[k], y[k], z[k]] = std::array::from_fn(|d| p[d] - t[d]);
                let given = lattice.given(w.map(|w| w as i64));
                let relative: [i64; 3] = std::array::from_fn(|d| given[d].saturating_sub(home[d]));
                if relative.iter().any(|w| w.saturating_abs() > limit) {
                    far.fetch_min(i, std::sync::atomic::Ordering::Relaxed);
                }
                wrap[k] = [relative[0] as i16, relative[1] as i16, relative[2] as i16, 0];
            }
        });
        match far.into_inner() {
            u32::MAX => Ok(()),
            0 => Err(Error::Graph("shifts beyond 16 bits: the cutoff spans too many cells".into())),
            i => Err(Error::Graph(format!("shifts beyond 16 bits: atom {i} lies thousands of cells away from atom 0"))),
        }
    }

    /// The largest count of given cells in any image within reach.
    fn farthest_image(&self) -> i64 {
        let image = self.max_image();
        let t = &self.lattice.transform;
        (0..3)
            .map(|k| (0..3).fold(0_i64, |s, d| s.saturating_add(image[d].saturating_mul(t[d][k].saturating_abs()))))
            .max()
            .unwrap_or(0)
    }
}
