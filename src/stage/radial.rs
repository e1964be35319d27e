//! Radial functions `R_t(r; z_i, z_j)`: transform, polynomials or splines, envelope.
//!
//! Exact, one edge at a time, in double precision. [`super::rows`] evaluates the same
//! functions for many edges at once.

use super::base::{self, Coordinate};
use super::spec::InnerCutoff;
use super::spec::{BaseSpec, EnvelopeSpec, FunctionsSpec, RadialSpec, SplineSpec, TransformSpec};

/// A value and its derivative with respect to `r`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dual {
    pub value: f64,
    pub slope: f64,
}

impl TransformSpec {
    /// `y(r)`, the generalised Agnesi transform.
    pub fn eval(&self, r: f64) -> Dual {
        let y = self.unclamped(r);
        if y.value.abs() > 1.0 {
            return Dual { value: y.value.clamp(-1.0, 1.0), slope: 0.0 };
        }
        y
    }

    /// As [`TransformSpec::eval`], also where it leaves [−1, 1].
    pub fn unclamped(&self, r: f64) -> Dual {
        if r <= self.rin {
            return Dual { value: self.b1 + self.b0, slope: 0.0 };
        }
        let ds = 1.0 / (self.req - self.rin);
        let s = (r - self.rin) * ds;
        // d = s^pin / (1 + s^(pin − pcut))
        let (p, k) = (self.pin as i32, (self.pin - self.pcut) as i32);
        let (sp, sk) = (s.powi(p - 1), s.powi(k));
        let q = 1.0 / (1.0 + sk);
        let d = sp * s * q;
        // No square of s^k, which may overflow where y does not.
        let dd = sp * q * (p as f64 - k as f64 * (sk * q));
        let x = 1.0 / (1.0 + self.a * d);
        Dual { value: self.b1 * x + self.b0, slope: -self.b1 * self.a * dd * ds * x * x }
    }
}

impl EnvelopeSpec {
    /// The envelope at distance `r` and transformed distance `y(r)`.
    pub fn eval(&self, r: f64, y: Dual) -> Dual {
        const ZERO: Dual = Dual { value: 0.0, slope: 0.0 };
        match *self {
            EnvelopeSpec::Poly2sx { x1, x2, p1, p2, s } => {
                if !(x1 < y.value && y.value < x2) {
                    return ZERO;
                }
                let (p1, p2) = (p1 as i32, p2 as i32);
                let (a, b) = (y.value - x1, x2 - y.value);
                let (ap, bp) = (a.powi(p1), b.powi(p2));
                let slope = s * (p1 as f64 * a.powi(p1 - 1) * bp - p2 as f64 * ap * b.powi(p2 - 1));
                Dual { value: s * ap * bp, slope: slope * y.slope }
            }
            // With u = rcut/r both have the factor (u − 1)², which differences of powers would lose close to the cutoff.
            EnvelopeSpec::Poly1sr { rcut, p } => {
                let (gap, u) = ((rcut - r).max(0.0), rcut / r);
                let [sum, _] = sums_of_powers(u, p);
                // u^p − 1 = (u − 1) Σ_k u^k
                let (rest, above) = (gap / rcut, gap / r * sum);
                Dual { value: above * rest, slope: -(p as f64 * u.powi(p as i32 + 1) * rest + above) / rcut }
            }
            EnvelopeSpec::Ace1Poly1sr { rcut, r0, p } => {
                let (gap, u, c, n) = ((rcut - r).max(0.0), rcut / r, rcut / r0, p as i32);
                let [sum, sums] = sums_of_powers(u, p);
                // u^p − 1 − p (1 − 1/u) = (u − 1)²/u Σ_k (p − k) u^k
                let value = c.powi(-n) * (gap / r) * (gap / rcut) * sums;
                Dual { value, slope: -(n as f64) * c.powi(-n - 1) / r0 * (gap / r) * (sum + u.powi(n)) }
            }
        }
    }
}

/// `Σ_k u^k` and `Σ_k (p − k) u^k` for `k < p`.
fn sums_of_powers(u: f64, p: u32) -> [f64; 2] {
    (0..p).fold([0.0; 2], |[sum, sums], k| {
        let sum = sum + u.powi(k as i32);
        [sum, sums + sum]
    })
}

