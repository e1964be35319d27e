//! From a recipe to a model: the bases of ACEpotentials.jl's `ace1_model` and `ace_model`, and freer ones.
//!
//! | file | makes |
//! | --- | --- |
//! | `recipe` | the hyper-parameters, read from TOML or JSON |
//! | `levels` | the radial functions `(n, l)` and the classes of products of them, in upstream's order |
//! | `invariants` | couplings: the rows of `C` of one class |
//! | `manybody` | `A`, `AA`, `C` of all classes |
//! | `radial` | transforms, polynomials, splines, weights |
//! | [`prior`] | how rough each basis function is |
//!
//! ```
//! let recipe = acerust::build::Recipe::from_toml("elements = ['Si']\norder = 3\ndegree = 12")?;
//! let model = acerust::build::model(&recipe)?;
//! assert_eq!(model.length_basis(), 223);
//! # Ok::<(), acerust::Error>(())
//! ```
mod invariants;
mod lengths;
mod levels;
mod manybody;
pub mod prior;
mod radial;
mod recipe;

pub use prior::Prior;
pub use recipe::{ByOrder, ByPair, Harmonics, PairEnvelope, Preset, Recipe, WeightsChoice};

use crate::model::spec::*;
use crate::model::{MAX_CUTOFF, Model};
use crate::{Error, Result, element};
use levels::Limits;
use manybody::ManyBody;
use radial::{Polynomials, Weights};
use std::path::Path;

/// The largest order of a product.
pub const MAX_ORDER: usize = 6;
const MAX_DEGREE: f64 = 1000.0;
/// Largest exponent of the weight of polynomials.
const MAX_EXPONENT: u32 = 64;
const MAX_NODES: usize = 10_000;
/// Most numbers in the radial functions of a part.
const MAX_RADIAL: usize = 1 << 25;

/// The model of a recipe; its linear parameters are zero.
///
/// # Errors
/// [`Error::Recipe`] that names the key.
pub fn model(recipe: &Recipe) -> Result<Model> {
    Builder::new(recipe)?.model()
}

/// A model with its radial polynomials replaced by natural cubic splines through so many nodes; splines stay as they are.
///
/// # Errors
/// [`Error::Argument`] for fewer than 2 nodes, more than 10 000, or more than the functions leave room for, and for functions of another kind.
pub fn splinify(model: &Model, nodes: usize) -> Result<Model> {
    let mut spec = model.spec().clone();
    for (k, part) in spec.parts.iter_mut().enumerate() {
        let radial = match part {
            PartSpec::Pair(pair) => &mut pair.radial,
            PartSpec::Ace(ace) => &mut ace.radial,
            _ => continue,
        };
        match &mut radial.functions {
            FunctionsSpec::Spline { .. } => {}
            FunctionsSpec::Pace { .. } => {
                return Err(Error::Argument(format!(
                    "parts[{k}]: only polynomials become splines; these functions are pacemaker's"
                )));
            }
            FunctionsSpec::Polynomial { a, b, c, w } => {
                let n_t = w.iter().map(Vec::len).sum();
                if !(2..=MAX_NODES).contains(&nodes) || nodes.saturating_mul(n_t) > MAX_RADIAL {
                    let message = format!("{nodes} nodes are not in 2 … {MAX_NODES}, or too many for {n_t} functions");
                    return Err(Error::Argument(message));
                }
                let polynomials = Polynomials { a: std::mem::take(a), b: std::mem::take(b), c: std::mem::take(c) };
                radial.functions = radial::functions(polynomials, std::mem::take(w), Some(nodes));
            }
        }
    }
    Model::new(spec)
}

/// A recipe with its defaults filled in.
struct Builder<'a> {
    recipe: &'a Recipe,
    species: Vec<u8>,
    /// `[rin, r0, rcut]` by pair of species.
    distances: Vec<Vec<[f64; 3]>>,
    degrees: Vec<f64>,
}

