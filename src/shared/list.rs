//! A neighbour list on the device of a plan.

use super::SharedPlan;
use crate::plan::{Input, Neighbours, OnDevice};
use crate::potential::Buffers;
use crate::structure::Structure;
use crate::{Error, Result};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
struct List {
    neighbours: Neighbours,
    /// The structure of the last call; without positions where these are on the device.
    structure: Structure,
}

/// A list that one thread works with at a time; others wait.
#[derive(Debug)]
pub struct SharedList(Mutex<List>);

/// Addresses in the memory of a CUDA device, and a stream there. 0 is a result that is not wanted, or the default stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Addresses {
    /// (n_atoms, 3) `f64`, Å.
    pub positions: u64,
    /// (n_atoms) `f64`, eV.
    pub site_energies: u64,
    /// (n_atoms, 3) `f64`, eV/Å; the virial is zero without them.
    pub forces: u64,
    /// The stream that writes the positions.
    pub stream: u64,
}

impl SharedList {
    /// # Errors
    /// As [`crate::plan::Plan::neighbours`].
    pub fn new(plan: &SharedPlan, skin: f64) -> Result<SharedList> {
        let neighbours = plan.run(|plan| plan.neighbours(skin))?;
        Ok(SharedList(Mutex::new(List { neighbours, structure: Structure::default() })))
    }

    /// How often the list was built rather than reused.
    pub fn builds(&self) -> usize {
        self.lock().neighbours.builds()
    }

    /// Evaluates the structure that `fill` leaves.
    ///
    /// # Errors
    /// Those of `fill`; as [`crate::plan::Plan::evaluate`].
    pub fn evaluate<E: From<Error>>(
        &self,
        plan: &SharedPlan,
        fill: impl FnOnce(&mut Structure) -> std::result::Result<(), E>,
        out: Buffers,
    ) -> std::result::Result<(), E> {
        let mut list = self.lock();
        let List { neighbours, structure } = &mut *list;
        fill(structure)?;
        Ok(plan.run(|plan| plan.evaluate_into(Input::List(structure, neighbours), out))?)
    }

    /// Evaluates a structure whose positions are on the device, where site energies and forces are left as
    /// well. `fill` leaves all but the positions.
    ///
    /// # Safety
    /// The addresses must be those of memory on the plan's device, as large as [`Addresses`] says.
    ///
    /// # Errors
    /// Those of `fill`; as [`crate::plan::Plan::evaluate`].
    pub unsafe fn evaluate_on_device<E: From<Error>>(
        &self,
        plan: &SharedPlan,
        fill: impl FnOnce(&mut Structure) -> std::result::Result<(), E>,
        at: Addresses,
        out: Buffers,
    ) -> std::result::Result<(), E> {
        let mut list = self.lock();
        let List { neighbours, structure } = &mut *list;
        fill(structure)?;
        let wanted = |address: u64| (address != 0).then_some(address);
        let at = OnDevice {
            numbers: &structure.numbers,
            cell: structure.cell,
            pbc: structure.pbc,
            positions: at.positions,
            site_energies: wanted(at.site_energies),
            forces: wanted(at.forces),
            stream: at.stream,
        };
        // SAFETY: the caller has promised what the addresses are, and the call is over when this function returns.
        let input = unsafe { Input::on_device(at, neighbours) };
        Ok(plan.run(|plan| plan.evaluate_into(input, out))?)
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
