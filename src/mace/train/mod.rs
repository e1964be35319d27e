//! Derivatives by parameters: a network as operations in a row, without tables or fused kernels.
//!
//! | | where |
//! | --- | --- |
//! | from positions to harmonics and radial features | `geometry` |
//! | the operations of a model, with its tensors as weights | `build`, of what `builder` has |
//! | how they run: forwards, backwards, along a direction | `tape` |
//! | parameters as the file has them | `parameters` |
//!
//! Forces and the virial in a loss are derivatives themselves: `Σ f·F + Σ v V = −dE` along the direction in which the vector of every edge
//! changes by `f_j − f_i + v r_ij`. One pass backwards along it, begun with `−1 + a_i ε` at the energy of each atom, gives the gradient of
//! `Σ a_i E_i + Σ f·F + Σ v V` as what has the factor ε.

mod build;
mod builder;
mod geometry;
mod parameters;
mod tape;

pub use parameters::Parameter;

use super::network::Network;
use super::spec::MaceSpec;
use crate::dtype::Storage;
use crate::graph::Graph;
use crate::memory;
use crate::ops::Workspace;
use crate::{Error, Result};
use build::Program;
use builder::Leaf;
use geometry::{EdgeRows, Geometry, Leaves};
use std::fmt::{self, Debug, Formatter};
use std::sync::atomic::{AtomicU64, Ordering};
use tape::{Arrays, Counts, add};

/// Of harmonics and radial features of an edge with their derivatives, for each harmonic, about.
const EDGE_BYTES: usize = 256;

/// A network whose parameters may change; `S` is the type of weights and intermediates.
pub struct Trainable<S: Storage> {
    /// What its evaluations are told by.
    number: u64,
    spec: MaceSpec,
    network: Network,
    program: Program<S>,
    /// Those of the program, in its types.
    weights: Vec<Vec<S>>,
    geometry: Geometry,
    /// What gradients are multiplied by while they are computed.
    loss_scale: f64,
}

impl<S: Storage> Debug for Trainable<S> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Trainable({} parameters, {})", self.values().len(), S::DTYPE)
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
    x: Arrays<S>,
}

impl<S: Storage> Debug for Evaluated<S> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Evaluated({} atoms, {} edges)", self.counts.atoms, self.counts.edges())
    }
}

impl<S: Storage> Trainable<S> {
    /// # Errors
    /// As [`Network::new`]; what training does not cover, by its name.
    pub fn new(spec: &MaceSpec) -> Result<Trainable<S>> {
        super::evaluator::check_built()?;
        let network = Network::new(spec)?;
        let program = Program::new(spec, &network)?;
        let geometry = Geometry::new(network.lmax)?;
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let (number, spec, weights) = (NUMBER.fetch_add(1, Ordering::Relaxed), spec.clone(), Vec::new());
        let mut own = Trainable { number, spec, network, program, weights, geometry, loss_scale: 1.0 };
        own.pack();
        Ok(own)
    }

