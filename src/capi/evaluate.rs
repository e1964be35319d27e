//! Evaluation: one function for structures, lists, graphs and arrays on a device, for any of the results.

use super::buffer::{input, sized, vectors};
use super::graph::{GRAPHS, acerust_graph};
use super::list::{LISTS, acerust_list};
use super::plan::{PLANS, acerust_plan};
use super::status::{Failure, Result, guard};
use crate::Error;
use crate::graph::Exchange;
use crate::plan::{Plan, Rows};
use crate::shared::{Addresses, Buffers, SharedPlan, Sites, Taken, atomic_numbers, matrix};
use crate::structure::Structure;
use std::ffi::c_void;

/// Atoms and how their neighbours are known. Set `size` to `sizeof(acerust_input)` and what is not needed to 0; later versions of the
/// library may add fields at the end, whose 0 will mean what this version does. One of three:
///
/// - a `graph`, and nothing else;
/// - a structure, whose neighbours are found anew in every call: `n_atoms`, `numbers`, `positions`, `cell`, `pbc`;
/// - a structure and a `list`, which is kept from call to call; with `on_device` the positions, and the results `site_energies`
///   and `forces`, are addresses in the memory of the plan's CUDA device.
#[allow(non_camel_case_types)]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct acerust_input {
    /// `sizeof(acerust_input)`.
    pub size: usize,
    /// Atoms of a graph; null for a structure.
    pub graph: *const acerust_graph,
    /// A list for the structure; null for none.
    pub list: *mut acerust_list,
    /// May be 0.
    pub n_atoms: usize,
    /// (n_atoms) atomic numbers, 1 to 118, of elements that the model knows.
    pub numbers: *const i32,
    /// (n_atoms, 3), row-major, Å; finite.
    pub positions: *const f64,
    /// (3, 3), cell vectors as rows, Å; null for no cell. Rows of directions without periodicity are ignored.
    pub cell: *const f64,
    /// (3), not 0 where the structure is periodic along the cell vector; null for no periodicity.
    pub pbc: *const i32,
    /// The CUDA stream (`CUstream` or `cudaStream_t`) that writes the positions, which the work waits for; null is the default stream.
    pub stream: *mut c_void,
    /// Not 0: `positions` are on the device. Energy and virial are still on the host, and there is a virial with forces alone.
    pub on_device: i32,
    /// For graphs whose ghosts have no edges, and potentials of several hops: fills in the rows of ghosts, from those of the atoms that
    /// they are images of. Called before each layer but the first, on every process of an engine that splits space, those without
    /// atoms included. Null, as `backward` then: the graph has all edges that the hops take.
    pub forward: acerust_exchange,
    /// Adds the rows of ghosts to those of the atoms that they are images of. Called as often, where an output is a derivative.
    pub backward: acerust_exchange,
    /// What both are called with.
    pub context: *mut c_void,
}

/// Exchanges features between processes: `rows` is (n_atoms, width), row-major, in the order of the atoms of the graph; forwards, those of
/// ghosts are NaN before. What is not 0 ends the evaluation with `ACERUST_ERROR_ARGUMENT`. It must neither throw nor evaluate with the
/// same plan; with several threads it may be called from one that is not the caller's.
#[allow(non_camel_case_types)]
pub type acerust_exchange =
    Option<unsafe extern "C" fn(context: *mut c_void, layer: usize, width: usize, rows: *mut f64) -> i32>;

/// Both directions of an exchange.
#[derive(Debug)]
struct Callbacks {
    forward: unsafe extern "C" fn(*mut c_void, usize, usize, *mut f64) -> i32,
    backward: unsafe extern "C" fn(*mut c_void, usize, usize, *mut f64) -> i32,
    context: *mut c_void,
}

// SAFETY: the caller lets the functions be called with the context from another thread, one call at a time, by the promise of
// `acerust_exchange`.
unsafe impl Send for Callbacks {}

fn done(status: i32, direction: &str, layer: usize) -> crate::Result<()> {
    match status {
        0 => Ok(()),
        _ => Err(Error::Argument(format!("{direction}: the exchange before layer {layer} failed with {status}"))),
    }
}

