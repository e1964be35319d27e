//! One target under libFuzzer: that which `ACERUST_FUZZ_TARGET` names. Its seeds go into the folder `ACERUST_FUZZ_SEEDS`, where set.
#![no_main]

mod limit;
mod mutate;
mod targets;

use std::sync::LazyLock;
use targets::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("ACERUST_FUZZ_TARGET").unwrap_or_default();
    TARGETS.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("ACERUST_FUZZ_TARGET: there is no `{name}`"))
});

fn write_seeds() {
    let Some(folder) = std::env::var_os("ACERUST_FUZZ_SEEDS") else { return };
    for (k, seed) in (TARGET.seeds)().into_iter().enumerate() {
        let path = std::path::Path::new(&folder).join(format!("seed-{k}"));
        std::fs::write(path, seed).expect("the folder of seeds");
    }
}

libfuzzer_sys::fuzz_target!(init: write_seeds(), |input: &[u8]| {
    limit::within(targets::MOST_BYTES, || (TARGET.run)(input));
});
