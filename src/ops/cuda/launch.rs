//! Modules of kernels, their launch, and scratch memory.

use crate::device::cuda::compile;
use crate::device::cuda::context::{Context, failed};
use crate::ops::kernel::MAX_INPUTS;
use crate::{Error, Result};
use cudarc::driver::{CudaFunction, CudaModule, CudaSlice, CudaStream, DevicePtr, DeviceRepr, LaunchConfig, result};
use cudarc::nvrtc::Ptx;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Where an operation is made.
pub(crate) struct Target {
    pub device: Arc<Context>,
    pub stream: Arc<CudaStream>,
}

impl Target {
    /// Compiles a kernel file; the cache is asked first.
    pub fn module(&self, name: &str, source: &str) -> Result<Module> {
        let image = compile::cubin(name, source, self.device.architecture)?;
        let module = self.device.context().load_module(Ptx::from_binary(image)).map_err(failed("loading kernels"))?;
        Ok(Module { module, functions: Mutex::default() })
    }

    pub fn upload<T: DeviceRepr>(&self, data: &[T]) -> Result<CudaSlice<T>> {
        self.stream.clone_htod(data).map_err(failed("copying tables"))
    }
}

/// A loaded module.
pub(crate) struct Module {
    module: Arc<CudaModule>,
    functions: Mutex<HashMap<&'static str, CudaFunction>>,
}

impl Module {
    pub fn function(&self, name: &'static str) -> Result<CudaFunction> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = functions.get(name) {
            return Ok(function.clone());
        }
        let function = self.module.load_function(name).map_err(failed(name))?;
        functions.insert(name, function.clone());
        Ok(function)
    }
}

/// Launches `kernel` of a module on the stream of a call; nothing where the grid is empty. The arguments, places of plain numbers and
/// structs without padding, are what the kernel expects.
macro_rules! launch {
    ($module:expr, $kernel:expr, $call:expr, $grid:expr, $threads:expr, [$($x:expr),* $(,)?]) => {{
        use cudarc::driver::PushKernelArg;
        if let Some(config) = $crate::ops::cuda::launch::grid($grid, $threads)? {
            let function = $module.function($kernel)?;
            let mut arguments = $call.stream.launch_builder(&function);
            $(arguments.arg(&$x);)*
            // SAFETY: tables, lists and scratch memory are of the sizes that the kernel was compiled for; the caller of the operation
            // vouches for the rest.
            unsafe { arguments.launch(config) }.map_err($crate::device::cuda::context::failed($kernel))?;
        }
    }};
}
pub(crate) use launch;

/// # Errors
/// More blocks than a grid can have.
pub(crate) fn grid(blocks: [usize; 3], threads: usize) -> Result<Option<LaunchConfig>> {
    if blocks.contains(&0) {
        return Ok(None);
    }
    let [x, y, z] = blocks;
    if x > i32::MAX as usize || y > 65_535 || z > 65_535 {
        return Err(Error::Argument(format!("{x} × {y} × {z} blocks are too many for a CUDA device")));
    }
    let grid_dim = (x as u32, y as u32, z as u32);
    Ok(Some(LaunchConfig { grid_dim, block_dim: (threads as u32, 1, 1), shared_mem_bytes: 0 }))
}

/// An input as kernels have it: values and a direction, 0 for none.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Input {
    pub value: u64,
    pub direction: u64,
}

// SAFETY: two addresses.
unsafe impl DeviceRepr for Input {}

impl Input {
    pub fn constant(value: u64) -> Input {
        Input { value, direction: 0 }
    }
}

/// Where a result goes, and where it leaves a mark if it is not finite: addresses, 0 for none.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Output {
    pub to: u64,
    pub mark: u64,
}

// SAFETY: two addresses.
unsafe impl DeviceRepr for Output {}

impl Output {
    /// That nobody looks at.
    pub fn inner(to: u64) -> Output {
        Output { to, mark: 0 }
    }

    pub fn wanted(self) -> bool {
        self.to != 0
    }
}

/// Marks of results that are not finite, in memory of the host that kernels write to: nothing has to be copied to look at them.
pub(crate) struct Marks {
    device: Arc<Context>,
    words: *mut u32,
}

/// One for each input and one for what has the shape of the output.
const N_MARKS: usize = MAX_INPUTS + 1;

// SAFETY: memory of the whole process; whoever has the marks waits for the kernels before it reads them.
unsafe impl Send for Marks {}

impl Marks {
    pub fn new(device: &Arc<Context>) -> Result<Marks> {
        device.bind()?;
        // SAFETY: owned by what is returned.
        let words = unsafe { result::malloc_host(N_MARKS * size_of::<u32>(), 0) }.map_err(failed("pinned memory"))?;
        let marks = Marks { device: device.clone(), words: words.cast() };
        marks.clear();
        Ok(marks)
    }

    /// Of result `k`, for kernels: with unified addressing those of the host are those of the device.
    pub fn address(&self, k: usize) -> u64 {
        self.words.wrapping_add(k).addr() as u64
    }

    /// The first result that has one. What was queued is done.
    pub fn first(&self) -> Option<usize> {
        // SAFETY: there are as many; kernels may write them at any time.
        (0..N_MARKS).find(|&k| unsafe { self.words.add(k).read_volatile() } != 0)
    }

    pub fn clear(&self) {
        // SAFETY: as above.
        (0..N_MARKS).for_each(|k| unsafe { self.words.add(k).write_volatile(0) });
    }
}

impl Drop for Marks {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: allocated above. The driver waits for kernels that may write there.
            let _ = unsafe { result::free_host(self.words.cast()) };
        }
    }
}

/// The address of memory that stays.
pub(crate) fn address<T>(slice: &CudaSlice<T>) -> u64 {
    slice.device_ptr(slice.stream()).0
}

/// Scratch memory: pieces that grow to what is needed, and then stay.
pub(crate) struct Memory {
    stream: Arc<CudaStream>,
    pieces: Vec<Option<CudaSlice<u8>>>,
}

impl Memory {
    pub fn new(stream: &Arc<CudaStream>) -> Memory {
        Memory { stream: stream.clone(), pieces: Vec::new() }
    }

    /// The address of piece `k`, of at least `bytes`, for work on the stream of `user`.
    ///
    /// # Errors
    /// Out of memory.
    pub fn reserve(&mut self, k: usize, bytes: usize, user: &CudaStream) -> Result<u64> {
        if self.pieces.len() <= k {
            self.pieces.resize_with(k + 1, || None);
        }
        if self.pieces[k].as_ref().is_none_or(|piece| piece.len() < bytes) {
            // What is queued may still use the old piece.
            user.synchronize().map_err(failed("waiting for the kernels"))?;
            self.pieces[k] = None;
            let what = format!("allocating {:.2} GB", bytes as f64 / 1e9);
            // SAFETY: kernels write what they read.
            let piece = unsafe { self.stream.alloc::<u8>(bytes.max(1)) }.map_err(failed(&what))?;
            self.stream.synchronize().map_err(failed(&what))?;
            self.pieces[k] = Some(piece);
        }
        Ok(address(self.pieces[k].as_ref().expect("made above")))
    }
}
