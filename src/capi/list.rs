//! Neighbour lists on the device of a plan: for simulations, and the only way to arrays in the memory of a CUDA device.

use super::buffer::{self, input};
use super::evaluate;
use super::handle::Table;
use super::plan::{PLANS, acerust_plan};
use super::status::{Failure, guard};
use crate::shared::{Addresses, Buffers, SharedList, Taken, atomic_numbers};
use crate::structure::Structure;

/// A neighbour list on the device of the plan that made it, reused from call to call. One thread works with it at a time.
#[allow(non_camel_case_types)]
pub struct acerust_list(());

static LISTS: Table<SharedList> = Table::new("list");

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
        LISTS.insert(SharedList::new(&*PLANS.get(plan)?, skin)?, out);
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
        *buffer::result("out", out)? = LISTS.get(list)?.builds();
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
        let (list, plan) = (LISTS.get(list)?, PLANS.get(plan)?);
        let mut outputs = Taken::default();
        let out = Buffers {
            energy: outputs.take("energy", energy, 1)?.map(|e| &mut e[0]),
            site_energies: outputs.take("site_energies", site_energies, n_site_energies)?,
            forces: outputs.take("forces", forces, n_forces)?,
            virial: outputs.take("virial", virial, 9)?,
            ..Buffers::default()
        };
        let fill = |structure: &mut _| evaluate::fill(structure, n_atoms, numbers, positions, cell, pbc);
        list.evaluate(&plan, fill, out)
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
        let (list, plan) = (LISTS.get(list)?, PLANS.get(plan)?);
        let mut outputs = Taken::default();
        let energy = outputs.take("energy", energy, 1)?.map(|e| &mut e[0]);
        let out = Buffers { energy, virial: outputs.take("virial", virial, 9)?, ..Buffers::default() };
        let [positions, site_energies, forces, stream] =
            [positions.addr(), site_energies.addr(), forces.addr(), stream.addr()].map(|a| a as u64);
        let fill = |structure: &mut Structure| {
            evaluate::fill(structure, 0, std::ptr::null(), std::ptr::null(), cell, pbc)?;
            Ok::<_, Failure>(atomic_numbers(&mut structure.numbers, input("numbers", numbers, n_atoms)?)?)
        };
        let at = Addresses { positions, site_energies, forces, stream };
        list.evaluate_on_device(&plan, fill, at, out)
    })
}
