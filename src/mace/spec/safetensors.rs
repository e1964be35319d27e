//! The file of a MACE model: safetensors, the configuration as JSON in its metadata.

use super::{Config, MaceSpec, Tensor, Type, tensor::Values};
use crate::{Error, Result};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::{BTreeMap, HashMap};

/// The key of the configuration in the metadata.
const KEY: &str = "config";

impl MaceSpec {
    /// Reads the bytes of a file, memory-mapped or not.
    ///
    /// # Errors
    /// Bytes that are not a safetensors file of a MACE model.
    pub fn from_safetensors(bytes: &[u8]) -> Result<MaceSpec> {
        let fail = |message: String| Error::Model(format!("safetensors: {message}"));
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| fail(e.to_string()))?;
        let text = metadata.metadata().as_ref().and_then(|m| m.get(KEY));
        let text = text.ok_or_else(|| fail("no `config` in the metadata: not a MACE model".into()))?;
        let config: std::result::Result<Config, _> =
            serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(text));
        let config = config.map_err(|e| fail(format!("config: {e}")))?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| fail(e.to_string()))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let tensor = read(&view).map_err(|e| fail(format!("tensor `{name}`: {e}")))?;
            tensors.insert(name.to_owned(), tensor);
        }
        Ok(MaceSpec { config, tensors })
    }

    /// The bytes of a file that [`MaceSpec::from_safetensors`] reads back. Couplings are written in full.
    ///
    /// # Errors
    /// A tensor whose shape is too large to be written in full.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        let fail = |message: String| Error::Model(format!("safetensors: {message}"));
        let config = serde_json::to_string(&self.config).expect("plain data with string keys always serialises");
        let bytes: BTreeMap<&str, (Dtype, &[usize], Vec<u8>)> =
            self.tensors.iter().map(|(name, t)| (name.as_str(), (dtype(t.dtype), &t.shape[..], write(t)))).collect();
        let mut views = Vec::with_capacity(bytes.len());
        for (name, (dtype, shape, bytes)) in &bytes {
            let view = TensorView::new(*dtype, shape.to_vec(), bytes);
            views.push((*name, view.map_err(|e| fail(format!("tensor `{name}`: {e}")))?));
        }
        let metadata = HashMap::from([(KEY.to_owned(), config)]);
        safetensors::serialize(views, Some(metadata)).map_err(|e| fail(e.to_string()))
    }
}

fn dtype(t: Type) -> Dtype {
    match t {
        Type::Float64 => Dtype::F64,
        Type::Float32 => Dtype::F32,
        Type::Int64 => Dtype::I64,
        Type::Int32 => Dtype::I32,
        Type::Uint8 => Dtype::U8,
        Type::Bool => Dtype::BOOL,
    }
}

fn read(view: &TensorView) -> std::result::Result<Tensor, String> {
    let dtype = match view.dtype() {
        Dtype::F64 => Type::Float64,
        Dtype::F32 => Type::Float32,
        Dtype::I64 => Type::Int64,
        Dtype::I32 => Type::Int32,
        Dtype::U8 => Type::Uint8,
        Dtype::BOOL => Type::Bool,
        other => return Err(format!("numbers of the type {other:?} are not read")),
    };
    Tensor::dense(view.shape().to_vec(), dtype, dtype.decode(view.data()))
}

impl Type {
    /// Bytes of a number.
    pub(crate) fn size(self) -> usize {
        match self {
            Type::Float64 | Type::Int64 => 8,
            Type::Float32 | Type::Int32 => 4,
            Type::Uint8 | Type::Bool => 1,
        }
    }

    /// Numbers from little-endian bytes; a rest that is no number is left out.
    pub(crate) fn decode(self, bytes: &[u8]) -> Vec<f64> {
        fn each<const N: usize>(bytes: &[u8], f: impl Fn([u8; N]) -> f64) -> Vec<f64> {
            bytes.as_chunks::<N>().0.iter().map(|&b| f(b)).collect()
        }
        match self {
            Type::Float64 => each(bytes, f64::from_le_bytes),
            Type::Float32 => each(bytes, |b| f32::from_le_bytes(b).into()),
            Type::Int64 => each(bytes, |b| i64::from_le_bytes(b) as f64),
            Type::Int32 => each(bytes, |b| i32::from_le_bytes(b).into()),
            Type::Uint8 => each(bytes, |[b]: [u8; 1]| b.into()),
            Type::Bool => each(bytes, |[b]: [u8; 1]| f64::from(b != 0)),
        }
    }
}

fn write(t: &Tensor) -> Vec<u8> {
    let dense;
    let x = match &t.values {
        Values::Dense(x) => x,
        Values::Sparse(..) => {
            dense = t.to_dense();
            &dense
        }
    };
    match t.dtype {
        Type::Float64 => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Type::Float32 => x.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect(),
        Type::Int64 => x.iter().flat_map(|&x| (x as i64).to_le_bytes()).collect(),
        Type::Int32 => x.iter().flat_map(|&x| (x as i32).to_le_bytes()).collect(),
        Type::Uint8 | Type::Bool => x.iter().map(|&x| x as u8).collect(),
    }
}
