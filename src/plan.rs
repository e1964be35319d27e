//! A plan is a model on a device in a precision: validated and laid out once, executed many times.

pub use crate::cpu::assemble::Rows;
use crate::cpu::{self, Engine, Gradients, Outputs};
use crate::element;
use crate::graph::Graph;
use crate::model::Model;
pub use crate::neighbours::Neighbours;
#[cfg(feature = "cuda")]
pub use crate::neighbours::OnDevice;
pub use crate::simd::Isa;
pub use crate::site::RadialMode;
use crate::structure::Structure;
use crate::{Error, Result};
use std::ops::Range;
use std::sync::Mutex;

/// Where a plan runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The processor, on the threads of rayon's current pool.
    Cpu,
    /// The CUDA device of this index.
    Cuda(usize),
}

/// The working precision. Positions are subtracted, and atoms summed, in double precision whatever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    F64,
    /// Single precision, but for the transform of distances.
    F32,
    /// Single precision for the transform as well, on CUDA devices; on the processor the same as [`Precision::F32`].
    Mixed,
}

impl Precision {
    /// Whether radial functions and products are in single precision.
    pub fn is_single(self) -> bool {
        self != Precision::F64
    }
}

/// What a plan may be told beyond device and precision.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// `None`: [`RadialMode::Exact`].
    pub radial: Option<RadialMode>,
    /// `None`: the best instruction set of the processor.
    pub isa: Option<Isa>,
}

/// A virial, `V[a][b] = −Σ g[a] r[b]`, eV.
pub type Virial = [[f64; 3]; 3];

