//! Columns of the atom lines: their types, the `Properties` that lists them, and what they mean.

use std::collections::HashSet;

use super::Keys;
use super::comment::brief;
use super::value::{parse_bool, parse_real};
use crate::element;

/// A per-atom property of `width` columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub width: usize,
    pub data: Data,
}

/// The entries of a column, (n_atoms, width), atom by atom. Reals that this library does not
/// interpret may be infinite or NaN.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    Text(Vec<String>),
    Real(Vec<f64>),
    Int(Vec<i64>),
    Bool(Vec<bool>),
}

impl Data {
    pub(super) fn letter(&self) -> char {
        match self {
            Data::Text(_) => 'S',
            Data::Real(_) => 'R',
            Data::Int(_) => 'I',
            Data::Bool(_) => 'L',
        }
    }

    fn from_letter(letter: &str) -> Option<Data> {
        Some(match letter {
            "S" => Data::Text(Vec::new()),
            "R" => Data::Real(Vec::new()),
            "I" => Data::Int(Vec::new()),
            "L" => Data::Bool(Vec::new()),
            _ => return None,
        })
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Data::Text(v) => v.len(),
            Data::Real(v) => v.len(),
            Data::Int(v) => v.len(),
            Data::Bool(v) => v.len(),
        }
    }

    /// Reads one entry.
    pub(super) fn push(&mut self, word: &str) -> Result<(), String> {
        let not = |what| format!("`{}` is not {what}", brief(word));
        match self {
            Data::Text(v) => v.push(word.to_owned()),
            Data::Real(v) => v.push(parse_real(word).ok_or_else(|| not("a number"))?),
            Data::Int(v) => v.push(word.parse().map_err(|_| not("a whole number of 64 bits"))?),
            Data::Bool(v) => v.push(parse_bool(word).ok_or_else(|| not("T or F"))?),
        }
        Ok(())
    }
}

/// The value of `Properties`: names and still empty columns.
///
/// # Errors
/// Incomplete triplets, an unknown type, a width of 0, a name that appears twice.
pub(super) fn parse_properties(text: &str) -> Result<Vec<(String, Column)>, String> {
    let parts: Vec<&str> = text.trim_ascii().split(':').collect();
    if !parts.len().is_multiple_of(3) {
        return Err(format!("`{}` is not a list of name:type:width", brief(text)));
    }
    let mut names = HashSet::new();
    let mut columns = Vec::with_capacity(parts.len() / 3);
    for part in parts.chunks_exact(3) {
        let name = part[0];
        if name.is_empty() {
            return Err("a column has no name".into());
        }
        let data = Data::from_letter(part[1])
            .ok_or_else(|| format!("column `{}`: type `{}` is none of S, R, I, L", brief(name), brief(part[1])))?;
        let width =
            part[2].parse().ok().filter(|&w| w > 0).ok_or_else(|| {
                format!("column `{}`: width `{}` is not a positive number", brief(name), brief(part[2]))
            })?;
        if !names.insert(name) {
            return Err(format!("column `{}` appears twice", brief(name)));
        }
        columns.push((name.to_owned(), Column { width, data }));
    }
    Ok(columns)
}

/// Where the entries of a column go.
pub(super) enum Target {
    Species(Vec<u8>),
    Positions(Vec<f64>),
    Forces(Vec<f64>),
    Other(Column),
}

impl Target {
    pub fn width(&self) -> usize {
        match self {
            Target::Species(_) => 1,
            Target::Positions(_) | Target::Forces(_) => 3,
            Target::Other(column) => column.width,
        }
    }

    pub fn push(&mut self, word: &str) -> Result<(), String> {
        match self {
            Target::Species(numbers) => numbers.push(parse_species(word)?),
            Target::Positions(v) | Target::Forces(v) => v.push(parse_finite(word)?),
            Target::Other(column) => column.data.push(word)?,
        }
        Ok(())
    }
}

/// Decides which columns are species, positions and forces.
pub(super) fn assign(columns: Vec<(String, Column)>, keys: &Keys) -> Result<Vec<(String, Target)>, String> {
    let has = |name: &str| columns.iter().any(|(n, _)| n == name);
    let species =
        ["species", "Z", "numbers"].into_iter().find(|name| has(name)).ok_or("neither `species` nor `Z` is listed")?;
    if !has("pos") {
        return Err("`pos` is not listed".into());
    }
    let target = |(name, column): (String, Column)| {
        let is_vector = column.width == 3 && matches!(column.data, Data::Real(_));
        let target = if name == species {
            match (column.width, &column.data) {
                (1, Data::Text(_) | Data::Int(_)) => Target::Species(Vec::new()),
                _ => return Err(format!("`{name}` is not one column of type S or I")),
            }
        } else if name == "pos" || name == keys.forces {
            match (is_vector, name == "pos") {
                (false, _) => return Err(format!("`{name}` is not three columns of type R")),
                (true, true) => Target::Positions(Vec::new()),
                (true, false) => Target::Forces(Vec::new()),
            }
        } else {
            Target::Other(column)
        };
        Ok((name, target))
    };
    columns.into_iter().map(target).collect()
}

fn parse_finite(word: &str) -> Result<f64, String> {
    match parse_real(word) {
        Some(x) if x.is_finite() => Ok(x),
        Some(_) => Err(format!("`{}` is not finite", brief(word))),
        None => Err(format!("`{}` is not a number", brief(word))),
    }
}

/// A chemical symbol or an atomic number.
fn parse_species(word: &str) -> Result<u8, String> {
    element::number(word)
        .or_else(|| word.parse().ok().filter(|&z| element::symbol(z).is_some()))
        .ok_or_else(|| format!("`{}` is not a chemical element", brief(word)))
}
