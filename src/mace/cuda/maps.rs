//! Linear maps between channels that lie side by side: `kernels/ops/linear.cu`, forwards and transposed.

use super::{Run, Slice};
use crate::Result;
use crate::device::cuda::context::{Buffer, Context};
use crate::device::cuda::kernel::{KernelSource, arguments};
use crate::device::cuda::stream::Stream;
use crate::dtype::{Dtype, to_bytes};
use crate::mace::network::{Map, Shape};
use crate::ops::cuda::source::Source;
use crate::ops::linear::cuda::{COLUMNS, TILE_THREADS, WAYS};
use crate::precision::Precision;
use std::sync::Arc;

pub(crate) use crate::ops::linear::cuda::ROWS;

/// One map for all atoms, or one for each species.
pub struct DeviceMap {
    ways: [Way; 2],
    weights: Buffer<u8>,
    by_species: bool,
}

/// Forwards, or backwards with the matrices transposed.
struct Way {
    /// A `Target` for each component of each block, that component, the `Term`s.
    targets: Buffer<u32>,
    components: Buffer<u32>,
    terms: Buffer<u32>,
    n: usize,
    columns: usize,
    dims: [u32; 2],
}

pub fn source(precision: Precision) -> KernelSource {
    let source = Source::new(precision.storage).tensor(precision.matrices);
    let text = source
        .finish(&[include_str!("../../../kernels/ops/tiles.cuh"), include_str!("../../../kernels/ops/linear.cu")]);
    KernelSource { name: "linear", text, shared: 0, shared_gradient: 0 }
}

impl DeviceMap {
    /// # Errors
    /// Out of memory.
    pub fn new(maps: &[Map], storage: Dtype, device: &Arc<Context>, stream: &Stream) -> Result<DeviceMap> {
        let first = &maps[0];
        let size = first.from.k * first.to.k;
        let mut weights = Vec::with_capacity(maps.len() * first.blocks.len() * size);
        for map in maps {
            for block in &first.blocks {
                let same = map.blocks.iter().find(|b| (b.from, b.to) == (block.from, block.to));
                weights.extend_from_slice(&same.expect("maps of all species have the same blocks").w);
            }
        }
        let mut buffer = Buffer::new(device);
        buffer.upload(&to_bytes(&weights, storage), stream)?;
        let (single, n_weights) = (storage != Dtype::F64, first.blocks.len() * size);
        let way = |transposed: bool| Way::new(first, transposed, n_weights, single, device, stream);
        Ok(DeviceMap { ways: [way(false)?, way(true)?], weights: buffer, by_species: maps.len() > 1 })
    }

    pub fn bytes(&self) -> usize {
        self.weights.capacity()
    }

    /// `out = W x`, or adds it, of the centres of a slice.
    pub fn forward(&self, run: &Run, slice: &Slice, x: u64, out: u64, add: bool) -> Result<()> {
        self.multiply(run, slice, 0, [x, out], add)
    }

    /// `out = Wᵀ x`, or adds it.
    pub fn transposed(&self, run: &Run, slice: &Slice, x: u64, out: u64, add: bool) -> Result<()> {
        self.multiply(run, slice, 1, [x, out], add)
    }

    fn multiply(&self, run: &Run, slice: &Slice, which: usize, [x, out]: [u64; 2], add: bool) -> Result<()> {
        let way = &self.ways[which];
        let [from, to] = way.dims;
        let (nodes, blocks) = match self.by_species {
            true => ([slice.order, run.species(slice), 0], slice.n_slots.div_ceil(ROWS)),
            false => ([0, 0, slice.n as u64], slice.n.div_ceil(ROWS)),
        };
        let (targets, components, terms) = (way.targets.ptr, way.components.ptr, way.terms.ptr);
        let (weights, bias, add) = (self.weights.ptr, 0_u64, u32::from(add));
        let arguments = arguments![targets, components, terms, nodes, x, from, weights, bias, out, to, add];
        let kernel = WAYS[which];
        let grid = [blocks, way.columns.div_ceil(COLUMNS), way.n];
        run.queue(&run.kernels.linear, kernel, grid, TILE_THREADS, arguments)
    }
}

impl Way {
    fn new(
        map: &Map,
        transposed: bool,
        n_weights: usize,
        single: bool,
        device: &Arc<Context>,
        stream: &Stream,
    ) -> Result<Way> {
        let (from, to): (&Shape, &Shape) = if transposed { (&map.to, &map.from) } else { (&map.from, &map.to) };
        let (k, starts) = (map.to.k, from.offsets());
        let scale = if single { u64::from(1_f32.to_bits()) } else { 1_f64.to_bits() };
        let (mut targets, mut components, mut terms, mut n_terms) = (vec![], vec![], Vec::<u32>::new(), 0);
        for (b, (l, start)) in to.ls.iter().zip(to.offsets()).enumerate() {
            let (first, dim) = (n_terms, 2 * l + 1);
            for (n, block) in map.blocks.iter().enumerate() {
                let (own, other) = if transposed { (block.from, block.to) } else { (block.to, block.from) };
                if own != b {
                    continue;
                }
                let [row, column] = if transposed { [1, k] } else { [k, 1] };
                let at = n * map.from.k * k;
                let words = [starts[other] * from.k, from.k, 1, from.k, at, n_weights, row, column];
                terms.extend(words.map(|w| w as u32));
                // The scale, and what fills up: 40 bytes in single, 48 in double precision.
                terms.extend([scale as u32, (scale >> 32) as u32]);
                terms.extend(if single { &[][..] } else { &[0, 0] });
                n_terms += 1;
            }
            for m in 0..dim {
                let words = [start * to.k, to.k, dim, 1, to.k, first, n_terms - first];
                targets.extend(words.map(|w| w as u32));
                targets.push(u32::MAX);
                components.push(m as u32);
            }
        }
        let upload = |words: &[u32]| -> Result<Buffer<u32>> {
            let mut buffer = Buffer::new(device);
            buffer.upload(words, stream)?;
            Ok(buffer)
        };
        Ok(Way {
            targets: upload(&targets)?,
            components: upload(&components)?,
            terms: upload(&terms)?,
            n: components.len(),
            columns: to.k,
            dims: [from.components() * from.k, to.components() * to.k].map(|n| n as u32),
        })
    }
}

/// A map of one row, (components, channels).
pub fn apply(map: &Map, x: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; map.to.components() * map.to.k];
    let (from, to) = (map.from.offsets(), map.to.offsets());
    for block in &map.blocks {
        for m in 0..2 * map.from.ls[block.from] + 1 {
            let x = &x[(from[block.from] + m) * map.from.k..][..map.from.k];
            let y = &mut y[(to[block.to] + m) * map.to.k..][..map.to.k];
            for (x, row) in x.iter().zip(block.w.chunks(map.to.k)) {
                y.iter_mut().zip(row).for_each(|(y, w)| *y += x * w);
            }
        }
    }
    y
}