impl Exchange for Callbacks {
    fn forward(&mut self, layer: usize, width: usize, rows: &mut [f64]) -> crate::Result<()> {
        // SAFETY: the caller's function, with the rows that it is told of.
        done(unsafe { (self.forward)(self.context, layer, width, rows.as_mut_ptr()) }, "forward", layer)
    }

    fn backward(&mut self, layer: usize, width: usize, rows: &mut [f64]) -> crate::Result<()> {
        // SAFETY: as above.
        done(unsafe { (self.backward)(self.context, layer, width, rows.as_mut_ptr()) }, "backward", layer)
    }
}

/// Where results go. Set `size` to `sizeof(acerust_outputs)`; a result whose pointer is null is not wanted. The number beside a
/// pointer must be that of the result. Results may not overlap one another, or what is read.
#[allow(non_camel_case_types)]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct acerust_outputs {
    /// `sizeof(acerust_outputs)`.
    pub size: usize,
    /// (1), eV: the sum over the owned atoms, in their order.
    pub energy: *mut f64,
    /// (n_owned), eV. With a device input an address there.
    pub site_energies: *mut f64,
    /// Numbers in `site_energies`.
    pub n_site_energies: usize,
    /// (n_atoms, 3), row-major, eV/Å: −∂E/∂x. With a device input an address there.
    pub forces: *mut f64,
    /// Numbers in `forces`.
    pub n_forces: usize,
    /// (3, 3), V = −Σ g ⊗ r over edges, eV; stress = −V / volume.
    pub virial: *mut f64,
    /// Numbers in `virial`.
    pub n_virial: usize,
    /// (n_atoms, 3, 3), eV: half of −g ⊗ r of each edge for either of its atoms. Their sum is the virial.
    pub site_virials: *mut f64,
    /// Numbers in `site_virials`.
    pub n_site_virials: usize,
    /// (n_edges, 3), eV/Å: ∂E/∂r_ij in the order of the edges; 0 for edges beyond the cutoff. For graphs alone.
    pub edge_gradients: *mut f64,
    /// Numbers in `edge_gradients`.
    pub n_edge_gradients: usize,
    /// (n_members), eV.
    pub committee_energies: *mut f64,
    /// Numbers in `committee_energies`.
    pub n_committee_energies: usize,
    /// (n_members, n_owned), eV.
    pub committee_site_energies: *mut f64,
    /// Numbers in `committee_site_energies`.
    pub n_committee_site_energies: usize,
    /// (n_members, n_atoms, 3), eV/Å.
    pub committee_forces: *mut f64,
    /// Numbers in `committee_forces`.
    pub n_committee_forces: usize,
    /// (n_members, 3, 3), eV.
    pub committee_virials: *mut f64,
    /// Numbers in `committee_virials`.
    pub n_committee_virials: usize,
    /// (n_owned): how far each site is from what the potential was fitted to, at most 1 within; for plans with an active set.
    pub grade: *mut f64,
    /// Numbers in `grade`.
    pub n_grade: usize,
    /// (n_owned, n_basis), row-major: the site basis of linear potentials, the parts side by side.
    pub descriptors: *mut f64,
    /// Numbers in `descriptors`.
    pub n_descriptors: usize,
}

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

impl acerust_outputs {
    /// # Safety
    /// The promise of the module.
    pub(super) unsafe fn buffers<'a>(&self, taken: &mut Taken) -> Result<Buffers<'a>> {
        // SAFETY: pointers and lengths are those that the caller vouches for; `taken` refuses overlaps.
        Ok(unsafe {
            Buffers {
                energy: taken.take("energy", self.energy, 1)?.map(|e| &mut e[0]),
                site_energies: taken.take("site_energies", self.site_energies, self.n_site_energies)?,
                forces: taken.take("forces", self.forces, self.n_forces)?,
                virial: taken.take("virial", self.virial, self.n_virial)?,
                site_virials: taken.take("site_virials", self.site_virials, self.n_site_virials)?,
                edge_gradients: taken.take("edge_gradients", self.edge_gradients, self.n_edge_gradients)?,
                committee_energies: taken.take(
                    "committee_energies",
                    self.committee_energies,
                    self.n_committee_energies,
                )?,
                committee_site_energies: taken.take(
                    "committee_site_energies",
                    self.committee_site_energies,
                    self.n_committee_site_energies,
                )?,
                committee_forces: taken.take("committee_forces", self.committee_forces, self.n_committee_forces)?,
                committee_virials: taken.take("committee_virials", self.committee_virials, self.n_committee_virials)?,
                grade: taken.take("grade", self.grade, self.n_grade)?,
                descriptors: taken.take("descriptors", self.descriptors, self.n_descriptors)?,
            }
        })
    }
}

