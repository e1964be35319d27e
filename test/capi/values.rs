//! What the ABI computes is what the library computes, and what the golden data say.

use crate::call::*;
use crate::common::evaluate::{self, committee, energy_forces_virial, site_grads};
use crate::common::{assert_close, flat, golden, only, structure};
use acerust::graph::{Edges, Graph};
use acerust::model::Model;
use acerust::ndarray::Axis;
use acerust::plan::{Device, Isa, Options, Plan, Precision, RadialMode, Rows};
use acerust::shared::matrix;
use acerust::structure::Structure;

struct Case {
    model: Model,
    structure: Structure,
    atoms: Atoms,
    own: Plan,
    handle: OwnedModel,
    plan: OwnedPlan,
}

/// The oxide with its one-body, pair and many-body parts, and 16 atoms of it.
fn case() -> Case {
    let golden = golden("sio_o3");
    let structure = structure(&golden.structures[1]);
    let own = exact(&golden.model);
    let handle = model(&golden.model);
    let plan = plan(&handle);
    Case { atoms: Atoms::new(&structure), model: golden.model, structure, own, handle, plan }
}

fn exact(model: &Model) -> Plan {
    let options = Options::new().radial(RadialMode::Exact);
    Plan::with_options(model, Device::Cpu, Precision::F64, options).unwrap()
}

fn expected(plan: &Plan, graph: &Graph, numbers: &[u8]) -> Results {
    let mut forces = vec![[0.0; 3]; graph.n_atoms()];
    let mut found = Results::room(graph.n_centres(), 0);
    let (energy, virial) = energy_forces_virial(plan, (graph, numbers), &mut found.site_energies, &mut forces).unwrap();
    found.virial.copy_from_slice(virial.as_flattened());
    Results { energy, forces: forces.into_flattened(), ..found }
}

#[test]
fn golden_data_across_the_abi() {
    let golden = golden("si_fit");
    let whole = model(&golden.model);
    for value in &golden.structures[..1] {
        let atoms = Atoms::new(&structure(value));
        for (p, kind) in ["onebody", "pair", "ace"].into_iter().enumerate() {
            let mut part = null_mut();
            ok!(acerust_model_extract(whole.0, &p, 1, &mut part));
            let part = OwnedModel(part);
            let found = Results::of_structure(&plan(&part), &atoms);
            let expected = &value["results"][kind];
            for (what, found) in
                [("site_energies", &found.site_energies[..]), ("forces", &found.forces), ("virial", &found.virial)]
            {
                assert_close(&format!("{kind}: {what}"), found, &flat(&expected[what]), 1e-12);
            }
        }
    }
}

#[test]
fn evaluation_of_structures() {
    let Case { structure, atoms, own, plan, .. } = case();
    let graph = own.graph(&structure).unwrap();
    let expected = expected(&own, &graph, &structure.numbers);
    assert_eq!(Results::of_structure(&plan, &atoms), expected);

    let (n, [z, pbc], [x, cell]) = (atoms.n(), atoms.integers(), atoms.reals());
    let mut energy = f64::NAN;
    ok!(acerust_energy(plan.0, n, z, x, cell, pbc, &mut energy));
    assert_eq!(energy, expected.energy);
    let mut sites = vec![f64::NAN; n];
    ok!(acerust_site_energies(plan.0, n, z, x, cell, pbc, sites.as_mut_ptr(), n));
    assert_eq!(sites, expected.site_energies);

    // Any result alone.
    let none = null_mut();
    let mut found = Results::room(n, n);
    let v = found.virial.as_mut_ptr();
    ok!(acerust_energy_forces_virial(plan.0, n, z, x, cell, pbc, none, none, 0, none, 0, v));
    let f = found.forces.as_mut_ptr();
    ok!(acerust_energy_forces_virial(plan.0, n, z, x, cell, pbc, none, none, 0, f, 3 * n, none));
    let s = found.site_energies.as_mut_ptr();
    ok!(acerust_energy_forces_virial(plan.0, n, z, x, cell, pbc, none, s, n, none, 0, none));
    ok!(acerust_energy_forces_virial(plan.0, n, z, x, cell, pbc, none, none, 0, none, 0, none));
    found.energy = energy;
    assert_eq!(found, expected);

    // No atoms; no cell.
    ok!(acerust_energy(plan.0, 0, null(), null(), null(), null(), &mut energy));
    assert_eq!(energy, 0.0);
    let free = Structure { pbc: [false; 3], ..structure };
    let graph = own.graph(&free).unwrap();
    ok!(acerust_energy(plan.0, n, z, x, null(), null(), &mut energy));
    assert_eq!(energy, own.energy((&graph, &free.numbers)).unwrap());
}

