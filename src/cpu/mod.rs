//! The CPU backend: blocks of centres over threads.

mod assemble;
mod forces;
mod mace;
mod schedule;

use crate::graph::Sites;
use crate::memory::{self, Kept, at_least, reserve};
use crate::model::{Model, PartSpec};
use crate::parallel::{self, Disjoint, prefetch, prefetch_disjoint};
use crate::part::cpu::{Scratch, SitePart};
use crate::part::{Compiled, Offset};
use crate::potential::stack::{Engine, Gradients, Pass, Stack};
use crate::potential::{self, Potential, Rows};
use crate::precision::Precision;
use crate::simd::{Isa, Lanes, MAX_LANES, Real, as_reals, with_lanes};
use crate::stage::block::{Block, Cutoff, NONE};
use crate::stage::features::Features;
use crate::stage::table::RadialMode;
use crate::{Error, Result};
use forces::{scatter_slots, subtract_incoming};
use mace::MacePotential;
use schedule::{Entry, Schedule};
use std::ops::Range;

/// The potential of a model on the processor.
///
/// # Errors
/// No memory.
pub(crate) fn potential(model: &Model, precision: Precision, mode: RadialMode, isa: Isa) -> Result<Box<dyn Potential>> {
    if let Some(mace) = model.mace() {
        let network = mace.network().clone();
        return Ok(Box::new(MacePotential::new(network, precision.is_single(), isa)?));
    }
    memory::caught(|| Ok(engine(model, precision.is_single(), mode, isa)))
}

/// The engine for a model in working precision `f32` or `f64`, with an instruction set that is there.
fn engine(model: &Model, single: bool, mode: RadialMode, isa: Isa) -> Box<dyn Potential> {
    match single {
        false => with_lanes!(isa, f64, V => Box::new(Stack::new(Cpu::<V>::new(model, mode)))),
        true => with_lanes!(isa, f32, V => Box::new(Stack::new(Cpu::<V>::new(model, mode)))),
    }
}

/// Parts that share a cutoff share a packed block.
struct Group {
    rcut: f64,
    by_species: bool,
    /// As of [`SitePart::of_pairs`], of all parts.
    of_pairs: Vec<f64>,
    parts: Range<usize>,
}

impl Group {
    fn new<V: Lanes>(part: &dyn SitePart<V>, k: usize) -> Group {
        Group { rcut: part.rcut(), by_species: part.by_species(), of_pairs: part.of_pairs(), parts: k..k + 1 }
    }

    /// Both, where both have the same cutoff.
    fn join(&mut self, other: Group) {
        self.parts.end = other.parts.end;
        self.by_species |= other.by_species;
        if other.of_pairs.is_empty() {
            self.of_pairs.clear();
        }
        self.of_pairs.iter_mut().zip(other.of_pairs).for_each(|(r, other)| *r = r.max(other));
    }

    fn cutoff(&self) -> Cutoff<'_> {
        Cutoff { rcut: self.rcut, by_species: self.by_species, of_pairs: &self.of_pairs }
    }
}

struct Cpu<V: Lanes> {
    n_species: usize,
    /// One-body energies, (n_species).
    e0: Vec<f64>,
    /// Parts with neighbours, by falling cutoff.
    parts: Vec<Box<dyn SitePart<V>>>,
    /// First linear parameter of each part, and first column of its basis.
    offsets: Vec<Offset>,
    groups: Vec<Group>,
    n_basis: usize,
    calls: Kept<Call<V>>,
    workers: Kept<Worker<V>>,
}

/// Memory of one call.
struct Call<V: Lanes> {
    schedule: Schedule,
    /// Edge gradients, (n_readouts, n_edges).
    gradients: Vec<[V::Real; 3]>,
    /// Virial of each task, (n_tasks, n_readouts).
    virials: Vec<[f64; 9]>,
}

impl<V: Lanes> Default for Call<V> {
    fn default() -> Self {
        Call { schedule: Schedule::default(), gradients: vec![], virials: vec![] }
    }
}

