//! Values of the comment line: their types and how they are spelt.

use std::borrow::Cow;
use std::fmt::Write;

/// A value of the comment line.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `T`, `F`, `true`, `False` …; also a bare key without `=`.
    Bool(bool),
    /// A whole number that fits; other digits (with leading zeros, say) stay text, lest they be altered.
    Int(i64),
    /// A finite number with a decimal point or an exponent (`e` or `d`).
    Real(f64),
    Text(String),
    /// Elements of one type, or arrays of such.
    Array(Vec<Value>),
}

impl Value {
    /// The number, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Value::Int(i) => Some(i as f64),
            Value::Real(x) => Some(x),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(s) => Some(s),
            _ => None,
        }
    }

    /// The numbers of a flat array of exactly `N` numbers.
    pub fn as_numbers<const N: usize>(&self) -> Option<[f64; N]> {
        let numbers: Option<Vec<f64>> = self.as_array()?.iter().map(Value::as_f64).collect();
        numbers?.try_into().ok()
    }

    /// The rows of a 3×3 matrix written as nested arrays.
    pub fn as_rows(&self) -> Option<[[f64; 3]; 3]> {
        let rows: Option<Vec<[f64; 3]>> = self.as_array()?.iter().map(Value::as_numbers).collect();
        rows?.try_into().ok()
    }

    /// A virial or stress: nested rows, nine numbers column by column, or six, `xx yy zz yz xz xy`.
    pub fn as_tensor(&self) -> Option<[[f64; 3]; 3]> {
        let by_columns = || {
            let [xx, yx, zx, xy, yy, zy, xz, yz, zz] = self.as_numbers()?;
            Some([[xx, xy, xz], [yx, yy, yz], [zx, zy, zz]])
        };
        let voigt = || {
            let [xx, yy, zz, yz, xz, xy] = self.as_numbers()?;
            Some([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        };
        self.as_rows().or_else(by_columns).or_else(voigt)
    }

    pub(super) fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The content of a quoted, braced or bare value: a number, a truth value, several of them, or text.
    pub(super) fn from_words(text: &str) -> Value {
        let words = || text.split(is_separator).filter(|w| !w.is_empty());
        match words().map(Kind::of).reduce(Kind::join) {
            None | Some(Kind::Text) => Value::Text(text.to_owned()),
            Some(kind) => {
                let mut items: Vec<Value> = words().map(|w| kind.value(Cow::Borrowed(w))).collect();
                if items.len() == 1 { items.remove(0) } else { Value::Array(items) }
            }
        }
    }

    /// Appends the spelling from which the reader gets the same value back.
    ///
    /// # Errors
    /// A real number that is not finite; an array of mixed types or nested deeper than the reader goes.
    pub(super) fn spell(&self, out: &mut String) -> Result<(), String> {
        match self {
            Value::Bool(b) => out.push(if *b { 'T' } else { 'F' }),
            Value::Int(i) => drop(write!(out, "{i}")),
            Value::Real(x) if x.is_finite() => drop(write!(out, "{x:?}")),
            Value::Real(x) => return Err(format!("{x} is not finite")),
            Value::Text(s) if is_plain(s) && matches!(Value::from_words(s), Value::Text(_)) => out.push_str(s),
            Value::Text(s) => spell_quoted(s, out),
            Value::Array(items) => {
                self.check_array(1)?;
                // The spelling that every reader of the format knows, where it can say the same.
                if items.len() > 1 && !items.iter().any(|v| matches!(v, Value::Text(_) | Value::Array(_))) {
                    out.push('"');
                    spell_list(items, " ", out)?;
                    out.push('"');
                } else {
                    self.spell_nested(out)?;
                }
            }
        }
        Ok(())
    }

    fn spell_nested(&self, out: &mut String) -> Result<(), String> {
        match self {
            Value::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { ", " });
                    item.spell_nested(out)?;
                }
                out.push(']');
                Ok(())
            }
            // Quoted elements are text whatever they look like.
            Value::Text(s) => {
                spell_quoted(s, out);
                Ok(())
            }
            number => number.spell(out),
        }
    }

    /// The common type of all leaves, if they have one.
    fn check_array(&self, depth: usize) -> Result<Option<Kind>, String> {
        let Value::Array(items) = self else { return Ok(self.kind()) };
        if depth > MAX_DEPTH {
            return Err(format!("arrays nest deeper than {MAX_DEPTH}"));
        }
        let mut common: Option<Kind> = None;
        for item in items {
            let Some(kind) = item.check_array(depth + 1)? else { continue };
            match common {
                Some(other) if other != kind => return Err("an array mixes types".into()),
                _ => common = Some(kind),
            }
        }
        Ok(common)
    }

    fn kind(&self) -> Option<Kind> {
        match self {
            Value::Bool(_) => Some(Kind::Bool),
            Value::Int(_) => Some(Kind::Int),
            Value::Real(_) => Some(Kind::Real),
            Value::Text(_) => Some(Kind::Text),
            Value::Array(_) => None,
        }
    }
}

