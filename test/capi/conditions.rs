//! Plans under other conditions.

use crate::call::*;
use acerust::model::Model;
use acerust::plan::{Conditions, Device, Plan, Precision};
use acerust::structure::Structure;

#[test]
fn a_plan_at_other_conditions_is_that_of_the_library() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/test/mace/");
    let heads = Model::load(format!("{folder}two_heads.json")).unwrap();
    let ions = Model::load(format!("{folder}nonlinear.json")).unwrap();
    let (charge, spin, name) = (1, 2, c("b"));
    let nothing = acerust_conditions {
        size: size_of::<acerust_conditions>(),
        head: null(),
        total_charge: null(),
        total_spin: null(),
    };
    let head = acerust_conditions { head: name.as_ptr(), ..nothing };
    let ion = acerust_conditions { total_charge: &charge, total_spin: &spin, ..nothing };
    let mut seen = Vec::new();
    for (model, given, conditions) in [
        (&heads, nothing, Conditions::new()),
        (&heads, head, Conditions::new().head("b")),
        (&ions, nothing, Conditions::new()),
        (&ions, ion, Conditions::new().total_charge(1).total_spin(2)),
    ] {
        let mut structure = Structure::bcc(model.species()[0], 3.3).rattle(0.2, 1);
        structure.numbers[1] = model.species()[1];
        let plan = Plan::new(model, Device::Cpu, Precision::F64).unwrap().at(&conditions).unwrap();
        let own = super::call::plan(&super::call::model(model));
        let mut out = null_mut();
        ok!(acerust_plan_at(own.0, &given, &mut out));
        let found = Results::of_structure(&OwnedPlan(out), &Atoms::new(&structure));
        assert_eq!(found.energy, plan.energy(&structure).unwrap());
        seen.push(found.energy);
    }
    assert!(seen[0] != seen[1] && seen[2] != seen[3], "{seen:?}");

    let own = plan(&model(&heads));
    let mut out = null_mut();
    let wrong = c("c");
    let unknown = acerust_conditions { head: wrong.as_ptr(), ..nothing };
    let message = "argument: head `c`: the model has a, b";
    fails!(ACERUST_ERROR_ARGUMENT, message, acerust_plan_at(own.0, &unknown, &mut out));
    fails!(ACERUST_ERROR_ARGUMENT, "argument: conditions is null", acerust_plan_at(own.0, null(), &mut out));
    let site =
        plan(&model(&Model::load(concat!(env!("CARGO_MANIFEST_DIR"), "/benchmark/models/si_fit.json")).unwrap()));
    let message = "argument: the potential knows no heads, charges or spins";
    fails!(ACERUST_ERROR_ARGUMENT, message, acerust_plan_at(site.0, &head, &mut out));
    assert!(out.is_null());
}
