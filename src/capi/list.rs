//! Neighbour lists on the device of a plan: for simulations, and the only way to arrays in the memory of a CUDA device.

use super::buffer::{self, Outputs, as_vectors, or_own};
use super::evaluate;
use super::handle::Table;
use super::plan::{PLANS, acerust_plan};
use super::status::{Failure, Result, guard};
use crate::plan::Neighbours;
use crate::structure::Structure;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A neighbour list on the device of the plan that made it, reused from call to call. One thread works with it at a time.
#[allow(non_camel_case_types)]
pub struct acerust_list(());

struct List {
    neighbours: Neighbours,
    /// The structure of the last call; without positions where these are on the device.
    structure: Structure,
}

static LISTS: Table<Mutex<List>> = Table::new("list");

fn lock(list: &Arc<Mutex<List>>) -> MutexGuard<'_, List> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An empty neighbour list on the device of a plan. Calls build it, and keep it while no atom has moved by more than half the skin and
/// atoms, cell and periodicity are the same.
///
/// @param plan The plan that will be evaluated; another one of the same model, device and cutoff is as good.
/// @param skin Å; 0 for structures that have nothing in common.
/// @param out The list; to be freed with `acerust_list_free`. It does not need the plan any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_list_new(plan: *const acerust_plan, skin: f64, out: *mut *mut acerust_list) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let out = buffer::result("out", out)?;
        let neighbours = PLANS.get(plan)?.run(|plan| Ok(plan.neighbours(skin)?))?;
        LISTS.insert(Mutex::new(List { neighbours, structure: Structure::default() }), out);
        Ok(())
    })
}

/// Frees a list, as soon as no other thread works with it. Null is ignored.
///
/// @return `ACERUST_ERROR_HANDLE` for a handle that was freed before.
#[unsafe(no_mangle)]
pub extern "C" fn acerust_list_free(list: *mut acerust_list) -> i32 {
    guard(|| LISTS.remove(list))
}

/// How often the list was built rather than reused.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_list_builds(list: *const acerust_list, out: *mut usize) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        *buffer::result("out", out)? = lock(&LISTS.get(list)?).neighbours.builds();
        Ok(())
    })
}

/// As `acerust_energy_forces_virial`, with a list of the plan's device.
///
/// @param list,plan The list, and the plan to evaluate.
/// @param n_atoms,numbers,positions,cell,pbc As for `acerust_energy`.
/// @param energy (1), eV; null if not wanted, as all results may be.
/// @param site_energies (n_atoms), eV; `n_site_energies` must be n_atoms.
/// @param forces (n_atoms, 3), eV/Å; `n_forces` must be 3·n_atoms.
/// @param virial (3, 3), eV.
/// @return As `acerust_energy_forces_virial`; `ACERUST_ERROR_ARGUMENT` for a list that does not go with the plan.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_list_energy_forces_virial(
    list: *mut acerust_list,
    plan: *const acerust_plan,
    n_atoms: usize,
    numbers: *const i32,
    positions: *const f64,
    cell: *const f64,
    pbc: *const i32,
    energy: *mut f64,
    site_energies: *mut f64,
    n_site_energies: usize,
    forces: *mut f64,
    n_forces: usize,
    virial: *mut f64,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let list = LISTS.get(list)?;
        let mut list = lock(&list);
        let List { neighbours, structure } = &mut *list;
        evaluate::fill(structure, n_atoms, numbers, positions, cell, pbc)?;
        let mut outputs = Outputs::default();
        let energy = outputs.any("energy", energy, 1)?;
        let site_energies = outputs.exactly("site_energies", site_energies, n_site_energies, n_atoms)?;
        let forces = outputs.exactly("forces", forces, n_forces, 3 * n_atoms)?;
        let virial = outputs.any("virial", virial, 9)?;
        PLANS.get(plan)?.run(|plan| {
            let (mut own_energies, mut own_forces) = (Vec::new(), Vec::new());
            let site_energies = or_own(site_energies, &mut own_energies, n_atoms);
            let total = if forces.is_none() && virial.is_none() {
                plan.structure_energies(neighbours, structure, site_energies)?
            } else {
                let forces = as_vectors(or_own(forces, &mut own_forces, 3 * n_atoms));
                let (total, found) =
                    plan.structure_energy_forces_virial(neighbours, structure, site_energies, forces)?;
                virial.into_iter().for_each(|v| v.copy_from_slice(found.as_flattened()));
                total
            };
            energy.into_iter().for_each(|e| e[0] = total);
            Ok(())
        })
    })
}

