//! Operations on CUDA devices: the passes of `ops::kernel::Kernel` over addresses of the device, in kernels that are compiled for the
//! irreps at hand (`kernels/ops`).

pub(crate) mod launch;
pub(crate) mod source;

use super::kernel::{MAX_INPUTS, Ports, Sizes};
use super::spec::{Operation, Spec};
use crate::device::cuda::context::{Context, failed};
use crate::{Error, Result};
use cudarc::driver::{CudaContext, CudaSlice, CudaStream, result, sys};
use launch::{Memory, Target, address};
use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, PoisonError};

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
}

/// An operation on a device, as [`super::kernel::Kernel`]. Gradients whose address is 0 are not wanted.
pub(crate) trait DeviceKernel: Send + Sync {
    /// Lists that the kernels need, from the indices.
    fn prepare(&self, sizes: Sizes, indices: &[&[u32]]) -> Vec<Vec<u32>>;
    fn forward(&self, call: &mut Call, out: u64) -> Result<()>;
    fn backward(&self, call: &mut Call, cotangent: u64, gradients: &[u64]) -> Result<()>;
    fn double_backward(&self, call: &mut Call, cotangent: u64, seconds: &[u64]) -> Result<()>;
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
}

/// An operation, compiled for a CUDA device. Passes are queued on a stream of the caller or on its own one, and not waited for.
pub struct DeviceOp {
    ports: Ports,
    device: Arc<Context>,
    kernel: Box<dyn DeviceKernel>,
    stream: Arc<CudaStream>,
    /// Scratch memory by stream: what is queued on one follows in order.
    memory: Mutex<HashMap<usize, Memory>>,
}

impl Debug for DeviceOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceOp").field("ports", &self.ports).finish_non_exhaustive()
    }
}

impl DeviceOp {
    /// # Errors
    /// [`Error::Argument`] for an operation that cannot be; [`Error::Device`] where there is no such device, or for an operation
    /// that has no kernels for devices.
    pub fn new(spec: &Spec, device: usize) -> Result<DeviceOp> {
        let ports = spec.ports()?;
        let device = Context::open(device)?;
        let stream = device.context().new_stream().map_err(failed("a stream"))?;
        let kernel = kernel(spec, &Target { device: device.clone(), stream: stream.clone() })?;
        Ok(DeviceOp { ports, device, kernel, stream, memory: Mutex::default() })
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
        Ok(Prepared { sizes, lists: Lists { lists, lengths } })
    }

    /// Queues `out = f(inputs)`.
    ///
    /// # Safety
    /// Here and below: addresses are those of memory on this device, as large as [`DeviceOp::ports`] says, that stays until the
    /// stream is done; `at` was prepared by this operation; `stream` is alive, or 0 for [`DeviceOp::stream`]. Numbers that are not
    /// finite are not looked for.
    ///
    /// # Errors
    /// Another number of addresses than there are inputs; the driver's.
    pub unsafe fn forward(&self, at: &Prepared, inputs: &[u64], out: u64, stream: u64) -> Result<()> {
        self.run(at, inputs, &[], stream, |kernel, call| kernel.forward(call, out))
    }

    /// Queues the gradients of `Σ cotangent · out`, those of address 0 excepted.
    ///
    /// # Safety
    /// As [`DeviceOp::forward`].
    ///
    /// # Errors
    /// As there.
    pub unsafe fn backward(
        &self,
        at: &Prepared,
        inputs: &[u64],
        cotangent: u64,
        gradients: &[u64],
        stream: u64,
    ) -> Result<()> {
        self.count("gradients", gradients, 0)?;
        self.run(at, inputs, &[], stream, |kernel, call| kernel.backward(call, cotangent, gradients))
    }

    /// Queues the gradients of `Σ direction · gradient` with respect to all inputs and, last, the cotangent.
    ///
    /// # Safety
    /// As [`DeviceOp::forward`].
    ///
    /// # Errors
    /// As there.
    pub unsafe fn double_backward(
        &self,
        at: &Prepared,
        inputs: &[u64],
        cotangent: u64,
        directions: &[u64],
        seconds: &[u64],
        stream: u64,
    ) -> Result<()> {
        self.count("directions", directions, 0)?;
        self.count("seconds", seconds, 1)?;
        self.run(at, inputs, directions, stream, |kernel, call| kernel.double_backward(call, cotangent, seconds))
    }

    fn count(&self, what: &str, addresses: &[u64], more: usize) -> Result<()> {
        match (addresses.len(), self.ports.inputs.len() + more) {
            (found, expected) if found == expected => Ok(()),
            (found, expected) => Err(Error::Argument(format!("{what}: {found} addresses, expected {expected}"))),
        }
    }

    fn run(
        &self,
        at: &Prepared,
        inputs: &[u64],
        directions: &[u64],
        stream: u64,
        pass: impl FnOnce(&dyn DeviceKernel, &mut Call) -> Result<()>,
    ) -> Result<()> {
        self.count("inputs", inputs, 0)?;
        self.device.bind()?;
        let none = [0; MAX_INPUTS];
        let directions = if directions.is_empty() { &none[..inputs.len()] } else { directions };
        let stream = match stream {
            0 => self.stream.clone(),
            // SAFETY: alive by the caller's word.
            raw => unsafe { self.context().wrap_borrowed_stream(raw as sys::CUstream) },
        };
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = memory.entry(stream.cu_stream() as usize).or_insert_with(|| Memory::new(&self.stream));
        pass(
            &*self.kernel,
            &mut Call { sizes: at.sizes, inputs, directions, lists: &at.lists, stream: &stream, memory },
        )
    }
}

fn kernel(spec: &Spec, target: &Target) -> Result<Box<dyn DeviceKernel>> {
    Ok(match &spec.operation {
        Operation::Linear(op) => Box::new(super::linear::cuda::LinearOnDevice::new(op, spec, target)?),
        Operation::Channelwise(op) => {
            Box::new(super::product::channelwise_cuda::ChannelwiseOnDevice::new(op, spec, target)?)
        }
        Operation::Contraction(op) => Box::new(super::contraction::cuda::ContractionOnDevice::new(op, spec, target)?),
        _ => return Err(without_kernels()),
    })
}

fn without_kernels() -> Error {
    Error::Device("of all operations linear, channelwise and contraction have kernels for CUDA devices".into())
}

/// The kernel files of an operation, by name, without a device: what `test/gpu_compile.rs` compiles.
///
/// # Errors
/// As [`DeviceOp::new`].
pub fn sources(spec: &Spec) -> Result<Vec<(&'static str, String)>> {
    spec.ports()?;
    match &spec.operation {
        Operation::Linear(_) => Ok(vec![("linear", super::linear::cuda::source(spec))]),
        Operation::Channelwise(op) => super::product::channelwise_cuda::sources(op, spec),
        Operation::Contraction(op) => Ok(vec![("contraction", super::contraction::cuda::source(op, spec)?)]),
        _ => Err(without_kernels()),
    }
}
