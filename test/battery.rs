//! The battery on the processor, with every instruction set.

mod checks;
mod common;
mod naive;

checks::battery!(crate::checks::cases::cpu());
