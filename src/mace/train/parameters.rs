//! Parameters as files have them, and as operations take them.

use crate::mace::spec::{MaceSpec, Values};
use crate::ops::linear::Linear;
use crate::{Error, Result};
use std::ops::Range;

/// A tensor that is trained.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Parameter {
    /// As the training program calls it.
    pub name: String,
    /// As the training program has it; row-major.
    pub shape: Vec<usize>,
    /// Its numbers among those of all parameters.
    pub range: Range<usize>,
}

/// An array of weights made of tensors.
pub struct Packed {
    pub value: usize,
    pub len: usize,
    pub pieces: Vec<Piece>,
}

/// Numbers of a tensor, times a factor, in an array of weights.
pub struct Piece {
    pub parameter: usize,
    pub factor: f64,
    /// First number in the tensor, in the array, how many.
    pub runs: Vec<[usize; 3]>,
}

impl Piece {
    /// All numbers of a tensor as they are.
    pub fn whole(parameter: usize, n: usize) -> Piece {
        Piece { parameter, factor: 1.0, runs: vec![[0, 0, n]] }
    }

    /// Rows of a tensor, (rows, width), from a column on in rows of `stride`.
    pub fn columns(parameter: usize, [rows, width]: [usize; 2], at: usize, stride: usize) -> Piece {
        Piece { parameter, factor: 1.0, runs: (0..rows).map(|z| [z * width, z * stride + at, width]).collect() }
    }

    /// The weights `W_ab[u, z, v]` of a product with a one-hot vector, as those of a linear map by species.
    pub fn indexed(parameter: usize, map: &Linear) -> Piece {
        let (n, nz) = (map.n_weights(), map.species.unwrap_or(1));
        let run = |p: &crate::ops::linear::Pair, u: usize, z: usize| {
            [p.w * nz + (u * nz + z) * p.mul[1], z * n + p.w + u * p.mul[1], p.mul[1]]
        };
        let pairs = map.pairs();
        let runs = pairs.iter().flat_map(|p| (0..p.mul[0] * nz).map(move |k| run(p, k / nz, k % nz)));
        Piece { parameter, factor: (nz as f64).powf(-0.5), runs: runs.collect() }
    }
}

/// All parameters of a model, one after another in the order of their names.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    pub list: Vec<Parameter>,
    pub values: Vec<f64>,
}

impl Parameters {
    /// Of tensors with these names.
    pub fn new(spec: &MaceSpec, mut names: Vec<String>) -> Parameters {
        names.sort_unstable();
        names.dedup();
        let mut parameters = Parameters::default();
        for name in names {
            let found = spec.tensors.get(&name).map(|t| (t.shape.clone(), t.to_dense()));
            let (shape, numbers) = found.unwrap_or_else(|| (vec![0], Vec::new()));
            let start = parameters.values.len();
            parameters.values.extend_from_slice(&numbers);
            parameters.list.push(Parameter { name, shape, range: start..parameters.values.len() });
        }
        parameters
    }

    /// # Errors
    /// A wrong number of them; one that is not finite.
    pub fn check(&self, values: &[f64]) -> Result<()> {
        let n = self.values.len();
        if values.len() != n {
            return Err(Error::Argument(format!("parameters: expected {n}, got {}", values.len())));
        }
        let Some(k) = values.iter().position(|x| !x.is_finite()) else { return Ok(()) };
        let p = self.list.iter().find(|p| p.range.contains(&k)).expect("every number is a parameter's");
        Err(Error::Argument(format!("parameters: number {} of {} is {}", k - p.range.start, p.name, values[k])))
    }

    /// The spec with these values.
    pub fn written_to(&self, spec: &MaceSpec) -> MaceSpec {
        let mut spec = spec.clone();
        for p in &self.list {
            if let Some(tensor) = spec.tensors.get_mut(&p.name) {
                tensor.values = Values::Dense(self.values[p.range.clone()].to_vec());
            }
        }
        spec
    }
}

impl Packed {
    /// The array with these values of all parameters.
    pub fn pack(&self, list: &[Parameter], values: &[f64]) -> Vec<f64> {
        let mut to = vec![0.0; self.len];
        for piece in &self.pieces {
            let from = &values[list[piece.parameter].range.clone()];
            for &[a, b, n] in &piece.runs {
                to[b..b + n].iter_mut().zip(&from[a..a + n]).for_each(|(to, x)| *to = piece.factor * x);
            }
        }
        to
    }

    /// Adds the gradient by the array to those by the tensors, times `scale`.
    pub fn unpack(&self, bar: impl Fn(usize) -> f64, list: &[Parameter], scale: f64, to: &mut [f64]) {
        for piece in &self.pieces {
            let to = &mut to[list[piece.parameter].range.clone()];
            for &[a, b, n] in &piece.runs {
                (0..n).for_each(|k| to[a + k] += scale * piece.factor * bar(b + k));
            }
        }
    }
}
