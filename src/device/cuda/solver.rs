//! cuSOLVER, which is opened where it is asked for.

use super::context::{Buffer, Context};
use super::library;
use super::stream::Stream;
use crate::{Error, Result};
use cudarc::cusolver::result::{self, CusolverError};
use cudarc::cusolver::sys;
use std::sync::Arc;

/// What cuSOLVER needs, in the order in which they need each other.
const LIBRARIES: [&str; 5] =
    ["libnvJitLink.so.", "libcublasLt.so.", "libcublas.so.", "libcusparse.so.", "libcusolver.so."];

/// A handle of cuSOLVER with its memory.
pub struct Solver {
    handle: sys::cusolverDnHandle_t,
    tau: Buffer<f64>,
    workspace: Buffer<f64>,
    info: Buffer<u32>,
    device: Arc<Context>,
}

// SAFETY: a handle may be used from any thread, by one at a time: it has one owner.
unsafe impl Send for Solver {}

impl Solver {
    /// # Errors
    /// No cuSOLVER, or one that does not work.
    pub fn new(device: &Arc<Context>) -> Result<Solver> {
        // SAFETY: opening NVIDIA's libraries has no side effects.
        let present = || unsafe { sys::is_culib_present() };
        let open = |folder: &_| LIBRARIES.map(|prefix| library::open(folder, prefix)).ends_with(&[true]);
        if !(present() || library::folders().iter().any(|folder| open(folder) && present())) {
            return Err(Error::Device(
                "CUDA: cuSOLVER, which factorises the rows of fits, is not installed: install the CUDA toolkit's package \
                 'libcusolver' (or `pip install nvidia-cusolver`) and set LD_LIBRARY_PATH to the folder of libcusolver.so; \
                 fits on the processor do without it"
                    .into(),
            ));
        }
        library::check(library::SOLVER)?;
        device.bind()?;
        let handle = result::dn_create().map_err(failed("starting"))?;
        let [tau, workspace] = [(); 2].map(|()| Buffer::new(device));
        Ok(Solver { handle, tau, workspace, info: Buffer::new(device), device: device.clone() })
    }

    /// Queues `A = Q R` of a column-major matrix (m, n) whose columns are `step` numbers apart: `R` takes the place of the upper triangle.
    /// Calls on different streams must wait for one another.
    ///
    /// # Errors
    /// Sizes beyond 2³¹ numbers; no memory for the work space.
    ///
    /// # Safety
    /// The matrix must be there until the work is done.
    pub unsafe fn qr(&mut self, [m, n]: [usize; 2], matrix: u64, step: usize, stream: &Stream) -> Result<()> {
        let too_large =
            |_| Error::Device(format!("CUDA: {m} rows of {n} numbers are more than cuSOLVER takes at a time"));
        i32::try_from(step.saturating_mul(n)).map_err(too_large)?;
        let ([m, n, step], matrix) = ([m, n, step].map(|x| x as i32), matrix as *mut f64);
        self.device.bind()?;
        let mut size = 0;
        // SAFETY: the handle is alive, the matrix is not looked at.
        let asked = unsafe { sys::cusolverDnDgeqrf_bufferSize(self.handle, m, n, matrix, step, &mut size) };
        asked.result().map_err(failed("asking for the work space"))?;
        let tau = self.tau.reserve(n as usize)? as *mut f64;
        let workspace = self.workspace.reserve(size.max(0) as usize)? as *mut f64;
        let info = self.info.reserve(1)? as *mut i32;
        // SAFETY: handle and stream are alive, memory was made above, and the caller vouches for the matrix.
        unsafe {
            result::dn_set_stream(self.handle, stream.raw.cast()).map_err(failed("choosing a stream"))?;
            let queued = sys::cusolverDnDgeqrf(self.handle, m, n, matrix, step, tau, workspace, size, info);
            queued.result().map_err(failed("factorising"))
        }
    }
}

fn failed(what: &str) -> impl Fn(CusolverError) -> Error + '_ {
    move |e| Error::Device(format!("CUDA: cuSOLVER: {what}: {e}"))
}

impl Drop for Solver {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: made by `new`, used no more.
            let _ = unsafe { result::dn_destroy(self.handle) };
        }
    }
}
