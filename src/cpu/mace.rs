//! A MACE model as a potential: what the plan evaluates.

use crate::graph::{Graph, Sites};
use crate::mace::network::Property;
use crate::mace::{Evaluator, Gradients, Input, Network, Output};
use crate::memory;
use crate::parallel;
use crate::potential::stack;
use crate::potential::{Conditions, Outputs, Potential, Reach, Virial};
use crate::simd::Isa;
use crate::{Error, Result};
use std::sync::Arc;

/// A network on the processor, under the conditions of a call.
pub(crate) struct MacePotential {
    shared: Arc<Shared>,
    head: usize,
    properties: Vec<i64>,
}

struct Shared {
    network: Arc<Network>,
    evaluator: Evaluator,
}

impl MacePotential {
    /// # Errors
    /// No memory.
    pub fn new(network: Arc<Network>, single: bool, isa: Isa) -> Result<MacePotential> {
        let evaluator = memory::caught(|| Evaluator::new(&network, single, isa))?;
        let properties = properties(&network, &Conditions::default())?;
        Ok(MacePotential { shared: Arc::new(Shared { network, evaluator }), head: 0, properties })
    }
}

/// The values of what the model embeds. What nobody has said is neutral and of spin multiplicity 1.
fn properties(network: &Network, conditions: &Conditions) -> Result<Vec<i64>> {
    let value = |p: &Property| match p.name.as_str() {
        "total_charge" => Ok(conditions.total_charge.unwrap_or(0)),
        "total_spin" => Ok(conditions.total_spin.unwrap_or(1)),
        other => Err(Error::Model(format!("MACE: the embedding of `{other}` is not covered"))),
    };
    network.extra.iter().flat_map(|e| &e.properties).map(value).collect()
}

impl Potential for MacePotential {
    fn reach(&self) -> Reach {
        Reach::new(self.shared.network.cutoff, self.shared.network.hops())
    }

    fn bytes(&self) -> usize {
        self.shared.evaluator.bytes()
    }

    fn n_descriptors(&self) -> usize {
        self.shared.evaluator.n_features(true)
    }

    fn at(&self, conditions: &Conditions) -> Result<Box<dyn Potential>> {
        let heads = &self.shared.network.heads;
        let head = match &conditions.head {
            None => 0,
            Some(name) => heads
                .iter()
                .position(|h| h == name)
                .ok_or_else(|| Error::Argument(format!("head `{name}`: the model has {}", heads.join(", "))))?,
        };
        let properties = properties(&self.shared.network, conditions)?;
        Ok(Box::new(MacePotential { shared: self.shared.clone(), head, properties }))
    }

    fn evaluate(&self, sites: Sites, out: &mut Outputs) -> Result<()> {
        let Sites { graph, species, .. } = sites;
        let with_gradients = stack::wants_gradients(out);
        let n_owned = graph.n_owned();
        let mut energies = vec![0.0; n_owned];
        let mut own = match (&out.edge_gradients, with_gradients) {
            (None, true) => vec![[0.0; 3]; graph.n_edges()],
            _ => Vec::new(),
        };
        let edges: &mut [[f64; 3]] = crate::potential::vectors(&mut out.edge_gradients).unwrap_or(&mut own);
        let mut descriptors = out.descriptors.take();
        let features = crate::potential::numbers(&mut descriptors).map(|x| (x, true));
        let input = Input {
            graph,
            species_of: species,
            n_owned,
            head: self.head,
            properties: &self.properties,
            exchange: None,
        };
        let gradients = with_gradients.then_some(Gradients { edges: &mut *edges });
        let output = Output { site_energies: &mut energies, interaction: None, gradients, features };
        self.shared.evaluator.evaluate(input, output)?;
        let sum = crate::potential::total(&energies);
        let virial = if with_gradients { virial(graph, edges) } else { Virial::default() };
        stack::check(sum, &energies, virial, None)?;
        let edges = &*edges;
        if let Some(forces) = crate::potential::vectors(&mut out.forces) {
            assemble(graph, edges, forces);
        }
        if let Some(virials) = crate::potential::matrices(&mut out.site_virials) {
            site_virials(graph, edges, virials);
        }
        out.site_energies.iter_mut().for_each(|v| v.assign(&ndarray::aview1(&energies)));
        out.energy.iter_mut().for_each(|e| **e = sum);
        out.virial.iter_mut().for_each(|v| v.assign(&ndarray::aview2(&virial)));
        Ok(())
    }
}

/// How many atoms a thread takes at a time.
const CHUNK: usize = 256;

/// The edges that start, and those that end, in an atom. Unlike those of site models, edges of ghosts have gradients as well.
fn edges_of(graph: &Graph, i: usize) -> (std::ops::Range<usize>, impl Iterator<Item = usize>) {
    let own = if i < graph.n_centres() { graph.edges(i) } else { 0..0 };
    let ends = graph.incoming_first()[i] as usize..graph.incoming_first()[i + 1] as usize;
    (own, graph.incoming()[ends].iter().map(|&e| e as usize))
}

fn assemble(graph: &Graph, gradients: &[[f64; 3]], forces: &mut [[f64; 3]]) {
    parallel::for_chunks_mut(forces, CHUNK, |c, forces| {
        for (force, i) in forces.iter_mut().zip(c * CHUNK..) {
            let (own, incoming) = edges_of(graph, i);
            *force = [0.0; 3];
            own.for_each(|e| (0..3).for_each(|d| force[d] += gradients[e][d]));
            incoming.for_each(|e| (0..3).for_each(|d| force[d] -= gradients[e][d]));
        }
    });
}

fn site_virials(graph: &Graph, gradients: &[[f64; 3]], virials: &mut [Virial]) {
    parallel::for_chunks_mut(virials, CHUNK, |c, virials| {
        for (virial, i) in virials.iter_mut().zip(c * CHUNK..) {
            let (own, incoming) = edges_of(graph, i);
            *virial = Virial::default();
            own.chain(incoming).for_each(|e| add(virial, 0.5, gradients[e], graph.vectors()[e]));
        }
    });
}

/// `−Σ g ⊗ r`, chunk by chunk in their order.
fn virial(graph: &Graph, gradients: &[[f64; 3]]) -> Virial {
    let mut sums = vec![Virial::default(); gradients.len().div_ceil(CHUNK * 16)];
    parallel::for_each_mut(&mut sums, |c, sum| {
        let part = c * CHUNK * 16..gradients.len().min((c + 1) * CHUNK * 16);
        part.for_each(|e| add(sum, 1.0, gradients[e], graph.vectors()[e]));
    });
    let mut total = Virial::default();
    sums.iter().for_each(|s| (0..9).for_each(|k| total[k / 3][k % 3] += s[k / 3][k % 3]));
    total
}

fn add(virial: &mut Virial, share: f64, g: [f64; 3], r: [f64; 3]) {
    for a in 0..3 {
        (0..3).for_each(|b| virial[a][b] -= share * g[a] * r[b]);
    }
}