#[test]
fn evaluation_on_graphs() {
    let Case { structure, atoms, own, plan, .. } = case();
    let n = atoms.n();
    let expected = expected(&own, &own.graph(&structure).unwrap(), &structure.numbers);
    let handle = atoms.graph(own.rcut(), 0.0, 0);
    assert_eq!(Results::of_graph(&plan, &handle, n, n), expected);
    let mut sites = vec![f64::NAN; n];
    ok!(acerust_graph_site_energies(plan.0, handle.0, sites.as_mut_ptr(), n));
    assert_eq!(sites, expected.site_energies);

    // With a skin, edges beyond the cutoff have no gradient.
    for skin in [0.0, 0.7] {
        let handle = atoms.graph(own.rcut(), skin, 2);
        let graph = Graph::build(&structure, own.rcut() + skin).unwrap();
        let n_edges = graph.n_edges();
        let mut count = 0;
        ok!(acerust_graph_n_edges(handle.0, &mut count));
        assert_eq!(count, n_edges);
        let (mut sites, mut expected) = (vec![f64::NAN; n], vec![[f64::NAN; 3]; n_edges]);
        site_grads(&own, &graph, &structure.numbers, &mut sites, &mut expected).unwrap();
        let (mut found, mut gradients) = (vec![f64::NAN; n], vec![f64::NAN; 3 * n_edges]);
        let g = gradients.as_mut_ptr();
        ok!(acerust_graph_site_grads(plan.0, handle.0, found.as_mut_ptr(), n, g, 3 * n_edges));
        assert_eq!((&found, &gradients[..]), (&sites, expected.as_flattened()));
        let beyond = graph
            .vectors()
            .iter()
            .zip(&expected)
            .filter(|(r, _)| r.iter().map(|x| x * x).sum::<f64>().sqrt() > own.rcut());
        let beyond: Vec<_> = beyond.map(|(_, g)| *g).collect();
        assert_eq!(beyond.is_empty(), skin == 0.0);
        assert!(beyond.iter().all(|g| *g == [0.0; 3]));
        ok!(acerust_graph_site_grads(plan.0, handle.0, null_mut(), 0, g, 3 * n_edges));
        ok!(acerust_graph_site_grads(plan.0, handle.0, found.as_mut_ptr(), n, null_mut(), 0));

        let n_basis = own.n_basis();
        let (basis, jacobian) = evaluate::jacobian(&own, &graph, &structure.numbers);
        assert_eq!((basis.len(), jacobian.len()), (n * n_basis, 3 * n_edges * n_basis));
        let (mut b, mut j) = (vec![f64::NAN; basis.len()], vec![f64::NAN; jacobian.len()]);
        let (nb, nj) = (b.len(), j.len());
        ok!(acerust_graph_site_basis_jacobian(plan.0, handle.0, b.as_mut_ptr(), nb, j.as_mut_ptr(), nj));
        assert!((&b, &j) == (&basis, &jacobian));
        b.fill(f64::NAN);
        ok!(acerust_graph_site_basis(plan.0, handle.0, b.as_mut_ptr(), nb));
        assert!(b == basis);
        b.fill(f64::NAN);
        ok!(acerust_graph_site_basis_jacobian(plan.0, handle.0, b.as_mut_ptr(), nb, null_mut(), 0));
        assert!(b == basis);
    }
    let mut basis = vec![f64::NAN; n * own.n_basis()];
    evaluate::site_basis(&own, &own.graph(&structure).unwrap(), &structure.numbers, &mut basis).unwrap();
    let (mut found, [z, pbc], [x, cell]) = (vec![f64::NAN; basis.len()], atoms.integers(), atoms.reals());
    ok!(acerust_site_basis(plan.0, n, z, x, cell, pbc, found.as_mut_ptr(), found.len()));
    assert!(found == basis);
}

