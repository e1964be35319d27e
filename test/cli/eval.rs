//! `convert`, `info` and `eval`.

use super::{fails, file, ok, piped, prepare};
use crate::common::{NAMES, assert_close, flat, golden};
use acerust::extxyz::{self, Data, Keys, Value};
use acerust::model::Model;
use serde_json::Value as Json;

fn lines(text: &str) -> Vec<Json> {
    text.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
}

#[test]
fn golden_results_come_out_part_by_part() {
    for name in NAMES {
        let folder = prepare(name);
        for (radial, tolerance) in [("exact", 1e-12), ("table=1e-10", 1e-9)] {
            let text = ok(folder.path(), &["eval", "model.json", "in.extxyz", "--json", "--parts", "--radial", radial]);
            let golden = golden(name);
            let found = lines(&text);
            assert_eq!(found.len(), golden.structures.len());
            for (found, structure) in found.iter().zip(&golden.structures) {
                let mut energy = 0.0;
                for kind in ["onebody", "pair", "ace"] {
                    let (part, expected) = (&found["parts"][kind], &structure["results"][kind]);
                    for what in ["site_energies", "forces", "virial"] {
                        let label = format!("{name}: {kind}: {what}");
                        assert_close(&label, &flat(&part[what]), &flat(&expected[what]), tolerance);
                    }
                    energy += part["energy"].as_f64().expect("a number");
                }
                let total = found["energy"].as_f64().expect("a number");
                assert!((total - energy).abs() <= 1e-11 * total.abs(), "{name}: {total} and {energy}");
                assert_close(name, &[flat(&found["site_energies"]).iter().sum()], &[total], 1e-14);
            }
        }
    }
}

#[test]
fn precision_and_threads_change_what_they_should() {
    let folder = prepare("si_bench");
    let eval = |more: &[&str]| ok(folder.path(), &[&["eval", "model.json", "in.extxyz", "--json"], more].concat());
    let double = eval(&["--threads", "1"]);
    assert_eq!(double, eval(&["--threads", "3"]), "results depend on the number of threads");
    let single = eval(&["--precision", "f32"]);
    assert_ne!(double, single);
    let (double, single) = (lines(&double), lines(&single));
    assert_close("forces in f32", &flat(&single[0]["forces"]), &flat(&double[0]["forces"]), 2e-5);
}

#[test]
fn a_written_frame_keeps_all_that_was_read() {
    let folder = prepare("si_o3");
    let input = "2\n\
        Lattice=\"6 0 0 0 6 0 0 0 6\" Properties=species:S:1:tag:I:1:pos:R:3:forces:R:3:note:S:1:nan:R:1 \
        pbc=\"T T F\" a=1 energy=-1.5 ref_virial=T stress=\"1 2 3 4 5 6\" virial=oops config_type=x ref_energy=7 REF_energy=9\n\
        Si 4 0 0 0 1 2 3 p NaN\n\
        Si 5 2.3 0.1 0 4 5 6 q inf\n";
    std::fs::write(folder.path().join("in.extxyz"), input).unwrap();
    ok(folder.path(), &["eval", "model.json", "in.extxyz", "-o", "out.extxyz"]);
    assert_eq!(std::fs::read_to_string(folder.path().join("in.extxyz")).unwrap(), input);
    let frame = &extxyz::read(folder.path().join("out.extxyz"), &Keys::default()).unwrap()[0];
    let json = &lines(&ok(folder.path(), &["eval", "model.json", "in.extxyz", "--json"]))[0];
    // Every bit of the results comes back from the text.
    assert_eq!(frame.energy, json["energy"].as_f64());
    assert_eq!(frame.forces.as_ref().unwrap().as_flattened(), flat(&json["forces"]));
    assert_eq!(frame.virial.unwrap().as_flattened(), flat(&json["virial"]));
    assert_eq!(frame.structure.pbc, [true, true, false]);
    assert_eq!(frame.structure.positions[1], [2.3, 0.1, 0.0]);
    let keys: Vec<_> = frame.info.keys().map(String::as_str).collect();
    let expected =
        ["a", "ref_energy_2", "ref_virial", "ref_stress", "ref_virial_2", "config_type", "ref_energy", "REF_energy"];
    let (keys, ours) = keys.split_at(expected.len());
    assert_eq!(ours, ["free_energy", "stress"]);
    assert_eq!(keys, expected);
    assert_eq!(frame.info["ref_energy_2"], Value::Real(-1.5));
    assert_eq!(frame.info["ref_energy"], Value::Int(7));
    assert_eq!(frame.info["ref_virial_2"], Value::Text("oops".into()));
    let names: Vec<_> = frame.arrays.keys().map(String::as_str).collect();
    assert_eq!(names, ["tag", "ref_forces", "note", "nan"]);
    assert_eq!(frame.arrays["ref_forces"].data, Data::Real(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));

    // Once more, onto itself: the first results are set aside as well.
    ok(folder.path(), &["eval", "model.json", "out.extxyz", "-o", "out.extxyz"]);
    let again = &extxyz::read(folder.path().join("out.extxyz"), &Keys::default()).unwrap()[0];
    assert_eq!((again.energy, &again.forces), (frame.energy, &frame.forces));
    assert_eq!(again.info["ref_energy_3"].as_f64(), frame.energy);
    assert_eq!(super::entries(folder.path()).len(), 3, "a file is left over");
}