/// Memory of one thread.
struct Worker<V: Lanes> {
    block: Block<V>,
    scratch: Scratch<V>,
    energy: Vec<V>,
    gradient: Vec<[V; 3]>,
    basis: Vec<V>,
    slot: Vec<[V; 3]>,
    assembly: assemble::Scratch<V>,
}

impl<V: Lanes> Default for Worker<V> {
    fn default() -> Self {
        Worker {
            block: Block::default(),
            scratch: Scratch::default(),
            energy: vec![],
            gradient: vec![],
            basis: vec![],
            slot: vec![],
            assembly: assemble::Scratch::default(),
        }
    }
}

impl<V: Lanes> Cpu<V> {
    fn new(model: &Model, mode: RadialMode) -> Cpu<V> {
        let spec = model.spec();
        let n_species = spec.species.len();
        let compile = |part: &PartSpec, offset| Ok(part.compile::<V>(&spec.species, mode).map(|part| (part, offset)));
        let Compiled { e0, mut parts, n_basis } =
            Compiled::new(n_species, &spec.parts, compile).expect("the processor has code for every kind");
        parts.sort_by(|a, b| b.0.rcut().total_cmp(&a.0.rcut()));
        let (parts, offsets): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let mut groups = Vec::<Group>::new();
        for (k, part) in parts.iter().enumerate() {
            match groups.last_mut() {
                Some(group) if group.rcut == part.rcut() => group.join(Group::new(&**part, k)),
                _ => groups.push(Group::new(&**part, k)),
            }
        }
        let mut cpu =
            Cpu { n_species, e0, parts, offsets, groups, n_basis, calls: Kept::default(), workers: Kept::default() };
        cpu.fold(&[model.linear_parameters()]);
        cpu
    }

    fn fold(&mut self, parameters: &[Vec<f64>]) {
        for (part, offset) in self.parts.iter_mut().zip(&self.offsets) {
            let n = self.n_species * part.n_basis();
            let weights: Vec<&[f64]> = parameters.iter().map(|p| &p[offset.parameter..][..n]).collect();
            part.set_readouts(&weights);
        }
    }

    /// Are there slots of one species each, of several?
    fn by_species(&self) -> bool {
        self.n_species > 1 && self.groups.iter().any(|group| group.by_species)
    }

    /// Refuses blocks whose intermediates, of all slots and threads, do not fit into memory.
    fn check_memory(&self, schedule: &Schedule, bytes: impl Fn(&dyn SitePart<V>) -> usize, more: usize) -> Result<()> {
        let part = self.parts.iter().map(|part| bytes(&**part)).max().unwrap_or(0);
        let (threads, most) = (parallel::n_threads().min(schedule.n_tasks()), schedule.most_edges);
        let segments = if self.by_species() { self.n_species } else { 1 };
        let bytes = (segments * Block::<V>::SLOT_BYTES + part + more) as f64 * most as f64 * threads as f64;
        memory::check(bytes, || format!("atoms with {most} neighbours, on {threads} threads,"))
    }

    /// Packs the block of `entry` for every group in turn; calls `each_lane` with every lane the first time.
    fn for_groups(
        &self,
        sites: Sites,
        schedule: &Schedule,
        entry: Entry,
        block: &mut Block<V>,
        each_lane: impl Fn(usize),
        mut f: impl FnMut(&mut Block<V>, &Group),
    ) {
        for (k, group) in self.groups.iter().enumerate() {
            let centres = schedule.centres(entry);
            let each = |lane| {
                if k == 0 {
                    each_lane(lane);
                }
            };
            block.pack(sites, entry.species as usize, centres, group.cutoff(), each);
            f(block, group);
        }
    }
}

/// Numbers of all centres of a block into the row of each.
fn unpack<'a, V: Lanes>(block: &Block<V>, values: &[V], row: impl Fn(usize) -> &'a mut [f64]) {
    for (lane, &i) in block.centres.iter().enumerate() {
        for (to, x) in row(i as usize).iter_mut().zip(as_reals(values)[lane..].iter().step_by(V::N)) {
            *to = x.to_f64();
        }
    }
}

impl<V: Lanes> Engine for Cpu<V> {
    fn cutoff(&self) -> f64 {
        // The widest comes first.
        self.groups.first().map_or(0.0, |group| group.rcut)
    }

