//! A training and the threads it runs on, whatever the type of its numbers.

use super::{Sites, Threads};
use crate::dtype::{Dtype, Storage};
use crate::graph::Graph;
use crate::model::Model;
use crate::plan::{Conditions, Device, Virial};
use crate::train::{Cotangent, Evaluation, LossScale, Parameter, Training};
use crate::{Error, Result};
use half::{bf16, f16};
use std::any::Any;
use std::fmt::Debug;
use std::mem::take;
use std::sync::{PoisonError, RwLock};

/// A training that several threads may evaluate at once; what changes it waits for them.
#[derive(Debug)]
pub struct SharedTraining {
    training: RwLock<Box<dyn Trained>>,
    threads: Threads,
}

/// Results, and what gradients take of the way to them.
#[derive(Debug)]
pub struct SharedEvaluation {
    /// eV.
    pub energy: f64,
    /// (n_atoms), eV.
    pub site_energies: Vec<f64>,
    /// (n_atoms, 3), eV/Å.
    pub forces: Vec<[f64; 3]>,
    /// eV.
    pub virial: Virial,
    run: Box<dyn Any + Send + Sync>,
}

/// A training of some type of numbers.
trait Trained: Debug + Send + Sync {
    fn parameters(&self) -> &[Parameter];
    fn values(&self) -> &[f64];
    fn set_values(&mut self, values: &[f64]) -> Result<()>;
    fn model(&self) -> Result<Model>;
    fn set_loss_scale(&mut self, scale: f64) -> Result<()>;
    fn evaluate(&self, sites: &Sites, conditions: &Conditions) -> Result<SharedEvaluation>;
    fn gradient(&self, run: &SharedEvaluation, cotangent: &Cotangent, gradient: &mut [f64]) -> Result<()>;
}

impl<S: Storage> Trained for Training<S> {
    fn parameters(&self) -> &[Parameter] {
        self.parameters()
    }

    fn values(&self) -> &[f64] {
        self.values()
    }

    fn set_values(&mut self, values: &[f64]) -> Result<()> {
        self.set_values(values)
    }

    fn model(&self) -> Result<Model> {
        self.model()
    }

    fn set_loss_scale(&mut self, scale: f64) -> Result<()> {
        self.set_loss_scale(scale)
    }

    fn evaluate(&self, sites: &Sites, conditions: &Conditions) -> Result<SharedEvaluation> {
        let mut run = match sites {
            Sites::Structure(structure) => self.evaluate(structure, conditions),
            Sites::Graph(graph, numbers) => self.evaluate_graph(Graph::clone(graph), numbers, conditions),
        }?;
        let (energy, virial) = (run.energy, run.virial);
        let (site_energies, forces) = (take(&mut run.site_energies), take(&mut run.forces));
        Ok(SharedEvaluation { energy, site_energies, forces, virial, run: Box::new(run) })
    }

    fn gradient(&self, run: &SharedEvaluation, cotangent: &Cotangent, gradient: &mut [f64]) -> Result<()> {
        let other = || Error::Argument("the evaluation is of another training".into());
        self.gradient(run.run.downcast_ref::<Evaluation<S>>().ok_or_else(other)?, cotangent, gradient)
    }
}

impl SharedTraining {
    /// # Errors
    /// As [`Training::on`] and [`Threads::new`].
    pub fn new(model: &Model, device: Device, dtype: Dtype, n_threads: usize) -> Result<SharedTraining> {
        let training: Box<dyn Trained> = match dtype {
            Dtype::F64 => Box::new(Training::<f64>::on(model, device)?),
            Dtype::F32 => Box::new(Training::<f32>::on(model, device)?),
            Dtype::F16 => Box::new(Training::<f16>::on(model, device)?),
            Dtype::Bf16 => Box::new(Training::<bf16>::on(model, device)?),
        };
        Ok(SharedTraining { training: RwLock::new(training), threads: Threads::new(n_threads)? })
    }

    /// As [`Training::parameters`].
    pub fn parameters(&self) -> Vec<Parameter> {
        self.read(|t| t.parameters().to_vec())
    }

    /// As [`Training::values`].
    pub fn values(&self) -> Vec<f64> {
        self.read(|t| t.values().to_vec())
    }

    /// # Errors
    /// As [`Training::set_values`].
    pub fn set_values(&self, values: &[f64]) -> Result<()> {
        self.write(|t| t.set_values(values))
    }

    /// # Errors
    /// As [`Training::model`].
    pub fn model(&self) -> Result<Model> {
        self.read(|t| t.model())
    }

    /// # Errors
    /// As [`Training::set_loss_scale`].
    pub fn set_loss_scale(&self, scale: f64) -> Result<()> {
        self.write(|t| t.set_loss_scale(scale))
    }

    /// # Errors
    /// As [`Training::evaluate_graph`].
    pub fn evaluate(&self, sites: &Sites, conditions: &Conditions) -> Result<SharedEvaluation> {
        // Locked by the thread that calls: one of the pool may be given another call while it waits for this one.
        self.read(|t| self.threads.run(|| t.evaluate(sites, conditions)))
    }

    /// # Errors
    /// As [`Training::gradient`].
    pub fn gradient(&self, run: &SharedEvaluation, cotangent: &Cotangent, gradient: &mut [f64]) -> Result<()> {
        self.read(|t| self.threads.run(|| t.gradient(run, cotangent, gradient)))
    }

    fn read<T>(&self, f: impl FnOnce(&dyn Trained) -> T) -> T {
        f(&**self.training.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, f: impl FnOnce(&mut dyn Trained) -> T) -> T {
        f(&mut **self.training.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// [`LossScale::accept`] of a step whose error the caller has, if it is that of a number that is not `finite`.
///
/// # Errors
/// As there.
pub fn adapt(scale: &mut LossScale, finite: bool) -> Result<bool> {
    scale.accept(match finite {
        true => Ok(()),
        false => Err(Error::NotFinite(format!("the gradient is not finite with a loss scale of {}", scale.scale()))),
    })
}
