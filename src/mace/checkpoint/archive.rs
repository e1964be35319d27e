//! The archive: the pickle, and tensors over the storages beside it.

use super::pickle::{Id, Node, Pickle};
use crate::mace::spec::{Tensor, Type};
use std::cell::Cell;
use std::io::{Cursor, Read};
use zip::ZipArchive;

/// The longest pickle, in bytes: it has names, shapes and compiled code, no numbers.
const MAX_PICKLE: u64 = 64 << 20;

/// A checkpoint that has been opened.
pub struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// What comes before `data.pkl` in the names of the archive.
    prefix: String,
    pub pickle: Pickle,
    /// Numbers that may still be read: tensors that share a storage must not make much out of little.
    budget: Cell<usize>,
}

impl<'a> Archive<'a> {
    pub fn open(bytes: &'a [u8]) -> Result<Archive<'a>, String> {
        let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(|e| format!("no zip archive of torch: {e}"))?;
        let name = zip.file_names().flatten().find(|n| n.ends_with("/data.pkl")).map(|n| n.into_owned());
        let name = name.ok_or("no `data.pkl` in the archive: not a checkpoint of torch")?;
        let prefix = name[..name.len() - "data.pkl".len()].to_owned();
        if let Ok(order) = member(&mut zip, &format!("{prefix}byteorder"), 64)
            && order != b"little"
        {
            return Err("numbers in big-endian order".into());
        }
        let pickle = Pickle::read(&member(&mut zip, &name, MAX_PICKLE)?)?;
        // Every number has a byte at least; some are shared by a few tensors.
        Ok(Archive { zip, prefix, pickle, budget: Cell::new(2 * bytes.len() + 4096) })
    }

    pub fn node(&self, id: Id) -> &Node {
        self.pickle.get(id)
    }

    /// The name of the global that a record was made by.
    pub fn class(&self, id: Id) -> Option<&str> {
        let Node::Record { class, .. } = self.node(id) else { return None };
        let Node::Global(name) = self.node(*class) else { return None };
        Some(name)
    }

    /// The arguments of a record.
    pub fn args(&self, id: Id) -> Option<&[Id]> {
        let Node::Record { args, .. } = self.node(id) else { return None };
        let Node::Tuple(items) = self.node(*args) else { return None };
        Some(items)
    }

    /// The tensor of a node, if it is one.
    pub fn tensor(&self, id: Id) -> Result<Option<Tensor>, String> {
        let args = self.args(id).unwrap_or(&[]);
        match self.class(id) {
            Some("torch._utils _rebuild_parameter") => match args.first() {
                // A parameter has a tensor, not a parameter: no chain to follow.
                Some(&data) if self.class(data) == Some("torch._utils _rebuild_tensor_v2") => self.tensor(data),
                _ => Err("a parameter without tensor".into()),
            },
            Some("torch._utils _rebuild_tensor_v2") => self.rebuild(args).map(Some),
            Some(other) if other.contains("_rebuild_") => Err(format!("tensors made by `{other}` are not read")),
            _ => Ok(None),
        }
    }

    /// The shape of a tensor, without reading its numbers.
    pub fn shape(&self, id: Id) -> Option<Vec<usize>> {
        let args = self.args(id)?;
        match self.class(id)? {
            "torch._utils _rebuild_parameter" => {
                let data = *args.first()?;
                self.sizes(*self.args(data)?.get(2)?).ok()
            }
            "torch._utils _rebuild_tensor_v2" => self.sizes(*args.get(2)?).ok(),
            _ => None,
        }
    }

    fn rebuild(&self, args: &[Id]) -> Result<Tensor, String> {
        let &[storage, offset, shape, stride, ..] = args else { return Err("a tensor without shape".into()) };
        let (shape, stride) = (self.sizes(shape)?, self.sizes(stride)?);
        let offset = self.size(offset)?;
        if shape.len() != stride.len() {
            return Err(format!("the shape {shape:?} with the strides {stride:?}"));
        }
        let (dtype, key, length) = self.storage(storage)?;
        let count = Tensor::count(&shape).ok_or_else(|| format!("the shape {shape:?} is too large"))?;
        if count == 0 {
            return Tensor::dense(shape, dtype, Vec::new());
        }
        let span = shape.iter().zip(&stride).try_fold(offset, |at, (&n, &s)| at.checked_add((n - 1).checked_mul(s)?));
        if count > length || span.is_none_or(|last| last >= length) {
            return Err(format!("the shape {shape:?}, strides {stride:?}, offset {offset} in {length} numbers"));
        }
        let left = self.budget.get().checked_sub(length);
        self.budget.set(left.ok_or("the tensors of the file have more numbers than the file")?);
        let bytes = length.checked_mul(dtype.size()).ok_or("a storage is too large")?;
        let data = member(&mut self.zip.clone(), &format!("{}data/{key}", self.prefix), bytes as u64)?;
        if data.len() != bytes {
            return Err(format!("storage {key} has {} bytes instead of {bytes}", data.len()));
        }
        let storage = dtype.decode(&data);
        let mut values = Vec::with_capacity(count);
        let mut index = vec![0; shape.len()];
        let mut at = offset;
        for _ in 0..count {
            values.push(storage[at]);
            // The next index in row-major order.
            for d in (0..shape.len()).rev() {
                index[d] += 1;
                at += stride[d];
                if index[d] < shape[d] {
                    break;
                }
                at -= index[d] * stride[d];
                index[d] = 0;
            }
        }
        Tensor::dense(shape, dtype, values)
    }

    /// The type of the numbers, the name of the file and how many numbers it has.
    fn storage(&self, id: Id) -> Result<(Type, &str, usize), String> {
        let fields = match self.node(id) {
            Node::Outside(key) => match self.node(*key) {
                Node::Tuple(fields) => fields,
                _ => return Err("a storage without description".into()),
            },
            _ => return Err("a tensor without storage".into()),
        };
        let &[_, kind, key, _, length] = &fields[..] else {
            return Err("a storage without description".into());
        };
        let dtype = match self.node(kind) {
            Node::Global(name) => match name.as_str() {
                "torch DoubleStorage" => Type::Float64,
                "torch FloatStorage" => Type::Float32,
                "torch LongStorage" => Type::Int64,
                "torch IntStorage" => Type::Int32,
                "torch ByteStorage" => Type::Uint8,
                "torch BoolStorage" => Type::Bool,
                other => return Err(format!("numbers of `{other}` are not read")),
            },
            _ => return Err("a storage without type".into()),
        };
        let Node::Text(key) = self.node(key) else { return Err("a storage without name".into()) };
        Ok((dtype, key, self.size(length)?))
    }

    fn size(&self, id: Id) -> Result<usize, String> {
        match self.node(id) {
            Node::Int(x) => usize::try_from(*x).map_err(|_| format!("{x} in the shape of a tensor")),
            _ => Err("a shape that is no number".into()),
        }
    }

    fn sizes(&self, id: Id) -> Result<Vec<usize>, String> {
        match self.node(id) {
            Node::Tuple(items) if items.len() <= 8 => items.iter().map(|&k| self.size(k)).collect(),
            _ => Err("a shape that is no tuple of a few numbers".into()),
        }
    }
}

/// A file of the archive, no longer than `limit`. Stored as it is: an archive of torch is not compressed.
fn member(zip: &mut ZipArchive<Cursor<&[u8]>>, name: &str, limit: u64) -> Result<Vec<u8>, String> {
    let file = zip.by_name(name).map_err(|e| format!("`{name}` of the archive: {e}"))?;
    if file.size() > limit {
        return Err(format!("`{name}` of the archive is longer than {limit} bytes"));
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(|e| format!("`{name}` of the archive: {e}"))?;
    Ok(bytes)
}
