//! The named arrays of a call, and the passes of an operation over them, on the processor or a CUDA device.

use super::buffer;
use super::op::acerust_array;
use super::status::{Failure, Result};
use crate::device::{Device, too_many};
use crate::dtype::{Dtype, Storage};
#[cfg(feature = "cuda")]
use crate::ops::cuda::{DeviceOp, Prepared, Span};
use crate::ops::{Args, Op, Pass, Ports, Sizes, Spec, Workspace};
use crate::shared::check;
use half::{bf16, f16};
use std::ffi::c_void;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// An operation, where it was made for.
pub trait Passes: Send + Sync {
    fn spec(&self) -> &Spec;
    fn ports(&self) -> &Ports;
    /// Bytes that a pass takes of the host.
    fn scratch(&self, sizes: Sizes, pass: Pass) -> usize;
    /// # Safety
    /// Arrays are what the caller says, and the stream is alive.
    unsafe fn run(&self, call: &Call, stream: *mut c_void) -> Result;
    /// # Safety
    /// What the last call on the stream, which is alive, read is still there.
    unsafe fn wait(&self, stream: *mut c_void) -> Result;
}

/// # Errors
/// An operation that cannot be; no such device.
pub fn passes(spec: &Spec, device: Device) -> Result<Box<dyn Passes>> {
    Ok(match (device, spec.storage) {
        (Device::Cpu, Dtype::F64) => Box::new(OnHost::<f64>::new(spec)?),
        (Device::Cpu, Dtype::F32) => Box::new(OnHost::<f32>::new(spec)?),
        (Device::Cpu, Dtype::F16) => Box::new(OnHost::<f16>::new(spec)?),
        (Device::Cpu, Dtype::Bf16) => Box::new(OnHost::<bf16>::new(spec)?),
        #[cfg(feature = "cuda")]
        (Device::Cuda(index), _) => Box::new(OnDevice { op: DeviceOp::new(spec, index)?, graphs: Mutex::default() }),
        #[cfg(not(feature = "cuda"))]
        (Device::Cuda(_), _) => {
            let message = "this build has no CUDA backend (feature `cuda`)".into();
            return Err(crate::Error::Device(message).into());
        }
        (Device::Cudas { n, .. }, _) => return Err(too_many(n, "an operation").into()),
    })
}

/// Numbers of the caller, in whichever memory.
#[derive(Clone, Copy)]
struct Place {
    data: *mut c_void,
    length: usize,
}

impl Place {
    /// # Safety
    /// As many `T` in the memory of the host, readable.
    unsafe fn read<'a, T>(self) -> &'a [T] {
        match self.length {
            0 => &[],
            // SAFETY: the caller's word; not null and aligned, as `Arrays::find` has checked.
            n => unsafe { std::slice::from_raw_parts(self.data.cast(), n) },
        }
    }

    /// # Safety
    /// As many `T` in the memory of the host, writable and nobody else's.
    unsafe fn write<'a, T>(self) -> &'a mut [T] {
        match self.length {
            0 => &mut [],
            // SAFETY: as above.
            n => unsafe { std::slice::from_raw_parts_mut(self.data.cast(), n) },
        }
    }
}

/// The arrays of a call by what they are, in the order of the operation's ports: there, aligned, and none overlaps a result. Lengths are checked where they
/// are used.
pub struct Call {
    pass: Pass,
    sizes: Sizes,
    inputs: Vec<Place>,
    indices: Vec<Place>,
    /// Of no numbers in a forward pass.
    cotangent: Place,
    /// By input, in a double backward pass.
    directions: Vec<Option<Place>>,
    /// `out`; or by input, where a double backward pass has that of the cotangent last.
    results: Vec<Option<Place>>,
}

impl Call {
    /// # Safety
    /// Names of the arrays are strings.
    pub unsafe fn new(pass: Pass, op: &dyn Passes, sizes: Sizes, arrays: &[acerust_array]) -> Result<Call> {
        let (ports, bytes) = (op.ports(), op.spec().storage.bytes());
        // SAFETY: the caller's word.
        let mut arrays = unsafe { Arrays::new(arrays) }?;
        let prefixed = |prefix: &str| ports.inputs.iter().map(|p| format!("{prefix}.{}", p.name)).collect::<Vec<_>>();
        let inputs = ports.inputs.iter().map(|p| arrays.needed(&p.name, bytes, false)).collect::<Result<_>>()?;
        let indices = ports.indices.iter().map(|p| arrays.needed(p.name, size_of::<u32>(), false));
        let indices = indices.collect::<Result<_>>()?;
        let cotangent = match pass {
            Pass::Forward => Place { data: std::ptr::null_mut(), length: 0 },
            _ => arrays.needed("cotangent", bytes, false)?,
        };
        let directions = if pass == Pass::DoubleBackward { prefixed("dir") } else { vec![] };
        let directions = directions.iter().map(|n| arrays.find(n, bytes, false)).collect::<Result<_>>()?;
        let results = match pass {
            Pass::Forward => vec![Some(arrays.needed("out", bytes, true)?)],
            _ => {
                let mut names = prefixed(if pass == Pass::Backward { "grad" } else { "second" });
                names.extend((pass == Pass::DoubleBackward).then(|| "second.cotangent".into()));
                names.iter().map(|n| arrays.find(n, bytes, true)).collect::<Result<_>>()?
            }
        };
        arrays.finish()?;
        Ok(Call { pass, sizes, inputs, indices, cotangent, directions, results })
    }
}

