//! Arrays of other libraries, through DLPack: where their numbers are and how many. Nothing is copied.

use crate::errors::argument;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict};
use std::ffi::{CStr, c_void};
use std::fmt::{self, Display, Formatter};

/// The struct of DLPack's header, version 0 and all later ones without flags.
#[repr(C)]
struct DlTensor {
    data: *mut c_void,
    device_type: i32,
    device_id: i32,
    ndim: i32,
    code: u8,
    bits: u8,
    lanes: u16,
    shape: *const i64,
    strides: *const i64,
    byte_offset: u64,
}

const NAME: &CStr = c"dltensor";
const CPU: i32 = 1;
const CUDA: i32 = 2;
/// Stands for the default stream.
const LEGACY_STREAM: i32 = 1;

/// Where numbers are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Cpu,
    Cuda(usize),
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Place::Cpu => f.write_str("cpu"),
            Place::Cuda(k) => write!(f, "cuda:{k}"),
        }
    }
}

/// The types of numbers, by DLPack's code and bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kind(u8, u8);

impl Kind {
    pub const I32: Kind = Kind(0, 32);
    pub const I64: Kind = Kind(0, 64);
    pub const F16: Kind = Kind(2, 16);
    pub const F32: Kind = Kind(2, 32);
    pub const F64: Kind = Kind(2, 64);
    pub const BF16: Kind = Kind(4, 16);
}

impl Display for Kind {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let name = ["int", "uint", "float", "opaque", "bfloat", "complex", "bool"].get(usize::from(self.0));
        write!(f, "{}{}", name.unwrap_or(&"type "), self.1)
    }
}

/// Numbers side by side, row-major.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub name: String,
    pub address: u64,
    pub len: usize,
    pub shape: Vec<usize>,
    pub kind: Kind,
    pub place: Place,
}

impl Tensor {
    /// # Errors
    /// Of another type, or in another place.
    pub fn expect(&self, kind: Kind, place: Place) -> PyResult<()> {
        let Tensor { name, kind: own, place: at, .. } = self;
        match *own == kind && *at == place {
            true => Ok(()),
            false => Err(argument(format!("{name}: {own} on {at}, expected {kind} on {place}"))),
        }
    }

    fn bytes(&self) -> u64 {
        self.len as u64 * u64::from(self.kind.1) / 8
    }

    /// # Safety
    /// `T` is the type of the numbers, which are on the processor; nobody writes them as long as they are borrowed.
    pub unsafe fn slice<'a, T>(&self) -> &'a [T] {
        match self.len {
            0 => &[],
            // SAFETY: the library that exports it promises so many numbers; alignment has been checked.
            n => unsafe { std::slice::from_raw_parts(self.address as *const T, n) },
        }
    }

    /// # Safety
    /// As [`Tensor::slice`]; nobody reads them either, and [`Tensors::disjoint`] has been asked.
    pub unsafe fn slice_mut<'a, T>(&self) -> &'a mut [T] {
        match self.len {
            0 => &mut [],
            // SAFETY: as above.
            n => unsafe { std::slice::from_raw_parts_mut(self.address as *mut T, n) },
        }
    }
}

/// The arrays of a call, which stay as long as this does.
#[derive(Default)]
pub struct Tensors<'py> {
    capsules: Vec<Bound<'py, PyCapsule>>,
    reads: Vec<Tensor>,
    writes: Vec<Tensor>,
}

impl<'py> Tensors<'py> {
    /// An array that is read: a capsule, or what has `__dlpack__`. What is queued on its device has been done when the default stream
    /// comes to it.
    pub fn read(&mut self, name: &str, object: &Bound<'py, PyAny>) -> PyResult<Tensor> {
        let tensor = self.open(name, object)?;
        self.reads.push(tensor.clone());
        Ok(tensor)
    }

    /// An array that is written.
    pub fn write(&mut self, name: &str, object: &Bound<'py, PyAny>) -> PyResult<Tensor> {
        let tensor = self.open(name, object)?;
        self.writes.push(tensor.clone());
        Ok(tensor)
    }

    /// # Errors
    /// A result that shares memory with another array.
    pub fn disjoint(&self) -> PyResult<()> {
        for (k, a) in self.writes.iter().enumerate().filter(|(_, a)| a.len > 0) {
            for b in self.reads.iter().chain(&self.writes[k + 1..]).filter(|b| b.len > 0) {
                let apart = a.address + a.bytes() <= b.address || b.address + b.bytes() <= a.address;
                if !apart && a.place == b.place {
                    return Err(argument(format!("{} overlaps {}", a.name, b.name)));
                }
            }
        }
        Ok(())
    }

    fn open(&mut self, name: &str, object: &Bound<'py, PyAny>) -> PyResult<Tensor> {
        let capsule = capsule(name, object)?;
        let pointer = capsule.pointer_checked(Some(NAME))?.cast::<DlTensor>();
        // SAFETY: a capsule of that name holds this struct until somebody takes it, who gives it another name.
        let raw = unsafe { pointer.as_ref() };
        let n = usize::try_from(raw.ndim).unwrap_or(0);
        let dimensions = |at: *const i64| match n {
            0 => &[][..],
            // SAFETY: as many as there are dimensions; strides may be missing, which is asked for first.
            n => unsafe { std::slice::from_raw_parts(at, n) },
        };
        let shape: Vec<usize> = dimensions(raw.shape).iter().map(|&n| usize::try_from(n).unwrap_or(0)).collect();
        let len: usize = shape.iter().product();
        let mut dense = true;
        if !raw.strides.is_null() && len > 0 {
            let mut step = 1;
            for (&stride, &n) in dimensions(raw.strides).iter().zip(&shape).rev() {
                dense &= n == 1 || stride == step;
                step *= n as i64;
            }
        }
        if !dense {
            return Err(argument(format!("{name}: its rows do not lie side by side")));
        }
        let place = match (raw.device_type, usize::try_from(raw.device_id)) {
            (CPU, _) => Place::Cpu,
            (CUDA, Ok(index)) => Place::Cuda(index),
            (other, _) => {
                return Err(argument(format!("{name}: on a device of DLPack's type {other}, expected cpu or cuda")));
            }
        };
        let address = (raw.data as u64).wrapping_add(raw.byte_offset);
        let kind = Kind(raw.code, raw.bits);
        if raw.lanes != 1 || (len > 0 && !address.is_multiple_of(u64::from(raw.bits / 8).max(1))) {
            return Err(argument(format!("{name}: its numbers are not aligned")));
        }
        self.capsules.push(capsule);
        Ok(Tensor { name: name.into(), address, len, shape, kind, place })
    }
}

fn capsule<'py>(name: &str, object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyCapsule>> {
    if let Ok(capsule) = object.cast::<PyCapsule>() {
        return Ok(capsule.clone());
    }
    let py = object.py();
    let Ok(device) = object.call_method0(intern!(py, "__dlpack_device__")) else {
        return Err(argument(format!("{name}: no array of a library that knows DLPack")));
    };
    // Enumerations in some libraries.
    let device: i32 = device.get_item(0)?.call_method0(intern!(py, "__int__"))?.extract()?;
    let how = PyDict::new(py);
    if device == CUDA {
        how.set_item("stream", LEGACY_STREAM)?;
    }
    Ok(object.call_method(intern!(py, "__dlpack__"), (), Some(&how))?.cast_into()?)
}
