//! The evaluations, once for structures and for graphs.

use super::buffer::{input, output, vectors};
use super::plan::{PLANS, acerust_plan};
use super::status::{Failure, Result};
use crate::matrix::{MatrixMut, Order};
use crate::plan::{Plan, Rows};
use crate::shared::{CommitteeResults, Outputs, Results, Sites, atomic_numbers};
use crate::structure::Structure;

/// Entry (i, j) of a matrix at `i·ld + j`.
pub const ACERUST_ROW_MAJOR: i32 = 0;
/// Entry (i, j) of a matrix at `i + j·ld`.
pub const ACERUST_COL_MAJOR: i32 = 1;

/// Where the design rows of a structure go: E = energy · θ, F = forces · θ, V = virial · θ for linear parameters θ, one-body
/// energies left out. A matrix whose pointer is null is not computed. Matrices may not overlap, not
/// even in each other's gaps.
#[allow(non_camel_case_types)]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct acerust_rows {
    /// `sizeof(acerust_rows)`.
    pub size: usize,
    /// (1, n_params), eV.
    pub energy: *mut f64,
    /// Numbers in `energy`, at least as many as order and leading dimension take.
    pub n_energy: usize,
    /// Leading dimension of `energy`; 0: without gaps.
    pub ld_energy: usize,
    /// (3·n_atoms, n_params), eV/Å; row 3·atom + axis.
    pub forces: *mut f64,
    /// Numbers in `forces`.
    pub n_forces: usize,
    /// Leading dimension of `forces`; 0: without gaps.
    pub ld_forces: usize,
    /// (n_virial_rows, n_params), eV.
    pub virial: *mut f64,
    /// Numbers in `virial`.
    pub n_virial: usize,
    /// Leading dimension of `virial`; 0: without gaps.
    pub ld_virial: usize,
    /// 9, row 3·a + b, or 6, in the order xx, yy, zz, yz, xz, xy.
    pub n_virial_rows: i32,
    /// `ACERUST_ROW_MAJOR` or `ACERUST_COL_MAJOR`, of all three.
    pub order: i32,
}

/// A structure that the caller describes.
///
/// # Safety
/// The promise of the module, here and below.
pub unsafe fn structure(
    n_atoms: usize,
    numbers: *const i32,
    positions: *const f64,
    cell: *const f64,
    pbc: *const i32,
) -> Result<Structure> {
    let mut structure = Structure::default();
    // SAFETY: passed on.
    unsafe { fill(&mut structure, n_atoms, numbers, positions, cell, pbc) }?;
    Ok(structure)
}

/// Fills a structure with what the caller has, keeping its memory.
pub unsafe fn fill(
    structure: &mut Structure,
    n_atoms: usize,
    numbers: *const i32,
    positions: *const f64,
    cell: *const f64,
    pbc: *const i32,
) -> Result {
    // SAFETY: passed on.
    unsafe {
        atomic_numbers(&mut structure.numbers, input("numbers", numbers, n_atoms)?)?;
        structure.positions.clear();
        structure.positions.extend_from_slice(vectors("positions", positions, n_atoms)?);
        structure.cell = Default::default();
        if !cell.is_null() {
            structure.cell.copy_from_slice(vectors("cell", cell, 3)?);
        }
        structure.pbc = Default::default();
        if !pbc.is_null() {
            let flags = input("pbc", pbc, 3)?;
            structure.pbc = std::array::from_fn(|d| flags[d] != 0);
        }
    }
    Ok(())
}

pub unsafe fn site_energies(sites: &Sites, plan: *const acerust_plan, out: *mut f64, length: usize) -> Result {
    // SAFETY: passed on.
    let out = unsafe { output("site_energies", out, length, sites.n_centres()) }?;
    Ok(sites.site_energies(&*PLANS.get(plan)?, out)?)
}

pub unsafe fn energy_forces_virial(
    sites: &Sites,
    plan: *const acerust_plan,
    energy: *mut f64,
    site_energies: *mut f64,
    n_site_energies: usize,
    forces: *mut f64,
    n_forces: usize,
    virial: *mut f64,
) -> Result {
    let mut outputs = Outputs::default();
    // SAFETY: passed on.
    let (energy, results) = unsafe {
        let energy = outputs.take("energy", energy, 1)?;
        let site_energies = outputs.take("site_energies", site_energies, n_site_energies)?;
        let forces = outputs.take("forces", forces, n_forces)?;
        (energy, Results { site_energies, forces, virial: outputs.take("virial", virial, 9)? })
    };
    let total = sites.energy_forces_virial(&*PLANS.get(plan)?, results)?;
    energy.into_iter().for_each(|e| e[0] = total);
    Ok(())
}

