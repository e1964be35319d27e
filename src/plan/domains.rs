//! One structure on several devices: space is cut into slabs, and each device evaluates one, with as wide a shell of ghosts as
//! its energies see.

use super::Conditions;
use crate::graph::{Domain, Exchange, Graph, Neighbours, OnDevice, Sites};
use crate::memory::{self, Kept, Lease, at_least};
use crate::parallel::{self, Disjoint};
use crate::potential::{Buffers, LinearPotential, Outputs, Potential, Reach, Rows, Sizes, Triangles};
use crate::potential::{matrices, numbers, stack, total, vectors};
use crate::stage::features::Features;
use crate::{Error, Result};
use ndarray::{ArrayViewMut2, ArrayViewMut3, Axis, aview1};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{Builder, scope};

/// Atoms whose results a thread adds at a time.
const CHUNK: usize = 4096;

/// The same potential on several devices. Linear ones give derivatives of their basis and rows on the first.
pub(super) struct Domains {
    potentials: Vec<Box<dyn Potential>>,
    kept: Arc<Kept<Cut>>,
}

/// A graph in domains, one for each device.
#[derive(Default)]
struct Cut {
    /// That of the graph; 0 for none.
    edition: u64,
    /// Whether vectors are those of positions that came later than the edges.
    moved: bool,
    /// Of the whole, as the parts have them.
    species: Vec<u32>,
    parts: Vec<Part>,
    energies: Vec<f64>,
}

struct Part {
    domain: Domain,
    species: Vec<u32>,
    positions: Vec<[f64; 3]>,
    results: Results,
}

/// What a device has made of its domain, with its own numbers of atoms.
#[derive(Default)]
struct Results {
    site_energies: Vec<f64>,
    forces: Vec<f64>,
    virial: Vec<f64>,
    site_virials: Vec<f64>,
    edge_gradients: Vec<f64>,
    committee_site_energies: Vec<f64>,
    committee_forces: Vec<f64>,
    committee_virials: Vec<f64>,
    descriptors: Vec<f64>,
}

impl Cut {
    /// Cuts the graph, unless its edges are those of the last time.
    fn renew(&mut self, Sites { graph, species, .. }: Sites, n: usize, hops: usize) -> Result<()> {
        let edition = std::mem::take(&mut self.edition);
        if edition == 0 || edition != graph.edition() || (self.moved && graph.moved().is_none()) {
            let part = |domain| Part { domain, species: vec![], positions: vec![], results: Results::default() };
            self.parts = graph.domains(n, hops)?.into_iter().map(part).collect();
            (self.moved, self.species) = (false, Vec::new());
        } else {
            self.moved = graph.moved().is_some();
        }
        if self.species != species {
            self.species.clear();
            self.species.extend_from_slice(species);
            for part in &mut self.parts {
                part.species = part.domain.atoms.iter().map(|&i| species[i as usize]).collect();
            }
        }
        Ok(())
    }
}

impl Part {
    /// Runs `f` on the domain, where the atoms are now.
    fn run(&mut self, sites: Sites, moved: bool, f: impl FnOnce(Sites, &mut Results) -> Result<()>) -> Result<()> {
        let Part { domain: Domain { graph, atoms }, species, positions, results } = self;
        if let (true, Some(all)) = (moved, sites.graph.moved()) {
            memory::resize(positions, atoms.len(), [0.0; 3]);
            positions.iter_mut().zip(&*atoms).for_each(|(to, &i)| *to = all.positions[i as usize]);
            if !graph.follow(positions, &all.translations.cell) {
                graph.update_positions(positions, &all.translations.cell)?;
            }
        }
        f(Sites { graph, species, n_species: sites.n_species }, results)
    }

    /// The atoms that have energies here, or all.
    fn atoms(&self, owned: bool) -> &[u32] {
        let n = if owned { self.domain.graph.n_owned() } else { self.domain.atoms.len() };
        &self.domain.atoms[..n]
    }