impl acerust_input {
    /// # Safety
    /// The promise of the module.
    pub(super) unsafe fn fill(&self, structure: &mut Structure) -> Result {
        let positions = if self.on_device == 0 { self.positions } else { std::ptr::null() };
        let n = if self.on_device == 0 { self.n_atoms } else { 0 };
        // SAFETY: arrays of as many atoms as the caller says; none where they are on a device.
        unsafe {
            fill(structure, n, self.numbers, positions, self.cell, self.pbc)?;
            Ok(atomic_numbers(&mut structure.numbers, input("numbers", self.numbers, self.n_atoms)?)?)
        }
    }

    /// What no result may overlap.
    pub(super) fn note(&self, taken: &mut Taken) {
        let n = self.n_atoms;
        taken.read("numbers", self.numbers, n);
        if self.on_device == 0 {
            taken.read("positions", self.positions, n.saturating_mul(3));
        }
        taken.read("cell", self.cell, 9);
        taken.read("pbc", self.pbc, 3);
    }

    /// The structure that it is; `what` are of nothing else.
    ///
    /// # Safety
    /// The promise of the module.
    pub(super) unsafe fn structure(&self, what: &str) -> Result<Structure> {
        let alone = self.graph.is_null() && self.list.is_null() && self.on_device == 0;
        if !(alone && self.forward.is_none() && self.backward.is_none()) {
            return Err(Failure::argument(format!(
                "input: {what} are of structures, without graphs, lists and exchanges"
            )));
        }
        let mut structure = Structure::default();
        // SAFETY: the promise of the module.
        unsafe { self.fill(&mut structure) }?;
        Ok(structure)
    }

    fn callbacks(&self) -> Result<Option<Callbacks>> {
        match (self.forward, self.backward) {
            (None, None) => Ok(None),
            (Some(forward), Some(backward)) => Ok(Some(Callbacks { forward, backward, context: self.context })),
            (forward, _) => {
                let missing = if forward.is_some() { "backward" } else { "forward" };
                Err(Failure::argument(format!("{missing}: an exchange takes both functions")))
            }
        }
    }

    /// Runs `f` on the atoms of the graph or structure.
    ///
    /// # Safety
    /// The promise of the module.
    pub(super) unsafe fn sites(&self, f: impl FnOnce(&Sites) -> Result) -> Result {
        if !self.graph.is_null() {
            return GRAPHS.get(self.graph)?.sites(f);
        }
        let mut structure = Structure::default();
        // SAFETY: the input's arrays are as long as it says, by the promise of the module.
        unsafe { self.fill(&mut structure) }?;
        f(&Sites::Structure(structure))
    }