#[test]
fn graphs_of_edges_with_ghosts() {
    let Case { structure, own, plan, .. } = case();
    let whole = own.graph(&structure).unwrap();
    let numbers: Vec<i32> = structure.numbers.iter().map(|&z| z.into()).collect();
    let (n_centres, n_atoms) = (5, structure.n_atoms());
    let first = &whole.first()[..=n_centres];
    let n_edges = first[n_centres] as usize;
    let (neighbour, r) = (&whole.neighbours()[..n_edges], &whole.vectors()[..n_edges]);
    let edges = Edges { cutoff: own.rcut(), n_owned: n_centres, n_centres, n_atoms, first, neighbour, shift: &[] };
    let graph = Graph::from_edges(&edges, r).unwrap();

    let (z, mut out) = (numbers.as_ptr(), null_mut());
    let (f, j, v) = (first.as_ptr(), neighbour.as_ptr(), r.as_flattened().as_ptr());
    ok!(acerust_graph_from_edges(n_centres, n_atoms, z, f, n_edges, j, v, &mut out));
    let handle = OwnedGraph(out);
    let expected = expected(&own, &graph, &structure.numbers);
    assert!(expected.forces[3 * n_centres..].iter().any(|&f| f != 0.0));
    assert_eq!(Results::of_graph(&plan, &handle, n_centres, n_atoms), expected);
    let mut sizes = [0; 3];
    ok!(acerust_graph_n_centres(handle.0, &mut sizes[0]));
    ok!(acerust_graph_n_atoms(handle.0, &mut sizes[1]));
    ok!(acerust_graph_n_edges(handle.0, &mut sizes[2]));
    assert_eq!(sizes, [n_centres, n_atoms, n_edges]);
}

#[test]
fn edges_are_copied_out_and_graphs_follow_their_structure() {
    let Case { structure, mut atoms, own, plan, .. } = case();
    let (rcut, skin) = (own.rcut(), 0.5);
    let handle = atoms.graph(rcut, skin, 1);
    let graph = Graph::build(&structure, rcut + skin).unwrap();
    let n = graph.n_edges();
    let (mut first, mut neighbour) = (vec![9; graph.first().len()], vec![9; n]);
    let (mut shift, mut r) = (vec![9; 3 * n], vec![f64::NAN; 3 * n]);
    let (f, j, s, v) = (first.as_mut_ptr(), neighbour.as_mut_ptr(), shift.as_mut_ptr(), r.as_mut_ptr());
    ok!(acerust_graph_edges(handle.0, f, first.len(), j, n, s, 3 * n, v, 3 * n));
    let shifts: Vec<i32> = graph.shifts().as_flattened().iter().map(|&s| s.into()).collect();
    assert!((&first[..], &neighbour[..], &shift) == (graph.first(), graph.neighbours(), &shifts));
    assert_eq!(r, graph.vectors().as_flattened());
    ok!(acerust_graph_edges(handle.0, null_mut(), 0, null_mut(), 0, null_mut(), 0, null_mut(), 0));

    // Small moves keep the edges, large ones do not; the energy follows either way.
    for (step, anew) in [(0.1, 0), (0.3, 1), (0.0, 0)] {
        atoms.positions[4] += step;
        let (mut rebuilt, [z, pbc], [x, cell]) = (-1, atoms.integers(), atoms.reals());
        ok!(acerust_graph_update(handle.0, atoms.n(), z, x, cell, pbc, &mut rebuilt));
        assert_eq!(rebuilt, anew, "after a step of {step} Å");
        let on_graph = Results::of_graph(&plan, &handle, atoms.n(), atoms.n());
        assert_close("energy", &[on_graph.energy], &[Results::of_structure(&plan, &atoms).energy], 1e-12);
    }
    ok!(acerust_graph_update(handle.0, 0, null(), null(), null(), null(), null_mut()));
    assert_eq!(Results::of_graph(&plan, &handle, 0, 0).energy, 0.0);
}

