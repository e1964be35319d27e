//! Basis, Jacobian and design rows on the device, a chunk of centres at a time.

use super::workspace::{DeviceGraph, Shape, Workspace};
use super::{Cuda, FORCE_LANES};
use crate::device::cuda::context::{Buffer, Context};
use crate::device::cuda::kernel::{Grid, Module, arguments};
use crate::device::cuda::staging::Staging;
use crate::device::cuda::stream::{Place, Stream};
use crate::graph::{Graph, Sites};
use crate::part::cuda::{PartKernels, PartKind, THREADS};
use crate::potential::{Rows, Stored};
use crate::stage::couple::Coupling;
use crate::{Error, Result};
use ndarray::ArrayViewMut2;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a chunk's Jacobian, about: of a call that has the device to itself, and where as many calls as there are threads share it.
const CHUNK_BYTES: usize = 1 << 30;
const SHARED_CHUNK_BYTES: usize = 256 << 20;

/// Shares of the edges that virial rows are summed over.
pub const SHARES: usize = 264;

/// The sparse maps of a many-body part on the device.
pub struct CouplingBuffers {
    whole: Vec<Buffer<u32>>,
    values: Vec<Buffer<f64>>,
    n_monomials: usize,
    n_derivatives: usize,
}

/// The struct `Coupling` of the kernels.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Map {
    monomials: u64,
    n_monomials: u32,
    n_derivatives: u32,
    basis: [u64; 3],
    derivative: [u64; 3],
    derivative_v: u64,
    derivative_of: u64,
}

impl CouplingBuffers {
    pub fn new(coupling: &Coupling, device: &Arc<Context>, stream: &Stream) -> Result<CouplingBuffers> {
        let (basis, derivative) = (&coupling.basis, &coupling.derivative);
        let monomials: Vec<u32> = coupling.monomials.as_flattened().to_vec();
        let whole = [
            &monomials,
            &basis.first,
            &basis.columns,
            &derivative.first,
            &derivative.columns,
            &coupling.derivative_v,
            &coupling.derivative_first,
        ];
        let mut buffers = CouplingBuffers {
            whole: Vec::new(),
            values: Vec::new(),
            n_monomials: coupling.n_monomials(),
            n_derivatives: coupling.n_derivatives(),
        };
        for list in whole {
            let mut buffer = Buffer::new(device);
            buffer.upload(list, stream)?;
            buffers.whole.push(buffer);
        }
        for list in [&basis.values, &derivative.values] {
            let mut buffer = Buffer::new(device);
            buffer.upload(list, stream)?;
            buffers.values.push(buffer);
        }
        Ok(buffers)
    }

    fn map(&self) -> Map {
        let [monomials, basis_first, basis_columns, first, columns, v, of] = std::array::from_fn(|k| self.whole[k].ptr);
        Map {
            monomials,
            n_monomials: self.n_monomials as u32,
            n_derivatives: self.n_derivatives as u32,
            basis: [basis_first, basis_columns, self.values[0].ptr],
            derivative: [first, columns, self.values[1].ptr],
            derivative_v: v,
            derivative_of: of,
        }
    }
}

/// Memory of a call.
pub struct Memory {
    basis: Buffer<f64>,
    jacobian: Buffer<f64>,
    monomials: Buffer<u8>,
    derivatives: Buffer<u8>,
    centre: Buffer<u32>,
    /// Design rows; those of the energy and the virial together.
    rows: Buffer<f64>,
    sums: Buffer<f64>,
    /// Shares of the virial rows.
    shares: Buffer<f64>,
}

impl Memory {
    pub fn new(device: &Arc<Context>) -> Memory {
        let f = || Buffer::new(device);
        let b = || Buffer::new(device);
        let centre = Buffer::new(device);
        Memory {
            basis: f(),
            jacobian: f(),
            monomials: b(),
            derivatives: b(),
            centre,
            rows: f(),
            sums: f(),
            shares: f(),
        }
    }
}

/// One part and some of its centres.
struct Chunk {
    part: usize,
    centres: Range<usize>,
    edges: Range<usize>,
}

