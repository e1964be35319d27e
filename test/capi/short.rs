//! Evaluations across the ABI in one line each: the same two structs, filled with what the name says.
#![allow(dead_code, clippy::too_many_arguments, clippy::missing_safety_doc)]

use acerust::capi::evaluate::*;
use acerust::capi::graph::*;
use acerust::capi::list::*;
use acerust::capi::plan::*;
use std::ffi::c_void;
use std::mem::MaybeUninit;

pub fn inputs() -> acerust_input {
    // SAFETY: zeros are null pointers and numbers.
    acerust_input { size: size_of::<acerust_input>(), ..unsafe { MaybeUninit::zeroed().assume_init() } }
}

pub fn outputs() -> acerust_outputs {
    // SAFETY: as above.
    acerust_outputs { size: size_of::<acerust_outputs>(), ..unsafe { MaybeUninit::zeroed().assume_init() } }
}

pub fn edges() -> acerust_edges {
    // SAFETY: as above.
    acerust_edges { size: size_of::<acerust_edges>(), ..unsafe { MaybeUninit::zeroed().assume_init() } }
}

pub fn atoms(
    n_atoms: usize,
    numbers: *const i32,
    positions: *const f64,
    cell: *const f64,
    pbc: *const i32,
) -> acerust_input {
    acerust_input { n_atoms, numbers, positions, cell, pbc, ..inputs() }
}

pub fn of(graph: *const acerust_graph) -> acerust_input {
    // A null handle is told from a structure by its list, which is none.
    match graph.is_null() {
        true => acerust_input { graph: std::ptr::without_provenance(8), ..inputs() },
        false => acerust_input { graph, ..inputs() },
    }
}

type Plan = *const acerust_plan;
type Out = *mut f64;

macro_rules! short {
    ($($of_structure:ident, $of_graph:ident ($($arg:ident: $ty:ty),*) $body:expr;)*) => {$(
        pub unsafe fn $of_structure(
            plan: Plan, n: usize, z: *const i32, x: *const f64, cell: *const f64, pbc: *const i32, $($arg: $ty),*
        ) -> i32 {
            let run: fn(Plan, acerust_input, $($ty),*) -> i32 = $body;
            run(plan, atoms(n, z, x, cell, pbc), $($arg),*)
        }

        pub unsafe fn $of_graph(plan: Plan, graph: *const acerust_graph, $($arg: $ty),*) -> i32 {
            let run: fn(Plan, acerust_input, $($ty),*) -> i32 = $body;
            run(plan, of(graph), $($arg),*)
        }
    )*};
}

fn run(plan: Plan, input: acerust_input, out: acerust_outputs) -> i32 {
    // SAFETY: pointers and lengths are those of the test, which vouches for them by calling an unsafe function.
    unsafe { acerust_evaluate(plan, &input, &out) }
}

short! {
    acerust_energy, acerust_graph_energy(energy: Out) |plan, input, energy| run(plan, input, acerust_outputs { energy, ..outputs() });
    acerust_site_energies, acerust_graph_site_energies(e: Out, n: usize) |plan, input, e, n| {
        run(plan, input, acerust_outputs { site_energies: e, n_site_energies: n, ..outputs() })
    };
    acerust_energy_forces_virial, acerust_graph_energy_forces_virial(e: Out, s: Out, ns: usize, f: Out, nf: usize, v: Out)
        |plan, input, energy, s, ns, f, nf, v| {
            let out = acerust_outputs { energy, site_energies: s, n_site_energies: ns, ..outputs() };
            run(plan, input, acerust_outputs { forces: f, n_forces: nf, virial: v, n_virial: 9, ..out })
        };
    acerust_committee_energy_forces_virial, acerust_graph_committee_energy_forces_virial(
        e: Out, ne: usize, s: Out, ns: usize, f: Out, nf: usize, v: Out, nv: usize
    ) |plan, input, e, ne, s, ns, f, nf, v, nv| {
        let out = acerust_outputs { committee_energies: e, n_committee_energies: ne, ..outputs() };
        let out = acerust_outputs { committee_site_energies: s, n_committee_site_energies: ns, ..out };
        let out = acerust_outputs { committee_forces: f, n_committee_forces: nf, ..out };
        run(plan, input, acerust_outputs { committee_virials: v, n_committee_virials: nv, ..out })
    };
    acerust_site_basis, acerust_graph_site_basis(basis: Out, n: usize) |plan, input, basis, n| {
        run(plan, input, acerust_outputs { descriptors: basis, n_descriptors: n, ..outputs() })
    };
    acerust_site_grads, acerust_graph_site_grads(s: Out, ns: usize, g: Out, ng: usize) |plan, input, s, ns, g, ng| {
        let out = acerust_outputs { site_energies: s, n_site_energies: ns, ..outputs() };
        run(plan, input, acerust_outputs { edge_gradients: g, n_edge_gradients: ng, ..out })
    };
    acerust_assemble, acerust_graph_assemble(rows: *const acerust_rows) |plan, input, rows| {
        // SAFETY: as in `run`.
        unsafe { acerust::capi::evaluate::acerust_assemble(plan, &input, rows) }
    };
    acerust_structure_jacobian, acerust_graph_site_basis_jacobian(b: Out, nb: usize, j: Out, nj: usize)
        |plan, input, b, nb, j, nj| {
            // SAFETY: as in `run`.
            unsafe { acerust_site_basis_jacobian(plan, &input, b, nb, j, nj) }
        };
}

pub unsafe fn acerust_list_energy_forces_virial(
    list: *mut acerust_list,
    plan: Plan,
    n: usize,
    z: *const i32,
    x: *const f64,
    cell: *const f64,
    pbc: *const i32,
    energy: Out,
    s: Out,
    ns: usize,
    f: Out,
    nf: usize,
    v: Out,
) -> i32 {
    let out = acerust_outputs { energy, site_energies: s, n_site_energies: ns, ..outputs() };
    let out = acerust_outputs { forces: f, n_forces: nf, virial: v, n_virial: 9, ..out };
    run(plan, acerust_input { list, ..atoms(n, z, x, cell, pbc) }, out)
}

pub unsafe fn acerust_list_device_energy_forces_virial(
    list: *mut acerust_list,
    plan: Plan,
    n: usize,
    z: *const i32,
    x: *const f64,
    cell: *const f64,
    pbc: *const i32,
    stream: *mut c_void,
    energy: Out,
    s: Out,
    f: Out,
    v: Out,
) -> i32 {
    let out = acerust_outputs { energy, site_energies: s, n_site_energies: n, ..outputs() };
    let out = acerust_outputs { forces: f, n_forces: 3 * n, virial: v, n_virial: 9, ..out };
    run(plan, acerust_input { list, stream, on_device: 1, ..atoms(n, z, x, cell, pbc) }, out)
}

pub unsafe fn acerust_graph_from_edges(
    n_centres: usize,
    n_atoms: usize,
    numbers: *const i32,
    first: *const u32,
    n_edges: usize,
    neighbour: *const u32,
    r: *const f64,
    out: *mut *mut acerust_graph,
) -> i32 {
    let list = acerust_edges { cutoff: 6.0, n_owned: n_centres, n_centres, n_atoms, numbers, first, ..edges() };
    let list = acerust_edges { n_edges, neighbour, r, ..list };
    // SAFETY: the promise of the caller.
    unsafe { acerust::capi::graph::acerust_graph_from_edges(&list, out) }
}
