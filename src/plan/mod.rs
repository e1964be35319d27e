//! A plan is a model on a device in a precision: validated and laid out once, executed many times.

#[cfg(feature = "cuda")]
mod domains;
mod input;
mod options;
mod uncertainty;

pub use crate::device::Device;
pub use crate::dtype::{Arithmetic, Dtype};
pub use crate::graph::{Neighbours, OnDevice};
pub use crate::potential::{ActiveSet, Conditions, Outputs, Reach, Rows, Virial};
pub use crate::precision::Precision;
pub use crate::simd::Isa;
pub use crate::stage::table::RadialMode;
pub use input::Input;
pub use options::Options;

use crate::cpu;
use crate::element;
use crate::graph::{Exchange, Graph, Place, Sites};
use crate::memory::{self, Kept};
use crate::model::Model;
use crate::potential::{Buffers, Grader, LinearPotential, Potential, Sizes, Triangles, check_view};
use crate::structure::Structure;
use crate::{Error, Result};
#[cfg(feature = "cuda")]
use domains::Domains;
use input::AtAddresses;
use ndarray::{ArrayViewMut2, ArrayViewMut3};
use std::fmt::{self, Debug, Formatter};

/// A model made ready for a device. Shared freely between threads.
pub struct Plan {
    model: Model,
    device: Device,
    precision: Precision,
    potential: Box<dyn Potential>,
    committee: Vec<Vec<f64>>,
    active: Option<Grader>,
    /// Species index of every atomic number.
    species_of_number: [u32; 256],
    /// Species lists that outlive a call.
    species: Kept<Species>,
    /// What grades are computed from.
    features: Kept<Vec<f64>>,
}

impl Debug for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Plan { model, device, precision, committee, .. } = self;
        write!(f, "Plan({}, {device:?}, {precision}, {} committee members)", model.spec().name, committee.len())
    }
}

/// Atomic numbers and the indices of their species.
#[derive(Default)]
struct Species {
    numbers: Vec<u8>,
    indices: Vec<u32>,
}

const UNKNOWN: u32 = u32::MAX;

impl Plan {
    /// A plan with the default options.
    ///
    /// # Errors
    /// [`Error::Device`] where the device is missing.
    pub fn new(model: &Model, device: Device, precision: Precision) -> Result<Plan> {
        Plan::with_options(model, device, precision, Options::default())
    }

    /// # Errors
    /// [`Error::Device`] where the device or instruction set is missing; [`Error::Argument`] for a table tolerance that is not above
    /// 1e-15 and below 1, and for options that the device or the model does not have.
    pub fn with_options(model: &Model, device: Device, precision: Precision, options: Options) -> Result<Plan> {
        options.check_precision(model, device, precision)?;
        let mode = options.radial.unwrap_or(RadialMode::Exact);
        if let RadialMode::Table { tolerance } = mode
            && !(tolerance > 1e-15 && tolerance < 1.0)
        {
            return Err(Error::Argument(format!("table tolerance {tolerance} is not above 1e-15 and below 1")));
        }
        if matches!(mode, RadialMode::Table { .. }) && model.mace().is_some() {
            return Err(Error::Argument("radial table: MACE models have tables of their own".into()));
        }
        if mode == RadialMode::PaceTable {
            if precision.is_single() {
                let message = format!("radial pace-table: slopes over its fine steps take f64, not {precision}");
                return Err(Error::Argument(message));
            }
            model.check_pace_tables()?;
        }
        if let (Device::Cuda(_) | Device::Cudas { .. }, Some(isa)) = (device, options.isa) {
            return Err(Error::Argument(format!("instruction set {isa:?}: CUDA devices have none of the processor's")));
        }
        let potential: Box<dyn Potential> = match device {
            Device::Cudas { n: 0, .. } => return Err(Error::Argument("0 devices: there is nothing to run on".into())),
            Device::Cpu => {
                let isa = options.isa.unwrap_or_else(Isa::detect);
                if !isa.is_available() {
                    return Err(Error::Device(format!("this processor has no {isa:?}")));
                }
                cpu::potential(model, precision, mode, isa)?
            }
            #[cfg(feature = "cuda")]
            Device::Cuda(index) => crate::cuda::potential(model, index, precision, mode)?,
            #[cfg(feature = "cuda")]
            Device::Cudas { first, n } => {
                let one = |k| crate::cuda::potential(model, k, precision, mode);
                Box::new(Domains::new((first..first.saturating_add(n)).map(one).collect::<Result<_>>()?))
            }
            #[cfg(not(feature = "cuda"))]
            Device::Cuda(_) | Device::Cudas { .. } => {
                return Err(Error::Device("this build has no CUDA backend (feature `cuda`)".into()));
            }
        };
        let mut species_of_number = [UNKNOWN; 256];
        for (index, &number) in model.species().iter().enumerate() {
            species_of_number[number as usize] = index as u32;
        }
        Ok(Plan {
            model: model.clone(),
            device,
            precision,
            potential,
            committee: Vec::new(),
            active: None,
            species_of_number,
            species: Kept::default(),
            features: Kept::default(),
        })
    }