/// The functions that multiply the envelope, as rows of a matrix: `Σ_q w_q(y) · row_q`.
#[derive(Clone, Debug)]
pub enum Functions {
    /// `w_q = P_q(y)` by recursion; the rows of ordered pair `p` are `p·n_q ..`.
    Polynomial { a: Vec<f64>, b: Vec<f64>, c: Vec<f64> },
    /// Cubic Hermite weights; the rows of a pair are value and slope of each of its nodes.
    Spline { grids: Vec<Grid> },
}

/// The nodes of one ordered pair's splines.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    pub(crate) x0: f64,
    pub(crate) x1: f64,
    pub(crate) n_nodes: usize,
    /// First row in the matrix.
    pub(crate) row: usize,
}

impl Grid {
    /// The first of the four rows that `y` selects, and their weights with derivatives with respect to `y`.
    #[inline(always)]
    pub fn weights(&self, y: f64) -> (usize, [(f64, f64); 4]) {
        let h = (self.x1 - self.x0) / (self.n_nodes - 1) as f64;
        let s = ((y - self.x0) / h).clamp(0.0, (self.n_nodes - 1) as f64);
        let node = (s as usize).min(self.n_nodes - 2);
        (self.row + 2 * node, hermite(s - node as f64, h))
    }
}

/// What takes a distance to `y` and the envelope, by ordered pair.
#[derive(Clone, Debug)]
pub enum Coordinates {
    Agnesi {
        transforms: Vec<TransformSpec>,
        envelopes: Vec<EnvelopeSpec>,
    },
    Pace(Vec<PacePair>),
    /// `y = r`, but at least this; without an envelope.
    Plain(Vec<f64>),
}

/// An ordered pair of pacemaker's base functions, exact.
#[derive(Clone, Debug)]
pub struct PacePair {
    pub spec: BaseSpec,
    pub inner: InnerCutoff,
    pub coordinate: Coordinate<f64>,
    /// Wanted distance of nodes of upstream's table, Å.
    pub bins: f64,
}

/// The radial functions of one part.
#[derive(Clone, Debug)]
pub struct Radial {
    pub n_species: usize,
    /// Number of functions `t`.
    pub n_t: usize,
    pub coordinates: Coordinates,
    pub functions: Functions,
    /// The rows of each ordered pair, one after another; (·, n_t).
    pub matrix: Vec<f64>,
}

impl Radial {
    /// The functions `columns` of a validated specification, in this order.
    pub fn new(n_species: usize, spec: &RadialSpec, columns: &[usize]) -> Radial {
        let pick = |row: &[f64]| columns.iter().map(|&t| row[t]).collect::<Vec<_>>();
        let (functions, matrix) = match &spec.functions {
            FunctionsSpec::Pace { bins, inner, pairs, w } => {
                let pair = |spec: &BaseSpec| PacePair {
                    spec: *spec,
                    inner: *inner,
                    coordinate: Coordinate::new(spec, *inner),
                    bins: *bins,
                };
                let coordinates = Coordinates::Pace(pairs.iter().map(pair).collect());
                let (functions, matrix) = chebyshev(pairs, w, columns);
                return Radial { n_species, n_t: columns.len(), coordinates, functions, matrix };
            }
            FunctionsSpec::Polynomial { a, b, c, w } => {
                let row = |w: &Vec<Vec<f64>>, q: usize| columns.iter().map(|&t| w[t][q]).collect::<Vec<_>>();
                let matrix = w.iter().flat_map(|w| (0..a.len()).flat_map(move |q| row(w, q))).collect();
                (Functions::Polynomial { a: a.clone(), b: b.clone(), c: c.clone() }, matrix)
            }
            FunctionsSpec::Spline { tables } => {
                let mut grids = Vec::new();
                let mut matrix = Vec::new();
                for SplineSpec { x0, x1, values, slopes } in tables {
                    let row = matrix.len() / columns.len().max(1);
                    grids.push(Grid { x0: *x0, x1: *x1, n_nodes: values.len(), row });
                    matrix.extend(values.iter().zip(slopes).flat_map(|(v, g)| [pick(v), pick(g)]).flatten());
                }
                (Functions::Spline { grids }, matrix)
            }
        };
        let unordered = |zi: usize, zj: usize| {
            let (i, j) = (zi.min(zj), zi.max(zj));
            i * n_species - i * (i + 1) / 2 + j
        };
        let by_pair = || (0..n_species * n_species).map(|p| unordered(p / n_species, p % n_species));
        let coordinates = Coordinates::Agnesi {
            transforms: by_pair().map(|u| spec.transforms[u]).collect(),
            envelopes: by_pair().map(|u| spec.envelopes[u]).collect(),
        };
        Radial { n_species, n_t: columns.len(), coordinates, functions, matrix }
    }

