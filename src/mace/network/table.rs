//! Radial columns as piecewise polynomials in the distance, what devices keep of them.

use super::jet::Jet;
use super::radial::{Pairs, Radial};
use crate::parallel;

/// Intervals of a table: the fewest, and the most, where the tolerance is not reached before.
const INTERVALS: [usize; 2] = [32, 2048];
/// Where the error of a table is looked at, in intervals, of so many of them.
const SAMPLES: usize = 24;
/// Below this part of the cutoff an error may be 10⁴ times the tolerance.
const NEAR: f64 = 1.0 / 32.0;

/// The coefficients of a quintic in `t`, which runs from 0 to 1 within an interval. Not values at its ends, whose differences
/// would lose in single precision what slopes are made of.
pub type Quintic<T> = [T; 6];

/// All columns of a pair of species on equal intervals from 0 to the cutoff, as quintics, which agree to the second derivative where they
/// meet, as cubics, which agree to the first, or as parabolas whose slopes are about the best.
pub struct Pieces {
    pub n: usize,
    /// The length of an interval, Å.
    pub step: f64,
    degree: usize,
    nodes: Vec<Vec<Jet>>,
    /// Whether the tolerance was met, or nearly.
    pub accurate: bool,
}

impl Pieces {
    /// Of [`Radial::columns`], with an error of about `tolerance`, for a sender and a receiver. The degree is 2, 3 or 5.
    pub fn new(radial: &Radial, [sender, receiver]: [usize; 2], degree: usize, tolerance: f64) -> Pieces {
        let cutoff = radial.features.cutoff;
        let columns = |r: f64| radial.columns(sender, receiver, r);
        let mut n = INTERVALS[0];
        let mut error = error_of(&columns, cutoff, n, degree);
        while n < INTERVALS[1] && error > tolerance {
            n *= 2;
            error = error_of(&columns, cutoff, n, degree);
        }
        let step = cutoff / n as f64;
        let mut nodes: Vec<Vec<Jet>> = vec![Vec::new(); n + 1];
        parallel::for_each_mut(&mut nodes, |k, node| *node = columns(step * k as f64));
        // Where rounding is what is left, more intervals make it no better.
        Pieces { n, step, degree, nodes, accurate: error <= 1e3 * tolerance }
    }

    /// Of a column in an interval; the coefficients of others than quintics, too, are six.
    pub fn at(&self, interval: usize, column: usize) -> Quintic<f64> {
        piece(self.degree, self.step, self.nodes[interval][column], self.nodes[interval + 1][column])
    }
}

impl Radial {
    /// How many tables there are for all pairs of species.
    pub fn n_tables(&self) -> usize {
        let nz = self.n_species;
        match self.pairs() {
            Pairs::One => 1,
            Pairs::Unordered => nz * (nz + 1) / 2,
            Pairs::Ordered => nz * nz,
        }
    }

    /// The table of a pair of species.
    #[inline]
    pub fn table(&self, sender: usize, receiver: usize) -> usize {
        let (low, high) = (sender.min(receiver), sender.max(receiver));
        match self.pairs() {
            Pairs::One => 0,
            Pairs::Unordered => high * (high + 1) / 2 + low,
            Pairs::Ordered => sender * self.n_species + receiver,
        }
    }
}

/// Value and derivative by `t`.
pub fn evaluate(c: &Quintic<f64>, t: f64) -> [f64; 2] {
    let value = (0..6).rev().fold(0.0, |sum, k| sum * t + c[k]);
    [value, (1..6).rev().fold(0.0, |sum, k| sum * t + k as f64 * c[k])]
}

/// The polynomial over an interval of length `h` with these values and derivatives, as many as it can have, at its ends.
fn piece(degree: usize, h: f64, a: Jet, b: Jet) -> Quintic<f64> {
    if degree == 2 {
        // A straight line through the slopes at the ends is off to one side by up to a sixteenth of this twice.
        let third = (b.dd - a.dd) * h * h;
        return [a.x, a.d * h - third / 16.0, 0.5 * (b.d - a.d) * h, 0.0, 0.0, 0.0];
    }
    if degree == 3 {
        let (x, y) = (b.x - a.x - a.d * h, (b.d - a.d) * h);
        return [a.x, a.d * h, 3.0 * x - y, y - 2.0 * x, 0.0, 0.0];
    }
    let (d, e) = (a.d * h, 0.5 * a.dd * h * h);
    // What is left of value, slope and curvature at the end.
    let (x, y, z) = (b.x - a.x - d - e, b.d * h - d - 2.0 * e, b.dd * h * h - 2.0 * e);
    [a.x, d, e, 10.0 * x - 4.0 * y + 0.5 * z, -15.0 * x + 7.0 * y - z, 6.0 * x - 3.0 * y + 0.5 * z]
}

/// The error of these polynomials on `n` intervals, relative to the largest value and slope.
fn error_of(columns: &dyn Fn(f64) -> Vec<Jet>, cutoff: f64, n: usize, degree: usize) -> f64 {
    let h = cutoff / n as f64;
    let (mut largest, mut error) = ([0.0_f64; 2], [0.0_f64; 2]);
    for s in 0..SAMPLES {
        let k = s * (n - 1) / (SAMPLES - 1);
        let t = if s % 2 == 0 { 0.5 } else { 0.22 };
        let (a, b) = (columns(h * k as f64), columns(h * (k + 1) as f64));
        for (column, exact) in columns(h * (k as f64 + t)).into_iter().enumerate() {
            let [value, slope] = evaluate(&piece(degree, h, a[column], b[column]), t);
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
