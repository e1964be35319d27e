//! What the device can do at most: fused multiply–adds in registers, copies in its memory and to and from the host.

use acerust::cuda::compile::compile;
use cudarc::driver::{CudaContext, CudaStream, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;
use std::sync::Arc;

const CODE: &str = r#"
template <class T> __device__ void chains(T* out, int n) {
  T x[8], f = T(0.999999), t = T(1e-6) * threadIdx.x;
  for (int k = 0; k < 8; k++) x[k] = T(k);
  for (int i = 0; i < n; i++)
#pragma unroll
    for (int k = 0; k < 8; k++) x[k] = x[k] * f + t;
  T s = 0;
  for (int k = 0; k < 8; k++) s += x[k];
  out[blockIdx.x * blockDim.x + threadIdx.x] = s;
}
extern "C" __global__ void chains_f64(double* out, int n) { chains(out, n); }
extern "C" __global__ void chains_f32(float* out, int n) { chains(out, n); }
"#;

pub struct Peaks {
    /// 10⁹ operations per second, two for each multiply–add.
    pub f64: f64,
    pub f32: f64,
    /// GB/s: read and written in device memory, pinned memory to the device and back.
    pub copy: f64,
    pub upload: f64,
    pub download: f64,
}

/// The shortest of several times of `f`, s, by events.
fn shortest(stream: &Arc<CudaStream>, mut f: impl FnMut()) -> f64 {
    let flags = cudarc::driver::sys::CUevent_flags::CU_EVENT_DEFAULT;
    f();
    let times = (0..8).map(|_| {
        let start = stream.record_event(Some(flags)).expect("an event");
        f();
        let end = stream.record_event(Some(flags)).expect("an event");
        f64::from(start.elapsed_ms(&end).expect("a time")) * 1e-3
    });
    times.fold(f64::INFINITY, f64::min)
}

impl Peaks {
    pub fn measure(context: &Arc<CudaContext>) -> Peaks {
        let stream = context.new_stream().expect("a stream");
        let (major, minor) = context.compute_capability().expect("a capability");
        let (image, _) = compile("peaks", CODE, (10 * major + minor) as u32, &[]).expect("machine code");
        let module = context.load_module(Ptx::from_binary(image)).expect("a module");
        let (blocks, threads, n) = (132 * 16, 256, 4096);
        let out = stream.alloc_zeros::<f64>(blocks * threads).expect("memory");
        let rate = |name: &str| {
            let function = module.load_function(name).expect("a kernel");
            let config = LaunchConfig {
                grid_dim: (blocks as u32, 1, 1),
                block_dim: (threads as u32, 1, 1),
                shared_mem_bytes: 0,
            };
            let seconds = shortest(&stream, || {
                // SAFETY: `out` has an entry for each thread.
                unsafe { stream.launch_builder(&function).arg(&out).arg(&(n as i32)).launch(config) }
                    .expect("a launch");
            });
            (2 * 8 * n * blocks * threads) as f64 / seconds * 1e-9
        };
        let bytes = 1 << 30;
        let from = stream.alloc_zeros::<u8>(bytes).expect("memory");
        let mut to = stream.alloc_zeros::<u8>(bytes).expect("memory");
        let seconds = shortest(&stream, || stream.memcpy_dtod(&from, &mut to).expect("a copy"));
        // SAFETY: written below before it is read.
        let mut pinned = unsafe { context.alloc_pinned::<u8>(bytes / 8) }.expect("pinned memory");
        pinned.as_mut_slice().expect("a slice").fill(1);
        let up = shortest(&stream, || stream.memcpy_htod(&pinned, &mut to).expect("a copy"));
        let part = from.slice(..bytes / 8);
        let down = shortest(&stream, || stream.memcpy_dtoh(&part, &mut pinned).expect("a copy"));
        let gigabytes = bytes as f64 * 1e-9;
        Peaks {
            f64: rate("chains_f64"),
            f32: rate("chains_f32"),
            copy: 2.0 * gigabytes / seconds,
            upload: gigabytes / 8.0 / up,
            download: gigabytes / 8.0 / down,
        }
    }
}
