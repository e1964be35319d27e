//! Frames to text.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::column::{Column, Data};
use super::value::spell_key;
use super::{Frame, Keys, Value};
use crate::{Error, element};

/// Writes frames to a stream, numbers with as many digits as it takes to get the same ones back.
#[derive(Debug)]
pub struct Writer<W> {
    sink: W,
    keys: Keys,
    path: Option<PathBuf>,
    text: String,
}

impl<W: Write> Writer<W> {
    pub fn new(sink: W, keys: &Keys) -> Self {
        Writer { sink, keys: keys.clone(), path: None, text: String::new() }
    }

    /// Names the sink in messages.
    pub(super) fn named(mut self, path: &Path) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// Writes a frame; on an error nothing of it.
    ///
    /// # Errors
    /// An invalid structure; forces or arrays of another length than the structure; energy, forces, virial or
    /// a real number in `info` that is not finite; names that collide with each other or with what the reader
    /// would take for something else; text in a column that is empty or contains blanks.
    pub fn write(&mut self, frame: &Frame) -> crate::Result<()> {
        self.text.clear();
        check(frame)?;
        header(&mut self.text, frame, &self.keys).map_err(Error::Structure)?;
        atoms(&mut self.text, frame).map_err(Error::Structure)?;
        self.sink.write_all(self.text.as_bytes()).map_err(|e| self.io(e))
    }

    /// Hands everything to the operating system.
    ///
    /// # Errors
    /// A stream that takes no more.
    pub fn flush(&mut self) -> crate::Result<()> {
        self.sink.flush().map_err(|e| self.io(e))
    }

    /// The stream, unflushed.
    pub fn into_inner(self) -> W {
        self.sink
    }

    fn io(&self, source: std::io::Error) -> Error {
        Error::Io { path: self.path.as_deref().unwrap_or(Path::new("stream")).to_owned(), source }
    }
}

fn check(frame: &Frame) -> crate::Result<()> {
    frame.structure.validate()?;
    let fail = |message| Err(Error::Structure(message));
    let n = frame.structure.n_atoms();
    if frame.energy.is_some_and(|e| !e.is_finite()) {
        return fail("the energy is not finite".into());
    }
    if frame.virial.is_some_and(|v| !all_finite(&v)) {
        return fail("the virial is not finite".into());
    }
    if let Some(forces) = &frame.forces {
        if forces.len() != n {
            return fail(format!("{} forces for {n} atoms", forces.len()));
        }
        if let Some(i) = forces.iter().position(|f| !all_finite(&[*f])) {
            return fail(format!("atom {i}: force {:?} is not finite", forces[i]));
        }
    }
    for (name, column) in &frame.arrays {
        if column.width == 0 || Some(column.data.len()) != n.checked_mul(column.width) {
            return fail(format!(
                "array `{name}` holds {} entries, not {n} atoms × {}",
                column.data.len(),
                column.width
            ));
        }
        if let Data::Text(words) = &column.data
            && let Some(word) = words.iter().find(|w| w.is_empty() || w.contains(|c: char| c.is_ascii_whitespace()))
        {
            return fail(format!("array `{name}`: `{word}` is empty or contains a blank"));
        }
    }
    Ok(())
}

fn all_finite(rows: &[[f64; 3]]) -> bool {
    rows.as_flattened().iter().all(|x| x.is_finite())
}

/// The number of atoms and the comment line.
fn header(out: &mut String, frame: &Frame, keys: &Keys) -> Result<(), String> {
    let structure = &frame.structure;
    let _ = writeln!(out, "{}", structure.n_atoms());
    let mut pairs: Vec<(&str, Value)> = Vec::new();
    if structure.pbc.contains(&true) || structure.cell != [[0.0; 3]; 3] {
        pairs.push(("Lattice", reals(structure.cell.as_flattened())));
    }
    pairs.push(("Properties", Value::Text(properties(frame, keys)?)));
    if let Some(energy) = frame.energy {
        pairs.push((&keys.energy, Value::Real(energy)));
    }
    if let Some([[xx, xy, xz], [yx, yy, yz], [zx, zy, zz]]) = frame.virial {
        pairs.push((&keys.virial, reals(&[xx, yx, zx, xy, yy, zy, xz, yz, zz])));
    }
    pairs.push(("pbc", Value::Array(structure.pbc.map(Value::Bool).to_vec())));
    let mut names: HashSet<&str> = pairs.iter().map(|(k, _)| *k).collect();
    if names.len() < pairs.len() {
        return Err(format!("the keys of energy and virial collide with each other or with Lattice, pbc: {keys:?}"));
    }
    // What the reader would take for something else although nothing was written under that name.
    names.extend([keys.energy.as_str(), keys.virial.as_str()]);
    if frame.virial.is_none() && structure.volume() > 0.0 {
        names.insert(&keys.stress);
    }
    let reserved =
        |key: &str| names.contains(key) || ["Lattice", "Properties", "pbc"].iter().any(|r| r.eq_ignore_ascii_case(key));
    for (i, (key, value)) in pairs.iter().map(|(k, v)| (*k, v)).enumerate() {
        out.push_str(if i == 0 { "" } else { " " });
        pair(out, key, value)?;
    }
    for (key, value) in &frame.info {
        if key.is_empty() || reserved(key) {
            return Err(format!("info: the key `{key}` is reserved"));
        }
        out.push(' ');
        pair(out, key, value).map_err(|e| format!("info: key `{key}`: {e}"))?;
    }
    out.push('\n');
    Ok(())
}

fn pair(out: &mut String, key: &str, value: &Value) -> Result<(), String> {
    spell_key(key, out);
    out.push('=');
    value.spell(out)
}

fn reals(numbers: &[f64]) -> Value {
    Value::Array(numbers.iter().map(|&x| Value::Real(x)).collect())
}

fn properties(frame: &Frame, keys: &Keys) -> Result<String, String> {
    let mut text = String::from("species:S:1:pos:R:3");
    let mut names = HashSet::from(["species", "pos", keys.forces.as_str()]);
    if names.len() < 3 {
        return Err(format!("the key of forces is reserved: {keys:?}"));
    }
    if frame.forces.is_some() {
        let _ = write!(text, ":{}:R:3", keys.forces);
    }
    for (name, Column { width, data }) in &frame.arrays {
        if name.is_empty() || name.contains(':') || !names.insert(name) {
            return Err(format!("arrays: the name `{name}` is reserved or not fit for Properties"));
        }
        let _ = write!(text, ":{name}:{}:{width}", data.letter());
    }
    Ok(text)
}

fn atoms(out: &mut String, frame: &Frame) -> Result<(), String> {
    let structure = &frame.structure;
    for (i, (&number, x)) in structure.numbers.iter().zip(&structure.positions).enumerate() {
        out.push_str(element::symbol(number).ok_or_else(|| format!("atom {i}: no such element"))?);
        let forces = frame.forces.as_ref().map(|f| &f[i]);
        for x in x.iter().chain(forces.into_iter().flatten()) {
            let _ = write!(out, " {x:?}");
        }
        for Column { width, data } in frame.arrays.values() {
            for k in i * width..(i + 1) * width {
                let _ = match data {
                    Data::Text(v) => write!(out, " {}", v[k]),
                    Data::Real(v) => write!(out, " {:?}", v[k]),
                    Data::Int(v) => write!(out, " {}", v[k]),
                    Data::Bool(v) => write!(out, " {}", if v[k] { 'T' } else { 'F' }),
                };
            }
        }
        out.push('\n');
    }
    Ok(())
}