#[test]
fn models_without_neighbours_take_graphs_without_edges() {
    let Case { model: whole, structure, mut atoms, .. } = case();
    let only = only(&whole, "onebody");
    let own = exact(&only);
    let plan = plan(&model(&only));
    let n = atoms.n();
    let expected = expected(&own, &own.graph(&structure).unwrap(), &structure.numbers);
    let graph = atoms.graph(0.0, 0.0, 0);
    assert_eq!(Results::of_graph(&plan, &graph, n, n), expected);
    assert_eq!(Results::of_structure(&plan, &atoms), expected);
    let mut rebuilt = -1;
    atoms.numbers.swap(0, n - 1);
    let ([z, pbc], [x, cell]) = (atoms.integers(), atoms.reals());
    ok!(acerust_graph_update(graph.0, n, z, x, cell, pbc, &mut rebuilt));
    assert_eq!(rebuilt, 1);
    assert_eq!(
        Results::of_graph(&plan, &graph, n, n).site_energies,
        Results::of_structure(&plan, &atoms).site_energies
    );
}

#[test]
fn atoms_without_neighbours_feel_nothing() {
    let Case { own, plan, mut atoms, .. } = case();
    let n = atoms.n();
    atoms.positions.iter_mut().enumerate().for_each(|(k, x)| *x = 20.0 * k as f64);
    let ([z, _], [x, _]) = (atoms.integers(), atoms.reals());
    let mut energy = f64::NAN;
    let mut forces = vec![f64::NAN; 3 * n];
    let (e, none, f) = (&mut energy, null_mut(), forces.as_mut_ptr());
    ok!(acerust_energy_forces_virial(plan.0, n, z, x, null(), null(), e, none, 0, f, 3 * n, none));
    let onebody = exact(&only(own.model(), "onebody"));
    let numbers: Vec<u8> = atoms.numbers.iter().map(|&z| z as u8).collect();
    assert_eq!(energy, onebody.energy((&Graph::isolated(n), &numbers)).unwrap());
    assert!(forces.iter().all(|&f| f == 0.0));
}