impl Cuda {
    /// The chunks of a part: whole centres whose Jacobian takes about so many bytes.
    fn chunks(&self, graph: &Graph, part: usize, most: usize) -> Vec<Chunk> {
        let kind = &self.parts[part];
        let row = 24 * kind.n_basis.max(1);
        let per_centre = match &kind.kind {
            PartKind::Pair(_) | PartKind::Zbl(_) => 0,
            PartKind::Ace(p, _) => 8 * (p.coupling.n_monomials() + p.coupling.n_derivatives()),
        };
        let (mut chunks, mut start, mut bytes) = (Vec::new(), 0, 0);
        for i in 0..graph.n_owned() {
            bytes += row * graph.edges(i).len() + per_centre;
            if bytes >= most || i + 1 == graph.n_owned() {
                let edges = graph.edges(start).start..graph.edges(i).end;
                chunks.push(Chunk { part, centres: start..i + 1, edges });
                (start, bytes) = (i + 1, 0);
            }
        }
        chunks
    }

    /// `B` of the chunk and, where wanted, its Jacobian, into `memory`.
    fn chunk(
        &self,
        graph: &DeviceGraph,
        chunk: &Chunk,
        jacobian: bool,
        stream: &Stream,
        module: &Module,
        memory: &mut Memory,
    ) -> Result<()> {
        let part = &self.parts[chunk.part];
        let n = chunk.centres.len();
        let width = part.n_basis as u32;
        let basis = memory.basis.reserve(n * part.n_basis)?;
        let j = if jacobian { memory.jacobian.reserve(chunk.edges.len() * part.n_basis * 3)? } else { 0 };
        let parts = self.arguments(0);
        let (centre0, edge0) = (chunk.centres.start as u32, chunk.edges.start as u32);
        let DeviceGraph { first, neighbour, species, r, .. } = *graph;
        let grid = Grid { blocks: n, threads: THREADS, shared: 0 };
        let name = part.name(chunk.part);
        let PartKind::Ace(..) = &part.kind else {
            // SAFETY: `reserve` made the outputs large enough for the chunk.
            return unsafe {
                let arguments =
                    arguments![parts[..], centre0, edge0, first, neighbour, species, r, basis, width, j, width];
                module.launch(&format!("basis_{name}"), grid, stream, arguments)
            };
        };
        let maps = self.couplings[chunk.part].as_ref().expect("a many-body part has maps");
        let map = maps.map();
        let monomials = memory.monomials.reserve(n * maps.n_monomials * self.real())?;
        let derivatives = if jacobian { memory.derivatives.reserve(n * maps.n_derivatives * self.real())? } else { 0 };
        // SAFETY: `reserve` made monomials, derivatives and outputs large enough for the chunk; the graph is the caller's.
        unsafe {
            let arguments =
                arguments![parts[..], map, centre0, first, neighbour, species, r, basis, width, monomials, derivatives];
            module.launch(&format!("basis_{name}"), grid, stream, arguments)?;
            if jacobian {
                let arguments =
                    arguments![parts[..], map, centre0, edge0, first, neighbour, species, r, derivatives, j, width];
                let grid = Grid { shared: part.jacobian_shared(self.real()), ..grid };
                module.launch(&format!("jacobian_{name}"), grid, stream, arguments)?;
            }
        }
        Ok(())
    }

    /// (n_centres, n_basis) and, where wanted, (n_edges, n_basis, 3).
    pub(super) fn basis_and_jacobian(
        &self,
        sites: Sites,
        basis: &mut [f64],
        mut jacobian: Option<&mut [f64]>,
    ) -> Result<()> {
        let graph = sites.graph;
        let module = self.module("basis", 0)?;
        if let Some(jacobian) = &mut jacobian {
            jacobian[graph.n_owned_edges() * self.n_basis * 3..].fill(0.0);
        }
        let (forces, shape) = (self.module("forces", 0)?, Shape { n_centres: graph.n_owned(), group: 1, near: None });
        self.with_workspace(graph.edition(), |w| {
            let on_device = w.upload(Sites { n_species: 1, ..sites }, shape, self.precision, &forces)?;
            let Workspace { stream, memory, staging, .. } = w;
            let mut copy = Vec::new();
            for part in (0..self.parts.len()).filter(|&p| self.parts[p].n_basis > 0) {
                let (n, at) = (self.parts[part].n_basis, self.parts[part].offset.basis);
                for chunk in self.chunks(graph, part, CHUNK_BYTES) {
                    self.chunk(&on_device, &chunk, jacobian.is_some(), stream, &module, memory)?;
                    copy.resize(chunk.centres.len() * n, 0.0);
                    staging.download(&memory.basis, 0, &mut copy, stream)?;
                    spread(&copy, n, &mut basis[chunk.centres.start * self.n_basis..], self.n_basis, at);
                    if let Some(jacobian) = &mut jacobian {
                        copy.resize(chunk.edges.len() * n * 3, 0.0);
                        staging.download(&memory.jacobian, 0, &mut copy, stream)?;
                        let to = &mut jacobian[chunk.edges.start * self.n_basis * 3..];
                        spread(&copy, 3 * n, to, 3 * self.n_basis, 3 * at);
                    }
                }
            }
            Ok(())
        })
    }

