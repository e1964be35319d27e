//! Models.

use crate::Library;
use crate::arrays::{Array1, Array2, count, output};
use crate::held::Held;
use crate::outcome::{Outcome, attempt};
use acerust::capi::basis::{flat_labels, log_prior};
use acerust::capi::buffer::utf8;
use acerust::capi::status::{Failure, Result};
use acerust::model;
use acerust::shared::Taken;
use jlrs::data::managed::array::TypedRankedArray;
use jlrs::data::types::construct_type::ConstructType;
use jlrs::prelude::*;
use std::sync::Arc;

#[derive(OpaqueType)]
#[jlrs(super_type = "crate::held::ModelType")]
pub struct Model(Held<model::Model>);

fn text<'a>(name: &str, string: &'a JuliaString) -> Result<&'a str> {
    utf8(name, string.as_bytes())
}

impl Library {
    pub fn load(&self, path: JuliaString) -> Outcome<Model> {
        attempt(|| Ok(Model::new(model::Model::load(text("path", &path)?)?)))
    }

    pub fn from_json(&self, json: JuliaString) -> Outcome<Model> {
        attempt(|| Ok(Model::new(model::Model::from_json(json.as_bytes())?)))
    }

    pub fn from_reference_json(&self, json: JuliaString) -> Outcome<Model> {
        attempt(|| Ok(Model::new(model::Model::from_reference_json(json.as_bytes())?)))
    }
}

impl Model {
    pub fn new(model: model::Model) -> Model {
        Model(Held::new(model))
    }

    pub fn get(&self) -> Result<Arc<model::Model>> {
        self.0.get("model")
    }

    fn with<T>(&self, f: impl FnOnce(&model::Model) -> T) -> Outcome<T> {
        attempt(|| Ok(f(&*self.get()?)))
    }

    pub fn extract(&self, part: isize) -> Outcome<Model> {
        attempt(|| Ok(Model::new(self.get()?.extract(&[count("part", part)?])?)))
    }

    pub fn to_json(&self) -> Outcome<String> {
        self.with(model::Model::to_json)
    }

    pub fn save(&self, path: JuliaString) -> Outcome<()> {
        attempt(|| Ok(self.get()?.save(text("path", &path)?)?))
    }

    pub fn summary(&self) -> Outcome<String> {
        self.with(model::Model::summary)
    }

    pub fn name(&self) -> Outcome<String> {
        self.with(|m| m.spec().name.clone())
    }

    pub fn n_species(&self) -> Outcome<isize> {
        self.with(|m| m.species().len() as isize)
    }

    pub fn species(&self, out: Array1<i32>) -> Outcome<()> {
        let numbers = |m: &model::Model| m.species().iter().map(|&z| z.into()).collect::<Vec<_>>();
        attempt(|| fill("species", out, &numbers(&*self.get()?)))
    }

    pub fn rcut(&self) -> Outcome<f64> {
        self.with(model::Model::rcut)
    }

    pub fn length_basis(&self) -> Outcome<isize> {
        self.with(|m| m.length_basis() as isize)
    }

    pub fn n_basis(&self) -> Outcome<isize> {
        self.with(|m| m.n_basis() as isize)
    }

    pub fn n_parts(&self) -> Outcome<isize> {
        self.with(|m| m.spec().parts.len() as isize)
    }

    pub fn part_kind(&self, part: isize) -> Outcome<String> {
        attempt(|| Ok(self.get()?.part(count("part", part)?)?.kind().into()))
    }

    pub fn linear_parameters(&self, out: Array1<f64>) -> Outcome<()> {
        attempt(|| fill("parameters", out, &self.get()?.linear_parameters()))
    }

    /// The number of factors of all basis functions.
    pub fn n_factors(&self) -> Outcome<isize> {
        self.with(|m| (flat_labels(m).1.len() / 2) as isize)
    }

    /// (n_basis + 1) offsets and (2, n_factors).
    pub fn basis_labels(&self, first: Array1<isize>, factors: Array2<u32>) -> Outcome<()> {
        attempt(|| {
            let (offsets, pairs) = flat_labels(&*self.get()?);
            let offsets: Vec<isize> = offsets.iter().map(|&i| i as isize).collect();
            fill("first", first, &offsets)?;
            fill("factors", factors, &pairs)
        })
    }

    pub fn log_prior(&self, kind: isize, p: f64, wl: f64, wn: f64, diagonal: Array1<f64>) -> Outcome<()> {
        attempt(|| {
            let kind = i32::try_from(kind).unwrap_or(-1);
            fill("diagonal", diagonal, &log_prior(&*self.get()?, kind, [p, wl, wn])?)
        })
    }

    pub fn splinify(&self, nodes: isize) -> Outcome<Model> {
        attempt(|| Ok(Model::new(acerust::build::splinify(&*self.get()?, count("nodes", nodes)?)?)))
    }

    pub fn is_open(&self) -> bool {
        self.0.is_open()
    }

    pub fn release(&self) {
        self.0.release();
    }
}

fn fill<T: ConstructType + Copy, const N: isize>(
    name: &'static str,
    out: TypedRankedArray<'_, 'static, T, N>,
    values: &[T],
) -> Result<()> {
    // SAFETY: the caller leaves its arguments alone while the call lasts.
    let out = unsafe { output(&mut Taken::default(), name, out) }?.unwrap_or_default();
    if out.len() != values.len() {
        let message = format!("{name}: expected a length of {}, got {}", values.len(), out.len());
        return Err(Failure::argument(message));
    }
    out.copy_from_slice(values);
    Ok(())
}
