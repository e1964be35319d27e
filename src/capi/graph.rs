//! Graphs: neighbour lists that outlive a call, and evaluation on them.

use super::buffer;
use super::evaluate::{self, acerust_rows};
use super::handle::Table;
use super::plan::acerust_plan;
use super::status::{Failure, Result, guard};
use crate::graph::Graph;
use crate::shared::{Edges, SharedGraph, Sites, Taken, atomic_numbers};

/// Atoms and their neighbours. Several threads may evaluate on one graph at once; an update waits for them.
#[allow(non_camel_case_types)]
pub struct acerust_graph(());

static GRAPHS: Table<SharedGraph> = Table::new("graph");

/// Runs `f` on the atoms of a graph.
fn sites(graph: *const acerust_graph, f: impl FnOnce(&Sites) -> Result) -> Result {
    GRAPHS.get(graph)?.sites(f)
}

/// The neighbour graph of a structure: all directed edges i → j with 0 < r ≤ rcut, those to periodic images included, and, with
/// a skin, some that are longer; evaluations pass over these.
///
/// @param n_atoms,numbers,positions,cell,pbc As for `acerust_energy`.
/// @param rcut Å, at least that of the plans that will be evaluated; 0 for models without neighbours.
/// @param skin Å. Updates keep the edges while no atom has moved by more than half the skin. 0 for graphs that will not be
/// updated.
/// @param n_threads For building: 0 for all threads of the machine, or as many as the environment variable RAYON_NUM_THREADS says.
/// @param out The graph; to be freed with `acerust_graph_free`.
/// @return `ACERUST_ERROR_STRUCTURE` or `ACERUST_ERROR_GRAPH` for a structure, cutoff or skin that makes no sense.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_graph_build(
    n_atoms: usize,
    numbers: *const i32,
    positions: *const f64,
    cell: *const f64,
    pbc: *const i32,
    rcut: f64,
    skin: f64,
    n_threads: usize,
    out: *mut *mut acerust_graph,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let out = buffer::result("out", out)?;
        let structure = evaluate::structure(n_atoms, numbers, positions, cell, pbc)?;
        GRAPHS.insert(SharedGraph::build(structure, rcut, skin, n_threads)?, out);
        Ok(())
    })
}

/// Takes over new positions, or another structure altogether. Builds anew only where an atom has moved by more than half the skin,
/// or atoms, cell or periodicity have changed; else it allocates nothing. Waits until no thread evaluates on the graph.
///
/// @param n_atoms,numbers,positions,cell,pbc As for `acerust_energy`.
/// @param rebuilt 1 where the edges are others than before, 0 where they are the same; may be null.
/// @return As `acerust_graph_build`; the graph can then not be evaluated until an update succeeds. `ACERUST_ERROR_GRAPH` for a graph
/// made from edges, which stays as it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_graph_update(
    graph: *mut acerust_graph,
    n_atoms: usize,
    numbers: *const i32,
    positions: *const f64,
    cell: *const f64,
    pbc: *const i32,
    rebuilt: *mut i32,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let shared = GRAPHS.get(graph)?;
        let rebuilt = if rebuilt.is_null() { None } else { Some(buffer::result("rebuilt", rebuilt)?) };
        let anew = shared.update(|structure| evaluate::fill(structure, n_atoms, numbers, positions, cell, pbc))?;
        rebuilt.into_iter().for_each(|r| *r = anew.into());
        Ok(())
    })
}

/// A graph from a list of the caller, as of a simulation engine with ghost atoms: atoms 0 … n_centres − 1 have energies, those
/// from n_centres on are ghosts, which only exert and feel forces. The list must have all directed edges within the cutoff of the
/// plans that will be evaluated; longer ones are passed over. It is copied.
///
/// @param n_centres At most n_atoms.
/// @param n_atoms Centres and ghosts.
/// @param numbers (n_atoms) atomic numbers.
/// @param first (n_centres + 1) offsets: the edges of centre i are first[i] … first[i + 1] − 1.
/// @param n_edges first[n_centres].
/// @param neighbour (n_edges) indices below n_atoms.
/// @param r (n_edges, 3), vectors from centre to neighbour, Å; finite and not zero.
/// @param out The graph; to be freed with `acerust_graph_free`.
/// @return `ACERUST_ERROR_GRAPH` for offsets, indices or vectors that make no sense; the message names the centre or the edge.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_graph_from_edges(
    n_centres: usize,
    n_atoms: usize,
    numbers: *const i32,
    first: *const u32,
    n_edges: usize,
    neighbour: *const u32,
    r: *const f64,
    out: *mut *mut acerust_graph,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let out = buffer::result("out", out)?;
        let mut z = Vec::new();
        atomic_numbers(&mut z, buffer::input("numbers", numbers, n_atoms)?)?;
        let n_first = n_centres.checked_add(1).ok_or_else(|| Failure::argument("n_centres is too large"))?;
        let first = buffer::input("first", first, n_first)?;
        let neighbour = buffer::input("neighbour", neighbour, n_edges)?;
        let cutoff = crate::model::MAX_CUTOFF;
        let edges =
            crate::graph::Edges { cutoff, n_owned: n_centres, n_centres, n_atoms, first, neighbour, shift: &[] };
        let graph = Graph::from_edges(&edges, buffer::vectors("r", r, n_edges)?)?;
        GRAPHS.insert(SharedGraph::from_edges(graph, z), out);
        Ok(())
    })
}

