//! The models inside reference files: all numbers of a model beside results computed with it elsewhere.

use super::spec::*;
use super::{Model, file};
use crate::{Error, Result};
use serde::{Deserialize, de::IgnoredAny};

const REFERENCE_FORMAT: &str = "acerust-reference/1";

impl Model {
    /// The model of a reference file, as a stack of its one-body, pair and many-body parts. Its structures and results are ignored.
    ///
    /// # Errors
    /// Text that is no reference file, or whose model is not valid.
    pub fn from_reference_json(json: impl AsRef<[u8]>) -> Result<Self> {
        let reference: Reference = file::parse(json.as_ref(), REFERENCE_FORMAT)?;
        reference.ace.angular.check()?;
        Self::new(reference.into())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reference {
    #[serde(rename = "format")]
    _format: String,
    name: String,
    source: String,
    species: Vec<u8>,
    rcut: f64,
    onebody: OneBodySpec,
    pair: Pair,
    ace: Ace,
    #[serde(rename = "structures")]
    _structures: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    radial: Radial,
    #[serde(rename = "W")]
    weights: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ace {
    radial: Radial,
    angular: Angular,
    #[serde(rename = "A")]
    a: Vec<[u32; 2]>,
    #[serde(rename = "AA")]
    aa: Vec<Vec<u32>>,
    #[serde(rename = "C")]
    c: SparseSpec,
    #[serde(rename = "W")]
    weights: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Radial {
    transform: Vec<TransformSpec>,
    envelope: EnvelopeSpec,
    polys: Polys,
    #[serde(rename = "W")]
    w: Vec<Vec<Vec<f64>>>,
    #[serde(default)]
    spec: Vec<[u32; 2]>,
    splines: Option<Vec<SplineSpec>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Polys {
    #[serde(rename = "A")]
    a: Vec<f64>,
    #[serde(rename = "B")]
    b: Vec<f64>,
    #[serde(rename = "C")]
    c: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Angular {
    kind: HarmonicsKind,
    lmax: u32,
    lm: Vec<[i64; 2]>,
}

impl Angular {
    /// The file spells out the order of its harmonics; ours is fixed.
    fn check(&self) -> Result<()> {
        let lmax = i64::from(self.lmax);
        let natural = (0..=lmax).flat_map(|l| (-l..=l).map(move |m| [l, m]));
        if self.lm.iter().copied().eq(natural) {
            return Ok(());
        }
        Err(Error::Model(format!("ace.angular.lm: expected [0,0], [1,-1], [1,0], [1,1] … [{lmax},{lmax}]")))
    }
}

impl From<Radial> for RadialSpec {
    fn from(radial: Radial) -> Self {
        let Polys { a, b, c } = radial.polys;
        Self {
            envelopes: vec![radial.envelope; radial.transform.len()],
            transforms: radial.transform,
            // Where there are splines, they are the model, and the polynomials only their origin.
            functions: match radial.splines {
                Some(tables) => FunctionsSpec::Spline { tables },
                None => FunctionsSpec::Polynomial { a, b, c, w: radial.w },
            },
            spec: radial.spec,
        }
    }
}

impl From<Reference> for ModelSpec {
    fn from(reference: Reference) -> Self {
        let Reference { name, source, species, rcut, onebody, pair, ace, .. } = reference;
        let pair = PairSpec { rcut, radial: pair.radial.into(), weights: pair.weights };
        let ace = AceSpec {
            rcut,
            radial: ace.radial.into(),
            angular: AngularSpec { kind: ace.angular.kind, lmax: ace.angular.lmax },
            a: ace.a,
            neighbours: None,
            aa: ace.aa,
            c: ace.c,
            weights: ace.weights,
            embedding: None,
        };
        let parts = vec![PartSpec::OneBody(onebody), PartSpec::Pair(pair), PartSpec::Ace(ace)];
        Self { format: FORMAT.into(), name, source, species, parts }
    }
}