/// How deep arrays may nest.
pub(super) const MAX_DEPTH: usize = 4;

/// The type of a word.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Bool,
    Int,
    Real,
    Text,
}

impl Kind {
    pub fn of(word: &str) -> Kind {
        if parse_bool(word).is_some() {
            Kind::Bool
        } else if is_integer(word) {
            Kind::Int
        } else if is_real(word) {
            Kind::Real
        } else {
            Kind::Text
        }
    }

    /// The type that holds words of both types.
    pub fn join(self, other: Kind) -> Kind {
        match (self, other) {
            (a, b) if a == b => a,
            (Kind::Int, Kind::Real) | (Kind::Real, Kind::Int) => Kind::Real,
            _ => Kind::Text,
        }
    }

    /// The value of a word that is of this type, or of one that joins to it.
    pub fn value(self, word: Cow<str>) -> Value {
        let value = match self {
            Kind::Bool => parse_bool(&word).map(Value::Bool),
            Kind::Int => word.parse().ok().map(Value::Int),
            Kind::Real => parse_real(&word).map(Value::Real),
            Kind::Text => None,
        };
        value.unwrap_or_else(|| Value::Text(word.into_owned()))
    }
}

/// Fits into an `i64` and loses nothing but a plus sign there.
fn is_integer(word: &str) -> bool {
    let digits = word.trim_start_matches(['+', '-']);
    (digits == "0" || !digits.starts_with('0')) && word.parse::<i64>().is_ok() && word != "-0"
}

fn is_real(word: &str) -> bool {
    word == "-0" || word.contains(['.', 'e', 'E', 'd', 'D']) && parse_real(word).is_some_and(f64::is_finite)
}

pub(super) fn parse_bool(word: &str) -> Option<bool> {
    match word {
        "T" | "True" | "true" | "TRUE" => Some(true),
        "F" | "False" | "false" | "FALSE" => Some(false),
        _ => None,
    }
}

/// A number as C or Fortran (`1.5d-3`) write it; the caller judges whether infinities and NaN will do.
pub(super) fn parse_real(word: &str) -> Option<f64> {
    word.parse().ok().or_else(|| {
        // Only after the plain parse failed: rare, and allowed to be slow.
        let fortran = word.contains(['d', 'D']).then(|| word.replace(['d', 'D'], "e"))?;
        fortran.parse().ok()
    })
}

fn is_separator(c: char) -> bool {
    c.is_ascii_whitespace() || c == ','
}

/// May stand without quotes?
fn is_plain(s: &str) -> bool {
    !s.is_empty() && !s.contains(|c: char| c.is_ascii_whitespace() || "=\"',[]{}\\".contains(c))
}

/// A key as the reader expects it.
pub(super) fn spell_key(key: &str, out: &mut String) {
    if is_plain(key) { out.push_str(key) } else { spell_quoted(key, out) }
}

fn spell_quoted(s: &str, out: &mut String) {
    out.push('"');
    // A superfluous backslash tells text from the numbers that it looks like.
    if !matches!(Value::from_words(s), Value::Text(_)) && !s.starts_with('\n') {
        out.push('\\');
    }
    for c in s.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '"' | '\\' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn spell_list(items: &[Value], separator: &str, out: &mut String) -> Result<(), String> {
    for (i, item) in items.iter().enumerate() {
        out.push_str(if i == 0 { "" } else { separator });
        item.spell(out)?;
    }
    Ok(())
}
