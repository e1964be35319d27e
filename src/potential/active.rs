//! The extrapolation grade.

use crate::file::NewFile;
use crate::stage::features::Features;
use crate::{Error, Result, element, npz, parallel};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use std::io::{BufWriter, Cursor, Read, Seek, Write};
use std::path::Path;

/// The version of the file.
const FORMAT: &str = "acerust-active-set/1";
/// Atoms of a product.
const CHUNK: usize = 128;

/// What grades are computed with: by species the rows `Â` of training atoms whose volume is the largest.
///
/// The grade of an atom is `γ_i = max_j |(B_i Â⁻¹)_j|`, Podryabinkin and Shapeev, Comput. Mater. Sci. 140, 171 (2017); Lysogorskiy et al.,
/// Phys. Rev. Mater. 7, 043801 (2023). Up to 1 an atom lies within what was trained on; no invertible change of the basis alters that.
/// Of elements that no training structure had it is [`f64::MAX`]. With an embedding the rows may be those of
/// `∂E_i/∂c = (∂E_i/∂ρ_p B_i)_p`, one density after another.
#[derive(Clone, Debug)]
pub struct ActiveSet {
    species: Vec<u8>,
    /// `Â⁻¹`, square, by species; `None` where no atom was seen.
    inverse: Vec<Option<Mat<f64>>>,
}

/// An active set that goes with a potential: its species are those of the potential.
pub(crate) struct Grader {
    pub set: ActiveSet,
    features: Features,
    /// Rows are derivatives with respect to coefficients.
    by_coefficients: bool,
}

impl ActiveSet {
    pub(crate) fn new(species: Vec<u8>, inverse: Vec<Option<Mat<f64>>>) -> ActiveSet {
        ActiveSet { species, inverse }
    }

    /// The set for a potential of these species and features.
    ///
    /// # Errors
    /// [`Error::Argument`] for the set of another potential.
    pub(crate) fn grader(self, species: &[u8], features: Features) -> Result<Grader> {
        let other = |message: String| Error::Argument(format!("the active set is that of another model: {message}"));
        if let Some(&z) = self.species.iter().find(|z| !species.contains(z)) {
            return Err(other(format!("it has {}", element::name(z))));
        }
        let mut inverse = Vec::new();
        for &z in species {
            let at = self.species.iter().position(|x| *x == z);
            let at = at.ok_or_else(|| other(format!("it has no {}", element::name(z))))?;
            inverse.push(self.inverse[at].clone());
        }
        // The first species whose matrix has another size.
        let misfit = |by_coefficients: bool| {
            let size =
                |z: usize| features.functions[z].len() * if by_coefficients { features.n_densities[z] } else { 1 };
            (0..species.len()).find(|&z| inverse[z].as_ref().is_some_and(|m| m.nrows() != size(z)))
        };
        let by_coefficients = match (misfit(false), misfit(true)) {
            (None, _) => false,
            (_, None) => true,
            (Some(z), _) => {
                let (n, name) = (inverse[z].as_ref().map_or(0, |m| m.nrows()), element::name(species[z]));
                let (known, densities) = (features.functions[z].len(), features.n_densities[z]);
                let or = if densities > 1 { format!(", or {} coefficients", known * densities) } else { String::new() };
                return Err(other(format!("it has {n} functions of {name}, the potential {known}{or}")));
            }
        };
        Ok(Grader { set: ActiveSet::new(species.to_vec(), inverse), features, by_coefficients })
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
        let n = self.inverse.iter().flatten().map(|m| m.nrows()).max().unwrap_or(0);
        let header = serde_json::json!({ "format": FORMAT, "species": self.species, "n": n }).to_string();
        npz.start("header", "|u1", &[header.len()])?;
        npz.write(header.bytes().map(|b| [b]))?;
        for (&z, inverse) in self.species.iter().zip(&self.inverse) {
            if let Some(inverse) = inverse {
                npz.start(&element::name(z), "<f8", &[inverse.nrows(), inverse.ncols()])?;
                for i in 0..inverse.nrows() {
                    npz.write((0..inverse.ncols()).map(|j| inverse[(i, j)].to_le_bytes()))?;
                }
            }
        }
        npz.finish()
    }