    fn n_basis(&self) -> usize {
        self.n_basis
    }

    fn bytes(&self) -> usize {
        self.parts.iter().map(|p| p.bytes()).sum()
    }

    fn set_readouts(&mut self, parameters: &[Vec<f64>]) -> Result<()> {
        self.fold(parameters);
        Ok(())
    }

    fn pass(&self, sites: Sites, readouts: Range<usize>, mut out: Pass) -> Result<()> {
        let n_readouts = readouts.len();
        let graph = sites.graph;
        let (n_centres, n_atoms, n_edges) = (graph.n_owned(), graph.n_atoms(), graph.n_edges());
        let vectors = if graph.has_vectors() { graph.vectors() } else { &[] };
        let mut call = self.calls.take();
        let Call { schedule, gradients, virials } = &mut *call;
        schedule.fill(graph, sites.species, V::N, self.by_species());
        let schedule = &*schedule;
        let with_gradients = out.gradients.is_some();
        let with_forces = out.gradients.as_ref().is_some_and(|g| g.forces.is_some());
        match with_gradients {
            true => self.check_memory(schedule, |part| part.slot_bytes(), (3 * n_readouts + 1) * size_of::<V>())?,
            false => self.check_memory(schedule, |_| 0, 0)?,
        }
        if with_gradients {
            at_least(gradients, n_readouts * n_edges, [V::Real::default(); 3]);
            at_least(virials, n_readouts * schedule.n_tasks(), [0.0; 9]);
            // Rows of centres that are not owned have no energy.
            for k in 0..n_readouts {
                gradients[k * n_edges..][graph.n_owned_edges()..n_edges].fill([V::Real::default(); 3]);
            }
        }
        let energies = Disjoint::new(out.site_energies);
        let forces = out.gradients.as_mut().and_then(|g| g.forces.as_deref_mut());
        let forces = Disjoint::new(forces.unwrap_or_default());
        let edge_gradients = Disjoint::new(gradients);
        let task_virials = Disjoint::new(virials);
        schedule.for_tasks(
            || self.workers.take(),
            |worker, t, blocks| {
                let Worker { block, scratch, energy, gradient, .. } = &mut **worker;
                let virial = match with_gradients {
                    // SAFETY: a task runs once.
                    true => unsafe { task_virials.slice(t * n_readouts, n_readouts) },
                    false => &mut [],
                };
                virial.fill([0.0; 9]);
                for b in blocks {
                    let entry = schedule.entries[b];
                    let next = schedule.entries.get(b + 1).map_or(&[][..], |&next| schedule.centres(next));
                    for &i in schedule.centres(entry) {
                        for readout in 0..n_readouts {
                            // SAFETY: a centre, and so its energy, edges and force, belongs to one block.
                            unsafe {
                                *energies.entry(readout * n_centres + i as usize) = self.e0[entry.species as usize];
                                if with_forces {
                                    *forces.entry(readout * n_atoms + i as usize) = [0.0; 3];
                                }
                            }
                        }
                    }
                    // The first group overwrites the edges it has; those it lacks are cleared.
                    let all: usize = schedule.centres(entry).iter().map(|&i| graph.edges(i as usize).len()).sum();
                    let mut first = true;
                    let clear = || {
                        for &i in schedule.centres(entry) {
                            let edges = graph.edges(i as usize);
                            for k in 0..n_readouts {
                                // SAFETY: the edges of a centre belong to its block, and a block to one task.
                                unsafe { edge_gradients.slice(k * n_edges + edges.start, edges.len()) }
                                    .fill([V::Real::default(); 3]);
                            }
                        }
                    };
                    if with_gradients && self.groups.is_empty() {
                        clear();
                    }
                    // While a centre is packed, the edges of one in the next block are asked for, and the place of its gradients: a
                    // few at a time, as a core waits for no more than that at once.
                    let prefetch_lane = |lane: usize| {
                        if let Some(&i) = next.get(lane) {
                            let edges = graph.edges(i as usize);
                            prefetch(vectors, edges.clone());
                            if self.n_species > 1 || vectors.is_empty() {
                                prefetch(graph.neighbours(), edges.clone());
                            }
                        }
                        if with_gradients && let Some(&i) = schedule.centres(entry).get(lane) {
                            let edges = graph.edges(i as usize);
                            for k in 0..n_readouts {
                                prefetch_disjoint(&edge_gradients, k * n_edges + edges.start..k * n_edges + edges.end);
                            }
                        }
                    };
                    self.for_groups(sites, schedule, entry, block, prefetch_lane, |block, group| {
                        energy.clear();
                        energy.resize(n_readouts, V::zero());
                        if with_gradients {
                            if first && block.n_edges < all {
                                clear();
                            }
                            gradient.clear();
                            reserve(gradient, n_readouts * block.n_slots);
                            gradient.resize(n_readouts * block.n_slots, [V::zero(); 3]);
                            for part in &self.parts[group.parts.clone()] {
                                part.energy_gradient(block, scratch, readouts.start, energy, gradient);
                            }
                            for (k, virial) in virial.iter_mut().enumerate() {
                                let g = &gradient[k * block.n_slots..][..block.n_slots];
                                let mut sums = [[0.0; MAX_LANES]; 3];
                                V::vectorize(
                                    #[inline(always)]
                                    || match first {
                                        true => scatter_slots::<V, false>(
                                            block,
                                            g,
                                            (k * n_edges, edge_gradients),
                                            virial,
                                            &mut sums,
                                        ),
                                        false => scatter_slots::<V, true>(
                                            block,
                                            g,
                                            (k * n_edges, edge_gradients),
                                            virial,
                                            &mut sums,
                                        ),
                                    },
                                );
                                for (lane, &i) in block.centres.iter().enumerate().filter(|_| with_forces) {
                                    // SAFETY: a centre belongs to one block; incoming edges are subtracted after all tasks.
                                    let force = unsafe { forces.entry(k * n_atoms + i as usize) };
                                    force.iter_mut().zip(sums).for_each(|(force, sum)| *force += sum[lane]);
                                }
                            }
                        } else {
                            for part in &self.parts[group.parts.clone()] {
                                part.energy(block, scratch, readouts.start, energy);
                            }
                        }
                        first = false;
                        for (k, e) in energy.iter().enumerate() {
                            for (&i, e) in block.centres.iter().zip(e.to_array()) {
                                // SAFETY: a centre belongs to one block, and a block to one task.
                                unsafe { *energies.entry(k * n_centres + i as usize) += e.to_f64() };
                            }
                        }
                    });
                }
            },
        );
        let Some(Gradients { virials, mut forces, mut site_virials, mut edges }) = out.gradients else { return Ok(()) };
        for k in 0..n_readouts {
            let gradients = &call.gradients[k * n_edges..][..n_edges];
            if let Some(forces) = &mut forces {
                subtract_incoming(graph, gradients, &mut forces[k * n_atoms..][..n_atoms]);
            }
            if let Some(out) = &mut site_virials {
                potential::site_virials(graph, gradients, &mut out[k * n_atoms..][..n_atoms]);
            }
            if let Some(edges) = &mut edges {
                let to = &mut edges[k * n_edges..][..n_edges];
                to.iter_mut().zip(gradients).for_each(|(to, from)| *to = from.map(Real::to_f64));
            }
            virials[k] = [[0.0; 3]; 3];
            for virial in call.virials.iter().skip(k).step_by(n_readouts).take(call.schedule.n_tasks()) {
                for (v, x) in virials[k].as_flattened_mut().iter_mut().zip(virial) {
                    *v -= x;
                }
            }
        }
        Ok(())
    }

