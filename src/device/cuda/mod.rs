//! CUDA: devices, memory, streams, compilation and launch of kernels. Nothing here knows what is computed.

mod cache;
pub mod compile;
pub(crate) mod context;
pub(crate) mod kernel;
mod library;
pub(crate) mod solver;
pub(crate) mod staging;
pub(crate) mod stream;