    pub(super) fn assemble_rows(&self, sites: Sites, rows: &mut Rows) -> Result<()> {
        let graph = sites.graph;
        let module = self.module("basis", 0)?;
        let n_params = self.species.len() * self.n_basis;
        let (forces, shape) = (self.module("forces", 0)?, Shape { n_centres: graph.n_owned(), group: 1, near: None });
        self.with_workspace(graph.edition(), |w| {
            let on_device = w.upload(Sites { n_species: 1, ..sites }, shape, self.precision, &forces)?;
            let Workspace { stream, memory, staging, .. } = w;
            // The last of the sums becomes other than zero where stored rows are not finite.
            let energy_row = memory.sums.fill(0, 7 * n_params + 1, stream)?;
            let virial_rows = energy_row + 8 * n_params as u64;
            let n_rows = 3 * graph.n_atoms();
            // Rows have the caller's order on the device too, without gaps.
            let by_columns = rows.forces.as_ref().is_some_and(|f| f.strides()[1] != 1);
            let (force_rows, step) = match (&rows.stored, &rows.forces) {
                (Some(stored), _) => (Some(stored.address), [1, stored.step as u64]),
                (None, None) => (None, [0; 2]),
                (None, Some(_)) => {
                    let step = if by_columns { [1, n_rows as u64] } else { [n_params as u64, 1] };
                    (Some(memory.rows.fill(0, n_rows * n_params, stream)?), step)
                }
            };
            let with_jacobian = force_rows.is_some() || rows.virial.is_some();
            let chunk_bytes = match &rows.stored {
                Some(stored) => SHARED_CHUNK_BYTES.min(self.device.memory / (4 * stored.calls)),
                None => CHUNK_BYTES,
            };
            let centre = memory.centre.reserve(graph.n_edges())?;
            let n_centres = graph.n_owned() as u32;
            let DeviceGraph { first, incoming_first, incoming, species, r, .. } = on_device;
            // SAFETY: here and below `reserve` and `fill` made every buffer as large as the kernels need.
            unsafe {
                let blocks = graph.n_owned().div_ceil(THREADS / FORCE_LANES);
                let grid = Grid { blocks, threads: THREADS, shared: 0 };
                module.launch("centres", grid, stream, arguments![n_centres, first, centre])?;
            }
            for part in (0..self.parts.len()).filter(|&p| self.parts[p].n_basis > 0) {
                let n = self.parts[part].n_basis;
                let (n32, width, column) = (n as u32, n_params as u32, self.parts[part].offset.parameter as u32);
                let by_species = Grid { blocks: n * self.species.len(), threads: THREADS, shared: 0 };
                for chunk in self.chunks(graph, part, chunk_bytes) {
                    self.chunk(&on_device, &chunk, with_jacobian, stream, &module, memory)?;
                    let (centre0, n_chunk) = (chunk.centres.start as u32, chunk.centres.len() as u32);
                    let (edge0, edge1) = (chunk.edges.start as u32, chunk.edges.end as u32);
                    let (basis, jacobian) = (memory.basis.ptr, memory.jacobian.ptr);
                    if rows.energy.is_some() {
                        let arguments = arguments![centre0, n_chunk, species, basis, n32, energy_row, column];
                        // SAFETY: the row has all parameters, the basis all centres of the chunk.
                        unsafe { module.launch("energy_row", by_species, stream, arguments) }?;
                    }
                    if let Some(force_rows) = force_rows {
                        let tiles = n.div_ceil(THREADS);
                        let tiles32 = tiles as u32;
                        let grid = Grid { blocks: graph.n_atoms() * tiles, threads: THREADS, shared: 0 };
                        let arguments = arguments![
                            n_centres,
                            edge0,
                            edge1,
                            first,
                            incoming_first,
                            incoming,
                            centre,
                            species,
                            jacobian,
                            n32,
                            tiles32,
                            force_rows,
                            step[0],
                            step[1],
                            column
                        ];
                        // SAFETY: the rows have 3 n_atoms · n_params numbers, the Jacobian all edges of the chunk.
                        unsafe { module.launch("force_rows", grid, stream, arguments) }?;
                    }
                    if rows.virial.is_some() {
                        let tiles = n.div_ceil(THREADS);
                        let tiles32 = tiles as u32;
                        let shares = memory.shares.reserve(self.species.len() * SHARES * n * 6)?;
                        let grid = Grid { blocks: SHARES * tiles, threads: THREADS, shared: 0 };
                        let arguments = arguments![edge0, edge1, centre, species, r, jacobian, n32, tiles32, shares];
                        // SAFETY: `shares` has six numbers for every species, share and function, the Jacobian all edges of the chunk.
                        unsafe { module.launch("virial_shares", grid, stream, arguments) }?;
                        let blocks = (self.species.len() * n * 6).div_ceil(THREADS);
                        let arguments = arguments![n32, shares, virial_rows, width, column];
                        // SAFETY: the shares were just written, on the same stream; the rows have all parameters.
                        unsafe { module.launch("virial_rows", Grid { blocks, ..grid }, stream, arguments) }?;
                    }
                }
            }
            if let Some(Stored { address, step, weight, data, n_columns, .. }) = rows.stored {
                let (n_rows32, step64, flag) = (n_rows as u32, step as u64, energy_row + 56 * n_params as u64);
                let last = Place { address: address + 8 * (step * (n_columns - 1)) as u64, allocation: 0 };
                let from = Place { address: data.as_ptr().addr() as u64, allocation: 0 };
                let grid = Grid { blocks: n_params, threads: THREADS, shared: 0 };
                // SAFETY: the rows have all columns, with a number for each row in the last one; there is one sum more than the rows take.
                unsafe {
                    module.launch("weigh_rows", grid, stream, arguments![n_rows32, address, step64, weight, flag])?;
                    stream.upload(last, from, size_of_val(data))?;
                }
            }
            let mut finite = true;
            if let Some(matrix) = &mut rows.forces {
                download(matrix, &memory.rows, staging, stream)?;
                finite = matrix.iter().all(|x| x.is_finite());
            }
            let mut host = vec![0.0; 7 * n_params + 1];
            memory.sums.download(&mut host, stream)?;
            if !(finite && host.iter().all(|x| x.is_finite())) {
                return Err(Error::NotFinite("the design rows are not finite".into()));
            }
            let row = |k: usize| ndarray::aview1(&host[k * n_params..][..n_params]);
            if let Some(to) = &mut rows.energy {
                to.assign(&row(0));
            }
            if let Some(matrix) = &mut rows.virial {
                let nine = [0, 5, 4, 5, 1, 3, 4, 3, 2];
                let which = if matrix.nrows() == 6 { &[0, 1, 2, 3, 4, 5][..] } else { &nine };
                matrix.rows_mut().into_iter().zip(which).for_each(|(mut to, k)| to.assign(&row(1 + k)));
            }
            Ok(())
        })
    }
}

