//! PACE potentials: reading, and everything that the implementation behind ML-PACE computed with them.

mod common;
mod naive;
#[path = "pace/golden.rs"]
mod pace_golden;
#[path = "pace/naive.rs"]
mod pace_naive;
#[path = "pace/refusals.rs"]
mod refusals;
