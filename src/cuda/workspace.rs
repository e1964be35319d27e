//! Device memory of one call, kept for the next.

use super::basis::Memory;
use super::list::Status;
use super::{SUMS, Targets};
use crate::Result;
use crate::device::cuda::context::{Buffer, Context};
use crate::device::cuda::staging::{Pinned, Staging};
use crate::device::cuda::stream::Stream;
use crate::graph::Sites;
use crate::parallel;
use crate::part::cuda::THREADS;
use crate::precision::Precision;
use std::sync::{Arc, Mutex, PoisonError};

/// A slot without a centre.
pub const NONE: u32 = u32::MAX;

/// Up to so many numbers are copied to the host at once.
const ONE_COPY: usize = 1 << 17;
/// Numbers before the energies: sums over all atoms, then a [`Status`].
const HEADER: usize = SUMS + 3;

pub struct Workspace {
    pub stream: Arc<Stream>,
    first: Buffer<u32>,
    neighbour: Buffer<u32>,
    species: Buffer<u32>,
    r: Buffer<[f64; 3]>,
    /// The same in single precision.
    r_single: Buffer<f32>,
    incoming_first: Buffer<u32>,
    incoming: Buffer<u32>,
    order: Buffer<u32>,
    /// Site energies in slot order.
    pub energies: Buffer<f64>,
    /// (n_edges, 3) in the working precision.
    pub gradients: Buffer<u8>,
    pub partial: Buffer<f64>,
    /// The first atoms of structures side by side.
    pub starts: Buffer<u32>,
    /// Sums over all atoms, site energies, forces.
    results: Buffer<f64>,
    pub staging: Staging,
    /// For MACE.
    pub layers: Buffer<u8>,
    /// Features on their way between processes.
    pub exchanged: Pinned,
    pub descriptors: Buffer<f64>,
    /// For basis, Jacobian and design rows.
    pub memory: Memory,
    /// A copy of the results on the host, for small systems.
    copy: Pinned,
}

/// As many workspaces as there were calls at a time.
#[derive(Default)]
pub struct Workspaces(Mutex<Vec<Workspace>>);

impl Workspaces {
    /// Runs `f` with a workspace; one whose call failed is not used again.
    pub fn with<T>(&self, device: &Arc<Context>, f: impl FnOnce(&mut Workspace) -> Result<T>) -> Result<T> {
        device.bind()?;
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut workspace = kept.map_or_else(|| Workspace::new(device), Ok)?;
        let result = f(&mut workspace)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
        Ok(result)
    }

    /// What `f` says of the workspace that comes next, if it exists.
    pub fn peek<T>(&self, f: impl FnOnce(&Workspace) -> T) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last().map(f)
    }
}

/// Addresses of a graph on the device.
#[derive(Clone, Copy)]
pub struct DeviceGraph {
    pub n_atoms: usize,
    pub n_centres: usize,
    pub n_edges: usize,
    pub first: u64,
    pub neighbour: u64,
    /// Species of every atom.
    pub species: u64,
    pub r: u64,
    pub incoming_first: u64,
    pub incoming: u64,
    /// Centres in slots: blocks of slots have one species; unused with a single species.
    pub order: u64,
    pub n_slots: usize,
    /// Lanes that share a centre.
    pub group: usize,
    /// The atom of each centre, where they differ; else 0.
    pub atom: u64,
}

impl Workspace {
    pub fn new(device: &Arc<Context>) -> Result<Workspace> {
        Ok(Workspace {
            stream: Arc::new(Stream::new(device)?),
            first: Buffer::new(device),
            neighbour: Buffer::new(device),
            species: Buffer::new(device),
            r: Buffer::new(device),
            r_single: Buffer::new(device),
            incoming_first: Buffer::new(device),
            incoming: Buffer::new(device),
            order: Buffer::new(device),
            energies: Buffer::new(device),
            gradients: Buffer::new(device),
            partial: Buffer::new(device),
            starts: Buffer::new(device),
            results: Buffer::new(device),
            staging: Staging::new(device),
            layers: Buffer::new(device),
            exchanged: Pinned::new(device),
            descriptors: Buffer::new(device),
            memory: Memory::new(device),
            copy: Pinned::new(device),
        })
    }

