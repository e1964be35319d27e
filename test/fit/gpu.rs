//! Fits with rows and factors on a CUDA device against those of the processor. Without a device every test says that it is skipped,
//! unless `ACERUST_GPU=1` demands one.

use super::{Numbers, assemble, model, synthetic};
use crate::common::assert_close;
use acerust::Error;
use acerust::build::{self, Prior, Recipe};
use acerust::extxyz::{Frame, Value};
use acerust::fit::{self, Assembler, Factors, Settings, Share, Solver};
use acerust::model::Model;
use acerust::plan::Device;
use acerust::structure::Structure;
use std::path::{Path, PathBuf};

fn device() -> bool {
    match Assembler::on(Device::Cuda(0), Factors::new(&model()), &Settings::default()) {
        Ok(_) => true,
        Err(e) if std::env::var_os("ACERUST_GPU").is_some() => panic!("a device was demanded: {e}"),
        Err(e) => {
            eprintln!("SKIPPED: nothing was fitted on a GPU: {e}");
            false
        }
    }
}

fn on_device(model: &Model, settings: &Settings) -> Assembler {
    Assembler::on(Device::Cuda(0), Factors::new(model), settings).unwrap()
}

fn assemble_on_device<'a>(model: &Model, settings: &Settings, frames: impl IntoIterator<Item = &'a Frame>) -> Factors {
    let mut assembler = on_device(model, settings);
    frames.into_iter().for_each(|frame| assembler.push(frame.clone()).unwrap());
    assembler.finish().unwrap()
}

fn settings() -> Settings {
    let solver = Solver::Ridge { lambda: 1e-3, absolute: false };
    Settings { solver, prior: Prior::Identity, ..Settings::default() }
}

/// The same squares of every factor, and all else that factors hold.
#[track_caller]
fn same(found: &Factors, expected: &Factors) {
    assert_eq!(found.groups.keys().collect::<Vec<_>>(), expected.groups.keys().collect::<Vec<_>>());
    assert_eq!((found.frames, &found.remarks, &found.sources), (expected.frames, &expected.remarks, &expected.sources));
    assert_eq!((&found.isolated, &found.closest), (&expected.isolated, &expected.closest));
    for (name, group) in &expected.groups {
        let other = &found.groups[name];
        assert_eq!((other.frames, other.atoms), (group.frames, group.atoms), "{name}");
        let factors = |g: &fit::Group| [g.energy.clone(), g.energy_per_atom.clone(), g.force.clone(), g.virial.clone()];
        for (k, (a, b)) in factors(other).iter().zip(&factors(group)).enumerate() {
            assert_eq!(a.rows(), b.rows(), "{name}, factor {k}");
            let mut numbers = Numbers(7);
            for _ in 0..4 {
                let x = numbers.rows(1, b.n_columns());
                assert_close(&format!("{name}, factor {k}"), &[a.squares(&x)], &[b.squares(&x)], 1e-11);
            }
        }
    }
}

/// Those of [`same`], parameters and errors.
#[track_caller]
fn same_fit(found: &Factors, expected: &Factors, settings: &Settings) {
    same(found, expected);
    let [a, b] = [found, expected].map(|factors| fit::solve(factors, settings).unwrap());
    assert_close("parameters", &a.model.linear_parameters(), &b.model.linear_parameters(), 1e-9);
    for (name, b) in &b.errors {
        let numbers = |e: fit::RowErrors| [e.energy, e.force, e.virial].map(|x| x.unwrap_or(-1.0));
        assert_close(name, &numbers(a.errors[name]), &numbers(*b), 1e-8);
    }
}

/// Frames of both kinds of groups, one with less data, one with a weight, a single atom, one that is skipped.
fn frames(model: &Model) -> Vec<Frame> {
    let (mut frames, _) = synthetic(model, 30);
    frames[4].forces = None;
    (frames[7].virial, frames[8].energy) = (None, None);
    frames[9].info.insert("weight".into(), Value::Real(0.25));
    let alone = Structure { numbers: vec![14], positions: vec![[0.0; 3]], ..Structure::default() };
    frames.push(Frame { energy: Some(-2.25), forces: Some(vec![[0.0; 3]]), ..Frame::from(alone) });
    frames.push(Frame::from(Structure::fcc(79, 4.0)));
    frames
}

#[test]
fn a_fit_is_that_of_the_processor() {
    if !device() {
        return;
    }
    let core = "elements = ['Si', 'O']\norder = 2\ndegree = 4\nrcut = 4.5\ncore = 3.5";
    for model in [model(), build::model(&Recipe::from_toml(core).unwrap()).unwrap()] {
        let (frames, settings) = (frames(&model), settings());
        let found = assemble_on_device(&model, &settings, &frames);
        same_fit(&found, &assemble(&model, &settings, &frames), &settings);
        // Again, bit by bit.
        assert!(assemble_on_device(&model, &settings, &frames).to_bytes() == found.to_bytes());
    }
}

