//! The kinds of parts that a model is made of. Each has a folder, and a line in the list below; nothing else names it.

pub(crate) mod ace;
mod check;
pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
#[cfg(test)]
mod dummy;
mod onebody;
mod pair;
mod radial;
mod zbl;

pub use ace::{AceSpec, AngularSpec, EmbeddingSpec, SparseSpec};
pub use onebody::OneBodySpec;
pub use pair::PairSpec;
pub use zbl::ZblSpec;

#[cfg(feature = "cuda")]
use self::cuda::{At, PartKernels};
use crate::simd::Lanes;
use crate::stage::table::RadialMode;
use cpu::SitePart;
use serde::de::value::MapAccessDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IgnoredAny, IntoDeserializer, MapAccess, Visitor,
};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::{self, Display, Formatter};

/// What a kind says of itself. What it leaves out it does not have.
pub(crate) trait Kind: Serialize + DeserializeOwned {
    /// Å; 0 without neighbours.
    fn rcut(&self) -> f64 {
        0.0
    }

    /// Energies of atoms whatever their neighbours, (n_species), eV; or none.
    fn constants(&self) -> &[f64] {
        &[]
    }

    /// Readout weights, (n_species, n_basis), eV; empty for a part without linear parameters.
    fn weights(&self) -> &[Vec<f64>] {
        &[]
    }

    fn weights_mut(&mut self) -> &mut [Vec<f64>] {
        &mut []
    }

    /// Is the energy linear in the weights, or a constant?
    fn is_linear(&self) -> bool {
        true
    }

    /// Brings itself to its canonical form.
    fn normalise(&mut self) {}

    /// Every array length, index and number; the fault has a path relative to the part.
    fn check(&self, n_species: usize) -> Result<(), String>;

    /// At a glance; follows the name of the kind.
    fn describe(&self) -> String {
        String::new()
    }

    /// Bytes of its numbers.
    fn memory(&self) -> usize;

    /// Nominal operations an edge and a centre, see [`crate::bench::nominal_flops`].
    fn flops(&self) -> (usize, usize) {
        (0, 0)
    }

    /// On the processor, if it has neighbours; `species` are atomic numbers.
    fn compile<V: Lanes>(&self, species: &[u8], mode: RadialMode) -> Option<Box<dyn SitePart<V>>>;

    /// On a CUDA device, if it has neighbours.
    ///
    /// # Errors
    /// What kernels have no code for.
    #[cfg(feature = "cuda")]
    fn compile_cuda(&self, at: &At) -> Result<Option<PartKernels>, String> {
        let _ = at;
        Err("parts of this kind are for the processor".into())
    }
}

