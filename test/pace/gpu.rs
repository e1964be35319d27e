//! PACE potentials on a CUDA device. Without one every test says that it is skipped, unless `ACERUST_GPU=1` demands one.

use crate::common::assert_close;
use crate::common::evaluate::energy_forces_virial;
use crate::pace_golden::{Case, NAMES, Results, check, path, results, structures};
use crate::random;
use acerust::model::Model;
use acerust::plan::{ActiveSet, Device, Input, Neighbours, OnDevice, Options, Outputs, Plan, Precision, RadialMode};
use acerust::structure::Structure;
use cudarc::driver::{CudaContext, DevicePtr};

fn plan(model: &Model, precision: Precision, radial: RadialMode) -> acerust::Result<Plan> {
    Plan::with_options(model, Device::Cuda(0), precision, Options::new().radial(radial))
}

fn potential(name: &str) -> Model {
    Model::load(path(&format!("{name}.yace"))).expect("a model")
}

/// Whether there is a device.
fn device() -> bool {
    match plan(&potential("ch-linear"), Precision::F64, RadialMode::Exact) {
        Ok(_) => true,
        Err(e) if std::env::var_os("ACERUST_GPU").is_some() => panic!("a device was demanded: {e}"),
        Err(e) => {
            eprintln!("SKIPPED: no PACE potential ran on a GPU: {e}");
            false
        }
    }
}

fn with_list(plan: &Plan, list: &mut Neighbours, s: &Structure) -> Results {
    let (mut sites, mut forces) = (vec![f64::NAN; s.n_atoms()], vec![[f64::NAN; 3]; s.n_atoms()]);
    let (_, virial) = energy_forces_virial(plan, (s, list), &mut sites, &mut forces).expect("results");
    (sites, forces, virial)
}

/// Positions, site energies and forces in the memory of the device.
fn at_addresses(plan: &Plan, list: &mut Neighbours, s: &Structure) -> Results {
    let stream = CudaContext::new(0).expect("a device").new_stream().expect("a stream");
    let x = stream.clone_htod(s.positions.as_flattened()).expect("memory");
    let [sites, forces] = [1, 3].map(|n| stream.clone_htod(&vec![f64::NAN; n * s.n_atoms()]).expect("memory"));
    let [positions, site_energies, out] = [&x, &sites, &forces].map(|a| a.device_ptr(&stream).0);
    let at = OnDevice {
        numbers: &s.numbers,
        cell: s.cell,
        pbc: s.pbc,
        positions,
        site_energies: Some(site_energies),
        forces: Some(out),
        stream: stream.cu_stream() as u64,
    };
    let (mut energy, mut virial) = (f64::NAN, [[f64::NAN; 3]; 3]);
    // SAFETY: the arrays hold n_atoms numbers or vectors.
    let input = unsafe { Input::on_device(at, list) };
    plan.evaluate(input, &mut Outputs::new().energy(&mut energy).virial(&mut virial)).expect("results");
    let [sites, forces] = [&sites, &forces].map(|a| stream.clone_dtoh(a).expect("numbers"));
    (sites, forces.as_chunks().0.to_vec(), virial)
}

#[test]
fn golden_data_are_reproduced_by_every_entry() {
    if !device() {
        return;
    }
    let (exact, table) = (RadialMode::Exact, RadialMode::PaceTable);
    let cases: [Case; 4] = [
        (Precision::F64, exact, "exact", [1e-10, 1e-9]),
        (Precision::F64, table, "table", [1e-11, 1e-10]),
        (Precision::F32, exact, "exact", [2e-5, 2e-5]),
        (Precision::F32_DISTANCES, exact, "exact", [5e-4, 5e-4]),
    ];
    for (name, case) in NAMES.into_iter().flat_map(|name| cases.iter().map(move |case| (name, case))) {
        let plan = plan(&potential(name), case.0, case.1).expect("a plan");
        for (structure, value) in structures(name) {
            check(&format!("{name} graph"), case, &value, &results(&plan, &structure));
            let mut list = plan.neighbours(0.3).expect("a list");
            check(&format!("{name} list"), case, &value, &with_list(&plan, &mut list, &structure));
            check(&format!("{name} addresses"), case, &value, &at_addresses(&plan, &mut list, &structure));
        }
    }
}

/// One lane, four and a warp share a centre.
#[test]
fn large_systems_agree_with_the_processor() {
    if !device() {
        return;
    }
    for (name, n) in [("si-rank4", [5, 5, 5]), ("si-rank4", [15, 15, 15]), ("cuzr-zbl", [22, 22, 22])] {
        let model = potential(name);
        let mut s = match name {
            "cuzr-zbl" => Structure::fcc(29, 4.1),
            _ => Structure::diamond(14, 5.43),
        };
        s = s.repeat(n).rattle(0.3, 1);
        let species = model.species();
        s.numbers.iter_mut().enumerate().for_each(|(i, z)| *z = species[(i * 7 + i / 5) % species.len()]);
        let cpu = Plan::new(&model, Device::Cpu, Precision::F64).expect("a plan");
        let expected = results(&cpu, &s);
        for (precision, tolerance) in [(Precision::F64, 1e-10), (Precision::F32, 2e-5)] {
            let plan = plan(&model, precision, RadialMode::Exact).expect("a plan");
            let found = with_list(&plan, &mut plan.neighbours(0.2).expect("a list"), &s);
            let label = format!("{name} {precision} {} atoms", s.n_atoms());
            assert_close(&format!("{label}: energies"), &found.0, &expected.0, tolerance);
            assert_close(&label, found.1.as_flattened(), expected.1.as_flattened(), tolerance);
            assert_close(&label, found.2.as_flattened(), expected.2.as_flattened(), tolerance);
        }
    }
}

#[test]
fn grades_are_refused() {
    if !device() {
        return;
    }
    let model = Model::load(path("cuzr-zbl.yaml")).expect("a model");
    let mut plan = plan(&model, Precision::F64, RadialMode::Exact).expect("a plan");
    let active = ActiveSet::load(path("cuzr-zbl.asi")).expect("an active set");
    let refused = plan.set_active_set(Some(active)).unwrap_err().to_string();
    assert!(refused.contains("grade: on CUDA devices of linear potentials alone"), "{refused}");
}

/// Every base function, cutoff and embedding, more densities than a group has.
#[test]
fn random_potentials_agree_with_the_processor() {
    if !device() {
        return;
    }
    for seed in 1..=12 {
        let p = random::potential(seed);
        let model = Model::of_potential(&p).expect("a model");
        let s = random::structure(&p, seed);
        for radial in [RadialMode::Exact, RadialMode::PaceTable] {
            let expected = results(&random::plan(&p, radial), &s);
            let found = results(&plan(&model, Precision::F64, radial).expect("a plan"), &s);
            let close = |found: &[f64], expected: &[f64]| {
                let scale = expected.iter().fold(1.0_f64, |m, x| m.max(x.abs()));
                found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1e-10 * scale)
            };
            assert!(close(&found.0, &expected.0), "seed {seed} {radial:?}: energies {:?} {:?}", found.0, expected.0);
            assert!(close(found.1.as_flattened(), expected.1.as_flattened()), "seed {seed} {radial:?}: forces");
            assert!(close(found.2.as_flattened(), expected.2.as_flattened()), "seed {seed} {radial:?}: virial");
        }
    }
}
