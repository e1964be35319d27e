//! Evaluation on the threads of a plan.

use super::SharedPlan;
use super::outputs::exactly;
use crate::graph::{Exchange, Graph};
use crate::plan::{Input, Plan, Rows};
use crate::potential::Buffers;
use crate::structure::Structure;
use crate::{Error, Result};
use ndarray::{ArrayViewMut2, ArrayViewMut3};

/// What is evaluated: atoms and their graph, there already or to be built.
#[derive(Debug)]
pub enum Sites<'a> {
    Structure(Structure),
    Graph(&'a Graph, &'a [u8]),
}

impl Sites<'_> {
    pub fn n_atoms(&self) -> usize {
        match self {
            Sites::Structure(structure) => structure.n_atoms(),
            Sites::Graph(graph, _) => graph.n_atoms(),
        }
    }

    fn graph(&self) -> Result<(&Graph, &[u8])> {
        match self {
            Sites::Structure(_) => Err(Error::Argument("edges are counted on graphs only".into())),
            Sites::Graph(graph, numbers) => Ok((graph, numbers)),
        }
    }

    /// # Errors
    /// As [`Plan::evaluate`].
    pub fn evaluate(&self, plan: &SharedPlan, out: Buffers) -> Result<()> {
        plan.run(|plan| match self {
            Sites::Structure(structure) => plan.evaluate_into(Input::Structure(structure), out),
            Sites::Graph(graph, numbers) => plan.evaluate_into(Input::Graph(graph, numbers), out),
        })
    }

    /// As [`Sites::evaluate`], with features of ghosts from elsewhere.
    ///
    /// # Errors
    /// As there; sites that are not a graph; what the exchange says.
    pub fn evaluate_exchanged(&self, plan: &SharedPlan, exchange: &mut dyn Exchange, out: Buffers) -> Result<()> {
        let Sites::Graph(graph, numbers) = self else {
            return Err(Error::Argument("features are exchanged on graphs only".into()));
        };
        plan.run(|plan| plan.evaluate_into(Input::Exchanged(graph, numbers, exchange), out))
    }

    /// # Errors
    /// As [`Plan::site_basis_jacobian`]; sites that are not a graph.
    pub fn site_basis_jacobian(
        &self,
        plan: &SharedPlan,
        basis: Option<&mut [f64]>,
        jacobian: Option<&mut [f64]>,
    ) -> Result<()> {
        let (graph, numbers) = self.graph()?;
        let (n, n_edges, n_basis) = (graph.n_owned(), graph.n_edges(), plan.with(Plan::n_basis));
        exactly("basis", basis.as_deref(), n * n_basis)?;
        exactly("jacobian", jacobian.as_deref(), 3 * n_edges * n_basis)?;
        let basis = basis.and_then(|b| ArrayViewMut2::from_shape((n, n_basis), b).ok());
        let jacobian = jacobian.and_then(|j| ArrayViewMut3::from_shape((n_edges, n_basis, 3), j).ok());
        plan.run(|plan| plan.site_basis_jacobian(graph, numbers, basis, jacobian))
    }

    /// # Errors
    /// As [`Plan::assemble`] and [`Plan::graph`].
    pub fn assemble(&self, plan: &SharedPlan, rows: &mut Rows) -> Result<()> {
        plan.run(|plan| match self {
            Sites::Structure(structure) => plan.assemble(&plan.graph(structure)?, &structure.numbers, rows),
            Sites::Graph(graph, numbers) => plan.assemble(graph, numbers, rows),
        })
    }
}
