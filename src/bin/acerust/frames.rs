//! Frames of files on all threads.

use crate::output::is_io;
use acerust::extxyz::{Frame, Keys, Reader};
use anyhow::{Context, Result, ensure};
use flate2::bufread::MultiGzDecoder;
use indicatif::ProgressBar;
use rayon::prelude::*;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Atoms to work on at a time: enough for every thread, little for the memory.
pub const CHUNK_ATOMS: usize = 1 << 14;

/// The standard input or output in place of a file.
pub fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

/// The frames of some files, one file after the other; a file without any is an error. They keep all columns and pairs as they are.
pub struct Frames<'a> {
    paths: std::slice::Iter<'a, PathBuf>,
    open: Option<Open<'a>>,
}

struct Open<'a> {
    path: &'a Path,
    reader: Reader<Box<dyn BufRead>>,
    read: usize,
}

/// A frame and where it is from.
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
    pub fn new(paths: &'a [PathBuf]) -> Result<Frames<'a>> {
        let standard = paths.iter().filter(|path| is_standard(path)).count();
        ensure!(standard <= 1, "the standard input cannot be read {standard} times");
        Ok(Frames { paths: paths.iter(), open: None })
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
                    Err(source) => return Some(Err(acerust::Error::Io { path: name(path).into(), source }.into())),
                }
            };
            let number = open.read;
            open.read += 1;
            return match open.reader.next() {
                Some(Ok(frame)) => Some(Ok(Found { frame, path: open.path, number })),
                Some(Err(error)) => Some(Err(error.into())),
                None if number == 0 => Some(Err(anyhow::anyhow!("{}: no frames", name(open.path)))),
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

/// Applies `compute` to every frame, `chunk_atoms` at a time, and hands frame and result to `sink`, in the order of the files.
///
/// Where one fails, those before it have reached `sink`.
pub fn for_each<'a, T: Send>(
    frames: impl Iterator<Item = Result<Found<'a>>>,
    chunk_atoms: usize,
    bar: &ProgressBar,
    compute: impl Fn(&Frame) -> Result<T> + Sync,
    sink: impl FnMut(Frame, T) -> Result<()>,
) -> Result<()> {
    for_each_chunk(frames, chunk_atoms, bar, |chunk| each(chunk, &compute), sink)
}

/// The frames of a chunk on all threads.
pub fn each<T: Send>(chunk: &[Found], compute: impl Fn(&Frame) -> Result<T> + Sync) -> Vec<Result<T>> {
    chunk.par_iter().map(|found| compute(&found.frame)).collect()
}

/// [`for_each`] with the results of a chunk of frames at a time.
pub fn for_each_chunk<'a, T>(
    mut frames: impl Iterator<Item = Result<Found<'a>>>,
    chunk_atoms: usize,
    bar: &ProgressBar,
    compute: impl Fn(&[Found]) -> Vec<Result<T>>,
    mut sink: impl FnMut(Frame, T) -> Result<()>,
) -> Result<()> {
    loop {
        let mut chunk = Vec::new();
        let mut atoms = 0;
        let mut end = None;
        while atoms < chunk_atoms && end.is_none() {
            match frames.next() {
                Some(Ok(found)) => {
                    atoms += found.frame.structure.n_atoms().max(1);
                    chunk.push(found);
                }
                Some(Err(error)) => end = Some(Err(error)),
                None => end = Some(Ok(())),
            }
        }
        let results = compute(&chunk);
        for (found, result) in chunk.into_iter().zip(results) {
            let origin = found.origin();
            match result.and_then(|result| sink(found.frame, result)) {
                // That the output fails is no fault of the frame.
                Err(error) if is_io(&error) => return Err(error),
                done => done.context(origin)?,
            }
            bar.inc(1);
        }
        if let Some(end) = end {
            bar.finish_and_clear();
            return end;
        }
    }
}

/// A count of frames on the standard error, where that is a terminal and nothing else appears there.
pub fn bar(visible: bool) -> ProgressBar {
    match visible {
        true => ProgressBar::new_spinner().with_message("frames").with_style(
            indicatif::ProgressStyle::with_template("{spinner} {pos} {msg}, {per_sec}, {elapsed}")
                .expect("a valid template"),
        ),
        false => ProgressBar::hidden(),
    }
}
