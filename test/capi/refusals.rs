//! Everything that a caller can get wrong, with the status and the message it gets.

use crate::call::*;
use crate::common::golden;
use acerust::structure::Structure;

fn silicon() -> Atoms {
    Atoms::new(&Structure::diamond(14, 5.43))
}

fn setup() -> (OwnedModel, OwnedPlan, Atoms) {
    let model = model(&golden("si_o3").model);
    let plan = plan(&model);
    (model, plan, silicon())
}

fn energy(plan: *const acerust_plan, atoms: &Atoms) -> i32 {
    let ([z, pbc], [x, cell]) = (atoms.integers(), atoms.reals());
    // SAFETY: arrays of the lengths that the structure has.
    unsafe { acerust_energy(plan, atoms.n(), z, x, cell, pbc, &mut 0.0) }
}

#[test]
fn handles() {
    let (model, plan, atoms) = setup();
    let h = ACERUST_ERROR_HANDLE;
    fails!(h, "handle: the plan is null", energy(null(), &atoms));
    fails!(h, "handle: the model is null", acerust_model_rcut(null(), &mut 0.0));
    fails!(h, "handle: the graph is null", acerust_graph_n_edges(null(), &mut 0));
    // One of another kind, and one that points somewhere.
    let other = format!("handle: {:#x} is no plan, or it was freed", model.0.addr());
    fails!(h, other, energy(model.0.cast(), &atoms));
    let somewhere: *const acerust_plan = (&raw const atoms).cast();
    let message = format!("handle: {:#x} is no plan, or it was freed", somewhere.addr());
    fails!(h, message, energy(somewhere, &atoms));
    // Freed: null is fine, twice is not, and nothing that was freed comes back to life.
    assert_eq!([acerust_model_free(null_mut()), acerust_plan_free(null_mut()), acerust_graph_free(null_mut())], [0; 3]);
    let mut gone = null_mut();
    ok!(acerust_plan_new(model.0, ACERUST_CPU, 0, ACERUST_F64, null(), &mut gone));
    ok!(acerust_plan_free(gone));
    let message = format!("handle: {:#x} is no plan, or it was freed", gone.addr());
    fails!(h, message, acerust_plan_free(gone));
    ok!(acerust_plan_new(model.0, ACERUST_CPU, 0, ACERUST_F64, null(), &mut null_mut()));
    fails!(h, message, energy(gone, &atoms));
    // The plan does not need its model.
    drop(model);
    assert_eq!(energy(plan.0, &atoms), ACERUST_OK);
}

#[test]
fn null_pointers() {
    let (model, plan, atoms) = setup();
    let (n, [z, pbc], [x, cell]) = (atoms.n(), atoms.integers(), atoms.reals());
    let a = ACERUST_ERROR_ARGUMENT;
    let (none, e) = (null_mut(), &mut 0.0);
    fails!(a, "argument: numbers is null", acerust_energy(plan.0, n, null(), x, cell, pbc, e));
    fails!(a, "argument: positions is null", acerust_energy(plan.0, n, z, null(), cell, pbc, e));
    fails!(a, "argument: rows is null", acerust_assemble(plan.0, n, z, x, cell, pbc, null()));
    fails!(a, "argument: path is null", acerust_model_load(null(), &mut null_mut()));
    fails!(a, "argument: path is null", acerust_model_save(model.0, null()));
    fails!(a, "argument: out is null", acerust_model_load(c("x").as_ptr(), null_mut()));
    fails!(a, "argument: json is null", acerust_model_from_json(null(), 3, &mut null_mut()));
    fails!(a, "argument: json is null", acerust_model_from_reference_json(null(), 3, &mut null_mut()));
    fails!(a, "argument: out is null", acerust_model_from_json(null(), 0, null_mut()));
    fails!(a, "argument: parts is null", acerust_model_extract(model.0, null(), 1, &mut null_mut()));
    fails!(a, "argument: species is null", acerust_model_species(model.0, null_mut(), 1));
    fails!(a, "argument: out is null", acerust_model_rcut(model.0, none));
    fails!(a, "argument: out is null", acerust_plan_rcut(plan.0, none));
    fails!(a, "argument: out is null", acerust_plan_hops(plan.0, null_mut()));
    fails!(a, "argument: out is null", acerust_plan_n_exchanged(plan.0, null_mut()));
    fails!(a, "argument: out is null", acerust_plan_new(model.0, 0, 0, 0, null(), null_mut()));
    fails!(a, "argument: out is null", acerust_plan_model(plan.0, null_mut()));
    fails!(a, "argument: parameters is null", acerust_plan_linear_parameters(plan.0, none, 0));
    let graph = atoms.graph(5.5, 0.0, 0);
    fails!(a, "argument: out is null", acerust_graph_n_edges(graph.0, null_mut()));
    let out = null_mut();
    fails!(a, "argument: out is null", acerust_graph_build(n, z, x, cell, pbc, 5.5, 0.0, 0, out));
    fails!(a, "argument: first is null", acerust_graph_from_edges(n, n, z, null(), 0, null(), null(), &mut null_mut()));
}