#[test]
fn shards_of_processor_and_device_merge() {
    if !device() {
        return;
    }
    let (model, settings) = (model(), settings());
    let (frames, _) = synthetic(&model, 24);
    let expected = assemble(&model, &settings, &frames);
    let mut merged = assemble_on_device(&model, &settings, frames.iter().step_by(2));
    let bytes = assemble(&model, &settings, frames.iter().skip(1).step_by(2)).to_bytes();
    merged.merge(&Factors::from_bytes(&bytes, "a shard").unwrap()).unwrap();
    same_fit(&merged, &expected, &settings);
    // A device goes on where the processor was, and is asked for factors on the way.
    let mut assembler = Assembler::on(Device::Cuda(0), assemble(&model, &settings, &frames[..9]), &settings).unwrap();
    for (k, frame) in frames[9..].iter().enumerate() {
        assembler.push(frame.clone()).unwrap();
        if k % 4 == 0 {
            assert_eq!(assembler.factors().unwrap().frames, 10 + k as u64);
        }
    }
    same_fit(&assembler.finish().unwrap(), &expected, &settings);
}

#[test]
fn checkpoints_are_those_of_the_processor() {
    if !device() {
        return;
    }
    let recipe = "elements = ['Si']\norder = 2\ndegree = 8\nrcut = 5.0\nE0 = { Si = -0.846 }";
    let model = build::model(&Recipe::from_toml(recipe).unwrap()).unwrap();
    let settings = settings();
    let paths: Vec<PathBuf> = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("benchmark/data/Si_test.extxyz")];
    let mut cpu = Assembler::new(&model, &settings).unwrap();
    cpu.read(&paths, &Share::default(), |_| Ok(())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let share = Share { checkpoint: Some((folder.path().join("part.npz"), 5)), ..Share::default() };
    let stop = |a: &mut Assembler| if a.frames() < 13 { Ok(()) } else { Err(Error::Cancelled("here".into())) };
    on_device(&model, &settings).read(&paths, &share, stop).unwrap_err();
    let mut again = on_device(&model, &settings);
    again.read(&paths, &share, |_| Ok(())).unwrap();
    same_fit(&again.finish().unwrap(), &cpu.finish().unwrap(), &settings);
}

/// More rows than a block has, of one frame and of many.
#[test]
fn frames_are_larger_than_blocks() {
    if !device() {
        return;
    }
    let recipe = "elements = ['Si']\norder = 1\ndegree = 6\nrcut = 3.0";
    let model = build::model(&Recipe::from_toml(recipe).unwrap()).unwrap();
    let mut numbers = Numbers(5);
    let mut frame = |n: usize, group: &str| {
        let s = Structure::diamond(14, 5.43).repeat([n; 3]).rattle(0.3, n as u64);
        let forces = (0..s.n_atoms()).map(|_| [(); 3].map(|()| numbers.draw())).collect();
        let mut frame = Frame { forces: Some(forces), ..Frame::from(s) };
        frame.info.insert("config_type".into(), Value::Text(group.into()));
        frame
    };
    // 3, 6, 139, 0.2 and 99 thousand rows.
    let frames = [(5, "b"), (6, "a"), (18, "b"), (2, "a"), (16, "a")].map(|(n, group)| frame(n, group));
    let settings = settings();
    same_fit(&assemble_on_device(&model, &settings, &frames), &assemble(&model, &settings, &frames), &settings);
}

#[test]
fn bad_frames_are_named() {
    if !device() {
        return;
    }
    let (model, settings) = (model(), settings());
    let (mut frames, _) = synthetic(&model, 6);
    // What is no weight, and two atoms in one place: the others are used.
    frames[4].info.insert("weight".into(), Value::Real(1e308));
    frames[2].structure.positions[1] = frames[2].structure.positions[0];
    let factors = assemble_on_device(&model, &settings, &frames);
    let mut skipped: Vec<_> = factors.remarks.skipped.values().copied().collect();
    skipped.sort_unstable();
    assert_eq!(skipped, [(1, 2), (1, 4)]);
    same_fit(&factors, &assemble(&model, &settings, &frames), &settings);
    // A model without parameters; a device that is not there.
    let error = Assembler::on(Device::Cuda(97), Factors::new(&model), &settings).unwrap_err().to_string();
    assert!(error.contains("there is no device 97"), "{error}");
}
