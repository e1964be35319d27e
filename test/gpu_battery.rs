//! The battery on a CUDA device. Without one it says that it is skipped, unless `ACERUST_GPU=1` demands it.
#![cfg(feature = "cuda")]

mod checks;
mod common;
mod naive;

use acerust::model::Model;
use acerust::plan::{Device, Options, Plan, Precision};
use checks::cases::Case;

/// No cases where there is no device. Tables are of no use there: radial functions are always exact.
fn cases() -> Vec<Case> {
    let model = Model::load("benchmark/models/sio_o2.json").expect("a benchmark model");
    match Plan::new(&model, Device::Cuda(0), Precision::F64) {
        Ok(_) => {}
        Err(e) if std::env::var_os("ACERUST_GPU").is_some() => panic!("a device was demanded: {e}"),
        Err(e) => {
            eprintln!("SKIPPED: nothing ran on a GPU: {e}");
            return Vec::new();
        }
    }
    let options = Options::default();
    [(Precision::F64, 1e-10), (Precision::F32, 2e-5), (Precision::F32_DISTANCES, 5e-4)]
        .map(|(precision, tolerance)| Case { device: Device::Cuda(0), precision, options, tolerance })
        .to_vec()
}

checks::battery!(crate::cases());
