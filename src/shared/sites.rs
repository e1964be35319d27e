//! The evaluations, once for structures and for graphs.

use super::SharedPlan;
use super::outputs::{as_vectors, exactly, or_own};
use crate::graph::Graph;
use crate::plan::{Committee, Plan, Rows, Virial};
use crate::structure::Structure;
use crate::{Error, Result};

/// What is evaluated: atoms and their graph, there already or to be built.
pub enum Sites<'a> {
    Structure(Structure),
    /// Graph, its cutoff where known, and atomic numbers.
    Graph {
        graph: &'a Graph,
        rcut: Option<f64>,
        numbers: &'a [u8],
    },
}

/// Where the results of one readout go.
#[derive(Default)]
pub struct Results<'a> {
    /// (n_centres), eV.
    pub site_energies: Option<&'a mut [f64]>,
    /// (n_atoms, 3), eV/Å.
    pub forces: Option<&'a mut [f64]>,
    /// (3, 3), eV.
    pub virial: Option<&'a mut [f64]>,
}

/// Where the results of a committee go.
#[derive(Default)]
pub struct CommitteeResults<'a> {
    /// (n_members), eV.
    pub energies: Option<&'a mut [f64]>,
    /// (n_members, n_centres), eV.
    pub site_energies: Option<&'a mut [f64]>,
    /// (n_members, n_atoms, 3), eV/Å.
    pub forces: Option<&'a mut [f64]>,
    /// (n_members, 3, 3), eV.
    pub virials: Option<&'a mut [f64]>,
}