#[test]
fn lengths_and_layouts() {
    let (model, plan, atoms) = setup();
    let (n, [z, pbc], [x, cell]) = (atoms.n(), atoms.integers(), atoms.reals());
    let a = ACERUST_ERROR_ARGUMENT;
    let mut room = vec![0.0_f64; 1 << 16];
    let (out, none) = (room.as_mut_ptr(), null_mut());
    let all = |site_energies, n_sites, forces, n_forces, virial| {
        // SAFETY: the buffer is longer than any result.
        unsafe {
            let e = null_mut();
            acerust_energy_forces_virial(
                plan.0,
                n,
                z,
                x,
                cell,
                pbc,
                e,
                site_energies,
                n_sites,
                forces,
                n_forces,
                virial,
            )
        }
    };
    fails!(a, "argument: site_energies: expected a length of 8, got 7", all(out, 7, none, 0, none));
    fails!(a, "argument: forces: expected a length of 24, got 8", all(none, 0, out, 8, none));
    fails!(a, "argument: forces overlaps site_energies in memory", all(out, 8, out.wrapping_add(7), 24, none));
    fails!(a, "argument: virial overlaps forces in memory", all(none, 0, out, 24, out.wrapping_add(23)));
    let odd = out.wrapping_byte_add(4);
    fails!(a, format!("argument: virial at {odd:p} is not aligned to 8 bytes"), all(none, 0, none, 0, odd));
    let many = usize::MAX / 2;
    fails!(
        a,
        format!("argument: numbers of {many} entries is longer than memory"),
        acerust_energy(plan.0, many, z, x, cell, pbc, out)
    );
    let basis = "argument: descriptors: expected a length of ";
    let mut n_basis = 0;
    ok!(acerust_plan_n_basis(plan.0, &mut n_basis));
    fails!(a, format!("{basis}{}, got 1", n * n_basis), acerust_site_basis(plan.0, n, z, x, cell, pbc, out, 1));
    fails!(
        a,
        "argument: species: expected a length of 1, got 2",
        acerust_model_species(model.0, [0; 2].as_mut_ptr(), 2)
    );

    let graph = atoms.graph(5.5, 0.0, 0);
    let mut edges = 0;
    ok!(acerust_graph_n_edges(graph.0, &mut edges));
    let (g, s) = (graph.0, 3 * edges);
    let sites = "argument: site_energies: expected a length of 8, got 9";
    fails!(a, sites, acerust_graph_site_energies(plan.0, g, out, 9));
    fails!(a, sites, acerust_graph_site_grads(plan.0, g, out, 9, none, 0));
    fails!(a, sites, acerust_graph_energy_forces_virial(plan.0, g, none, out, 9, none, 0, none));
    let wrong = |what: &str, expected: usize| format!("argument: {what}: expected a length of {expected}, got 1");
    fails!(a, wrong("edge_gradients", s), acerust_graph_site_grads(plan.0, g, none, 0, out, 1));
    fails!(a, wrong("descriptors", n * n_basis), acerust_graph_site_basis(plan.0, g, out, 1));
    fails!(a, wrong("basis", n * n_basis), acerust_graph_site_basis_jacobian(plan.0, g, out, 1, none, 0));
    fails!(a, wrong("jacobian", s * n_basis), acerust_graph_site_basis_jacobian(plan.0, g, none, 0, out, 1));
    let (u, i) = (&raw mut edges, &mut 0_i32);
    fails!(a, wrong("first", 9), acerust_graph_edges(g, u.cast(), 1, null_mut(), 0, null_mut(), 0, none, 0));
    fails!(a, wrong("neighbour", s / 3), acerust_graph_edges(g, null_mut(), 0, u.cast(), 1, null_mut(), 0, none, 0));
    fails!(a, wrong("shift", s), acerust_graph_edges(g, null_mut(), 0, null_mut(), 0, i, 1, none, 0));
    fails!(a, wrong("r", s), acerust_graph_edges(g, null_mut(), 0, null_mut(), 0, null_mut(), 0, out, 1));

    let two = [0.0; 2];
    let p = two.as_ptr();
    let mut n_params = 0;
    ok!(acerust_plan_length_basis(plan.0, &mut n_params));
    let expected = format!("argument: linear parameters: expected {n_params}, got 2");
    fails!(a, expected, acerust_plan_set_linear_parameters(plan.0, p, 2));
    let expected = format!("argument: parameters: expected a length of 3 · {n_params}, got 2");
    fails!(a, expected, acerust_plan_set_committee(plan.0, p, 2, 3));
    fails!(a, wrong("parameters", n_params), acerust_plan_linear_parameters(plan.0, out, 1));
    fails!(a, wrong("parameters", n_params), acerust_model_linear_parameters(model.0, out, 1));
    room[..2 * n_params].fill(1.0);
    room[n_params + 1] = f64::NAN;
    let out = room.as_mut_ptr();
    let committee = "argument: committee member 1: argument: linear parameters[1]: NaN is not finite";
    fails!(a, committee, acerust_plan_set_committee(plan.0, out, 2 * n_params, 2));
    room[1] = f64::INFINITY;
    let message = "argument: linear parameters[1]: inf is not finite";
    fails!(a, message, acerust_plan_set_linear_parameters(plan.0, out, n_params));
    room[..n_params].fill(1.0);
    ok!(acerust_plan_set_committee(plan.0, out, n_params, 1));
    let g = graph.0;
    for (k, (what, expected)) in
        [("energies", 1), ("site_energies", 8), ("forces", 24), ("virials", 9)].into_iter().enumerate()
    {
        let mut call = [(none, 0); 4];
        call[k] = (out, 2);
        let [(e, ne), (s, ns), (f, nf), (v, nv)] = call;
        let message = format!("argument: committee_{what}: expected a length of {expected}, got 2");
        fails!(a, message, acerust_graph_committee_energy_forces_virial(plan.0, g, e, ne, s, ns, f, nf, v, nv));
        fails!(
            a,
            message,
            acerust_committee_energy_forces_virial(plan.0, n, z, x, cell, pbc, e, ne, s, ns, f, nf, v, nv)
        );
    }
}

