//! What is fuzzed: a line a target.

#[path = "capi.rs"]
mod capi;
#[path = "checkpoint.rs"]
mod checkpoint;
#[path = "extxyz.rs"]
mod extxyz;
#[path = "model.rs"]
mod model;
#[path = "pace.rs"]
mod pace;
#[path = "recipe.rs"]
mod recipe;

pub struct Target {
    pub name: &'static str,
    /// Inputs that are acceptable.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Says whether an input is acceptable; panics where something is wrong with us.
    pub run: fn(&[u8]) -> bool,
}

pub const TARGETS: [Target; 7] = [
    Target { name: "model", seeds: model::seeds, run: model::target },
    Target { name: "reference", seeds: model::reference_seeds, run: model::reference_target },
    Target { name: "pace", seeds: pace::seeds, run: pace::target },
    Target { name: "checkpoint", seeds: checkpoint::seeds, run: checkpoint::target },
    Target { name: "recipe", seeds: recipe::seeds, run: recipe::target },
    Target { name: "extxyz", seeds: extxyz::seeds, run: extxyz::target },
    Target { name: "capi", seeds: capi::seeds, run: capi::target },
];

/// The memory that any input may take, of at most 96 KiB.
pub const MOST_BYTES: usize = 256 << 20;
