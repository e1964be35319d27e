//! The factors of a data set by group and kind of row: everything that solvers, other weights and other priors need, in one file.

use super::data::Remarks;
use super::factor::Factor;
use super::settings::{OneBody, Settings};
use super::system::System;
use crate::file::NewFile;
use crate::model::{Model, PartSpec};
use crate::part::one_body;
use crate::{Error, Result, npz};
use faer::prelude::*;
use indexmap::{IndexMap, IndexSet};
use serde::{Deserialize, Serialize};
use std::io::{self, BufWriter, Cursor, Read, Seek, Write};
use std::path::Path;

/// The version of the file.
const FORMAT: &str = "acerust-factors/1";
/// No file counts farther: sums of a thousand of them, and as many as there are numbers of 64 bits for.
const MOST: u64 = 1 << 53;

/// Factors of the rows `[parameters | composition | datum]`.
#[derive(Clone, Debug)]
pub struct Factors {
    /// The model whose basis the rows are of.
    pub model: Model,
    pub groups: IndexMap<String, Group>,
    /// By species: sum and number of the energies of single atoms.
    pub isolated: Vec<(f64, u64)>,
    pub remarks: Remarks,
    /// The files that the frames are from, with their hashes.
    pub sources: IndexSet<String>,
    /// Frames that were looked at.
    pub frames: u64,
    /// The closest neighbours, Å, by unordered pair of species (infinite: none).
    pub closest: Vec<f64>,
}

/// What is known of one group of frames.
#[derive(Clone, Debug)]
pub struct Group {
    pub frames: u64,
    pub atoms: u64,
    /// Rows of energies by `1/√N`.
    pub energy: Factor,
    /// The same rows by `1/N`, unweighted, for errors an atom.
    pub energy_per_atom: Factor,
    pub force: Factor,
    /// Rows of virials by `1/√N`.
    pub virial: Factor,
}

impl Group {
    pub(super) fn new(n: usize) -> Group {
        let of = || Factor::new(n);
        Group { frames: 0, atoms: 0, energy: of(), energy_per_atom: of(), force: of(), virial: of() }
    }

    fn factors(&self) -> [(&'static str, &Factor); 4] {
        let Group { energy, energy_per_atom, force, virial, .. } = self;
        [("energy", energy), ("energy_per_atom", energy_per_atom), ("force", force), ("virial", virial)]
    }

    fn factors_mut(&mut self) -> [(&'static str, &mut Factor); 4] {
        let Group { energy, energy_per_atom, force, virial, .. } = self;
        [("energy", energy), ("energy_per_atom", energy_per_atom), ("force", force), ("virial", virial)]
    }
}

/// What is not a matrix.
#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    model: serde_json::Value,
    groups: Vec<HeaderGroup>,
    isolated: Vec<(f64, u64)>,
    remarks: Remarks,
    #[serde(default)]
    sources: IndexSet<String>,
    frames: u64,
    /// `null`: infinite.
    closest: Vec<Option<f64>>,
}

#[derive(Serialize, Deserialize)]
struct HeaderGroup {
    name: String,
    frames: u64,
    atoms: u64,
    rows: [u64; 4],
}

impl Factors {
    /// Of no frames.
    pub fn new(model: &Model) -> Factors {
        let n = model.species().len();
        Factors {
            model: model.clone(),
            groups: IndexMap::new(),
            isolated: vec![(0.0, 0); n],
            remarks: Remarks::default(),
            sources: IndexSet::new(),
            frames: 0,
            closest: vec![f64::INFINITY; n * (n + 1) / 2],
        }
    }

    pub fn n_params(&self) -> usize {
        self.model.length_basis()
    }

    /// Numbers a row.
    pub fn n_columns(&self) -> usize {
        self.n_params() + self.model.species().len() + 1
    }

    pub(super) fn group(&mut self, name: &str) -> &mut Group {
        let n = self.n_columns();
        self.groups.entry(name.to_owned()).or_insert_with(|| Group::new(n))
    }

    /// Adds the factors of other frames.
    ///
    /// # Errors
    /// [`Error::Fit`] where those are of another basis.
    pub fn merge(&mut self, other: &Factors) -> Result<()> {
        if !same_basis(&self.model, &other.model) {
            return Err(Error::Fit("factors of different models cannot be merged".into()));
        }
        for (name, theirs) in &other.groups {
            let ours = self.group(name);
            ours.frames += theirs.frames;
            ours.atoms += theirs.atoms;
            for ((_, a), (_, b)) in ours.factors_mut().into_iter().zip(theirs.factors()) {
                a.merge(b);
            }
        }
        for (a, b) in self.isolated.iter_mut().zip(&other.isolated) {
            *a = (a.0 + b.0, a.1 + b.1);
        }
        self.closest.iter_mut().zip(&other.closest).for_each(|(a, b)| *a = a.min(*b));
        self.remarks.merge(&other.remarks);
        self.sources.extend(other.sources.iter().cloned());
        self.frames += other.frames;
        Ok(())
    }

