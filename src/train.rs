//! Training of MACE models: energies, forces and virials as functions of the parameters, and the gradients of losses on them.
//!
//! ```
//! use acerust::{model::Model, plan::Conditions, structure::Structure, train::{Cotangent, Training}};
//!
//! let mut training = Training::<f64>::new(&Model::load("test/mace/tiny.json")?)?;
//! let crystal = Structure { numbers: vec![3, 9], ..Structure::bcc(0, 3.3).rattle(0.2, 1) };
//! let (energy, mut gradient) = (-7.0, vec![0.0; training.values().len()]);
//! for _ in 0..10 {
//!     // The loss (E − energy)² and a step down.
//!     let run = training.evaluate(&crystal, &Conditions::new())?;
//!     gradient.fill(0.0);
//!     training.gradient(&run, &Cotangent { energy: 2.0 * (run.energy - energy), ..Cotangent::default() }, &mut gradient)?;
//!     let step = |(x, g): (&f64, &f64)| x - 1e-4 * g;
//!     let better: Vec<f64> = training.values().iter().zip(&gradient).map(step).collect();
//!     training.set_values(&better)?;
//! }
//! let model = training.model()?;
//! # assert!(model.mace().is_some());
//! # Ok::<(), acerust::Error>(())
//! ```

use crate::device::Device;
use crate::dtype::Storage;
use crate::graph::Graph;
use crate::mace::train::{self, Sites, Trainable};
use crate::memory;
use crate::model::Model;
use crate::potential::{Conditions, Virial, messages, stack};
use crate::structure::Structure;
use crate::{Error, Result};

pub use crate::mace::train::Parameter;

/// A MACE model whose parameters change. `S` is the type of weights and intermediates, `f64`, `f32`, `f16` or `bf16`; positions, radial features
/// and sums over atoms are double in any case.
///
/// Parameters are all that the training program trains: not energies of isolated atoms, scale and shift.
#[derive(Debug)]
pub struct Training<S: Storage = f64> {
    name: String,
    trainable: Trainable<S>,
}

/// What a model says of a structure, to be differentiated.
#[derive(Debug)]
#[non_exhaustive]
pub struct Evaluation<S: Storage = f64> {
    /// eV.
    pub energy: f64,
    /// (n_atoms), eV.
    pub site_energies: Vec<f64>,
    /// (n_atoms, 3), eV/Å.
    pub forces: Vec<[f64; 3]>,
    /// eV; stress = −virial / volume.
    pub virial: Virial,
    graph: Graph,
    run: train::Evaluated<S>,
}

/// The derivatives of a loss by results; those of what it does not know are zero.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cotangent<'a> {
    /// By the energy, 1/eV.
    pub energy: f64,
    /// By the energy of each atom besides, (n_atoms), 1/eV.
    pub site_energies: Option<&'a [f64]>,
    /// (n_atoms, 3), Å/eV.
    pub forces: Option<&'a [[f64; 3]]>,
    /// 1/eV.
    pub virial: Option<Virial>,
}

impl<S: Storage> Training<S> {
    /// On the processor.
    ///
    /// # Errors
    /// As [`Training::on`].
    pub fn new(model: &Model) -> Result<Training<S>> {
        Training::on(model, Device::Cpu)
    }

    /// On a device. Gradients of a CUDA device are those of the processor but for rounding, and the same bits every time.
    ///
    /// # Errors
    /// [`Error::Argument`] for a model that is no MACE model; [`Error::Model`] for what training does not cover; [`Error::Device`] for a device
    /// that is missing.
    pub fn on(model: &Model, device: Device) -> Result<Training<S>> {
        let not = || Error::Argument("only MACE models are trained; linear ones are fitted (`acerust::fit`)".into());
        let spec = model.mace().ok_or_else(not)?.spec();
        Ok(Training { name: model.spec().name.clone(), trainable: memory::caught(|| Trainable::new(spec, device))? })
    }

    /// Where it runs.
    pub fn device(&self) -> Device {
        self.trainable.device()
    }

    /// The tensors that are trained, and where their numbers are among all, in the order of their names.
    pub fn parameters(&self) -> &[Parameter] {
        self.trainable.parameters()
    }

    /// The numbers of all parameters, double precision whatever `S`.
    pub fn values(&self) -> &[f64] {
        self.trainable.values()
    }

    /// # Errors
    /// [`Error::Argument`] for a wrong length, or a number that is not finite; [`Error::Device`] of the driver; nothing is changed then.
    pub fn set_values(&mut self, values: &[f64]) -> Result<()> {
        self.trainable.set_values(values)
    }

    /// The model with the current parameters, for a plan or a file.
    ///
    /// # Errors
    /// Parameters that no model can have.
    pub fn model(&self) -> Result<Model> {
        Model::from_mace(self.trainable.spec(), &self.name)
    }

    /// Multiplies gradients by this while they are computed, so that those of 16 bits do not vanish; results have it divided out again. See
    /// [`LossScale`].
    ///
    /// # Errors
    /// [`Error::Argument`] for what is not finite and above 0.
    pub fn set_loss_scale(&mut self, scale: f64) -> Result<()> {
        self.trainable.set_loss_scale(scale)
    }

