//! Where results go: a file, complete or not there at all, or the standard output.

use acerust::extxyz::is_standard;
use acerust::file::NewFile;
use anyhow::{Error, Result, ensure};
use flate2::{Compression, write::GzEncoder};
use std::fmt;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

/// Results under way. Without [`Output::finish`] no file appears. Errors name the file.
pub struct Output {
    sink: Sink,
    name: String,
}

enum Sink {
    Stdout(BufWriter<io::StdoutLock<'static>>),
    File(BufWriter<NewFile>),
    Gzip(GzEncoder<BufWriter<NewFile>>),
}

impl Output {
    /// Results for a file, compressed where it is named `….gz`, or for the standard output without one or with `-`.
    pub fn new(path: Option<&Path>) -> Result<Output> {
        let Some(path) = path.filter(|path| !is_standard(path)) else {
            let sink = Sink::Stdout(BufWriter::new(io::stdout().lock()));
            return Ok(Output { sink, name: "standard output".into() });
        };
        let name = path.display().to_string();
        let file = BufWriter::new(NewFile::create(path).map_err(|e| named(&name, e))?);
        let sink = match path.extension().is_some_and(|e| e == "gz") {
            true => Sink::Gzip(GzEncoder::new(file, Compression::default())),
            false => Sink::File(file),
        };
        Ok(Output { sink, name })
    }

    pub fn is_file(&self) -> bool {
        match &self.sink {
            Sink::Stdout(_) => false,
            Sink::File(file) => file.get_ref().is_file(),
            Sink::Gzip(file) => file.get_ref().get_ref().is_file(),
        }
    }

    /// Hands everything over; a file takes its place.
    pub fn finish(self) -> Result<()> {
        let finish = |file: BufWriter<NewFile>| file.into_inner().map_err(|e| e.into_error())?.finish();
        let done = match self.sink {
            Sink::Stdout(mut out) => out.flush(),
            Sink::File(file) => finish(file),
            Sink::Gzip(file) => file.finish().and_then(finish),
        };
        Ok(done.map_err(|e| named(&self.name, e))?)
    }

    fn writer(&mut self) -> &mut dyn Write {
        match &mut self.sink {
            Sink::Stdout(out) => out,
            Sink::File(file) => file,
            Sink::Gzip(file) => file,
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer().write(bytes).map_err(|e| named(&self.name, e))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer().flush().map_err(|e| named(&self.name, e))
    }
}

impl Seek for Output {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match &mut self.sink {
            Sink::File(file) => file.seek(to).map_err(|e| named(&self.name, e)),
            _ => Err(io::ErrorKind::NotSeekable.into()),
        }
    }
}

/// Whether files can be written, before a command works for them for long. None is the standard output, and no two are the same one.
pub fn expect<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    let mut files = Vec::new();
    for path in paths {
        ensure!(!is_standard(path), "-: this command writes no results to the standard output: name a file");
        // What is no file may be opened once alone.
        if std::fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir()) {
            continue;
        }
        ensure!(!files.contains(&path), "{}: it is named for two results", path.display());
        drop(NewFile::create(path).map_err(|e| named(&path.display().to_string(), e))?);
        files.push(path);
    }
    Ok(())
}

/// An error of a file, with its name; unless it is to be tried again.
fn named(name: &str, error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::Interrupted => error,
        kind => io::Error::new(kind, Named { name: name.to_owned(), error }),
    }
}

#[derive(Debug)]
struct Named {
    name: String,
    error: io::Error,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.error)
    }
}

impl std::error::Error for Named {}

/// Errors of reading and writing on the way to this one.
fn io_errors(error: &Error) -> impl Iterator<Item = &io::Error> {
    error.chain().filter_map(|cause| match cause.downcast_ref() {
        Some(acerust::Error::Io { source, .. }) => Some(source),
        _ => cause.downcast_ref(),
    })
}

/// Was it a file that could not be read or written, and not what is in it?
pub fn is_io(error: &Error) -> bool {
    io_errors(error).next().is_some()
}

/// Was it the reader at the other end of a pipe that went away?
pub fn is_broken_pipe(error: &Error) -> bool {
    io_errors(error).any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// An error without the name that a stream of frames gives its sink, which has its own.
pub fn bare(error: acerust::Error) -> Error {
    match error {
        acerust::Error::Io { source, .. } => source.into(),
        other => other.into(),
    }
}

/// All that an error says, once.
pub fn message(error: &Error) -> String {
    error.chain().fold(String::new(), |mut all, cause| {
        let text = cause.to_string();
        if !all.ends_with(&text) {
            all += if all.is_empty() { "" } else { ": " };
            all += &text;
        }
        all
    })
}
