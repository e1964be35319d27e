//! Active sets: per species the basis rows of `n` training atoms that span the largest volume (MaxVol).
//!
//! Podryabinkin and Shapeev, Comput. Mater. Sci. 140, 171 (2017). What grades of other atoms are then, [`ActiveSet`] says.

use super::settings::Settings;
use crate::extxyz::Frame;
use crate::model::Model;
use crate::parallel;
use crate::plan::{ActiveSet, Device, Outputs, Plan, Precision};
use crate::structure::Structure;
use crate::{Error, Result, element};
use faer::linalg::solvers::Solve;
use faer::{Mat, MatRef};
use ndarray::Array2;

/// Rows beyond the active ones that are looked at together, bytes.
const CHUNK_BYTES: usize = 64 << 20;
/// Swaps end where no volume grows by more than this.
const ENOUGH: f64 = 1.001;
const MAX_SWAPS: usize = 100_000;
/// Pivots below this part of the largest mean that rows are dependent.
const DEPENDENT: f64 = 1e-13;

/// Chooses active rows from a stream of them.
#[derive(Clone, Debug)]
pub struct Selector {
    species: Vec<u8>,
    n: usize,
    /// By species: active rows, (n, n) once there are so many, else all that came; and rows that wait.
    rows: Vec<Vec<f64>>,
}

/// The active set of the frames that a fit of a model would use.
///
/// # Errors
/// What reading fails with; as [`Selector::finish`].
pub fn active_set(
    model: &Model,
    settings: &Settings,
    frames: impl IntoIterator<Item = Result<Frame>>,
) -> Result<ActiveSet> {
    let mut selection = Selection::new(model)?;
    selection.look(settings, frames)?;
    selection.finish()
}

/// Structures that may become active, some at a time.
#[derive(Debug)]
pub(crate) struct Selection {
    plan: Plan,
    selector: Selector,
}

impl Selection {
    /// # Errors
    /// A model that has no plan.
    pub fn new(model: &Model) -> Result<Selection> {
        let plan = Plan::new(model, Device::Cpu, Precision::F64)?;
        Ok(Selection { selector: Selector::new(&plan), plan })
    }

    /// Looks at the frames that a fit would use.
    ///
    /// # Errors
    /// What reading fails with; as [`Selector::push`].
    pub fn look(&mut self, settings: &Settings, frames: impl IntoIterator<Item = Result<Frame>>) -> Result<()> {
        const CHUNK: usize = 64;
        let species = self.plan.model().species().to_vec();
        let mut chunk = Vec::new();
        for frame in frames {
            chunk.extend(settings.observe(frame?, &species).ok().map(|o| o.structure));
            if chunk.len() == CHUNK {
                self.push(&chunk)?;
                chunk.clear();
            }
        }
        self.push(&chunk)
    }

    /// As [`Selector::push`].
    pub fn push(&mut self, structures: &[Structure]) -> Result<()> {
        self.selector.push(&self.plan, structures)
    }

    /// As [`Selector::finish`]; more may be looked at then.
    pub fn finish(&self) -> Result<ActiveSet> {
        self.selector.clone().finish()
    }
}

impl Selector {
    /// For the basis of a plan's model.
    pub fn new(plan: &Plan) -> Selector {
        let species = plan.model().species().to_vec();
        Selector { n: plan.n_basis(), rows: vec![vec![]; species.len()], species }
    }

