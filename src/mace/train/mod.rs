//! Derivatives by parameters: a network as operations in a row, without tables or fused kernels.
//!
//! | | where |
//! | --- | --- |
//! | from positions to harmonics and radial features | `geometry` |
//! | the operations of a model, with its tensors as weights | `build`, of what `builder` has |
//! | the same as plain data, with shapes | `tape` |
//! | how they run: forwards, backwards, along a direction | `passes` |
//! | on what: processor, CUDA device | `engine`, `processor`, `cuda` |
//! | parameters as the file has them | `parameters` |
//!
//! Forces and the virial in a loss are derivatives themselves: `Σ f·F + Σ v V = −dE` along the direction in which the vector of every edge
//! changes by `f_j − f_i + v r_ij`. One pass backwards along it, begun with `−1 + a_i ε` at the energy of each atom, gives the gradient of
//! `Σ a_i E_i + Σ f·F + Σ v V` as what has the factor ε.

mod build;
mod builder;
#[cfg(feature = "cuda")]
mod cuda;
mod engine;
mod geometry;
mod parameters;
mod passes;
mod processor;
mod tape;

#[cfg(feature = "cuda")]
#[doc(hidden)]
pub use cuda::source;

pub use parameters::Parameter;

use super::network::Network;
use super::spec::MaceSpec;
use crate::device::{Device, too_many};
use crate::dtype::Storage;
use crate::graph::Graph;
use crate::memory;
use crate::ops::Workspace;
use crate::{Error, Result};
use build::Program;
use builder::Leaf;
use geometry::{EdgeRows, Geometry, Leaves};
use passes::{Kept, OnEngine, Passes};
use processor::Processor;
use std::fmt::{self, Debug, Formatter};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use tape::{Arrays, Counts, Tape};

/// Of harmonics and radial features of an edge with their derivatives, for each harmonic, about.
const EDGE_BYTES: usize = 256;

/// A network whose parameters may change; `S` is the type of weights and intermediates.
pub struct Trainable<S: Storage> {
    /// What its evaluations are told by.
    number: u64,
    spec: MaceSpec,
    network: Network,
    program: Program,
    device: Device,
    passes: Box<dyn Passes<S>>,
    geometry: Geometry,
    /// What gradients are multiplied by while they are computed.
    loss_scale: f64,
}

impl<S: Storage> Debug for Trainable<S> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Trainable({} parameters, {}, {:?})", self.values().len(), S::DTYPE, self.device)
    }
}

/// What is evaluated: all atoms of the graph are owned.
#[derive(Clone, Copy, Debug)]
pub struct Sites<'a> {
    pub graph: &'a Graph,
    /// Species index of every atom.
    pub species: &'a [u32],
    pub head: usize,
    /// Of each property that the model embeds, in its order.
    pub properties: &'a [i64],
}

/// Results, and what derivatives take of the way to them.
pub struct Evaluated<S: Storage> {
    /// (n_atoms), eV.
    pub site_energies: Vec<f64>,
    /// `∂E/∂r_ij`, (n_edges, 3), eV/Å.
    pub gradients: Vec<[f64; 3]>,
    number: u64,
    counts: Counts,
    rows: EdgeRows,
    kept: Kept,
    numbers: PhantomData<S>,
}

impl<S: Storage> Debug for Evaluated<S> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Evaluated({} atoms, {} edges)", self.counts.atoms, self.counts.edges)
    }
}

impl<S: Storage> Trainable<S> {
    /// # Errors
    /// As [`Network::new`]; what training does not cover, by its name; a device that is missing.
    pub fn new(spec: &MaceSpec, device: Device) -> Result<Trainable<S>> {
        super::evaluator::check_built()?;
        let network = Network::new(spec)?;
        let (program, tape) = Program::new(spec, &network, S::DTYPE)?;
        let (passes, geometry) = (passes(tape, device)?, Geometry::new(network.lmax)?);
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let (number, spec) = (NUMBER.fetch_add(1, Ordering::Relaxed), spec.clone());
        let mut own = Trainable { number, spec, network, program, device, passes, geometry, loss_scale: 1.0 };
        let weights = own.packed(own.values());
        own.passes.set_weights(weights)?;
        Ok(own)
    }

