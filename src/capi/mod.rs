//! The C ABI of `libacerust`: what C, C++, Fortran, Python and Julia call. Its header is `include/acerust.h`.
//!
//! Every function returns a status ([`status`]) and runs behind one guard, so that no panic reaches the caller.
//! Handles are keys into tables of live objects ([`handle`]); they are never dereferenced. Buffers are the caller's, with
//! explicit lengths, checked before anything is computed ([`buffer`]). Results go where the last pointers of a function say.
//!
//! # Safety
//! For all functions alike: a pointer is null, where the function allows it, or points to as many numbers as the length beside
//! it says, readable or (for results) writable by the callee alone while the call lasts.
#![allow(clippy::missing_safety_doc, clippy::too_many_arguments)]
// The comments are those of the C header, where brackets index arrays.
#![allow(rustdoc::broken_intra_doc_links)]
// Structs of C have pointers that nobody may read to print them; handles have nothing to print.
#![allow(missing_debug_implementations)]

pub mod active;
pub mod basis;
pub mod batch;
pub mod buffer;
pub mod element;
pub mod evaluate;
pub mod fit;
pub mod graph;
pub mod handle;
pub mod list;
pub mod model;
pub mod op;
mod passes;
pub mod plan;
pub mod status;
pub mod train;
pub mod version;