    /// Adds the gradients of the domain's edges.
    fn add_edges(&self, graph: &Graph, to: &mut [[f64; 3]]) {
        let (own, from) = (&self.domain.graph, self.results.edge_gradients.as_chunks().0);
        for (k, &i) in self.domain.atoms[..own.n_centres()].iter().enumerate() {
            let rows = to[graph.edges(i as usize)].iter_mut().zip(&from[own.edges(k)]);
            rows.for_each(|(to, from): (_, &[f64; 3])| (0..3).for_each(|d| to[d] += from[d]));
        }
    }
}

/// The sums over domains of rows of so many numbers, one for each of the `n` atoms, for one member after another.
fn sum(parts: &[Part], owned: bool, (n, width): (usize, usize), to: &mut [f64], from: impl Fn(&Results) -> &[f64]) {
    to.fill(0.0);
    for part in parts {
        let atoms = part.atoms(owned);
        let members = to.chunks_exact_mut((n * width).max(1));
        for (to, from) in members.zip(from(&part.results).chunks_exact((atoms.len() * width).max(1))) {
            let to = Disjoint::new(to);
            let each = |k: usize| {
                // SAFETY: a domain has an atom once.
                let to = unsafe { to.slice(atoms[k] as usize * width, width) };
                to.iter_mut().zip(&from[k * width..]).for_each(|(to, from)| *to += from);
            };
            let chunk = |(): &mut (), c: usize| (c * CHUNK..atoms.len().min((c + 1) * CHUNK)).for_each(each);
            parallel::for_each_init(atoms.len().div_ceil(CHUNK), || (), chunk);
        }
    }
}

/// Those of numbers that belong to no atom.
fn sum_all(parts: &[Part], to: &mut [f64], from: impl Fn(&Results) -> &[f64]) {
    to.fill(0.0);
    parts.iter().for_each(|part| to.iter_mut().zip(from(&part.results)).for_each(|(to, from)| *to += from));
}

impl Domains {
    pub fn new(potentials: Vec<Box<dyn Potential>>) -> Domains {
        Domains { potentials, kept: Arc::default() }
    }

    fn first(&self) -> &dyn Potential {
        &*self.potentials[0]
    }

