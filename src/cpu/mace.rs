//! A MACE model as a potential: what the plan evaluates.

use crate::Result;
use crate::graph::{Exchange, Sites};
use crate::mace::{Evaluator, Gradients, Input, Network, Output};
use crate::memory;
use crate::potential::{Conditions, Outputs, Potential, Reach, Virial, messages, stack};
use crate::simd::Isa;
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
        let properties = messages::properties(&network, &Conditions::default())?;
        Ok(MacePotential { shared: Arc::new(Shared { network, evaluator }), head: 0, properties })
    }
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
        let head = messages::head(&self.shared.network, conditions)?;
        let properties = messages::properties(&self.shared.network, conditions)?;
        Ok(Box::new(MacePotential { shared: self.shared.clone(), head, properties }))
    }

    fn n_exchanged(&self) -> usize {
        self.shared.evaluator.n_exchanged()
    }

    fn evaluate(&self, sites: Sites, exchange: Option<&mut dyn Exchange>, out: &mut Outputs) -> Result<()> {
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
        // Before threads share the work: one of them computes them where they are not there.
        graph.vectors();
        let input = Input {
            graph,
            species_of: species,
            n_owned,
            head: self.head,
            properties: &self.properties,
            exchange: exchange.map(|e| e as &mut dyn Exchange),
        };
        let gradients = with_gradients.then_some(Gradients { edges: &mut *edges });
        let output = Output { site_energies: &mut energies, interaction: None, gradients, features };
        self.shared.evaluator.evaluate(input, output)?;
        let sum = crate::potential::total(&energies);
        let virial = if with_gradients { messages::virial(graph.vectors(), edges) } else { Virial::default() };
        stack::check(sum, &energies, virial, None)?;
        let edges = &*edges;
        if let Some(forces) = crate::potential::vectors(&mut out.forces) {
            messages::assemble(graph, edges, forces);
        }
        if let Some(virials) = crate::potential::matrices(&mut out.site_virials) {
            messages::site_virials(graph, edges, virials);
        }
        out.site_energies.iter_mut().for_each(|v| v.assign(&ndarray::aview1(&energies)));
        out.energy.iter_mut().for_each(|e| **e = sum);
        out.virial.iter_mut().for_each(|v| v.assign(&ndarray::aview2(&virial)));
        Ok(())
    }
}
