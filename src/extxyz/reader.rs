//! Frames from text, one by one.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::column::Target;
use super::comment::{self, brief};
use super::header::Header;
use super::{Frame, Keys};
use crate::Error;

/// No line may be longer; a file without line ends must not fill the memory.
const MAX_LINE: usize = 16 << 20;

/// Reads frames from a stream: an iterator of `Result<Frame>` that ends after the first error.
/// Only one frame is in memory at a time, and no header makes it allocate ahead of the data.
#[derive(Debug)]
pub struct Reader<R> {
    lines: Lines<R>,
    keys: Keys,
    path: Option<PathBuf>,
    done: bool,
}

impl<R: BufRead> Reader<R> {
    pub fn new(source: R, keys: &Keys) -> Self {
        let lines = Lines { source, buffer: Vec::new(), number: 0 };
        Reader { lines, keys: keys.clone(), path: None, done: false }
    }

    /// Names the source in messages.
    pub fn named(mut self, path: impl AsRef<Path>) -> Self {
        self.path = Some(path.as_ref().to_owned());
        self
    }

    fn frame(&mut self) -> Result<Option<Frame>, Fault> {
        let count = loop {
            match self.lines.next()? {
                None => return Ok(None),
                Some(line) if line.trim_ascii().is_empty() => {}
                Some(line) => break parse_count(line),
            }
        };
        let start = self.lines.number;
        let count = count.map_err(|e| at(start, e))?;
        let Some(line) = self.lines.next()? else {
            return Err(at(start, format!("{count} atoms announced, but the file ends before the comment line")));
        };
        let header = comment::parse(line).and_then(|info| Header::new(info, &self.keys));
        let Header { mut structure, energy, virial, info, mut columns, plain } =
            header.map_err(|e| at(start + 1, e))?;

        for atom in 0..count {
            let Some(line) = self.lines.next()? else {
                return Err(at(start, format!("{count} atoms announced, but the file ends after {atom}")));
            };
            let row = parse_row(line, &mut columns, plain);
            row.map_err(|e| at(self.lines.number, format!("atom {atom}: {e}")))?;
        }

        let mut forces = None;
        let mut arrays = IndexMap::new();
        for (name, target) in columns {
            match target {
                Target::Species(numbers) => structure.numbers = numbers,
                Target::Positions(x) => structure.positions = triples(&x),
                Target::Forces(f) => forces = Some(triples(&f)),
                Target::Other(column) => {
                    arrays.insert(name, column);
                }
            }
        }
        structure.validate().map_err(|e| at(start, inner(e)))?;
        Ok(Some(Frame { structure, energy, forces, virial, info, arrays }))
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = crate::Result<Frame>;

    fn next(&mut self) -> Option<crate::Result<Frame>> {
        if self.done {
            return None;
        }
        let frame = self.frame().map_err(|fault| fault.named(self.path.as_deref())).transpose();
        self.done = !matches!(frame, Some(Ok(_)));
        frame
    }
}

/// What went wrong, before the file has a name.
enum Fault {
    Io(std::io::Error),
    Malformed(String),
}

impl Fault {
    fn named(self, path: Option<&Path>) -> Error {
        match (self, path) {
            (Fault::Io(source), path) => Error::Io { path: path.unwrap_or(Path::new("stream")).to_owned(), source },
            (Fault::Malformed(message), None) => Error::Structure(message),
            (Fault::Malformed(message), Some(path)) => Error::Structure(format!("{}: {message}", path.display())),
        }
    }
}

fn at(line: usize, message: String) -> Fault {
    Fault::Malformed(format!("line {line}: {message}"))
}

/// The message without the prefix of its kind.
fn inner(e: Error) -> String {
    match e {
        Error::Structure(message) => message,
        other => other.to_string(),
    }
}

#[derive(Debug)]
struct Lines<R> {
    source: R,
    buffer: Vec<u8>,
    /// Of the line last returned, counted from 1.
    number: usize,
}

impl<R: BufRead> Lines<R> {
    /// The next line without its end.
    fn next(&mut self) -> Result<Option<&str>, Fault> {
        self.buffer.clear();
        let limited = &mut (&mut self.source).take(MAX_LINE as u64 + 2);
        if limited.read_until(b'\n', &mut self.buffer).map_err(Fault::Io)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let line = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > MAX_LINE {
            return Err(at(self.number, format!("longer than {MAX_LINE} bytes")));
        }
        match std::str::from_utf8(line) {
            Ok(line) => Ok(Some(line)),
            Err(e) => Err(at(self.number, format!("byte {} is not valid UTF-8", e.valid_up_to() + 1))),
        }
    }
}

fn parse_count(line: &str) -> Result<usize, String> {
    let word = line.trim_ascii();
    if word.is_empty() || !word.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("`{}` is not a number of atoms", brief(word)));
    }
    let count = word.parse().ok().filter(|&n: &u32| n < u32::MAX);
    count.map(|n| n as usize).ok_or_else(|| format!("{} atoms are too many", brief(word)))
}

fn parse_row(line: &str, columns: &mut [(String, Target)], plain: bool) -> Result<(), String> {
    let mut words = line.split_ascii_whitespace();
    for (name, target) in columns.iter_mut() {
        for _ in 0..target.width() {
            let Some(word) = words.next() else { return Err(wrong_count(line, columns)) };
            target.push(word).map_err(|e| format!("column `{}`: {e}", brief(name)))?;
        }
    }
    if !plain && words.next().is_some() {
        return Err(wrong_count(line, columns));
    }
    Ok(())
}

fn wrong_count(line: &str, columns: &[(String, Target)]) -> String {
    let wanted = columns.iter().fold(0_usize, |n, (_, t)| n.saturating_add(t.width()));
    format!("{} columns instead of {wanted}", line.split_ascii_whitespace().count())
}

fn triples(flat: &[f64]) -> Vec<[f64; 3]> {
    flat.as_chunks().0.to_vec()
}
