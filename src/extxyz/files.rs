//! Frames of files, one file after the other.

use super::{Frame, Keys, Reader};
use crate::{Error, Result};
use flate2::bufread::MultiGzDecoder;
use std::fmt::{self, Debug, Formatter};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The standard input or output in place of a file.
pub fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

/// The frames of some files, compressed by gzip or not; `-` is the standard input. They keep all columns and pairs as they are.
///
/// # Errors
/// Of its items: a file that cannot be read or has no frames, and what [`Reader`] says.
pub struct Frames<'a> {
    paths: std::slice::Iter<'a, PathBuf>,
    open: Option<Open<'a>>,
}

struct Open<'a> {
    path: &'a Path,
    reader: Reader<Box<dyn BufRead>>,
    read: usize,
}

impl Debug for Frames<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").field("open", &self.open.as_ref().map(|o| o.path)).finish_non_exhaustive()
    }
}

/// A frame and where it is from.
#[derive(Debug)]
pub struct Found<'a> {
    pub frame: Frame,
    path: &'a Path,
    number: usize,
}

impl Found<'_> {
    /// The structure alone.
    pub fn bare(self) -> Self {
        Found { frame: self.frame.structure.into(), ..self }
    }

    /// File and number, for messages.
    pub fn origin(&self) -> String {
        format!("{}: frame {}", name(self.path), self.number)
    }
}

impl<'a> Frames<'a> {
    /// # Errors
    /// The standard input more than once.
    pub fn new(paths: &'a [PathBuf]) -> Result<Frames<'a>> {
        match paths.iter().filter(|path| is_standard(path)).count() {
            0 | 1 => Ok(Frames { paths: paths.iter(), open: None }),
            n => Err(Error::Argument(format!("the standard input cannot be read {n} times"))),
        }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Found<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(open) = &mut self.open else {
                let path = self.paths.next()?;
                match text(path) {
                    Ok(text) => {
                        let reader = Reader::new(text, &Keys::none()).named(name(path));
                        self.open = Some(Open { path, reader, read: 0 });
                        continue;
                    }
                    Err(source) => return Some(Err(Error::Io { path: name(path).into(), source })),
                }
            };
            let number = open.read;
            open.read += 1;
            return match open.reader.next() {
                Some(frame) => Some(frame.map(|frame| Found { frame, path: open.path, number })),
                None if number == 0 => Some(Err(Error::Structure(format!("{}: no frames", name(open.path))))),
                None => {
                    self.open = None;
                    continue;
                }
            };
        }
    }
}

fn name(path: &Path) -> String {
    if is_standard(path) { "standard input".into() } else { path.display().to_string() }
}

/// The text of a file, compressed by gzip or not, whatever its name.
fn text(path: &Path) -> io::Result<Box<dyn BufRead>> {
    const GZIP: [u8; 2] = [0x1f, 0x8b];
    const BYTES: usize = 1 << 16;
    let source: Box<dyn Read> = match is_standard(path) {
        true => Box::new(io::stdin().lock()),
        false => Box::new(File::open(path)?),
    };
    let mut source = BufReader::with_capacity(BYTES, source);
    match source.fill_buf()?.starts_with(&GZIP) {
        true => Ok(Box::new(BufReader::with_capacity(BYTES, MultiGzDecoder::new(source)))),
        false => Ok(Box::new(source)),
    }
}
