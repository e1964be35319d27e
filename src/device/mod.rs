//! Where something is computed.

#[cfg(feature = "cuda")]
pub(crate) mod cuda;

use crate::Error;
use std::str::FromStr;

/// A device that plans run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Device {
    /// The processor, on the threads of rayon's current pool.
    Cpu,
    /// The CUDA device of this index.
    Cuda(usize),
    /// `n` CUDA devices from the `first` on that share each structure: space is cut into slabs, and every device evaluates one, with the
    /// ghosts that its energies need. This is for large systems of several layers, as of MACE; lists of neighbours are on the host.
    Cudas { first: usize, n: usize },
}

/// `n` devices where `what` runs on one.
pub(crate) fn too_many(n: usize, what: &str) -> Error {
    Error::Argument(format!("{n} devices: {what} runs on one"))
}

/// `cpu`, `cuda` for the first CUDA device, `cuda:INDEX`, `cuda:FIRST-LAST` for several that share each structure.
impl FromStr for Device {
    type Err = String;

    fn from_str(name: &str) -> Result<Device, String> {
        let number = |digits: &str| digits.parse::<usize>().ok();
        let index = name.strip_prefix("cuda:");
        let range = index.and_then(|index| index.split_once('-'));
        match (name, index.and_then(number), range.map(|(first, last)| (number(first), number(last)))) {
            ("cpu", ..) => Ok(Device::Cpu),
            ("cuda", ..) => Ok(Device::Cuda(0)),
            (_, Some(index), _) => Ok(Device::Cuda(index)),
            (_, _, Some((Some(first), Some(last)))) if first <= last && last < usize::MAX => {
                Ok(Device::Cuda(first).and(last - first + 1))
            }
            _ => Err("none of cpu, cuda, cuda:INDEX, cuda:FIRST-LAST".into()),
        }
    }
}

impl Device {
    /// So many devices, from this CUDA device on, 1 at least.
    pub(crate) fn and(self, n: usize) -> Device {
        match self {
            Device::Cuda(first) if n > 1 => Device::Cudas { first, n },
            one => one,
        }
    }

    /// How many CUDA devices there are: 0 without a driver that works, or in a build without CUDA.
    pub fn n_cuda() -> usize {
        #[cfg(feature = "cuda")]
        return cuda::context::Context::count().unwrap_or(0);
        #[cfg(not(feature = "cuda"))]
        0
    }
}