    /// Runs `f` on all domains at once, each by a thread of its own.
    fn run(
        &self,
        sites: Sites,
        f: impl Fn(&dyn Potential, Sites, &mut Results) -> Result<()> + Sync,
    ) -> Result<Lease<'_, Cut>> {
        let mut cut = self.kept.take();
        cut.renew(sites, self.potentials.len(), self.reach().hops.max(1))?;
        let moved = cut.moved;
        let one = |part: &mut Part, potential: &dyn Potential| {
            memory::caught(|| parallel::alone(|| part.run(sites, moved, |own, results| f(potential, own, results))))
        };
        let results: Vec<Result<()>> = scope(|scope| {
            let (one, potentials) = (&one, self.potentials.iter().map(|potential| &**potential));
            let start = |(part, potential)| {
                let started = Builder::new().spawn_scoped(scope, move || one(part, potential));
                started.map_err(|e| Error::Device(format!("a thread for a device cannot be started: {e}")))
            };
            let threads: Vec<_> = cut.parts.iter_mut().zip(potentials).map(start).collect();
            let join = |thread: Result<std::thread::ScopedJoinHandle<Result<()>>>| {
                thread?.join().unwrap_or_else(|defect| resume_unwind(defect))
            };
            threads.into_iter().map(join).collect()
        });
        results.into_iter().collect::<Result<()>>()?;
        cut.edition = sites.graph.edition();
        Ok(cut)
    }

    fn on_domains(&self, sites: Sites, out: &mut Outputs) -> Result<()> {
        let (graph, n, descriptors) = (sites.graph, sites.graph.n_atoms(), self.n_descriptors());
        let by_member = [
            out.committee_energies.as_ref().map(|v| v.len()),
            out.committee_site_energies.as_ref().map(|v| v.nrows()),
            out.committee_forces.as_ref().map(|v| v.len_of(Axis(0))),
            out.committee_virials.as_ref().map(|v| v.len_of(Axis(0))),
        ];
        let members = by_member.into_iter().flatten().next().unwrap_or(0);
        let w = &*out;
        let evaluate = |potential: &dyn Potential, own: Sites, to: &mut Results| {
            let (owned, atoms, edges) = (own.graph.n_owned(), own.graph.n_atoms(), own.graph.n_edges());
            let energies = w.energy.is_some() || w.site_energies.is_some();
            let of_members = w.committee_energies.is_some() || w.committee_site_energies.is_some();
            let buffers = Buffers {
                site_energies: room(&mut to.site_energies, energies, owned),
                forces: room(&mut to.forces, w.forces.is_some(), 3 * atoms),
                virial: room(&mut to.virial, w.virial.is_some(), 9),
                site_virials: room(&mut to.site_virials, w.site_virials.is_some(), 9 * atoms),
                edge_gradients: room(&mut to.edge_gradients, w.edge_gradients.is_some(), 3 * edges),
                committee_site_energies: room(&mut to.committee_site_energies, of_members, members * owned),
                committee_forces: room(&mut to.committee_forces, w.committee_forces.is_some(), 3 * members * atoms),
                committee_virials: room(&mut to.committee_virials, w.committee_virials.is_some(), 9 * members),
                descriptors: room(&mut to.descriptors, w.descriptors.is_some(), descriptors * owned),
                ..Buffers::default()
            };
            let sizes = Sizes { owned, atoms, edges: Some(edges), members, descriptors };
            potential.evaluate(own, None, &mut buffers.views(&sizes)?)
        };
        let merge = |Cut { parts, energies, .. }: &mut Cut, out: &mut Outputs| {
            let parts = &*parts;
            let virial = matrices(&mut out.virial).map_or([[0.0; 3]; 3], |to| {
                sum_all(parts, to.as_flattened_mut().as_flattened_mut(), |r| &r.virial);
                to[0]
            });
            numbers(&mut out.forces).into_iter().for_each(|to| sum(parts, false, (n, 3), to, |r| &r.forces));
            if out.energy.is_some() || out.site_energies.is_some() {
                let energies = at_least(energies, n, 0.0);
                sum(parts, true, (n, 1), energies, |r| &r.site_energies);
                stack::check(total(energies), energies, virial, vectors(&mut out.forces).map(|f| &*f))?;
                out.energy.iter_mut().for_each(|e| **e = total(energies));
                out.site_energies.iter_mut().for_each(|v| v.assign(&aview1(energies)));
            }
            numbers(&mut out.site_virials)
                .into_iter()
                .for_each(|to| sum(parts, false, (n, 9), to, |r| &r.site_virials));
            if let Some(to) = vectors(&mut out.edge_gradients) {
                to.fill([0.0; 3]);
                parts.iter().for_each(|part| part.add_edges(graph, to));
            }
            if out.committee_energies.is_some() || out.committee_site_energies.is_some() {
                let energies = at_least(energies, n * members, 0.0);
                sum(parts, true, (n, 1), energies, |r| &r.committee_site_energies);
                let each = || energies.chunks_exact(n.max(1));
                numbers(&mut out.committee_energies).into_iter().for_each(|to| {
                    to.fill(0.0);
                    to.iter_mut().zip(each()).for_each(|(to, energies)| *to = total(energies));
                });
                numbers(&mut out.committee_site_energies).into_iter().for_each(|to| to.copy_from_slice(energies));
            }
            let forces = numbers(&mut out.committee_forces);
            forces.into_iter().for_each(|to| sum(parts, false, (n, 3), to, |r| &r.committee_forces));
            numbers(&mut out.committee_virials).into_iter().for_each(|to| sum_all(parts, to, |r| &r.committee_virials));
            let to = numbers(&mut out.descriptors);
            to.into_iter().for_each(|to| sum(parts, true, (n, descriptors), to, |r| &r.descriptors));
            Ok(())
        };
        let mut cut = self.run(sites, evaluate)?;
        merge(&mut cut, out)
    }
}