    fn basis(&self, sites: Sites, basis: &mut [f64], mut jacobian: Option<&mut [f64]>) -> Result<()> {
        let graph = sites.graph;
        let mut call = self.calls.take();
        call.schedule.fill(graph, sites.species, V::N, self.by_species());
        let schedule = &call.schedule;
        if let Some(jacobian) = &mut jacobian {
            self.check_memory(schedule, |part| part.slot_bytes(), 0)?;
            jacobian[graph.n_owned_edges() * self.n_basis * 3..].fill(0.0);
        }
        let n_basis = self.n_basis;
        let with_jacobian = jacobian.is_some();
        let nothing = |_| {};
        let basis = Disjoint::new(basis);
        let jacobian = Disjoint::new(jacobian.unwrap_or(&mut []));
        schedule.for_tasks(
            || self.workers.take(),
            |worker, _, blocks| {
                let Worker { block, scratch, basis: values, slot, .. } = &mut **worker;
                for b in blocks {
                    let entry = schedule.entries[b];
                    if with_jacobian {
                        for &i in schedule.centres(entry) {
                            let edges = graph.edges(i as usize);
                            // SAFETY: a centre and its edges belong to one block.
                            unsafe { jacobian.slice(edges.start * n_basis * 3, edges.len() * n_basis * 3) }.fill(0.0);
                        }
                    }
                    self.for_groups(sites, schedule, entry, block, nothing, |block, group| {
                        for p in group.parts.clone().filter(|&p| self.parts[p].n_basis() > 0) {
                            let (part, offset) = (&self.parts[p], self.offsets[p].basis);
                            let n = part.n_basis();
                            let values = at_least(values, n, V::zero());
                            part.basis(block, scratch, with_jacobian, values);
                            // SAFETY: as above.
                            unpack(block, values, |i| unsafe { basis.slice(i * n_basis + offset, n) });
                            if !with_jacobian {
                                continue;
                            }
                            let slot = at_least(slot, n, [V::zero(); 3]);
                            for s in 0..block.n_slots {
                                part.open_slot(block, s, scratch);
                                part.jacobian(0, scratch, slot);
                                let numbers = as_reals(slot.as_flattened());
                                for (lane, &e) in block.edges(s).iter().enumerate().filter(|(_, e)| **e != NONE) {
                                    // SAFETY: as above.
                                    let row = unsafe { jacobian.slice((e as usize * n_basis + offset) * 3, n * 3) };
                                    for (j, x) in row.iter_mut().zip(numbers[lane..].iter().step_by(V::N)) {
                                        *j = x.to_f64();
                                    }
                                }
                            }
                        }
                    });
                }
            },
        );
        Ok(())
    }