/// A model made ready for a device. Shared freely between threads.
pub struct Plan {
    model: Model,
    device: Device,
    precision: Precision,
    /// Readout 0 is the model's own; the committee follows.
    engine: Box<dyn Engine>,
    committee: Vec<Vec<f64>>,
    /// Species index of every atomic number.
    species_of_number: [u32; 256],
    /// Species lists that outlive a call.
    species: Mutex<Vec<Species>>,
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
    /// [`Error::Device`] where the device or instruction set is missing; [`Error::Argument`] for a table
    /// tolerance that is not above 1e-15.
    pub fn with_options(model: &Model, device: Device, precision: Precision, options: Options) -> Result<Plan> {
        let mode = options.radial.unwrap_or(RadialMode::Exact);
        if let RadialMode::Table { tolerance } = mode
            && (tolerance.is_nan() || tolerance <= 1e-15)
        {
            return Err(Error::Argument(format!("table tolerance {tolerance} is not above 1e-15")));
        }
        let engine = match device {
            Device::Cpu => {
                let isa = options.isa.unwrap_or_else(Isa::detect);
                if !isa.is_available() {
                    return Err(Error::Device(format!("this processor has no {isa:?}")));
                }
                cpu::engine(model, precision.is_single(), mode, isa)
            }
            #[cfg(feature = "cuda")]
            Device::Cuda(index) => Box::new(crate::cuda::Cuda::new(model, index, precision)?),
            #[cfg(not(feature = "cuda"))]
            Device::Cuda(_) => return Err(Error::Device("this build has no CUDA backend (feature `cuda`)".into())),
        };
        let mut species_of_number = [UNKNOWN; 256];
        for (index, &number) in model.species().iter().enumerate() {
            species_of_number[number as usize] = index as u32;
        }
        Ok(Plan {
            model: model.clone(),
            device,
            precision,
            engine,
            committee: Vec::new(),
            species_of_number,
            species: Mutex::new(Vec::new()),
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

    /// The largest cutoff, Å; 0 where no part has neighbours.
    pub fn rcut(&self) -> f64 {
        self.model.rcut()
    }

    /// The number of linear parameters.
    pub fn length_basis(&self) -> usize {
        self.model.length_basis()
    }

    /// Basis functions a site, all parts together.
    pub fn n_basis(&self) -> usize {
        self.length_basis() / self.model.species().len()
    }

    /// Bytes of tables and coefficients.
    pub fn bytes(&self) -> usize {
        self.engine.bytes()
    }

    /// Replaces the linear parameters, (length_basis), in the order of [`Model::linear_parameters`].
    ///
    /// # Errors
    /// A wrong length, or a parameter that is not finite; nothing is changed then.
    pub fn set_linear_parameters(&mut self, parameters: &[f64]) -> Result<()> {
        self.model.set_linear_parameters(parameters)?;
        self.set_readouts()
    }

    /// The committee's parameter vectors.
    pub fn committee(&self) -> &[Vec<f64>] {
        &self.committee
    }

    /// Sets the committee: parameter vectors of length `length_basis` each. An empty list removes it.
    ///
    /// # Errors
    /// As [`Plan::set_linear_parameters`]; nothing is changed then.
    pub fn set_committee(&mut self, members: &[Vec<f64>]) -> Result<()> {
        for (k, member) in members.iter().enumerate() {
            let checked = self.model.clone().set_linear_parameters(member);
            checked.map_err(|e| Error::Argument(format!("committee member {k}: {e}")))?;
        }
        self.committee = members.to_vec();
        self.set_readouts()
    }

    fn set_readouts(&mut self) -> Result<()> {
        let own = self.model.linear_parameters();
        self.engine.set_readouts(&[&[own], &self.committee[..]].concat())
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

    /// Site energies of the centres into `out` (n_centres), eV; returns their sum.
    ///
    /// `numbers` (n_atoms) are atomic numbers, here and below.
    ///
    /// # Errors
    /// [`Error::Argument`] for a wrong length or an element that the model does not know, here and below.
    pub fn site_energies(&self, graph: &Graph, numbers: &[u8], out: &mut [f64]) -> Result<f64> {
        check("site_energies", out.len(), graph.n_centres())?;
        self.with_species(graph, numbers, |species| {
            self.engine.evaluate(graph, species, 0..1, Outputs { site_energies: out, gradients: None })?;
            Ok(total(out))
        })
    }

    /// The energy, eV.
    ///
    /// # Errors
    /// As [`Plan::site_energies`].
    pub fn energy(&self, graph: &Graph, numbers: &[u8]) -> Result<f64> {
        self.site_energies(graph, numbers, &mut vec![0.0; graph.n_centres()])
    }

    /// Site energies (n_centres), eV, and forces (n_atoms, 3), eV/Å; returns energy and virial, eV.
    ///
    /// Atoms beyond the centres (ghosts) get the forces that the centres exert on them.
    ///
    /// # Errors
    /// As [`Plan::site_energies`].
    pub fn energy_forces_virial(
        &self,
        graph: &Graph,
        numbers: &[u8],
        site_energies: &mut [f64],
        forces: &mut [[f64; 3]],
    ) -> Result<(f64, Virial)> {
        let mut virial = [[[0.0; 3]; 3]];
        let mut energy = [0.0];
        let out = Committee { energies: &mut energy, site_energies, forces, virials: &mut virial };
        self.readouts(graph, numbers, 0..1, out)?;
        Ok((energy[0], virial[0]))
    }

    /// Energies, forces and virials of every committee member, from one pass over the basis.
    ///
    /// # Errors
    /// As [`Plan::site_energies`].
    pub fn committee_energy_forces_virial(&self, graph: &Graph, numbers: &[u8], out: Committee) -> Result<()> {
        self.readouts(graph, numbers, 1..1 + self.committee.len(), out)
    }

    fn readouts(&self, graph: &Graph, numbers: &[u8], readouts: Range<usize>, out: Committee) -> Result<()> {
        let (k, n) = (readouts.len(), graph.n_centres());
        check("energies", out.energies.len(), k)?;
        check("site_energies", out.site_energies.len(), k * n)?;
        check("forces", out.forces.len(), k * graph.n_atoms())?;
        check("virials", out.virials.len(), k)?;
        self.with_species(graph, numbers, |species| {
            let gradients = Gradients { forces: out.forces, virial: out.virials, edges: None };
            let outputs = Outputs { site_energies: out.site_energies, gradients: Some(gradients) };
            self.engine.evaluate(graph, species, readouts, outputs)?;
            for (k, energy) in out.energies.iter_mut().enumerate() {
                *energy = total(&out.site_energies[k * n..][..n]);
            }
            Ok(())
        })
    }

    /// Site energies (n_centres), eV, and edge gradients `∂E_i/∂r_ij` (n_edges, 3), eV/Å.
    ///
    /// # Errors
    /// As [`Plan::site_energies`].
    pub fn site_grads(
        &self,
        graph: &Graph,
        numbers: &[u8],
        site_energies: &mut [f64],
        gradients: &mut [[f64; 3]],
    ) -> Result<()> {
        check("site_energies", site_energies.len(), graph.n_centres())?;
        check("gradients", gradients.len(), graph.n_edges())?;
        self.with_species(graph, numbers, |species| {
            let mut forces = vec![[0.0; 3]; graph.n_atoms()];
            let mut virial = [[[0.0; 3]; 3]];
            let gradients = Gradients { forces: &mut forces, virial: &mut virial, edges: Some(gradients) };
            self.engine.evaluate(graph, species, 0..1, Outputs { site_energies, gradients: Some(gradients) })
        })
    }

    /// The site basis, (n_centres, n_basis), the parts side by side.
    ///
    /// # Errors
    /// As [`Plan::site_energies`].
    pub fn site_basis(&self, graph: &Graph, numbers: &[u8], basis: &mut [f64]) -> Result<()> {
        check("basis", basis.len(), graph.n_centres() * self.n_basis())?;
        self.with_species(graph, numbers, |species| self.engine.basis(graph, species, basis))
    }

    /// The site basis, (n_centres, n_basis), and `∂B_b/∂r_ij`, (n_edges, n_basis, 3), 1/Å.
    ///
    /// # Errors
    /// As [`Plan::site_energies`].
    pub fn site_basis_jacobian(
        &self,
        graph: &Graph,
        numbers: &[u8],
        basis: &mut [f64],
        jacobian: &mut [f64],
    ) -> Result<()> {
        check("basis", basis.len(), graph.n_centres() * self.n_basis())?;
        check("jacobian", jacobian.len(), graph.n_edges() * self.n_basis() * 3)?;
        self.with_species(graph, numbers, |species| self.engine.jacobian(graph, species, basis, jacobian))
    }

    /// The design rows of a structure: `E = row·θ`, `F = rows·θ`, `V = rows·θ`, one-body energies left out.
    ///
    /// # Errors
    /// As [`Plan::site_energies`], and matrices of another shape than [`Rows`] says.
    pub fn assemble(&self, graph: &Graph, numbers: &[u8], rows: &mut Rows) -> Result<()> {
        let n_params = self.length_basis();
        let forces = 3 * graph.n_atoms();
        for (name, matrix, n_rows) in [
            ("energy row", &rows.energy, vec![1]),
            ("force rows", &rows.forces, vec![forces]),
            ("virial rows", &rows.virial, vec![9, 6]),
        ] {
            let Some(matrix) = matrix else { continue };
            check(&format!("columns of the {name}"), matrix.n_cols(), n_params)?;
            if !n_rows.contains(&matrix.n_rows()) {
                check(&format!("number of {name}"), matrix.n_rows(), n_rows[0])?;
            }
        }
        self.with_species(graph, numbers, |species| self.engine.assemble(graph, species, rows))
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
        // One-body models have no neighbours.
        self.engine.neighbours(self.rcut().max(1e-3), skin)
    }

    /// As [`Plan::site_energies`], neighbour list included: the way for small systems and simulations.
    ///
    /// # Errors
    /// As [`Graph::build`] and [`Plan::site_energies`]; a list of another device.
    pub fn structure_energies(
        &self,
        list: &mut Neighbours,
        structure: &Structure,
        site_energies: &mut [f64],
    ) -> Result<f64> {
        self.with_structure(list, structure, site_energies.len(), |list, species| {
            self.engine.structure(list, structure, species, Outputs { site_energies, gradients: None })
        })
    }

    /// As [`Plan::energy_forces_virial`], neighbour list included.
    ///
    /// # Errors
    /// As [`Plan::structure_energies`].
    pub fn structure_energy_forces_virial(
        &self,
        list: &mut Neighbours,
        structure: &Structure,
        site_energies: &mut [f64],
        forces: &mut [[f64; 3]],
    ) -> Result<(f64, Virial)> {
        check("forces", forces.len(), structure.n_atoms())?;
        self.with_structure(list, structure, site_energies.len(), |list, species| {
            let mut virial = [[[0.0; 3]; 3]];
            let gradients = Some(Gradients { forces, virial: &mut virial, edges: None });
            let energy = self.engine.structure(list, structure, species, Outputs { site_energies, gradients })?;
            Ok((energy, virial[0]))
        })
    }

    /// Energy and virial of a structure whose positions are in the memory of this plan's device, where site energies
    /// and forces are left as well. Waits for the result.
    ///
    /// # Safety
    /// The addresses must be those of memory on this plan's device, as large as [`OnDevice`] says.
    ///
    /// # Errors
    /// As [`Plan::structure_energies`]; a plan that is not on a CUDA device.
    #[cfg(feature = "cuda")]
    pub unsafe fn device_energy_forces_virial(&self, list: &mut Neighbours, at: &OnDevice) -> Result<(f64, Virial)> {
        self.check_list(list)?;
        self.with_numbers(at.numbers, |species| self.engine.device_structure(list, at, species))
    }

    fn with_structure<T>(
        &self,
        list: &mut Neighbours,
        structure: &Structure,
        n_energies: usize,
        f: impl FnOnce(&mut Neighbours, &[u32]) -> Result<T>,
    ) -> Result<T> {
        self.check_list(list)?;
        check("site_energies", n_energies, structure.n_atoms())?;
        check("numbers", structure.numbers.len(), structure.n_atoms())?;
        self.with_numbers(&structure.numbers, |species| f(list, species))
    }

    fn check_list(&self, list: &Neighbours) -> Result<()> {
        match list.rcut() < self.rcut() {
            true => Err(Error::Graph(format!(
                "the list's cutoff, {} Å, is less than the plan's, {} Å",
                list.rcut(),
                self.rcut()
            ))),
            false => Ok(()),
        }
    }

    /// Runs `f` on the species indices of `numbers`.
    fn with_species<T>(&self, graph: &Graph, numbers: &[u8], f: impl FnOnce(&[u32]) -> Result<T>) -> Result<T> {
        check("numbers", numbers.len(), graph.n_atoms())?;
        self.with_numbers(numbers, f)
    }

    fn with_numbers<T>(&self, numbers: &[u8], f: impl FnOnce(&[u32]) -> Result<T>) -> Result<T> {
        let mut species = self.species.lock().unwrap_or_else(|e| e.into_inner()).pop().unwrap_or_default();
        // Most often the atoms are those of the last call.
        if species.numbers != numbers {
            species.numbers.clear();
            species.numbers.extend_from_slice(numbers);
            species.indices.clear();
            species.indices.extend(numbers.iter().map(|&z| self.species_of_number[z as usize]));
            if let Some(atom) = species.indices.iter().position(|&s| s == UNKNOWN) {
                return Err(self.unknown(atom, numbers[atom]));
            }
        }
        let result = f(&species.indices);
        self.species.lock().unwrap_or_else(|e| e.into_inner()).push(species);
        result
    }

    fn unknown(&self, atom: usize, number: u8) -> Error {
        let name = |z: u8| element::symbol(z).map_or_else(|| format!("element {z}"), str::to_owned);
        let known: Vec<_> = self.model.species().iter().map(|&z| name(z)).collect();
        Error::Argument(format!("atom {atom} is {}; the model knows {}", name(number), known.join(", ")))
    }
}

/// The sum, in a fixed order that does not wait for each addition.
fn total(energies: &[f64]) -> f64 {
    let (chunks, rest) = energies.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, e)| *sum += e);
    }
    sums.iter().chain(rest).sum()
}

/// Where the results of several readouts go, one after another.
#[derive(Debug)]
pub struct Committee<'a> {
    /// (n_readouts), eV.
    pub energies: &'a mut [f64],
    /// (n_readouts, n_centres), eV.
    pub site_energies: &'a mut [f64],
    /// (n_readouts, n_atoms, 3), eV/Å.
    pub forces: &'a mut [[f64; 3]],
    /// (n_readouts, 3, 3), eV.
    pub virials: &'a mut [Virial],
}

fn check(what: &str, found: usize, expected: usize) -> Result<()> {
    match found == expected {
        true => Ok(()),
        false => Err(Error::Argument(format!("{what}: expected {expected}, got {found}"))),
    }
}
