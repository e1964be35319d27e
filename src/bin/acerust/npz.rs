//! NumPy's .npz, written as the numbers come: an archive of uncompressed .npy files.

use anyhow::Result;
use std::io::{Seek, Write};
use zip::write::{SimpleFileOptions, ZipWriter};

pub struct Writer<W: Write + Seek> {
    archive: ZipWriter<W>,
}

impl<W: Write + Seek> Writer<W> {
    pub fn new(sink: W) -> Self {
        Writer { archive: ZipWriter::new(sink) }
    }

    /// Begins an array of this type (`<f8`, `<i8`) and shape, row by row; its numbers follow.
    pub fn start(&mut self, name: &str, dtype: &str, shape: &[usize]) -> Result<()> {
        let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored).large_file(true);
        self.archive.start_file(format!("{name}.npy"), options)?;
        Ok(self.archive.write_all(&header(dtype, shape))?)
    }

    /// The next numbers of the array.
    pub fn write(&mut self, numbers: impl Iterator<Item = [u8; 8]>) -> Result<()> {
        let bytes: Vec<u8> = numbers.flatten().collect();
        Ok(self.archive.write_all(&bytes)?)
    }

    pub fn finish(self) -> Result<W> {
        Ok(self.archive.finish()?)
    }
}

/// Version 1.0: magic, length, a Python dictionary padded so that the numbers are aligned to 64 bytes.
fn header(dtype: &str, shape: &[usize]) -> Vec<u8> {
    let shape: String = shape.iter().map(|n| format!("{n},")).collect();
    let text = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({shape}), }}");
    let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(format!("{text:<width$}\n", width = length - 1).bytes());
    bytes
}