/// Frees a graph, as soon as no other thread works with it. Null is ignored.
///
/// @return `ACERUST_ERROR_HANDLE` for a handle that was freed before.
#[unsafe(no_mangle)]
pub extern "C" fn acerust_graph_free(graph: *mut acerust_graph) -> i32 {
    guard(|| GRAPHS.remove(graph))
}

/// The number of centres, n_centres: all atoms, but for graphs from edges with ghosts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_graph_n_centres(graph: *const acerust_graph, out: *mut usize) -> i32 {
    // SAFETY: the promise of the module.
    unsafe { scalar(graph, out, Graph::n_centres) }
}

/// The number of atoms, n_atoms: centres and ghosts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_graph_n_atoms(graph: *const acerust_graph, out: *mut usize) -> i32 {
    // SAFETY: the promise of the module.
    unsafe { scalar(graph, out, Graph::n_atoms) }
}

/// The number of directed edges, n_edges.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_graph_n_edges(graph: *const acerust_graph, out: *mut usize) -> i32 {
    // SAFETY: the promise of the module.
    unsafe { scalar(graph, out, Graph::n_edges) }
}

/// Copies the edges out, sorted by centre. A result whose pointer is null is not wanted.
///
/// @param first (n_centres + 1) offsets: the edges of centre i are first[i] … first[i + 1] − 1.
/// @param neighbour (n_edges) indices below n_atoms.
/// @param shift (n_edges, 3), in cell vectors: r = x_j + shift · cell − x_i. Graphs from edges have none.
/// @param r (n_edges, 3), Å.
/// @return `ACERUST_ERROR_ARGUMENT` for a wrong length; each must be the number of entries as given here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_graph_edges(
    graph: *const acerust_graph,
    first: *mut u32,
    n_first: usize,
    neighbour: *mut u32,
    n_neighbour: usize,
    shift: *mut i32,
    n_shift: usize,
    r: *mut f64,
    n_r: usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let mut outputs = Taken::default();
        let edges = Edges {
            first: outputs.take("first", first, n_first)?,
            neighbour: outputs.take("neighbour", neighbour, n_neighbour)?,
            shift: outputs.take("shift", shift, n_shift)?,
            r: outputs.take("r", r, n_r)?,
        };
        Ok(GRAPHS.get(graph)?.edges(edges)?)
    })
}

/// Energy, forces and virial on a graph. A result whose pointer is null is not wanted.
///
/// @param energy (1), eV: the sum over the centres.
/// @param site_energies (n_centres), eV; `n_site_energies` must be n_centres.
/// @param forces (n_atoms, 3), row-major, eV/Å, those on ghosts included; `n_forces` must be 3·n_atoms.
/// @param virial (3, 3), eV.
/// @return `ACERUST_ERROR_GRAPH` for a graph of a cutoff less than the plan's, `ACERUST_ERROR_ARGUMENT` for a wrong length or an
/// element that the model does not know.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_graph_energy_forces_virial(
    plan: *const acerust_plan,
    graph: *const acerust_graph,
    energy: *mut f64,
    site_energies: *mut f64,
    n_site_energies: usize,
    forces: *mut f64,
    n_forces: usize,
    virial: *mut f64,
) -> i32 {
    let n_sites = n_site_energies;
    // SAFETY: the promise of the module.
    let body = |sites: &Sites| unsafe {
        evaluate::energy_forces_virial(sites, plan, energy, site_energies, n_sites, forces, n_forces, virial)
    };
    guard(|| sites(graph, body))
}

