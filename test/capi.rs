//! The C ABI, called as C does.

#[path = "capi/header.rs"]
mod header;
