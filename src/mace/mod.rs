//! MACE: equivariant message passing.
//!
//! | | where |
//! | --- | --- |
//! | configuration and tensors as files have them | [`spec`] |
//! | checkpoints, read without Python | `checkpoint` |
//! | the model as mathematics, checked and folded | [`network`] |

mod checkpoint;
pub mod network;
pub mod spec;

pub use network::Network;