/// The same with positions, site energies and forces in the memory of the plan's CUDA device; nothing of their size is copied. Returns
/// when the results are there.
///
/// @param list,plan The list, and the plan to evaluate, both on a CUDA device.
/// @param n_atoms,numbers,cell,pbc As for `acerust_energy`, on the host.
/// @param positions Device address: (n_atoms, 3), row-major, Å.
/// @param stream The CUDA stream (`CUstream` or `cudaStream_t`) that writes the positions; the work waits for what is in it. Null is the
/// default stream.
/// @param energy (1), eV, on the host; null if not wanted, as all results may be.
/// @param site_energies Device address: (n_atoms), eV.
/// @param forces Device address: (n_atoms, 3), eV/Å. Without forces there is no virial either.
/// @param virial (3, 3), eV, on the host.
/// @return `ACERUST_ERROR_ARGUMENT` for a plan on another device than a CUDA one, an address that is not in its memory, a
/// virial without forces; else as `acerust_list_energy_forces_virial`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_list_device_energy_forces_virial(
    list: *mut acerust_list,
    plan: *const acerust_plan,
    n_atoms: usize,
    numbers: *const i32,
    positions: *const f64,
    cell: *const f64,
    pbc: *const i32,
    stream: *mut std::ffi::c_void,
    energy: *mut f64,
    site_energies: *mut f64,
    forces: *mut f64,
    virial: *mut f64,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let list = LISTS.get(list)?;
        let mut list = lock(&list);
        let List { neighbours, structure } = &mut *list;
        evaluate::fill(structure, 0, std::ptr::null(), std::ptr::null(), cell, pbc)?;
        evaluate::atomic_numbers(&mut structure.numbers, n_atoms, numbers)?;
        let mut outputs = Outputs::default();
        let energy = outputs.any("energy", energy, 1)?;
        let virial = outputs.any("virial", virial, 9)?;
        if virial.is_some() && forces.is_null() {
            return Err(Failure::argument("the virial comes with forces alone, and forces is null"));
        }
        let addresses = [positions.addr(), site_energies.addr(), forces.addr(), stream.addr()];
        let (total, found) = PLANS.get(plan)?.run(|plan| on_device(plan, neighbours, structure, addresses))?;
        energy.into_iter().for_each(|e| e[0] = total);
        virial.into_iter().for_each(|v| v.copy_from_slice(found.as_flattened()));
        Ok(())
    })
}

/// Addresses are those of positions, site energies, forces and the stream.
#[cfg(feature = "cuda")]
unsafe fn on_device(
    plan: &crate::plan::Plan,
    list: &mut Neighbours,
    structure: &Structure,
    addresses: [usize; 4],
) -> Result<(f64, crate::plan::Virial)> {
    let [positions, site_energies, forces, stream] = addresses.map(|a| a as u64);
    let wanted = |address: u64| (address != 0).then_some(address);
    let at = crate::plan::OnDevice {
        numbers: &structure.numbers,
        cell: structure.cell,
        pbc: structure.pbc,
        positions,
        site_energies: wanted(site_energies),
        forces: wanted(forces),
        stream,
    };
    // SAFETY: the caller's word, as for all buffers.
    Ok(unsafe { plan.device_energy_forces_virial(list, &at) }?)
}

#[cfg(not(feature = "cuda"))]
unsafe fn on_device(
    _: &crate::plan::Plan,
    _: &mut Neighbours,
    _: &Structure,
    _: [usize; 4],
) -> Result<(f64, crate::plan::Virial)> {
    Err(Failure::argument("device addresses need a plan on a CUDA device"))
}
