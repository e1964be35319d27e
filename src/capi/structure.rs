//! Evaluation from positions and cell. Every call makes its own neighbour list; simulations keep a graph instead.
//!
//! All functions take a plan, `n_atoms`, atomic `numbers` (n_atoms), `positions` (n_atoms, 3) in Å, row-major, `cell`
//! (3, 3), cell vectors as rows in Å, and `pbc` (3), not 0 where periodic. Null for `cell` or `pbc`: none.

use super::evaluate::{self, acerust_rows};
use super::plan::acerust_plan;
use super::status::guard;
use crate::shared::Sites;

/// The energy of a structure, eV.
///
/// @param plan The plan to evaluate, here and below.
/// @param n_atoms The number of atoms; may be 0.
/// @param numbers (n_atoms) atomic numbers, 1 to 118, of elements that the model knows.
/// @param positions (n_atoms, 3), row-major, Å; finite.
/// @param cell (3, 3), cell vectors as rows, Å; null for no cell. Rows of directions without periodicity are ignored.
/// @param pbc (3), not 0 where the structure is periodic along the cell vector; null for no periodicity.
/// @param energy (1), eV.
/// @return `ACERUST_ERROR_STRUCTURE` or `ACERUST_ERROR_GRAPH` for a structure that makes no sense: numbers, positions, a singular
/// periodic cell, two atoms in one place. `ACERUST_ERROR_ARGUMENT` for an element that the model does not know, a null pointer or
/// a wrong length. The message names the atom, counted from 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_energy(
    plan: *const acerust_plan,
    n_atoms: usize,
    numbers: *const i32,
    positions: *const f64,
    cell: *const f64,
    pbc: *const i32,
    energy: *mut f64,
) -> i32 {
    let none = std::ptr::null_mut();
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let sites = Sites::Structure(evaluate::structure(n_atoms, numbers, positions, cell, pbc)?);
        super::buffer::result("energy", energy)?;
        evaluate::energy_forces_virial(&sites, plan, energy, none, 0, none, 0, none)
    })
}

/// The energy of every atom, eV. Arguments and errors as for `acerust_energy`.
///
/// @param site_energies (n_atoms); `length` must be n_atoms.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_site_energies(
    plan: *const acerust_plan,
    n_atoms: usize,
    numbers: *const i32,
    positions: *const f64,
    cell: *const f64,
    pbc: *const i32,
    site_energies: *mut f64,
    length: usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let sites = Sites::Structure(evaluate::structure(n_atoms, numbers, positions, cell, pbc)?);
        evaluate::site_energies(&sites, plan, site_energies, length)
    })
}

/// Energy, forces and virial of a structure. Arguments and errors as for `acerust_energy`; a result whose pointer is null is
/// not wanted.
///
/// @param energy (1), eV.
/// @param site_energies (n_atoms), eV; `n_site_energies` must be n_atoms.
/// @param forces (n_atoms, 3), row-major, eV/Å; `n_forces` must be 3·n_atoms.
/// @param virial (3, 3), V = −Σ g ⊗ r over edges, eV; stress = −V / volume.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_energy_forces_virial(
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
        let sites = Sites::Structure(evaluate::structure(n_atoms, numbers, positions, cell, pbc)?);
        let (n_sites, n) = (n_site_energies, n_forces);
        evaluate::energy_forces_virial(&sites, plan, energy, site_energies, n_sites, forces, n, virial)
    })
}

/// Energies, forces and virials of every committee member, from one pass over the basis. Arguments and errors as for
/// `acerust_energy_forces_virial`.
///
/// @param energies (n_members), eV.
/// @param site_energies (n_members, n_atoms), eV.
/// @param forces (n_members, n_atoms, 3), eV/Å.
/// @param virials (n_members, 3, 3), eV.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_committee_energy_forces_virial(
    plan: *const acerust_plan,
    n_atoms: usize,
    numbers: *const i32,
    positions: *const f64,
    cell: *const f64,
    pbc: *const i32,
    energies: *mut f64,
    n_energies: usize,
    site_energies: *mut f64,
    n_site_energies: usize,
    forces: *mut f64,
    n_forces: usize,
    virials: *mut f64,
    n_virials: usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let sites = Sites::Structure(evaluate::structure(n_atoms, numbers, positions, cell, pbc)?);
        let (n_sites, n) = (n_site_energies, n_forces);
        evaluate::committee(&sites, plan, energies, n_energies, site_energies, n_sites, forces, n, virials, n_virials)
    })
}

/// The site basis. Arguments and errors as for `acerust_energy`.
///
/// @param basis (n_atoms, n_basis), row-major, the parts side by side; `length` must be n_atoms·n_basis.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_site_basis(
    plan: *const acerust_plan,
    n_atoms: usize,
    numbers: *const i32,
    positions: *const f64,
    cell: *const f64,
    pbc: *const i32,
    basis: *mut f64,
    length: usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let sites = Sites::Structure(evaluate::structure(n_atoms, numbers, positions, cell, pbc)?);
        evaluate::site_basis(&sites, plan, basis, length)
    })
}

/// The design rows of a structure. Arguments and errors as for `acerust_energy`.
///
/// @param rows Where they go. `ACERUST_ERROR_ARGUMENT` for a matrix that does not fit, or overlaps another.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_assemble(
    plan: *const acerust_plan,
    n_atoms: usize,
    numbers: *const i32,
    positions: *const f64,
    cell: *const f64,
    pbc: *const i32,
    rows: *const acerust_rows,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let sites = Sites::Structure(evaluate::structure(n_atoms, numbers, positions, cell, pbc)?);
        evaluate::assemble(&sites, plan, rows)
    })
}