    fn pack(&mut self) {
        let Program { packed, parameters, .. } = &self.program;
        self.weights = packed.iter().map(|p| p.pack(parameters).into_iter().map(S::of).collect::<Vec<S>>()).collect();
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
    /// A wrong length, a number that is not finite; nothing is changed then.
    pub fn set_values(&mut self, values: &[f64]) -> Result<()> {
        self.program.parameters.check(values)?;
        self.program.parameters.values.copy_from_slice(values);
        self.pack();
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
        let all = Counts { sender: vec![0; graph.n_edges()], atoms: n, head, ..Counts::default() };
        let of_edges = EDGE_BYTES * (self.network.lmax + 1).pow(2) * graph.n_edges();
        let bytes = self.program.tape.bytes(&all) + of_edges as f64;
        memory::check(bytes, || format!("training MACE on {n} atoms with {} edges", graph.n_edges()))?;
        let mut workspace = Workspace::new();
        let rows = self.geometry.edges(&self.network, graph, species, &mut workspace)?;
        let counts = Counts {
            atoms: n,
            species: species.to_vec(),
            sender: rows.neighbour.clone(),
            receiver: rows.centre.clone(),
            zeros: vec![0; n],
            head,
        };
        let mut x = self.inputs(&counts, &rows, sites.properties)?;
        self.program.tape.forward(&counts, &mut x, &mut workspace).map_err(beyond)?;
        let (mut site_energies, mut gradients) = (self.energies(&counts, &x), vec![[0.0; 3]; graph.n_edges()]);
        let mut bars = self.seeds(&counts, |_| self.loss_scale);
        self.program.tape.reverse(&counts, &x, &mut bars, |v| v.moves, &mut workspace).map_err(beyond)?;
        let leaves = self.leaf_bars(&counts, &bars);
        self.geometry.back(&rows, &leaves, &mut gradients, &mut workspace).map_err(beyond)?;
        self.repulsion(sites, &mut site_energies, &mut gradients);
        Ok(Evaluated { site_energies, gradients, number: self.number, counts, rows, x })
    }

    /// Adds the gradient of `Σ a_i E_i − Σ_e u_e · ∂E/∂r_e` by all parameters to `to`.
    ///
    /// # Errors
    /// Numbers that are not finite.
    pub fn gradient(&self, run: &Evaluated<S>, a: &[f64], u: &[[f64; 3]], to: &mut [f64]) -> Result<()> {
        let Evaluated { counts, rows, x, .. } = run;
        if run.number != self.number {
            return Err(Error::Argument("the evaluation is of another training".into()));
        }
        expect("a", a.len(), counts.atoms)?;
        expect("u", u.len(), run.gradients.len())?;
        expect("to", to.len(), self.values().len())?;
        let (tape, mut workspace) = (&self.program.tape, Workspace::new());
        // Derivatives of the loss of about one, so that they are not lost in few bits.
        let most = a.iter().chain(u.as_flattened()).fold(0.0, |most: f64, x| most.max(x.abs()));
        let scale = if most > 0.0 { (-most.log2().round()).exp2() } else { 1.0 };
        let u: Vec<[f64; 3]> = u.iter().map(|u| u.map(|x| x * scale)).collect();
        let leaves = self.geometry.along(rows, &u, &mut workspace).map_err(beyond)?;
        let mut dx: Arrays<S> = x.iter().map(|_| None).collect();
        for &(value, leaf) in &self.program.leaves {
            dx[value] = match leaf {
                Leaf::Harmonics => Some(array(&leaves.y)),
                Leaf::Features => Some(array(&leaves.features)),
                Leaf::Cutoff => Some(array(&leaves.cutoff)),
                _ => None,
            };
        }
        tape.tangents(counts, x, &mut dx, &mut workspace).map_err(beyond)?;
        let mut bars = self.seeds(counts, |_| -self.loss_scale);
        let mut dbars = self.seeds(counts, |i| self.loss_scale * scale * a[i]);
        tape.reverse_along(counts, [x, &dx], &mut bars, &mut dbars, &mut workspace).map_err(beyond)?;
        for packed in &self.program.packed {
            if let Some(bar) = &dbars[packed.value] {
                packed.unpack(|k| bar[k].to_f64(), self.parameters(), 1.0 / (self.loss_scale * scale), to);
            }
        }
        Ok(())
    }

    /// Leaves and weights.
    fn inputs(&self, counts: &Counts, rows: &EdgeRows, properties: &[i64]) -> Result<Arrays<S>> {
        let values = &self.program.tape.values;
        let mut x: Arrays<S> = values.iter().map(|_| None).collect();
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
            let width = values[value].width;
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
                Leaf::Constant(c) => vec![S::of(c); self.program.tape.len(counts, value)],
            });
        }
        for (packed, weights) in self.program.packed.iter().zip(&self.weights) {
            x[packed.value] = Some(weights.clone());
        }
        Ok(x)
    }

    /// Without the repulsion of nuclei.
    fn energies(&self, counts: &Counts, x: &Arrays<S>) -> Vec<f64> {
        let (net, head) = (&self.network, counts.head);
        let read = |i: usize, r: &usize| {
            let width = self.program.tape.values[*r].width;
            x[*r].as_ref().expect("evaluated")[i * width + head.min(width - 1)].to_f64()
        };
        let energy = |i: usize| {
            let sum: f64 = self.program.readouts.iter().map(|r| read(i, r)).sum();
            net.e0[head][counts.species[i] as usize] + net.scale[head] * sum + net.shift[head]
        };
        (0..counts.atoms).map(energy).collect()
    }

    /// Gradients by readouts: that by the energy of each atom, times the scale.
    fn seeds(&self, counts: &Counts, of: impl Fn(usize) -> f64) -> Arrays<S> {
        let tape = &self.program.tape;
        let mut bars: Arrays<S> = tape.values.iter().map(|_| None).collect();
        for &r in &self.program.readouts {
            let width = tape.values[r].width;
            let mut bar = vec![S::default(); tape.len(counts, r)];
            for (i, row) in bar.chunks_mut(width).enumerate() {
                row[counts.head.min(width - 1)] = S::of(of(i) * self.network.scale[counts.head]);
            }
            add(&mut bars[r], Some(bar));
        }
        bars
    }

    fn leaf_bars(&self, counts: &Counts, bars: &Arrays<S>) -> Leaves {
        let of = |wanted: fn(&Leaf) -> bool| {
            let (value, _) = self.program.leaves.iter().find(|(_, leaf)| wanted(leaf)).expect("all are there");
            let scaled = |x: &S| x.to_f64() / self.loss_scale;
            match &bars[*value] {
                Some(bar) => bar.iter().map(scaled).collect(),
                None => vec![0.0; self.program.tape.len(counts, *value)],
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