/// One line a kind: its variant, its specification, and its name in files.
macro_rules! kinds {
    ($($(#[$attribute:meta])* $kind:ident($spec:ty) = $name:literal,)*) => {
        /// A part of a model, as it stands in the file.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(tag = "type")]
        #[non_exhaustive]
        pub enum PartSpec {
            $($(#[$attribute])* #[serde(rename = $name)] $kind($spec),)*
        }

        /// The kinds that this version knows.
        const NAMES: &[&str] = &[$($(#[$attribute])* $name,)*];

        /// Calls `$f` on the specification, whatever its kind.
        macro_rules! of_kind {
            ($part:expr, $found:ident => $f:expr) => {
                match $part { $($(#[$attribute])* PartSpec::$kind($found) => $f,)* }
            };
        }

        impl PartSpec {
            /// The name of the part's kind, as in the file.
            pub fn kind(&self) -> &'static str {
                match self { $($(#[$attribute])* PartSpec::$kind(_) => $name,)* }
            }

            fn deserialize_kind<'de, D: Deserializer<'de>>(name: &str, fields: D) -> Result<PartSpec, D::Error> {
                match name {
                    $($(#[$attribute])* $name => <$spec>::deserialize(fields).map(PartSpec::$kind),)*
                    _ => Err(unknown(name)),
                }
            }
        }
    };
}

kinds! {
    OneBody(OneBodySpec) = "onebody",
    Pair(PairSpec) = "pair",
    Ace(AceSpec) = "ace",
    Zbl(ZblSpec) = "zbl",
    #[cfg(test)] Dummy(dummy::DummySpec) = "dummy",
}

/// Where a part stands in its model: its first linear parameter, and the first column of its basis.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Offset {
    pub parameter: usize,
    pub basis: usize,
}

/// Energies of atoms whatever their neighbours, summed over the parts, (n_species), eV.
pub(crate) fn one_body(n_species: usize, specs: &[PartSpec]) -> Vec<f64> {
    let mut e0 = vec![0.0; n_species];
    specs.iter().for_each(|spec| e0.iter_mut().zip(spec.constants()).for_each(|(e, x)| *e += x));
    e0
}

/// The parts of a model for an engine.
pub(crate) struct Compiled<P> {
    /// One-body energies, (n_species), eV.
    pub e0: Vec<f64>,
    /// Those with neighbours.
    pub parts: Vec<P>,
    pub n_basis: usize,
}

impl<P> Compiled<P> {
    /// # Errors
    /// What `compile` refuses, with the part's name.
    pub fn new(
        n_species: usize,
        specs: &[PartSpec],
        compile: impl Fn(&PartSpec, Offset) -> Result<Option<P>, String>,
    ) -> Result<Compiled<P>, String> {
        let (mut parts, mut offset) = (Vec::new(), Offset::default());
        for (p, spec) in specs.iter().enumerate() {
            parts.extend(compile(spec, offset).map_err(|fault| format!("parts[{p}].{}: {fault}", spec.kind()))?);
            offset.parameter += n_species * spec.n_basis();
            offset.basis += spec.n_basis();
        }
        Ok(Compiled { e0: one_body(n_species, specs), parts, n_basis: offset.basis })
    }
}

fn unknown<E: serde::de::Error>(name: &str) -> E {
    let version = env!("CARGO_PKG_VERSION");
    E::custom(format!("type: '{name}' is unknown; acerust {version} knows {}", NAMES.join(", ")))
}

impl PartSpec {
    /// Å; 0 for a part without neighbours.
    pub fn rcut(&self) -> f64 {
        of_kind!(self, part => part.rcut())
    }

    /// Basis functions per species.
    pub fn n_basis(&self) -> usize {
        self.weights().first().map_or(0, Vec::len)
    }

    /// Readout weights, (n_species, n_basis), eV; empty for a part without linear parameters.
    pub fn weights(&self) -> &[Vec<f64>] {
        of_kind!(self, part => part.weights())
    }

    pub(crate) fn weights_mut(&mut self) -> &mut [Vec<f64>] {
        of_kind!(self, part => part.weights_mut())
    }

    pub(crate) fn is_linear(&self) -> bool {
        of_kind!(self, part => part.is_linear())
    }

    pub(crate) fn constants(&self) -> &[f64] {
        of_kind!(self, part => part.constants())
    }

    pub(crate) fn normalise(&mut self) {
        of_kind!(self, part => part.normalise())
    }

    pub(crate) fn check(&self, n_species: usize) -> Result<(), String> {
        of_kind!(self, part => part.check(n_species))
    }

    pub(crate) fn memory(&self) -> usize {
        of_kind!(self, part => part.memory())
    }

    pub(crate) fn flops(&self) -> (usize, usize) {
        of_kind!(self, part => part.flops())
    }

    pub(crate) fn compile<V: Lanes>(&self, species: &[u8], mode: RadialMode) -> Option<Box<dyn SitePart<V>>> {
        of_kind!(self, part => part.compile(species, mode))
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn compile_cuda(&self, at: &At) -> Result<Option<PartKernels>, String> {
        of_kind!(self, part => part.compile_cuda(at))
    }
}

impl Display for PartSpec {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind(), of_kind!(self, part => part.describe()))
    }
}

thread_local! {
    /// The kinds of the parts of the file at hand that have not been read yet.
    static KINDS: RefCell<VecDeque<String>> = const { RefCell::new(VecDeque::new()) };
}

/// Runs `f`, which reads the parts of a file, with their kinds known: an object's `type` may come after fields whose meaning
/// depends on it, and keeping these until then would take many times the size of the file.
pub(crate) fn with_kinds<T>(json: &[u8], f: impl FnOnce() -> T) -> T {
    #[derive(Deserialize)]
    struct File {
        #[serde(default, rename = "parts")]
        _parts: Vec<Noted>,
    }
    #[derive(Deserialize)]
    #[serde(from = "Head")]
    struct Noted;
    #[derive(Deserialize)]
    struct Head {
        #[serde(rename = "type", default)]
        kind: serde_json::Value,
    }
    impl From<Head> for Noted {
        fn from(head: Head) -> Noted {
            let name = head.kind.as_str().map_or_else(|| head.kind.to_string(), str::to_owned);
            KINDS.with_borrow_mut(|kinds| kinds.push_back(name));
            Noted
        }
    }
    KINDS.take();
    // What is wrong with the file is for the whole reading to say, which gets as far as this one.
    let _ = serde_json::from_slice::<File>(json);
    let result = f();
    KINDS.take();
    result
}

impl<'de> Deserialize<'de> for PartSpec {
    /// [`Model`](crate::model::Model) takes fields in any order; elsewhere `type` comes first.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PartSpec, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = PartSpec;

            fn expecting(&self, f: &mut Formatter) -> fmt::Result {
                f.write_str("a part of a model")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<PartSpec, A::Error> {
                let (name, met) = match KINDS.with_borrow_mut(VecDeque::pop_front) {
                    Some(name) => (name, false),
                    None if fields.next_key::<String>()?.as_deref() == Some("type") => (fields.next_value()?, true),
                    None => return Err(A::Error::custom("`type` is not the first field")),
                };
                let mut fields = WithoutType { fields, met };
                if name != "null" {
                    return PartSpec::deserialize_kind(&name, MapAccessDeserializer::new(fields));
                }
                // Something else may be wrong, which comes first.
                while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Err(A::Error::missing_field("type"))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// The fields of an object but for its `type`, which is known.
struct WithoutType<A> {
    fields: A,
    met: bool,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for WithoutType<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.fields.next_key::<String>()? {
            if key != "type" {
                return seed.deserialize(key.into_deserializer()).map(Some);
            }
            if std::mem::replace(&mut self.met, true) {
                return Err(A::Error::duplicate_field("type"));
            }
            self.fields.next_value::<IgnoredAny>()?;
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.fields.next_value_seed(seed)
    }
}
