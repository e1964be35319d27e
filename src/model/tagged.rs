//! Reading of objects whose `type` says which fields they have.
//!
//! All fields of all types are read in one pass and then claimed by the type at hand. Serde's own way keeps the whole object in memory
//! until its `type` is known, at many times the size of the file, and can then no longer say where in it a fault is.

use super::spec::*;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum PartKind {
    OneBody,
    Pair,
    Ace,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnyPart {
    #[serde(rename = "type")]
    kind: PartKind,
    #[serde(rename = "E0")]
    e0: Option<Vec<f64>>,
    rcut: Option<f64>,
    radial: Option<RadialSpec>,
    angular: Option<AngularSpec>,
    #[serde(rename = "A")]
    a: Option<Vec<[u32; 2]>>,
    #[serde(rename = "AA")]
    aa: Option<Vec<Vec<u32>>>,
    #[serde(rename = "C")]
    c: Option<SparseSpec>,
    weights: Option<Vec<Vec<f64>>>,
}

impl TryFrom<AnyPart> for PartSpec {
    type Error = String;

    fn try_from(AnyPart { kind, e0, rcut, radial, angular, a, aa, c, weights }: AnyPart) -> Result<Self, String> {
        match kind {
            PartKind::OneBody => {
                nothing("rcut", rcut)?;
                nothing("radial", radial)?;
                nothing("angular", angular)?;
                nothing("A", a)?;
                nothing("AA", aa)?;
                nothing("C", c)?;
                nothing("weights", weights)?;
                Ok(Self::OneBody(OneBodySpec { e0: some("E0", e0)? }))
            }
            PartKind::Pair => {
                nothing("E0", e0)?;
                nothing("angular", angular)?;
                nothing("A", a)?;
                nothing("AA", aa)?;
                nothing("C", c)?;
                Ok(Self::Pair(PairSpec {
                    rcut: some("rcut", rcut)?,
                    radial: some("radial", radial)?,
                    weights: some("weights", weights)?,
                }))
            }
            PartKind::Ace => {
                nothing("E0", e0)?;
                Ok(Self::Ace(AceSpec {
                    rcut: some("rcut", rcut)?,
                    radial: some("radial", radial)?,
                    angular: some("angular", angular)?,
                    a: some("A", a)?,
                    aa: some("AA", aa)?,
                    c: some("C", c)?,
                    weights: some("weights", weights)?,
                }))
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum FunctionsKind {
    Polynomial,
    Spline,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnyFunctions {
    #[serde(rename = "type")]
    kind: FunctionsKind,
    #[serde(rename = "A")]
    a: Option<Vec<f64>>,
    #[serde(rename = "B")]
    b: Option<Vec<f64>>,
    #[serde(rename = "C")]
    c: Option<Vec<f64>>,
    #[serde(rename = "W")]
    w: Option<Vec<Vec<Vec<f64>>>>,
    tables: Option<Vec<SplineSpec>>,
}

impl TryFrom<AnyFunctions> for FunctionsSpec {
    type Error = String;

    fn try_from(AnyFunctions { kind, a, b, c, w, tables }: AnyFunctions) -> Result<Self, String> {
        match kind {
            FunctionsKind::Polynomial => {
                nothing("tables", tables)?;
                Ok(Self::Polynomial { a: some("A", a)?, b: some("B", b)?, c: some("C", c)?, w: some("W", w)? })
            }
            FunctionsKind::Spline => {
                nothing("A", a)?;
                nothing("B", b)?;
                nothing("C", c)?;
                nothing("W", w)?;
                Ok(Self::Spline { tables: some("tables", tables)? })
            }
        }
    }
}

fn some<T>(name: &str, field: Option<T>) -> Result<T, String> {
    field.ok_or_else(|| format!("missing field `{name}`"))
}

fn nothing<T>(name: &str, field: Option<T>) -> Result<(), String> {
    if field.is_none() { Ok(()) } else { Err(format!("field `{name}` does not belong to this type")) }
}
