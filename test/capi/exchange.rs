//! Ghosts without edges, whose features come from the atoms that they are images of.

use crate::call::*;
use acerust::capi::graph::acerust_graph_from_edges;
use acerust::model::Model;
use acerust::structure::Structure;
use std::ffi::c_void;

/// The atom that each atom of the graph is an image of, and how often rows were exchanged.
struct Images {
    of: Vec<usize>,
    n_owned: usize,
    widest: usize,
    calls: [usize; 2],
    status: i32,
}

unsafe extern "C" fn forward(context: *mut c_void, _: usize, width: usize, rows: *mut f64) -> i32 {
    // SAFETY: what the test passes below, and rows for all its atoms.
    let (images, rows) = unsafe { parts(context, width, rows) };
    images.calls[0] += 1;
    for k in images.n_owned..images.of.len() {
        let from = images.of[k] * width;
        rows.copy_within(from..from + width, k * width);
    }
    images.status
}

unsafe extern "C" fn backward(context: *mut c_void, _: usize, width: usize, rows: *mut f64) -> i32 {
    // SAFETY: as above.
    let (images, rows) = unsafe { parts(context, width, rows) };
    images.calls[1] += 1;
    for k in images.n_owned..images.of.len() {
        (0..width).for_each(|w| rows[images.of[k] * width + w] += rows[k * width + w]);
    }
    0
}

unsafe fn parts<'a>(context: *mut c_void, width: usize, rows: *mut f64) -> (&'a mut Images, &'a mut [f64]) {
    // SAFETY: the callers' promise.
    unsafe {
        let images = &mut *context.cast::<Images>();
        images.widest = images.widest.max(width);
        let n = images.of.len() * width;
        (images, std::slice::from_raw_parts_mut(rows, n))
    }
}

#[test]
fn features_of_ghosts_come_from_whom_they_are_images_of() {
    for name in ["three_layers", "nonlinear", "tiny"] {
        let model_file = format!("{}/test/mace/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let loaded = Model::load(model_file).unwrap();
        let mut structure = Structure::bcc(loaded.species()[0], 3.3).rattle(0.2, 1);
        structure.numbers[1] = loaded.species()[1];
        let own = plan(&model(&loaded));
        let expected = Results::of_structure(&own, &Atoms::new(&structure));

        // A ghost for each image that an edge ends in.
        let whole = acerust::graph::Graph::build(&structure, loaded.rcut()).unwrap();
        let n_owned = structure.n_atoms();
        let mut images = Images { of: (0..n_owned).collect(), n_owned, widest: 0, calls: [0; 2], status: 0 };
        let (mut shifts, mut positions) = (vec![[0; 3]; n_owned], structure.positions.clone());
        let mut neighbour = Vec::new();
        for i in 0..n_owned {
            for e in whole.edges(i) {
                let (j, shift) = (whole.neighbours()[e] as usize, whole.shifts()[e]);
                let known = (0..shifts.len()).find(|&k| images.of[k] == j && shifts[k] == shift);
                neighbour.push(known.unwrap_or_else(|| {
                    images.of.push(j);
                    shifts.push(shift);
                    let (x, r) = (structure.positions[i], whole.vectors()[e]);
                    positions.push(std::array::from_fn(|d| x[d] + r[d]));
                    shifts.len() - 1
                }) as u32);
            }
        }
        let numbers: Vec<i32> = images.of.iter().map(|&i| structure.numbers[i].into()).collect();
        let list = acerust_edges {
            cutoff: whole.cutoff(),
            n_owned,
            n_centres: n_owned,
            n_atoms: numbers.len(),
            numbers: numbers.as_ptr(),
            first: whole.first().as_ptr(),
            n_edges: neighbour.len(),
            neighbour: neighbour.as_ptr(),
            positions: positions.as_flattened().as_ptr(),
            ..edges()
        };
        let mut graph = null_mut();
        ok!(acerust_graph_from_edges(&list, &mut graph));
        let (mut energy, mut virial, mut forces) = (0.0, [0.0; 9], vec![[0.0; 3]; numbers.len()]);
        let out = acerust_outputs {
            energy: &mut energy,
            virial: virial.as_mut_ptr(),
            n_virial: 9,
            forces: forces.as_flattened_mut().as_mut_ptr(),
            n_forces: 3 * numbers.len(),
            ..outputs()
        };
        let alone = acerust_input { graph, ..inputs() };
        // SAFETY: arrays are as long as the structs say.
        let status = unsafe { acerust_evaluate(own.0, &alone, &out) };
        assert_eq!(status, ACERUST_ERROR_GRAPH);
        assert!(last_error().contains("has no edges, but a model of"), "{}", last_error());
        let context: *mut c_void = (&raw mut images).cast();
        let half = acerust_input { forward: Some(forward), context, ..alone };
        fails!(
            ACERUST_ERROR_ARGUMENT,
            "argument: backward: an exchange takes both functions",
            acerust_evaluate(own.0, &half, &out)
        );
        let input = acerust_input { backward: Some(backward), ..half };
        ok!(acerust_evaluate(own.0, &input, &out));
        for k in n_owned..numbers.len() {
            (0..3).for_each(|d| forces[images.of[k]][d] += forces[k][d]);
        }
        assert!((energy - expected.energy).abs() < 1e-11 * energy.abs(), "{name}: {energy} {}", expected.energy);
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(close(forces[..n_owned].as_flattened(), &expected.forces), "{name}: {forces:?}");
        assert!(close(&virial, expected.virial.as_ref()), "{name}: {virial:?}");

        let (mut hops, mut width) = (0, 0);
        ok!(acerust_plan_hops(own.0, &mut hops));
        ok!(acerust_plan_n_exchanged(own.0, &mut width));
        assert_eq!((images.calls, images.widest), ([hops - 1; 2], width));
        images.status = 7;
        let message = "argument: forward: the exchange before layer 1 failed with 7";
        fails!(ACERUST_ERROR_ARGUMENT, message, acerust_evaluate(own.0, &input, &out));
        // A process without atoms takes part all the same.
        (images.of, images.n_owned, images.widest, images.calls, images.status) = (Vec::new(), 0, 0, [0; 2], 0);
        let none = acerust_edges { cutoff: whole.cutoff(), first: [0u32].as_ptr(), ..edges() };
        let mut empty = null_mut();
        ok!(acerust_graph_from_edges(&none, &mut empty));
        let input = acerust_input { graph: empty, ..input };
        let out = acerust_outputs { n_forces: 0, ..out };
        ok!(acerust_evaluate(own.0, &input, &out));
        assert_eq!((energy, images.calls, images.widest), (0.0, [hops - 1; 2], width));
        // Features are exchanged on graphs alone.
        let atoms = Atoms::new(&structure);
        let ([z, pbc], [x, cell]) = (atoms.integers(), atoms.reals());
        let structure = super::short::atoms(atoms.n(), z, x, cell, pbc);
        let input = acerust_input { forward: Some(forward), backward: Some(backward), context, ..structure };
        let out = acerust_outputs { energy: &mut energy, ..outputs() };
        let message = "argument: features are exchanged on graphs only";
        fails!(ACERUST_ERROR_ARGUMENT, message, acerust_evaluate(own.0, &input, &out));
        let mut list = null_mut();
        ok!(acerust_list_new(own.0, 0.5, &mut list));
        let list = OwnedList(list);
        let input = acerust_input { list: list.0, ..input };
        fails!(ACERUST_ERROR_ARGUMENT, message, acerust_evaluate(own.0, &input, &out));
        ok!(acerust_graph_free(graph));
        ok!(acerust_graph_free(empty));
    }
}
