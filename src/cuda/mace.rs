//! A MACE model on a CUDA device as a potential: what the plan evaluates.

use super::list::{self, DeviceList};
use super::workspace::{DeviceGraph, Shape, Workspace, Workspaces};
use super::{LIST_LANES, Targets, forces, list_source, run};
use crate::Result;
use crate::device::cuda::context::Context;
use crate::device::cuda::kernel::Module;
use crate::device::cuda::stream::Stream;
use crate::graph::{Exchange, Neighbours, OnDevice, Place as ListPlace, Sites};
use crate::mace::cuda::{DeviceNetwork, Embedded, Graph, GraphAt, ROWS, Results};
use crate::mace::{Network, complete};
use crate::memory;
use crate::part::cuda::THREADS;
use crate::potential::{Conditions, Outputs, Potential, Reach, Virial, messages, stack};
use crate::potential::{matrices, numbers, total, vectors};
use crate::precision::Precision;
use crate::structure::Structure;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// Lanes that share a centre, so that blocks of one species are what the linear maps work on.
const GROUP: usize = THREADS / ROWS;

/// A network on a device, under the conditions of a call.
pub struct MacePotential {
    shared: Arc<Shared>,
    embedded: Embedded,
}

struct Shared {
    network: Arc<Network>,
    evaluator: DeviceNetwork,
    device: Arc<Context>,
    precision: Precision,
    forces: Module,
    /// For small and for large systems, loaded with the first list.
    list: OnceLock<[(usize, Arc<Module>); 2]>,
    workspaces: Workspaces,
    /// The edition of the last graph that was found to have all edges that the layers need; 0 for none.
    complete: AtomicU64,
}

impl MacePotential {
    /// # Errors
    /// No driver, device, NVRTC or memory.
    pub fn new(network: Arc<Network>, index: usize, precision: Precision) -> Result<MacePotential> {
        let device = Context::open(index)?;
        let evaluator = memory::caught(|| DeviceNetwork::new(network.clone(), precision, &device))?;
        let embedded = evaluator.embed(0, &messages::properties(&network, &Conditions::default())?)?;
        let forces = Module::load(&device, &forces(precision))?;
        let (list, workspaces) = (OnceLock::new(), Workspaces::default());
        let complete = AtomicU64::new(0);
        let shared = Shared { network, evaluator, device, precision, forces, list, workspaces, complete };
        Ok(MacePotential { shared: Arc::new(shared), embedded })
    }

    /// With one that has the edges of this edition, if there is one.
    fn with_workspace<T>(&self, edition: u64, f: impl FnOnce(&mut Workspace) -> Result<T>) -> Result<T> {
        self.shared.workspaces.with(&self.shared.device, edition, f)
    }

    /// Site energies and, where `gradients`, edge gradients and forces; the sums over all atoms.
    #[allow(clippy::too_many_arguments)]
    fn launch(
        &self,
        graph: &DeviceGraph,
        n_owned: usize,
        (gradients, descriptors): (bool, u64),
        exchange: Option<&mut dyn Exchange>,
        to: Targets,
        stream: &Stream,
        w: &mut Workspace,
    ) -> Result<()> {
        let Shared { evaluator, forces, precision, .. } = &*self.shared;
        let DeviceGraph { n_atoms, n_centres, n_edges, first, neighbour, species, r, .. } = *graph;
        let at = GraphAt {
            graph: Graph { first, neighbour, species, r },
            n_owned,
            n_centres,
            n_atoms,
            n_edges,
            incoming_first: graph.incoming_first,
            incoming: graph.incoming,
            order: if self.shared.network.species.len() > 1 { graph.order } else { 0 },
            n_slots: graph.n_slots,
        };
        // Energies are written in place unless they have to be put in order.
        let energies = if graph.atom == 0 { to.energies } else { w.energies.reserve(n_centres)? };
        let vector = if precision.is_single() { 12 } else { 24 };
        let gradients_at = if gradients { w.gradients.reserve(n_edges * vector)? } else { 0 };
        let results = Results { energies, gradients: gradients_at, descriptors };
        evaluator.launch(&at, &self.embedded, results, exchange, stream, &mut w.layers, &mut w.exchanged)?;
        run::sum(forces, graph, gradients, energies, to, stream, w)
    }

