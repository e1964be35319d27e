//! Radial weights as piecewise quintics in the distance: no net is left at run time.

use crate::mace::network::{Pieces, Quintic, Radial, evaluate};
use crate::simd::{Lanes, MAX_LANES, Real};
use crate::{Error, Result};
use std::sync::OnceLock;

/// Tables of a layer, one for each pair of species that needs its own; each is made when it is asked for first.
pub struct Tables<V> {
    radial: Radial,
    channels: usize,
    tolerance: f64,
    tables: Vec<OnceLock<Table<V>>>,
}

/// Functions on equal intervals from 0 to the cutoff. Quintics that follow one another agree to the second derivative.
pub struct Table<V> {
    n: usize,
    inverse_step: f64,
    /// Of the weights by (channel block, interval, path).
    rows: Vec<Quintic<V>>,
    n_paths: usize,
    /// Of the edge density, by interval; empty where there is none.
    density: Vec<Quintic<f64>>,
    /// Whether the tolerance was met, or nearly.
    accurate: bool,
}

/// A place in a table: the interval, and where within.
#[derive(Clone, Copy)]
pub struct Place {
    pub interval: usize,
    pub t: f64,
    /// `dt/dr`, 1/Å.
    pub inverse_step: f64,
}

impl<V: Lanes> Tables<V> {
    pub fn new(radial: &Radial, channels: usize, tolerance: f64) -> Tables<V> {
        let tables = (0..radial.n_tables()).map(|_| OnceLock::new()).collect();
        Tables { radial: radial.clone(), channels, tolerance, tables }
    }

    /// The index of the table for a pair of species.
    #[inline]
    pub fn index(&self, sender: usize, receiver: usize) -> usize {
        self.radial.table(sender, receiver)
    }

    /// Makes the table for a pair of species, if it is not there yet. Threads share the work: not to be called by their tasks.
    ///
    /// # Errors
    /// Functions that change too fast for any table.
    pub fn prepare(&self, sender: usize, receiver: usize) -> Result<()> {
        let table = &self.tables[self.index(sender, receiver)];
        let make = || Table::new(&self.radial, sender, receiver, self.channels, self.tolerance);
        match table.get_or_init(make).accurate {
            true => Ok(()),
            false => Err(Error::Model("the radial weights change too fast with the distance".into())),
        }
    }

    /// A table that has been prepared.
    #[inline]
    pub fn at(&self, index: usize) -> &Table<V> {
        self.tables[index].get().expect("prepared")
    }

    pub fn has_density(&self) -> bool {
        self.radial.density.is_some()
    }

    pub fn bytes(&self) -> usize {
        self.tables
            .iter()
            .filter_map(OnceLock::get)
            .map(|t| size_of_val(&t.rows[..]) + size_of_val(&t.density[..]))
            .sum()
    }
}

impl<V: Lanes> Table<V> {
    fn new(radial: &Radial, sender: usize, receiver: usize, channels: usize, tolerance: f64) -> Table<V> {
        let all = Pieces::new(radial, [sender, receiver], 5, tolerance);
        let (n, accurate) = (all.n, all.accurate);
        let at = |k: usize, column: usize| all.at(k, column);
        let (blocks, n_paths) = (channels.div_ceil(V::N), radial.n_weights / channels);
        let mut rows = Vec::with_capacity(blocks * n * n_paths);
        for block in 0..blocks {
            for (k, path) in (0..n).flat_map(|k| (0..n_paths).map(move |path| (k, path))) {
                let mut lanes = [[V::Real::default(); MAX_LANES]; 6];
                for lane in 0..V::N.min(channels - block * V::N) {
                    for (to, c) in lanes.iter_mut().zip(at(k, path * channels + block * V::N + lane)) {
                        to[lane] = V::Real::of(c);
                    }
                }
                rows.push(lanes.map(|x| V::load(&x)));
            }
        }
        let density = match radial.density {
            Some(_) => (0..n).map(|k| at(k, radial.n_weights)).collect(),
            None => Vec::new(),
        };
        Table { n, inverse_step: 1.0 / all.step, rows, n_paths, density, accurate }
    }

    #[inline]
    pub fn place(&self, r: f64) -> Place {
        let x = r * self.inverse_step;
        let interval = (x as usize).min(self.n - 1);
        Place { interval, t: x - interval as f64, inverse_step: self.inverse_step }
    }

    /// The entries of a channel block in an interval, path by path.
    #[inline(always)]
    pub fn rows(&self, block: usize, interval: usize) -> &[Quintic<V>] {
        &self.rows[(block * self.n + interval) * self.n_paths..][..self.n_paths]
    }

    /// The edge density and its slope.
    pub fn density(&self, place: Place) -> [f64; 2] {
        let [value, slope] = evaluate(&self.density[place.interval], place.t);
        [value, slope * place.inverse_step]
    }
}
