//! The model file: golden models, every validation error, hostile files.

use acerust::model::Model;

/// Name, sizes n_basis of pair and ACE.
const GOLDEN: [(&str, usize, usize); 8] = [
    ("si_o3", 8, 54),
    ("sio_o2", 8, 31),
    ("sio_o3", 10, 110),
    ("tial_o3", 8, 54),
    ("sio_spl", 8, 54),
    ("si_fit", 8, 286),
    ("si_bench", 12, 211),
    ("hea_bench", 10, 110),
];

fn golden(name: &str) -> Model {
    let path = format!("{}/test/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    Model::from_reference_json(std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn golden_models_convert_and_round_trip() {
    for (name, pair, ace) in GOLDEN {
        let model = golden(name);
        assert_eq!(model.spec().name, name);
        assert!(model.spec().source.starts_with("ACEpotentials.jl 0.10.1"));
        let n_basis: Vec<_> = model.spec().parts.iter().map(|part| part.n_basis()).collect();
        assert_eq!(n_basis, [0, pair, ace], "{name}");
        assert_eq!(model.length_basis(), model.species().len() * (pair + ace));
        assert_eq!(Model::from_json(model.to_json()).unwrap(), model, "{name}");
    }
}
