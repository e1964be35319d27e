//! What only the two structs say: any mixture of results, sizes of other versions, memory that is read and written.

use crate::call::*;
use crate::common::{golden, structure};
use crate::short::atoms;
use std::mem::offset_of;

fn setup() -> (OwnedPlan, Atoms) {
    let golden = golden("sio_o3");
    (plan(&model(&golden.model)), Atoms::new(&structure(&golden.structures[1])))
}

#[test]
fn virials_of_atoms_add_up() {
    let (plan, atoms_) = setup();
    let (n, [z, pbc], [x, cell]) = (atoms_.n(), atoms_.integers(), atoms_.reals());
    let expected = Results::of_structure(&plan, &atoms_);
    let mut virials = vec![f64::NAN; 9 * n];
    let out = acerust_outputs { site_virials: virials.as_mut_ptr(), n_site_virials: 9 * n, ..outputs() };
    ok!(acerust_evaluate(plan.0, &atoms(n, z, x, cell, pbc), &out));
    for k in 0..9 {
        let sum: f64 = virials.iter().skip(k).step_by(9).sum();
        assert!((sum - expected.virial[k]).abs() < 1e-9, "{sum} {}", expected.virial[k]);
    }
}

#[test]
fn sizes_of_other_versions() {
    let (plan, atoms_) = setup();
    let (n, [z, pbc], [x, cell]) = (atoms_.n(), atoms_.integers(), atoms_.reals());
    let mut energy = f64::NAN;
    let (mut input, mut out) = (atoms(n, z, x, cell, pbc), acerust_outputs { energy: &mut energy, ..outputs() });
    // A caller that knows the energy alone, and no device.
    out.size = offset_of!(acerust_outputs, site_energies);
    input.size = offset_of!(acerust_input, stream);
    ok!(acerust_evaluate(plan.0, &input, &out));
    assert_eq!(energy, Results::of_structure(&plan, &atoms_).energy);
    let a = ACERUST_ERROR_ARGUMENT;
    let ours = size_of::<acerust_outputs>();
    out.size = 0;
    fails!(
        a,
        format!("argument: outputs: size is 0, not the struct's, {ours}"),
        acerust_evaluate(plan.0, &input, &out)
    );
    // Half a pointer.
    for cut in 1..size_of::<usize>() {
        input.size = offset_of!(acerust_input, numbers) + cut;
        let message = format!("argument: input: size is {}, not the struct's, {}", input.size, size_of_val(&input));
        fails!(a, message, acerust_evaluate(plan.0, &input, &out));
    }
    input.size = size_of_val(&input);
    #[repr(C)]
    struct Later {
        known: acerust_outputs,
        more: usize,
    }
    let mut later = Later { known: out, more: 0 };
    later.known.size = size_of::<Later>();
    ok!(acerust_evaluate(plan.0, &input, (&raw const later).cast()));
    later.more = 1;
    let message = format!("argument: outputs: a field beyond the {ours} bytes known to this version is set");
    fails!(a, message, acerust_evaluate(plan.0, &input, (&raw const later).cast()));
    fails!(a, "argument: input is null", acerust_evaluate(plan.0, null(), &out));
    fails!(a, "argument: outputs is null", acerust_evaluate(plan.0, &input, null()));
}

#[test]
fn results_may_not_overlap_what_is_read() {
    let (plan, mut atoms_) = setup();
    let (n, [z, pbc]) = (atoms_.n(), atoms_.integers());
    let before = atoms_.clone();
    let (x, cell) = (atoms_.positions.as_mut_ptr(), atoms_.cell.as_mut_ptr());
    let a = ACERUST_ERROR_ARGUMENT;
    let input = atoms(n, z, x, cell, pbc);
    let out = acerust_outputs { forces: x, n_forces: 3 * n, ..outputs() };
    fails!(a, "argument: forces overlaps positions in memory", acerust_evaluate(plan.0, &input, &out));
    let out = acerust_outputs { virial: cell, n_virial: 9, ..outputs() };
    fails!(a, "argument: virial overlaps cell in memory", acerust_evaluate(plan.0, &input, &out));
    assert_eq!((&atoms_.positions, &atoms_.cell), (&before.positions, &before.cell));
}

