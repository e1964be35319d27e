//! Models as safetensors: the text of the model file in the metadata, and what it lacks, its long lists, as tensors named by their place in it.
//!
//! `parts.2.weights` is the member `weights` of the third part. Numbers are F64, or U32 where all of them are indices. A list of lists of several
//! lengths is one tensor of all numbers, and one of the lengths, `parts.2.AA.lengths`.

use super::{ModelSpec, file::grant, spec::FORMAT, validate};
use crate::part::with_kinds;
use crate::{Error, Result, memory};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// The key of the text in the metadata.
const KEY: &str = "model";
/// What follows the name of a list of lists.
const LENGTHS: &str = ".lengths";
/// Lists as long as that are tensors.
const LONG: usize = 32;
/// Dimensions of a tensor: what nests deeper is no list of a model, and values are dropped depth by depth.
const MAX_RANK: usize = 8;
/// Bytes of memory for a byte of a tensor, at most: a number of 4 bytes may be a list of its own, as a value and in the model.
const BYTES: f64 = 50.0;

struct Numbers {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// The bytes of a file that [`read`] reads back, bit by bit.
pub(super) fn write(spec: &ModelSpec) -> Vec<u8> {
    let mut text = serde_json::to_value(spec).expect("plain data");
    let mut tensors = BTreeMap::new();
    take(&mut text, "", &mut tensors);
    let metadata = HashMap::from([(KEY.to_owned(), text.to_string())]);
    let views = tensors.iter().map(|(name, t)| {
        (name, TensorView::new(t.dtype, t.shape.clone(), &t.bytes).expect("as many bytes as numbers take"))
    });
    safetensors::serialize(views, Some(metadata)).expect("names and shapes are plain data")
}

/// The model of a file, unless it is another kind of file.
///
/// # Errors
/// What is no model, or not in the form of [`write`].
pub(super) fn read(bytes: &[u8]) -> Result<Option<ModelSpec>> {
    let fail = |message: String| Error::Model(format!("safetensors: {message}"));
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| fail(e.to_string()))?;
    let Some(text) = metadata.metadata().as_ref().and_then(|m| m.get(KEY)) else { return Ok(None) };
    grant(text.as_bytes())?;
    memory::check(BYTES * bytes.len() as f64, || format!("a model of {} bytes", bytes.len()))?;
    let mut model: Value = serde_json::from_str(text).map_err(|e| fail(format!("model: {e}")))?;
    let file = SafeTensors::deserialize(bytes).map_err(|e| fail(e.to_string()))?;
    for (name, view) in file.iter() {
        // Lengths go with their list.
        if name.strip_suffix(LENGTHS).is_some_and(|list| file.tensor(list).is_ok()) {
            continue;
        }
        let fail = |message: String| fail(format!("tensor `{name}`: {message}"));
        let numbers = values(&view).map_err(fail)?;
        let list = match file.tensor(&format!("{name}{LENGTHS}")) {
            Ok(lengths) => ragged(numbers, view.shape(), &lengths).map_err(fail)?,
            Err(_) => shaped(numbers, view.shape()).map_err(fail)?,
        };
        put(&mut model, name, list).map_err(fail)?;
    }
    let format = model.get("format").and_then(Value::as_str).unwrap_or_default().to_owned();
    validate::format(&format, FORMAT).map_err(Error::Model)?;
    let spec = with_kinds(text.as_bytes(), || serde_path_to_error::deserialize(model));
    Ok(Some(spec.map_err(|e| Error::Model(e.to_string()))?))
}

/// Moves long lists of numbers out of the members of objects.
fn take(value: &mut Value, at: &str, tensors: &mut BTreeMap<String, Numbers>) {
    let name = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
    match value {
        Value::Array(list) => list.iter_mut().enumerate().for_each(|(k, v)| take(v, &name(&k.to_string()), tensors)),
        Value::Object(members) => members.retain(|key, member| {
            let name = name(key);
            let Some((numbers, lengths)) = flat(member) else {
                take(member, &name, tensors);
                return true;
            };
            tensors.extend(lengths.map(|lengths| (format!("{name}{LENGTHS}"), lengths)));
            tensors.insert(name, numbers);
            false
        }),
        _ => {}
    }
}

/// A long list of numbers, or of lists of numbers to any depth, and the lengths of such that differ.
fn flat(value: &Value) -> Option<(Numbers, Option<Numbers>)> {
    let list = value.as_array()?;
    if let Some(shape) = shape(value) {
        let numbers = Numbers::new(value, shape);
        return (numbers.count() >= LONG).then_some((numbers, None));
    }
    let lengths = list.iter().map(|row| shape(row).filter(|s| s.len() == 1).map(|s| Value::from(s[0])));
    let lengths = Value::Array(lengths.collect::<Option<_>>()?);
    let count = list.iter().filter_map(Value::as_array).map(Vec::len).sum();
    let lengths = Numbers::new(&lengths, vec![list.len()]);
    (count >= LONG).then(|| (Numbers::new(value, vec![count]), Some(lengths)))
}

