//! NumPy's .npz: an archive of uncompressed .npy files, written as the numbers come.

use crate::{Error, Result};
use std::fmt::{self, Debug, Formatter};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path;
use zip::write::{SimpleFileOptions, ZipWriter};

const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
/// Bytes read at a time.
const PIECE: usize = 1 << 16;

/// Writes arrays one after another.
pub struct Writer<W: Write + Seek> {
    archive: ZipWriter<W>,
}

impl<W: Write + Seek> Debug for Writer<W> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl<W: Write + Seek> Writer<W> {
    pub fn new(sink: W) -> Self {
        Writer { archive: ZipWriter::new(sink) }
    }

    /// Begins an array of this type (`<f8`, `<i8`, `|u1`) and shape, row by row; its numbers follow.
    ///
    /// # Errors
    /// A sink that takes no more, here and below.
    pub fn start(&mut self, name: &str, dtype: &str, shape: &[usize]) -> io::Result<()> {
        let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored).large_file(true);
        self.archive.start_file(format!("{name}.npy"), options)?;
        self.archive.write_all(&header(dtype, shape))
    }

    /// The next numbers of the array.
    pub fn write<const N: usize>(&mut self, numbers: impl Iterator<Item = [u8; N]>) -> io::Result<()> {
        let bytes: Vec<u8> = numbers.flatten().collect();
        self.archive.write_all(&bytes)
    }

    /// # Errors
    /// As [`Writer::start`].
    pub fn finish(self) -> io::Result<W> {
        Ok(self.archive.finish()?)
    }
}

/// Version 1.0: magic, length, a Python dictionary padded so that the numbers are aligned to 64 bytes.
fn header(dtype: &str, shape: &[usize]) -> Vec<u8> {
    let shape: String = shape.iter().map(|n| format!("{n},")).collect();
    let text = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({shape}), }}");
    let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
    let mut bytes = MAGIC.to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(format!("{text:<width$}\n", width = length - 1).bytes());
    bytes
}

/// Reads arrays by name.
#[derive(Debug)]
pub struct Reader<R> {
    archive: zip::ZipArchive<R>,
    /// For messages.
    name: String,
}

impl Reader<BufReader<File>> {
    /// # Errors
    /// A file that cannot be read or is no archive.
    pub fn open(path: &Path) -> Result<Self> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let archive = File::open(path).and_then(|f| Ok(zip::ZipArchive::new(BufReader::new(f))?)).map_err(io)?;
        Ok(Reader { archive, name: path.display().to_string() })
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Of the bytes of a file; errors call it `name`.
    ///
    /// # Errors
    /// Bytes that are no archive.
    pub fn new(bytes: R, name: &str) -> Result<Self> {
        let archive = zip::ZipArchive::new(bytes).map_err(|e| Error::Fit(format!("{name}: {e}")))?;
        Ok(Reader { archive, name: name.to_owned() })
    }

    /// What errors call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Is there such an array?
    pub fn contains(&self, name: &str) -> bool {
        self.archive.index_for_name(&format!("{name}.npy")).is_some()
    }

    /// A matrix of float64 with so many columns, row-major.
    ///
    /// # Errors
    /// An array that is missing, has another type, order or shape, or is cut short.
    pub fn matrix(&mut self, name: &str, n_columns: usize) -> Result<Vec<f64>> {
        let (shape, numbers) = self.reals(name)?;
        match (&shape[..], numbers) {
            (&[m, n], Some(numbers)) if n == n_columns && numbers.len() == m.saturating_mul(n) => Ok(numbers),
            _ => Err(self.fault(name, &format!("no matrix with {n_columns} columns"))),
        }
    }

    /// The names of all arrays.
    pub fn names(&self) -> Vec<String> {
        let names = self.archive.file_names().flatten();
        names.map(|name| name.strip_suffix(".npy").unwrap_or(&name).to_owned()).collect()
    }

    /// A square matrix of float64, row-major, and its size.
    ///
    /// # Errors
    /// As [`Reader::matrix`]; another shape.
    pub fn square(&mut self, name: &str) -> Result<(Vec<f64>, usize)> {
        let (shape, numbers) = self.reals(name)?;
        match (&shape[..], numbers) {
            (&[n, m], Some(numbers)) if n == m && numbers.len() == n.saturating_mul(n) => Ok((numbers, n)),
            _ => Err(self.fault(name, "no square matrix")),
        }
    }

    /// A vector of bytes.
    ///
    /// # Errors
    /// As [`Reader::matrix`].
    pub fn bytes(&mut self, name: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.array(name, "'|u1'", |piece| bytes.extend_from_slice(piece))?;
        Ok(bytes)
    }

    /// The shape and the numbers of an array of float64; none where it ends within a number.
    fn reals(&mut self, name: &str) -> Result<(Vec<usize>, Option<Vec<f64>>)> {
        let (mut numbers, mut whole) = (Vec::new(), true);
        let shape = self.array(name, "'<f8'", |piece| {
            let (eights, rest) = piece.as_chunks();
            numbers.extend(eights.iter().map(|&b| f64::from_le_bytes(b)));
            whole &= rest.is_empty();
        })?;
        Ok((shape, whole.then_some(numbers)))
    }

    /// The shape of an array of this type; its bytes go to `each` in pieces, all but the last of them a multiple of eight long.
    fn array(&mut self, name: &str, dtype: &str, mut each: impl FnMut(&[u8])) -> Result<Vec<usize>> {
        let mut header = Vec::new();
        let read = self.archive.by_name(&format!("{name}.npy")).map_err(io::Error::from).and_then(|mut file| {
            let mut start = Vec::new();
            file.by_ref().take(10).read_to_end(&mut start)?;
            let length = start.get(8..10).filter(|_| start.starts_with(MAGIC));
            let length = length.map_or(0, |b| u16::from_le_bytes([b[0], b[1]]));
            file.by_ref().take(length.into()).read_to_end(&mut header)?;
            let mut piece = Vec::with_capacity(PIECE);
            while file.by_ref().take(PIECE as u64).read_to_end(&mut piece)? > 0 {
                each(&piece);
                piece.clear();
            }
            Ok(())
        });
        read.map_err(|e| self.fault(name, &e.to_string()))?;
        let header = String::from_utf8_lossy(&header);
        if !header.contains(dtype) {
            return Err(self.fault(name, &format!("no array of the type {dtype}")));
        }
        if !header.contains("'fortran_order': False") {
            return Err(self.fault(name, "it is in Fortran order (`numpy.ascontiguousarray` makes rows of it)"));
        }
        let shape = header.split_once("'shape': (").and_then(|(_, rest)| rest.split_once(')'));
        let shape = shape.map(|(shape, _)| shape.split(',').filter_map(|n| n.trim().parse().ok()).collect());
        Ok(shape.unwrap_or_default())
    }

    fn fault(&self, name: &str, message: &str) -> Error {
        Error::Fit(format!("{}: array `{name}`: {message}", self.name))
    }
}
