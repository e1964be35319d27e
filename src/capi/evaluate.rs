//! The evaluations, once for structures and for graphs.

use super::buffer::{Outputs, as_vectors, input, or_own, output, vectors};
use super::plan::{PLANS, acerust_plan};
use super::status::{Failure, Result};
use crate::graph::Graph;
use crate::matrix::{MatrixMut, Order};
use crate::plan::{Committee, Plan, Rows, Virial};
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

/// What is evaluated: atoms and their graph, there already or to be built.
pub enum Sites<'a> {
    Structure(Structure),
    /// Graph, its cutoff where known, and atomic numbers.
    Graph(&'a Graph, Option<f64>, &'a [u8]),
}

impl Sites<'_> {
    /// # Safety
    /// The promise of the module.
    pub unsafe fn structure(
        n_atoms: usize,
        numbers: *const i32,
        positions: *const f64,
        cell: *const f64,
        pbc: *const i32,
    ) -> Result<Sites<'static>> {
        let mut structure = Structure::default();
        // SAFETY: passed on.
        unsafe { fill(&mut structure, n_atoms, numbers, positions, cell, pbc) }?;
        Ok(Sites::Structure(structure))
    }

    fn n_atoms(&self) -> usize {
        match self {
            Sites::Structure(structure) => structure.n_atoms(),
            Sites::Graph(graph, ..) => graph.n_atoms(),
        }
    }

    fn n_centres(&self) -> usize {
        match self {
            Sites::Structure(structure) => structure.n_atoms(),
            Sites::Graph(graph, ..) => graph.n_centres(),
        }
    }

    fn n_edges(&self) -> Result<usize> {
        match self {
            Sites::Structure(_) => Err(Failure::argument("edges are counted on graphs only")),
            Sites::Graph(graph, ..) => Ok(graph.n_edges()),
        }
    }

    /// Runs `f` on the threads of the plan.
    fn run(
        &self,
        plan: *const acerust_plan,
        f: impl FnOnce(&Plan, &Graph, &[u8]) -> crate::Result<()> + Send,
    ) -> Result {
        PLANS.get(plan)?.run(|plan| match self {
            Sites::Structure(structure) => Ok(f(plan, &plan.graph(structure)?, &structure.numbers)?),
            Sites::Graph(graph, rcut, numbers) => {
                if let Some(rcut) = rcut.filter(|&r| r < plan.rcut()) {
                    let message = format!("its cutoff, {rcut} Å, is less than the plan's, {} Å", plan.rcut());
                    return Err(crate::Error::Graph(message).into());
                }
                Ok(f(plan, graph, numbers)?)
            }
        })
    }
}

/// Fills a structure with what the caller has, keeping its memory.
///
/// # Safety
/// The promise of the module.
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
        atomic_numbers(&mut structure.numbers, n_atoms, numbers)?;
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

/// # Safety
/// The promise of the module.
pub unsafe fn atomic_numbers(out: &mut Vec<u8>, n_atoms: usize, numbers: *const i32) -> Result {
    // SAFETY: passed on.
    let numbers = unsafe { input("numbers", numbers, n_atoms) }?;
    out.clear();
    out.extend(numbers.iter().map(|&z| u8::try_from(z).unwrap_or(0)));
    match out.iter().position(|&z| crate::element::symbol(z).is_none()) {
        None => Ok(()),
        Some(i) => {
            let message = format!("atom {i}: no element has the atomic number {}", numbers[i]);
            Err(crate::Error::Structure(message).into())
        }
    }
}