impl<'a> Builder<'a> {
    fn new(recipe: &'a Recipe) -> Result<Builder<'a>> {
        let species = recipe.species()?;
        if recipe.order > MAX_ORDER {
            return fail(format!("order: {} is not in 0 … {MAX_ORDER}", recipe.order));
        }
        let degrees = match &recipe.degree {
            Some(degree) => degree.expand("degree", recipe.order.max(1))?,
            None if recipe.order == 0 => vec![0.0],
            None => return fail("degree is missing".into()),
        };
        if let Some(d) = degrees.iter().find(|d| !(0.0..=MAX_DEGREE).contains(*d)) {
            return fail(format!("degree: {d} is not in 0 … {MAX_DEGREE}"));
        }
        let mut builder = Builder { recipe, species, distances: vec![], degrees };
        builder.distances = builder.distances()?;
        Ok(builder)
    }

    fn is_ace1(&self) -> bool {
        self.recipe.preset == Preset::Ace1
    }

    fn distances(&self) -> Result<Vec<Vec<[f64; 3]>>> {
        let n = self.species.len();
        let table = |name, of: &Option<ByPair>| match of {
            Some(by_pair) => by_pair.expand(name, &self.species),
            None => Ok(vec![vec![None; n]; n]),
        };
        let (rin, r0) = (table("rin", &self.recipe.rin)?, table("r0", &self.recipe.r0)?);
        let rcut = table("rcut", &self.recipe.rcut)?;
        let mut distances = vec![vec![[0.0; 3]; n]; n];
        for i in 0..n {
            for j in 0..n {
                let names = || format!("{}-{}", element::name(self.species[i]), element::name(self.species[j]));
                let length = |z: u8| {
                    lengths::bond_length(z).ok_or_else(|| {
                        Error::Recipe(format!("r0: {} has no default; give one for {}", element::name(z), names()))
                    })
                };
                let r0 = match r0[i][j] {
                    Some(r0) => r0,
                    None => (length(self.species[i])? + length(self.species[j])?) / 2.0,
                };
                let (rin, rcut) = (rin[i][j].unwrap_or(0.0), rcut[i][j].unwrap_or(2.5 * r0));
                if !(0.0 <= rin && rin < r0 && r0 < rcut && rcut <= MAX_CUTOFF) {
                    return fail(format!(
                        "{}: 0 ≤ rin < r0 < rcut ≤ {MAX_CUTOFF} Å does not hold for rin {rin}, r0 {r0}, rcut {rcut}",
                        names()
                    ));
                }
                distances[i][j] = [rin, r0, rcut];
            }
        }
        if !self.recipe.variable_cutoffs.unwrap_or(!self.is_ace1()) {
            let all = rcut_of(&distances);
            distances.iter_mut().flatten().for_each(|d| d[2] = all);
        }
        Ok(distances)
    }

    fn model(&self) -> Result<Model> {
        let mut parts = vec![PartSpec::OneBody(OneBodySpec { e0: self.e0()? })];
        parts.extend(self.core()?.map(PartSpec::Zbl));
        let n_fixed = parts.len();
        parts.extend(self.pair()?.map(PartSpec::Pair));
        parts.extend(self.ace()?.map(PartSpec::Ace));
        if parts.len() == n_fixed {
            return fail("order and pair_degree are 0: there is nothing to fit".into());
        }
        let spec = ModelSpec {
            format: FORMAT.into(),
            name: self.recipe.name.clone().unwrap_or_else(|| self.recipe.elements.concat()),
            source: format!("acerust {}", env!("CARGO_PKG_VERSION")),
            species: self.species.clone(),
            parts,
        };
        Model::new(spec).map_err(|e| Error::Recipe(e.to_string()))
    }

    fn e0(&self) -> Result<Vec<f64>> {
        let e0 = &self.recipe.e0;
        if let Some((symbol, _)) = e0.iter().find(|(symbol, _)| !self.recipe.elements.contains(symbol)) {
            return fail(format!("E0: {symbol} is none of the elements"));
        }
        Ok(self.recipe.elements.iter().map(|symbol| e0.get(symbol).copied().unwrap_or(0.0)).collect())
    }

    fn core(&self) -> Result<Option<ZblSpec>> {
        let Some(core) = &self.recipe.core else { return Ok(None) };
        let (cutoffs, n) = (core.expand("core", &self.species)?, self.species.len());
        let pair = |(i, j): (usize, usize)| match cutoffs[i][j] {
            Some(rcut) if rcut > 0.0 && rcut <= MAX_CUTOFF => Ok([rcut, rcut / 2.0]),
            found => {
                let names = format!("{}-{}", element::name(self.species[i]), element::name(self.species[j]));
                fail(match found {
                    Some(rcut) => format!("core: {rcut} Å of {names} is not above 0 and at most {MAX_CUTOFF}"),
                    None => format!("core: {names} has none, and there is no default"),
                })
            }
        };
        let pairs = (0..n).flat_map(|i| (i..n).map(move |j| (i, j))).map(pair).collect::<Result<_>>()?;
        Ok(Some(ZblSpec { pairs }))
    }

    fn pair(&self) -> Result<Option<PairSpec>> {
        let recipe = self.recipe;
        let degree = recipe.pair_degree.unwrap_or_else(|| self.degrees.iter().fold(0.0, |m, &d| d.max(m)));
        if !(0.0..=MAX_DEGREE).contains(&degree) {
            return fail(format!("pair_degree: {degree} is not in 0 … {MAX_DEGREE}"));
        }
        let degree = degree.ceil() as usize;
        if degree == 0 {
            return Ok(None);
        }
        let n_species = self.species.len();
        let (n_t, n_q) = match self.is_ace1() {
            true => (n_species * degree, degree),
            false => (degree, (1.5 * degree as f64).ceil() as usize),
        };
        let weights = recipe.pair_weights.as_ref().unwrap_or(&WeightsChoice::OneHot);
        let weights = self.weights(("pair_weights", weights), 1..=n_t as u32, n_q, 1)?;
        let exponents = exponents("pair_polynomials", recipe.pair_polynomials.unwrap_or([0, 0]))?;
        let nodes = self.nodes("pair_splines", recipe.pair_splines.unwrap_or(100), n_t)?;
        let default = if self.is_ace1() { PairEnvelope::Ace1(2) } else { PairEnvelope::Poly1sr(1) };
        let envelope = |[_, r0, rcut]: [f64; 3]| match recipe.pair_envelope.unwrap_or(default) {
            PairEnvelope::Ace1(p) => EnvelopeSpec::Ace1Poly1sr { rcut, r0, p },
            PairEnvelope::Poly1sr(p) => EnvelopeSpec::Poly1sr { rcut, p },
        };
        let powers = recipe.pair_transform.unwrap_or(if self.is_ace1() { [3, 1] } else { [4, 1] });
        Ok(Some(PairSpec {
            rcut: rcut_of(&self.distances),
            radial: RadialSpec {
                transforms: self.by_pair(|d| radial::transform(d, powers)),
                envelopes: self.by_pair(envelope),
                functions: radial::functions(Polynomials::new(n_q, exponents), weights, nodes),
                spec: vec![],
            },
            weights: vec![vec![0.0; n_t]; n_species],
        }))
    }

    fn ace(&self) -> Result<Option<AceSpec>> {
        let recipe = self.recipe;
        if recipe.order == 0 {
            return Ok(None);
        }
        let limits = self.limits()?;
        let ManyBody { spec, lmax, a, aa, c } = ManyBody::new(&limits)?;
        let n = || spec.iter().map(|&[n, _]| n);
        let max_n = n().max().unwrap_or(0) as usize;
        let default = if self.is_ace1() { max_n } else { (1.5 * max_n as f64).ceil() as usize };
        let n_q = recipe.n_polynomials.unwrap_or(default);
        let default = if self.is_ace1() { WeightsChoice::OneHot } else { WeightsChoice::Glorot };
        let weights = recipe.weights.as_ref().unwrap_or(&default);
        let weights = self.weights(("weights", weights), n(), n_q, 0)?;
        let default = if self.is_ace1() { [4, 4] } else { [0, 0] };
        let exponents = exponents("polynomials", recipe.polynomials.unwrap_or(default))?;
        let nodes =
            self.nodes("splines", recipe.splines.unwrap_or(if self.is_ace1() { 100 } else { 0 }), spec.len())?;
        let [p1, p2] = recipe.envelope.unwrap_or([2, 2]);
        let powers = recipe.transform.unwrap_or(if self.is_ace1() { [4, 2] } else { [2, 2] });
        let harmonics = match recipe.harmonics {
            Some(harmonics) => harmonics,
            None if self.is_ace1() => Harmonics::Spherical,
            None => Harmonics::Solid,
        };
        let kind = match harmonics {
            Harmonics::Solid => HarmonicsKind::Solid,
            Harmonics::Spherical => HarmonicsKind::Spherical,
        };
        Ok(Some(AceSpec {
            rcut: rcut_of(&self.distances),
            radial: RadialSpec {
                transforms: self.by_pair(|d| radial::transform(d, powers)),
                envelopes: self.by_pair(|_| EnvelopeSpec::Poly2sx { x1: -1.0, x2: 1.0, p1, p2, s: 1.0 }),
                functions: radial::functions(Polynomials::new(n_q, exponents), weights, nodes),
                spec,
            },
            angular: AngularSpec { kind, lmax },
            a,
            neighbours: None,
            embedding: None,
            aa,
            weights: vec![vec![0.0; c.shape[0]]; self.species.len()],
            c,
        }))
    }

    fn limits(&self) -> Result<Limits> {
        let wl = self.recipe.wl.unwrap_or(1.5);
        if !(wl > 0.0 && wl <= MAX_DEGREE) {
            return fail(format!("wL: {wl} is not above 0 and at most {MAX_DEGREE}"));
        }
        let none = if self.is_ace1() { u32::MAX } else { 30 };
        let max_l = self.recipe.maxl.clone().unwrap_or(ByOrder::All(none)).expand("maxl", self.recipe.order)?;
        Ok(Limits {
            wn: if self.is_ace1() { self.species.len() as f64 } else { 1.0 },
            wl: 1.0 / wl,
            degrees: self.degrees.clone(),
            max_l,
            max_n: self.recipe.maxn.unwrap_or(if self.is_ace1() { u32::MAX } else { 50 }),
        })
    }

    /// `seed` tells the parts apart.
    fn weights(
        &self,
        (key, choice): (&str, &WeightsChoice),
        n: impl Iterator<Item = u32> + Clone,
        n_q: usize,
        seed: u64,
    ) -> Result<Weights> {
        let (n_species, n_t) = (self.species.len(), n.clone().count());
        if n_q == 0 {
            return fail("n_polynomials: there is at least one".into());
        }
        if n_t.saturating_mul(n_q).saturating_mul(n_species * n_species) > MAX_RADIAL {
            return fail(format!("{key}: {n_t} functions of {n_q} polynomials by pair of species are too many"));
        }
        match choice {
            WeightsChoice::OneHot => {
                let needed = n.clone().map(|n| (n as usize - 1) / n_species + 1).max().unwrap_or(0);
                match needed > n_q {
                    true => fail(format!("n_polynomials: {n_q} are fewer than the {needed} of one-hot weights")),
                    false => Ok(radial::one_hot(n_species, n, n_q)),
                }
            }
            WeightsChoice::Glorot => Ok(radial::glorot(n_species, n_t, n_q, self.recipe.seed.wrapping_add(seed))),
            WeightsChoice::Given(weights) => {
                let shape_is_right = weights.len() == n_species * n_species
                    && weights.iter().all(|w| w.len() == n_t && w.iter().all(|row| row.len() == n_q));
                match shape_is_right {
                    true => Ok(weights.clone()),
                    false => fail(format!("{key}: expected the shape ({}, {n_t}, {n_q})", n_species * n_species)),
                }
            }
        }
    }

    fn nodes(&self, key: &str, nodes: usize, n_t: usize) -> Result<Option<usize>> {
        let numbers = nodes.saturating_mul(n_t).saturating_mul(self.species.len().pow(2));
        match nodes {
            0 => Ok(None),
            2..=MAX_NODES if numbers <= MAX_RADIAL => Ok(Some(nodes)),
            _ => fail(format!("{key}: {nodes} nodes are not in 2 … {MAX_NODES}, or too many for {n_t} functions")),
        }
    }

    /// One for each unordered pair of species.
    fn by_pair<T>(&self, f: impl Fn([f64; 3]) -> T) -> Vec<T> {
        let n = self.species.len();
        (0..n).flat_map(|i| (i..n).map(move |j| (i, j))).map(|(i, j)| f(self.distances[i][j])).collect()
    }
}

fn exponents(key: &str, exponents: [u32; 2]) -> Result<[u32; 2]> {
    match exponents.iter().find(|&&e| e > MAX_EXPONENT) {
        Some(e) => fail(format!("{key}: {e} is not in 0 … {MAX_EXPONENT}")),
        None => Ok(exponents),
    }
}

fn rcut_of(distances: &[Vec<[f64; 3]>]) -> f64 {
    distances.iter().flatten().fold(0.0, |m: f64, d| m.max(d[2]))
}

fn fail<T>(message: String) -> Result<T> {
    Err(Error::Recipe(message))
}

/// A text file of limited length.
pub(crate) fn read_text(path: &Path, max_bytes: u64) -> Result<String> {
    use std::io::Read;
    let io = |source| Error::Io { path: path.to_owned(), source };
    let mut text = String::new();
    std::fs::File::open(path).and_then(|f| f.take(max_bytes + 1).read_to_string(&mut text)).map_err(io)?;
    match text.len() as u64 > max_bytes {
        true => Err(Error::Recipe(format!("{}: longer than {} MiB", path.display(), max_bytes >> 20))),
        false => Ok(text),
    }
}
