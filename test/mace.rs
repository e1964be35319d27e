//! MACE models: files, the naive reference, the evaluator.

#[path = "mace/against_naive.rs"]
mod against_naive;
#[cfg(feature = "cuda")]
#[path = "mace/batches.rs"]
mod batches;
mod common;
#[path = "mace/exchange.rs"]
mod exchange;
#[path = "mace/files.rs"]
mod files;
#[path = "mace/golden.rs"]
mod golden;
#[cfg(feature = "cuda")]
#[path = "mace/gpu.rs"]
mod gpu;
#[path = "mace/hostile.rs"]
mod hostile;
#[path = "mace/models.rs"]
mod models;
#[path = "mace/naive.rs"]
mod naive;
#[path = "mace/physics.rs"]
mod physics;
#[path = "mace/plan.rs"]
mod plan;
#[path = "mace/rotations.rs"]
mod rotations;
#[cfg(feature = "cuda")]
#[path = "../benchmark/mace/model.rs"]
mod size;
#[cfg(feature = "ops")]
#[path = "mace/training.rs"]
mod training;
#[cfg(all(feature = "cuda", feature = "ops"))]
#[path = "mace/training_gpu.rs"]
mod training_gpu;
