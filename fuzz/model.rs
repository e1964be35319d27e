//! Model files, and the reference files that hold models.

use acerust::Error;
use acerust::model::Model;
use acerust::plan::{Device, Options, Outputs, Plan, Precision, RadialMode};
use acerust::structure::Structure;

#[allow(dead_code)]
#[path = "../test/model/small.rs"]
pub mod small;

pub fn seeds() -> Vec<Vec<u8>> {
    let text = small::model().to_string().into_bytes();
    let tensors = Model::from_json(&text).and_then(|model| model.to_safetensors()).expect("a model");
    vec![text, tensors]
}

/// A model that is accepted is written and read unchanged, and can be evaluated.
pub fn target(input: &[u8]) -> bool {
    // Checkpoints have a target of their own.
    let Some(model) = Model::from_bytes(input, "").ok().filter(|model| model.mace().is_none()) else { return false };
    let again = Model::from_json(model.to_json()).expect("what we write is what we read");
    assert_eq!(model, again);
    let again = Model::from_bytes(&model.to_safetensors().expect("no MACE model"), "").expect("likewise");
    assert_eq!(model, again);
    let _ = model.summary();
    // Exactly: tables of wild transforms take long to build, and say nothing about the file.
    let options = Options::new().radial(RadialMode::Exact);
    let plan = Plan::with_options(&model, Device::Cpu, Precision::F64, options).expect("a valid model has a plan");
    let numbers = vec![model.species()[0], *model.species().last().expect("a species")];
    let positions = vec![[0.0; 3], [1.3, 0.7, -1.1]];
    let pair = Structure { numbers, positions, ..Structure::default() };
    if plan.rcut() > 1e3 {
        return true;
    }
    let (mut energy, mut forces) = (f64::NAN, [[f64::NAN; 3]; 2]);
    match plan.evaluate(&pair, &mut Outputs::new().energy(&mut energy).forces(&mut forces)) {
        Ok(()) => assert!(energy.is_finite() && forces.as_flattened().iter().all(|f| f.is_finite())),
        // Wild numbers are legal, what follows from them need not be.
        Err(Error::NotFinite(_)) => {}
        Err(e) => panic!("its own elements: {e}"),
    }
    true
}

pub fn reference_seeds() -> Vec<Vec<u8>> {
    // Whole files are too long to mutate; without their structures they say as much about the reader.
    let text = include_str!("../test/golden/si_o3.json");
    let mut json: serde_json::Value = serde_json::from_str(text).expect("JSON");
    json["structures"] = serde_json::Value::Array(Vec::new());
    vec![json.to_string().into_bytes()]
}

pub fn reference_target(input: &[u8]) -> bool {
    Model::from_reference_json(input).is_ok()
}
