//! MACE: equivariant message passing.
//!
//! | | where |
//! | --- | --- |
//! | configuration and tensors as files have them | [`spec`] |
//! | checkpoints, read without Python | `checkpoint` |
//! | the model as mathematics, checked and folded | [`network`] |
//! | on processors | `cpu` |

mod checkpoint;
mod cpu;
mod evaluator;
pub mod network;
pub mod spec;

pub use cpu::{Exchange, Gradients, Input, Output};
pub use evaluator::Evaluator;
pub use network::Network;