/// # Safety
/// The promise of the module, here and below.
pub unsafe fn site_energies(sites: &Sites, plan: *const acerust_plan, out: *mut f64, length: usize) -> Result {
    // SAFETY: passed on.
    let out = unsafe { output("site_energies", out, length, sites.n_centres()) }?;
    sites.run(plan, |plan, graph, numbers| plan.site_energies(graph, numbers, out).map(drop))
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
    let (n_centres, n_atoms) = (sites.n_centres(), sites.n_atoms());
    let mut outputs = Outputs::default();
    // SAFETY: passed on.
    let (energy, site_energies, forces, virial) = unsafe {
        (
            outputs.any("energy", energy, 1)?,
            outputs.exactly("site_energies", site_energies, n_site_energies, n_centres)?,
            outputs.exactly("forces", forces, n_forces, 3 * n_atoms)?,
            outputs.any("virial", virial, 9)?,
        )
    };
    sites.run(plan, |plan, graph, numbers| {
        let (mut own_energies, mut own_forces) = (Vec::new(), Vec::new());
        let site_energies = or_own(site_energies, &mut own_energies, n_centres);
        let total = if forces.is_none() && virial.is_none() {
            plan.site_energies(graph, numbers, site_energies)?
        } else {
            let forces = as_vectors(or_own(forces, &mut own_forces, 3 * n_atoms));
            let (total, found) = plan.energy_forces_virial(graph, numbers, site_energies, forces)?;
            virial.into_iter().for_each(|v| v.copy_from_slice(found.as_flattened()));
            total
        };
        energy.into_iter().for_each(|e| e[0] = total);
        Ok(())
    })
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
    let (n_centres, n_atoms) = (sites.n_centres(), sites.n_atoms());
    let mut outputs = Outputs::default();
    // SAFETY: passed on. The expected lengths are known once the plan is held: its committee may change until then.
    let (energies, site_energies, forces, virials) = unsafe {
        (
            outputs.any("energies", energies, n_energies)?,
            outputs.any("site_energies", site_energies, n_site_energies)?,
            outputs.any("forces", forces, n_forces)?,
            outputs.any("virials", virials, n_virials)?,
        )
    };
    sites.run(plan, |plan, graph, numbers| {
        let k = plan.committee().len();
        for (name, result, expected) in [
            ("energies", &energies, k),
            ("site_energies", &site_energies, k * n_centres),
            ("forces", &forces, 3 * k * n_atoms),
            ("virials", &virials, 9 * k),
        ] {
            if let Some(length) = result.as_ref().map(|r| r.len()).filter(|&length| length != expected) {
                let message = format!("{name}: expected a length of {expected} for {k} members, got {length}");
                return Err(crate::Error::Argument(message));
            }
        }
        let (mut own_energies, mut own_sites, mut own_forces) = (Vec::new(), Vec::new(), Vec::new());
        let mut found: Vec<Virial> = vec![Default::default(); k];
        let out = Committee {
            energies: or_own(energies, &mut own_energies, k),
            site_energies: or_own(site_energies, &mut own_sites, k * n_centres),
            forces: as_vectors(or_own(forces, &mut own_forces, 3 * k * n_atoms)),
            virials: &mut found,
        };
        plan.committee_energy_forces_virial(graph, numbers, out)?;
        virials.into_iter().for_each(|v| v.copy_from_slice(found.as_flattened().as_flattened()));
        Ok(())
    })
}

pub unsafe fn site_basis(sites: &Sites, plan: *const acerust_plan, basis: *mut f64, length: usize) -> Result {
    let n_basis = PLANS.get(plan)?.look(Plan::n_basis)?;
    // SAFETY: passed on.
    let basis = unsafe { output("basis", basis, length, sites.n_centres() * n_basis) }?;
    sites.run(plan, |plan, graph, numbers| plan.site_basis(graph, numbers, basis))
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
    let n_params = PLANS.get(plan)?.look(Plan::length_basis)?;
    let mut outputs = Outputs::default();
    let mut matrix = |name, data, length, n_rows, ld| {
        // SAFETY: passed on.
        let Some(data) = (unsafe { outputs.any(name, data, length) })? else { return Ok(None) };
        let tight = if order == Order::RowMajor { n_params } else { n_rows };
        let matrix = MatrixMut::new(data, n_rows, n_params, order, if ld == 0 { tight } else { ld });
        matrix.map(Some).map_err(|e| Failure::argument(format!("{name}: {e}")))
    };
    let mut targets = Rows {
        energy: matrix("energy row", rows.energy, rows.n_energy, 1, rows.ld_energy)?,
        forces: matrix("force rows", rows.forces, rows.n_forces, 3 * sites.n_atoms(), rows.ld_forces)?,
        virial: matrix("virial rows", rows.virial, rows.n_virial, n_virial_rows, rows.ld_virial)?,
    };
    sites.run(plan, |plan, graph, numbers| plan.assemble(graph, numbers, &mut targets))
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
        (
            outputs.exactly("site_energies", site_energies, n_site_energies, sites.n_centres())?,
            outputs.exactly("gradients", gradients, n_gradients, 3 * sites.n_edges()?)?,
        )
    };
    sites.run(plan, |plan, graph, numbers| {
        let (mut own_energies, mut own_gradients) = (Vec::new(), Vec::new());
        let site_energies = or_own(site_energies, &mut own_energies, graph.n_centres());
        let gradients = or_own(gradients, &mut own_gradients, 3 * graph.n_edges());
        plan.site_grads(graph, numbers, site_energies, as_vectors(gradients))
    })
}

pub unsafe fn site_basis_jacobian(
    sites: &Sites,
    plan: *const acerust_plan,
    basis: *mut f64,
    n_basis: usize,
    jacobian: *mut f64,
    n_jacobian: usize,
) -> Result {
    let columns = PLANS.get(plan)?.look(Plan::n_basis)?;
    let mut outputs = Outputs::default();
    // SAFETY: passed on.
    let (basis, jacobian) = unsafe {
        (
            outputs.exactly("basis", basis, n_basis, sites.n_centres() * columns)?,
            outputs.exactly("jacobian", jacobian, n_jacobian, 3 * sites.n_edges()? * columns)?,
        )
    };
    sites.run(plan, |plan, graph, numbers| {
        let (mut own_basis, mut own_jacobian) = (Vec::new(), Vec::new());
        let basis = or_own(basis, &mut own_basis, graph.n_centres() * columns);
        let jacobian = or_own(jacobian, &mut own_jacobian, 3 * graph.n_edges() * columns);
        plan.site_basis_jacobian(graph, numbers, basis, jacobian)
    })
}
