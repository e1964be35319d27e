//! Equivariant operations: against e3nn's numbers, against their definition, and for what holds of any of them.

#[path = "ops/battery.rs"]
mod battery;
mod common;
#[cfg(feature = "cuda")]
#[path = "ops/device.rs"]
mod device;
#[path = "ops/equivariance.rs"]
mod equivariance;
#[path = "ops/golden.rs"]
mod golden;
#[cfg(feature = "cuda")]
#[path = "ops/gpu.rs"]
mod gpu;
#[path = "ops/naive.rs"]
mod naive;
#[path = "ops/random.rs"]
mod random;
#[path = "ops/refusals.rs"]
mod refusals;
#[path = "ops/refused.rs"]
mod refused;
