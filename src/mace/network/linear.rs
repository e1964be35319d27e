//! Tensors and linear maps out of the spec, checked against their irreps.

use super::{Map, MapBlock, Shape};
use crate::mace::spec::{LinearConfig, LinearPath, MaceSpec, TensorProductConfig};
use crate::ops::Irreps;

type Result<T> = std::result::Result<T, String>;

/// Factors in files agree with the formula to this.
const TOLERANCE: f64 = 1e-6;

impl MaceSpec {
    /// All numbers of a tensor of this shape.
    pub(super) fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f64>> {
        let t = self.tensors.get(name).ok_or_else(|| format!("tensor `{name}` is missing"))?;
        if t.shape != shape {
            return Err(format!("tensor `{name}` has the shape {:?} instead of {shape:?}", t.shape));
        }
        if !t.is_finite() {
            return Err(format!("tensor `{name}` has a number that is not finite"));
        }
        Ok(t.to_dense())
    }

    pub(super) fn scalar(&self, name: &str) -> Result<f64> {
        let t = self.tensors.get(name).ok_or_else(|| format!("tensor `{name}` is missing"))?;
        // A scalar, or a vector of one.
        match t.shape.iter().all(|&d| d == 1) {
            true => Ok(self.values(name, &t.shape)?[0]),
            false => Err(format!("tensor `{name}` has the shape {:?} instead of a single number", t.shape)),
        }
    }
}

impl Shape {
    /// Irreps as `k` channels: each block has a multiple of `k` copies.
    pub(super) fn new(irreps: &Irreps, k: usize, what: &str) -> Result<Shape> {
        let mut ls = Vec::new();
        for b in irreps.blocks() {
            let (l, natural) = (b.irrep.l, crate::ops::Irrep::natural(b.irrep.l));
            if b.irrep != natural {
                return Err(format!(
                    "{what} `{irreps}`: irreps of the other parity than the harmonics are not covered"
                ));
            }
            if k == 0 || !b.mul.is_multiple_of(k) || b.mul == 0 {
                return Err(format!("{what} `{irreps}`: {} copies of l = {l} are not {k} channels", b.mul));
            }
            ls.extend(std::iter::repeat_n(l, b.mul / k));
        }
        match ls.len() {
            0..=256 => Ok(Shape { k, ls }),
            n => Err(format!("{what} `{irreps}`: {n} blocks")),
        }
    }
}

/// Blocks of weights with their places among the channels.
struct Weights<'a> {
    spec: &'a MaceSpec,
    name: &'a str,
    from: Shape,
    to: Shape,
    irreps: [&'a Irreps; 2],
    /// `None` for maps without species.
    n_species: Option<usize>,
}

impl Weights<'_> {
    /// The maps of all species; the file's paths are checked with `path(k, a, b, alpha, shape)`.
    fn maps(&self, n_paths: usize, path: impl Fn(usize, usize, usize, f64, &[usize]) -> bool) -> Result<Vec<Map>> {
        let [input, output] = self.irreps.map(Irreps::blocks);
        let (nz, name) = (self.n_species.unwrap_or(1), self.name);
        let mut pairs = Vec::new();
        for (a, x) in input.iter().enumerate() {
            for (b, y) in output.iter().enumerate().filter(|(_, y)| y.irrep == x.irrep) {
                pairs.push((a, b, x.mul, y.mul, x.irrep.l));
            }
        }
        let fan = |b: usize| -> usize { input.iter().filter(|x| x.irrep == output[b].irrep).map(|x| x.mul).sum() };
        let n: usize = pairs.iter().map(|p| p.2 * p.3 * nz).sum();
        let weights = match n {
            0 => Vec::new(),
            n => self.spec.values(&format!("{name}.weight"), &[n])?,
        };
        let empty = Map { from: self.from.clone(), to: self.to.clone(), blocks: Vec::new() };
        let mut maps = vec![empty; nz];
        let mut at = 0;
        if n_paths != pairs.len() {
            return Err(format!("{name}: {n_paths} paths instead of {}", pairs.len()));
        }
        let first = |blocks: &[crate::ops::Block], k: usize, width: usize| -> usize {
            blocks[..k].iter().map(|b| b.mul / width).sum()
        };
        for (k, (a, b, mul_a, mul_b, l)) in pairs.into_iter().enumerate() {
            let scale = 1.0 / ((fan(b) * nz) as f64).sqrt();
            let (alpha, shape) = match self.n_species {
                // As a product with one hot species a path has its dimension, which its 3j symbol takes back.
                Some(nz) => (scale * ((2 * l + 1) as f64).sqrt(), vec![mul_a, nz, mul_b]),
                None => (scale, vec![mul_a, mul_b]),
            };
            if !path(k, a, b, alpha, &shape) {
                return Err(format!("{name}: path {k} is not that between the blocks {a} and {b} of its irreps"));
            }
            let (ka, kb) = (self.from.k, self.to.k);
            let (a0, b0) = (first(input, a, ka), first(output, b, kb));
            for (z, map) in maps.iter_mut().enumerate() {
                for (i, j) in (0..mul_a / ka).flat_map(|i| (0..mul_b / kb).map(move |j| (i, j))) {
                    let entry = |u: usize, v: usize| scale * weights[at + ((i * ka + u) * nz + z) * mul_b + j * kb + v];
                    let w = (0..ka * kb).map(|uv| entry(uv / kb, uv % kb)).collect();
                    map.blocks.push(MapBlock { from: a0 + i, to: b0 + j, w });
                }
            }
            at += mul_a * mul_b * nz;
        }
        Ok(maps)
    }
}

