//! MACE: equivariant message passing.
//!
//! | | where |
//! | --- | --- |
//! | configuration and tensors as files have them | [`spec`] |
//! | checkpoints, read without Python | `checkpoint` |
//! | the model as mathematics, checked and folded | [`network`] |
//! | on processors | `cpu` |
//! | on CUDA devices | `cuda` |
//! | derivatives by parameters | [`train`] |

mod checkpoint;
mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod evaluator;
pub mod network;
pub mod spec;
pub mod train;

#[cfg(feature = "cuda")]
pub(crate) use cpu::complete;
pub use cpu::{Gradients, Input, Output};
pub use evaluator::Evaluator;
pub use network::Network;
