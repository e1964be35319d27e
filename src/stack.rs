//! Several plans as one calculator: their sum, or their mean as a committee.

use crate::graph::{Graph, Place};
use crate::memory;
use crate::plan::{Input, Outputs, Plan, Reach};
use crate::potential::Sizes;
use crate::structure::Structure;
use crate::{Error, Result};
use ndarray::{Array, Array1, Array2, Array3, ArrayViewMut, Axis, Dimension, RemoveAxis};

/// Plans of any models, each with an own cutoff, device and precision, on the same structures.
///
/// ```
/// # use acerust::{model::Model, plan::{Device, Outputs, Plan, Precision}, stack::Stack, structure::Structure};
/// let model = Model::load("benchmark/models/si_fit.json")?;
/// let plan = || Plan::new(&model, Device::Cpu, Precision::F64);
/// let committee = Stack::committee(vec![plan()?, plan()?])?;
/// let (mut mean, mut energies) = (0.0, [0.0; 2]);
/// let crystal = Structure::diamond(14, 5.47);
/// committee.evaluate(&crystal, &mut Outputs::new().energy(&mut mean).committee_energies(&mut energies[..]))?;
/// assert_eq!(mean, energies[0]);
/// # Ok::<(), acerust::Error>(())
/// ```
#[derive(Debug)]
pub struct Stack {
    plans: Vec<Plan>,
    /// Of each plan in the result.
    share: f64,
    /// Whether results of single plans can be asked for.
    is_committee: bool,
}

/// What one plan writes before it is added.
struct Own {
    energy: f64,
    site_energies: Option<Array1<f64>>,
    forces: Option<Array2<f64>>,
    virial: Option<Array2<f64>>,
    site_virials: Option<Array3<f64>>,
    edge_gradients: Option<Array2<f64>>,
}

impl Stack {
    /// Energies add up, and all that follows from them.
    ///
    /// # Errors
    /// [`Error::Argument`] without plans.
    pub fn sum(plans: Vec<Plan>) -> Result<Stack> {
        Stack::new(plans, |_| 1.0, false)
    }

    /// Results are means over the plans; what each of them says is in the `committee_…` outputs.
    ///
    /// # Errors
    /// [`Error::Argument`] without plans.
    pub fn committee(plans: Vec<Plan>) -> Result<Stack> {
        Stack::new(plans, |n| 1.0 / n as f64, true)
    }

    fn new(plans: Vec<Plan>, share: impl Fn(usize) -> f64, is_committee: bool) -> Result<Stack> {
        if plans.is_empty() {
            return Err(Error::Argument("a stack of no plans".into()));
        }
        let share = share(plans.len());
        Ok(Stack { plans, share, is_committee })
    }

    /// The plans, in the order of the committee's outputs.
    pub fn plans(&self) -> &[Plan] {
        &self.plans
    }

    /// A cutoff and a number of hops that are enough for every plan.
    pub fn reach(&self) -> Reach {
        let all = self.plans.iter().map(Plan::reach);
        all.fold(Reach::new(0.0, 0), |a, b| Reach::new(a.cutoff.max(b.cutoff), a.hops.max(b.hops)))
    }

    /// The neighbour graph of a structure at the longest cutoff.
    ///
    /// # Errors
    /// As [`Plan::graph`].
    pub fn graph(&self, structure: &Structure) -> Result<Graph> {
        let longest = self.plans.iter().max_by(|a, b| a.rcut().total_cmp(&b.rcut())).expect("a stack has plans");
        longest.graph(structure)
    }