impl Sites<'_> {
    pub fn n_atoms(&self) -> usize {
        match self {
            Sites::Structure(structure) => structure.n_atoms(),
            Sites::Graph { graph, .. } => graph.n_atoms(),
        }
    }

    pub fn n_centres(&self) -> usize {
        match self {
            Sites::Structure(structure) => structure.n_atoms(),
            Sites::Graph { graph, .. } => graph.n_centres(),
        }
    }

    fn n_edges(&self) -> Result<usize> {
        match self {
            Sites::Structure(_) => Err(Error::Argument("edges are counted on graphs only".into())),
            Sites::Graph { graph, .. } => Ok(graph.n_edges()),
        }
    }

    /// Runs `f` on the threads of the plan.
    fn run<T: Send>(&self, plan: &SharedPlan, f: impl FnOnce(&Plan, &Graph, &[u8]) -> Result<T> + Send) -> Result<T> {
        plan.run(|plan| match self {
            Sites::Structure(structure) => f(plan, &plan.graph(structure)?, &structure.numbers),
            Sites::Graph { graph, rcut, numbers } => {
                if let Some(rcut) = rcut.filter(|&r| r < plan.rcut()) {
                    let message = format!("its cutoff, {rcut} Å, is less than the plan's, {} Å", plan.rcut());
                    return Err(Error::Graph(message));
                }
                f(plan, graph, numbers)
            }
        })
    }

    /// The energy, eV, and what else is wanted.
    ///
    /// # Errors
    /// [`Error::Argument`] for a result of the wrong length, here and below; as [`Plan::graph`] and
    /// [`Plan::energy_forces_virial`]; [`Error::Graph`] for a graph whose cutoff is less than the plan's.
    pub fn energy_forces_virial(&self, plan: &SharedPlan, results: Results) -> Result<f64> {
        let (n_centres, n_atoms) = (self.n_centres(), self.n_atoms());
        let Results { site_energies, forces, virial } = results;
        exactly("site_energies", site_energies.as_deref(), n_centres)?;
        exactly("forces", forces.as_deref(), 3 * n_atoms)?;
        exactly("virial", virial.as_deref(), 9)?;
        self.run(plan, |plan, graph, numbers| {
            let (mut own_energies, mut own_forces) = (Vec::new(), Vec::new());
            let site_energies = or_own(site_energies, &mut own_energies, n_centres);
            if forces.is_none() && virial.is_none() {
                return plan.site_energies(graph, numbers, site_energies);
            }
            let forces = as_vectors(or_own(forces, &mut own_forces, 3 * n_atoms));
            let (energy, found) = plan.energy_forces_virial(graph, numbers, site_energies, forces)?;
            virial.into_iter().for_each(|v| v.copy_from_slice(found.as_flattened()));
            Ok(energy)
        })
    }

    /// # Errors
    /// As [`Sites::energy_forces_virial`].
    pub fn committee_energy_forces_virial(&self, plan: &SharedPlan, results: CommitteeResults) -> Result<()> {
        let (n_centres, n_atoms) = (self.n_centres(), self.n_atoms());
        let CommitteeResults { energies, site_energies, forces, virials } = results;
        // The lengths are known once the plan is held: its committee may change until then.
        self.run(plan, |plan, graph, numbers| {
            let k = plan.committee().len();
            for (name, result, expected) in [
                ("energies", &energies, k),
                ("site_energies", &site_energies, k * n_centres),
                ("forces", &forces, 3 * k * n_atoms),
                ("virials", &virials, 9 * k),
            ] {
                if let Some(length) = result.as_ref().map(|r| r.len()).filter(|&length| length != expected) {
                    let message = format!("{name}: expected a length of {expected} for {k} members, got {length}");
                    return Err(Error::Argument(message));
                }
            }
            let (mut own_energies, mut own_sites, mut own_forces) = (Vec::new(), Vec::new(), Vec::new());
            let mut found: Vec<Virial> = vec![Default::default(); k];
            let out = Committee {
                energies: or_own(energies, &mut own_energies, k),
                site_energies: or_own(site_energies, &mut own_sites, k * n_centres),
                forces: as_vectors(or_own(forces, &mut own_forces, 3 * k * n_atoms)),
                virials: &mut found,
            };
            plan.committee_energy_forces_virial(graph, numbers, out)?;
            virials.into_iter().for_each(|v| v.copy_from_slice(found.as_flattened().as_flattened()));
            Ok(())
        })
    }

    /// Site energies (n_centres), eV.
    ///
    /// # Errors
    /// As [`Sites::energy_forces_virial`].
    pub fn site_energies(&self, plan: &SharedPlan, out: &mut [f64]) -> Result<()> {
        let results = Results { site_energies: Some(out), ..Results::default() };
        self.energy_forces_virial(plan, results).map(drop)
    }

    /// Site energies (n_centres), eV, and their gradients (n_edges, 3), eV/Å.
    ///
    /// # Errors
    /// As [`Sites::energy_forces_virial`]; sites that are not a graph.
    pub fn site_grads(
        &self,
        plan: &SharedPlan,
        site_energies: Option<&mut [f64]>,
        gradients: Option<&mut [f64]>,
    ) -> Result<()> {
        exactly("site_energies", site_energies.as_deref(), self.n_centres())?;
        exactly("gradients", gradients.as_deref(), 3 * self.n_edges()?)?;
        self.run(plan, |plan, graph, numbers| {
            let (mut own_energies, mut own_gradients) = (Vec::new(), Vec::new());
            let site_energies = or_own(site_energies, &mut own_energies, graph.n_centres());
            let gradients = or_own(gradients, &mut own_gradients, 3 * graph.n_edges());
            plan.site_grads(graph, numbers, site_energies, as_vectors(gradients))
        })
    }

    /// The site basis, (n_centres, n_basis).
    ///
    /// # Errors
    /// As [`Sites::energy_forces_virial`].
    pub fn site_basis(&self, plan: &SharedPlan, basis: &mut [f64]) -> Result<()> {
        exactly("basis", Some(basis), self.n_centres() * plan.look(Plan::n_basis))?;
        self.run(plan, |plan, graph, numbers| plan.site_basis(graph, numbers, basis))
    }

    /// The site basis, (n_centres, n_basis), and `∂B_b/∂r_ij`, (n_edges, n_basis, 3), 1/Å.
    ///
    /// # Errors
    /// As [`Sites::energy_forces_virial`]; sites that are not a graph.
    pub fn site_basis_jacobian(
        &self,
        plan: &SharedPlan,
        basis: Option<&mut [f64]>,
        jacobian: Option<&mut [f64]>,
    ) -> Result<()> {
        let columns = plan.look(Plan::n_basis);
        exactly("basis", basis.as_deref(), self.n_centres() * columns)?;
        exactly("jacobian", jacobian.as_deref(), 3 * self.n_edges()? * columns)?;
        self.run(plan, |plan, graph, numbers| {
            let (mut own_basis, mut own_jacobian) = (Vec::new(), Vec::new());
            let basis = or_own(basis, &mut own_basis, graph.n_centres() * columns);
            let jacobian = or_own(jacobian, &mut own_jacobian, 3 * graph.n_edges() * columns);
            plan.site_basis_jacobian(graph, numbers, basis, jacobian)
        })
    }

    /// The design rows.
    ///
    /// # Errors
    /// As [`Plan::assemble`] and [`Plan::graph`]; [`Error::Graph`] for a graph whose cutoff is less than the plan's.
    pub fn assemble(&self, plan: &SharedPlan, rows: &mut Rows) -> Result<()> {
        self.run(plan, |plan, graph, numbers| plan.assemble(graph, numbers, rows))
    }
}
