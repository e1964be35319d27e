//! Neighbour lists of a plan's device across the ABI.

use crate::call::*;
use crate::common::{assert_close, golden, only, structure};

impl Results {
    /// With a list; the structure's own arrays.
    fn of_list(plan: &OwnedPlan, list: &OwnedList, atoms: &Atoms) -> Results {
        let n = atoms.n();
        let (mut found, [z, pbc], [x, cell]) = (Results::room(n, n), atoms.integers(), atoms.reals());
        let (e, v) = (&raw mut found.energy, found.virial.as_mut_ptr());
        let (s, f) = (found.site_energies.as_mut_ptr(), found.forces.as_mut_ptr());
        ok!(acerust_list_energy_forces_virial(list.0, plan.0, n, z, x, cell, pbc, e, s, n, f, 3 * n, v));
        found
    }
}

fn list(plan: &OwnedPlan, skin: f64) -> OwnedList {
    let mut out = null_mut();
    ok!(acerust_list_new(plan.0, skin, &mut out));
    OwnedList(out)
}

fn builds(list: &OwnedList) -> usize {
    let mut n = 0;
    ok!(acerust_list_builds(list.0, &mut n));
    n
}

#[test]
fn lists_give_what_structures_give() {
    let golden = golden("sio_o3");
    let plan = plan(&model(&golden.model));
    let mut atoms = Atoms::new(&structure(&golden.structures[1]));
    let list = list(&plan, 0.4);
    for (step, times) in [(0.0, 1), (0.1, 1), (0.3, 2)] {
        atoms.positions[4] += step;
        let (found, expected) = (Results::of_list(&plan, &list, &atoms), Results::of_structure(&plan, &atoms));
        assert_eq!(builds(&list), times);
        assert_close("energy", &[found.energy], &[expected.energy], 1e-12);
        assert_close("site energies", &found.site_energies, &expected.site_energies, 1e-12);
        assert_close("forces", &found.forces, &expected.forces, 1e-12);
        assert_close("virial", &found.virial, &expected.virial, 1e-12);
    }
    // The energy alone, and nothing.
    let ([z, pbc], [x, cell], none) = (atoms.integers(), atoms.reals(), null_mut());
    let (n, mut energy) = (atoms.n(), f64::NAN);
    ok!(acerust_list_energy_forces_virial(list.0, plan.0, n, z, x, cell, pbc, &mut energy, none, 0, none, 0, none));
    assert!((energy - Results::of_structure(&plan, &atoms).energy).abs() < 1e-12 * energy.abs());
    let null = null();
    ok!(acerust_list_energy_forces_virial(list.0, plan.0, 0, z, x, null, null_mut(), none, none, 0, none, 0, none));
}

#[test]
fn lists_refuse_what_does_not_fit() {
    let golden = golden("sio_o3");
    let whole = plan(&model(&golden.model));
    let short = plan(&model(&only(&golden.model, "onebody")));
    let atoms = Atoms::new(&structure(&golden.structures[1]));
    let (n, [z, pbc], [x, cell], none) = (atoms.n(), atoms.integers(), atoms.reals(), null_mut());
    let (a, mut out) = (ACERUST_ERROR_ARGUMENT, null_mut());
    let message = "argument: skin -1 Å is negative or not finite";
    fails!(a, message, acerust_list_new(whole.0, -1.0, &mut out));
    assert!(out.is_null());
    fails!(ACERUST_ERROR_HANDLE, "handle: the list is null", acerust_list_builds(null(), &mut 0));
    let list = list(&short, 0.0);
    let mut energy = 0.0;
    let call = |list: &OwnedList, n_forces, forces: *mut f64, energy: *mut f64| unsafe {
        acerust_list_energy_forces_virial(list.0, whole.0, n, z, x, cell, pbc, energy, none, 0, forces, n_forces, none)
    };
    let message = "graph: the list's cutoff, 0.001 Å, is less than the potential's, 5.5 Å";
    fails!(ACERUST_ERROR_GRAPH, message, call(&list, 0, none, &mut energy));
    let list = self::list(&whole, 0.0);
    let message = format!("argument: forces: expected a length of {}, got 5", 3 * n);
    fails!(a, message, call(&list, 5, [0.0; 5].as_mut_ptr(), &mut energy));
    // Addresses of a device need a plan on one.
    let message = "argument: device addresses need a plan on a CUDA device";
    let on_device = |forces: *mut f64, virial: *mut f64| unsafe {
        let stream = null_mut();
        acerust_list_device_energy_forces_virial(
            list.0, whole.0, n, z, x, cell, pbc, stream, none, none, forces, virial,
        )
    };
    fails!(a, message, on_device(none, none));
    let message = "argument: the virial comes with forces alone, which have no address";
    fails!(a, message, on_device(none, [0.0; 9].as_mut_ptr()));
}
