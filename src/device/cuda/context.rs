//! A CUDA device, its errors, streams and memory.

use super::library;
use super::stream::{Place, Stream, allocation};
use crate::dtype::{Dtype, to_bytes};
use crate::{Error, Result};
use cudarc::driver::{CudaContext, DriverError, result, sys};
use std::marker::PhantomData;
use std::sync::Arc;

/// An error of the driver while doing `what`.
pub fn failed(what: &str) -> impl Fn(DriverError) -> Error + '_ {
    move |e| {
        let text = e.error_string().map_or_else(|_| format!("{:?}", e.0), |s| s.to_string_lossy().into_owned());
        use sys::cudaError_enum as Code;
        let hint = match e.0 {
            Code::CUDA_ERROR_OUT_OF_MEMORY => "; use fewer atoms at a time or another device",
            Code::CUDA_ERROR_NO_BINARY_FOR_GPU => "; this architecture is not supported",
            Code::CUDA_ERROR_ILLEGAL_ADDRESS
            | Code::CUDA_ERROR_LAUNCH_FAILED
            | Code::CUDA_ERROR_LAUNCH_TIMEOUT
            | Code::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | Code::CUDA_ERROR_MISALIGNED_ADDRESS
            | Code::CUDA_ERROR_HARDWARE_STACK_ERROR
            | Code::CUDA_ERROR_ASSERT
            | Code::CUDA_ERROR_CONTEXT_IS_DESTROYED
            | Code::CUDA_ERROR_ECC_UNCORRECTABLE
            | Code::CUDA_ERROR_DEVICE_UNAVAILABLE => {
                "; the device is lost to this process: plans on the processor still work, those on the device need a new process"
            }
            _ => "",
        };
        Error::Device(format!("CUDA: {what}: {text}{hint}"))
    }
}

/// An open device. Keeps its primary context alive.
pub struct Context {
    pub index: usize,
    context: Arc<CudaContext>,
    /// Compute capability, as in `sm_90`.
    pub architecture: u32,
    /// Bytes of the device, whoever has them.
    pub memory: usize,
}

impl Context {
    /// # Errors
    /// No driver.
    pub fn count() -> Result<usize> {
        // SAFETY: only tries to open the driver's library.
        if !unsafe { sys::is_culib_present() } {
            return Err(Error::Device("CUDA: this machine has no NVIDIA driver (libcuda.so was not found)".into()));
        }
        library::check(library::DRIVER)?;
        result::init().map_err(failed("starting the driver"))?;
        let count = result::device::get_count().map_err(failed("counting devices"))?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// # Errors
    /// No driver, no such device.
    pub fn open(index: usize) -> Result<Arc<Context>> {
        let count = Context::count()?;
        if index >= count {
            return Err(Error::Device(format!("CUDA: there is no device {index}, only {count}")));
        }
        let context = CudaContext::new(index).map_err(failed("opening the device"))?;
        use sys::CUdevice_attribute_enum as Attribute;
        let attribute = |a| context.attribute(a).map(|x| x as u32).map_err(failed("asking for an attribute"));
        let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let memory = context.total_mem().map_err(failed("asking for the memory"))?;
        Ok(Arc::new(Context { index, architecture: architecture(major, minor)?, memory, context }))
    }

    /// # Errors
    /// An address that is not in the memory of this device; `name` is what is said to be there.
    pub fn check_address(&self, name: &str, address: u64) -> Result<()> {
        self.bind()?;
        let mut ordinal = -1_i32;
        let attribute = sys::CUpointer_attribute::CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL;
        // SAFETY: the driver knows its own memory and refuses all other addresses.
        let known = unsafe { sys::cuPointerGetAttribute((&raw mut ordinal).cast(), attribute, address) };
        match known.result() {
            Ok(()) if usize::try_from(ordinal) == Ok(self.index) => Ok(()),
            Ok(()) => {
                let message =
                    format!("{name}: {address:#x} is in the memory of device {ordinal}, not of {}", self.index);
                Err(Error::Argument(message))
            }
            Err(_) => Err(Error::Argument(format!("{name}: {address:#x} is no address of device {}", self.index))),
        }
    }

    /// # Errors
    /// An address in the memory of a device alone, which the host cannot read.
    pub fn check_host(&self, name: &str, address: u64) -> Result<()> {
        self.bind()?;
        let (mut kind, mut managed) = (0_u32, 0_u32);
        use sys::CUpointer_attribute_enum as Attribute;
        let device = sys::CUmemorytype_enum::CU_MEMORYTYPE_DEVICE as u32;
        // SAFETY: the driver knows its own memory and refuses all other addresses; the attributes are words.
        let known = unsafe {
            [
                (&mut kind, Attribute::CU_POINTER_ATTRIBUTE_MEMORY_TYPE),
                (&mut managed, Attribute::CU_POINTER_ATTRIBUTE_IS_MANAGED),
            ]
            .map(|(to, attribute)| {
                sys::cuPointerGetAttribute(std::ptr::from_mut(to).cast(), attribute, address).result().is_ok()
            })
        };
        match known[0] && kind == device && managed == 0 {
            true => {
                Err(Error::Argument(format!("{name}: {address:#x} is in the memory of a device, expected the host's")))
            }
            false => Ok(()),
        }
    }

    pub fn context(&self) -> &Arc<CudaContext> {
        &self.context
    }

    /// Bytes that nobody has, of the device of the calling thread.
    pub fn free_memory(&self) -> Result<usize> {
        result::mem_get_info().map(|(free, _)| free).map_err(failed("asking for the memory"))
    }

    /// Makes the device that of the calling thread.
    pub fn bind(&self) -> Result<()> {
        self.context.bind_to_thread().map_err(failed("binding the device"))
    }
}

/// As in `sm_90`.
fn architecture(major: u32, minor: u32) -> Result<u32> {
    match major < 7 {
        true => {
            Err(Error::Device(format!("CUDA: compute capability {major}.{minor} is below 7.0, the least supported")))
        }
        false => Ok(10 * major + minor),
    }
}

/// Plain numbers that may be copied between host and device.
pub trait Plain: Copy + Send + Sync + 'static {}
impl Plain for u8 {}
impl Plain for u32 {}
impl Plain for f32 {}
impl Plain for f64 {}
impl Plain for [f64; 3] {}
impl Plain for [i16; 3] {}

/// The bytes of numbers in the working precision.
pub fn reals(x: &[f64], single: bool) -> Vec<u8> {
    to_bytes(x, if single { Dtype::F32 } else { Dtype::F64 })
}

/// Bytes that memory is larger than what is asked for, at most: what grows by little is not allocated again.
const SLACK: usize = 1 << 30;

/// Device memory that grows and keeps its size; contents are lost when it grows.
pub struct Buffer<T> {
    pub ptr: sys::CUdeviceptr,
    allocation: u64,
    capacity: usize,
    device: Arc<Context>,
    kind: PhantomData<T>,
}

impl<T: Plain> Buffer<T> {
    pub fn new(device: &Arc<Context>) -> Buffer<T> {
        Buffer { ptr: 0, allocation: 0, capacity: 0, device: device.clone(), kind: PhantomData }
    }