    /// The weights of the program with these parameters, in its types.
    fn packed(&self, values: &[f64]) -> Vec<(usize, Vec<S>)> {
        let Program { packed, parameters, .. } = &self.program;
        packed.iter().map(|p| (p.value, array(&p.pack(&parameters.list, values)))).collect()
    }

    pub fn device(&self) -> Device {
        self.device
    }

    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The tensors that are trained, in the order of their names.
    pub fn parameters(&self) -> &[Parameter] {
        &self.program.parameters.list
    }

    /// The numbers of all of them, one after another.
    pub fn values(&self) -> &[f64] {
        &self.program.parameters.values
    }

    /// # Errors
    /// A wrong length, a number that is not finite, no memory; nothing is changed then.
    pub fn set_values(&mut self, values: &[f64]) -> Result<()> {
        self.program.parameters.check(values)?;
        self.passes.set_weights(self.packed(values))?;
        self.program.parameters.values.copy_from_slice(values);
        Ok(())
    }

    /// # Errors
    /// A factor that is not finite and above 0.
    pub fn set_loss_scale(&mut self, scale: f64) -> Result<()> {
        if !(scale.is_finite() && scale > 0.0) {
            return Err(Error::Argument(format!("loss scale: {scale} is not finite and above 0")));
        }
        self.loss_scale = scale;
        Ok(())
    }

    /// The file with the current parameters.
    pub fn spec(&self) -> MaceSpec {
        self.program.parameters.written_to(&self.spec)
    }

    /// # Errors
    /// Ghosts, a property beyond its table, numbers that are not finite, no memory.
    pub fn evaluate(&self, sites: Sites) -> Result<Evaluated<S>> {
        let Sites { graph, species, head, .. } = sites;
        let n = graph.n_atoms();
        if graph.n_owned() != n || graph.n_centres() != n {
            return Err(Error::Argument("training takes graphs without ghosts".into()));
        }
        expect("species", species.len(), n)?;
        expect("properties", sites.properties.len(), self.network.extra.as_ref().map_or(0, |e| e.properties.len()))?;
        if head >= self.network.heads.len() || species.iter().any(|&z| z as usize >= self.network.species.len()) {
            return Err(Error::Argument("a head or species that the model has not".into()));
        }
        let what = || format!("training MACE on {n} atoms with {} edges", graph.n_edges());
        let of_edges = EDGE_BYTES * (self.network.lmax + 1).pow(2) * graph.n_edges();
        memory::check(of_edges as f64, what)?;
        self.passes.check(&Counts { edges: graph.n_edges(), atoms: n, ..Counts::default() }, &what)?;
        let mut workspace = Workspace::new();
        let rows = self.geometry.edges(&self.network, graph, species, &mut workspace)?;
        let counts = Counts {
            atoms: n,
            edges: rows.edge.len(),
            species: species.into(),
            sender: rows.neighbour.clone().into(),
            receiver: rows.centre.clone().into(),
            zeros: vec![0_u32; n].into(),
            head,
        };
        let (leaves, readouts) = (self.inputs(&counts, &rows, sites.properties)?, &self.program.readouts);
        let run = self.passes.evaluate(counts.clone(), leaves, readouts, self.seeds(&counts, |_| self.loss_scale))?;
        let mut site_energies = self.energies(&counts, &run.results);
        let (mut gradients, leaves) = (vec![[0.0; 3]; graph.n_edges()], self.leaf_bars(&counts, &run.bars));
        self.geometry.back(&rows, &leaves, &mut gradients, &mut workspace).map_err(beyond)?;
        self.repulsion(sites, &mut site_energies, &mut gradients);
        let (number, kept, numbers) = (self.number, run.kept, PhantomData);
        Ok(Evaluated { site_energies, gradients, number, counts, rows, kept, numbers })
    }