    /// Reads what [`ActiveSet::save`] wrote, or an `.asi` file of pacemaker.
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
        }
        let name = npz.name().to_owned();
        let fault = |message: String| Error::Fit(format!("{name}: {message}"));
        let species = if npz.contains("header") {
            let Header { format, species } =
                serde_json::from_slice(&npz.bytes("header")?).map_err(|e| fault(e.to_string()))?;
            if format != FORMAT {
                return Err(fault(format!("the format '{format}' is unknown; this version reads '{FORMAT}'")));
            }
            species
        } else {
            let number = |name: String| element::number(&name).ok_or_else(|| fault(format!("'{name}' is no element")));
            npz.names().into_iter().map(number).collect::<Result<Vec<u8>>>()?
        };
        let mut inverse = Vec::new();
        for &z in &species {
            let name = element::name(z);
            if !npz.contains(&name) {
                inverse.push(None);
                continue;
            }
            let (numbers, n) = npz.square(&name)?;
            if n == 0 || numbers.iter().any(|x| !x.is_finite()) {
                return Err(fault(format!("the array `{name}` is damaged")));
            }
            inverse.push(Some(MatRef::from_row_major_slice(&numbers, n, n).to_owned()));
        }
        Ok(ActiveSet { species, inverse })
    }
}

impl Grader {
    /// Are features the descriptors of the potential?
    pub fn is_of_descriptors(&self) -> bool {
        self.features.n_densities.iter().all(|n| *n == 0)
    }

    /// Numbers of an atom that its grade is computed from.
    pub fn width(&self) -> usize {
        self.features.width
    }

    /// Grades (n_atoms) of atoms with these species and features, (n_atoms, width). The same on any number of threads.
    pub fn grade(&self, species: &[u32], features: &[f64], grades: &mut [f64]) {
        let Features { width, functions, n_densities } = &self.features;
        let slopes_at = functions.last().map_or(0, |f| f.end);
        for (s, inverse) in self.set.inverse.iter().enumerate() {
            let mut of: Vec<(usize, f64)> =
                (0..grades.len()).filter(|&i| species[i] == s as u32).map(|i| (i, f64::MAX)).collect();
            if let Some(inverse) = inverse {
                let (first, n) = (functions[s].start, functions[s].len());
                let densities = if self.by_coefficients { n_densities[s] } else { 1 };
                parallel::for_chunks_mut(&mut of, CHUNK, |_, atoms| {
                    let mut b = Mat::zeros(n * densities, atoms.len());
                    for ((atom, _), column) in atoms.iter().zip(b.col_iter_mut()) {
                        let row = &features[atom * width..][..*width];
                        let column = column.try_as_col_major_mut().expect("columns without gaps").as_slice_mut();
                        for (p, to) in column.chunks_exact_mut(n.max(1)).enumerate() {
                            to.copy_from_slice(&row[first..first + n]);
                            if self.by_coefficients {
                                to.iter_mut().for_each(|x| *x *= row[slopes_at + p]);
                            }
                        }
                    }
                    let mut c = Mat::zeros(atoms.len(), b.nrows());
                    // The threads are the plan's.
                    matmul(&mut c, Accum::Replace, b.transpose(), inverse, 1.0, Par::Seq);
                    let mut largest = vec![0.0; atoms.len()];
                    for column in c.col_iter() {
                        for (largest, x) in largest.iter_mut().zip(column.iter()) {
                            let x = if x.is_nan() { f64::MAX } else { x.abs() };
                            *largest = if x > *largest { x } else { *largest };
                        }
                    }
                    atoms.iter_mut().zip(largest).for_each(|((_, grade), x)| *grade = x.min(f64::MAX));
                });
            }
            of.into_iter().for_each(|(i, grade)| grades[i] = grade);
        }
    }
}
