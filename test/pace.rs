//! PACE potentials: reading, and everything that the implementation behind ML-PACE computed with them.

mod common;
#[cfg(feature = "cuda")]
#[path = "pace/gpu.rs"]
mod gpu;
#[path = "pace/grades.rs"]
mod grades;
mod naive;
#[path = "pace/golden.rs"]
mod pace_golden;
#[path = "pace/naive.rs"]
mod pace_naive;
#[path = "pace/python_ace.rs"]
mod python_ace;
#[path = "pace/random.rs"]
mod random;
#[path = "pace/refusals.rs"]
mod refusals;
