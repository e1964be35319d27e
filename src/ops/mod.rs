//! Equivariant operations: the building blocks of networks on irreps, such as MACE.
//!
//! | | where |
//! | --- | --- |
//! | irreps, `128x0e+128x1o` | [`irreps`] |
//! | the order of the numbers in a block | [`layout`] |
//! | 3j symbols, coupling tensors | [`coupling`] |

pub mod coupling;
pub mod irreps;
pub mod layout;

pub use coupling::Convention;
pub use irreps::{Block, Irrep, Irreps, Parity};
pub use layout::Layout;