    /// Where a table in `r` may begin: past every kink at `rin`, and past distances that hardly ever occur. `None` where there are
    /// other kinks.
    pub fn table_start(&self) -> Option<f64> {
        let Coordinates::Agnesi { transforms, .. } = &self.coordinates else { return None };
        let largest = |f: fn(&TransformSpec) -> f64| transforms.iter().map(f).fold(0.0, f64::max);
        Some(largest(|t| t.rin).max(0.25 * largest(|t| t.req)))
    }

    /// Where the functions of each ordered pair end, Å, if pairs have cutoffs of their own.
    pub fn cutoffs(&self) -> Vec<f64> {
        match (&self.coordinates, &self.functions) {
            (Coordinates::Pace(pairs), _) => pairs.iter().map(|p| p.spec.rcut).collect(),
            (Coordinates::Plain(_), Functions::Spline { grids }) => grids.iter().map(|grid| grid.x1).collect(),
            _ => vec![],
        }
    }

    /// Pacemaker's functions as upstream tabulates them, others as they are: cubic Hermite polynomials in `r` from values and slopes at
    /// `h, 2h …` up to the cutoff, where both are 0.
    pub fn upstream_tables(&self) -> Radial {
        let Coordinates::Pace(pairs) = &self.coordinates else { return self.clone() };
        let (mut grids, mut matrix, mut starts) = (Vec::new(), Vec::new(), Vec::new());
        let mut rows = vec![0.0; 2 * self.n_t];
        for (pair, PacePair { spec, bins, .. }) in pairs.iter().enumerate() {
            let n = table_nodes(spec.rcut, *bins);
            let h = spec.rcut / n as f64;
            grids.push(Grid { x0: h, x1: spec.rcut, n_nodes: n, row: matrix.len() / self.n_t.max(1) });
            starts.push(h);
            for k in 1..n {
                let (f, df) = rows.split_at_mut(self.n_t);
                self.eval(pair, k as f64 * h, f, df);
                matrix.extend_from_slice(&rows);
            }
            matrix.resize(matrix.len() + 2 * self.n_t, 0.0);
        }
        let coordinates = Coordinates::Plain(starts);
        Radial { coordinates, functions: Functions::Spline { grids }, matrix, ..*self }
    }

    /// The number of terms `q` in the sum.
    pub fn n_terms(&self) -> usize {
        match &self.functions {
            Functions::Polynomial { a, .. } => a.len(),
            Functions::Spline { .. } => 4,
        }
    }

    /// `Σ_t weights[z_i · n_t + t] · R_t`: a single function for each ordered pair.
    pub fn fold(&self, weights: &[f64]) -> Radial {
        let rows: Vec<usize> = match &self.functions {
            Functions::Polynomial { a, .. } => (0..self.n_species.pow(2)).map(|p| p * a.len()).collect(),
            Functions::Spline { grids } => grids.iter().map(|g| g.row).collect(),
        };
        let matrix = fold_rows(&self.matrix, self.n_t, self.n_species, &rows, weights);
        Radial { n_t: 1, matrix, ..self.clone() }
    }

    /// `y` and the envelope of ordered pair `pair` at `r`.
    pub fn transform(&self, pair: usize, r: f64) -> (Dual, Dual) {
        match &self.coordinates {
            Coordinates::Agnesi { transforms, envelopes } => {
                let y = transforms[pair].eval(r);
                (y, envelopes[pair].eval(r, y))
            }
            Coordinates::Pace(pairs) => pairs[pair].coordinate.at(r),
            Coordinates::Plain(starts) => {
                let slope = f64::from(u8::from(r >= starts[pair]));
                (Dual { value: r.max(starts[pair]), slope }, Dual { value: 1.0, slope: 0.0 })
            }
        }
    }