    /// The same plan under other conditions, such as another head or charge. Weights and tables are shared: cheap enough for each call.
    ///
    /// A charge or spin that a MACE model does not embed changes nothing: data have them for other models' sake.
    ///
    /// # Errors
    /// [`Error::Argument`] for a head that the model does not have, and for any condition of a model that knows none.
    pub fn at(&self, conditions: &Conditions) -> Result<Plan> {
        Ok(Plan {
            model: self.model.clone(),
            device: self.device,
            precision: self.precision,
            potential: self.potential.at(conditions)?,
            committee: Vec::new(),
            active: None,
            species_of_number: self.species_of_number,
            species: Kept::default(),
            features: Kept::default(),
        })
    }

    /// The model, with the current linear parameters.
    pub fn model(&self) -> &Model {
        &self.model
    }

    pub fn device(&self) -> Device {
        self.device
    }

    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// How far energies look.
    pub fn reach(&self) -> Reach {
        self.potential.reach()
    }

    /// The cutoff that graphs need, Å; 0 where no part has neighbours.
    pub fn rcut(&self) -> f64 {
        self.reach().cutoff
    }

    /// The number of linear parameters.
    pub fn length_basis(&self) -> usize {
        self.model.length_basis()
    }

    /// Basis functions a site, all parts together.
    pub fn n_basis(&self) -> usize {
        self.length_basis() / self.model.species().len()
    }

    /// How many descriptors an atom has.
    pub fn n_descriptors(&self) -> usize {
        self.potential.n_descriptors()
    }

    /// Numbers in the longest row of an [`Exchange`]; 0 where there is nothing to exchange.
    pub fn n_exchanged(&self) -> usize {
        self.potential.n_exchanged()
    }

    /// Bytes of tables and coefficients.
    pub fn bytes(&self) -> usize {
        self.potential.bytes()
    }

    /// Replaces the linear parameters, (length_basis), in the order of [`Model::linear_parameters`].
    ///
    /// # Errors
    /// A wrong length, or a parameter that is not finite; nothing is changed then.
    pub fn set_linear_parameters(&mut self, parameters: &[f64]) -> Result<()> {
        self.model.set_linear_parameters(parameters)?;
        self.set_readouts()
    }

    fn set_readouts(&mut self) -> Result<()> {
        let own = self.model.linear_parameters();
        let readouts = [&[own], &self.committee[..]].concat();
        self.potential.linear_mut().ok_or_else(not_linear)?.set_readouts(&readouts)
    }

    fn linear(&self) -> Result<&dyn LinearPotential> {
        self.model.check_linear()?;
        self.potential.linear().ok_or_else(not_linear)
    }

    /// The neighbour graph of a structure at this plan's cutoff.
    ///
    /// # Errors
    /// As [`Graph::build`].
    pub fn graph(&self, structure: &Structure) -> Result<Graph> {
        if self.rcut() > 0.0 {
            return Graph::build(structure, self.rcut());
        }
        structure.validate()?;
        Ok(Graph::isolated(structure.n_atoms()))
    }