/// Room for a result of a domain, if it is wanted.
fn room(to: &mut Vec<f64>, wanted: bool, n: usize) -> Option<&mut [f64]> {
    memory::resize(to, if wanted { n } else { 0 }, 0.0);
    wanted.then_some(&mut to[..])
}

impl Potential for Domains {
    fn reach(&self) -> Reach {
        self.first().reach()
    }

    fn bytes(&self) -> usize {
        self.potentials.iter().map(|p| p.bytes()).sum()
    }

    fn evaluate(&self, sites: Sites, exchange: Option<&mut dyn Exchange>, out: &mut Outputs) -> Result<()> {
        if exchange.is_some() {
            return Err(Error::Argument("features are exchanged by plans on one device".into()));
        }
        match self.on_domains(sites, out) {
            // A domain has numbers of its own for its atoms: the whole names the culprit.
            Err(error @ Error::NotFinite(_)) => match self.first().evaluate(sites, None, out) {
                Err(named @ Error::NotFinite(_)) => Err(named),
                _ => Err(error.of("an atom of a domain")),
            },
            result => result,
        }
    }

    fn fits(&self, atoms: usize, edges: usize, gradients: bool) -> bool {
        self.potentials.iter().all(|p| p.fits(atoms, edges, gradients))
    }

    fn n_descriptors(&self) -> usize {
        self.first().n_descriptors()
    }

    fn at(&self, conditions: &Conditions) -> Result<Box<dyn Potential>> {
        let potentials = self.potentials.iter().map(|p| p.at(conditions)).collect::<Result<_>>()?;
        Ok(Box::new(Domains { potentials, kept: self.kept.clone() }))
    }

    fn features(&self, n_species: usize) -> Result<Features> {
        self.first().features(n_species)
    }

    fn write_features(&self, sites: Sites, to: &mut [f64]) -> Result<()> {
        let (n, width) = (sites.graph.n_atoms(), to.len().checked_div(sites.graph.n_atoms()).unwrap_or(0));
        let cut = self.run(sites, |potential, own, results| {
            memory::resize(&mut results.descriptors, own.graph.n_owned() * width, 0.0);
            potential.write_features(own, &mut results.descriptors)
        })?;
        sum(&cut.parts, true, (n, width), to, |r| &r.descriptors);
        Ok(())
    }

    fn linear(&self) -> Option<&dyn LinearPotential> {
        self.first().linear().map(|_| self as &dyn LinearPotential)
    }

    fn linear_mut(&mut self) -> Option<&mut dyn LinearPotential> {
        match self.first().linear() {
            Some(_) => Some(self),
            None => None,
        }
    }

    unsafe fn evaluate_on_device(&self, _: &mut Neighbours, _: &OnDevice, _: &[u32], _: &mut Outputs) -> Result<()> {
        Err(Error::Argument("device addresses need a plan on one CUDA device".into()))
    }
}

fn linear(potential: &dyn Potential) -> Result<&dyn LinearPotential> {
    potential.linear().ok_or_else(super::not_linear)
}

impl LinearPotential for Domains {
    fn set_readouts(&mut self, parameters: &[Vec<f64>]) -> Result<()> {
        let set = |p: &mut Box<dyn Potential>| p.linear_mut().ok_or_else(super::not_linear)?.set_readouts(parameters);
        self.potentials.iter_mut().try_for_each(set)
    }

    fn jacobian(
        &self,
        sites: Sites,
        basis: Option<ArrayViewMut2<f64>>,
        jacobian: Option<ArrayViewMut3<f64>>,
    ) -> Result<()> {
        linear(self.first())?.jacobian(sites, basis, jacobian)
    }

    fn assemble(&self, sites: Sites, rows: &mut Rows) -> Result<()> {
        linear(self.first())?.assemble(sites, rows)
    }

    fn triangles(&self, n_columns: usize) -> Result<Option<Box<dyn Triangles>>> {
        linear(self.first())?.triangles(n_columns)
    }
}

#[cfg(test)]
mod tests;