    /// Adds the gradient of `Σ a_i E_i − Σ_e u_e · ∂E/∂r_e` by all parameters to `to`.
    ///
    /// # Errors
    /// Numbers that are not finite.
    pub fn gradient(&self, run: &Evaluated<S>, a: &[f64], u: &[[f64; 3]], to: &mut [f64]) -> Result<()> {
        let Evaluated { counts, rows, kept, .. } = run;
        if run.number != self.number {
            return Err(Error::Argument("the evaluation is of another training".into()));
        }
        expect("a", a.len(), counts.atoms)?;
        expect("u", u.len(), run.gradients.len())?;
        expect("to", to.len(), self.values().len())?;
        let mut workspace = Workspace::new();
        // Derivatives of the loss of about one, so that they are not lost in few bits.
        let most = a.iter().chain(u.as_flattened()).fold(0.0, |most: f64, x| most.max(x.abs()));
        let scale = if most > 0.0 { (-most.log2().round()).min(1000.0).exp2() } else { 1.0 };
        let u: Vec<[f64; 3]> = u.iter().map(|u| u.map(|x| x * scale)).collect();
        let leaves = self.geometry.along(rows, &u, &mut workspace).map_err(beyond)?;
        let mut along = self.tape().nothing();
        for &(value, leaf) in &self.program.leaves {
            along[value] = match leaf {
                Leaf::Harmonics => Some(array(&leaves.y)),
                Leaf::Features => Some(array(&leaves.features)),
                Leaf::Cutoff => Some(array(&leaves.cutoff)),
                _ => None,
            };
        }
        let bars = self.seeds(counts, |_| -self.loss_scale);
        let dbars = self.seeds(counts, |i| self.loss_scale * scale * a[i]);
        let dbars = self.passes.gradient(kept, along, bars, dbars)?;
        for packed in &self.program.packed {
            if let Some(bar) = &dbars[packed.value] {
                packed.unpack(|k| bar[k].to_f64(), self.parameters(), 1.0 / (self.loss_scale * scale), to);
            }
        }
        Ok(())
    }

    fn tape(&self) -> &Tape {
        self.passes.tape()
    }

    /// Leaves.
    fn inputs(&self, counts: &Counts, rows: &EdgeRows, properties: &[i64]) -> Result<Arrays<S>> {
        let mut x = self.tape().nothing();
        let leaves = rows.values();
        let one_hot = |n: usize, width: usize, column: &dyn Fn(usize) -> usize, one: f64| {
            let mut to = vec![S::default(); n * width];
            (0..n).for_each(|row| to[row * width + column(row)] = S::of(one));
            to
        };
        let of_edges = |ends: &[u32], width: usize| {
            one_hot(ends.len(), width, &|e| counts.species[ends[e] as usize] as usize, 1.0)
        };
        for &(value, leaf) in &self.program.leaves {
            let width = self.tape().values[value].width;
            x[value] = Some(match leaf {
                Leaf::Harmonics => array(&leaves.y),
                Leaf::Features => array(&leaves.features),
                Leaf::Cutoff => array(&leaves.cutoff),
                Leaf::Species => one_hot(counts.atoms, width, &|i| counts.species[i] as usize, 1.0),
                Leaf::Sender => of_edges(&counts.sender, width),
                Leaf::Receiver => of_edges(&counts.receiver, width),
                Leaf::Property(k) => {
                    let extra = self.network.extra.as_ref().expect("there are properties");
                    let row = extra.properties[k].row(properties[k]).map_err(Error::Argument)?;
                    one_hot(counts.atoms, width, &|_| row, (width as f64).sqrt())
                }
                Leaf::Constant(c) => vec![S::of(c); self.tape().len(counts, value)],
            });
        }
        Ok(x)
    }

