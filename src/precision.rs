//! Which types of numbers a calculation uses where.

use crate::dtype::Dtype;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// Three independent types: of distances and their transform, of arithmetic, and of what is stored in between.
///
/// Positions are subtracted, and atoms summed, in double precision whatever they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Precision {
    pub distances: Dtype,
    pub arithmetic: Dtype,
    pub storage: Dtype,
}

impl Precision {
    /// Double precision throughout.
    pub const F64: Precision = Precision::new(Dtype::F64, Dtype::F64, Dtype::F64);
    /// Single precision, but for the transform of distances.
    pub const F32: Precision = Precision::new(Dtype::F64, Dtype::F32, Dtype::F32);
    /// Single precision, the transform of distances included. The processor transforms distances in a form that keeps their
    /// digits in single precision and computes the same for this as for [`Precision::F32`].
    pub const F32_DISTANCES: Precision = Precision::new(Dtype::F32, Dtype::F32, Dtype::F32);
    /// The presets by name.
    pub const PRESETS: [(&'static str, Precision); 3] =
        [("f64", Precision::F64), ("f32", Precision::F32), ("f32-distances", Precision::F32_DISTANCES)];

    pub const fn new(distances: Dtype, arithmetic: Dtype, storage: Dtype) -> Precision {
        Precision { distances, arithmetic, storage }
    }

    /// Whether radial functions and products are in single precision.
    pub(crate) fn is_single(self) -> bool {
        self.arithmetic != Dtype::F64
    }
}

/// The name of a preset, else the three types.
impl Display for Precision {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match Precision::PRESETS.iter().find(|(_, p)| p == self) {
            Some((name, _)) => f.pad(name),
            None => write!(f, "{:?}", (self.distances, self.arithmetic, self.storage)),
        }
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Precision, String> {
        let names = Precision::PRESETS.map(|(name, _)| name).join(", ");
        let preset = Precision::PRESETS.iter().find(|(known, _)| *known == name);
        preset.map(|&(_, precision)| precision).ok_or(format!("none of {names}"))
    }
}
