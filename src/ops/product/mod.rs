//! Products of two arguments on irreps, a row at a time or as convolution over a graph.

pub mod channelwise;
#[cfg(feature = "cuda")]
pub(crate) mod channelwise_cuda;
mod channelwise_kernel;
mod convolution;
pub mod fully_connected;
#[cfg(feature = "cuda")]
pub(crate) mod fully_connected_cuda;
mod fully_connected_kernel;
pub mod paths;