    /// With a graph of the host; the virials are those of structures side by side, which begin at the atoms `first`.
    fn on_graph(
        &self,
        sites: Sites,
        exchange: Option<&mut dyn Exchange>,
        (first, virials): (&[usize], &mut [Virial]),
        out: &mut Outputs,
    ) -> Result<()> {
        let Sites { graph, species, .. } = sites;
        let (n_owned, n_centres, n_atoms) = (graph.n_owned(), graph.n_centres(), graph.n_atoms());
        if exchange.is_none() && (graph.edition() == 0 || self.shared.complete.load(Relaxed) != graph.edition()) {
            complete(graph, n_owned, self.shared.network.hops())?;
            self.shared.complete.store(graph.edition(), Relaxed);
        }
        let gradients = stack::wants_gradients(out) || !virials.is_empty();
        let n_descriptors = self.n_descriptors();
        self.with_workspace(graph.edition(), |w| {
            let stream = w.stream.clone();
            self.shared.evaluator.prepare(species, &stream)?;
            let shape = Shape { n_centres, group: GROUP, near: None };
            let on_device = w.upload(sites, shape, self.shared.precision, &self.shared.forces)?;
            let to = w.targets(n_centres, n_atoms)?;
            // SAFETY: `targets` made room. There is no list, but the header is read as a whole.
            unsafe { stream.fill(to.status, 0xff, size_of::<list::Status>()) }?;
            let descriptors = match out.descriptors {
                Some(_) => w.descriptors.reserve(n_centres * n_descriptors)?,
                None => 0,
            };
            self.launch(&on_device, n_owned, (gradients, descriptors), exchange, to, &stream, w)?;
            let mut energies = vec![0.0; n_centres];
            let mut forces = vec![[0.0; 3]; if out.forces.is_some() { n_atoms } else { 0 }];
            w.fetch(&stream, n_centres, forces.len())?;
            let (totals, _) = w.download(&stream, &mut energies, &mut forces)?;
            energies.truncate(n_owned);
            let virial: Virial = match gradients {
                true => run::virial(&totals),
                false => Virial::default(),
            };
            let sum = total(&energies);
            stack::check(sum, &energies, virial, Some(&forces))?;
            let mut own = Vec::new();
            let edges = match (vectors(&mut out.edge_gradients), &out.site_virials) {
                (Some(edges), _) => edges,
                (None, Some(_)) => memory::at_least(&mut own, graph.n_edges(), [0.0; 3]),
                (None, None) => &mut [],
            };
            if !edges.is_empty() {
                w.download_gradients(edges, self.shared.precision)?;
            }
            let edges = &*edges;
            if let Some(virials) = matrices(&mut out.site_virials) {
                messages::site_virials(graph, edges, virials);
            }
            if !virials.is_empty() {
                run::virials(&self.shared.forces, &on_device, first, virials, &stream, w)?;
            }
            if let Some(to) = numbers(&mut out.descriptors) {
                w.descriptors.download(to, &stream)?;
            }
            if let Some(to) = vectors(&mut out.forces) {
                to.copy_from_slice(&forces);
            }
            out.site_energies.iter_mut().for_each(|v| v.assign(&ndarray::aview1(&energies)));
            out.energy.iter_mut().for_each(|e| **e = sum);
            out.virial.iter_mut().for_each(|v| v.assign(&ndarray::aview2(&virial)));
            Ok(())
        })
    }

    fn own<'a>(&self, list: &'a mut Neighbours) -> Result<&'a mut DeviceList> {
        let Shared { device, network, precision, .. } = &*self.shared;
        DeviceList::of(list, device, &network.species, *precision)
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
        self.shared.network.layers.iter().map(|l| l.linear.to.k).sum()
    }

    fn at(&self, conditions: &Conditions) -> Result<Box<dyn Potential>> {
        let Shared { network, evaluator, device, .. } = &*self.shared;
        device.bind()?;
        let head = messages::head(network, conditions)?;
        let embedded = evaluator.embed(head, &messages::properties(network, conditions)?)?;
        Ok(Box::new(MacePotential { shared: self.shared.clone(), embedded }))
    }

    fn n_exchanged(&self) -> usize {
        self.shared.evaluator.n_exchanged()
    }

    fn evaluate(&self, sites: Sites, exchange: Option<&mut dyn Exchange>, out: &mut Outputs) -> Result<()> {
        self.on_graph(sites, exchange, (&[], &mut []), out)
    }

    fn fits(&self, atoms: usize, edges: usize, gradients: bool) -> bool {
        let Shared { evaluator, device, workspaces, .. } = &*self.shared;
        let held = workspaces.peek(|w| w.layers.capacity()).unwrap_or(0);
        let free = device.bind().and_then(|()| device.free_memory()).unwrap_or(0);
        // Layers, and what is beside them: vectors and their gradients, indices, results.
        let bytes = evaluator.call_bytes(atoms, edges, gradients) + 64 * edges + 128 * atoms;
        // Memory that grows takes an eighth more.
        bytes <= (free + held) / 4 * 3
    }

    fn evaluate_joined(&self, sites: Sites, first: &[usize], virials: &mut [Virial], out: &mut Outputs) -> Result<()> {
        self.on_graph(sites, None, (first, virials), out)
    }

    fn neighbours(&self, skin: f64) -> Result<Neighbours> {
        let Shared { device, network, precision, list, .. } = &*self.shared;
        device.bind()?;
        let kernels = match list.get() {
            Some(kernels) => kernels.clone(),
            None => {
                let load = |lanes| Ok((lanes, Arc::new(Module::load(device, &list_source(*precision, lanes))?)));
                let [small, large] = LIST_LANES.map(load);
                let both = [small?, large?];
                list.get_or_init(|| both).clone()
            }
        };
        let list = DeviceList::new(device, kernels, &network.species, *precision, network.cutoff, skin)?;
        Ok(Neighbours(ListPlace::Device(Box::new(list))))
    }

    fn evaluate_list(
        &self,
        list: &mut Neighbours,
        structure: &Structure,
        species: &[u32],
        out: &mut Outputs,
    ) -> Result<()> {
        stack::from_list(out, |pass| {
            let (list, n) = (self.own(list)?, structure.n_atoms());
            self.shared.evaluator.prepare(species, &list.stream)?;
            self.with_workspace(0, |w| {
                run::from_list(list, structure, species, GROUP, pass, w, &mut |graph, gradients, to, stream, w| {
                    self.launch(graph, n, (gradients, 0), None, to, stream, w)
                })
            })
        })
    }

    unsafe fn evaluate_on_device(
        &self,
        list: &mut Neighbours,
        at: &OnDevice,
        species: &[u32],
        out: &mut Outputs,
    ) -> Result<()> {
        stack::on_device(at, out, || {
            let (list, n) = (self.own(list)?, at.numbers.len());
            self.shared.evaluator.prepare(species, &list.stream)?;
            self.with_workspace(0, |w| {
                run::on_device(list, at, species, GROUP, w, &mut |graph, gradients, to, stream, w| {
                    self.launch(graph, n, (gradients, 0), None, to, stream, w)
                })
            })
        })
    }
}