    /// Writes every output that has a view: energies, forces, virials, and those of the members of a committee.
    ///
    /// # Errors
    /// As [`Plan::evaluate`] of any plan, with its place in the stack; other outputs, and lists or addresses on a device, which
    /// belong to one plan.
    pub fn evaluate<'a>(&self, input: impl Into<Input<'a>>, out: &mut Outputs) -> Result<()> {
        let built;
        let (graph, numbers) = match input.into() {
            Input::Graph(graph, numbers) => (graph, numbers),
            Input::Structure(s) => {
                built = self.graph(s)?;
                (&built, &s.numbers[..])
            }
            Input::List(s, list) => match &mut list.0 {
                Place::Host(list) => (list.update(s)?, &s.numbers[..]),
                Place::Device(_) => {
                    return Err(Error::Argument("a list on a device serves one plan, not a stack".into()));
                }
            },
            Input::Exchanged(..) => {
                return Err(Error::Argument("features are exchanged by one plan, not by a stack".into()));
            }
            Input::OnDevice(_) => {
                return Err(Error::Argument("addresses on a device serve one plan, not a stack".into()));
            }
        };
        memory::caught(|| self.on_graph(graph, numbers, out))
    }

    fn on_graph(&self, graph: &Graph, numbers: &[u8], out: &mut Outputs) -> Result<()> {
        let members = if self.is_committee { self.plans.len() } else { 0 };
        let (owned, atoms) = (graph.n_owned(), graph.n_atoms());
        out.check(&Sizes { owned, atoms, edges: Some(graph.n_edges()), members, descriptors: 0 })?;
        if out.grade.is_some() || out.descriptors.is_some() {
            return Err(Error::Argument("grade, descriptors: of a single plan, not of a stack".into()));
        }
        let mut energy = 0.0;
        let mut own = Own::new(out, graph);
        clear(out);
        for (m, plan) in self.plans.iter().enumerate() {
            let evaluated = plan.evaluate((graph, numbers), &mut own.outputs());
            evaluated.map_err(|error| error.of(format_args!("member {m}")))?;
            energy += own.energy;
            own.add(self.share, out);
            own.keep(m, out);
        }
        out.energy.iter_mut().for_each(|e| **e = self.share * energy);
        Ok(())
    }
}

fn clear(out: &mut Outputs) {
    out.site_energies.iter_mut().for_each(|x| x.fill(0.0));
    out.forces.iter_mut().for_each(|x| x.fill(0.0));
    out.virial.iter_mut().for_each(|x| x.fill(0.0));
    out.site_virials.iter_mut().for_each(|x| x.fill(0.0));
    out.edge_gradients.iter_mut().for_each(|x| x.fill(0.0));
}

impl Own {
    fn new(out: &Outputs, graph: &Graph) -> Own {
        let (owned, atoms) = (graph.n_owned(), graph.n_atoms());
        let sites = out.site_energies.is_some() || out.committee_site_energies.is_some();
        let forces = out.forces.is_some() || out.committee_forces.is_some();
        let virial = out.virial.is_some() || out.committee_virials.is_some();
        Own {
            energy: 0.0,
            site_energies: sites.then(|| Array1::zeros(owned)),
            forces: forces.then(|| Array2::zeros((atoms, 3))),
            virial: virial.then(|| Array2::zeros((3, 3))),
            site_virials: out.site_virials.as_ref().map(|_| Array3::zeros((atoms, 3, 3))),
            edge_gradients: out.edge_gradients.as_ref().map(|_| Array2::zeros((graph.n_edges(), 3))),
        }
    }

    fn outputs(&mut self) -> Outputs<'_> {
        let mut out = Outputs::new().energy(&mut self.energy);
        out.site_energies = self.site_energies.as_mut().map(|x| x.view_mut());
        out.forces = self.forces.as_mut().map(|x| x.view_mut());
        out.virial = self.virial.as_mut().map(|x| x.view_mut());
        out.site_virials = self.site_virials.as_mut().map(|x| x.view_mut());
        out.edge_gradients = self.edge_gradients.as_mut().map(|x| x.view_mut());
        out
    }

    fn add(&self, share: f64, out: &mut Outputs) {
        add(share, &self.site_energies, &mut out.site_energies);
        add(share, &self.forces, &mut out.forces);
        add(share, &self.virial, &mut out.virial);
        add(share, &self.site_virials, &mut out.site_virials);
        add(share, &self.edge_gradients, &mut out.edge_gradients);
    }

    /// As the results of member `m`.
    fn keep(&self, m: usize, out: &mut Outputs) {
        out.committee_energies.iter_mut().for_each(|e| e[m] = self.energy);
        keep(m, &self.site_energies, &mut out.committee_site_energies);
        keep(m, &self.forces, &mut out.committee_forces);
        keep(m, &self.virial, &mut out.committee_virials);
    }
}

fn add<D: Dimension>(share: f64, from: &Option<Array<f64, D>>, to: &mut Option<ArrayViewMut<f64, D>>) {
    if let (Some(from), Some(to)) = (from, to) {
        to.scaled_add(share, from);
    }
}

fn keep<D: Dimension, E: RemoveAxis<Smaller = D>>(
    m: usize,
    from: &Option<Array<f64, D>>,
    to: &mut Option<ArrayViewMut<f64, E>>,
) {
    if let (Some(from), Some(to)) = (from, to) {
        to.index_axis_mut(Axis(0), m).assign(from);
    }
}
