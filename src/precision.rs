//! Which types of numbers a calculation uses where.

use crate::dtype::{Arithmetic, Dtype};
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// Independent types: of distances and their transform, of arithmetic, and of what is stored in between; and how matrices are multiplied.
///
/// Positions are subtracted, and atoms summed, in double precision whatever they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Precision {
    pub distances: Dtype,
    pub arithmetic: Dtype,
    pub storage: Dtype,
    pub matrices: Arithmetic,
    /// Whether radial tables are in numbers of 24 bits (16 of mantissa), where they are tables.
    pub packed_tables: bool,
}

impl Precision {
    /// Double precision throughout.
    pub const F64: Precision = Precision::new(Dtype::F64, Dtype::F64, Dtype::F64);
    /// Single precision, but for the transform of distances.
    pub const F32: Precision = Precision::new(Dtype::F64, Dtype::F32, Dtype::F32);
    /// Single precision, the transform of distances included. The processor transforms distances in a form that keeps their
    /// digits in single precision and computes the same for this as for [`Precision::F32`].
    pub const F32_DISTANCES: Precision = Precision::new(Dtype::F32, Dtype::F32, Dtype::F32);
    /// Single precision, with radial tables in numbers of 24 bits; for MACE models on CUDA devices, as those that follow.
    pub const F24_RADIAL: Precision = Precision { packed_tables: true, ..Precision::F32 };
    /// The same with factors of linear maps of 10 bits of mantissa.
    pub const TF32: Precision = Precision::F24_RADIAL.with_matrices(Arithmetic::Tf32);
    /// The same with features and messages, and their adjoints, in f16 between one kernel and the next.
    pub const F16_FEATURES: Precision = Precision { storage: Dtype::F16, ..Precision::TF32 };
    /// The same with bf16 instead of f16.
    pub const BF16_FEATURES: Precision =
        Precision { storage: Dtype::Bf16, ..Precision::F24_RADIAL.with_matrices(Arithmetic::Bf16) };
    /// The presets by name. Their numbers are those of the interfaces to other languages.
    pub const PRESETS: [(&'static str, Precision); 7] = [
        ("f64", Precision::F64),
        ("f32", Precision::F32),
        ("f32-distances", Precision::F32_DISTANCES),
        ("f24-radial", Precision::F24_RADIAL),
        ("tf32", Precision::TF32),
        ("f16-features", Precision::F16_FEATURES),
        ("bf16-features", Precision::BF16_FEATURES),
    ];

    pub const fn new(distances: Dtype, arithmetic: Dtype, storage: Dtype) -> Precision {
        Precision { distances, arithmetic, storage, matrices: Arithmetic::Full, packed_tables: false }
    }

    #[must_use]
    pub const fn with_matrices(self, matrices: Arithmetic) -> Precision {
        Precision { matrices, ..self }
    }

    /// The preset of this number.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn numbered(number: i64) -> Result<Precision, String> {
        let preset = usize::try_from(number).ok().and_then(|n| Precision::PRESETS.get(n));
        preset.map(|&(_, precision)| precision).ok_or(format!("no precision {number}"))
    }

    /// Whether radial functions and products are in single precision.
    pub(crate) fn is_single(self) -> bool {
        self.arithmetic != Dtype::F64
    }

    /// Whether numbers are rounded to fewer bits than those of the arithmetic.
    pub(crate) fn is_reduced(self) -> bool {
        self.storage != self.arithmetic
            || self.packed_tables
            || matches!(self.matrices, Arithmetic::Tf32 | Arithmetic::Bf16)
    }
}

/// The name of a preset, else the types.
impl Display for Precision {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match Precision::PRESETS.iter().find(|(_, p)| p == self) {
            Some((name, _)) => f.pad(name),
            None => write!(f, "{self:?}"),
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