    /// Writes every output that has a view.
    ///
    /// ```
    /// # use acerust::{model::Model, plan::{Device, Outputs, Plan, Precision}, structure::Structure};
    /// # let model = Model::load("benchmark/models/si_fit.json")?;
    /// # let plan = Plan::new(&model, Device::Cpu, Precision::F64)?;
    /// let crystal = Structure::diamond(14, 5.47).rattle(0.05, 1);
    /// let (mut energy, mut forces) = (0.0, [[0.0; 3]; 8]);
    /// plan.evaluate(&crystal, &mut Outputs::new().energy(&mut energy).forces(&mut forces[..]))?;
    /// let graph = plan.graph(&crystal)?;
    /// let mut virial = [[0.0; 3]; 3];
    /// plan.evaluate((&graph, &crystal.numbers), &mut Outputs::new().virial(&mut virial[..]))?;
    /// # Ok::<(), acerust::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] for a view of the wrong size, an element that the model does not know, or an output that the potential
    /// does not have; [`Error::Graph`] for a graph or list whose cutoff is less than the plan's; [`Error::NotFinite`] for
    /// results that are none, with the atom; [`Error::Memory`]; for structures as [`Graph::build`].
    pub fn evaluate<'a>(&self, input: impl Into<Input<'a>>, out: &mut Outputs) -> Result<()> {
        let input = input.into();
        out.check(&self.sizes(&input))?;
        memory::caught(|| match input {
            Input::Graph(graph, numbers) => self.on_graph(graph, numbers, None, out),
            Input::Exchanged(graph, numbers, exchange) => self.on_graph(graph, numbers, Some(exchange), out),
            Input::Structure(structure) => self.on_graph(&self.graph(structure)?, &structure.numbers, None, out),
            Input::List(structure, list) => {
                self.check_list(list)?;
                check("numbers", structure.numbers.len(), structure.n_atoms())?;
                match &mut list.0 {
                    Place::Host(list) => self.on_graph(list.update(structure)?, &structure.numbers, None, out),
                    Place::Device(_) => self.with_numbers(&structure.numbers, |species| {
                        self.potential.evaluate_list(list, structure, species, out)
                    }),
                }
            }
            Input::OnDevice(AtAddresses(at, list)) => {
                self.check_list(list)?;
                self.with_numbers(at.numbers, |species| {
                    // SAFETY: who made the input has promised that the addresses are what they have to be.
                    unsafe { self.potential.evaluate_on_device(list, &at, species, out) }
                })
            }
        })
    }

    /// The views of slices for a structure.
    pub(crate) fn views<'a>(&self, structure: &Structure, buffers: Buffers<'a>) -> Result<Outputs<'a>> {
        buffers.views(&self.sizes(&Input::Structure(structure)))
    }

    /// [`Plan::evaluate`] into slices.
    pub(crate) fn evaluate_into(&self, input: Input, buffers: Buffers) -> Result<()> {
        let mut out = buffers.views(&self.sizes(&input))?;
        self.evaluate(input, &mut out)
    }

    /// As [`Potential::evaluate_joined`].
    pub(crate) fn evaluate_joined(
        &self,
        (graph, numbers): (&Graph, &[u8]),
        first: &[usize],
        virials: &mut [Virial],
        out: &mut Outputs,
    ) -> Result<()> {
        let evaluate = |sites: Sites| self.potential.evaluate_joined(sites, first, virials, out);
        memory::caught(|| self.with_sites(graph, numbers, evaluate))
    }

    /// As [`Potential::fits`].
    pub(crate) fn fits(&self, atoms: usize, edges: usize, gradients: bool) -> bool {
        self.potential.fits(atoms, edges, gradients)
    }

    /// # Errors
    /// As [`Plan::evaluate`] for a view of the wrong size.
    pub(crate) fn check_outputs(&self, structure: &Structure, out: &Outputs) -> Result<()> {
        out.check(&self.sizes(&Input::Structure(structure)))
    }

    fn on_graph(
        &self,
        graph: &Graph,
        numbers: &[u8],
        exchange: Option<&mut dyn Exchange>,
        out: &mut Outputs,
    ) -> Result<()> {
        if out.grade.is_some() && self.active.is_none() {
            return Err(Error::Argument("grade: the plan has no active set".into()));
        }
        self.with_sites(graph, numbers, |sites| {
            self.potential.evaluate(sites, exchange, out)?;
            self.grade(sites, out)
        })
    }

    fn sizes(&self, input: &Input) -> Sizes {
        let (owned, atoms, edges) = match input {
            Input::Structure(s) | Input::List(s, _) => (s.n_atoms(), s.n_atoms(), None),
            Input::Graph(graph, _) | Input::Exchanged(graph, ..) => {
                (graph.n_owned(), graph.n_atoms(), Some(graph.n_edges()))
            }
            Input::OnDevice(AtAddresses(at, _)) => (at.numbers.len(), at.numbers.len(), None),
        };
        Sizes { owned, atoms, edges, members: self.committee.len(), descriptors: self.n_descriptors() }
    }

    /// The energy alone, eV.
    ///
    /// # Errors
    /// As [`Plan::evaluate`].
    pub fn energy<'a>(&self, input: impl Into<Input<'a>>) -> Result<f64> {
        let mut energy = 0.0;
        self.evaluate(input, &mut Outputs::new().energy(&mut energy))?;
        Ok(energy)
    }

    /// The site basis, (n_owned, n_basis), the parts side by side, and `∂B_b/∂r_ij`, (n_edges, n_basis, 3), 1/Å, of linear
    /// potentials. For the basis alone see [`Outputs::descriptors`].
    ///
    /// # Errors
    /// As [`Plan::evaluate`]; a potential that is not linear.
    pub fn site_basis_jacobian<'a>(
        &self,
        graph: &Graph,
        numbers: &[u8],
        basis: impl Into<Option<ArrayViewMut2<'a, f64>>>,
        jacobian: impl Into<Option<ArrayViewMut3<'a, f64>>>,
    ) -> Result<()> {
        let (basis, jacobian) = (basis.into(), jacobian.into());
        let n_basis = self.n_basis();
        if let Some(basis) = &basis {
            check_view("basis", basis, &[graph.n_owned(), n_basis])?;
        }
        if let Some(jacobian) = &jacobian {
            check_view("jacobian", jacobian, &[graph.n_edges(), n_basis, 3])?;
        }
        memory::caught(|| self.with_sites(graph, numbers, |sites| self.linear()?.jacobian(sites, basis, jacobian)))
    }

    /// The design rows of a linear potential: `E = row·θ`, `F = rows·θ`, `V = rows·θ`, one-body energies and repulsion left out.
    ///
    /// # Errors
    /// As [`Plan::evaluate`], and matrices of another shape than [`Rows`] says; a potential that is not linear.
    pub fn assemble(&self, graph: &Graph, numbers: &[u8], rows: &mut Rows) -> Result<()> {
        rows.check(graph.n_atoms(), self.length_basis())?;
        memory::caught(|| self.with_sites(graph, numbers, |sites| self.linear()?.assemble(sites, rows)))
    }

    /// Where the device keeps the rows of a fit with so many columns; `None`: they go to the host.
    ///
    /// # Errors
    /// A potential that is not linear; what the device lacks: memory, or the library that factorises.
    pub(crate) fn triangles(&self, n_columns: usize) -> Result<Option<Box<dyn Triangles>>> {
        self.linear()?.triangles(n_columns)
    }

    /// An empty neighbour list on the device of this plan, to be reused while no atom has moved by more than half
    /// the skin (Å).
    ///
    /// # Errors
    /// A skin that is negative or not finite; no memory on the device.
    pub fn neighbours(&self, skin: f64) -> Result<Neighbours> {
        if !(skin >= 0.0 && skin.is_finite()) {
            return Err(Error::Argument(format!("skin {skin} Å is negative or not finite")));
        }
        self.potential.neighbours(skin)
    }

    fn check_list(&self, list: &Neighbours) -> Result<()> {
        match list.cutoff() < self.rcut() {
            true => Err(Error::Graph(format!(
                "the list's cutoff, {} Å, is less than the potential's, {} Å",
                list.cutoff(),
                self.rcut()
            ))),
            false => Ok(()),
        }
    }

    /// Runs `f` on the atoms of a graph that has all edges and no strange elements.
    fn with_sites<T>(&self, graph: &Graph, numbers: &[u8], f: impl FnOnce(Sites) -> Result<T>) -> Result<T> {
        graph.check(self.rcut())?;
        check("numbers", numbers.len(), graph.n_atoms())?;
        let n_species = self.model.species().len();
        self.with_numbers(numbers, |species| f(Sites { graph, species, n_species }))
    }

    fn with_numbers<T>(&self, numbers: &[u8], f: impl FnOnce(&[u32]) -> Result<T>) -> Result<T> {
        let mut species = self.species.take();
        // Most often the atoms are those of the last call.
        if species.numbers != numbers {
            species.numbers.clear();
            species.indices.clear();
            if let Some(atom) = numbers.iter().position(|&z| self.species_of_number[z as usize] == UNKNOWN) {
                return Err(self.unknown(atom, numbers[atom]));
            }
            species.numbers.extend_from_slice(numbers);
            species.indices.extend(numbers.iter().map(|&z| self.species_of_number[z as usize]));
        }
        f(&species.indices)
    }

    fn unknown(&self, atom: usize, number: u8) -> Error {
        let name = |z: u8| element::symbol(z).map_or_else(|| format!("element {z}"), str::to_owned);
        let known: Vec<_> = self.model.species().iter().map(|&z| name(z)).collect();
        Error::Argument(format!("atom {atom} is {}; the model knows {}", name(number), known.join(", ")))
    }
}

fn not_linear() -> Error {
    Error::Argument("the potential is not linear in parameters".into())
}

fn check(what: &str, found: usize, expected: usize) -> Result<()> {
    match found == expected {
        true => Ok(()),
        false => Err(Error::Argument(format!("{what}: expected {expected}, got {found}"))),
    }
}