    /// Looks at the atoms of some structures.
    ///
    /// # Errors
    /// As [`Plan::evaluate`].
    pub fn push<'a>(&mut self, plan: &Plan, structures: impl IntoIterator<Item = &'a Structure>) -> Result<()> {
        let structures: Vec<&Structure> = structures.into_iter().collect();
        let mut bases: Vec<Option<Result<Vec<f64>>>> = structures.iter().map(|_| None).collect();
        parallel::for_each_mut(&mut bases, |k, basis| {
            *basis = Some(parallel::alone(|| basis_of(plan, structures[k])));
        });
        for (s, basis) in structures.into_iter().zip(bases) {
            for (row, &z) in basis.expect("computed above")?.chunks_exact(self.n).zip(&s.numbers) {
                let k = self.species.iter().position(|&s| s == z).expect("an element of the model");
                self.rows[k].extend_from_slice(row);
                if self.rows[k].len() * 8 > CHUNK_BYTES + 16 * self.n * self.n {
                    self.choose(k)?;
                }
            }
        }
        Ok(())
    }

    /// # Errors
    /// [`Error::Fit`] where the atoms of an element have too few independent rows.
    pub fn finish(mut self) -> Result<ActiveSet> {
        if self.rows.iter().all(Vec::is_empty) {
            return Err(Error::Fit("no atoms were looked at: no active set".into()));
        }
        let mut inverse = Vec::new();
        for k in 0..self.species.len() {
            if self.rows[k].is_empty() {
                inverse.push(None);
                continue;
            }
            self.choose(k)?;
            let active = MatRef::from_row_major_slice(&self.rows[k], self.n, self.n);
            inverse.push(Some(active.partial_piv_lu().solve(Mat::<f64>::identity(self.n, self.n))));
        }
        Ok(ActiveSet::new(self.species, inverse))
    }

    /// Leaves the rows of the largest volume.
    fn choose(&mut self, k: usize) -> Result<()> {
        let (n, name) = (self.n, element::name(self.species[k]));
        let rows = MatRef::from_row_major_slice(&self.rows[k], self.rows[k].len() / n, n);
        let chosen = max_volume(rows).ok_or_else(|| {
            let m = rows.nrows();
            Error::Fit(format!("{m} atoms of {name} have fewer than {n} independent rows: no active set"))
        })?;
        self.rows[k] = chosen.into_iter().flat_map(|i| (0..n).map(move |j| rows[(i, j)])).collect();
        Ok(())
    }
}

/// The indices of `n` rows of a matrix (m, n) of (nearly) the largest volume; `None` where fewer are independent.
pub fn max_volume(rows: MatRef<f64>) -> Option<Vec<usize>> {
    let (m, n) = (rows.nrows(), rows.ncols());
    if m < n {
        return None;
    }
    // Columns of one size: which rows are dependent is no matter of units.
    let size = |j: usize| rows.col(j).iter().fold(0.0, |s: f64, x| s.max(x.abs()));
    let scale: Vec<f64> = (0..n).map(|j| 1.0 / size(j)).collect();
    if scale.iter().any(|s| !s.is_finite()) {
        return None;
    }
    let scaled = Mat::from_fn(m, n, |i, j| rows[(i, j)] * scale[j]);
    let lu = scaled.partial_piv_lu();
    let pivot = |k: usize| lu.U()[(k, k)].abs();
    let largest = (0..n).map(pivot).fold(0.0, f64::max);
    if (0..n).any(|k| pivot(k) <= DEPENDENT * largest) {
        return None;
    }
    let mut chosen: Vec<usize> = lu.P().arrays().0[..n].to_vec();
    let active = Mat::from_fn(n, n, |i, j| scaled[(chosen[i], j)]);
    // C = B Â⁻¹, transposed: (n, m), a column for every row of B.
    let mut c = active.transpose().partial_piv_lu().solve(scaled.transpose());
    for _ in 0..MAX_SWAPS {
        let mut best = (ENOUGH, 0, 0);
        for i in 0..m {
            for (j, x) in c.col(i).iter().enumerate() {
                if x.abs() > best.0 {
                    best = (x.abs(), i, j);
                }
            }
        }
        let (size, i, j) = best;
        if size <= ENOUGH {
            break;
        }
        // Row i takes the place of the active row j: C −= (column i − e_j) (row j) / C_ji.
        chosen[j] = i;
        let mut step: Vec<f64> = c.col(i).iter().copied().collect();
        let by = 1.0 / step[j];
        step[j] -= 1.0;
        for column in c.col_iter_mut() {
            let factor = column[j] * by;
            if factor != 0.0 {
                column.iter_mut().zip(&step).for_each(|(x, s)| *x -= factor * s);
            }
        }
    }
    Some(chosen)
}

fn basis_of(plan: &Plan, s: &Structure) -> Result<Vec<f64>> {
    let shape = (s.n_atoms(), plan.n_basis());
    let mut basis = Array2::zeros(shape);
    plan.evaluate(s, &mut Outputs::new().descriptors(basis.view_mut()))?;
    Ok(basis.into_raw_vec_and_offset().0)
}
