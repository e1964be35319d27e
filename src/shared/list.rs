//! A neighbour list on the device of a plan.

use super::outputs::{as_vectors, exactly, or_own};
use super::{Results, SharedPlan};
use crate::plan::{Neighbours, Virial};
use crate::structure::Structure;
use crate::{Error, Result};
use std::sync::{Mutex, MutexGuard, PoisonError};

struct List {
    neighbours: Neighbours,
    /// The structure of the last call; without positions where these are on the device.
    structure: Structure,
}

/// A list that one thread works with at a time; others wait.
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

    /// The energy, eV, and what else is wanted, of the structure that `fill` leaves.
    ///
    /// # Errors
    /// Those of `fill`; as [`crate::plan::Plan::structure_energy_forces_virial`].
    pub fn energy_forces_virial<E: From<Error>>(
        &self,
        plan: &SharedPlan,
        fill: impl FnOnce(&mut Structure) -> std::result::Result<(), E>,
        results: Results,
    ) -> std::result::Result<f64, E> {
        let mut list = self.lock();
        let List { neighbours, structure } = &mut *list;
        fill(structure)?;
        let n = structure.n_atoms();
        let Results { site_energies, forces, virial } = results;
        exactly("site_energies", site_energies.as_deref(), n)?;
        exactly("forces", forces.as_deref(), 3 * n)?;
        exactly("virial", virial.as_deref(), 9)?;
        let energy = plan.run(|plan| {
            let (mut own_energies, mut own_forces) = (Vec::new(), Vec::new());
            let site_energies = or_own(site_energies, &mut own_energies, n);
            if forces.is_none() && virial.is_none() {
                return plan.structure_energies(neighbours, structure, site_energies);
            }
            let forces = as_vectors(or_own(forces, &mut own_forces, 3 * n));
            let (energy, found) = plan.structure_energy_forces_virial(neighbours, structure, site_energies, forces)?;
            virial.into_iter().for_each(|v| v.copy_from_slice(found.as_flattened()));
            Ok(energy)
        })?;
        Ok(energy)
    }

    /// Energy and virial, eV, of a structure whose positions are on the device, where site energies and forces are left as
    /// well. `fill` leaves all but the positions.
    ///
    /// # Safety
    /// The addresses must be those of memory on the plan's device, as large as [`Addresses`] says.
    ///
    /// # Errors
    /// Those of `fill`; as [`crate::plan::Plan::device_energy_forces_virial`].
    pub unsafe fn device_energy_forces_virial<E: From<Error>>(
        &self,
        plan: &SharedPlan,
        fill: impl FnOnce(&mut Structure) -> std::result::Result<(), E>,
        at: Addresses,
    ) -> std::result::Result<(f64, Virial), E> {
        let mut list = self.lock();
        let List { neighbours, structure } = &mut *list;
        fill(structure)?;
        // SAFETY: passed on.
        Ok(plan.run(|plan| unsafe { on_device(plan, neighbours, structure, at) })?)
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(feature = "cuda")]
unsafe fn on_device(
    plan: &crate::plan::Plan,
    list: &mut Neighbours,
    structure: &Structure,
    at: Addresses,
) -> Result<(f64, Virial)> {
    let wanted = |address: u64| (address != 0).then_some(address);
    let at = crate::plan::OnDevice {
        numbers: &structure.numbers,
        cell: structure.cell,
        pbc: structure.pbc,
        positions: at.positions,
        site_energies: wanted(at.site_energies),
        forces: wanted(at.forces),
        stream: at.stream,
    };
    // SAFETY: passed on.
    unsafe { plan.device_energy_forces_virial(list, &at) }
}

#[cfg(not(feature = "cuda"))]
unsafe fn on_device(_: &crate::plan::Plan, _: &mut Neighbours, _: &Structure, _: Addresses) -> Result<(f64, Virial)> {
    Err(Error::Argument("device addresses need a plan on a CUDA device".into()))
}
