//! What every potential is to the plan, whatever it is made of and wherever it runs.

mod active;
mod conditions;
pub(crate) mod messages;
mod outputs;
mod rows;
pub(crate) mod stack;
mod virials;

pub use active::ActiveSet;
pub(crate) use active::Grader;
pub use conditions::Conditions;
pub use outputs::{Buffers, Outputs};
pub(crate) use outputs::{Sizes, check_view, matrices, numbers, total, vectors};
pub use rows::Rows;
pub(crate) use rows::{Stored, Triangles};
pub(crate) use virials::site_virials;

use crate::graph::{Exchange, Neighbours, OnDevice, Sites};
use crate::memory;
use crate::stage::features::Features;
use crate::structure::Structure;
use crate::{Error, Result};
use ndarray::{ArrayViewMut2, ArrayViewMut3};

/// A virial, `V[a][b] = −Σ g[a] r[b]`, eV.
pub type Virial = [[f64; 3]; 3];

/// How far energies look: an atom's energy depends on atoms as far as `hops` edges of up to `cutoff` away.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Reach {
    /// Å; 0 where nothing has neighbours.
    pub cutoff: f64,
    /// 1 for site models; one for each layer of messages.
    pub hops: usize,
}

impl Reach {
    pub fn new(cutoff: f64, hops: usize) -> Reach {
        Reach { cutoff, hops }
    }

    /// The width of the shell of ghosts that an engine needs around what it owns, Å.
    pub fn ghosts(&self) -> f64 {
        self.cutoff * self.hops as f64
    }
}

/// A potential on a device in a precision. The plan has checked sites and outputs: species are valid, the graph is complete
/// up to the cutoff, views have the sizes of [`Sizes`] and no gaps.
pub(crate) trait Potential: Send + Sync {
    fn reach(&self) -> Reach;

    /// Bytes of tables and coefficients.
    fn bytes(&self) -> usize;

    /// Writes every output that has a view but the grade, which the plan computes from descriptors. Without an exchange the graph
    /// has all edges that the reach takes; site models have nothing to exchange.
    fn evaluate(&self, sites: Sites, exchange: Option<&mut dyn Exchange>, out: &mut Outputs) -> Result<()>;

    /// As [`Potential::evaluate`] on the graph of structures side by side, all of whose atoms are owned; those of structure `k` are
    /// `first[k]..first[k + 1]`. The virial of each goes to `virials`, which is empty where they are not wanted.
    fn evaluate_joined(&self, sites: Sites, first: &[usize], virials: &mut [Virial], out: &mut Outputs) -> Result<()> {
        if virials.is_empty() {
            return self.evaluate(sites, None, out);
        }
        let graph = sites.graph;
        let mut edges = Vec::new();
        memory::at_least(&mut edges, graph.n_edges(), [0.0; 3]);
        let mut with_edges = out.reborrow();
        with_edges.edge_gradients = Some((&mut edges[..]).into());
        self.evaluate(sites, None, &mut with_edges)?;
        let edge = |atom: usize| graph.first().get(atom).map_or(0, |&e| e as usize);
        for (virial, ends) in virials.iter_mut().zip(first.windows(2)) {
            let own = edge(ends[0])..edge(ends[1]);
            *virial = messages::virial(&graph.vectors()[own.clone()], &edges[own]);
        }
        Ok(())
    }

    /// Whether the device has the memory for a call with so many atoms and edges.
    fn fits(&self, _atoms: usize, _edges: usize, _gradients: bool) -> bool {
        true
    }

    /// Numbers in the longest row of an exchange.
    fn n_exchanged(&self) -> usize {
        0
    }

    /// Numbers that describe a site, for [`Outputs::descriptors`].
    fn n_descriptors(&self) -> usize {
        0
    }

    /// The same potential under other conditions; what it is made of is shared.
    ///
    /// # Errors
    /// A head that the potential does not have; any condition, where it knows none.
    fn at(&self, _: &Conditions) -> Result<Box<dyn Potential>> {
        Err(Error::Argument("the potential knows no heads, charges or spins".into()))
    }

    /// What grades are computed from.
    ///
    /// # Errors
    /// A potential that has no active sets.
    fn features(&self, _n_species: usize) -> Result<Features> {
        Err(Error::Argument("grade: the potential has no active sets".into()))
    }

    /// The features of all owned atoms, (n_owned, width).
    fn write_features(&self, _: Sites, _: &mut [f64]) -> Result<()> {
        self.features(0).map(drop)
    }

    /// The potential as a linear one, if it is.
    fn linear(&self) -> Option<&dyn LinearPotential> {
        None
    }

    fn linear_mut(&mut self) -> Option<&mut dyn LinearPotential> {
        None
    }

    /// An empty neighbour list where the potential runs, for [`Potential::evaluate_list`] if that is a device.
    fn neighbours(&self, skin: f64) -> Result<Neighbours> {
        // Without parts that have neighbours any list will do.
        Neighbours::on_host(self.reach().cutoff.max(1e-3), skin)
    }

    /// As [`Potential::evaluate`], with a list on the device.
    fn evaluate_list(&self, _: &mut Neighbours, _: &Structure, _: &[u32], _: &mut Outputs) -> Result<()> {
        Err(Error::Argument("the neighbour list belongs to another device".into()))
    }

    /// As [`Potential::evaluate_list`], with positions, site energies and forces in the memory of the device.
    ///
    /// # Safety
    /// The addresses are those of memory on the device, as large as [`OnDevice`] says.
    unsafe fn evaluate_on_device(&self, _: &mut Neighbours, _: &OnDevice, _: &[u32], _: &mut Outputs) -> Result<()> {
        Err(Error::Argument("device addresses need a plan on a CUDA device".into()))
    }
}

/// A potential whose site energies are linear in parameters: `E_i = Σ_b W[z_i, b] B_b` and one-body energies.
pub(crate) trait LinearPotential: Potential {
    /// Replaces the linear parameters: the potential's own, then those of the committee members.
    fn set_readouts(&mut self, parameters: &[Vec<f64>]) -> Result<()>;

    /// The site basis (n_owned, n_basis) and `∂B_b/∂r_ij` (n_edges, n_basis, 3), 1/Å, where wanted; without gaps.
    fn jacobian(
        &self,
        sites: Sites,
        basis: Option<ArrayViewMut2<f64>>,
        jacobian: Option<ArrayViewMut3<f64>>,
    ) -> Result<()>;

    /// The design rows.
    fn assemble(&self, sites: Sites, rows: &mut Rows) -> Result<()>;

    /// Where the device keeps rows of `n_columns` numbers and their factors; `None`: rows go to the host.
    fn triangles(&self, n_columns: usize) -> Result<Option<Box<dyn Triangles>>>;
}