    fn features(&self, n_species: usize) -> Result<Features> {
        let fault = |message: &str| Err(Error::Argument(format!("grade: {message}")));
        let mut others = self.parts.iter().filter(|part| !part.is_linear());
        match (others.next(), others.next()) {
            (None, _) if self.n_basis == 0 => fault("the potential has no basis functions"),
            (None, _) => Ok(Features::linear(self.n_basis, n_species)),
            (Some(_), Some(_)) => fault("several parts have an embedding"),
            (Some(part), None) => match part.features() {
                Some(features) => Ok(features.clone()),
                None => {
                    fault("active sets belong to invariant functions, which a PACE potential has in its .yaml alone")
                }
            },
        }
    }

    fn write_features(&self, sites: Sites, out: &mut [f64]) -> Result<()> {
        let graph = sites.graph;
        let Some(features) = self.parts.iter().find_map(|part| part.features()) else {
            return self.basis(sites, out, None);
        };
        let mut call = self.calls.take();
        call.schedule.fill(graph, sites.species, V::N, self.by_species());
        let (schedule, n, out) = (&call.schedule, features.width, Disjoint::new(out));
        schedule.for_tasks(
            || self.workers.take(),
            |worker, _, blocks| {
                let Worker { block, scratch, basis: values, .. } = &mut **worker;
                for b in blocks {
                    let nothing = |_| {};
                    self.for_groups(sites, schedule, schedule.entries[b], block, nothing, |block, group| {
                        for part in self.parts[group.parts.clone()].iter().filter(|part| !part.is_linear()) {
                            let values = at_least(values, n, V::zero());
                            part.write_features(block, scratch, values);
                            // SAFETY: a centre belongs to one block.
                            unpack(block, values, |i| unsafe { out.slice(i * n, n) });
                        }
                    });
                }
            },
        );
        Ok(())
    }

    fn assemble(&self, sites: Sites, rows: &mut Rows) -> Result<()> {
        self.assemble_rows(sites, rows)
    }
}