pub unsafe fn committee(
    sites: &Sites,
    plan: *const acerust_plan,
    energies: *mut f64,
    n_energies: usize,
    site_energies: *mut f64,
    n_site_energies: usize,
    forces: *mut f64,
    n_forces: usize,
    virials: *mut f64,
    n_virials: usize,
) -> Result {
    let mut outputs = Outputs::default();
    // SAFETY: passed on.
    let results = unsafe {
        CommitteeResults {
            energies: outputs.take("energies", energies, n_energies)?,
            site_energies: outputs.take("site_energies", site_energies, n_site_energies)?,
            forces: outputs.take("forces", forces, n_forces)?,
            virials: outputs.take("virials", virials, n_virials)?,
        }
    };
    Ok(sites.committee_energy_forces_virial(&*PLANS.get(plan)?, results)?)
}

pub unsafe fn site_basis(sites: &Sites, plan: *const acerust_plan, basis: *mut f64, length: usize) -> Result {
    let plan = PLANS.get(plan)?;
    // SAFETY: passed on.
    let basis = unsafe { output("basis", basis, length, sites.n_centres() * plan.look(Plan::n_basis)) }?;
    Ok(sites.site_basis(&plan, basis)?)
}

pub unsafe fn assemble(sites: &Sites, plan: *const acerust_plan, rows: *const acerust_rows) -> Result {
    // SAFETY: passed on; the size comes first.
    let size = unsafe { input("rows", rows.cast::<usize>(), 1) }?[0];
    if size < size_of::<acerust_rows>() {
        let expected = size_of::<acerust_rows>();
        return Err(Failure::argument(format!("rows: size is {size}, not sizeof(acerust_rows), {expected}")));
    }
    // SAFETY: passed on; as long as it says.
    let rows = unsafe { input("rows", rows, 1) }?[0];
    let order = match rows.order {
        ACERUST_ROW_MAJOR => Order::RowMajor,
        ACERUST_COL_MAJOR => Order::ColMajor,
        other => return Err(Failure::argument(format!("rows: no order {other}"))),
    };
    let n_virial_rows = match rows.n_virial_rows {
        n @ (6 | 9) => n as usize,
        _ if rows.virial.is_null() => 9,
        n => return Err(Failure::argument(format!("rows: n_virial_rows is {n}, neither 9 nor 6"))),
    };
    let plan = PLANS.get(plan)?;
    let n_params = plan.look(Plan::length_basis);
    let mut outputs = Outputs::default();
    let mut matrix = |name, data, length, n_rows, ld| {
        // SAFETY: passed on.
        let Some(data) = (unsafe { outputs.take(name, data, length) })? else { return Ok(None) };
        let tight = if order == Order::RowMajor { n_params } else { n_rows };
        let matrix = MatrixMut::new(data, n_rows, n_params, order, if ld == 0 { tight } else { ld });
        matrix.map(Some).map_err(|e| Failure::argument(format!("{name}: {e}")))
    };
    let mut targets = Rows {
        energy: matrix("energy row", rows.energy, rows.n_energy, 1, rows.ld_energy)?,
        forces: matrix("force rows", rows.forces, rows.n_forces, 3 * sites.n_atoms(), rows.ld_forces)?,
        virial: matrix("virial rows", rows.virial, rows.n_virial, n_virial_rows, rows.ld_virial)?,
    };
    Ok(sites.assemble(&plan, &mut targets)?)
}

pub unsafe fn site_grads(
    sites: &Sites,
    plan: *const acerust_plan,
    site_energies: *mut f64,
    n_site_energies: usize,
    gradients: *mut f64,
    n_gradients: usize,
) -> Result {
    let mut outputs = Outputs::default();
    // SAFETY: passed on.
    let (site_energies, gradients) = unsafe {
        let site_energies = outputs.take("site_energies", site_energies, n_site_energies)?;
        (site_energies, outputs.take("gradients", gradients, n_gradients)?)
    };
    Ok(sites.site_grads(&*PLANS.get(plan)?, site_energies, gradients)?)
}

pub unsafe fn site_basis_jacobian(
    sites: &Sites,
    plan: *const acerust_plan,
    basis: *mut f64,
    n_basis: usize,
    jacobian: *mut f64,
    n_jacobian: usize,
) -> Result {
    let mut outputs = Outputs::default();
    // SAFETY: passed on.
    let (basis, jacobian) = unsafe {
        let basis = outputs.take("basis", basis, n_basis)?;
        (basis, outputs.take("jacobian", jacobian, n_jacobian)?)
    };
    Ok(sites.site_basis_jacobian(&*PLANS.get(plan)?, basis, jacobian)?)
}
