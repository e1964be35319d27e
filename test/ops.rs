//! Equivariant operations: against e3nn's numbers, against their definition, and for what holds of any of them.

#[path = "ops/battery.rs"]
mod battery;
#[path = "ops/golden.rs"]
mod golden;
