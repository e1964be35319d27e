//! Reading of objects whose `type` says which fields they have.
//!
//! All fields of all types are read in one pass and then claimed by the type at hand. Serde's own way keeps the whole object in memory
//! until its `type` is known, at many times the size of the file, and can then no longer say where in it a fault is.

use super::spec::*;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum FunctionsKind {
    Polynomial,
    Spline,
    Pace,
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
    bins: Option<f64>,
    inner: Option<InnerCutoff>,
    pairs: Option<Vec<BaseSpec>>,
}

impl TryFrom<AnyFunctions> for FunctionsSpec {
    type Error = String;

    fn try_from(functions: AnyFunctions) -> Result<Self, String> {
        let AnyFunctions { kind, a, b, c, w, tables, bins, inner, pairs } = functions;
        if !matches!(kind, FunctionsKind::Pace) {
            nothing("bins", bins)?;
            nothing("inner", inner)?;
            nothing("pairs", pairs.as_ref())?;
        }
        match kind {
            FunctionsKind::Pace => {
                nothing("A", a)?;
                nothing("B", b)?;
                nothing("C", c)?;
                nothing("tables", tables)?;
                Ok(Self::Pace {
                    bins: some("bins", bins)?,
                    inner: some("inner", inner)?,
                    pairs: some("pairs", pairs)?,
                    w: some("W", w)?,
                })
            }
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
