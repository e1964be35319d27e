//! Fits: factors, solvers, posterior, data and bad data.

mod common;

#[path = "fit/active.rs"]
mod active;
#[path = "fit/data.rs"]
mod data;
#[path = "fit/factors.rs"]
mod factors;
#[cfg(feature = "cuda")]
#[path = "fit/gpu.rs"]
mod gpu;
#[path = "fit/search.rs"]
mod search;
#[path = "fit/solvers.rs"]
mod solvers;

use acerust::build::{self, Recipe};
use acerust::extxyz::{Frame, Value};
use acerust::fit::{Assembler, Factors, Settings};
use acerust::model::Model;
use acerust::plan::{Device, Plan, Precision};
use acerust::structure::Structure;

/// Uniform in [−1, 1).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn draw(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    pub fn rows(&mut self, m: usize, n: usize) -> Vec<f64> {
        (0..m * n).map(|_| self.draw()).collect()
    }
}

/// Two elements, pairs and triples: 84 parameters.
pub fn model() -> Model {
    let recipe = "elements = ['Si', 'O']\norder = 2\ndegree = 4\nrcut = 4.5\nE0 = { Si = -2.0, O = -3.0 }";
    build::model(&Recipe::from_toml(recipe).unwrap()).unwrap()
}

/// Frames of two groups whose data a model with random parameters made; returns it as well.
pub fn synthetic(model: &Model, n_frames: u64) -> (Vec<Frame>, Model) {
    let mut truth = model.clone();
    let mut numbers = Numbers(3);
    let theta: Vec<f64> = (0..model.length_basis()).map(|_| numbers.draw()).collect();
    truth.set_linear_parameters(&theta).unwrap();
    let plan = Plan::new(&truth, Device::Cpu, Precision::F64).unwrap();
    let frame = |k: u64| {
        let mut s = Structure::fcc(14, 3.9 + 0.1 * (k % 4) as f64).repeat([2, 1 + (k % 2) as usize, 1]).rattle(0.4, k);
        let other = model.species()[model.species().len() - 1];
        s.numbers
            .iter_mut()
            .enumerate()
            .filter(|(i, _)| (i + k as usize).is_multiple_of(3))
            .for_each(|(_, z)| *z = other);
        let (mut sites, mut forces) = (vec![0.0; s.n_atoms()], vec![[0.0; 3]; s.n_atoms()]);
        let graph = plan.graph(&s).unwrap();
        let (energy, virial) =
            common::evaluate::energy_forces_virial(&plan, (&graph, &s.numbers), &mut sites, &mut forces).unwrap();
        let mut frame = Frame { energy: Some(energy), forces: Some(forces), virial: Some(virial), ..Frame::from(s) };
        let group = if k.is_multiple_of(3) { "a" } else { "b" };
        frame.info.insert("config_type".into(), Value::Text(group.into()));
        frame
    };
    ((0..n_frames).map(frame).collect(), truth)
}

pub fn assemble<'a>(model: &Model, settings: &Settings, frames: impl IntoIterator<Item = &'a Frame>) -> Factors {
    let mut assembler = Assembler::new(model, settings).unwrap();
    for frame in frames {
        assembler.push(frame.clone()).unwrap();
    }
    assembler.finish().unwrap()
}