#[test]
fn lists_of_engines_are_replaced_and_follow_their_atoms() {
    let (plan, atoms_) = setup();
    let z = [14, 8, 8];
    let mut x = [0.0, 0.0, 0.0, 1.7, 0.0, 0.0, 0.0, 1.6, 0.4];
    let (first, neighbour) = ([0_u32, 2], [1_u32, 2]);
    let list = |x: &[f64]| acerust_edges {
        cutoff: 5.5,
        n_owned: 1,
        n_centres: 1,
        n_atoms: 3,
        numbers: z.as_ptr(),
        first: first.as_ptr(),
        n_edges: 2,
        neighbour: neighbour.as_ptr(),
        positions: x.as_ptr(),
        ..edges()
    };
    let mut out = null_mut();
    ok!(acerust::capi::graph::acerust_graph_from_edges(&list(&x), &mut out));
    let graph = OwnedGraph(out);
    let of_list = |x: &[f64]| {
        let mut out = null_mut();
        ok!(acerust::capi::graph::acerust_graph_from_edges(&list(x), &mut out));
        Results::of_graph(&plan, &OwnedGraph(out), 1, 3)
    };
    assert_eq!(Results::of_graph(&plan, &graph, 1, 3), of_list(&x));
    x[3] = 1.9;
    ok!(acerust_graph_update(graph.0, 3, z.as_ptr(), x.as_ptr(), null(), null(), null_mut()));
    assert_eq!(Results::of_graph(&plan, &graph, 1, 3), of_list(&x));
    x[4] = 0.3;
    ok!(acerust_graph_replace_edges(graph.0, &list(&x)));
    assert_eq!(Results::of_graph(&plan, &graph, 1, 3), of_list(&x));
    let short = acerust_edges { cutoff: 3.0, ..list(&x) };
    ok!(acerust_graph_replace_edges(graph.0, &short));
    let message = "graph: its cutoff, 3 Å, is less than the potential's, 5.5 Å";
    fails!(ACERUST_ERROR_GRAPH, message, acerust_graph_energy(plan.0, graph.0, &mut 0.0));
    let both = acerust_edges { r: x.as_ptr(), ..list(&x) };
    let message = "argument: r and positions: expected one of them";
    fails!(ACERUST_ERROR_ARGUMENT, message, acerust_graph_replace_edges(graph.0, &both));
    let message = "graph: it was made from a structure and has no edges to replace";
    fails!(ACERUST_ERROR_GRAPH, message, acerust_graph_replace_edges(atoms_.graph(5.5, 0.0, 0).0, &short));
}

#[test]
fn numbers_beyond_the_precision_are_errors() {
    let golden = golden("si_fit");
    let model = model(&golden.model);
    let atoms_ = Atoms::new(&structure(&golden.structures[0]));
    let (n, [z, pbc], [x, cell]) = (atoms_.n(), atoms_.integers(), atoms_.reals());
    for (precision, factor) in [(ACERUST_F32, 1e39), (ACERUST_F64, 1e308)] {
        let plan = plan_with(&model, precision, options());
        let mut p = 0;
        ok!(acerust_plan_length_basis(plan.0, &mut p));
        let wild = vec![factor; p];
        ok!(acerust_plan_set_linear_parameters(plan.0, wild.as_ptr(), p));
        let mut energy = f64::NAN;
        let status = unsafe { acerust_energy(plan.0, n, z, x, cell, pbc, &mut energy) };
        assert_eq!(status, ACERUST_ERROR_NOT_FINITE, "{factor:e}: {energy}");
        let message = last_error();
        assert!(message.starts_with("result: the energy of atom 0 is "), "{message}");
    }
}