/// The arrays of a call, each to be taken once.
struct Arrays<'a> {
    names: Vec<&'a str>,
    arrays: &'a [acerust_array],
    taken: Vec<bool>,
    /// Addresses of what is read, and of what is written.
    reads: Vec<(usize, usize, &'a str)>,
    writes: Vec<(usize, usize, &'a str)>,
}

impl<'a> Arrays<'a> {
    /// # Safety
    /// Names are strings.
    unsafe fn new(arrays: &'a [acerust_array]) -> Result<Arrays<'a>> {
        let mut names = Vec::new();
        for array in arrays {
            // SAFETY: the caller's names are strings that end.
            let name = unsafe { buffer::text("name of an array", array.name) }?;
            let name = name.to_str().map_err(|_| Failure::argument("name of an array: not UTF-8"))?;
            if names.contains(&name) {
                return Err(Failure::argument(format!("{name}: it is there twice")));
            }
            names.push(name);
        }
        Ok(Arrays { names, arrays, taken: vec![false; arrays.len()], reads: vec![], writes: vec![] })
    }

    /// The array of this name, of numbers of so many bytes.
    fn find(&mut self, name: &str, bytes: usize, write: bool) -> Result<Option<Place>> {
        let Some(k) = self.names.iter().position(|n| *n == name) else { return Ok(None) };
        self.taken[k] = true;
        let acerust_array { data, length, .. } = self.arrays[k];
        if length > 0 {
            match bytes {
                8 => check(name, data.cast::<u64>(), length),
                4 => check(name, data.cast::<u32>(), length),
                _ => check(name, data.cast::<u16>(), length),
            }?;
            let to = if write { &mut self.writes } else { &mut self.reads };
            to.push((data.addr(), data.addr() + length * bytes, self.names[k]));
        }
        Ok(Some(Place { data, length }))
    }

    fn needed(&mut self, name: &str, bytes: usize, write: bool) -> Result<Place> {
        self.find(name, bytes, write)?.ok_or_else(|| Failure::argument(format!("{name}: it is missing")))
    }

    /// No result overlaps anything, and nothing is left over.
    fn finish(&self) -> Result {
        if let Some(k) = self.taken.iter().position(|t| !t) {
            return Err(Failure::argument(format!("{}: unknown here", self.names[k])));
        }
        for (k, a) in self.writes.iter().enumerate() {
            for b in self.reads.iter().chain(&self.writes[k + 1..]) {
                if a.0 < b.1 && b.0 < a.1 {
                    return Err(Failure::argument(format!("{} overlaps {}", a.2, b.2)));
                }
            }
        }
        Ok(())
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// On the processor, in one type of numbers, with scratch memory that calls take and give back.
struct OnHost<S: Storage> {
    op: Op<S>,
    workspaces: Mutex<Vec<Workspace>>,
}

impl<S: Storage> OnHost<S> {
    fn new(spec: &Spec) -> Result<OnHost<S>> {
        Ok(OnHost { op: Op::new(spec)?, workspaces: Mutex::default() })
    }
}

impl<S: Storage> Passes for OnHost<S> {
    fn spec(&self) -> &Spec {
        self.op.spec()
    }

    fn ports(&self) -> &Ports {
        self.op.ports()
    }

    fn scratch(&self, sizes: Sizes, pass: Pass) -> usize {
        self.op.scratch(sizes, pass)
    }

    unsafe fn run(&self, call: &Call, _: *mut c_void) -> Result {
        // SAFETY (of all): pointers and lengths are those of the caller, and results overlap nothing.
        let read = |x: &Place| unsafe { x.read() };
        let inputs: Vec<&[S]> = call.inputs.iter().map(read).collect();
        // SAFETY: as above.
        let indices: Vec<&[u32]> = call.indices.iter().map(|x| unsafe { x.read() }).collect();
        let directions: Vec<Option<&[S]>> = call.directions.iter().map(|d| d.as_ref().map(read)).collect();
        // SAFETY: as above.
        let results = call.results.iter().map(|r| r.map(|r| unsafe { r.write() }));
        let mut results: Vec<Option<&mut [S]>> = results.collect();
        let args = Args { sizes: call.sizes, inputs: &inputs, indices: &indices };
        let (op, cotangent) = (&self.op, read(&call.cotangent));
        let mut workspace = lock(&self.workspaces).pop().unwrap_or_default();
        let done = match (call.pass, &mut results[..]) {
            (Pass::Forward, [Some(out)]) => op.forward(&args, out, &mut workspace),
            (Pass::Forward, _) => unreachable!("`out` is there"),
            (Pass::Backward, gradients) => op.backward(&args, cotangent, gradients, &mut workspace),
            (Pass::DoubleBackward, seconds) => {
                op.double_backward(&args, cotangent, &directions, seconds, &mut workspace)
            }
        };
        lock(&self.workspaces).push(workspace);
        Ok(done?)
    }

    unsafe fn wait(&self, _: *mut c_void) -> Result {
        Ok(())
    }
}

/// Graphs whose indices stay on a device.
#[cfg(feature = "cuda")]
const KEPT: usize = 4;

/// A graph, and where it lies.
#[cfg(feature = "cuda")]
type Kept = (Sizes, Vec<Vec<u32>>, Prepared);

/// On a CUDA device, with the indices of the last graphs, the latest first.
#[cfg(feature = "cuda")]
struct OnDevice {
    op: DeviceOp,
    graphs: Mutex<Vec<Kept>>,
}

#[cfg(feature = "cuda")]
impl OnDevice {
    /// Brings the graph with these indices to the front.
    fn prepare(&self, graphs: &mut Vec<Kept>, sizes: Sizes, indices: &[&[u32]]) -> Result {
        if let Some(k) = graphs.iter().position(|(s, i, _)| *s == sizes && i == indices) {
            graphs[..=k].rotate_right(1);
            return Ok(());
        }
        let prepared = self.op.prepare(sizes, indices)?;
        if graphs.len() == KEPT {
            // What is queued may still read it, on any stream.
            self.op.synchronize()?;
            graphs.pop();
        }
        graphs.insert(0, (sizes, indices.iter().map(|i| i.to_vec()).collect(), prepared));
        Ok(())
    }
}

/// The default stream has a name of its own: for `DeviceOp` no stream is one that nobody else waits for.
#[cfg(feature = "cuda")]
fn stream_of(stream: *mut c_void) -> u64 {
    const LEGACY: u64 = 1;
    if stream.is_null() { LEGACY } else { stream.addr() as u64 }
}

#[cfg(feature = "cuda")]
impl Passes for OnDevice {
    fn spec(&self) -> &Spec {
        self.op.spec()
    }

    fn ports(&self) -> &Ports {
        self.op.ports()
    }

    fn scratch(&self, _: Sizes, _: Pass) -> usize {
        0
    }

    unsafe fn run(&self, call: &Call, stream: *mut c_void) -> Result {
        let span = |x: &Place| Span { address: x.data.addr() as u64, len: x.length };
        let spans = |all: &[Option<Place>]| all.iter().map(|x| x.as_ref().map(span)).collect::<Vec<_>>();
        let inputs: Vec<Span> = call.inputs.iter().map(span).collect();
        let (directions, results) = (spans(&call.directions), spans(&call.results));
        for (index, port) in call.indices.iter().zip(&self.ports().indices) {
            if index.length > 0 {
                self.op.check_host(port.name, index.data.addr() as u64)?;
            }
        }
        // SAFETY: on the host, and as long as the caller says.
        let indices: Vec<&[u32]> = call.indices.iter().map(|x| unsafe { x.read() }).collect();
        // Nobody takes a graph away before the pass is queued.
        let mut graphs = lock(&self.graphs);
        self.prepare(&mut graphs, call.sizes, &indices)?;
        let (at, op, stream) = (&graphs[0].2, &self.op, stream_of(stream));
        let cotangent = span(&call.cotangent);
        // SAFETY: addresses and stream are those of the caller; what was prepared goes after the device is done.
        Ok(unsafe {
            match (call.pass, &results[..]) {
                (Pass::Forward, [Some(out)]) => op.forward(at, &inputs, *out, stream),
                (Pass::Forward, _) => unreachable!("`out` is there"),
                (Pass::Backward, gradients) => op.backward(at, &inputs, cotangent, gradients, stream),
                (Pass::DoubleBackward, seconds) => {
                    op.double_backward(at, &inputs, cotangent, &directions, seconds, stream)
                }
            }
        }?)
    }

    unsafe fn wait(&self, stream: *mut c_void) -> Result {
        // SAFETY: the caller's word.
        Ok(unsafe { self.op.wait(stream_of(stream)) }?)
    }
}
