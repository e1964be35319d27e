//! Transform and envelope for a slot of edges, one edge to a lane.
//!
//! The formulas of [`super::radial`] without branches. Exponents are the same for all species pairs in
//! every model that is fitted in practice; where they are not, each lane goes the exact way.

use super::base::Coordinate;
use super::block::Block;
use super::radial::{Coordinates, PacePair, Radial};
use super::spec::{EnvelopeSpec, TransformSpec};
use crate::graph::MAX_CUTOFF;
use crate::simd::{Lanes, MAX_LANES, Real};

/// Transformed distances and envelopes with their derivatives with respect to `r`. Zero envelope where
/// a lane has no edge.
#[derive(Clone, Copy)]
pub struct Distances<V> {
    pub y: V,
    pub dy: V,
    pub e: V,
    pub de: V,
}

impl<V: Lanes> Default for Distances<V> {
    fn default() -> Self {
        Distances { y: V::zero(), dy: V::zero(), e: V::zero(), de: V::zero() }
    }
}

/// The parameters of all ordered species pairs, laid out for `V`.
pub struct Distance<T> {
    n_species: usize,
    kind: Kind<T>,
}

enum Kind<T> {
    /// The same exponents in all pairs.
    Uniform(Uniform<T>),
    /// Pacemaker's, by ordered pair.
    Pace(Vec<Coordinate<T>>),
    /// No transform: distances, but at least these, by ordered pair.
    Plain(Vec<T>),
    /// One lane after another.
    Exact,
}

struct Uniform<T> {
    pin: u32,
    pcut: u32,
    /// `rin`, `1/(req − rin)`, `a`, `b1` of each pair, then what `y` is measured from: see [`Reference`].
    transforms: Vec<[T; 7]>,
    envelope: Envelope,
    /// Up to four numbers of each pair, as the kind of envelope has them.
    envelopes: Vec<[T; 4]>,
}

#[derive(Clone, Copy, PartialEq)]
enum Envelope {
    /// `y₀ − x1`, `x2 − y₀`, `s`.
    Poly2sx { p1: u32, p2: u32 },
    /// `1/rcut`, `rcut`.
    Poly1sr { p: u32 },
    /// `rcut`, `c^(−p)/rcut`, `p c^(−p−1)/r0` with `c = rcut/r0`.
    Ace1Poly1sr { p: u32 },
}

/// The bound `y₀` that `y` approaches as `r` grows, where envelopes vanish, and the `x₀` it belongs to.
///
/// `y = y₀ + b1 (x − x₀)` keeps digits of the difference that `b0 + b1 x` loses, which counts in single precision.
struct Reference {
    x: f64,
    y: f64,
}

impl Reference {
    fn new(t: &TransformSpec, envelope: &EnvelopeSpec) -> Reference {
        let (x1, x2) = match *envelope {
            EnvelopeSpec::Poly2sx { x1, x2, .. } => (x1, x2),
            _ => (-1.0, 1.0),
        };
        let y = if t.b1 < 0.0 { x2 } else { x1 };
        Reference { x: (y - t.b0) / t.b1, y }
    }
}

impl<T: Real> Distance<T> {
    pub fn new(radial: &Radial) -> Distance<T> {
        let kind = match &radial.coordinates {
            Coordinates::Agnesi { transforms, envelopes } => {
                Self::uniform(transforms, envelopes).map_or(Kind::Exact, Kind::Uniform)
            }
            Coordinates::Pace(pairs) => {
                let inner = |p: &PacePair| Coordinate::new(&p.spec, p.inner);
                Kind::Pace(pairs.iter().map(inner).collect())
            }
            Coordinates::Plain(starts) => Kind::Plain(starts.iter().map(|&r| T::of(r)).collect()),
        };
        Distance { n_species: radial.n_species, kind }
    }