    /// # Errors
    /// As [`Plan::evaluate`](crate::plan::Plan::evaluate).
    pub fn evaluate(&self, structure: &Structure, conditions: &Conditions) -> Result<Evaluation<S>> {
        self.evaluate_graph(Graph::build(structure, self.trainable.network().cutoff)?, &structure.numbers, conditions)
    }

    /// [`Training::evaluate`] on a graph without ghosts.
    ///
    /// # Errors
    /// As there; [`Error::Graph`] for a graph that is shorter than the cutoff.
    pub fn evaluate_graph(&self, graph: Graph, numbers: &[u8], conditions: &Conditions) -> Result<Evaluation<S>> {
        let net = self.trainable.network();
        graph.check(net.cutoff)?;
        let index = |(i, &z): (usize, &u8)| match net.species.iter().position(|&s| s == z) {
            Some(k) => Ok(k as u32),
            None => Err(Error::Argument(format!("atom {i} has the atomic number {z}, which the model does not know"))),
        };
        let species = numbers.iter().enumerate().map(index).collect::<Result<Vec<_>>>()?;
        if species.len() != graph.n_atoms() {
            let n = graph.n_atoms();
            return Err(Error::Argument(format!("numbers: expected {n}, got {}", species.len())));
        }
        let (head, properties) = (messages::head(net, conditions)?, messages::properties(net, conditions)?);
        let sites = Sites { graph: &graph, species: &species, head, properties: &properties };
        let run = memory::caught(|| self.trainable.evaluate(sites))?;
        let mut forces = vec![[0.0; 3]; graph.n_atoms()];
        messages::assemble(&graph, &run.gradients, &mut forces);
        let virial = messages::virial(graph.vectors(), &run.gradients);
        let (energy, site_energies) = (crate::potential::total(&run.site_energies), run.site_energies.clone());
        stack::check(energy, &site_energies, virial, Some(&forces))?;
        Ok(Evaluation { energy, site_energies, forces, virial, graph, run })
    }

    /// Adds the gradient of a loss by all parameters to `gradient`, (as many as [`Training::values`]).
    ///
    /// # Errors
    /// [`Error::Argument`] for a wrong length, and an evaluation of another training; [`Error::NotFinite`] where `S` cannot hold a number on the way: `gradient` is as it was then.
    pub fn gradient(&self, run: &Evaluation<S>, cotangent: &Cotangent, gradient: &mut [f64]) -> Result<()> {
        let (n, graph) = (run.graph.n_atoms(), &run.graph);
        let lengths = [
            ("gradient", gradient.len(), self.values().len()),
            ("site_energies", cotangent.site_energies.map_or(n, <[f64]>::len), n),
            ("forces", cotangent.forces.map_or(n, <[_]>::len), n),
        ];
        if let Some((name, is, should)) = lengths.into_iter().find(|(_, is, should)| is != should) {
            return Err(Error::Argument(format!("{name}: expected {should}, got {is}")));
        }
        let a: Vec<f64> = (0..n).map(|i| cotangent.energy + cotangent.site_energies.map_or(0.0, |a| a[i])).collect();
        let mut u = vec![[0.0; 3]; graph.n_edges()];
        for (i, e) in (0..n).flat_map(|i| graph.edges(i).map(move |e| (i, e))) {
            let (j, r) = (graph.neighbours()[e] as usize, graph.vectors()[e]);
            for d in 0..3 {
                u[e][d] = cotangent.forces.map_or(0.0, |f| f[j][d] - f[i][d]);
                u[e][d] += cotangent.virial.map_or(0.0, |v| (0..3).map(|b| v[d][b] * r[b]).sum());
            }
        }
        if !a.iter().chain(u.as_flattened()).all(|x| x.is_finite()) {
            return Err(Error::Argument("cotangent: a number is not finite".into()));
        }
        let mut own = vec![0.0; gradient.len()];
        memory::caught(|| self.trainable.gradient(&run.run, &a, &u, &mut own))?;
        if let Some(k) = own.iter().position(|x| !x.is_finite()) {
            return Err(Error::NotFinite(format!("the gradient by parameter {k} is {}", own[k])));
        }
        gradient.iter_mut().zip(own).for_each(|(g, x)| *g += x);
        Ok(())
    }
}

/// The scale of a loss for training in 16 bits: found by trying, halved where a number overflows, doubled where none has for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossScale {
    pub(crate) scale: f64,
    /// Steps without overflow since the scale last changed.
    pub(crate) good: u32,
}

impl Default for LossScale {
    fn default() -> LossScale {
        LossScale { scale: 1024.0, good: 0 }
    }
}

impl LossScale {
    /// Steps without overflow after which the scale doubles.
    const PATIENCE: u32 = 100;

    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Adapts the scale to what a step has come to, and says whether it counts: one that overflowed is to be skipped.
    ///
    /// # Errors
    /// Any but [`Error::NotFinite`], and that where the scale has nothing to do with it.
    pub fn accept(&mut self, step: Result<()>) -> Result<bool> {
        match step {
            Ok(()) => {
                self.good += 1;
                if self.good >= Self::PATIENCE {
                    (self.scale, self.good) = (2.0 * self.scale, 0);
                }
                Ok(true)
            }
            Err(Error::NotFinite(_)) if self.scale > 1e-6 => {
                (self.scale, self.good) = (0.5 * self.scale, 0);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}