    /// Of what the readouts have come to, without the repulsion of nuclei.
    fn energies(&self, counts: &Counts, readouts: &[Vec<S>]) -> Vec<f64> {
        let (net, head) = (&self.network, counts.head);
        let energy = |i: usize| {
            let read = |x: &Vec<S>| {
                let width = x.len() / counts.atoms;
                x[i * width + head.min(width - 1)].to_f64()
            };
            let sum: f64 = readouts.iter().map(read).sum();
            net.e0[head][counts.species[i] as usize] + net.scale[head] * sum + net.shift[head]
        };
        (0..counts.atoms).map(energy).collect()
    }

    /// Gradients by readouts: that by the energy of each atom, times the scale.
    fn seeds(&self, counts: &Counts, of: impl Fn(usize) -> f64) -> Arrays<S> {
        let tape = self.tape();
        let mut bars: Arrays<S> = tape.nothing();
        for &r in &self.program.readouts {
            let width = tape.values[r].width;
            let mut bar = vec![S::default(); tape.len(counts, r)];
            for (i, row) in bar.chunks_mut(width).enumerate() {
                row[counts.head.min(width - 1)] = S::of(of(i) * self.network.scale[counts.head]);
            }
            bars[r] = Some(bar);
        }
        bars
    }

    fn leaf_bars(&self, counts: &Counts, bars: &Arrays<S>) -> Leaves {
        let of = |wanted: fn(&Leaf) -> bool| {
            let (value, _) = self.program.leaves.iter().find(|(_, leaf)| wanted(leaf)).expect("all are there");
            let scaled = |x: &S| x.to_f64() / self.loss_scale;
            match &bars[*value] {
                Some(bar) => bar.iter().map(scaled).collect(),
                None => vec![0.0; self.tape().len(counts, *value)],
            }
        };
        Leaves {
            y: of(|leaf| matches!(leaf, Leaf::Harmonics)),
            features: of(|leaf| matches!(leaf, Leaf::Features)),
            cutoff: of(|leaf| matches!(leaf, Leaf::Cutoff)),
        }
    }

    /// The pair term, which has no parameters.
    fn repulsion(&self, sites: Sites, energies: &mut [f64], gradients: &mut [[f64; 3]]) {
        let Some(zbl) = &self.network.zbl else { return };
        let (graph, scale) = (sites.graph, self.network.scale[sites.head]);
        for (i, energy) in energies.iter_mut().enumerate() {
            for e in graph.edges(i) {
                let r = graph.vectors()[e];
                let length = r.iter().map(|x| x * x).sum::<f64>().sqrt();
                let [own, other] = [i, graph.neighbours()[e] as usize].map(|k| sites.species[k] as usize);
                let [p, slope] = zbl.pair(own, other, length);
                *energy += scale * p;
                (0..3).for_each(|d| gradients[e][d] += scale * slope * r[d] / length);
            }
        }
    }
}

/// A tape made ready for a device.
fn passes<S: Storage>(tape: Tape, device: Device) -> Result<Box<dyn Passes<S>>> {
    match device {
        Device::Cpu => Ok(Box::new(OnEngine::new(Processor::<S>::new(), tape)?)),
        #[cfg(feature = "cuda")]
        Device::Cuda(index) => Ok(Box::new(OnEngine::new(cuda::Cuda::<S>::new(index)?, tape)?)),
        #[cfg(not(feature = "cuda"))]
        Device::Cuda(_) => Err(Error::Device("this build has no CUDA backend (feature `cuda`)".into())),
        Device::Cudas { n, .. } => Err(too_many(n, "training")),
    }
}

fn expect(name: &str, found: usize, expected: usize) -> Result<()> {
    match found == expected {
        true => Ok(()),
        false => Err(Error::Argument(format!("{name}: expected {expected}, got {found}"))),
    }
}

fn array<S: Storage>(x: &[f64]) -> Vec<S> {
    x.iter().map(|&x| S::of(x)).collect()
}

/// What operations refuse after all has been checked is a number that their type cannot hold.
fn beyond(error: Error) -> Error {
    match error {
        Error::Argument(text) => Error::NotFinite(text),
        other => other,
    }
}
