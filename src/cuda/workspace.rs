//! Device memory of one call, kept for the next.

use super::basis::Memory;
use super::list::Status;
use super::{FORCE_LANES, SUMS, Targets};
use crate::Result;
use crate::device::cuda::context::{Buffer, Context};
use crate::device::cuda::kernel::{Grid, Module, arguments};
use crate::device::cuda::staging::{Pinned, Staging};
use crate::device::cuda::stream::Stream;
use crate::graph::{Graph, Moved, Sites};
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
    shift: Buffer<[i16; 3]>,
    order: Buffer<u32>,
    /// Which graph all these are of; `None` where the last upload failed.
    held: Option<Held>,
    x: Buffer<[f64; 3]>,
    /// The edges that are near: their neighbours, the ends of their rows, their places.
    near: Buffer<u32>,
    last: Buffer<u32>,
    place: Buffer<u32>,
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
    ///
    /// It has the edges of this edition, where there is one that does.
    pub fn with<T>(
        &self,
        device: &Arc<Context>,
        edition: u64,
        f: impl FnOnce(&mut Workspace) -> Result<T>,
    ) -> Result<T> {
        device.bind()?;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let with_edges = all.iter().position(|w| edition != 0 && w.held.as_ref().is_some_and(|h| h.edition == edition));
        let kept = with_edges.map(|k| all.remove(k)).or_else(|| all.pop());
        drop(all);
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
    /// Where the row of each centre ends.
    pub last: u64,
    pub neighbour: u64,
    /// Species of every atom.
    pub species: u64,
    pub r: u64,
    pub incoming_first: u64,
    pub incoming: u64,
    /// Where the gradient of each edge is, where that is not the place of the edge; else 0.
    pub place: u64,
    /// Centres in slots: blocks of slots have one species; unused with a single species.
    pub order: u64,
    pub n_slots: usize,
    /// Lanes that share a centre.
    pub group: usize,
    /// The atom of each centre, where they differ; else 0.
    pub atom: u64,
}

/// Which centres of a graph are evaluated, the first ones, and how.
#[derive(Clone, Copy)]
pub struct Shape {
    pub n_centres: usize,
    /// Lanes that share a centre.
    pub group: usize,
    /// Edges of this length (Å) and longer may be left out, and the others be in other places, if that is of use.
    pub near: Option<f64>,
}

/// Edges on the device.
struct Held {
    edition: u64,
    species: Vec<u32>,
    shifts: bool,
    /// Species, centres and group of the order.
    order: (usize, usize, usize),
    n_slots: usize,
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
            shift: Buffer::new(device),
            order: Buffer::new(device),
            held: None,
            x: Buffer::new(device),
            near: Buffer::new(device),
            last: Buffer::new(device),
            place: Buffer::new(device),
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

    /// A graph of the host: copied, or, where this is the graph of the last time and only its atoms have moved, with vectors that are
    /// computed from their positions by the module `kernels`.
    pub fn upload(
        &mut self,
        sites: Sites,
        shape: Shape,
        precision: Precision,
        kernels: &Module,
    ) -> Result<DeviceGraph> {
        let Sites { graph, species, n_species } = sites;
        let mut held = match self.held.take() {
            Some(held) if graph.edition() != 0 && held.edition == graph.edition() && held.species == species => held,
            held => self.upload_edges(graph, species, held)?,
        };
        let (stream, copy) = (&self.stream, &mut self.staging);
        let order = (n_species, shape.n_centres, shape.group);
        if held.order != order {
            let order = match n_species {
                1 => Vec::new(),
                _ => by_species(&species[..shape.n_centres], n_species, THREADS / shape.group),
            };
            self.order.upload(&order, stream)?;
            held.n_slots = if n_species > 1 { order.len() } else { shape.n_centres };
        }
        held.order = order;
        let n_edges = graph.n_edges();
        let (first, neighbour) = (self.first.ptr, self.neighbour.ptr);
        let mut on_device = DeviceGraph {
            n_atoms: graph.n_atoms(),
            n_centres: shape.n_centres,
            n_edges,
            first,
            last: first + 4,
            neighbour,
            species: self.species.ptr,
            r: 0,
            incoming_first: self.incoming_first.ptr,
            incoming: self.incoming.ptr,
            place: 0,
            order: if n_species > 1 { self.order.ptr } else { 0 },
            n_slots: held.n_slots,
            group: shape.group,
            atom: 0,
        };
        let single = precision.is_single();
        let Some(Moved { positions, translations }) = graph.moved() else {
            on_device.r = if single {
                let single: Vec<f32> = parallel::map(graph.vectors().as_flattened(), |&x| x as f32);
                copy.upload(&mut self.r_single, &single, stream)?
            } else {
                copy.upload(&mut self.r, graph.vectors(), stream)?
            };
            self.held = Some(held);
            return Ok(on_device);
        };
        let mut shift = 0;
        if !graph.shifts().is_empty() {
            if !held.shifts {
                copy.upload(&mut self.shift, graph.shifts(), stream)?;
            }
            held.shifts = true;
            shift = self.shift.ptr;
        }
        let x = copy.upload(&mut self.x, positions, stream)?;
        let r = if single { self.r_single.reserve(3 * n_edges)? } else { self.r.reserve(n_edges)? };
        on_device.r = r;
        let (cell, n, n_owned) = (translations.cell, graph.n_centres() as u32, graph.n_owned() as u32);
        let grid = Grid { blocks: graph.n_centres().div_ceil(THREADS / FORCE_LANES), threads: THREADS, shared: 0 };
        if let Some(length) = shape.near {
            // A hair more than what the kernels of the parts pass over, whatever their precision.
            let square = length * length * (1.0 + 1e-6);
            let (near, place) = (self.near.reserve(n_edges)?, self.place.reserve(n_edges)?);
            let last = self.last.reserve(graph.n_owned())?;
            (on_device.neighbour, on_device.last, on_device.place) = (near, last, place);
            // SAFETY: there is a position for each atom, an offset for each centre and one more, a neighbour and, where not null, a shift
            // for each edge; `reserve` made room for as many vectors, neighbours and places, and for the end of each owned row.
            unsafe {
                let arguments = arguments![cell, n, n_owned, square, first, neighbour, shift, x, last, near, place, r];
                kernels.launch("near_edges", grid, stream, arguments)?;
            }
        } else {
            // SAFETY: as above.
            unsafe {
                let arguments = arguments![cell, n, first, neighbour, shift, x, r];
                kernels.launch("edge_vectors", grid, stream, arguments)?;
            }
        }
        self.held = Some(held);
        Ok(on_device)
    }

    /// Copies edges and species; `held` is of the last graph, whose memory it leaves.
    fn upload_edges(&mut self, graph: &Graph, species: &[u32], held: Option<Held>) -> Result<Held> {
        let (stream, copy) = (&self.stream, &mut self.staging);
        copy.upload(&mut self.first, graph.first(), stream)?;
        copy.upload(&mut self.neighbour, graph.neighbours(), stream)?;
        copy.upload(&mut self.species, species, stream)?;
        copy.upload(&mut self.incoming_first, graph.incoming_first(), stream)?;
        copy.upload(&mut self.incoming, graph.incoming(), stream)?;
        let mut kept = held.map(|held| held.species).unwrap_or_default();
        kept.clear();
        kept.extend_from_slice(species);
        Ok(Held { edition: graph.edition(), species: kept, shifts: false, order: (0, 0, 0), n_slots: 0 })
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
