//! Where results go: a file, complete or not there at all, or the standard output.

use anyhow::{Context, Error, Result};
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Results under way. Without [`Output::finish`] no file appears.
pub struct Output {
    sink: Sink,
}

enum Sink {
    Stdout(BufWriter<io::StdoutLock<'static>>),
    /// A pipe, a terminal, the null device: nothing to be replaced.
    Device(BufWriter<File>),
    /// Written beside its place: the input may be the same file.
    File {
        file: BufWriter<NamedTempFile>,
        path: PathBuf,
    },
}

impl Output {
    /// Results for a file, or for the standard output without one.
    pub fn new(path: Option<&Path>) -> Result<Output> {
        let sink = match path {
            None => Sink::Stdout(BufWriter::new(io::stdout().lock())),
            Some(path) => Sink::open(path).with_context(|| path.display().to_string())?,
        };
        Ok(Output { sink })
    }

    pub fn is_file(&self) -> bool {
        matches!(self.sink, Sink::File { .. })
    }

    /// Hands everything over; a file takes its place.
    pub fn finish(mut self) -> Result<()> {
        self.flush()?;
        if let Sink::File { file, path } = self.sink {
            let file = file.into_inner().map_err(|e| e.into_error())?;
            file.persist(&path).map_err(|e| e.error).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    fn writer(&mut self) -> &mut dyn Write {
        match &mut self.sink {
            Sink::Stdout(out) => out,
            Sink::Device(out) => out,
            Sink::File { file, .. } => file,
        }
    }
}

impl Sink {
    fn open(path: &Path) -> io::Result<Sink> {
        if std::fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir()) {
            return Ok(Sink::Device(BufWriter::new(File::options().write(true).open(path)?)));
        }
        if path.file_name().is_none() || path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        // A link stays one; its target is replaced.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // less the umask, as of any new file
        Ok(Sink::File { file: BufWriter::new(builder.tempfile_in(folder)?), path })
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }
}

impl Seek for Output {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match &mut self.sink {
            Sink::File { file, .. } => file.seek(to),
            _ => Err(io::ErrorKind::NotSeekable.into()),
        }
    }
}

/// Was it the reader at the other end of a pipe that went away?
pub fn is_broken_pipe(error: &Error) -> bool {
    let is = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| match cause.downcast_ref() {
        Some(acerust::Error::Io { source, .. }) => is(source),
        _ => cause.downcast_ref().is_some_and(is),
    })
}
