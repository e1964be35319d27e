//! The extrapolation grade.

use crate::file::NewFile;
use crate::{Error, Result, element, npz, parallel};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use std::io::{BufWriter, Cursor, Read, Seek, Write};
use std::path::Path;

/// The version of the file.
const FORMAT: &str = "acerust-active-set/1";
/// Atoms of a product.
const CHUNK: usize = 64;

/// What grades are computed with: by species the rows `Â` (n, n) of training atoms whose volume is the largest.
///
/// The grade of an atom is `γ_i = max_j |(B_i Â⁻¹)_j|`, Podryabinkin and Shapeev, Comput. Mater. Sci. 140, 171 (2017); Lysogorskiy et al.,
/// Phys. Rev. Mater. 7, 043801 (2023). Up to 1 an atom lies within what was trained on; no invertible change of the basis alters that.
/// Of elements that no training structure had it is [`f64::MAX`].
#[derive(Clone, Debug)]
pub struct ActiveSet {
    species: Vec<u8>,
    n: usize,
    /// `Â⁻¹`, (n, n), by species; `None` where no atom was seen.
    inverse: Vec<Option<Mat<f64>>>,
}

impl ActiveSet {
    pub(crate) fn new(species: Vec<u8>, n: usize, inverse: Vec<Option<Mat<f64>>>) -> ActiveSet {
        ActiveSet { species, n, inverse }
    }

    /// # Errors
    /// [`Error::Argument`] for a potential with another basis.
    pub(crate) fn check(&self, species: &[u8], n: usize) -> Result<()> {
        match (self.species.as_slice(), self.n) == (species, n) {
            true => Ok(()),
            false => Err(Error::Argument("the active set is that of another model".into())),
        }
    }

    /// Grades (n_atoms) of atoms with these species and rows, (n_atoms, n). The same on any number of threads.
    pub(crate) fn grade(&self, species: &[u32], rows: &[f64], grades: &mut [f64]) {
        let rows = MatRef::from_row_major_slice(rows, grades.len(), self.n);
        for (s, inverse) in self.inverse.iter().enumerate() {
            let mut of: Vec<(usize, f64)> =
                (0..grades.len()).filter(|&i| species[i] == s as u32).map(|i| (i, f64::MAX)).collect();
            if let Some(inverse) = inverse {
                parallel::for_chunks_mut(&mut of, CHUNK, |_, atoms| {
                    let b = Mat::from_fn(self.n, atoms.len(), |j, a| rows[(atoms[a].0, j)]);
                    let mut c = Mat::zeros(self.n, atoms.len());
                    // The threads are the plan's.
                    matmul(&mut c, Accum::Replace, inverse.transpose(), &b, 1.0, Par::Seq);
                    for (column, (_, grade)) in c.col_iter().zip(atoms) {
                        *grade =
                            column.iter().fold(0.0, |g: f64, x| if x.is_nan() { f64::MAX } else { g.max(x.abs()) });
                        *grade = grade.min(f64::MAX);
                    }
                });
            }
            of.into_iter().for_each(|(i, grade)| grades[i] = grade);
        }
    }

    /// Writes `Â⁻¹` as arrays named by the elements, as pacemaker's `.asi` files have them.
    ///
    /// # Errors
    /// A path that cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let write =
            |file: NewFile| self.write(BufWriter::new(file))?.into_inner().map_err(|e| e.into_error())?.finish();
        NewFile::create(path).and_then(write).map_err(|source| Error::Io { path: path.to_owned(), source })
    }

    /// The bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.write(Cursor::new(Vec::new())).expect("memory takes what is written").into_inner()
    }

    fn write<W: Write + Seek>(&self, sink: W) -> std::io::Result<W> {
        let mut npz = npz::Writer::new(sink);
        let header = serde_json::json!({ "format": FORMAT, "species": self.species, "n": self.n }).to_string();
        npz.start("header", "|u1", &[header.len()])?;
        npz.write(header.bytes().map(|b| [b]))?;
        for (&z, inverse) in self.species.iter().zip(&self.inverse) {
            if let Some(inverse) = inverse {
                npz.start(&element::name(z), "<f8", &[self.n, self.n])?;
                for i in 0..self.n {
                    npz.write((0..self.n).map(|j| inverse[(i, j)].to_le_bytes()))?;
                }
            }
        }
        npz.finish()
    }

    /// Reads what [`ActiveSet::save`] wrote.
    ///
    /// # Errors
    /// A file that cannot be read, or holds anything else.
    pub fn load(path: impl AsRef<Path>) -> Result<ActiveSet> {
        ActiveSet::read(npz::Reader::open(path.as_ref())?)
    }

    /// As [`ActiveSet::load`] for the bytes of the file.
    ///
    /// # Errors
    /// Bytes of anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<ActiveSet> {
        ActiveSet::read(npz::Reader::new(Cursor::new(bytes), "active set")?)
    }

    fn read<R: Read + Seek>(mut npz: npz::Reader<R>) -> Result<ActiveSet> {
        #[derive(serde::Deserialize)]
        struct Header {
            format: String,
            species: Vec<u8>,
            n: usize,
        }
        let name = npz.name().to_owned();
        let fault = |message: String| Error::Fit(format!("{name}: {message}"));
        let Header { format, species, n } =
            serde_json::from_slice(&npz.bytes("header")?).map_err(|e| fault(e.to_string()))?;
        if format != FORMAT || n == 0 {
            return Err(fault(format!("the format '{format}' is unknown; this version reads '{FORMAT}'")));
        }
        let mut inverse = Vec::new();
        for &z in &species {
            let name = element::name(z);
            if !npz.contains(&name) {
                inverse.push(None);
                continue;
            }
            let numbers = npz.matrix(&name, n)?;
            if numbers.len() / n != n || numbers.iter().any(|x| !x.is_finite()) {
                return Err(fault(format!("the array `{name}` is damaged")));
            }
            inverse.push(Some(MatRef::from_row_major_slice(&numbers, n, n).to_owned()));
        }
        Ok(ActiveSet { species, n, inverse })
    }
}
