//! Radial weights as piecewise quintics in the distance: no net is left at run time.

use crate::mace::network::{Jet, Pairs, Radial};
use crate::parallel;
use crate::simd::{Lanes, MAX_LANES, Real};
use crate::{Error, Result};
use std::sync::OnceLock;

/// Intervals of a table: the fewest, and the most, where the tolerance is not reached before.
const INTERVALS: [usize; 2] = [32, 2048];
/// Where the error of a table is looked at, in intervals, of so many of them.
const SAMPLES: usize = 24;
/// Below this part of the cutoff an error may be 10⁴ times the tolerance.
const NEAR: f64 = 1.0 / 32.0;

/// Tables of a layer, one for each pair of species that needs its own; each is made when it is asked for first.
pub struct Tables<V> {
    radial: Radial,
    channels: usize,
    tolerance: f64,
    tables: Vec<OnceLock<Table<V>>>,
}

/// The coefficients of a quintic in `t`, which runs from 0 to 1 within an interval. Not values at its ends, whose differences
/// would lose in single precision what slopes are made of.
pub type Quintic<T> = [T; 6];

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
        let nz = radial.n_species;
        let n = match radial.pairs() {
            Pairs::One => 1,
            Pairs::Unordered => nz * (nz + 1) / 2,
            Pairs::Ordered => nz * nz,
        };
        Tables { radial: radial.clone(), channels, tolerance, tables: (0..n).map(|_| OnceLock::new()).collect() }
    }

    /// The index of the table for a pair of species.
    #[inline]
    pub fn index(&self, sender: usize, receiver: usize) -> usize {
        let (low, high) = (sender.min(receiver), sender.max(receiver));
        match self.radial.pairs() {
            Pairs::One => 0,
            Pairs::Unordered => high * (high + 1) / 2 + low,
            Pairs::Ordered => sender * self.radial.n_species + receiver,
        }
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
        let cutoff = radial.features.cutoff;
        let columns = |r: f64| radial.columns(sender, receiver, r);
        let mut n = INTERVALS[0];
        let mut error = error_of(&columns, cutoff, n);
        while n < INTERVALS[1] && error > tolerance {
            n *= 2;
            error = error_of(&columns, cutoff, n);
        }
        // Where rounding is what is left, more intervals make it no better.
        let accurate = error <= 1e3 * tolerance;
        let h = cutoff / n as f64;
        let mut nodes: Vec<Vec<Jet>> = vec![Vec::new(); n + 1];
        parallel::for_each_mut(&mut nodes, |k, node| *node = columns(h * k as f64));
        let at = |k: usize, column: usize| quintic(h, nodes[k][column], nodes[k + 1][column]);
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
        Table { n, inverse_step: 1.0 / h, rows, n_paths, density, accurate }
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

/// Value and derivative by `t`.
fn evaluate(c: &Quintic<f64>, t: f64) -> [f64; 2] {
    let value = (0..6).rev().fold(0.0, |sum, k| sum * t + c[k]);
    [value, (1..6).rev().fold(0.0, |sum, k| sum * t + k as f64 * c[k])]
}

/// The quintic over an interval of length `h` with these values and derivatives at its ends.
fn quintic(h: f64, a: Jet, b: Jet) -> Quintic<f64> {
    let (d, e) = (a.d * h, 0.5 * a.dd * h * h);
    // What is left of value, slope and curvature at the end.
    let (x, y, z) = (b.x - a.x - d - e, b.d * h - d - 2.0 * e, b.dd * h * h - 2.0 * e);
    [a.x, d, e, 10.0 * x - 4.0 * y + 0.5 * z, -15.0 * x + 7.0 * y - z, 6.0 * x - 3.0 * y + 0.5 * z]
}

/// The error of quintics on `n` intervals, relative to the largest value and slope.
fn error_of(columns: &dyn Fn(f64) -> Vec<Jet>, cutoff: f64, n: usize) -> f64 {
    let h = cutoff / n as f64;
    let (mut largest, mut error) = ([0.0_f64; 2], [0.0_f64; 2]);
    for s in 0..SAMPLES {
        let k = s * (n - 1) / (SAMPLES - 1);
        let t = if s % 2 == 0 { 0.5 } else { 0.22 };
        let (a, b) = (columns(h * k as f64), columns(h * (k + 1) as f64));
        for (column, exact) in columns(h * (k as f64 + t)).into_iter().enumerate() {
            let [value, slope] = evaluate(&quintic(h, a[column], b[column]), t);
            for (part, (is, should)) in [(value, exact.x), (slope / h, exact.d)].into_iter().enumerate() {
                largest[part] = largest[part].max(should.abs());
                // Transforms are not smooth at the origin, where no atoms are.
                let near = if h * (k as f64) < NEAR * cutoff { 1e-4 } else { 1.0 };
                error[part] = error[part].max(near * (is - should).abs());
            }
        }
    }
    error.iter().zip(largest).map(|(e, l)| if l > 0.0 { e / l } else { 0.0 }).fold(0.0, f64::max)
}
