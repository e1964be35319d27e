//! `basis`: design rows in NumPy's format.

use super::{fails, ok, prepare};
use crate::common::evaluate::energy_forces_virial;
use crate::common::{assert_close, flat, golden, only};
use acerust::model::Model;
use acerust::plan::{Device, Plan, Precision};
use std::io::Read;
use std::path::Path;

/// Shape and numbers of an array, as the format says: magic, version, length, dictionary, numbers.
fn array(path: &Path, name: &str, dtype: &str) -> (Vec<usize>, Vec<[u8; 8]>) {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
    let mut bytes = Vec::new();
    archive.by_name(&format!("{name}.npy")).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let start = 10 + u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    assert_eq!((start % 64, bytes[start - 1]), (0, b'\n'));
    let header = std::str::from_utf8(&bytes[10..start]).unwrap();
    assert!(header.contains(&format!("'descr': '{dtype}', 'fortran_order': False")), "{header}");
    let (_, shape) = header.split_once('(').unwrap();
    let shape: Vec<usize> =
        shape.split_once(')').unwrap().0.split_terminator(',').map(|n| n.trim().parse().unwrap()).collect();
    let numbers = bytes[start..].as_chunks().0.to_vec();
    assert_eq!(shape.iter().product::<usize>(), numbers.len(), "{name}");
    (shape, numbers)
}

fn reals(path: &Path, name: &str) -> (Vec<usize>, Vec<f64>) {
    let (shape, numbers) = array(path, name, "<f8");
    (shape, numbers.into_iter().map(f64::from_le_bytes).collect())
}

#[test]
fn golden_rows_come_out() {
    for kind in ["pair", "ace"] {
        let folder = prepare("sio_o3");
        let golden = golden("sio_o3");
        only(&golden.model, kind).save(folder.path().join("model.json")).unwrap();
        ok(folder.path(), &["basis", "model.json", "in.extxyz", "-o", "rows.npz", "--radial", "exact"]);
        let path = folder.path().join("rows.npz");
        for name in ["energy_row", "force_rows", "virial_rows"] {
            let (shape, found) = reals(&path, name);
            // The first structure has reference rows, and comes first.
            let expected = flat(&golden.structures[0]["results"][kind][name]);
            assert_eq!(shape[1], only(&golden.model, kind).length_basis());
            assert_close(&format!("{kind}: {name}"), &found[..expected.len()], &expected, 1e-12);
        }
    }
}

#[test]
fn rows_times_parameters_are_energies_forces_and_virials() {
    let folder = prepare("sio_spl");
    ok(folder.path(), &["basis", "model.json", "in.extxyz", "-o", "rows.npz"]);
    let path = folder.path().join("rows.npz");
    let model = Model::load(folder.path().join("model.json")).unwrap();
    let theta = model.linear_parameters();
    let product = |name: &str| -> Vec<f64> {
        let (shape, rows) = reals(&path, name);
        assert_eq!(shape, [rows.len() / theta.len(), theta.len()]);
        rows.chunks(theta.len()).map(|row| row.iter().zip(&theta).map(|(a, b)| a * b).sum()).collect()
    };
    let (energies, forces, virials) = (product("energy_row"), product("force_rows"), product("virial_rows"));
    let (shape, offsets) = array(&path, "row_offsets", "<i8");
    let offsets: Vec<usize> = offsets.into_iter().map(|x| i64::from_le_bytes(x) as usize).collect();
    let structures: Vec<_> = golden("sio_spl").structures.iter().map(crate::common::structure).collect();
    assert_eq!((shape[0], offsets[structures.len()]), (structures.len() + 1, forces.len()));
    let plan = Plan::new(&model, Device::Cpu, Precision::F64).unwrap();
    let onebody = Plan::new(&only(&model, "onebody"), Device::Cpu, Precision::F64).unwrap();
    for (k, s) in structures.iter().enumerate() {
        let graph = plan.graph(s).unwrap();
        let (mut sites, mut f) = (vec![0.0; s.n_atoms()], vec![[0.0; 3]; s.n_atoms()]);
        let (energy, virial) = energy_forces_virial(&plan, (&graph, &s.numbers), &mut sites, &mut f).unwrap();
        let linear = energy - onebody.energy((&graph, &s.numbers)).unwrap();
        assert_close("energy", &[energies[k]], &[linear], 1e-9);
        assert_close("forces", &forces[offsets[k]..offsets[k + 1]], f.as_flattened(), 1e-9);
        assert_close("virial", &virials[9 * k..9 * k + 9], virial.as_flattened(), 1e-9);
    }
}

#[test]
fn rows_need_parameters_and_a_file() {
    let folder = prepare("si_o3");
    only(&golden("si_o3").model, "onebody").save(folder.path().join("onebody.json")).unwrap();
    let error = fails(folder.path(), &["basis", "onebody.json", "in.extxyz", "-o", "rows.npz"], 1);
    assert!(error.contains("onebody.json: the model has no linear parameters"), "{error}");
    let error = fails(folder.path(), &["basis", "model.json", "in.extxyz", "-o", "/dev/null"], 1);
    assert!(error.contains("/dev/null: not a file"), "{error}");
}