    /// `None` where exponents differ between pairs, or are too high.
    fn uniform(transforms: &[TransformSpec], envelopes: &[EnvelopeSpec]) -> Option<Uniform<T>> {
        let TransformSpec { pin, pcut, .. } = *transforms.first()?;
        let (envelope, _) = envelope_numbers(envelopes.first()?);
        let same = transforms.iter().all(|t| (t.pin, t.pcut) == (pin, pcut))
            && envelopes.iter().all(|e| envelope_numbers(e).0 == envelope);
        // Without branches the slope has powers that may overflow where the transform does not.
        let (p, k) = (pin as i32, (pin - pcut) as i32);
        let highest = |t: &TransformSpec| p as f64 * (MAX_CUTOFF / (t.req - t.rin)).powi(p - 1 + k);
        let finite = transforms.iter().all(|t| T::of(highest(t)).to_f64().is_finite());
        let by_pair = || transforms.iter().zip(envelopes);
        (same && finite).then(|| Uniform {
            pin,
            pcut,
            transforms: by_pair()
                .map(|(t, e)| {
                    let Reference { x, y } = Reference::new(t, e);
                    [t.rin, 1.0 / (t.req - t.rin), t.a, t.b1, 1.0 - x, t.a * x, y].map(T::of)
                })
                .collect(),
            envelope,
            envelopes: by_pair()
                .map(|(t, e)| match (envelope_numbers(e), Reference::new(t, e).y) {
                    ((Envelope::Poly2sx { .. }, [x1, x2, s, _]), y) => [y - x1, x2 - y, s, 0.0].map(T::of),
                    ((_, numbers), _) => numbers.map(T::of),
                })
                .collect(),
        })
    }

    /// All lanes of slot `s` into `at`; derivatives only where `GRAD`.
    #[inline(always)]
    pub fn eval<V: Lanes<Real = T>, const GRAD: bool>(
        &self,
        exact: &Radial,
        block: &Block<V>,
        s: usize,
        at: &mut Distances<V>,
    ) {
        let uniform = match &self.kind {
            Kind::Uniform(uniform) => uniform,
            Kind::Pace(pairs) if block.common_pair(s, self.n_species).is_some() => {
                let pair = block.common_pair(s, self.n_species).unwrap_or_default();
                let (y, dy, e, de) = pairs[pair].eval(block.r[s], block.inv_r[s]);
                let mask = block.mask[s];
                *at = Distances { y, dy, e: e * mask, de: de * mask };
                return;
            }
            Kind::Plain(starts) => {
                let (one, zero, pairs) = (V::splat(T::of(1.0)), V::zero(), block.pairs(s, self.n_species));
                let (r, start) = (block.r[s], V::from_fn(|lane| starts[pairs[lane]]));
                *at = Distances { y: r.max(start), dy: r.select_lt(start, zero, one), e: block.mask[s], de: zero };
                return;
            }
            _ => {
                *at = exact_lanes(exact, block, s, &block.pairs(s, self.n_species));
                return;
            }
        };
        let (transform, envelope) = match block.common_pair(s, self.n_species) {
            Some(pair) => (splats(&uniform.transforms[pair]), splats(&uniform.envelopes[pair])),
            None => {
                let pairs = block.pairs(s, self.n_species);
                (by_lane(&uniform.transforms, &pairs), by_lane(&uniform.envelopes, &pairs))
            }
        };
        let (r, inv_r) = (block.r[s], block.inv_r[s]);
        let (difference, y, dy) = uniform.transform(r, transform);
        let (e, de) = uniform.envelope(r, inv_r, difference, dy, envelope);
        let mask = block.mask[s];
        (at.y, at.e) = (y, e * mask);
        if GRAD {
            (at.dy, at.de) = (dy, de * mask);
        }
    }
}

impl<T: Real> Uniform<T> {
    /// `y − y₀`, `y` and its derivative.
    #[inline(always)]
    fn transform<V: Lanes<Real = T>>(&self, r: V, [rin, ds, a, b1, rest, ax, y0]: [V; 7]) -> (V, V, V) {
        let (zero, one) = (V::zero(), V::splat(T::of(1.0)));
        let s = (r - rin) * ds;
        let inside = s.max(zero);
        // x = 1/(1 + a s^p/(1 + s^k)) over one common denominator.
        let (p, k) = (self.pin, self.pin - self.pcut);
        let (low, sk) = (power(inside, p - 1), power(inside, k));
        let (sp, top) = (low * inside, one + sk);
        let inv = one.div(a.mul_add(sp, top));
        let difference = b1 * rest.mul_add(top, -(ax * sp)) * inv;
        let y = y0 + difference;
        let slope = top * V::splat(T::of(p as f64)) - sk * V::splat(T::of(k as f64));
        let dy = -(b1 * a * ds) * (low * slope) * (inv * inv);
        // Constant up to rin, and where the transform is clamped.
        let dy = zero.select_lt(s, dy, zero);
        let dy = one.select_lt(y * y, zero, dy);
        (difference, -(-(y.max(-one))).max(-one), dy)
    }

