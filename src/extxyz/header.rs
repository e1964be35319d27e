//! The comment line, interpreted: cell, energy, virial and the meaning of the columns.

use indexmap::IndexMap;

use super::column::{Target, assign, parse_properties};
use super::comment::brief;
use super::{Keys, Value};
use crate::structure::Structure;

/// What the comment line says.
pub(super) struct Header {
    /// Cell and periodicity, no atoms yet.
    pub structure: Structure,
    pub energy: Option<f64>,
    pub virial: Option<[[f64; 3]; 3]>,
    pub info: IndexMap<String, Value>,
    pub columns: Vec<(String, Target)>,
    /// Columns beyond the known ones are ignored.
    pub plain: bool,
}

impl Header {
    pub fn new(mut info: IndexMap<String, Value>, keys: &Keys) -> Result<Header, String> {
        let lattice = take_any_case(&mut info, "Lattice")?;
        let pbc = take_any_case(&mut info, "pbc")?;
        let properties = take_any_case(&mut info, "Properties")?;
        let plain = properties.is_none();

        let pbc = match pbc {
            None => [lattice.is_some(); 3],
            Some(v) => parse_pbc(&v).ok_or_else(|| format!("pbc {} is not three of T or F", show(&v)))?,
        };
        let cell = match lattice {
            None => Default::default(),
            Some(v) => parse_lattice(&v).ok_or_else(|| format!("Lattice {} is not nine finite numbers", show(&v)))?,
        };
        let structure = Structure { cell, pbc, ..Structure::default() };
        let columns = match properties {
            None => parse_properties("species:S:1:pos:R:3"),
            Some(Value::Text(text)) => parse_properties(&text),
            Some(other) => Err(format!("{} is not a list of name:type:width", show(&other))),
        };
        let columns = columns.and_then(|c| assign(c, keys)).map_err(|e| format!("Properties: {e}"))?;
        let energy = match info.shift_remove(&keys.energy) {
            None => None,
            Some(v) => Some(v.as_f64().ok_or_else(|| format!("{} {} is not a finite number", keys.energy, show(&v)))?),
        };
        let virial = take_virial(&mut info, structure.volume(), keys)?;
        Ok(Header { structure, energy, virial, info, columns, plain })
    }
}

/// Removes the key, in whatever case it is written.
fn take_any_case(info: &mut IndexMap<String, Value>, key: &str) -> Result<Option<Value>, String> {
    let mut spellings = info.keys().filter(|k| k.eq_ignore_ascii_case(key));
    let first = spellings.next().cloned();
    if let Some(second) = spellings.next() {
        return Err(format!("key `{key}` appears twice, also as `{second}`"));
    }
    Ok(first.and_then(|k| info.shift_remove(&k)))
}

fn parse_pbc(value: &Value) -> Option<[bool; 3]> {
    let flags: Option<Vec<bool>> = value.as_array()?.iter().map(parse_flag).collect();
    flags?.try_into().ok()
}

fn parse_flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(b) => Some(*b),
        Value::Int(i @ (0 | 1)) => Some(*i == 1),
        _ => None,
    }
}

fn parse_lattice(value: &Value) -> Option<[[f64; 3]; 3]> {
    let flat = || {
        let [ax, ay, az, bx, by, bz, cx, cy, cz] = value.as_numbers()?;
        Some([[ax, ay, az], [bx, by, bz], [cx, cy, cz]])
    };
    value.as_rows().or_else(flat)
}

/// The virial, from the stress if need be.
fn take_virial(info: &mut IndexMap<String, Value>, volume: f64, keys: &Keys) -> Result<Option<[[f64; 3]; 3]>, String> {
    let (key, factor) = if info.contains_key(&keys.virial) {
        (&keys.virial, 1.0)
    } else if volume > 0.0 {
        (&keys.stress, -volume)
    } else {
        return Ok(None);
    };
    let Some(value) = info.shift_remove(key) else { return Ok(None) };
    let tensor = value.as_tensor().map(|t| t.map(|row| row.map(|x| factor * x)));
    let tensor = tensor.filter(|t| t.as_flattened().iter().all(|x| x.is_finite()));
    tensor.map(Some).ok_or_else(|| format!("{key} {} is not nine or six finite numbers", show(&value)))
}

/// A value for messages.
fn show(value: &Value) -> String {
    let mut text = String::new();
    match value.spell(&mut text) {
        Ok(()) => format!("`{}`", brief(&text)),
        Err(e) => e,
    }
}
