//! A plan and the threads it runs on.

use super::{Buffers, Threads};
use crate::batch::{self, Item};
use crate::model::Model;
use crate::plan::{ActiveSet, Conditions, Device, Options, Plan, Precision};
use crate::structure::Structure;
use crate::{Error, Result};
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// A plan that several threads may evaluate at once; what changes it waits for them.
#[derive(Debug)]
pub struct SharedPlan {
    plan: RwLock<Plan>,
    threads: RwLock<Threads>,
}

impl SharedPlan {
    /// # Errors
    /// As [`Plan::with_options`] and [`Threads::new`].
    pub fn new(
        model: &Model,
        device: Device,
        precision: Precision,
        options: Options,
        n_threads: usize,
    ) -> Result<SharedPlan> {
        let threads = Threads::new(n_threads)?;
        let plan = threads.run(|| Plan::with_options(model, device, precision, options))?;
        Ok(SharedPlan { plan: RwLock::new(plan), threads: RwLock::new(threads) })
    }

    /// As [`Plan::at`], on the same threads.
    ///
    /// # Errors
    /// As [`Plan::at`].
    pub fn at(&self, conditions: &Conditions) -> Result<SharedPlan> {
        let threads = self.threads.read().unwrap_or_else(PoisonError::into_inner).clone();
        let plan = self.with(|plan| plan.at(conditions))?;
        Ok(SharedPlan { plan: RwLock::new(plan), threads: RwLock::new(threads) })
    }

    /// Runs `f` with the plan, on its threads; several callers may do so at once.
    pub fn run<T: Send>(&self, f: impl FnOnce(&Plan) -> T + Send) -> T {
        let threads = self.threads.read().unwrap_or_else(PoisonError::into_inner).clone();
        let plan = self.plan();
        let plan = &*plan;
        threads.run(|| f(plan))
    }

    /// As [`batch::evaluate`], each structure with its conditions and its buffers.
    ///
    /// # Errors
    /// As there, and for buffers of other lengths.
    pub fn evaluate_batch(&self, batch: Vec<(&Structure, Conditions, Buffers)>) -> Result<()> {
        self.run(|plan| {
            let item = |(k, (structure, conditions, buffers)): (usize, _)| {
                let outputs = plan.views(structure, buffers).map_err(|e| e.of(format_args!("structure {k}")))?;
                Ok(Item::new(structure, outputs).at(conditions))
            };
            batch::evaluate(plan, &mut batch.into_iter().enumerate().map(item).collect::<Result<Vec<_>>>()?)
        })
    }

    /// Looks at the plan from this thread.
    pub fn with<T>(&self, f: impl FnOnce(&Plan) -> T) -> T {
        f(&self.plan())
    }

    /// # Panics
    /// Where a change panicked before it was done.
    fn plan(&self) -> RwLockReadGuard<'_, Plan> {
        self.plan.read().unwrap_or_else(|_| unusable())
    }

    /// # Errors
    /// As [`Plan::load_committee`].
    pub fn load_committee(&self, path: impl AsRef<Path>) -> Result<()> {
        self.change(|plan| plan.load_committee(path))
    }

    /// # Errors
    /// As [`Plan::committee_from_bytes`].
    pub fn committee_from_bytes(&self, bytes: &[u8]) -> Result<()> {
        self.change(|plan| plan.committee_from_bytes(bytes))
    }

    /// # Errors
    /// As [`Plan::set_active_set`].
    pub fn set_active_set(&self, active: Option<ActiveSet>) -> Result<()> {
        self.change(|plan| plan.set_active_set(active))
    }

    fn change<T>(&self, f: impl FnOnce(&mut Plan) -> T) -> T {
        f(&mut self.plan.write().unwrap_or_else(|_| unusable()))
    }

    /// The number of threads for what follows, as in [`Threads::new`].
    ///
    /// # Errors
    /// As [`Threads::new`].
    pub fn set_threads(&self, n: usize) -> Result<()> {
        *self.threads.write().unwrap_or_else(PoisonError::into_inner) = Threads::new(n)?;
        Ok(())
    }

    /// # Errors
    /// As [`Plan::set_linear_parameters`].
    pub fn set_linear_parameters(&self, parameters: &[f64]) -> Result<()> {
        self.change(|plan| plan.set_linear_parameters(parameters))
    }

    /// Sets the committee from a matrix (n_members, n_params), row-major.
    ///
    /// # Errors
    /// As [`Plan::set_committee`]; another number of entries.
    pub fn set_committee(&self, parameters: &[f64], n_members: usize) -> Result<()> {
        let n_params = self.with(Plan::length_basis);
        let length = parameters.len();
        if n_members.checked_mul(n_params) != Some(length) {
            let message = format!("parameters: expected a length of {n_members} · {n_params}, got {length}");
            return Err(Error::Argument(message));
        }
        if n_params == 0 && n_members > 0 {
            return Err(Error::Argument("a model without linear parameters has no committee".into()));
        }
        let members: Vec<_> = parameters.chunks(n_params.max(1)).map(<[f64]>::to_vec).collect();
        self.change(|plan| plan.set_committee(&members))
    }
}

fn unusable() -> ! {
    panic!("a change of this plan was interrupted, it cannot be used any more")
}
