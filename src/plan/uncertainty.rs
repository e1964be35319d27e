//! How far results are to be trusted: committees and extrapolation grades.

use super::Plan;
use crate::graph::Sites;
use crate::potential::{ActiveSet, Outputs, numbers};
use crate::{Error, Result, memory, npz};
use std::io::{Cursor, Read, Seek};
use std::path::Path;

impl Plan {
    /// The committee's parameter vectors.
    pub fn committee(&self) -> &[Vec<f64>] {
        &self.committee
    }

    /// Sets the committee: parameter vectors of length `length_basis` each. An empty list removes it.
    ///
    /// # Errors
    /// As [`Plan::set_linear_parameters`]; nothing is changed then.
    pub fn set_committee(&mut self, members: &[Vec<f64>]) -> Result<()> {
        match members {
            // Nothing to remove where there can be none.
            [] if self.potential.linear().is_none() => return Ok(()),
            [] => {}
            _ => self.model.check_linear()?,
        }
        for (k, member) in members.iter().enumerate() {
            let checked = self.model.clone().set_linear_parameters(member);
            checked.map_err(|e| Error::Argument(format!("committee member {k}: {e}")))?;
        }
        self.committee = members.to_vec();
        self.set_readouts()
    }

    /// As [`Plan::set_committee`] with the matrix `parameters` of a file of `acerust fit --committee`.
    ///
    /// # Errors
    /// A file that cannot be read, or holds no such matrix.
    pub fn load_committee(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.read_committee(npz::Reader::open(path.as_ref())?)
    }

    /// As [`Plan::load_committee`] for the bytes of the file.
    ///
    /// # Errors
    /// Bytes of anything else.
    pub fn committee_from_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.read_committee(npz::Reader::new(Cursor::new(bytes), "committee")?)
    }

    fn read_committee<R: Read + Seek>(&mut self, mut file: npz::Reader<R>) -> Result<()> {
        self.model.check_linear()?;
        let n = self.length_basis();
        if n == 0 {
            return Err(Error::Argument("a model without linear parameters has no committee".into()));
        }
        let numbers = file.matrix("parameters", n)?;
        if numbers.is_empty() {
            return Err(Error::Argument(format!("{}: the committee has no members", file.name())));
        }
        self.set_committee(&numbers.chunks(n).map(<[f64]>::to_vec).collect::<Vec<_>>())
    }

    /// What grades are relative to.
    pub fn active_set(&self) -> Option<&ActiveSet> {
        self.active.as_ref().map(|grader| &grader.set)
    }

    /// Sets what [`Outputs::grade`] is relative to; `None` removes it.
    ///
    /// # Errors
    /// An active set of another basis, or a potential that has none. Nothing is changed then.
    pub fn set_active_set(&mut self, active: Option<ActiveSet>) -> Result<()> {
        let species = self.model.species();
        let grader = |active: ActiveSet| active.grader(species, self.potential.features(species.len())?);
        self.active = active.map(grader).transpose()?;
        Ok(())
    }

    /// Writes the grade where it is wanted, when all else is written.
    pub(super) fn grade(&self, sites: Sites, out: &mut Outputs) -> Result<()> {
        let Outputs { grade, descriptors, .. } = out;
        let (Some(grader), Some(grade)) = (&self.active, numbers(grade)) else { return Ok(()) };
        if let Some(known) = numbers(descriptors).filter(|_| grader.is_of_descriptors()) {
            grader.grade(sites.species, known, grade);
            return Ok(());
        }
        let mut kept = self.features.take();
        let features = memory::at_least(&mut *kept, sites.graph.n_owned() * grader.width(), 0.0);
        self.potential.write_features(sites, features)?;
        grader.grade(sites.species, features, grade);
        Ok(())
    }
}