#[test]
fn structures() {
    let (_model, plan, good) = setup();
    let s = ACERUST_ERROR_STRUCTURE;
    let with = |change: &dyn Fn(&mut Atoms)| {
        let mut atoms = good.clone();
        change(&mut atoms);
        atoms
    };
    for z in [0, -3, 119, 300, i32::MAX] {
        let message = format!("structure: atom 5: no element has the atomic number {z}");
        fails!(s, message, energy(plan.0, &with(&|a| a.numbers[5] = z)));
    }
    let message = "argument: atom 2 is O; the model knows Si";
    fails!(ACERUST_ERROR_ARGUMENT, message, energy(plan.0, &with(&|a| a.numbers[2] = 8)));
    let atoms = with(&|a| a.positions[4] = f64::NAN);
    assert_eq!(energy(plan.0, &atoms), s);
    assert!(last_error().starts_with("structure: atom 1: position [") && last_error().ends_with("is not finite"));
    let atoms = with(&|a| a.cell[8] = f64::INFINITY);
    fails!(s, "structure: cell row 2 [0.0, 0.0, inf] is not finite", energy(plan.0, &atoms));
    let atoms = with(&|a| a.cell[3..6].fill(0.0));
    fails!(s, "structure: cell row 1 is zero, yet periodic", energy(plan.0, &atoms));
    let atoms = with(&|a| a.positions.copy_within(0..3, 3));
    assert_eq!(energy(plan.0, &atoms), ACERUST_ERROR_GRAPH);
    assert!(last_error().contains("atoms 0 and 1"), "{}", last_error());
}

