//! Potentials of pacemaker as models: one-body energies, and a many-body part with an embedding.

use super::spec::*;
use super::{Model, PartSpec};
use crate::Result;
use crate::pace::products::{Products, Row};
use crate::pace::{Bond, Potential};
use std::f64::consts::PI;

impl Model {
    /// Reads a potential of pacemaker: a `.yace` file, or its `.yaml`.
    ///
    /// # Errors
    /// As [`Potential::parse`]; [`crate::Error::Memory`] for more text than memory allows.
    pub fn from_pace(text: impl AsRef<[u8]>) -> Result<Self> {
        let text = text.as_ref();
        super::file::grant(text)?;
        Self::of_potential(&Potential::parse(text)?)
    }

    /// The model of a potential.
    ///
    /// # Errors
    /// [`crate::Error::Model`] for a potential with more `A` or products than a model may have.
    pub fn of_potential(potential: &Potential) -> Result<Self> {
        let parts = vec![PartSpec::OneBody(OneBodySpec { e0: potential.e0.clone() }), PartSpec::Ace(ace(potential))];
        Model::new(ModelSpec {
            format: FORMAT.into(),
            name: potential.species.iter().map(|&z| crate::element::name(z)).collect(),
            source: "pacemaker".into(),
            species: potential.species.clone(),
            parts,
        })
    }
}

/// Numbers in upstream's tables at most: 1 GiB.
const MAX_TABLE: f64 = (1 << 27) as f64;

impl Model {
    /// Whether upstream's tables find room.
    ///
    /// # Errors
    /// [`crate::Error::Argument`].
    pub(crate) fn check_pace_tables(&self) -> Result<()> {
        for (p, part) in self.spec().parts.iter().enumerate() {
            let PartSpec::Ace(AceSpec { radial, .. }) = part else { continue };
            let FunctionsSpec::Pace { bins, pairs, .. } = &radial.functions else { continue };
            let numbers: f64 = pairs.iter().map(|b| b.rcut / bins * 2.0 * radial.spec.len() as f64).sum();
            if numbers > MAX_TABLE {
                let message =
                    format!("pace-table: tables of parts[{p}].ace with bins of {bins} Å have {numbers:.1e} numbers");
                return Err(crate::Error::Argument(message));
            }
        }
        Ok(())
    }
}

fn ace(potential: &Potential) -> AceSpec {
    let Products { a, aa, densities, functions } = Products::new(potential);
    let n_species = potential.n_species();
    // The files' harmonics are √4π times ours.
    let scale = |k: usize| (4.0 * PI).sqrt().powi(aa[k].len() as i32);
    let n_functions: usize = functions.iter().map(Vec::len).sum();
    let (c, weights) =
        if n_functions > 0 { coupled(potential, &functions, &densities) } else { plain(&aa, &densities) };
    let c = scaled(c, aa.len(), scale);
    let lmax = a.iter().map(|label| label.l).max().unwrap_or(0);
    AceSpec {
        rcut: potential.rcut(),
        radial: radial(potential),
        angular: AngularSpec { kind: HarmonicsKind::Spherical, lmax },
        a: a.iter().map(|label| [label.t, ((label.l * label.l + label.l) as i32 + label.m) as u32]).collect(),
        neighbours: (n_species > 1).then(|| a.iter().map(|label| label.species).collect()),
        aa,
        c,
        weights,
        embedding: Some(Box::new(EmbeddingSpec {
            species: potential.embeddings.clone(),
            functions: (n_functions > 0).then(|| functions.iter().map(Vec::len).collect()),
            core: Some(core(potential)),
        })),
    }
}

/// Rows of the coupling matrix.
type CouplingRows = Vec<Row>;

/// Every product is a function of its own, the coefficients of densities are its weights.
fn plain(aa: &[Vec<u32>], densities: &[Vec<Row>]) -> (CouplingRows, Vec<Vec<f64>>) {
    let n = aa.len();
    let weights = densities.iter().map(|rows| {
        let mut w = vec![0.0; rows.len() * n];
        for (p, row) in rows.iter().enumerate() {
            row.iter().for_each(|&(k, c)| w[p * n + k as usize] = c);
        }
        w
    });
    ((0..n as u32).map(|k| vec![(k, 1.0)]).collect(), weights.collect())
}

/// Invariant functions, those of each centre after those of another.
fn coupled(potential: &Potential, functions: &[Vec<Row>], densities: &[Vec<Row>]) -> (CouplingRows, Vec<Vec<f64>>) {
    let n: usize = functions.iter().map(Vec::len).sum();
    let (mut first, mut weights) = (0, Vec::new());
    for (list, rows) in potential.functions.iter().zip(densities) {
        let mut w = vec![0.0; rows.len() * n];
        for (b, f) in list.iter().enumerate() {
            let Some(&coupling) = f.coupling.first() else { continue };
            for (p, c) in f.coefficients[..rows.len()].iter().enumerate() {
                w[p * n + first + b] = c / coupling;
            }
        }
        first += list.len();
        weights.push(w);
    }
    (functions.concat(), weights)
}

fn scaled(rows: CouplingRows, n_aa: usize, scale: impl Fn(usize) -> f64) -> SparseSpec {
    let mut c = SparseSpec { shape: [rows.len(), n_aa], rows: vec![], cols: vec![], vals: vec![] };
    for (b, row) in rows.into_iter().enumerate() {
        for (k, value) in row {
            c.rows.push(b as u32);
            c.cols.push(k);
            c.vals.push(value * scale(k as usize));
        }
    }
    c
}

fn radial(potential: &Potential) -> RadialSpec {
    let [n_base, n_radial, lmax] = potential.sizes();
    let labels = || (0..n_radial).flat_map(|n| (0..=lmax).map(move |l| (n, l)));
    let base = (0..n_base).map(|k| [k as u32 + 1, 0]);
    let radial = labels().map(|(n, l)| [(n_base + n) as u32 + 1, l as u32]);
    let w = |bond: &Bond| {
        let one_hot = (0..n_base).map(|k| (0..n_base).map(|t| f64::from(u8::from(t == k))).collect());
        let row = |(n, l): (usize, usize)| {
            let mut row = bond.coefficients.get(n).and_then(|by_l| by_l.get(l)).cloned().unwrap_or_default();
            row.resize(n_base, 0.0);
            row
        };
        one_hot.chain(labels().map(row)).collect()
    };
    let pair = |b: &Bond| BaseSpec {
        base: b.base,
        lambda: b.lambda,
        rcut: b.rcut,
        dcut: b.dcut,
        inner: b.inner,
        inner_width: b.inner_width,
    };
    RadialSpec {
        transforms: vec![],
        envelopes: vec![],
        functions: FunctionsSpec::Pace {
            bins: potential.bins,
            inner: potential.inner,
            pairs: potential.bonds.iter().map(pair).collect(),
            w: potential.bonds.iter().map(w).collect(),
        },
        spec: base.chain(radial).collect(),
    }
}

fn core(potential: &Potential) -> CoreSpec {
    let pair = |b: &Bond| CorePairSpec {
        rcut: b.rcut,
        dcut: b.dcut,
        inner: b.inner,
        inner_width: b.inner_width,
        prefactor: b.core[0],
        lambda: b.core[1],
    };
    CoreSpec { inner: potential.inner, pairs: potential.bonds.iter().map(pair).collect() }
}