    /// The energies of single atoms, eV, by species.
    ///
    /// # Errors
    /// Data that do not tell them.
    pub fn one_body(&self, choice: OneBody) -> Result<Vec<f64>> {
        let species = self.model.species();
        match choice {
            OneBody::Given => Ok(one_body(self.model.species().len(), &self.model.spec().parts)),
            OneBody::Isolated => {
                let mean = |(k, &(sum, count)): (usize, &(f64, u64))| match count {
                    0 => Err(Error::Fit(format!(
                        "E0: no frame is an isolated atom of {}",
                        crate::element::name(species[k])
                    ))),
                    _ => Ok(sum / count as f64),
                };
                self.isolated.iter().enumerate().map(mean).collect()
            }
            OneBody::Composition => {
                let (n, s) = (self.n_params(), species.len());
                let rows = self.groups.values().map(|g| g.energy_per_atom.to_rows());
                let rows: Vec<Vec<f64>> = rows
                    .flat_map(|m| (0..m.nrows()).map(move |i| (n..=n + s).map(|j| m[(i, j)]).collect::<Vec<f64>>()))
                    .collect();
                if rows.is_empty() {
                    return Err(Error::Fit("E0: no frame has an energy".into()));
                }
                let a = Mat::from_fn(rows.len(), s, |i, j| rows[i][j]);
                let svd = a.thin_svd().map_err(|e| Error::Fit(format!("E0: {e:?}")))?;
                let d = svd.S().column_vector();
                let mut e0 = vec![0.0; s];
                // The shortest solution where compositions leave some sums open.
                for k in (0..d.nrows()).filter(|&k| d[k] > 1e-10 * d[0]) {
                    let along = (0..rows.len()).map(|i| svd.U()[(i, k)] * rows[i][s]).sum::<f64>() / d[k];
                    e0.iter_mut().enumerate().for_each(|(j, e)| *e += along * svd.V()[(j, k)]);
                }
                Ok(e0)
            }
        }
    }

    /// The least-squares problem of these settings, for the groups that `chosen` lets through.
    pub fn system(&self, settings: &Settings, e0: &[f64], log_gamma: &[f64], chosen: impl Fn(usize) -> bool) -> System {
        let mut system = System::new(self.n_params());
        for (k, (name, group)) in self.groups.iter().enumerate() {
            if chosen(k) {
                group.add_to(&mut system, settings, name, e0, log_gamma);
            }
        }
        system
    }

    /// Writes the factors; a file of that name is replaced as a whole or not at all.
    ///
    /// # Errors
    /// A path that cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let write =
            |file: NewFile| self.write(BufWriter::new(file))?.into_inner().map_err(|e| e.into_error())?.finish();
        NewFile::create(path).and_then(write).map_err(|source| Error::Io { path: path.to_owned(), source })
    }

