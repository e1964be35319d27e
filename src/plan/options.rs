//! What a plan may be told, and which precision a model on a device has.

use super::{Device, Precision, RadialMode};
use crate::model::Model;
use crate::simd::Isa;
use crate::{Error, Result};

/// What a plan may be told beyond device and precision.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Options {
    /// `None`: [`RadialMode::Exact`].
    pub radial: Option<RadialMode>,
    /// `None`: the best instruction set of the processor.
    pub isa: Option<Isa>,
    /// Types that are no preset, or are not offered as their errors are too large: to measure these.
    #[doc(hidden)]
    pub any_precision: bool,
}

/// Presets whose forces are off by more than 1e-3 of the largest, and by how much (`docs/mace.md`).
const NOT_OFFERED: [(Precision, f64); 3] =
    [(Precision::TF32, 2e-3), (Precision::F16_FEATURES, 2e-3), (Precision::BF16_FEATURES, 3e-2)];

impl Options {
    pub fn new() -> Options {
        Options::default()
    }

    /// How radial functions are evaluated.
    pub fn radial(self, mode: RadialMode) -> Options {
        Options { radial: Some(mode), ..self }
    }

    /// The instruction set of the processor.
    pub fn isa(self, isa: Isa) -> Options {
        Options { isa: Some(isa), ..self }
    }

    #[doc(hidden)]
    pub fn any_precision(self) -> Options {
        Options { any_precision: true, ..self }
    }

    /// # Errors
    /// A precision that is no preset, or that this model does not have on this device.
    pub(super) fn check_precision(&self, model: &Model, device: Device, precision: Precision) -> Result<()> {
        let refused = |why: String| Err(Error::Argument(format!("precision {precision}: {why}")));
        let on_tensor_cores = device != Device::Cpu && model.mace().is_some();
        if precision.is_reduced() && !on_tensor_cores {
            let full = Precision::PRESETS.iter().filter(|(_, p)| !p.is_reduced()).map(|(name, _)| *name);
            let full = full.collect::<Vec<_>>().join(", ");
            return refused(format!("is for MACE models on CUDA devices; others, and processors, have {full}"));
        }
        if self.any_precision {
            return Ok(());
        }
        if !Precision::PRESETS.iter().any(|(_, known)| *known == precision) {
            return refused("none of the presets".into());
        }
        match NOT_OFFERED.iter().find(|(known, _)| *known == precision) {
            Some((_, error)) => refused(format!("is not offered, as forces would be off by {error:e} of the largest")),
            None => Ok(()),
        }
    }
}
