//! Extended XYZ: structures with energies, forces and virials, frame after frame.
//!
//! A frame is a line with the number of atoms, a comment line of `key=value` pairs and one line per atom,
//! its columns listed by `Properties=name:type:width:…`. Without `Properties` the columns are those of plain
//! XYZ, `species:S:1:pos:R:3`, and further ones are ignored. A comment line without any `=` is free text and
//! becomes `info["comment"]`.
//!
//! | key | meaning |
//! | --- | --- |
//! | `Lattice` | the three cell vectors one after another, Å (or `[[ax, ay, az], …]`) |
//! | `pbc` | three of `T`/`F`; default `T T T` with a `Lattice`, else `F F F` |
//! | `species` or `Z`, `numbers` | chemical symbols (or atomic numbers) |
//! | `pos` | positions, Å |
//! | energy | eV |
//! | forces | eV/Å |
//! | virial | eV; nine numbers column by column, `xx yx zx xy yy …`, or six, `xx yy zz yz xz xy` |
//! | stress | eV/Å³, spelt like the virial; virial = −stress · volume, the sign of ASE |
//!
//! The names of the last four are the caller's choice, see [`Keys`]. `Lattice`, `pbc` and `Properties` may be
//! written in any case. Where a frame holds a virial and a stress, the virial counts and the stress stays in
//! `info`; so does a stress without a cell. Whatever this library does not interpret is kept and written again.
//!
//! Messages count lines from 1 over the whole file and atoms from 0.
mod column;
mod comment;
mod files;
mod header;
mod reader;
mod value;
mod writer;

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;

use indexmap::IndexMap;

pub use column::{Column, Data};
pub use files::{Found, Frames, is_standard};
pub use reader::Reader;
pub use value::Value;
pub use writer::Writer;

use crate::structure::Structure;
use crate::{Error, Result};

/// The names under which a file holds energies, forces, virials and stresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    pub energy: String,
    pub forces: String,
    pub virial: String,
    pub stress: String,
}

impl Default for Keys {
    fn default() -> Self {
        Keys { energy: "energy".into(), forces: "forces".into(), virial: "virial".into(), stress: "stress".into() }
    }
}

impl Keys {
    /// Names that no file has: energies, forces, virials and stresses stay in `info` and `arrays` as they are.
    pub fn none() -> Self {
        Keys { energy: String::new(), forces: String::new(), virial: String::new(), stress: String::new() }
    }
}

/// One structure of a file with what is known about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frame {
    pub structure: Structure,
    /// eV.
    pub energy: Option<f64>,
    /// (n_atoms, 3), eV/Å.
    pub forces: Option<Vec<[f64; 3]>>,
    /// eV.
    pub virial: Option<[[f64; 3]; 3]>,
    /// The other pairs of the comment line, in order.
    pub info: IndexMap<String, Value>,
    /// The other columns, in order.
    pub arrays: IndexMap<String, Column>,
}

impl Frame {
    /// −virial / volume, eV/Å³; `None` without a virial or without a cell.
    pub fn stress(&self) -> Option<[[f64; 3]; 3]> {
        let volume = self.structure.volume();
        let virial = self.virial.filter(|_| volume > 0.0)?;
        Some(virial.map(|row| row.map(|v| -v / volume)))
    }
}

impl From<Structure> for Frame {
    fn from(structure: Structure) -> Self {
        Frame { structure, ..Frame::default() }
    }
}

/// Reads all frames of a file. [`Reader`] reads them one by one.
///
/// # Errors
/// A file that cannot be read or is malformed; the message names the file, the line and the culprit.
pub fn read(path: impl AsRef<Path>, keys: &Keys) -> Result<Vec<Frame>> {
    Reader::open(path, keys)?.collect()
}

/// Reads all frames of a text in memory, which need not be valid UTF-8 to be refused politely.
///
/// # Errors
/// As [`read`].
pub fn parse(text: impl AsRef<[u8]>, keys: &Keys) -> Result<Vec<Frame>> {
    Reader::new(text.as_ref(), keys).collect()
}

/// Writes all frames to a file, replacing it.
///
/// # Errors
/// A file that cannot be written; a frame that could not be read again, see [`Writer::write`].
pub fn write<'a>(path: impl AsRef<Path>, frames: impl IntoIterator<Item = &'a Frame>, keys: &Keys) -> Result<()> {
    let path = path.as_ref();
    let io = |source| Error::Io { path: path.to_owned(), source };
    let file = BufWriter::new(File::create(path).map_err(io)?);
    let mut writer = Writer::new(file, keys).named(path);
    for frame in frames {
        writer.write(frame)?;
    }
    writer.flush()
}

impl Reader<BufReader<File>> {
    /// Opens a file for reading frame by frame; messages name it.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub fn open(path: impl AsRef<Path>, keys: &Keys) -> Result<Self> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        Ok(Reader::new(BufReader::with_capacity(1 << 16, file), keys).named(path))
    }
}
