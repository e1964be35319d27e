//! A CUDA device, its errors, streams and memory.

use crate::{Error, Result};
use cudarc::driver::{CudaContext, DriverError, result, sys};
use std::marker::PhantomData;
use std::sync::Arc;

/// An error of the driver while doing `what`.
pub fn failed(what: &str) -> impl Fn(DriverError) -> Error + '_ {
    move |e| {
        let text = e.error_string().map_or_else(|_| format!("{:?}", e.0), |s| s.to_string_lossy().into_owned());
        let hint = match e.0 {
            sys::cudaError_enum::CUDA_ERROR_OUT_OF_MEMORY => "; use fewer atoms at a time or another device",
            sys::cudaError_enum::CUDA_ERROR_NO_BINARY_FOR_GPU => "; this architecture is not supported",
            _ => "",
        };
        Error::Device(format!("CUDA: {what}: {text}{hint}"))
    }
}

/// An open device. Keeps its primary context alive.
pub struct Device {
    context: Arc<CudaContext>,
    /// Compute capability, as in `sm_90`.
    pub architecture: u32,
}

impl Device {
    /// # Errors
    /// No driver, no such device.
    pub fn open(index: usize) -> Result<Arc<Device>> {
        // SAFETY: only tries to open the driver's library.
        if !unsafe { sys::is_culib_present() } {
            return Err(Error::Device("CUDA: this machine has no NVIDIA driver (libcuda.so was not found)".into()));
        }
        result::init().map_err(failed("starting the driver"))?;
        let count = result::device::get_count().map_err(failed("counting devices"))?;
        if index >= count as usize {
            return Err(Error::Device(format!("CUDA: there is no device {index}, only {count}")));
        }
        let context = CudaContext::new(index).map_err(failed("opening the device"))?;
        use sys::CUdevice_attribute_enum as Attribute;
        let attribute = |a| context.attribute(a).map(|x| x as u32).map_err(failed("asking for an attribute"));
        let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        if major < 7 {
            return Err(Error::Device(format!("CUDA: compute capability {major}.{minor} is below 7.0")));
        }
        Ok(Arc::new(Device { architecture: 10 * major + minor, context }))
    }

    /// Makes the device that of the calling thread.
    pub fn bind(&self) -> Result<()> {
        self.context.bind_to_thread().map_err(failed("binding the device"))
    }
}

/// A queue of work. Waits for its work when dropped.
pub struct Stream {
    pub raw: sys::CUstream,
    device: Arc<Device>,
}

// SAFETY: streams may be used from any thread.
unsafe impl Send for Stream {}
unsafe impl Sync for Stream {}

impl Stream {
    pub fn new(device: &Arc<Device>) -> Result<Stream> {
        device.bind()?;
        let raw = result::stream::create(result::stream::StreamKind::NonBlocking).map_err(failed("a stream"))?;
        Ok(Stream { raw, device: device.clone() })
    }

    /// Lets the work that comes wait for what is in the stream `other` of the caller; 0 is the default stream.
    pub fn follow(&self, other: u64) -> Result<()> {
        let other = other as sys::CUstream;
        let what = "waiting for the caller's stream";
        self.device.bind()?;
        let flags = sys::CUevent_flags::CU_EVENT_DISABLE_TIMING;
        let event = result::event::create(flags).map_err(failed(what))?;
        // SAFETY: the event was created above; the caller vouches for its stream. A recorded event may be destroyed.
        unsafe {
            let waits = result::event::record(event, other).and_then(|()| {
                let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
                result::stream::wait_event(self.raw, event, flags)
            });
            let _ = result::event::destroy(event);
            waits.map_err(failed(what))
        }
    }

    pub fn wait(&self) -> Result<()> {
        // SAFETY: the stream is alive.
        unsafe { result::stream::synchronize(self.raw) }.map_err(failed("waiting for the kernels"))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: nothing uses the stream any more. Errors of a lost device are not ours to handle.
            unsafe {
                let _ = result::stream::synchronize(self.raw);
                let _ = result::stream::destroy(self.raw);
            }
        }
    }
}

/// Plain numbers that may be copied between host and device.
pub trait Plain: Copy + Send + Sync + 'static {}
impl Plain for u8 {}
impl Plain for u32 {}
impl Plain for f32 {}
impl Plain for f64 {}
impl Plain for [f64; 3] {}

/// Device memory that grows and keeps its size; contents are lost when it grows.
pub struct Buffer<T> {
    pub ptr: sys::CUdeviceptr,
    capacity: usize,
    device: Arc<Device>,
    kind: PhantomData<T>,
}

impl<T: Plain> Buffer<T> {
    pub fn new(device: &Arc<Device>) -> Buffer<T> {
        Buffer { ptr: 0, capacity: 0, device: device.clone(), kind: PhantomData }
    }

    /// Room for `n` entries, contents unspecified; returns the address.
    ///
    /// # Errors
    /// Out of memory; the buffer is then empty.
    pub fn room(&mut self, n: usize) -> Result<sys::CUdeviceptr> {
        if n > self.capacity || self.ptr == 0 {
            self.free();
            let n = (n + n / 8).max(16);
            let bytes = n * size_of::<T>();
            // SAFETY: freed by `free`.
            let ptr = unsafe { result::malloc_sync(bytes) };
            self.ptr = ptr.map_err(failed(&format!("allocating {:.2} GB", bytes as f64 / 1e9)))?;
            self.capacity = n;
        }
        Ok(self.ptr)
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Copies from the host.
    pub fn upload(&mut self, data: &[T], stream: &Stream) -> Result<sys::CUdeviceptr> {
        let ptr = self.room(data.len())?;
        if !data.is_empty() {
            // SAFETY: there is room. The driver has read pageable memory when the call returns.
            unsafe { result::memcpy_htod_async(ptr, data, stream.raw) }.map_err(failed("copying to the device"))?;
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
            let from = self.ptr + (start * size_of::<T>()) as u64;
            // SAFETY: within the buffer.
            unsafe { result::memcpy_dtoh_async(data, from, stream.raw) }.map_err(failed("copying to the host"))?;
        }
        stream.wait()
    }

    pub fn fill(&mut self, byte: u8, n: usize, stream: &Stream) -> Result<sys::CUdeviceptr> {
        let ptr = self.room(n)?;
        if n > 0 {
            // SAFETY: there is room.
            unsafe { result::memset_d8_async(ptr, byte, n * size_of::<T>(), stream.raw) }
                .map_err(failed("clearing"))?;
        }
        Ok(ptr)
    }
}

impl<T> Buffer<T> {
    fn free(&mut self) {
        if self.ptr != 0 && self.device.bind().is_ok() {
            // SAFETY: allocated by `room`; the driver waits for kernels that use it.
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