    #[inline(always)]
    fn envelope<V: Lanes<Real = T>>(&self, r: V, inv_r: V, difference: V, dy: V, [c0, c1, c2, _]: [V; 4]) -> (V, V) {
        let (zero, one) = (V::zero(), V::splat(T::of(1.0)));
        let number = |x: u32| V::splat(T::of(x as f64));
        match self.envelope {
            Envelope::Poly2sx { p1, p2 } => {
                let (a, b) = ((c0 + difference).max(zero), (c1 - difference).max(zero));
                let (am, bm) = (power(a, p1 - 1), power(b, p2 - 1));
                let (scaled, ab) = (c2 * (am * bm), a * b);
                let slope = scaled * (number(p1) * b - number(p2) * a) * dy;
                (scaled * ab, zero.select_lt(ab, slope, zero))
            }
            // With u = rcut/r both have the factor (u − 1)², which differences of powers would lose close to the cutoff.
            Envelope::Poly1sr { p } => {
                let (gap, u) = ((c1 - r).max(zero), inv_r * c1);
                let (mut sum, mut q) = (zero, one);
                for _ in 0..p {
                    (sum, q) = (sum + q, q * u);
                }
                // u^p − 1 = (u − 1) Σ_k u^k
                let (rest, above) = (gap * c0, gap * inv_r * sum);
                let slope = -(c0 * (number(p) * (q * u)).mul_add(rest, above));
                (above * rest, slope)
            }
            Envelope::Ace1Poly1sr { p } => {
                let (gap, u) = ((c0 - r).max(zero), inv_r * c0);
                let (mut sum, mut sums, mut q) = (zero, zero, one);
                for _ in 0..p {
                    (sum, q) = (sum + q, q * u);
                    sums = sums + sum;
                }
                // u^p − 1 − p (1 − 1/u) = (u − 1)²/u Σ_k (p − k) u^k
                let v = gap * inv_r;
                (c1 * (v * gap) * sums, -(c2 * v * (sum + q)))
            }
        }
    }
}

fn envelope_numbers(spec: &EnvelopeSpec) -> (Envelope, [f64; 4]) {
    match *spec {
        EnvelopeSpec::Poly2sx { x1, x2, p1, p2, s } => (Envelope::Poly2sx { p1, p2 }, [x1, x2, s, 0.0]),
        EnvelopeSpec::Poly1sr { rcut, p } => (Envelope::Poly1sr { p }, [1.0 / rcut, rcut, 0.0, 0.0]),
        EnvelopeSpec::Ace1Poly1sr { rcut, r0, p } => {
            let (c, n) = (rcut / r0, p as i32);
            (Envelope::Ace1Poly1sr { p }, [rcut, c.powi(-n) / rcut, n as f64 * c.powi(-n - 1) / r0, 0.0])
        }
    }
}

/// The same parameters in all lanes.
#[inline(always)]
fn splats<V: Lanes, const K: usize>(parameters: &[V::Real; K]) -> [V; K] {
    let mut out = [V::zero(); K];
    for k in 0..K {
        out[k] = V::splat(parameters[k]);
    }
    out
}

/// The parameters of the pair in each lane.
#[inline(always)]
fn by_lane<V: Lanes, const K: usize>(parameters: &[[V::Real; K]], pairs: &[usize; MAX_LANES]) -> [V; K] {
    let mut out = [V::zero(); K];
    for k in 0..K {
        let mut lanes = [V::Real::default(); MAX_LANES];
        for lane in 0..V::N {
            lanes[lane] = parameters[pairs[lane]][k];
        }
        out[k] = V::load(&lanes);
    }
    out
}

#[cold]
#[inline(never)]
fn exact_lanes<V: Lanes>(exact: &Radial, block: &Block<V>, s: usize, pairs: &[usize; MAX_LANES]) -> Distances<V> {
    let (r, mask) = (block.r[s].to_array(), block.mask[s].to_array());
    let mut lanes = [[V::Real::default(); MAX_LANES]; 4];
    for lane in 0..V::N {
        let (y, e) = exact.transform(pairs[lane], r[lane].to_f64());
        let m = mask[lane].to_f64();
        for (k, x) in [y.value, y.slope, e.value * m, e.slope * m].into_iter().enumerate() {
            lanes[k][lane] = V::Real::of(x);
        }
    }
    let [y, dy, e, de] = lanes;
    Distances { y: V::load(&y), dy: V::load(&dy), e: V::load(&e), de: V::load(&de) }
}

/// `x^n`.
#[inline(always)]
fn power<V: Lanes>(x: V, n: u32) -> V {
    match n {
        0 => V::splat(V::Real::of(1.0)),
        1 => x,
        2 => x * x,
        _ => (2..n).fold(x * x, |power, _| power * x),
    }
}
