//! Where something is computed.

#[cfg(feature = "cuda")]
pub(crate) mod cuda;

use std::str::FromStr;

/// A device that plans run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Device {
    /// The processor, on the threads of rayon's current pool.
    Cpu,
    /// The CUDA device of this index.
    Cuda(usize),
}

/// `cpu`, `cuda` for the first CUDA device, `cuda:INDEX`.
impl FromStr for Device {
    type Err = String;

    fn from_str(name: &str) -> Result<Device, String> {
        match (name, name.strip_prefix("cuda:").map(str::parse)) {
            ("cpu", _) => Ok(Device::Cpu),
            ("cuda", _) => Ok(Device::Cuda(0)),
            (_, Some(Ok(index))) => Ok(Device::Cuda(index)),
            _ => Err("none of cpu, cuda, cuda:INDEX".into()),
        }
    }
}

impl Device {
    /// How many CUDA devices there are: 0 without a driver that works, or in a build without CUDA.
    pub fn n_cuda() -> usize {
        #[cfg(feature = "cuda")]
        return cuda::context::Context::count().unwrap_or(0);
        #[cfg(not(feature = "cuda"))]
        0
    }
}
