//! Compiled kernels and their launch.

use super::compile;
use super::context::{Context, failed};
use super::stream::{Argument, Launch, Stream};
use crate::Result;
use cudarc::driver::{result, sys};
use std::collections::HashMap;
use std::ffi::CString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A kernel file with everything it needs, and the dynamic shared memory of its two main kernels.
#[derive(Debug)]
pub struct KernelSource {
    pub name: &'static str,
    pub text: String,
    pub shared: usize,
    pub shared_gradient: usize,
}

/// A loaded module.
pub struct Module {
    raw: sys::CUmodule,
    /// Never the same again.
    number: u64,
    device: Arc<Context>,
    functions: Mutex<HashMap<String, (usize, usize)>>,
    pub shared: usize,
    pub shared_gradient: usize,
}

// SAFETY: handles may be used from any thread.
unsafe impl Send for Module {}
unsafe impl Sync for Module {}

/// How a kernel is launched.
#[derive(Clone, Copy)]
pub struct Grid {
    pub blocks: usize,
    pub threads: usize,
    /// Bytes of dynamic shared memory.
    pub shared: usize,
}

impl Module {
    pub fn load(device: &Arc<Context>, source: &KernelSource) -> Result<Module> {
        let image = compile::cubin(source.name, &source.text, device.architecture)?;
        device.bind()?;
        // SAFETY: the image is a complete ELF file.
        let raw = unsafe { result::module::load_data(image.as_ptr().cast()) }.map_err(failed("loading kernels"))?;
        let KernelSource { shared, shared_gradient, .. } = *source;
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Ok(Module { raw, number, device: device.clone(), functions: Mutex::default(), shared, shared_gradient })
    }

    /// Launches `kernel`; does nothing for a grid without blocks.
    ///
    /// # Safety
    /// The arguments must be what the kernel expects, and what they point to must be large enough and outlive it.
    pub unsafe fn launch(&self, kernel: &str, grid: Grid, stream: &Stream, arguments: &[Argument]) -> Result<()> {
        // SAFETY: the word of the caller.
        unsafe { self.launch_blocks(kernel, [grid.blocks, 1, 1], grid, stream, arguments) }
    }

    /// [`Module::launch`] with blocks in three directions; those of the grid do not count.
    ///
    /// # Safety
    /// As there.
    pub unsafe fn launch_blocks(
        &self,
        kernel: &str,
        blocks: [usize; 3],
        grid: Grid,
        stream: &Stream,
        arguments: &[Argument],
    ) -> Result<()> {
        if blocks.contains(&0) {
            return Ok(());
        }
        let function = self.function(kernel, grid.shared)?;
        let [threads, shared] = [grid.threads, grid.shared].map(|n| n as u32);
        let blocks = blocks.map(|n| n as u32);
        // SAFETY: the function is of this module, which outlives its launches (`Drop`); the caller vouches for the arguments.
        unsafe { stream.launch(Launch { module: self.number, function, blocks, threads, shared }, arguments) }
    }

    fn function(&self, name: &str, shared: usize) -> Result<sys::CUfunction> {
        let mut functions = self.functions.lock().unwrap_or_else(|e| e.into_inner());
        let known = functions.get(name).copied();
        if let Some((f, most)) = known
            && shared <= most
        {
            return Ok(f as sys::CUfunction);
        }
        let title = CString::new(name).expect("no zero byte");
        // SAFETY: the module is loaded.
        let f = unsafe { result::module::get_function(self.raw, title) }.map_err(failed(name))?;
        if shared > 48 << 10 {
            let most = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function is alive.
            unsafe { result::function::set_function_attribute(f, most, shared as i32) }.map_err(failed(name))?;
        }
        functions.insert(name.to_owned(), (f as usize, shared.max(48 << 10)));
        Ok(f)
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: nothing launches from it any more.
            let _ = unsafe { result::module::unload(self.raw) };
        }
    }
}

/// Kernel arguments; they must not have padding.
macro_rules! arguments {
    ($($x:expr),* $(,)?) => { &[$($crate::device::cuda::stream::Argument::new(&$x)),*] };
}
pub(crate) use arguments;
