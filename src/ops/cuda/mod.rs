//! Operations on CUDA devices: the passes of `ops::kernel::Kernel` over addresses of the device, in kernels that are compiled for the
//! irreps at hand (`kernels/ops`).

pub(crate) mod convert;
pub(crate) mod launch;
pub(crate) mod rowwise;
pub(crate) mod source;

use super::kernel::{MAX_INPUTS, Ports, Sizes};
use super::op::{Args, Op};
use super::spec::{Arithmetic, Operation, Spec};
use crate::device::cuda::context::{Context, failed};
use crate::dtype::{Dtype, Storage};
use crate::memory;
use crate::{Error, Result};
use cudarc::driver::{CudaContext, CudaSlice, CudaStream, result, sys};
use half::{bf16, f16};
use launch::{Input, Marks, Memory, Output, Target, address};
use rowwise::{Rowwise, THREADS, kernels};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::{self, Debug, Formatter};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// The first architecture whose tensor cores have TF32 and bf16.
const FIRST_TENSOR: u32 = 80;

/// The arguments of one call: addresses of values in the type of storage, by input; of directions, 0 for none.
pub(crate) struct Call<'a> {
    pub sizes: Sizes,
    pub inputs: &'a [u64],
    pub directions: &'a [u64],
    /// What [`DeviceKernel::prepare`] made of the indices.
    pub lists: &'a Lists,
    pub stream: &'a Arc<CudaStream>,
    pub memory: &'a mut Memory,
}

impl Call<'_> {
    /// The address of scratch piece `k`, of at least `bytes`.
    pub fn reserve(&mut self, k: usize, bytes: usize) -> Result<u64> {
        self.memory.reserve(k, bytes, self.stream)
    }

    /// Input `k`, with its direction where there is one and it is asked for.
    pub fn input(&self, k: usize, dual: bool) -> Input {
        Input { value: self.inputs[k], direction: if dual { self.directions[k] } else { 0 } }
    }
}

/// An operation on a device, as [`super::kernel::Kernel`]. Gradients without an address are not wanted.
pub(crate) trait DeviceKernel: Send + Sync {
    /// Lists that the kernels need, from the indices.
    fn prepare(&self, sizes: Sizes, indices: &[&[u32]]) -> Vec<Vec<u32>>;
    fn forward(&self, call: &mut Call, out: Output) -> Result<()>;
    fn backward(&self, call: &mut Call, cotangent: u64, gradients: &[Output]) -> Result<()>;
    fn double_backward(&self, call: &mut Call, cotangent: u64, seconds: &[Output]) -> Result<()>;
}

/// Lists of indices on the device.
#[derive(Debug)]
pub(crate) struct Lists {
    lists: Vec<CudaSlice<u32>>,
    lengths: Vec<usize>,
}

impl Lists {
    pub fn address(&self, k: usize) -> u64 {
        address(&self.lists[k])
    }

    pub fn count(&self) -> usize {
        self.lists.len()
    }

    /// Of list `k`.
    pub fn len(&self, k: usize) -> usize {
        self.lengths[k]
    }
}

/// Queues zeros.
pub(crate) fn clear(call: &Call, at: u64, bytes: usize) -> Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    // SAFETY: as large, by the word of the operation's caller.
    unsafe { result::memset_d8_async(at, 0, bytes, call.stream.cu_stream()) }.map_err(failed("clearing"))
}

/// How much there is to do, and the indices of it, on the device.
#[derive(Debug)]
pub struct Prepared {
    sizes: Sizes,
    lists: Lists,
    /// The operation that it is for.
    operation: u64,
}

/// Numbers on the device: where they are, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub address: u64,
    pub len: usize,
}

