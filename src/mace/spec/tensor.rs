//! Tensors as the file has them.

use serde::{Deserialize, Serialize};

/// The type of the numbers in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    Float64,
    Float32,
    Int64,
    Int32,
    Uint8,
    Bool,
}

/// Numbers in row-major order. Every type that a file may have is exact in `f64`, integers up to 2⁵³.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub dtype: Type,
    pub values: Values,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    Dense(Vec<f64>),
    /// Flat indices in ascending order, and what is there; zero elsewhere.
    Sparse(Vec<u64>, Vec<f64>),
}

impl Tensor {
    /// How many numbers the shape has, if that can be counted.
    pub fn count(shape: &[usize]) -> Option<usize> {
        shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= isize::MAX as usize)
    }

    /// # Errors
    /// A number of values that is not that of the shape.
    pub fn dense(shape: Vec<usize>, dtype: Type, values: Vec<f64>) -> Result<Tensor, String> {
        if Tensor::count(&shape) != Some(values.len()) {
            return Err(format!("{} values for the shape {shape:?}", values.len()));
        }
        Ok(Tensor { shape, dtype, values: Values::Dense(values) })
    }

    /// The numbers that are not zero, with their flat indices.
    pub fn nonzeros(&self) -> Box<dyn Iterator<Item = (u64, f64)> + '_> {
        match &self.values {
            Values::Dense(x) => Box::new(x.iter().enumerate().filter(|(_, x)| **x != 0.0).map(|(k, &x)| (k as u64, x))),
            Values::Sparse(index, x) => Box::new(index.iter().copied().zip(x.iter().copied())),
        }
    }

    /// All numbers, zeros included.
    pub fn to_dense(&self) -> Vec<f64> {
        match &self.values {
            Values::Dense(x) => x.clone(),
            Values::Sparse(index, value) => {
                let mut dense = vec![0.0; Tensor::count(&self.shape).unwrap_or(0)];
                for (&k, &x) in index.iter().zip(value) {
                    dense[k as usize] = x;
                }
                dense
            }
        }
    }

    /// Whether every number is finite.
    pub fn is_finite(&self) -> bool {
        match &self.values {
            Values::Dense(x) | Values::Sparse(_, x) => x.iter().all(|x| x.is_finite()),
        }
    }
}

/// As it stands in JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    shape: Vec<usize>,
    dtype: Type,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Vec<f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<Vec<u64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<Vec<f64>>,
}

impl TryFrom<Stored> for Tensor {
    type Error = String;

    fn try_from(s: Stored) -> Result<Tensor, String> {
        let (index, value) = match (s.data, s.index, s.value) {
            (Some(data), None, None) => return Tensor::dense(s.shape, s.dtype, data),
            (None, Some(index), Some(value)) => (index, value),
            _ => return Err("a tensor has either `data` or `index` and `value`".into()),
        };
        let n = Tensor::count(&s.shape).ok_or_else(|| format!("the shape {:?} is too large", s.shape))?;
        if index.len() != value.len() {
            return Err(format!("{} indices for {} values", index.len(), value.len()));
        }
        if let Some(k) = (1..index.len()).find(|&k| index[k - 1] >= index[k]) {
            return Err(format!("index {} follows {}", index[k], index[k - 1]));
        }
        if let Some(&k) = index.last().filter(|&&k| k >= n as u64) {
            return Err(format!("index {k} is not below {n}"));
        }
        Ok(Tensor { shape: s.shape, dtype: s.dtype, values: Values::Sparse(index, value) })
    }
}

impl From<Tensor> for Stored {
    fn from(t: Tensor) -> Stored {
        let (data, index, value) = match t.values {
            Values::Dense(x) => (Some(x), None, None),
            Values::Sparse(k, x) => (None, Some(k), Some(x)),
        };
        Stored { shape: t.shape, dtype: t.dtype, data, index, value }
    }
}
