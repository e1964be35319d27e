//! Where something is computed.

#[cfg(feature = "cuda")]
pub(crate) mod cuda;

/// A device that plans run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Device {
    /// The processor, on the threads of rayon's current pool.
    Cpu,
    /// The CUDA device of this index.
    Cuda(usize),
}
