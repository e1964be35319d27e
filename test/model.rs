//! The model file: golden models, every validation error, hostile files.

#[path = "model/hostile.rs"]
mod hostile;
#[path = "model/schema.rs"]
mod schema;
#[path = "model/small.rs"]
mod small;
#[path = "model/tensors.rs"]
mod tensors;
#[path = "model/validation.rs"]
mod validation;

use acerust::Error;
use acerust::model::spec::{FunctionsSpec, PartSpec};
use acerust::model::{MAX_FILE_BYTES, Model};
use std::path::{Path, PathBuf};

/// Name, species, n_basis of the pair and of the many-body part, and the order of the latter.
const GOLDEN: [(&str, &[u8], usize, usize, usize); 8] = [
    ("si_o3", &[14], 8, 54, 3),
    ("sio_o2", &[14, 8], 8, 31, 2),
    ("sio_o3", &[14, 8], 10, 110, 3),
    ("tial_o3", &[22, 13], 8, 54, 3),
    ("sio_spl", &[14, 8], 8, 54, 3),
    ("si_fit", &[14], 8, 286, 3),
    ("si_bench", &[14], 12, 211, 3),
    ("hea_bench", &[24, 25, 26, 27, 28], 10, 110, 3),
];

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn golden(name: &str) -> Model {
    Model::from_reference_json(read(&format!("test/golden/{name}.json"))).unwrap()
}

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

#[test]
fn golden_models_convert_and_round_trip() {
    for (name, species, pair, ace, order) in GOLDEN {
        let model = golden(name);
        assert_eq!(model.spec().name, name);
        assert!(model.spec().source.starts_with("ACEpotentials.jl 0.10.1"));
        assert_eq!(model.species(), species);
        assert_eq!(model.rcut(), if name == "tial_o3" { 6.0 } else { 5.5 });
        let n_basis: Vec<_> = model.spec().parts.iter().map(PartSpec::n_basis).collect();
        assert_eq!(n_basis, [0, pair, ace], "{name}");
        assert_eq!(model.length_basis(), species.len() * (pair + ace));
        let PartSpec::Ace(ace) = &model.spec().parts[2] else { panic!("{name}: part 2 is not ace") };
        assert_eq!(ace.order(), order);
        let splined = matches!(&ace.radial.functions, FunctionsSpec::Spline { tables } if tables[0].values.len() == 60);
        assert_eq!(splined, name == "sio_spl");
        assert_eq!(Model::from_json(model.to_json()).unwrap(), model, "{name}");
    }
}

/// Against the raw JSON: no number is lost or bent on the way from a reference file to a model file.
#[test]
fn golden_numbers_arrive_unchanged() {
    for (name, ..) in GOLDEN {
        let reference: serde_json::Value = serde_json::from_str(&read(&format!("test/golden/{name}.json"))).unwrap();
        let model: serde_json::Value = serde_json::from_str(&golden(name).to_json()).unwrap();
        let [onebody, pair, ace] = [0, 1, 2].map(|p| &model["parts"][p]);
        assert_eq!(onebody["E0"], reference["onebody"]["E0"]);
        for (part, key) in [(pair, "pair"), (ace, "ace")] {
            let (radial, origin) = (&part["radial"], &reference[key]["radial"]);
            assert_eq!(part["rcut"], reference["rcut"]);
            assert_eq!(part["weights"], reference[key]["W"]);
            assert_eq!(radial["transforms"], origin["transform"]);
            assert_eq!(radial["envelopes"].as_array().unwrap().len(), origin["transform"].as_array().unwrap().len());
            assert!(radial["envelopes"].as_array().unwrap().iter().all(|e| e == &origin["envelope"]));
            if let Some(splines) = origin.get("splines") {
                assert_eq!(&radial["functions"]["tables"], splines);
                continue;
            }
            assert_eq!(radial["functions"]["W"], origin["W"]);
            assert!(["A", "B", "C"].iter().all(|k| radial["functions"][k] == origin["polys"][k]));
        }
        assert_eq!(ace["radial"]["spec"], reference["ace"]["radial"]["spec"]);
        assert!(["A", "AA", "C"].iter().all(|k| ace[k] == reference["ace"][k]), "{name}");
        assert!(["kind", "lmax"].iter().all(|k| ace["angular"][k] == reference["ace"]["angular"][k]), "{name}");
    }
}

#[test]
fn benchmark_models_are_conversions_of_golden_files() {
    for name in ["si_fit", "si_bench", "hea_bench", "sio_o2"] {
        let file = read(&format!("benchmark/models/{name}.json"));
        assert!(file == golden(name).to_json() + "\n", "{name}: convert the golden file again");
    }
}