#[test]
fn other_programs_find_the_results_of_one_model() {
    let folder = prepare("si_o3");
    let input = "2\n\
        Lattice=\"6 0 0 0 6 0 0 0 6\" Properties=species:S:1:pos:R:3:energies:R:1:stresses:R:6 energy=-1.5 free_energy=-1.6 \
        stress=\"1 2 3 4 5 6\"\n\
        Si 0 0 0 1 1 2 3 4 5 6\n\
        Si 2.3 0.1 0 2 1 2 3 4 5 6\n";
    std::fs::write(folder.path().join("in.extxyz"), input).unwrap();
    for (more, columns) in [
        (&[][..], &["ref_energies", "ref_stresses"][..]),
        (&["--site-energies"], &["ref_energies", "ref_stresses", "energies"]),
    ] {
        let text = ok(folder.path(), &[&["eval", "model.json", "in.extxyz"], more].concat());
        let frame = &extxyz::parse(&text, &Keys::default()).unwrap()[0];
        let json = &lines(&ok(folder.path(), &["eval", "model.json", "in.extxyz", "--json"]))[0];
        assert_eq!(frame.info["free_energy"], Value::Real(frame.energy.unwrap()));
        assert_eq!(frame.info["ref_free_energy"], Value::Real(-1.6));
        let (stress, virial) = (frame.info["stress"].as_tensor().unwrap(), frame.virial.unwrap());
        let expected = virial.map(|row| row.map(|v| -v / 216.0));
        assert_close("stress", stress.as_flattened(), expected.as_flattened(), 1e-14);
        let names: Vec<_> = frame.arrays.keys().map(String::as_str).collect();
        assert_eq!(names, columns);
        if let Some(column) = frame.arrays.get("energies") {
            assert_eq!(column.data, Data::Real(flat(&json["site_energies"])));
        }
    }
    // Without a cell there is no stress.
    std::fs::write(folder.path().join("in.extxyz"), "1\n\nSi 0 0 0\n").unwrap();
    assert!(!ok(folder.path(), &["eval", "model.json", "in.extxyz"]).contains("stress"));
}

