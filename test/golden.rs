//! Everything that ACEpotentials.jl computed for the golden models and structures, in every way we compute it.

mod common;

use acerust::plan::Isa;
use acerust::plan::{Device, Options, Plan, Precision, RadialMode};
use common::compare::compare;
use common::evaluate::energy_forces_virial;
use common::{NAMES, golden, only};

/// A precision, a way to evaluate the radial functions, an instruction set; and the error that is allowed.
struct Case {
    precision: Precision,
    options: Options,
    tolerance: f64,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for isa in Isa::available() {
        let options = |radial| Options::new().radial(radial).isa(isa);
        let table = |tolerance| options(RadialMode::Table { tolerance });
        let exact = options(RadialMode::Exact);
        cases.push(Case { precision: Precision::F64, options: exact, tolerance: 1e-12 });
        cases.push(Case { precision: Precision::F64, options: table(1e-10), tolerance: 1e-9 });
        cases.push(Case { precision: Precision::F32, options: exact, tolerance: 2e-5 });
        cases.push(Case { precision: Precision::F32, options: table(1e-7), tolerance: 2e-5 });
    }
    cases
}

#[test]
fn golden_data_are_reproduced() {
    for name in NAMES {
        let golden = golden(name);
        for kind in ["onebody", "pair", "ace"] {
            let model = only(&golden.model, kind);
            for case in cases() {
                let label = format!("{name}, {kind}, {:?}, {:?}", case.precision, case.options);
                for s in &golden.structures {
                    let plan = Plan::with_options(&model, Device::Cpu, case.precision, case.options).unwrap();
                    compare(&label, &plan, case.tolerance, s, &s["results"][kind]);
                }
            }
        }
    }
}

#[test]
fn atoms_without_neighbours_have_their_one_body_energy() {
    let model = golden("sio_o2").model;
    let onebody = only(&model, "onebody");
    let structure = acerust::structure::Structure {
        numbers: vec![14, 8],
        positions: vec![[0.0; 3], [9.0; 3]],
        ..Default::default()
    };
    for case in cases() {
        let plan = |model| Plan::with_options(model, Device::Cpu, case.precision, case.options).unwrap();
        let expected = plan(&onebody).energy((&plan(&onebody).graph(&structure).unwrap(), &structure.numbers)).unwrap();
        let plan = plan(&model);
        let graph = plan.graph(&structure).unwrap();
        let (mut sites, mut forces) = ([f64::NAN; 2], [[f64::NAN; 3]; 2]);
        let (energy, virial) =
            energy_forces_virial(&plan, (&graph, &structure.numbers), &mut sites, &mut forces).unwrap();
        assert_eq!((energy, virial, forces), (expected, [[0.0; 3]; 3], [[0.0; 3]; 2]));
    }
}