#[test]
fn linear_parameters_are_species_major_and_parts_follow_one_another() {
    let mut model = golden("sio_o2");
    let (n_pair, n_ace) = (8, 31);
    let theta = model.linear_parameters();
    let PartSpec::Ace(ace) = &model.spec().parts[2] else { unreachable!() };
    assert_eq!(theta[2 * n_pair + n_ace + 3], ace.weights[1][3]);
    let PartSpec::Pair(pair) = &model.spec().parts[1] else { unreachable!() };
    assert_eq!(theta[n_pair + 5], pair.weights[1][5]);

    let other: Vec<f64> = (0..theta.len()).map(|p| p as f64).collect();
    model.set_linear_parameters(&other).unwrap();
    assert_eq!(model.linear_parameters(), other);
    model.set_linear_parameters(&theta).unwrap();
    assert_eq!(model, golden("sio_o2"));

    let mut bad = other;
    bad[17] = f64::NAN;
    let error = |model: &mut Model, theta: &[f64]| model.set_linear_parameters(theta).unwrap_err().to_string();
    assert_eq!(error(&mut model, &bad), "argument: linear parameters[17]: NaN is not finite");
    assert_eq!(error(&mut model, &bad[1..]), "argument: linear parameters: expected 78, got 77");
    assert_eq!(model, golden("sio_o2"), "a refused set leaves the model alone");
}

#[test]
fn species_and_summary() {
    let model = golden("tial_o3");
    assert_eq!([22, 13, 14].map(|z| model.species_index(z)), [Some(0), Some(1), None]);
    let summary = model.summary();
    assert!(summary.starts_with("tial_o3: Ti Al, cutoff 6 Å, 124 linear parameters\n"), "{summary}");
    let ace = "2 ace: cutoff 6 Å, 12 polynomials, spherical harmonics, lmax 3, order 3, n_R 13 of 22, n_A 25, n_AA 84, n_B 54";
    assert!(summary.contains(ace), "{summary}");
    // 2 E0, then 36 coefficients of polynomials and 4 matrices of n_t × 12 in each part, 124 weights; 25 A; 84 AA; 84 entries of C.
    let PartSpec::Ace(part) = &model.spec().parts[2] else { unreachable!() };
    let factors: usize = part.aa.iter().map(Vec::len).sum();
    let numbers = 2 + (36 + 4 * 8 * 12) + (36 + 4 * 22 * 12) + 124;
    assert_eq!(model.memory(), 8 * numbers + 8 * 25 + 4 * factors + 16 * part.c.vals.len());
}

#[test]
fn files_are_saved_as_a_whole_and_loaded_again() {
    let dir = scratch("model-save");
    let (path, model) = (dir.join("model.json"), golden("sio_spl"));
    golden("si_o3").save(&path).unwrap();
    model.save(&path).unwrap();
    assert_eq!(Model::load(&path).unwrap(), model);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1, "nothing but the model is left behind");

    // A directory cannot be replaced by a file: the target stays, and nothing is left beside it.
    let taken = dir.join("taken");
    std::fs::create_dir_all(taken.join("inside")).unwrap();
    for bad in [taken.clone(), dir.join("missing/model.json"), dir.join("..")] {
        let error = model.save(&bad).unwrap_err();
        assert!(matches!(&error, Error::Io { path, .. } if *path == bad), "{error}");
    }
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 2);
}

#[test]
fn load_names_the_file() {
    let dir = scratch("model-load");
    let missing = dir.join("missing.json");
    assert!(matches!(Model::load(&missing), Err(Error::Io { path, .. }) if path == missing));
    assert!(matches!(Model::load(&dir), Err(Error::Io { .. })), "a directory");
    let path = dir.join("bad.json");
    std::fs::write(&path, r#"{"format": "acerust-model/1", "name": "x", "species": [], "parts": []}"#).unwrap();
    let message = format!("model: {}: species: a model has at least one", path.display());
    assert_eq!(Model::load(&path).unwrap_err().to_string(), message);
}

#[test]
fn long_files_are_refused_unread() {
    let zeros = vec![0_u8; MAX_FILE_BYTES as usize + 1];
    assert_eq!(Model::from_json(&zeros).unwrap_err().to_string(), "model: the file is longer than 256 MiB");
}

#[test]
fn reference_files_are_checked_too() {
    let json = read("test/golden/si_o3.json");
    let broken = |from: &str, to: &str| {
        assert_eq!(json.matches(from).count(), 1, "{from}");
        Model::from_reference_json(json.replace(from, to)).unwrap_err().to_string()
    };
    assert_eq!(
        broken("acerust-reference/1", "acerust-reference/9"),
        "model: format: 'acerust-reference/9' is unknown; this version reads 'acerust-reference/1'"
    );
    let order = "model: ace.angular.lm: expected [0,0], [1,-1], [1,0], [1,1] … [4,4]";
    assert_eq!(broken("[[0,0],[1,-1],[1,0],[1,1]", "[[0,0],[1,0],[1,-1],[1,1]"), order);
    assert!(broken("\"onebody\":{\"E0\"", "\"one_body\":{\"E0\"").contains("unknown field `one_body`"));
    assert_eq!(
        broken("\"species\":[14]", "\"species\":[119]"),
        "model: species[0]: 119 is not an atomic number in 1 … 118"
    );
}