#[test]
fn design_rows_in_every_layout() {
    let Case { structure, atoms, own, plan, .. } = case();
    let (n, p) = (atoms.n(), own.length_basis());
    let graph = own.graph(&structure).unwrap();
    let handle = atoms.graph(own.rcut(), 0.0, 0);
    for (by_columns, flag) in [(false, ACERUST_ROW_MAJOR), (true, ACERUST_COL_MAJOR)] {
        for (n_virial, gap) in [(9, 0), (6, 0), (6, 3)] {
            let ld = |rows: usize| if gap == 0 { 0 } else { gap + if by_columns { rows } else { p } };
            let room = |rows: usize| vec![-7.0; (rows + gap) * (p + gap)];
            let shapes = [1, 3 * n, n_virial];
            let mut expected = shapes.map(room);
            {
                let [e, f, v] = &mut expected;
                let view = |data, rows: usize| {
                    let tight = if by_columns { rows } else { p };
                    matrix(data, (rows, p), by_columns, tight.max(ld(rows))).unwrap()
                };
                let rows = Rows::new().energy(view(e, 1).index_axis_move(Axis(0), 0));
                let mut rows = rows.forces(view(f, 3 * n)).virial(view(v, n_virial));
                own.assemble(&graph, &structure.numbers, &mut rows).unwrap();
            }
            let mut found = shapes.map(room);
            let [energy, forces, virial] = found.each_mut().map(|v| v.as_mut_ptr());
            let [n_energy, n_forces, n_v] = expected.each_ref().map(Vec::len);
            let [ld_energy, ld_forces, ld_virial] = shapes.map(ld);
            let rows = acerust_rows {
                size: size_of::<acerust_rows>(),
                energy,
                n_energy,
                ld_energy,
                forces,
                n_forces,
                ld_forces,
                virial,
                n_virial: n_v,
                ld_virial,
                n_virial_rows: n_virial as i32,
                order: flag,
            };
            let ([z, pbc], [x, cell]) = (atoms.integers(), atoms.reals());
            ok!(acerust_assemble(plan.0, n, z, x, cell, pbc, &rows));
            assert!(found == expected, "{flag}, {n_virial} virial rows, gap {gap}");
            found.iter_mut().for_each(|m| m.fill(-7.0));
            ok!(acerust_graph_assemble(plan.0, handle.0, &rows));
            assert!(found == expected, "{flag}, {n_virial} virial rows, gap {gap}, graph");
            // The energy row alone.
            found.iter_mut().for_each(|m| m.fill(-7.0));
            let alone = acerust_rows { forces: null_mut(), virial: null_mut(), n_virial_rows: 0, ..rows };
            ok!(acerust_graph_assemble(plan.0, handle.0, &alone));
            assert!(found[0] == expected[0] && found[1].iter().all(|&x| x == -7.0));
        }
    }
}

#[test]
fn parameters_and_committees() {
    let Case { model: whole, structure, atoms, mut own, plan, handle } = case();
    let (n, p) = (atoms.n(), own.length_basis());
    let graph = own.graph(&structure).unwrap();
    let on_graph = atoms.graph(own.rcut(), 0.0, 0);
    let old = whole.linear_parameters();
    let read = |get: &dyn Fn(*mut f64, usize) -> i32| {
        let mut found = vec![f64::NAN; p];
        ok!(get(found.as_mut_ptr(), p));
        found
    };
    let of_plan = || read(&|out, n| unsafe { acerust_plan_linear_parameters(plan.0, out, n) });
    assert_eq!(of_plan(), old);
    let new: Vec<f64> = old.iter().enumerate().map(|(k, x)| x * (1.0 + 0.01 * k as f64)).collect();
    own.set_linear_parameters(&new).unwrap();
    ok!(acerust_plan_set_linear_parameters(plan.0, new.as_ptr(), p));
    assert_eq!(of_plan(), new);
    assert_eq!(Results::of_structure(&plan, &atoms), expected(&own, &graph, &structure.numbers));
    // The plan's model has the new parameters, the model it was made from the old ones.
    let mut current = null_mut();
    ok!(acerust_plan_model(plan.0, &mut current));
    let current = OwnedModel(current);
    assert_eq!(read(&|out, n| unsafe { acerust_model_linear_parameters(current.0, out, n) }), new);
    assert_eq!(read(&|out, n| unsafe { acerust_model_linear_parameters(handle.0, out, n) }), old);

    let members = [old, new.iter().map(|x| -x).collect(), new];
    let flat = members.concat();
    own.set_committee(&members).unwrap();
    ok!(acerust_plan_set_committee(plan.0, flat.as_ptr(), flat.len(), 3));
    let mut k = 0;
    ok!(acerust_plan_n_members(plan.0, &mut k));
    assert_eq!(k, 3);
    let (mut e, mut s) = (vec![0.0; k], vec![0.0; k * n]);
    let (mut f, mut v) = (vec![[0.0; 3]; k * n], vec![[[0.0; 3]; 3]; k]);
    committee(&own, &graph, &structure.numbers, [&mut e, &mut s], &mut f, &mut v);
    let sizes = [k, k * n, 3 * k * n, 9 * k];
    let expected = [e, s, f.into_flattened(), v.into_flattened().into_flattened()];
    let (none, [z, pbc], [x, cell]) = (null_mut::<f64>(), atoms.integers(), atoms.reals());
    // All at once, then each alone; of structures and of graphs.
    for wanted in [
        [true; 4],
        [true, false, false, false],
        [false, true, false, false],
        [false, false, true, false],
        [false, false, false, true],
    ] {
        let mut found = sizes.map(|n| vec![f64::NAN; n]);
        let mut again = found.clone();
        let pointers = |found: &mut [Vec<f64>; 4]| {
            let mut k = 0;
            found.each_mut().map(|m| {
                k += 1;
                if wanted[k - 1] { m.as_mut_ptr() } else { none }
            })
        };
        let ([a, b, c, d], [na, nb, nc, nd]) = (pointers(&mut found), sizes);
        ok!(acerust_committee_energy_forces_virial(plan.0, n, z, x, cell, pbc, a, na, b, nb, c, nc, d, nd));
        let [a, b, c, d] = pointers(&mut again);
        ok!(acerust_graph_committee_energy_forces_virial(plan.0, on_graph.0, a, na, b, nb, c, nc, d, nd));
        for k in (0..4).filter(|&k| wanted[k]) {
            assert!(found[k] == expected[k] && again[k] == expected[k], "result {k} of {wanted:?}");
        }
    }
    ok!(acerust_plan_set_committee(plan.0, null(), 0, 0));
    ok!(acerust_plan_n_members(plan.0, &mut k));
    assert_eq!(k, 0);
}