/// Energies, forces and virials of every committee member on a graph, from one pass over the basis. A result whose pointer is
/// null is not wanted. Errors as for `acerust_graph_energy_forces_virial`.
///
/// @param energies (n_members), eV.
/// @param site_energies (n_members, n_centres), eV.
/// @param forces (n_members, n_atoms, 3), eV/Å.
/// @param virials (n_members, 3, 3), eV.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_graph_committee_energy_forces_virial(
    plan: *const acerust_plan,
    graph: *const acerust_graph,
    energies: *mut f64,
    n_energies: usize,
    site_energies: *mut f64,
    n_site_energies: usize,
    forces: *mut f64,
    n_forces: usize,
    virials: *mut f64,
    n_virials: usize,
) -> i32 {
    let (n, n_sites, n_v) = (n_energies, n_site_energies, n_virials);
    // SAFETY: the promise of the module.
    let body = |sites: &Sites| unsafe {
        evaluate::committee(sites, plan, energies, n, site_energies, n_sites, forces, n_forces, virials, n_v)
    };
    guard(|| sites(graph, body))
}

/// The energy of every centre, eV. Errors as for `acerust_graph_energy_forces_virial`.
///
/// @param site_energies (n_centres); `length` must be n_centres.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_graph_site_energies(
    plan: *const acerust_plan,
    graph: *const acerust_graph,
    site_energies: *mut f64,
    length: usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| sites(graph, |sites| unsafe { evaluate::site_energies(sites, plan, site_energies, length) }))
}

/// Site energies and their gradients ∂E_i/∂r_ij. A result whose pointer is null is not wanted. Errors as for
/// `acerust_graph_energy_forces_virial`.
///
/// @param site_energies (n_centres), eV.
/// @param gradients (n_edges, 3), eV/Å, in the order of the edges; 0 for edges beyond the cutoff.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_graph_site_grads(
    plan: *const acerust_plan,
    graph: *const acerust_graph,
    site_energies: *mut f64,
    n_site_energies: usize,
    gradients: *mut f64,
    n_gradients: usize,
) -> i32 {
    let n_sites = n_site_energies;
    // SAFETY: the promise of the module.
    let body =
        |sites: &Sites| unsafe { evaluate::site_grads(sites, plan, site_energies, n_sites, gradients, n_gradients) };
    guard(|| sites(graph, body))
}

/// The site basis of every centre. Errors as for `acerust_graph_energy_forces_virial`.
///
/// @param basis (n_centres, n_basis), row-major, the parts side by side; `length` must be n_centres·n_basis.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_graph_site_basis(
    plan: *const acerust_plan,
    graph: *const acerust_graph,
    basis: *mut f64,
    length: usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| sites(graph, |sites| unsafe { evaluate::site_basis(sites, plan, basis, length) }))
}

/// The site basis and its derivatives ∂B_b/∂r_ij. A result whose pointer is null is not wanted. Errors as for
/// `acerust_graph_energy_forces_virial`.
///
/// @param basis (n_centres, n_basis), row-major.
/// @param jacobian (n_edges, n_basis, 3), row-major, 1/Å.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_graph_site_basis_jacobian(
    plan: *const acerust_plan,
    graph: *const acerust_graph,
    basis: *mut f64,
    n_basis: usize,
    jacobian: *mut f64,
    n_jacobian: usize,
) -> i32 {
    // SAFETY: the promise of the module.
    let body =
        |sites: &Sites| unsafe { evaluate::site_basis_jacobian(sites, plan, basis, n_basis, jacobian, n_jacobian) };
    guard(|| sites(graph, body))
}

/// The design rows of the atoms of a graph. Errors as for `acerust_graph_energy_forces_virial`.
///
/// @param rows Where they go. `ACERUST_ERROR_ARGUMENT` for a matrix that does not fit, or overlaps another.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_graph_assemble(
    plan: *const acerust_plan,
    graph: *const acerust_graph,
    rows: *const acerust_rows,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| sites(graph, |sites| unsafe { evaluate::assemble(sites, plan, rows) }))
}

/// # Safety
/// The promise of the module.
unsafe fn scalar<T>(graph: *const acerust_graph, out: *mut T, value: impl FnOnce(&Graph) -> T) -> i32 {
    // SAFETY: passed on.
    guard(|| unsafe {
        *buffer::result("out", out)? = GRAPHS.get(graph)?.read(|graph| Ok::<_, Failure>(value(graph)))?;
        Ok(())
    })
}