    /// # Safety
    /// The promise of the module.
    unsafe fn evaluate(&self, plan: &SharedPlan, mut outputs: acerust_outputs) -> Result {
        let mut taken = Taken::default();
        self.note(&mut taken);
        if self.graph.is_null() && !self.list.is_null() {
            let list = LISTS.get(self.list)?;
            if self.callbacks()?.is_some() {
                return Err(Failure::argument("features are exchanged on graphs only"));
            }
            // SAFETY: the input's arrays are as long as it says, by the promise of the module.
            let fill = |structure: &mut Structure| unsafe { self.fill(structure) };
            if self.on_device == 0 {
                // SAFETY: so are those of the outputs.
                return list.evaluate(plan, fill, unsafe { outputs.buffers(&mut taken) }?);
            }
            let address = |pointer: *mut f64, n: usize, expected: usize, name: &str| match n {
                _ if pointer.is_null() => Ok(0),
                n if n == expected => Ok(pointer.addr() as u64),
                n => Err(Failure::argument(format!("{name}: expected a length of {expected}, got {n}"))),
            };
            let at = Addresses {
                positions: self.positions.addr() as u64,
                site_energies: address(outputs.site_energies, outputs.n_site_energies, self.n_atoms, "site_energies")?,
                forces: address(outputs.forces, outputs.n_forces, self.n_atoms.saturating_mul(3), "forces")?,
                stream: self.stream.addr() as u64,
            };
            (outputs.site_energies, outputs.forces) = (std::ptr::null_mut(), std::ptr::null_mut());
            // SAFETY: addresses are those of memory on the device, as large as the lengths say, by the promise of the module.
            return unsafe { list.evaluate_on_device(plan, fill, at, outputs.buffers(&mut taken)?) };
        }
        if self.on_device != 0 {
            return Err(Failure::argument("device addresses need a list"));
        }
        // SAFETY: the arrays of outputs and input are as long as they say, by the promise of the module.
        let out = unsafe { outputs.buffers(&mut taken) }?;
        let callbacks = self.callbacks()?;
        // SAFETY: the same of the input.
        unsafe {
            self.sites(|sites| match callbacks {
                None => Ok(sites.evaluate(plan, out)?),
                Some(mut callbacks) => Ok(sites.evaluate_exchanged(plan, &mut callbacks, out)?),
            })
        }
    }
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
    // SAFETY: arrays of as many atoms as the caller says.
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

/// Evaluates a potential: whatever `outputs` has pointers for.
///
/// @param plan The plan to evaluate.
/// @param input Atoms and their neighbours.
/// @param outputs Where results go.
/// @return `ACERUST_ERROR_STRUCTURE` or `ACERUST_ERROR_GRAPH` for a structure that makes no sense: numbers, positions, a singular
/// periodic cell, two atoms in one place; `ACERUST_ERROR_GRAPH` for a graph or list whose cutoff is less than the potential's.
/// `ACERUST_ERROR_ARGUMENT` for an element that the model does not know, a wrong length, an overlap, or a result that
/// there is not. `ACERUST_ERROR_NOT_FINITE` for results that are none, `ACERUST_ERROR_MEMORY`. The message names the atom, counted from 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_evaluate(
    plan: *const acerust_plan,
    input: *const acerust_input,
    outputs: *const acerust_outputs,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let (input, outputs) = (sized::<acerust_input>("input", input)?, sized("outputs", outputs)?);
        input.evaluate(&*PLANS.get(plan)?, outputs)
    })
}

/// The site basis of a graph and its derivatives ∂B_b/∂r_ij. A result whose pointer is null is not wanted. Errors as for
/// `acerust_evaluate`.
///
/// @param basis (n_owned, n_basis), row-major.
/// @param jacobian (n_edges, n_basis, 3), row-major, 1/Å.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_site_basis_jacobian(
    plan: *const acerust_plan,
    input: *const acerust_input,
    basis: *mut f64,
    n_basis: usize,
    jacobian: *mut f64,
    n_jacobian: usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let input = sized::<acerust_input>("input", input)?;
        let plan = PLANS.get(plan)?;
        let mut taken = Taken::default();
        input.note(&mut taken);
        let basis = taken.take("basis", basis, n_basis)?;
        let jacobian = taken.take("jacobian", jacobian, n_jacobian)?;
        input.sites(|sites| Ok(sites.site_basis_jacobian(&plan, basis, jacobian)?))
    })
}

/// The design rows of a structure or a graph. Errors as for `acerust_evaluate`.
///
/// @param rows Where they go. `ACERUST_ERROR_ARGUMENT` for a matrix that does not fit, or overlaps another.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_assemble(
    plan: *const acerust_plan,
    input: *const acerust_input,
    rows: *const acerust_rows,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let input = sized::<acerust_input>("input", input)?;
        let rows = sized::<acerust_rows>("rows", rows)?;
        let (plan, mut taken) = (PLANS.get(plan)?, Taken::default());
        input.note(&mut taken);
        input.sites(|sites| assemble(sites, &plan, &rows, &mut taken))
    })
}

/// # Safety
/// The promise of the module.
unsafe fn assemble(sites: &Sites, plan: &SharedPlan, rows: &acerust_rows, taken: &mut Taken) -> Result {
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
    let n_params = plan.with(Plan::length_basis);
    let mut view = |name, data, length, n_rows, ld| {
        // SAFETY: as many numbers as the caller says; overlaps are refused.
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
    Ok(sites.assemble(plan, &mut targets)?)
}
