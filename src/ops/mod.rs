//! Equivariant operations: the building blocks of networks on irreps, such as MACE.
//!
//! | | where |
//! | --- | --- |
//! | irreps, `128x0e+128x1o` | [`irreps`] |
//! | the order of the numbers in a block | [`layout`] |
//! | 3j symbols, coupling tensors | [`coupling`] |
//! | what to compute, as plain data | [`spec`] |
//! | the front door: checks, scratch memory, dispatch | [`op`] |
//! | spherical harmonics | [`harmonics`] |
//! | linear maps, for all rows or by species | [`linear`] |
//! | products of two arguments, as convolution too | [`product`] |
//! | symmetric contraction | [`contraction`] |
//! | on CUDA devices | `cuda` |
//! | functions of distances | [`radial`] |
//! | perceptrons, gates, activations | [`mlp`], [`gate`], [`activation`] |
//!
//! An operation is made once from a [`Spec`] and then executed: `forward`, `backward` for any of its arguments, `double_backward` for
//! training on gradients. It allocates nothing but what its [`Workspace`] grows to; results depend neither on the number of
//! threads nor on the order of edges, to the last bit.
#![cfg_attr(not(feature = "ops"), allow(dead_code))]

pub mod activation;
mod arrays;
pub mod contraction;
pub mod coupling;
#[cfg(feature = "cuda")]
pub mod cuda;
mod edges;
pub mod gate;
#[cfg(feature = "cuda")]
mod gate_cuda;
pub mod harmonics;
#[cfg(feature = "cuda")]
pub(crate) mod harmonics_cuda;
pub mod irreps;
mod jet;
pub mod kernel;
pub mod layout;
pub mod linear;
pub mod mlp;
#[cfg(feature = "cuda")]
mod mlp_cuda;
mod mlp_layer;
pub mod op;
pub mod product;
pub mod radial;
#[cfg(feature = "cuda")]
mod radial_cuda;
pub mod scratch;
pub mod spec;
mod species;

pub use crate::simd::Isa;
pub use arrays::Arrays;
pub use coupling::Convention;
pub use irreps::{Block, Irrep, Irreps, Parity};
pub use kernel::{Extent, IndexPort, Pass, Port, Ports, Sizes};
pub use layout::Layout;
pub use op::{Args, Op};
pub use scratch::Workspace;
pub use spec::{Arithmetic, Operation, Spec};

/// The examples of `docs/operations.md`.
#[cfg(all(doctest, feature = "cuda"))]
#[doc = include_str!("../../docs/operations.md")]
struct Documentation;