#[test]
fn graphs() {
    let (_model, plan, atoms) = setup();
    let (n, [z, pbc], [x, cell]) = (atoms.n(), atoms.integers(), atoms.reals());
    let g = ACERUST_ERROR_GRAPH;
    let mut out = null_mut();
    let refused: [(f64, f64, &str); 4] = [
        (-1.0, 0.0, "graph: cutoff -1 Å is not positive and finite"),
        (f64::NAN, 0.0, "graph: cutoff NaN Å is not positive and finite"),
        (5.0, -0.5, "graph: skin -0.5 Å is negative or not finite"),
        (5.0, f64::INFINITY, "graph: skin inf Å is negative or not finite"),
    ];
    for (rcut, skin, message) in refused {
        fails!(g, message, acerust_graph_build(n, z, x, cell, pbc, rcut, skin, 0, &mut out));
    }
    let message = "argument: n_threads: 5000 is more than 4096";
    fails!(ACERUST_ERROR_ARGUMENT, message, acerust_graph_build(n, z, x, cell, pbc, 5.5, 0.0, 5000, &mut out));
    assert!(out.is_null());

    let short = atoms.graph(3.0, 1.0, 0);
    let message = "graph: its cutoff, 3 Å, is less than the potential's, 5.5 Å";
    fails!(g, message, acerust_graph_site_energies(plan.0, short.0, vec![0.0; n].as_mut_ptr(), n));
    // After a failed update a graph waits for a good one.
    let graph = atoms.graph(5.5, 1.0, 0);
    let mut bad = atoms.clone();
    bad.positions[0] = f64::NAN;
    assert_eq!(unsafe { acerust_graph_update(graph.0, n, z, bad.positions.as_ptr(), cell, pbc, null_mut()) }, 3);
    let mut energies = vec![0.0; n];
    let message = "graph: its last update failed";
    fails!(g, message, acerust_graph_site_energies(plan.0, graph.0, energies.as_mut_ptr(), n));
    fails!(g, message, acerust_graph_n_edges(graph.0, &mut 0));
    ok!(acerust_graph_update(graph.0, n, z, x, cell, pbc, null_mut()));
    ok!(acerust_graph_site_energies(plan.0, graph.0, energies.as_mut_ptr(), n));

    let edges = |first: &[u32], neighbour: &[u32], r: &[f64], out: &mut *mut acerust_graph| {
        let (f, j, v) = (first.as_ptr(), neighbour.as_ptr(), r.as_ptr());
        // SAFETY: two centres of eight atoms, and as many edges as neighbours.
        unsafe { acerust_graph_from_edges(2, n, z, f, neighbour.len(), j, v, out) }
    };
    fails!(g, "graph: edge 0: neighbour 8 of 8 atoms", edges(&[0, 1, 1], &[8], &[1.0; 3], &mut out));
    fails!(g, "graph: the last offset is 2 for 1 edges", edges(&[0, 1, 2], &[7], &[1.0; 3], &mut out));
    let message = "graph: edge 0 from atom 0 to atom 7: vector [0.0, 0.0, 0.0] is shorter than 1e-10 Å or not finite";
    fails!(g, message, edges(&[0, 1, 1], &[7], &[0.0; 3], &mut out));
    let bad = [14, 14, 0, 14, 14, 14, 14, 14];
    let call = |out| unsafe { acerust_graph_from_edges(2, n, bad.as_ptr(), [0; 3].as_ptr(), 0, null(), null(), out) };
    fails!(ACERUST_ERROR_STRUCTURE, "structure: atom 2: no element has the atomic number 0", call(&mut out));
    let message = "argument: n_centres is too large";
    let call = |out| unsafe { acerust_graph_from_edges(usize::MAX, n, z, null(), 0, null(), null(), out) };
    fails!(ACERUST_ERROR_ARGUMENT, message, call(&mut out));
    ok!(edges(&[0, 1, 1], &[7], &[1.0; 3], &mut out));
    let graph = OwnedGraph(out);
    ok!(acerust_graph_update(graph.0, n, z, x, cell, pbc, null_mut()));
    let message = "graph: 7 positions for a graph of 8 atoms";
    fails!(g, message, acerust_graph_update(graph.0, n - 1, z, x, cell, pbc, null_mut()));
    ok!(acerust_graph_update(graph.0, n, z, x, cell, pbc, null_mut()));
    let message = "graph: it was made from edges and has no shifts";
    let mut shift = [0; 3];
    let none = null_mut();
    fails!(g, message, acerust_graph_edges(graph.0, none, 0, none, 0, shift.as_mut_ptr(), 3, null_mut(), 0));
    ok!(acerust_graph_edges(graph.0, none, 0, none, 0, none.cast(), 0, null_mut(), 0));
}

