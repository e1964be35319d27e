//! Models across the ABI: loading, saving, sizes, parts.

use crate::call::*;
use crate::common::{golden, only};
use acerust::model::Model;

fn back(handle: *mut acerust_model) -> Model {
    let handle = OwnedModel(handle);
    // SAFETY: `text` passes pointers and lengths that fit.
    let json = text(|buffer, n, needed| unsafe { acerust_model_to_json(handle.0, buffer.cast(), n, needed) });
    Model::from_json(json).unwrap()
}

#[test]
fn models_come_and_go_unchanged() {
    let root = env!("CARGO_MANIFEST_DIR");
    let path = format!("{root}/benchmark/models/si_fit.json");
    let expected = Model::load(&path).unwrap();
    let mut out = null_mut();
    ok!(acerust_model_load(c(&path).as_ptr(), &mut out));
    let file = tempfile();
    ok!(acerust_model_save(out, c(&file).as_ptr()));
    assert_eq!(back(out), expected);
    assert_eq!(Model::load(&file).unwrap(), expected);
    std::fs::remove_file(&file).unwrap();

    let text = std::fs::read(&path).unwrap();
    ok!(acerust_model_from_json(text.as_ptr().cast(), text.len(), &mut out));
    assert_eq!(back(out), expected);
    for file in ["si-rank4.yace", "cuzr-zbl.yaml"] {
        let path = format!("{root}/test/golden/pace/{file}");
        ok!(acerust_model_load(c(&path).as_ptr(), &mut out));
        assert_eq!(back(out), Model::load(&path).unwrap());
    }
    let reference = std::fs::read(format!("{root}/test/golden/tial_o3.json")).unwrap();
    ok!(acerust_model_from_reference_json(reference.as_ptr().cast(), reference.len(), &mut out));
    assert_eq!(back(out), Model::from_reference_json(&reference).unwrap());
}

fn tempfile() -> String {
    let name = format!("acerust-capi-{}.json", std::process::id());
    std::env::temp_dir().join(name).to_str().expect("UTF-8").to_owned()
}

#[test]
fn sizes_and_texts() {
    let expected = golden("sio_o3").model;
    let handle = model(&expected);
    let mut sizes = [0; 4];
    ok!(acerust_model_n_species(handle.0, &mut sizes[0]));
    ok!(acerust_model_n_parts(handle.0, &mut sizes[1]));
    ok!(acerust_model_n_basis(handle.0, &mut sizes[2]));
    ok!(acerust_model_length_basis(handle.0, &mut sizes[3]));
    let p = expected.length_basis();
    assert_eq!(sizes, [2, 3, p / 2, p]);
    let (mut rcut, mut species) = (0.0, [0; 2]);
    ok!(acerust_model_rcut(handle.0, &mut rcut));
    ok!(acerust_model_species(handle.0, species.as_mut_ptr(), 2));
    assert_eq!((rcut, species), (expected.rcut(), [14, 8]));
    // SAFETY, here and below: `text` passes pointers and lengths that fit.
    let summary = text(|buffer, n, needed| unsafe { acerust_model_summary(handle.0, buffer.cast(), n, needed) });
    assert_eq!(summary, expected.summary());
    let name = text(|buffer, n, needed| unsafe { acerust_model_name(handle.0, buffer.cast(), n, needed) });
    assert_eq!(name, expected.spec().name);
    for (p, part) in expected.spec().parts.iter().enumerate() {
        let kind = text(|buffer, n, needed| unsafe { acerust_model_part_kind(handle.0, p, buffer.cast(), n, needed) });
        let mut n_basis = 99;
        ok!(acerust_model_part_n_basis(handle.0, p, &mut n_basis));
        assert_eq!((kind.as_str(), n_basis), (part.kind(), part.n_basis()));
    }
}

#[test]
fn parts_become_models() {
    let whole = golden("sio_o3").model;
    let handle = model(&whole);
    for (p, kind) in ["onebody", "pair", "ace"].into_iter().enumerate() {
        let mut out = null_mut();
        ok!(acerust_model_extract(handle.0, &p, 1, &mut out));
        assert_eq!(back(out), only(&whole, kind));
    }
    let mut out = null_mut();
    let parts = [2, 0];
    ok!(acerust_model_extract(handle.0, parts.as_ptr(), 2, &mut out));
    let kinds: Vec<_> = back(out).spec().parts.iter().map(|p| p.kind()).collect();
    assert_eq!(kinds, ["ace", "onebody"]);
}

#[test]
fn versions() {
    assert_eq!(acerust_abi_version(), 2);
    // SAFETY: a string of the library that ends in NUL.
    let version = unsafe { std::ffi::CStr::from_ptr(acerust_version()) };
    assert_eq!(version.to_str(), Ok(env!("CARGO_PKG_VERSION")));
}

#[test]
fn messages_are_cut_between_characters() {
    // SAFETY: a string that ends in NUL.
    let status = unsafe { acerust_model_load(c("/no/où/model.json").as_ptr(), &mut null_mut()) };
    assert_eq!(status, ACERUST_ERROR_IO);
    let whole = last_error();
    assert!(whole.starts_with("/no/où/model.json: "), "{whole}");
    let u = whole.find('ù').unwrap();
    for (length, kept) in [(1, 0), (u + 1, u), (u + 2, u), (u + 3, u + 2), (whole.len(), whole.len() - 1)] {
        let mut bytes = vec![1_u8; length];
        // SAFETY: the length is the buffer's.
        assert_eq!(unsafe { acerust_last_error(bytes.as_mut_ptr().cast(), length) }, whole.len() + 1);
        assert_eq!((&bytes[..kept], bytes[kept]), (&whole.as_bytes()[..kept], 0));
    }
    // SAFETY: a length of 0 leaves the buffer alone.
    assert_eq!(unsafe { acerust_last_error(&mut 7, 0) }, whole.len() + 1);
}

#[test]
fn devices() {
    let mut n = 0;
    ok!(acerust_n_devices(ACERUST_CPU, &mut n));
    assert_eq!(n, 1);
    ok!(acerust_n_devices(ACERUST_CUDA, &mut n));
    assert_eq!(n, acerust::plan::Device::n_cuda());
    let (handle, mut out) = (model(&golden("si_o3").model), null_mut());
    let index = n.try_into().unwrap();
    // SAFETY: a model and a place for the plan.
    let status = unsafe { acerust_plan_new(handle.0, ACERUST_CUDA, index, ACERUST_F64, null(), &mut out) };
    assert_eq!(status, ACERUST_ERROR_DEVICE, "there is one more");
    fails!(ACERUST_ERROR_ARGUMENT, "argument: no device 2", acerust_n_devices(2, &mut n));
    fails!(ACERUST_ERROR_ARGUMENT, "argument: out is null", acerust_n_devices(ACERUST_CPU, null_mut()));
}

#[test]
fn symbols() {
    let mut number = 0;
    ok!(acerust_atomic_number(c("Si").as_ptr(), &mut number));
    assert_eq!(number, 14);
    let message = "argument: no element has the symbol si";
    fails!(ACERUST_ERROR_ARGUMENT, message, acerust_atomic_number(c("si").as_ptr(), &mut number));
    fails!(ACERUST_ERROR_ARGUMENT, "argument: out is null", acerust_atomic_number(c("Si").as_ptr(), null_mut()));
    fails!(ACERUST_ERROR_ARGUMENT, "argument: symbol is null", acerust_atomic_number(null(), &mut number));
}