/// The shape of a list of lists … of numbers, all of one length at each depth.
fn shape(value: &Value) -> Option<Vec<usize>> {
    let list = value.as_array()?;
    if list.iter().all(Value::is_number) {
        return Some(vec![list.len()]);
    }
    let inner = shape(list.first()?)?;
    let same = list.iter().all(|v| shape(v).as_ref() == Some(&inner));
    same.then(|| [&[list.len()], &inner[..]].concat())
}

impl Numbers {
    fn new(value: &Value, shape: Vec<usize>) -> Numbers {
        let mut numbers = Vec::new();
        leaves(value, &mut numbers);
        let indices: Option<Vec<u32>> =
            numbers.iter().map(|v| v.as_u64().and_then(|k| u32::try_from(k).ok())).collect();
        let (dtype, bytes) = match indices {
            Some(indices) => (Dtype::U32, indices.into_iter().flat_map(u32::to_le_bytes).collect()),
            None => {
                let reals = numbers.into_iter().map(|v| v.as_f64().expect("a number"));
                (Dtype::F64, reals.flat_map(f64::to_le_bytes).collect())
            }
        };
        Numbers { dtype, shape, bytes }
    }

    fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

fn leaves<'a>(value: &'a Value, into: &mut Vec<&'a Value>) {
    match value {
        Value::Array(list) => list.iter().for_each(|v| leaves(v, into)),
        leaf => into.push(leaf),
    }
}

fn values(view: &TensorView) -> std::result::Result<Vec<Value>, String> {
    let real = |&b: &[u8; 8]| {
        let x = f64::from_le_bytes(b);
        serde_json::Number::from_f64(x).map(Value::Number).ok_or_else(|| format!("{x} is not finite"))
    };
    match view.dtype() {
        Dtype::U32 => Ok(view.data().as_chunks().0.iter().map(|&b| u32::from_le_bytes(b).into()).collect()),
        Dtype::F64 => view.data().as_chunks().0.iter().map(real).collect(),
        other => Err(format!("numbers of the type {other:?} are not read")),
    }
}

/// Lists of lists … of these numbers.
fn shaped(mut numbers: Vec<Value>, shape: &[usize]) -> std::result::Result<Value, String> {
    if !(1..=MAX_RANK).contains(&shape.len()) || shape.contains(&0) {
        return Err(format!("its shape is {:?}, of {} dimensions", &shape[..shape.len().min(MAX_RANK)], shape.len()));
    }
    for &length in shape[1..].iter().rev() {
        let mut rest = numbers.into_iter();
        let mut rows = Vec::with_capacity(rest.len() / length);
        while rest.len() > 0 {
            rows.push(Value::Array(rest.by_ref().take(length).collect()));
        }
        numbers = rows;
    }
    Ok(Value::Array(numbers))
}

/// Lists of these lengths of these numbers.
fn ragged(numbers: Vec<Value>, shape: &[usize], lengths: &TensorView) -> std::result::Result<Value, String> {
    if shape.len() != 1 || lengths.shape().len() != 1 || lengths.dtype() != Dtype::U32 {
        return Err("a list of lists takes a vector, and one of lengths in U32".into());
    }
    let lengths: Vec<usize> = lengths.data().as_chunks().0.iter().map(|&b| u32::from_le_bytes(b) as usize).collect();
    if lengths.iter().sum::<usize>() != numbers.len() {
        return Err(format!("its lists have {} numbers, it has {}", lengths.iter().sum::<usize>(), numbers.len()));
    }
    let mut rest = numbers.into_iter();
    Ok(lengths.into_iter().map(|n| Value::Array(rest.by_ref().take(n).collect())).collect())
}

/// Puts a list where its name says.
fn put(model: &mut Value, name: &str, list: Value) -> std::result::Result<(), String> {
    let (object, key) = name.rsplit_once('.').unwrap_or(("", name));
    let mut at = Some(model);
    for step in object.split('.').filter(|step| !step.is_empty()) {
        at = match at {
            Some(Value::Array(list)) => step.parse().ok().and_then(|k: usize| list.get_mut(k)),
            Some(Value::Object(members)) => members.get_mut(step),
            _ => None,
        };
    }
    let members = at.and_then(Value::as_object_mut).ok_or("the model has no such place")?;
    match members.insert(key.to_owned(), list) {
        None => Ok(()),
        Some(_) => Err("the model has it twice".into()),
    }
}