    /// What [`Factors::save`] writes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.write(Cursor::new(Vec::new())).expect("memory takes all").into_inner()
    }

    fn write<W: Write + Seek>(&self, sink: W) -> io::Result<W> {
        let groups = self.groups.iter().map(|(name, g)| HeaderGroup {
            name: name.clone(),
            frames: g.frames,
            atoms: g.atoms,
            rows: g.factors().map(|(_, f)| f.rows()),
        });
        let header = Header {
            format: FORMAT.into(),
            model: serde_json::to_value(self.model.spec()).expect("plain data"),
            groups: groups.collect(),
            isolated: self.isolated.clone(),
            remarks: self.remarks.clone(),
            sources: self.sources.clone(),
            frames: self.frames,
            closest: self.closest.iter().map(|&r| Some(r).filter(|r| r.is_finite())).collect(),
        };
        let n = self.n_columns();
        let mut npz = npz::Writer::new(sink);
        let header = serde_json::to_vec(&header)?;
        npz.start("header", "|u1", &[header.len()])?;
        npz.write(header.iter().map(|&b| [b]))?;
        for (k, group) in self.groups.values().enumerate() {
            for (kind, factor) in group.factors() {
                let triangle = factor.triangle();
                npz.start(&format!("{k}_{kind}_triangle"), "<f8", &[triangle.as_ref().map_or(0, |_| n), n])?;
                for (t, i) in triangle.iter().flat_map(|t| (0..n).map(move |i| (t, i))) {
                    npz.write((0..n).map(|j| t[(i, j)].to_le_bytes()))?;
                }
                npz.start(&format!("{k}_{kind}_rows"), "<f8", &[factor.pending().len() / n, n])?;
                npz.write(factor.pending().iter().map(|x| x.to_le_bytes()))?;
            }
        }
        npz.finish()
    }

    /// Reads what [`Factors::save`] wrote.
    ///
    /// # Errors
    /// A file that cannot be read, or holds anything else.
    pub fn load(path: impl AsRef<Path>) -> Result<Factors> {
        Self::read(npz::Reader::open(path.as_ref())?)
    }

    /// Of what [`Factors::to_bytes`] gave; errors call it `name`.
    ///
    /// # Errors
    /// As [`Factors::load`].
    pub fn from_bytes(bytes: &[u8], name: &str) -> Result<Factors> {
        Self::read(npz::Reader::new(Cursor::new(bytes), name)?)
    }

    fn read<R: Read + Seek>(mut npz: npz::Reader<R>) -> Result<Factors> {
        let name = npz.name().to_owned();
        let fault = |message: String| Error::Fit(format!("{name}: {message}"));
        let header: Header = serde_json::from_slice(&npz.bytes("header")?).map_err(|e| fault(e.to_string()))?;
        if header.format != FORMAT {
            return Err(fault(format!("the format '{}' is unknown; this version reads '{FORMAT}'", header.format)));
        }
        let model = Model::from_json(header.model.to_string())?;
        let mut factors = Factors::new(&model);
        let n = factors.n_columns();
        if header.isolated.len() != model.species().len() || header.closest.len() != factors.closest.len() {
            return Err(fault("the header does not fit its model".into()));
        }
        let Header { groups, isolated, remarks, frames, .. } = &header;
        let skipped = remarks.skipped.values().flat_map(|&(count, first)| [count, first]);
        let of_groups = groups.iter().flat_map(|g| [g.frames, g.atoms].into_iter().chain(g.rows));
        let counts = isolated.iter().map(|(_, count)| *count).chain(skipped).chain(of_groups);
        if let Some(count) = counts.chain([*frames, remarks.duplicates]).find(|count| *count > MOST) {
            return Err(fault(format!("the header is damaged: it counts to {count}")));
        }
        factors.isolated = header.isolated;
        factors.closest = header.closest.into_iter().map(|r| r.unwrap_or(f64::INFINITY)).collect();
        (factors.remarks, factors.sources, factors.frames) = (header.remarks, header.sources, header.frames);
        for (k, listed) in header.groups.into_iter().enumerate() {
            let group = factors.group(&listed.name);
            (group.frames, group.atoms) = (listed.frames, listed.atoms);
            for ((kind, factor), rows) in group.factors_mut().into_iter().zip(listed.rows) {
                let triangle = npz.matrix(&format!("{k}_{kind}_triangle"), n)?;
                let pending = npz.matrix(&format!("{k}_{kind}_rows"), n)?;
                let finite = triangle.iter().chain(&pending).all(|x| x.is_finite());
                // A triangle is of one row at least.
                let fewest = pending.len() / n + usize::from(!triangle.is_empty());
                if !finite || ![0, n * n].contains(&triangle.len()) || rows < fewest as u64 {
                    return Err(fault(format!("the factor of group {k}, {kind}, is damaged")));
                }
                *factor = Factor::from_parts(n, rows, &triangle, pending);
            }
        }
        Ok(factors)
    }
}

impl Group {
    /// Adds the weighted rows of the group to a system.
    pub(super) fn add_to(&self, system: &mut System, settings: &Settings, name: &str, e0: &[f64], log_gamma: &[f64]) {
        let w = settings.weights_of(name);
        for (factor, weight) in [(&self.energy, w.energy), (&self.force, w.force), (&self.virial, w.virial)] {
            system.add(factor, weight, log_gamma, e0);
        }
    }
}

/// The same but for linear parameters, names and one-body energies?
fn same_basis(a: &Model, b: &Model) -> bool {
    let bare = |model: &Model| {
        let mut model = model.clone();
        let n = model.length_basis();
        model.set_linear_parameters(&vec![0.0; n]).expect("as many as there are");
        let mut spec = model.into_spec();
        (spec.name, spec.source) = (String::new(), String::new());
        spec.parts.retain(|p| !matches!(p, PartSpec::OneBody(_)));
        spec
    };
    bare(a) == bare(b)
}