#[test]
fn files_follow_one_another_compressed_or_not_and_pipes_are_files() {
    use std::io::{Read, Write};
    let folder = prepare("si_o3");
    let at = folder.path();
    let whole = ok(at, &["eval", "model.json", "in.extxyz"]);
    let input = std::fs::read(at.join("in.extxyz")).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&input).unwrap();
    // The name does not matter, the contents do; two members are one file.
    let gzip = gzip.finish().unwrap();
    std::fs::write(at.join("zipped"), [&gzip[..], &gzip].concat()).unwrap();
    assert_eq!(ok(at, &["eval", "model.json", "zipped", "in.extxyz"]), whole.repeat(3));
    ok(at, &["eval", "model.json", "in.extxyz", "-o", "out.extxyz.gz"]);
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(at.join("out.extxyz.gz")).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, whole);

    let piped = |arguments: &[&str], input: &[u8]| piped(at, arguments, input);
    for input in [&input, &gzip] {
        assert_eq!(piped(&["eval", "model.json", "-", "-o", "-"], input).stdout, whole.as_bytes());
    }
    let model = std::fs::read(at.join("model.json")).unwrap();
    assert_eq!(piped(&["convert", "-", "-o", "-"], &model).stdout, model);
    assert_eq!(piped(&["eval", "-", "in.extxyz"], &model).stdout, whole.as_bytes());
    assert!(piped(&["basis", "model.json", "-", "-o", "rows.npz"], &input).status.success());
    ok(at, &["basis", "model.json", "in.extxyz", "-o", "same.npz"]);
    assert!(std::fs::read(at.join("rows.npz")).unwrap() == std::fs::read(at.join("same.npz")).unwrap());
    let output = piped(&["eval", "model.json", "-"], b"1\n\nXx 0 0 0\n");
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("standard input: line 3: "), "{message}");
}

#[test]
fn frames_keep_their_order_and_a_later_fault_spoils_nothing_before_it() {
    let folder = prepare("si_o3");
    let input: String = (0..700)
        .map(|k| format!("2\nPropErties=species:S:1:pos:R:3 k={k}\nSi 0 0 0\nSi 0 0 {}\n", 2.0 + k as f64 / 700.0))
        .collect();
    std::fs::write(folder.path().join("in.extxyz"), &input).unwrap();
    let text = ok(folder.path(), &["eval", "model.json", "in.extxyz"]);
    let frames = extxyz::parse(&text, &Keys::default()).unwrap();
    assert!(frames.iter().enumerate().all(|(k, f)| f.info["k"] == Value::Int(k as i64)) && frames.len() == 700);
    std::fs::write(folder.path().join("in.extxyz"), input + "2\n\nSi 0 0 0\n").unwrap();
    let error = fails(folder.path(), &["eval", "model.json", "in.extxyz", "-o", "out.extxyz"], 1);
    assert!(error.contains("in.extxyz: line 2801: 2 atoms announced, but the file ends after 1"), "{error}");
    assert_eq!(super::entries(folder.path()).len(), 2, "half a file is there");
}

#[test]
fn conversion_is_canonical() {
    let folder = prepare("sio_spl");
    let model = Model::load(folder.path().join("model.json")).unwrap();
    assert_eq!(model, golden("sio_spl").model);
    let again = ok(folder.path(), &["convert", "model.json"]);
    assert_eq!(again, std::fs::read_to_string(folder.path().join("model.json")).unwrap());
}

#[test]
fn info_names_elements_parts_and_sizes() {
    let model = file("benchmark/models/sio_o2.json");
    let folder = tempfile::tempdir().unwrap();
    let text = ok(folder.path(), &["info", &model]);
    for word in ["Si O", "5.5 Å", "onebody", "pair", "ace", "n_B 31", "linear parameters", "KiB"] {
        assert!(text.contains(word), "`{word}` is not in\n{text}");
    }
    let json: Json = serde_json::from_str(&ok(folder.path(), &["info", &model, "--json"])).unwrap();
    let expected = Model::load(&model).unwrap();
    assert_eq!(json["species"], serde_json::json!(["Si", "O"]));
    assert_eq!(json["n_parameters"], expected.length_basis());
    assert_eq!(json["rcut"], expected.rcut());
    assert_eq!(json["parts"][2]["n_basis"], 31);
    assert_eq!(json["parts"][2]["order"], 2);
    assert!(json["plan_bytes"].as_u64().unwrap() > 1000);
}