#[test]
fn models_and_plans() {
    let (model, plan, _) = setup();
    let (m, a, d) = (ACERUST_ERROR_MODEL, ACERUST_ERROR_ARGUMENT, ACERUST_ERROR_DEVICE);
    let mut out = null_mut();
    assert_eq!(unsafe { acerust_model_from_json(c("{").as_ptr(), 1, &mut out) }, m);
    assert!(last_error().starts_with("model: EOF while parsing"), "{}", last_error());
    assert_eq!(unsafe { acerust_model_from_reference_json(null(), 0, &mut out) }, m);
    assert_eq!(unsafe { acerust_model_save(model.0, c("/nowhere/x.json").as_ptr()) }, ACERUST_ERROR_IO);
    assert!(last_error().starts_with("/nowhere/x.json: "), "{}", last_error());
    let parts = [1, 3, 1];
    fails!(a, "argument: part 3 of a model with 3 parts", acerust_model_extract(model.0, parts.as_ptr(), 2, &mut out));
    let twice = [1, 0, 1];
    fails!(a, "argument: parts[2]: part 1 is taken twice", acerust_model_extract(model.0, twice.as_ptr(), 3, &mut out));
    fails!(a, "argument: part 9 of a model with 3 parts", acerust_model_part_n_basis(model.0, 9, &mut 0));
    let call = || unsafe { acerust_model_part_kind(model.0, 9, null_mut(), 0, null_mut()) };
    fails!(a, "argument: part 9 of a model with 3 parts", call());
    assert_eq!(unsafe { acerust_model_extract(model.0, null(), 0, &mut out) }, m, "a model without parts");

    let mut made = null_mut();
    let mut new = |device, index, precision, options: Option<acerust_options>| {
        let options = options.as_ref().map_or(null(), |o| &raw const *o);
        unsafe { acerust_plan_new(model.0, device, index, precision, options, &mut made) }
    };
    fails!(a, "argument: no device 2", new(2, 0, 0, None));
    fails!(a, "argument: no device with the index -1", new(ACERUST_CUDA, -1, 0, None));
    fails!(a, "argument: no device with the index 1", new(ACERUST_CPU, 1, 0, None));
    fails!(a, "argument: no precision 7", new(0, 0, 7, None));
    for (device, precision, name) in
        [(0, ACERUST_F24_RADIAL, "f24-radial"), (ACERUST_CUDA, ACERUST_F16_FEATURES, "f16-features")]
    {
        let why = "is for MACE models on CUDA devices; others, and processors, have f64, f32, f32-distances";
        fails!(a, &format!("argument: precision {name}: {why}"), new(device, 0, precision, None));
    }
    assert_eq!(new(ACERUST_CUDA, 999, 0, None), d);
    let o = options();
    fails!(a, "argument: options: no radial mode 4", new(0, 0, 0, Some(acerust_options { radial: 4, ..o })));
    let isa = acerust_options { instruction_set: -1, ..o };
    fails!(a, "argument: options: no instruction set -1", new(0, 0, 0, Some(isa)));
    let tolerance = acerust_options { radial: ACERUST_RADIAL_TABLE, ..o };
    fails!(a, "argument: table tolerance 0 is not above 1e-15 and below 1", new(0, 0, 0, Some(tolerance)));
    for wrong in [f64::NAN, f64::INFINITY, 1.0] {
        let tolerance = acerust_options { tolerance: wrong, ..tolerance };
        let message = format!("argument: table tolerance {wrong} is not above 1e-15 and below 1");
        fails!(a, &message, new(0, 0, 0, Some(tolerance)));
    }
    // A device refuses what it would have to ignore, whether there is one or not.
    let isa = acerust_options { instruction_set: ACERUST_ISA_PORTABLE, ..o };
    let message = "argument: instruction set Portable: CUDA devices have none of the processor's";
    fails!(a, message, new(ACERUST_CUDA, 0, 0, Some(isa)));
    if cfg!(feature = "cuda") {
        let table = acerust_options { radial: ACERUST_RADIAL_TABLE, tolerance: 1e-9, ..o };
        let message =
            "argument: radial tables are for the processor: on CUDA devices radial functions are always exact";
        fails!(a, message, new(ACERUST_CUDA, 0, 0, Some(table)));
    }
    let threads = acerust_options { n_threads: 4097, ..o };
    fails!(a, "argument: n_threads: 4097 is more than 4096", new(0, 0, 0, Some(threads)));
    fails!(a, "argument: n_threads: 4097 is more than 4096", acerust_plan_set_threads(plan.0, 4097));
    let devices = acerust_options { n_devices: 2, ..o };
    fails!(a, "argument: options: n_devices is 2: the processor is one", new(0, 0, 0, Some(devices)));
    assert_eq!(new(ACERUST_CUDA, 998, 0, Some(devices)), d);
    let size = acerust_options { size: 0, ..o };
    let message = "argument: options: size is 0, not the struct's, 40";
    fails!(a, message, new(0, 0, 0, Some(size)));
    let nothing = crate::common::only(&golden("si_o3").model, "onebody");
    let nothing = crate::call::plan(&crate::call::model(&nothing));
    let message = "argument: a model without linear parameters has no committee";
    fails!(a, message, acerust_plan_set_committee(nothing.0, null(), 0, 2));
}