    /// Room for `n` entries, contents unspecified; returns the address.
    ///
    /// # Errors
    /// Out of memory; the buffer is then empty.
    pub fn reserve(&mut self, n: usize) -> Result<sys::CUdeviceptr> {
        if n > self.capacity || self.ptr == 0 {
            self.free();
            let n = (n + (n / 8).min(SLACK / size_of::<T>())).max(16);
            let bytes = n * size_of::<T>();
            // SAFETY: freed by `free`.
            let ptr = unsafe { result::malloc_sync(bytes) };
            self.ptr = ptr.map_err(failed(&format!("allocating {:.2} GB", bytes as f64 / 1e9)))?;
            (self.capacity, self.allocation) = (n, allocation());
        }
        Ok(self.ptr)
    }

    /// Where entry `start` is.
    pub fn place(&self, start: usize) -> Place {
        Place { address: self.ptr + (start * size_of::<T>()) as u64, allocation: self.allocation }
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Copies from the host.
    pub fn upload(&mut self, data: &[T], stream: &Stream) -> Result<sys::CUdeviceptr> {
        let ptr = self.reserve(data.len())?;
        if !data.is_empty() {
            // SAFETY: there is room. The driver has read pageable memory when the call returns.
            unsafe { stream.upload(self.place(0), pageable(data), size_of_val(data)) }?;
        }
        Ok(ptr)
    }

    /// Copies the first entries to the host, and waits.
    pub fn download(&self, data: &mut [T], stream: &Stream) -> Result<()> {
        self.download_from(0, data, stream)
    }

    /// Copies the entries from `start` on to the host, and waits.
    pub fn download_from(&self, start: usize, data: &mut [T], stream: &Stream) -> Result<()> {
        assert!(start + data.len() <= self.capacity || data.is_empty());
        if !data.is_empty() {
            // SAFETY: within the buffer.
            unsafe { stream.download(pageable(data), self.place(start), size_of_val(data)) }?;
        }
        stream.wait()
    }

    pub fn fill(&mut self, byte: u8, n: usize, stream: &Stream) -> Result<sys::CUdeviceptr> {
        let ptr = self.reserve(n)?;
        if n > 0 {
            // SAFETY: there is room.
            unsafe { stream.fill(self.place(0), byte, n * size_of::<T>()) }?;
        }
        Ok(ptr)
    }
}

fn pageable<T>(data: &[T]) -> Place {
    Place { address: data.as_ptr().addr() as u64, allocation: 0 }
}

impl<T> Buffer<T> {
    fn free(&mut self) {
        if self.ptr != 0 && self.device.bind().is_ok() {
            // SAFETY: allocated by `reserve`; the driver waits for kernels that use it.
            let _ = unsafe { result::free_sync(self.ptr) };
        }
        (self.ptr, self.capacity) = (0, 0);
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        self.free();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_architectures_are_refused() {
        assert_eq!(architecture(9, 0).unwrap(), 90);
        assert_eq!(architecture(7, 5).unwrap(), 75);
        assert_eq!(architecture(12, 1).unwrap(), 121);
        let message = architecture(6, 1).unwrap_err().to_string();
        assert_eq!(message, "device: CUDA: compute capability 6.1 is below 7.0, the least supported");
    }
}