    /// Room for the results of so many atoms.
    pub fn targets(&mut self, n_centres: usize, n_atoms: usize) -> Result<Targets> {
        let totals = self.results.reserve(HEADER + n_centres + 3 * n_atoms)?;
        let (status, energies) = (self.results.place(SUMS), totals + 8 * HEADER as u64);
        Ok(Targets { totals, status, energies, forces: energies + 8 * n_centres as u64 })
    }

    /// Queues the copy of the results, unless they are large.
    pub fn fetch(&mut self, stream: &Stream, n_energies: usize, n_forces: usize) -> Result<()> {
        let n = HEADER + n_energies + 3 * n_forces;
        if n > ONE_COPY {
            return Ok(());
        }
        self.copy.reserve(n)?;
        // SAFETY: `targets` made room on the device; `download` waits.
        unsafe { stream.download(self.copy.place(), self.results.place(0), 8 * n) }
    }

    /// Waits for `stream` and hands out the results that were fetched. Slices may be empty.
    pub fn download(
        &mut self,
        stream: &Stream,
        energies: &mut [f64],
        forces: &mut [[f64; 3]],
    ) -> Result<([f64; SUMS], Status)> {
        let forces = forces.as_flattened_mut();
        let n = HEADER + energies.len() + forces.len();
        let mut header = [0.0; HEADER];
        if n <= ONE_COPY {
            stream.wait()?;
            let copy = self.copy.reserve(n)?;
            header.copy_from_slice(&copy[..HEADER]);
            energies.copy_from_slice(&copy[HEADER..][..energies.len()]);
            forces.copy_from_slice(&copy[HEADER + energies.len()..]);
        } else {
            self.results.download(&mut header, stream)?;
            self.staging.download(&self.results, HEADER, energies, stream)?;
            self.staging.download(&self.results, HEADER + energies.len(), forces, stream)?;
        }
        let totals = std::array::from_fn(|k| header[k]);
        Ok((totals, Status::from_words([header[SUMS], header[SUMS + 1], header[SUMS + 2]])))
    }

    /// Edge gradients in double precision.
    pub fn download_gradients(&self, edges: &mut [[f64; 3]], precision: Precision) -> Result<()> {
        let single = precision.is_single();
        let mut bytes = vec![0u8; edges.len() * 3 * if single { 4 } else { 8 }];
        self.gradients.download(&mut bytes, &self.stream)?;
        let edges = edges.as_flattened_mut();
        if single {
            for (g, b) in edges.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *g = f64::from(f32::from_ne_bytes(*b));
            }
        } else {
            for (g, b) in edges.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *g = f64::from_ne_bytes(*b);
            }
        }
        Ok(())
    }

    /// Copies a graph of the host, to be evaluated at its first `n_centres` atoms.
    pub fn upload(
        &mut self,
        Sites { graph, species, n_species }: Sites,
        n_centres: usize,
        group: usize,
        precision: Precision,
    ) -> Result<DeviceGraph> {
        let (stream, copy) = (&self.stream, &mut self.staging);
        let (order, n_slots) = if n_species > 1 {
            let order = by_species(&species[..n_centres], n_species, THREADS / group);
            (self.order.upload(&order, stream)?, order.len())
        } else {
            (0, n_centres)
        };
        let r = if precision.is_single() {
            let single: Vec<f32> = parallel::map(graph.vectors().as_flattened(), |&x| x as f32);
            copy.upload(&mut self.r_single, &single, stream)?
        } else {
            copy.upload(&mut self.r, graph.vectors(), stream)?
        };
        Ok(DeviceGraph {
            n_atoms: graph.n_atoms(),
            n_centres,
            n_edges: graph.n_edges(),
            first: copy.upload(&mut self.first, graph.first(), stream)?,
            neighbour: copy.upload(&mut self.neighbour, graph.neighbours(), stream)?,
            species: copy.upload(&mut self.species, species, stream)?,
            r,
            incoming_first: copy.upload(&mut self.incoming_first, graph.incoming_first(), stream)?,
            incoming: copy.upload(&mut self.incoming, graph.incoming(), stream)?,
            order,
            n_slots,
            group,
            atom: 0,
        })
    }
}

/// The centres sorted by species, each species filled up to whole blocks.
fn by_species(species: &[u32], n_species: usize, block: usize) -> Vec<u32> {
    let mut lists = vec![Vec::new(); n_species];
    for (i, &z) in species.iter().enumerate() {
        lists[z as usize].push(i as u32);
    }
    for list in &mut lists {
        list.resize(list.len().next_multiple_of(block), NONE);
    }
    lists.concat()
}