#[test]
fn options_reach_the_plan() {
    let whole = golden("si_o3").model;
    let handle = model(&whole);
    let structure = Structure::diamond(14, 5.43).rattle(0.1, 5);
    let atoms = Atoms::new(&structure);
    let modes = [
        (ACERUST_RADIAL_EXACT, Some(RadialMode::Exact)),
        (ACERUST_RADIAL_TABLE, Some(RadialMode::Table { tolerance: 1e-4 })),
    ];
    let mut all = Vec::new();
    for (radial, mode) in modes {
        for (precision, ours) in [(ACERUST_F64, Precision::F64), (ACERUST_F32, Precision::F32)] {
            let numbers = [Isa::Portable, Isa::Avx2, Isa::Avx512, Isa::Neon]
                .into_iter()
                .zip(1..)
                .filter(|(isa, _)| isa.is_available());
            for (isa, instruction_set) in numbers {
                let mut told = Options::new().isa(isa);
                told.radial = mode;
                let own = Plan::with_options(&whole, Device::Cpu, ours, told).unwrap();
                let expected = expected(&own, &own.graph(&structure).unwrap(), &structure.numbers);
                let options = acerust_options { radial, instruction_set, tolerance: 1e-4, n_threads: 2, ..options() };
                let found = Results::of_structure(&plan_with(&handle, precision, options), &atoms);
                assert_eq!(found, expected, "{mode:?} {ours:?} {isa:?}");
                all.push(found);
            }
        }
    }
    // Mode and precision do make a difference; instruction sets of the same width need not.
    let all: Vec<_> = all.into_iter().step_by(Isa::available().len()).collect();
    assert!((1..all.len()).all(|k| !all[..k].contains(&all[k])));
    // Null for the defaults.
    let mut out = null_mut();
    ok!(acerust_plan_new(handle.0, ACERUST_CPU, 0, ACERUST_F64, null(), &mut out));
    let defaults = plan_with(&handle, ACERUST_F64, acerust_options { radial: ACERUST_RADIAL_DEFAULT, ..options() });
    assert_eq!(Results::of_structure(&OwnedPlan(out), &atoms), Results::of_structure(&defaults, &atoms));
    let (mut rcut, mut sizes) = (f64::NAN, [0; 2]);
    ok!(acerust_plan_rcut(defaults.0, &mut rcut));
    ok!(acerust_plan_length_basis(defaults.0, &mut sizes[0]));
    ok!(acerust_plan_n_basis(defaults.0, &mut sizes[1]));
    assert_eq!((rcut, sizes), (whole.rcut(), [whole.length_basis(); 2]));
}