#[test]
fn options_of_other_versions() {
    let (model, ..) = setup();
    #[repr(C)]
    struct Later {
        known: acerust_options,
        more: [u64; 2],
    }
    let mut later = Later { known: options(), more: [0, 0] };
    later.known.size = size_of::<Later>();
    let mut out = null_mut();
    // Fields that this version does not know may be there, but not set.
    ok!(acerust_plan_new(model.0, 0, 0, 0, (&raw const later).cast(), &mut out));
    ok!(acerust_plan_free(out));
    later.more[1] = 1;
    let message = "argument: options: a field beyond the 40 bytes known to this version is set";
    fails!(ACERUST_ERROR_ARGUMENT, message, acerust_plan_new(model.0, 0, 0, 0, (&raw const later).cast(), &mut out));
    // Of an earlier version only what it had is read.
    let mut earlier = acerust_options { radial: 77, instruction_set: 77, ..options() };
    earlier.size = std::mem::offset_of!(acerust_options, radial);
    ok!(acerust_plan_new(model.0, 0, 0, 0, &earlier, &mut out));
    ok!(acerust_plan_free(out));
}

#[test]
fn rows() {
    let (_model, plan, atoms) = setup();
    let graph = atoms.graph(5.5, 0.0, 0);
    let (n, mut p) = (atoms.n(), 0);
    ok!(acerust_plan_length_basis(plan.0, &mut p));
    let mut room = vec![0.0; 40 * p];
    let (out, none) = (room.as_mut_ptr(), null_mut());
    let good = acerust_rows {
        size: size_of::<acerust_rows>(),
        energy: out,
        n_energy: p,
        ld_energy: 0,
        forces: out.wrapping_add(p),
        n_forces: 3 * n * p,
        ld_forces: 0,
        virial: none,
        n_virial: 0,
        ld_virial: 0,
        n_virial_rows: 0,
        order: ACERUST_ROW_MAJOR,
    };
    let call = |rows: acerust_rows| unsafe { acerust_graph_assemble(plan.0, graph.0, &rows) };
    ok!(call(good));
    let a = ACERUST_ERROR_ARGUMENT;
    let message = format!("argument: energy row: argument: a 1 × {p} matrix does not fit into {} numbers", p - 1);
    fails!(a, message, call(acerust_rows { n_energy: p - 1, ..good }));
    let message = format!("argument: force rows: argument: leading dimension 1 is less than {p}");
    fails!(a, message, call(acerust_rows { ld_forces: 1, ..good }));
    fails!(a, "argument: force rows overlaps energy row in memory", call(acerust_rows { forces: out, ..good }));
    fails!(a, "argument: rows: no order 2", call(acerust_rows { order: 2, ..good }));
    let message = "argument: rows: n_virial_rows is 0, neither 9 nor 6";
    fails!(a, message, call(acerust_rows { virial: out.wrapping_add(30 * p), ..good }));
    fails!(a, "argument: rows: size is 0, not the struct's, 88", call(acerust_rows { size: 0, ..good }));
}
