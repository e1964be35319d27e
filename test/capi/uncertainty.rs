//! Committees and active sets in the bytes of their files.

use crate::call::*;
use crate::short::atoms;
use acerust::build::{self, Recipe};
use acerust::fit::Selector;
use acerust::model::Model;
use acerust::npz;
use acerust::plan::{Device, Outputs, Plan, Precision};
use acerust::structure::Structure;
use std::io::Cursor;

const RECIPE: &str = "elements = ['Si']\norder = 2\ndegree = 5\nE0 = { Si = -0.8 }\nrcut = 4.5";

fn setup() -> (Model, Vec<u8>, Vec<u8>, Structure) {
    let mut model = build::model(&Recipe::from_toml(RECIPE).unwrap()).unwrap();
    let parameters: Vec<f64> = (0..model.length_basis()).map(|k| 0.1 + (k as f64).sin()).collect();
    model.set_linear_parameters(&parameters).unwrap();
    let plan = Plan::new(&model, Device::Cpu, Precision::F64).unwrap();
    let trained: Vec<_> = (0..20).map(|k| Structure::diamond(14, 5.3 + 0.02 * k as f64).rattle(0.2, k)).collect();
    let mut selector = Selector::new(&plan);
    selector.push(&plan, &trained).unwrap();
    let mut committee = npz::Writer::new(Cursor::new(Vec::new()));
    committee.start("parameters", "<f8", &[2, parameters.len()]).unwrap();
    committee.write([1.0, 1.5].iter().flat_map(|f| parameters.iter().map(move |x| (f * x).to_le_bytes()))).unwrap();
    let committee = committee.finish().unwrap().into_inner();
    (model, committee, selector.finish().unwrap().to_bytes(), Structure::diamond(14, 4.6).rattle(0.3, 77))
}

#[test]
fn plans_take_files() {
    let (rust, committee, active, structure) = setup();
    let (plan, atoms_) = (plan(&model(&rust)), Atoms::new(&structure));
    let (n, [z, pbc], [x, cell]) = (atoms_.n(), atoms_.integers(), atoms_.reals());
    let input = atoms(n, z, x, cell, pbc);
    let (mut energy, mut energies, mut grade) = (0.0, [0.0; 2], vec![f64::NAN; n]);
    let out = acerust_outputs {
        energy: &mut energy,
        committee_energies: energies.as_mut_ptr(),
        n_committee_energies: 2,
        grade: grade.as_mut_ptr(),
        n_grade: n,
        ..outputs()
    };
    let a = ACERUST_ERROR_ARGUMENT;
    ok!(acerust_plan_committee_from_file(plan.0, committee.as_ptr(), committee.len()));
    fails!(a, "argument: grade: the plan has no active set", acerust_evaluate(plan.0, &input, &out));
    ok!(acerust_plan_active_set_from_file(plan.0, active.as_ptr(), active.len()));
    ok!(acerust_evaluate(plan.0, &input, &out));
    let one_body = -0.8 * n as f64;
    assert!((energies[0] - energy).abs() < 1e-11 * energy.abs(), "{energies:?} {energy}");
    assert!((energies[1] - one_body - 1.5 * (energy - one_body)).abs() < 1e-11 * energy.abs(), "{energies:?} {energy}");
    let mut expected = Plan::new(&rust, Device::Cpu, Precision::F64).unwrap();
    expected.set_active_set(Some(acerust::plan::ActiveSet::from_bytes(&active).unwrap())).unwrap();
    let mut grades = vec![f64::NAN; n];
    expected.evaluate(&structure, &mut Outputs::new().grade(&mut grades[..])).unwrap();
    assert_eq!(grade, grades);
    assert!(grades.iter().all(|g| g.is_finite()) && grades.iter().any(|&g| g > 1.5), "{grades:?}");
    // None removes it.
    ok!(acerust_plan_active_set_from_file(plan.0, null(), 0));
    fails!(a, "argument: grade: the plan has no active set", acerust_evaluate(plan.0, &input, &out));
}

#[test]
fn other_files_change_nothing() {
    let (rust, committee, active, _) = setup();
    let plan = plan(&model(&rust));
    let status = |call: i32, text: &str| {
        assert_eq!(call, ACERUST_ERROR_ARGUMENT);
        assert!(last_error().contains(text), "{}", last_error());
    };
    // SAFETY: as many bytes as they say.
    unsafe {
        ok!(acerust_plan_committee_from_file(plan.0, committee.as_ptr(), committee.len()));
        status(acerust_plan_committee_from_file(plan.0, active.as_ptr(), active.len()), "parameters");
        status(acerust_plan_committee_from_file(plan.0, active.as_ptr(), 30), "committee: ");
        // As many numbers, but other rows; and no rows at all.
        let n = rust.length_basis();
        for shape in [[n, 2], [2 * n, 1], [1, 2 * n], [0, n]] {
            let mut npz = npz::Writer::new(Cursor::new(Vec::new()));
            npz.start("parameters", "<f8", &shape).unwrap();
            npz.write((0..shape[0] * shape[1]).map(|k| (k as f64).to_le_bytes())).unwrap();
            let file = npz.finish().unwrap().into_inner();
            let message = if shape[0] == 0 { "committee: the committee has no members" } else { "no matrix with" };
            status(acerust_plan_committee_from_file(plan.0, file.as_ptr(), file.len()), message);
        }
        status(acerust_plan_active_set_from_file(plan.0, committee.as_ptr(), committee.len()), "no element");
        status(acerust_plan_active_set_from_file(plan.0, null(), 3), "file is null");
        let other = crate::common::golden("sio_o2").model;
        let other = crate::call::plan(&model(&other));
        let message = "the active set is that of another model";
        status(acerust_plan_active_set_from_file(other.0, active.as_ptr(), active.len()), message);
    }
    let mut members = 0;
    ok!(acerust_plan_n_members(plan.0, &mut members));
    assert_eq!(members, 2);
}

/// A header may promise more than any memory holds.
#[test]
fn sizes_that_overflow() {
    for n in ["2305843009213693952", "4611686018427387904", "0"] {
        let mut npz = npz::Writer::new(Cursor::new(Vec::new()));
        let header = format!("{{\"format\":\"acerust-active-set/1\",\"species\":[14],\"n\":{n}}}");
        npz.start("header", "|u1", &[header.len()]).unwrap();
        npz.write(header.bytes().map(|b| [b])).unwrap();
        npz.start("Si", "<f8", &[0, 0]).unwrap();
        let bytes = npz.finish().unwrap().into_inner();
        assert!(acerust::plan::ActiveSet::from_bytes(&bytes).unwrap_err().to_string().starts_with("fit: active set"));
    }
}
