//! MACE models: files, the naive reference.

#[path = "mace/against_naive.rs"]
mod against_naive;
mod common;
#[path = "mace/files.rs"]
mod files;
#[path = "mace/hostile.rs"]
mod hostile;
#[path = "mace/models.rs"]
mod models;
#[path = "mace/naive.rs"]
mod naive;