    /// Weights `w_q`, envelope included, and their derivatives with respect to `r`; returns the first matrix row.
    pub fn weights(&self, pair: usize, r: f64, w: &mut [f64], dw: &mut [f64]) -> usize {
        let (y, e) = self.transform(pair, r);
        let mut put = |q: usize, p: f64, dp: f64| {
            w[q] = e.value * p;
            dw[q] = e.slope * p + e.value * dp * y.slope;
        };
        match &self.functions {
            Functions::Polynomial { a, b, c } => {
                let (mut p, mut dp, mut p1, mut dp1) = (a[0], 0.0, 0.0, 0.0);
                put(0, p, dp);
                for q in 1..a.len() {
                    // P_2 = A_2 y + B_2 stands alone; from P_3 on the recursion.
                    let (f, c) = if q == 1 { (1.0, 0.0) } else { (p, c[q]) };
                    let g = a[q] * y.value + b[q];
                    let next = g * f + c * p1;
                    let dnext = a[q] * f + if q == 1 { 0.0 } else { g * dp + c * dp1 };
                    (p1, dp1, p, dp) = (p, dp, next, dnext);
                    put(q, p, dp);
                }
                pair * a.len()
            }
            Functions::Spline { grids } => {
                let (row, weights) = grids[pair].weights(y.value);
                for (q, (p, dp)) in weights.into_iter().enumerate() {
                    put(q, p, dp);
                }
                row
            }
        }
    }

    /// All functions at `r`: values into `out[..n_t]`, derivatives into `d_out[..n_t]`. The oracle of the other paths.
    pub fn eval(&self, pair: usize, r: f64, out: &mut [f64], d_out: &mut [f64]) {
        let n = self.n_terms();
        let (mut w, mut dw) = (vec![0.0; n], vec![0.0; n]);
        let first = self.weights(pair, r, &mut w, &mut dw);
        out.fill(0.0);
        d_out.fill(0.0);
        for q in 0..n {
            let row = &self.matrix[(first + q) * self.n_t..][..self.n_t];
            for (t, m) in row.iter().enumerate() {
                out[t] += w[q] * m;
                d_out[t] += dw[q] * m;
            }
        }
    }
}

/// The nodes of upstream's tables of a pair, without the one at 0.
pub fn table_nodes(rcut: f64, bins: f64) -> usize {
    (rcut / bins).floor() as usize
}

/// Functions `Σ_k W[p][t][k] g_k` as sums of Chebyshev polynomials: their recursion, and the rows of each pair.
fn chebyshev(pairs: &[BaseSpec], w: &[Vec<Vec<f64>>], columns: &[usize]) -> (Functions, Vec<f64>) {
    let n = w.iter().flatten().map(Vec::len).max().unwrap_or(0);
    let n_q = pairs.iter().map(|p| base::n_polynomials(p.base, n)).max().unwrap_or(0).max(1);
    let mut matrix = Vec::with_capacity(pairs.len() * n_q * columns.len());
    for (pair, w) in pairs.iter().zip(w) {
        let g = base::chebyshev(pair, n, n_q);
        for q in 0..n_q {
            matrix.extend(columns.iter().map(|&t| w[t].iter().zip(&g).map(|(w, g)| w * g[q]).sum::<f64>()));
        }
    }
    let a = (0..n_q).map(|q| if q < 2 { 1.0 } else { 2.0 }).collect();
    let c = (0..n_q).map(|q| if q < 2 { 0.0 } else { -1.0 }).collect();
    (Functions::Polynomial { a, b: vec![0.0; n_q], c }, matrix)
}

/// Weights and their derivatives for (value, slope) at the left, then at the right end of an interval of width `h`.
#[inline(always)]
fn hermite(u: f64, h: f64) -> [(f64, f64); 4] {
    let v = 1.0 - u;
    [
        ((1.0 + 2.0 * u) * v * v, -6.0 * u * v / h),
        (u * v * v * h, v * (1.0 - 3.0 * u)),
        (u * u * (3.0 - 2.0 * u), 6.0 * u * v / h),
        (-u * u * v * h, u * (3.0 * u - 2.0)),
    ]
}

/// `Σ_t weights[z_i · n_t + t] · matrix[row][t]`, where `z_i` is the centre's species of the pair that the row
/// belongs to; `first_rows` says where each pair begins.
pub(super) fn fold_rows(
    matrix: &[f64],
    n_t: usize,
    n_species: usize,
    first_rows: &[usize],
    weights: &[f64],
) -> Vec<f64> {
    let centre = |row: usize| (first_rows.partition_point(|&first| first <= row) - 1) / n_species;
    let fold = |(row, m): (usize, &[f64])| m.iter().zip(&weights[centre(row) * n_t..]).map(|(m, w)| m * w).sum();
    matrix.chunks(n_t).enumerate().map(fold).collect()
}