/// What a stream has: scratch memory (what is queued follows in order), marks of results that are not finite, what the last pass read.
struct Lane {
    memory: Memory,
    marks: Marks,
    sizes: Sizes,
    inputs: Vec<Span>,
    others: Vec<(&'static str, Span)>,
}

/// What a pass has read.
type Fetched = (Sizes, Vec<Span>, Vec<(&'static str, Span)>);

/// An operation, compiled for a CUDA device. Passes are queued on a stream of the caller or on its own one, and not waited for.
pub struct DeviceOp {
    spec: Spec,
    ports: Ports,
    number: u64,
    device: Arc<Context>,
    kernel: Box<dyn DeviceKernel>,
    stream: Arc<CudaStream>,
    lanes: Mutex<HashMap<usize, Lane>>,
}

impl Debug for DeviceOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceOp").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl DeviceOp {
    /// # Errors
    /// [`Error::Argument`] for an operation that cannot be; [`Error::Device`] where there is no such device.
    pub fn new(spec: &Spec, device: usize) -> Result<DeviceOp> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let ports = spec.ports()?;
        let device = Context::open(device)?;
        if spec.arithmetic != Arithmetic::Full && device.architecture < FIRST_TENSOR {
            let (arithmetic, own) = (spec.arithmetic, device.architecture);
            return Err(Error::Device(format!(
                "arithmetic: {arithmetic} is for sm_{FIRST_TENSOR} and later, not for sm_{own}"
            )));
        }
        let stream = device.context().new_stream().map_err(failed("a stream"))?;
        let kernel = kernel(spec, &Target { device: device.clone(), stream: stream.clone() })?;
        let number = NUMBER.fetch_add(1, Relaxed);
        Ok(DeviceOp { spec: spec.clone(), ports, number, device, kernel, stream, lanes: Mutex::default() })
    }

    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The stream that passes are queued on where the caller names none.
    pub fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    pub fn context(&self) -> &Arc<CudaContext> {
        self.device.context()
    }

    /// Sorts the indices, one list for each of [`Ports::indices`], and copies them to the device.
    ///
    /// # Errors
    /// A list of another length than there are rows, an index out of range.
    pub fn prepare(&self, sizes: Sizes, indices: &[&[u32]]) -> Result<Prepared> {
        sizes.check()?;
        self.ports.check_indices(sizes, indices)?;
        let lists = self.kernel.prepare(sizes, indices);
        let lengths = lists.iter().map(Vec::len).collect();
        // An empty list has an address all the same.
        let upload = |list: &Vec<u32>| match list.is_empty() {
            true => self.stream.clone_htod(&[0]),
            false => self.stream.clone_htod(list),
        };
        let lists =
            lists.iter().map(upload).collect::<std::result::Result<_, _>>().map_err(failed("copying indices"))?;
        self.stream.synchronize().map_err(failed("copying indices"))?;
        Ok(Prepared { sizes, lists: Lists { lists, lengths }, operation: self.number })
    }

    /// Queues `out = f(inputs)`.
    ///
    /// # Safety
    /// Here and below: spans are memory on this device, in the type of [`Spec::storage`], that stays until the stream is done, and so does `at`; `stream` is alive, or 0
    /// for [`DeviceOp::stream`].
    ///
    /// # Errors
    /// Another number of spans than there are inputs, a wrong length, an address that is not on the device, results that
    /// overlap something; the driver's. Whether results are finite [`DeviceOp::wait`] says.
    pub unsafe fn forward(&self, at: &Prepared, inputs: &[Span], out: Span, stream: u64) -> Result<()> {
        self.check_inputs(at, inputs)?;
        self.ports.output.check_len("out", at.sizes, out.len)?;
        self.run(at, inputs, &[], &[], &[Some(out)], stream, |kernel, call, _, results| {
            kernel.forward(call, results[call.inputs.len()])
        })
    }

    /// Queues the gradients of `Σ cotangent · out` that are asked for.
    ///
    /// # Safety
    /// As [`DeviceOp::forward`].
    ///
    /// # Errors
    /// As there.
    pub unsafe fn backward(
        &self,
        at: &Prepared,
        inputs: &[Span],
        cotangent: Span,
        gradients: &[Option<Span>],
        stream: u64,
    ) -> Result<()> {
        self.check_inputs(at, inputs)?;
        self.ports.output.check_len("cotangent", at.sizes, cotangent.len)?;
        self.ports.check_inputs("gradient of ", gradients.len(), at.sizes, |k| gradients[k].map(|g| g.len))?;
        let others = [("cotangent", cotangent)];
        self.run(at, inputs, &[], &others, gradients, stream, |kernel, call, cotangent, results| {
            kernel.backward(call, cotangent, &results[..call.inputs.len()])
        })
    }

    /// Queues the gradients of `Σ direction · gradient` (directions without a span are zero) with respect to all inputs and, last, the
    /// cotangent: those that are asked for.
    ///
    /// # Safety
    /// As [`DeviceOp::forward`].
    ///
    /// # Errors
    /// As there.
    pub unsafe fn double_backward(
        &self,
        at: &Prepared,
        inputs: &[Span],
        cotangent: Span,
        directions: &[Option<Span>],
        seconds: &[Option<Span>],
        stream: u64,
    ) -> Result<()> {
        self.check_inputs(at, inputs)?;
        self.ports.output.check_len("cotangent", at.sizes, cotangent.len)?;
        self.ports.check_inputs("direction of ", directions.len(), at.sizes, |k| directions[k].map(|d| d.len))?;
        self.ports.check_seconds(seconds.len(), at.sizes, |k| seconds[k].map(|g| g.len))?;
        let mut others = [("", Span { address: 0, len: 0 }); MAX_INPUTS];
        let given = directions.iter().flatten().map(|&d| ("direction", d));
        let mut n = 0;
        for (to, other) in others.iter_mut().zip([("cotangent", cotangent)].into_iter().chain(given)) {
            (*to, n) = (other, n + 1);
        }
        self.run(at, inputs, directions, &others[..n], seconds, stream, |kernel, call, cotangent, results| {
            kernel.double_backward(call, cotangent, &results[..=call.inputs.len()])
        })
    }

    /// Waits for what was queued on a stream.
    ///
    /// # Safety
    /// What the last pass on this stream read is still there; `stream` as for [`DeviceOp::forward`].
    ///
    /// # Errors
    /// If a result since the last time is not finite: with the name of the argument that is not, where the last pass has one, as [`super::Op`]
    /// does; the driver's.
    pub unsafe fn wait(&self, stream: u64) -> Result<()> {
        self.device.bind()?;
        let stream = self.on(stream);
        stream.synchronize().map_err(failed("waiting for the kernels"))?;
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(lane) = lanes.get(&(stream.cu_stream() as usize)) else { return Ok(()) };
        let Some(k) = lane.marks.first() else { return Ok(()) };
        lane.marks.clear();
        let pass = (lane.sizes, lane.inputs.clone(), lane.others.clone());
        // The processor's threads may be given work that uses the operation, too.
        drop(lanes);
        Err(memory::caught(|| match self.spec.storage {
            Dtype::F64 => self.explain::<f64>(&pass, k),
            Dtype::F32 => self.explain::<f32>(&pass, k),
            Dtype::F16 => self.explain::<f16>(&pass, k),
            Dtype::Bf16 => self.explain::<bf16>(&pass, k),
        })?)
    }

    /// Which result on a stream since the last time is not finite, in words. What was queued there is done.
    pub(crate) fn overflow(&self, stream: &CudaStream) -> Option<String> {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let marks = &lanes.get(&(stream.cu_stream() as usize))?.marks;
        let port = self.ports.inputs.get(marks.first()?).unwrap_or(&self.ports.output);
        marks.clear();
        Some(format!("{}: a result of its shape exceeds {}", port.name, self.spec.storage))
    }

    /// Waits for all streams of the device.
    pub(crate) fn synchronize(&self) -> Result<()> {
        self.device.bind()?;
        self.context().synchronize().map_err(failed("waiting for the kernels"))
    }

    /// # Errors
    /// An address that the host cannot read; `name` is what is said to be there.
    pub(crate) fn check_host(&self, name: &str, address: u64) -> Result<()> {
        self.device.check_host(name, address)
    }

    /// What the operation on the processor says of the same arguments.
    fn explain<S: Storage>(&self, (sizes, inputs, others): &Fetched, k: usize) -> Result<Error> {
        let numbers: usize = inputs.iter().chain(others.iter().map(|(_, span)| span)).map(|span| span.len).sum();
        memory::check((numbers * size_of::<S>()) as f64, || "the arguments of a pass that went wrong".into())?;
        let fetch = |span: &Span| -> Result<Vec<S>> {
            let mut to = vec![S::default(); span.len];
            if span.len > 0 {
                // SAFETY: the caller of `wait` says that it is there, plain numbers as many as were counted.
                unsafe { result::memcpy_dtoh_sync(&mut to, span.address) }.map_err(failed("fetching an argument"))?;
            }
            Ok(to)
        };
        let inputs = inputs.iter().map(fetch).collect::<Result<Vec<_>>>()?;
        let others = others.iter().map(|(name, s)| Ok((*name, fetch(s)?))).collect::<Result<Vec<_>>>()?;
        let inputs: Vec<&[S]> = inputs.iter().map(|x| &x[..]).collect();
        let others: Vec<(&str, &[S])> = others.iter().map(|(name, x)| (*name, &x[..])).collect();
        // Whatever it is computed with.
        let spec = Spec { arithmetic: Arithmetic::Full, ..self.spec.clone() };
        let Ok(op) = Op::<S>::new(&spec) else {
            // A build without the processor's operations.
            return Ok(Error::NotFinite("a result is not finite".into()));
        };
        op.explain(&Args { sizes: *sizes, inputs: &inputs, indices: &[] }, &others, k)
    }

    fn on(&self, stream: u64) -> Arc<CudaStream> {
        match stream {
            0 => self.stream.clone(),
            // SAFETY: alive by the caller's word.
            raw => unsafe { self.context().wrap_borrowed_stream(raw as sys::CUstream) },
        }
    }

    fn check_inputs(&self, at: &Prepared, inputs: &[Span]) -> Result<()> {
        if at.operation != self.number {
            return Err(Error::Argument("what was prepared belongs to another operation".into()));
        }
        self.ports.check_inputs("", inputs.len(), at.sizes, |k| Some(inputs[k].len))
    }

    /// All are on the device, and no result overlaps anything.
    fn check(
        &self,
        inputs: &[Span],
        others: &[(&'static str, Span)],
        (first, results): (usize, &[Option<Span>]),
    ) -> Result<()> {
        let ports = self.ports.inputs.iter().map(|p| &p.name[..]);
        let reads = ports.zip(inputs.iter().copied()).chain(others.iter().copied());
        let name = |k: usize| self.ports.inputs.get(first + k).map_or("out", |p| &p.name[..]);
        let bytes = self.spec.storage.bytes() as u64;
        let overlap = |a: Span, b: Span| {
            let end = |s: Span| s.address.saturating_add((s.len as u64).saturating_mul(bytes));
            a.address < end(b) && b.address < end(a)
        };
        for (k, to) in results.iter().enumerate() {
            let Some(to) = to.filter(|to| to.len > 0) else { continue };
            let what = format!("result {}", name(k));
            self.device.check_address(&what, to.address)?;
            if let Some((other, _)) = reads.clone().find(|(_, x)| x.len > 0 && overlap(*x, to)) {
                return Err(Error::Argument(format!("{what} overlaps {other}")));
            }
            let mut rest = results[k + 1..].iter().zip(k + 1..);
            if let Some((_, q)) = rest.find(|(x, _)| x.is_some_and(|x| x.len > 0 && overlap(x, to))) {
                return Err(Error::Argument(format!("{what} overlaps result {}", name(q))));
            }
        }
        reads.filter(|(_, x)| x.len > 0).try_for_each(|(name, x)| self.device.check_address(name, x.address))
    }

    /// `others` are the cotangent, if the pass has one, and directions; `results` by input, and that of the output's shape last.
    #[allow(clippy::too_many_arguments)]
    fn run(
        &self,
        at: &Prepared,
        inputs: &[Span],
        directions: &[Option<Span>],
        others: &[(&'static str, Span)],
        results: &[Option<Span>],
        stream: u64,
        pass: impl FnOnce(&dyn DeviceKernel, &mut Call, u64, &[Output]) -> Result<()>,
    ) -> Result<()> {
        self.device.bind()?;
        let n = inputs.len();
        // A result alone is that of the forward pass.
        let first = if others.is_empty() { n } else { 0 };
        self.check(inputs, others, (first, results))?;
        let stream = self.on(stream);
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = match lanes.entry(stream.cu_stream() as usize) {
            Entry::Occupied(lane) => lane.into_mut(),
            Entry::Vacant(place) => place.insert(Lane {
                memory: Memory::new(&self.stream),
                marks: Marks::new(&self.device)?,
                sizes: at.sizes,
                inputs: Vec::new(),
                others: Vec::new(),
            }),
        };
        let (mut values, mut along, mut to) = ([0; MAX_INPUTS], [0; MAX_INPUTS], [Output::default(); MAX_INPUTS + 1]);
        values.iter_mut().zip(inputs).for_each(|(to, x)| *to = x.address);
        along.iter_mut().zip(directions).for_each(|(to, d)| *to = d.map_or(0, |d| d.address));
        for (k, span) in results.iter().enumerate() {
            to[first + k] =
                span.map_or(Output::default(), |s| Output { to: s.address, mark: lane.marks.address(first + k) });
        }
        lane.sizes = at.sizes;
        lane.inputs.clear();
        lane.inputs.extend_from_slice(inputs);
        lane.others.clear();
        lane.others.extend_from_slice(others);
        let cotangent = others.first().map_or(0, |(_, s)| s.address);
        let (inputs, directions) = (&values[..n], &along[..n]);
        let (sizes, lists, memory) = (at.sizes, &at.lists, &mut lane.memory);
        pass(
            &*self.kernel,
            &mut Call { sizes, inputs, directions, lists, stream: &stream, memory },
            cotangent,
            &to[..=n],
        )
    }
}

impl Drop for DeviceOp {
    /// What is queued works with its memory.
    fn drop(&mut self) {
        let _ = self.synchronize();
    }
}

fn kernel(spec: &Spec, target: &Target) -> Result<Box<dyn DeviceKernel>> {
    Ok(match &spec.operation {
        Operation::Harmonics(op) => {
            let (source, threads) = (super::harmonics_cuda::source(op, spec), super::harmonics_cuda::threads(op.lmax));
            Box::new(Rowwise::new(kernels!("harmonics"), &source, [threads, 1], false, target)?)
        }
        Operation::Linear(op) => Box::new(super::linear::cuda::LinearOnDevice::new(op, spec, target)?),
        Operation::Channelwise(op) => {
            Box::new(super::product::channelwise_cuda::ChannelwiseOnDevice::new(op, spec, target)?)
        }
        Operation::FullyConnected(op) => {
            Box::new(super::product::fully_connected_cuda::FullyConnectedOnDevice::new(op, spec, target)?)
        }
        Operation::Contraction(op) => Box::new(super::contraction::cuda::ContractionOnDevice::new(op, spec, target)?),
        Operation::Radial(op) => {
            let source = super::radial_cuda::source(op, spec);
            Box::new(Rowwise::new(kernels!("radial"), &source, [THREADS, 1], true, target)?)
        }
        Operation::Mlp(op) => super::mlp_cuda::kernel(op, spec, target)?,
        Operation::Gate(op) => {
            let (source, across) = (super::gate_cuda::source(op, spec)?, super::gate_cuda::across(op));
            Box::new(Rowwise::new(kernels!("gate"), &source, [THREADS, across], false, target)?)
        }
    })
}

/// The kernel files of an operation, by name, without a device: what `test/gpu_compile.rs` compiles.
///
/// # Errors
/// For an operation that cannot be.
pub fn sources(spec: &Spec) -> Result<Vec<(&'static str, String)>> {
    spec.ports()?;
    Ok(match &spec.operation {
        Operation::Harmonics(op) => vec![("harmonics", super::harmonics_cuda::source(op, spec))],
        Operation::Linear(_) => vec![("linear", super::linear::cuda::source(spec.storage, spec.arithmetic))],
        Operation::Channelwise(op) => {
            let mut all = super::product::channelwise_cuda::sources(op, spec)?;
            all.push(("sums", convert::source(spec.storage)));
            all
        }
        Operation::FullyConnected(op) => vec![("uvw", super::product::fully_connected_cuda::source(op, spec)?)],
        Operation::Contraction(op) => vec![("contraction", super::contraction::cuda::source(op, spec)?)],
        Operation::Radial(op) => vec![("radial", super::radial_cuda::source(op, spec))],
        Operation::Mlp(op) => super::mlp_cuda::sources(op, spec),
        Operation::Gate(op) => vec![("gate", super::gate_cuda::source(op, spec)?)],
    })
}