/// Rows of length `n` into places of rows of length `width`.
fn spread(from: &[f64], n: usize, to: &mut [f64], width: usize, at: usize) {
    for (from, to) in from.chunks(n.max(1)).zip(to.chunks_mut(width.max(1))) {
        to[at..at + n].copy_from_slice(from);
    }
}

/// Copies a matrix without gaps, in the order of `to`, into the memory of `to`.
fn download(to: &mut ArrayViewMut2<f64>, from: &Buffer<f64>, staging: &mut Staging, stream: &Stream) -> Result<()> {
    // Strides of what is empty say nothing.
    if to.is_empty() {
        return Ok(());
    }
    let mut to = match to.strides()[1] {
        1 => to.view_mut(),
        _ => to.view_mut().reversed_axes(),
    };
    if let Some(to) = to.as_slice_mut() {
        return staging.download(from, 0, to, stream);
    }
    let n = to.ncols();
    for (k, mut row) in to.rows_mut().into_iter().enumerate() {
        from.download_from(k * n, row.as_slice_mut().expect("a row without gaps"), stream)?;
    }
    Ok(())
}

/// Makes the maps of every many-body part.
pub fn couplings(
    parts: &[PartKernels],
    device: &Arc<Context>,
    stream: &Stream,
) -> Result<Vec<Option<CouplingBuffers>>> {
    let map = |part: &PartKernels| match &part.kind {
        PartKind::Pair(_) | PartKind::Zbl(_) => Ok::<_, Error>(None),
        PartKind::Ace(program, _) => CouplingBuffers::new(&program.coupling, device, stream).map(Some),
    };
    parts.iter().map(map).collect()
}
