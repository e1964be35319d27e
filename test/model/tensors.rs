//! Models as safetensors: the same, bit by bit, and nothing that a text could not be.

use super::{golden, small};
use acerust::model::Model;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::HashMap;

fn bytes(model: &Model) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    model.save(&path).unwrap();
    assert_eq!(Model::load(&path).unwrap(), *model);
    let bytes = std::fs::read(&path).unwrap();
    assert!(bytes == model.to_safetensors().unwrap());
    bytes
}

#[test]
fn models_survive_as_tensors() {
    for name in ["si_o3", "sio_o3", "sio_spl", "tial_o3", "hea_bench"] {
        let model = golden(name);
        let file = bytes(&model);
        assert_eq!(Model::from_bytes(&file, "").unwrap().to_json(), model.to_json(), "{name}");
        let (_, metadata) = SafeTensors::read_metadata(&file).unwrap();
        let text = &metadata.metadata().as_ref().unwrap()["model"];
        assert!(text.len() < 8192 && file.len() < model.to_json().len(), "{name}: {}, {}", text.len(), file.len());
    }
    // With embeddings, cores, several densities.
    for name in ["si-rank4.yace", "cuzr-zbl.yaml"] {
        let path = format!("test/golden/pace/{name}");
        if std::path::Path::new(&path).exists() {
            let model = Model::load(&path).unwrap();
            assert_eq!(Model::from_bytes(&bytes(&model), "").unwrap(), model, "{name}");
        }
    }
    // What is short stays in the text.
    let small = Model::from_json(small::model().to_string()).unwrap();
    assert_eq!(Model::from_bytes(&bytes(&small), "").unwrap(), small);
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    let file = bytes(&golden("sio_o3"));
    let (_, metadata) = SafeTensors::read_metadata(&file).unwrap();
    let text = metadata.metadata().as_ref().unwrap()["model"].clone();
    let all = SafeTensors::deserialize(&file).unwrap();
    let (mut reals, mut lists) = (None, None);
    for (name, view) in all.iter() {
        match view.dtype() {
            Dtype::F64 if view.shape().len() == 1 => reals = Some(name.to_owned()),
            _ if name.ends_with(".lengths") => lists = name.strip_suffix(".lengths").map(str::to_owned),
            _ => {}
        }
    }
    let (reals, lists) = (reals.expect("a vector of reals"), lists.expect("lists of several lengths"));
    type Tensors = HashMap<String, (Dtype, Vec<usize>, Vec<u8>)>;
    let refusal = |text: &str, change: &dyn Fn(&mut Tensors)| {
        let mut tensors: Tensors =
            all.iter().map(|(name, t)| (name.to_owned(), (t.dtype(), t.shape().to_vec(), t.data().to_vec()))).collect();
        change(&mut tensors);
        let views =
            tensors.iter().map(|(name, (t, shape, data))| (name, TensorView::new(*t, shape.clone(), data).unwrap()));
        let metadata = HashMap::from([("model".to_owned(), text.to_owned())]);
        let file = safetensors::serialize(views, Some(metadata)).unwrap();
        Model::from_bytes(&file, "").map(|_| String::new()).unwrap_or_else(|e| e.to_string())
    };
    let expect = |culprit: &str, change: &dyn Fn(&mut Tensors)| {
        let message = refusal(&text, change);
        assert!(message.contains(culprit), "{culprit}: {message}");
    };
    assert_eq!(refusal(&text, &|_| {}), "", "unchanged it is a model");
    let key = reals.rsplit('.').next().unwrap();
    expect(&format!("missing field `{key}`"), &|t| drop(t.remove(&reals)));
    expect("its lists have 0 numbers", &|t| t.get_mut(&format!("{lists}.lengths")).unwrap().2.fill(0));
    expect("numbers of the type F32 are not read", &|t| {
        let (dtype, shape, _) = t.get_mut(&reals).unwrap();
        (*dtype, shape[0]) = (Dtype::F32, 2 * shape[0]);
    });
    expect("not finite", &|t| t.get_mut(&reals).unwrap().2.fill(0xff));
    // Deep enough to end a program that drops it depth by depth.
    expect("of 100000 dimensions", &|t| drop(t.insert(reals.clone(), (Dtype::F64, vec![1; 100_000], vec![0; 8]))));
    expect("its shape is [0]", &|t| drop(t.insert(reals.clone(), (Dtype::F64, vec![0], vec![]))));
    for (name, culprit) in
        [("parts.99.A", "no such place"), ("A", "unknown field `A`"), ("", "unknown field ``"), ("name", "twice")]
    {
        expect(culprit, &|t| drop(t.insert(name.into(), (Dtype::F64, vec![1], vec![0; 8]))));
    }
    let other = text.replace("acerust-model/1", "acerust-model/9");
    assert!(refusal(&other, &|_| {}).contains("acerust-model/9"));
    assert!(refusal("[]", &|_| {}).contains("no such place"));
    assert!(refusal("{", &|_| {}).contains("safetensors: model: "));
    // Cut anywhere it is an error, never a panic.
    (0..file.len()).step_by(97).for_each(|n| assert!(Model::from_bytes(&file[..n], "").is_err(), "{n} bytes"));
}
