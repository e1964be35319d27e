//! Files: the neutral form, safetensors, checkpoints.

use super::models::{golden, here, read};
use acerust::mace::spec::{MaceSpec, Tensor};

/// Equal numbers, whether zeros are stored or not.
fn assert_same(a: &MaceSpec, b: &MaceSpec) {
    assert_eq!(a.config, b.config);
    assert_eq!(a.tensors.keys().collect::<Vec<_>>(), b.tensors.keys().collect::<Vec<_>>());
    let plain = |t: &Tensor| (t.shape.clone(), t.dtype, t.to_dense());
    for (name, t) in &a.tensors {
        assert!(plain(t) == plain(&b.tensors[name]), "{name}");
    }
}

#[test]
fn safetensors_keep_everything() {
    for path in golden() {
        let spec = MaceSpec::from_json(&read(&path)).unwrap();
        let bytes = spec.to_safetensors().unwrap();
        assert_same(&spec, &MaceSpec::from_safetensors(&bytes).unwrap());
        assert_eq!(bytes, spec.to_safetensors().unwrap(), "the same bytes every time");
    }
}

#[test]
fn a_checkpoint_gives_what_python_exports() {
    let spec = MaceSpec::from_checkpoint(&read(here("tiny.model"))).unwrap();
    assert_same(&spec, &MaceSpec::from_json(&read(here("tiny.json"))).unwrap());
}

/// A folder of checkpoints `x.model`, each beside the `x.safetensors` that `tools/mace/export.py` made of it.
#[test]
fn checkpoints_of_every_kind_give_what_python_exports() {
    let Some(dir) = std::env::var_os("ACERUST_MACE_CHECKPOINTS") else {
        eprintln!("SKIPPED: ACERUST_MACE_CHECKPOINTS names no folder with checkpoints");
        return;
    };
    let mut n = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "model") {
            let spec = MaceSpec::from_checkpoint(&read(&path)).unwrap();
            let exported = MaceSpec::from_safetensors(&read(path.with_extension("safetensors"))).unwrap();
            assert_same(&spec, &exported);
            n += 1;
        }
    }
    assert!(n > 0, "no checkpoints");
}