/// A linear map with the weights `name.weight`, between channels of these widths.
pub fn linear(spec: &MaceSpec, config: &LinearConfig, name: &str, [from, to]: [usize; 2]) -> Result<Map> {
    let irreps = [&config.irreps_in, &config.irreps_out];
    let from = Shape::new(irreps[0], from, name)?;
    let to = Shape::new(irreps[1], to, name)?;
    // A bias has a path from nowhere.
    let paths: Vec<&LinearPath> = config.paths.iter().filter(|p| p.input != -1).collect();
    let check = |k: usize, a: usize, b: usize, alpha: f64, shape: &[usize]| {
        let p = paths[k];
        (p.input, p.output) == (a as i64, b as i64) && same(p.alpha, alpha) && p.shape == shape
    };
    let weights = Weights { spec, name, from, to, irreps, n_species: None };
    Ok(weights.maps(paths.len(), check)?.remove(0))
}

/// A linear map for each species, stored as a product with one hot species.
pub fn indexed_linear(
    spec: &MaceSpec,
    config: &TensorProductConfig,
    name: &str,
    [from, to]: [usize; 2],
    n_species: usize,
) -> Result<Vec<Map>> {
    if config.irreps_in2.to_string() != format!("{n_species}x0e") {
        return Err(format!("{name}: `{}` instead of {n_species} species", config.irreps_in2));
    }
    let irreps = [&config.irreps_in1, &config.irreps_out];
    let from = Shape::new(irreps[0], from, name)?;
    let to = Shape::new(irreps[1], to, name)?;
    let check = |k: usize, a: usize, b: usize, alpha: f64, shape: &[usize]| {
        let p = &config.paths[k];
        (p.in1, p.in2, p.out) == (a as i64, 0, b as i64) && p.mode == "uvw" && same(p.alpha, alpha) && p.shape == shape
    };
    let weights = Weights { spec, name, from, to, irreps, n_species: Some(n_species) };
    weights.maps(config.paths.len(), check)
}

fn same(a: f64, b: f64) -> bool {
    (a - b).abs() <= TOLERANCE * b.abs()
}

impl Map {
    /// `self` after `first`.
    pub(super) fn after(&self, first: &Map) -> Map {
        debug_assert_eq!(first.to, self.from);
        let mut blocks: Vec<MapBlock> = Vec::new();
        let n = self.to.k;
        for f in &first.blocks {
            for s in self.blocks.iter().filter(|s| s.from == f.to) {
                let mut w = vec![0.0; first.from.k * n];
                for (row, out) in f.w.chunks(self.from.k).zip(w.chunks_mut(n)) {
                    for (x, second) in row.iter().zip(s.w.chunks(n)) {
                        out.iter_mut().zip(second).for_each(|(o, y)| *o += x * y);
                    }
                }
                match blocks.iter_mut().find(|b| (b.from, b.to) == (f.from, s.to)) {
                    Some(b) => b.w.iter_mut().zip(&w).for_each(|(b, w)| *b += w),
                    None => blocks.push(MapBlock { from: f.from, to: s.to, w }),
                }
            }
        }
        Map { from: first.from.clone(), to: self.to.clone(), blocks }
    }

    pub(super) fn scaled(mut self, k: f64) -> Map {
        self.blocks.iter_mut().flat_map(|b| &mut b.w).for_each(|w| *w *= k);
        self
    }
}
