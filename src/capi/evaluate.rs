//! The evaluations, once for structures and for graphs.

use super::buffer::{input, vectors};
use super::plan::{PLANS, acerust_plan};
use super::status::{Failure, Result};
use crate::plan::{Plan, Rows};
use crate::shared::{Buffers, Sites, Taken, atomic_numbers, matrix};
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
    let site_energies = unsafe { Taken::default().take("site_energies", out, length) }?;
    Ok(sites.evaluate(&*PLANS.get(plan)?, Buffers { site_energies, ..Buffers::default() })?)
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
    let mut taken = Taken::default();
    // SAFETY: passed on.
    let out = unsafe {
        let energy = taken.take("energy", energy, 1)?.map(|e| &mut e[0]);
        let site_energies = taken.take("site_energies", site_energies, n_site_energies)?;
        let forces = taken.take("forces", forces, n_forces)?;
        Buffers { energy, site_energies, forces, virial: taken.take("virial", virial, 9)?, ..Buffers::default() }
    };
    Ok(sites.evaluate(&*PLANS.get(plan)?, out)?)
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
    let mut taken = Taken::default();
    // SAFETY: passed on.
    let out = unsafe {
        Buffers {
            committee_energies: taken.take("energies", energies, n_energies)?,
            committee_site_energies: taken.take("site_energies", site_energies, n_site_energies)?,
            committee_forces: taken.take("forces", forces, n_forces)?,
            committee_virials: taken.take("virials", virials, n_virials)?,
            ..Buffers::default()
        }
    };
    Ok(sites.evaluate(&*PLANS.get(plan)?, out)?)
}

pub unsafe fn site_basis(sites: &Sites, plan: *const acerust_plan, basis: *mut f64, length: usize) -> Result {
    // SAFETY: passed on.
    let descriptors = unsafe { Taken::default().take("basis", basis, length) }?;
    Ok(sites.evaluate(&*PLANS.get(plan)?, Buffers { descriptors, ..Buffers::default() })?)
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
    let by_columns = match rows.order {
        ACERUST_ROW_MAJOR => false,
        ACERUST_COL_MAJOR => true,
        other => return Err(Failure::argument(format!("rows: no order {other}"))),
    };
    let n_virial_rows = match rows.n_virial_rows {
        n @ (6 | 9) => n as usize,
        _ if rows.virial.is_null() => 9,
        n => return Err(Failure::argument(format!("rows: n_virial_rows is {n}, neither 9 nor 6"))),
    };
    let plan = PLANS.get(plan)?;
    let n_params = plan.look(Plan::length_basis);
    let mut taken = Taken::default();
    let mut view = |name, data, length, n_rows, ld| {
        // SAFETY: passed on.
        let Some(data) = (unsafe { taken.take(name, data, length) })? else { return Ok(None) };
        let tight = if by_columns { n_rows } else { n_params };
        let view = matrix(data, (n_rows, n_params), by_columns, if ld == 0 { tight } else { ld });
        view.map(Some).map_err(|e| Failure::argument(format!("{name}: {e}")))
    };
    let mut targets = Rows::new();
    let energy = view("energy row", rows.energy, rows.n_energy, 1, rows.ld_energy)?;
    targets.energy = energy.map(|row| row.index_axis_move(ndarray::Axis(0), 0));
    targets.forces = view("force rows", rows.forces, rows.n_forces, 3 * sites.n_atoms(), rows.ld_forces)?;
    targets.virial = view("virial rows", rows.virial, rows.n_virial, n_virial_rows, rows.ld_virial)?;
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
    let mut taken = Taken::default();
    // SAFETY: passed on.
    let out = unsafe {
        let site_energies = taken.take("site_energies", site_energies, n_site_energies)?;
        let edge_gradients = taken.take("gradients", gradients, n_gradients)?;
        Buffers { site_energies, edge_gradients, ..Buffers::default() }
    };
    Ok(sites.evaluate(&*PLANS.get(plan)?, out)?)
}

pub unsafe fn site_basis_jacobian(
    sites: &Sites,
    plan: *const acerust_plan,
    basis: *mut f64,
    n_basis: usize,
    jacobian: *mut f64,
    n_jacobian: usize,
) -> Result {
    let mut outputs = Taken::default();
    // SAFETY: passed on.
    let (basis, jacobian) = unsafe {
        let basis = outputs.take("basis", basis, n_basis)?;
        (basis, outputs.take("jacobian", jacobian, n_jacobian)?)
    };
    Ok(sites.site_basis_jacobian(&*PLANS.get(plan)?, basis, jacobian)?)
}
