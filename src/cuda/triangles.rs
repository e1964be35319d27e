//! The rows of a fit in the memory of the device, and their elimination: `[R; rows] = Q [R'; 0]`.
//!
//! Blocks take turns: rows go into one while those of the other are eliminated. In front of its rows a block has room for a triangle; that
//! of later rows takes the place of rows which are used up.

use super::THREADS;
use crate::device::cuda::context::{Buffer, Context};
use crate::device::cuda::kernel::{Grid, Module, arguments};
use crate::device::cuda::solver::Solver;
use crate::device::cuda::stream::Stream;
use crate::potential::Triangles;
use crate::{Error, Result};
use indexmap::IndexMap;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a block, if that is no more than a share of the device's memory, and its rows.
const BLOCK_BYTES: usize = 512 << 20;
const SHARE: usize = 16;
const MAX_ROWS: usize = 1 << 17;

/// Columns begin at addresses that many threads read together.
const ALIGNED: usize = 32;

pub struct DeviceTriangles {
    n: usize,
    capacity: usize,
    /// The latest first.
    blocks: [Block; 2],
    triangles: IndexMap<String, Triangle>,
    solver: Solver,
    module: Arc<Module>,
    device: Arc<Context>,
}

struct Block {
    /// Column-major: `n` rows for a triangle, then those of the block.
    rows: Buffer<f64>,
    step: usize,
    stream: Stream,
}

struct Triangle {
    /// (n, n), row-major.
    r: Buffer<f64>,
    rows: u64,
}

impl DeviceTriangles {
    /// Of rows of `n` numbers; `module` is that of the design rows.
    ///
    /// # Errors
    /// No cuSOLVER; no memory.
    pub fn new(device: &Arc<Context>, module: Arc<Module>, n: usize) -> Result<DeviceTriangles> {
        device.bind()?;
        let solver = Solver::new(device)?;
        let capacity = (BLOCK_BYTES.min(device.memory / SHARE) / (8 * n)).min(MAX_ROWS).max(n);
        let (block, free) = (8 * n * (n + capacity), device.free_memory()?);
        // Two blocks, work space and triangles, the Jacobians of frames.
        let wanted = 3 * block + device.memory / SHARE;
        if wanted > free {
            let [wanted, free] = [wanted, free].map(|bytes| bytes as f64 / 1e9);
            return Err(Error::Device(format!(
                "CUDA: the rows of a fit of {n} columns take {wanted:.2} GB, and device {} has {free:.2} GB left",
                device.index
            )));
        }
        let new = || Ok::<_, Error>(Block { rows: Buffer::new(device), step: 0, stream: Stream::new(device)? });
        let mut blocks = [new()?, new()?];
        for block in &mut blocks {
            block.rows.reserve(n * (n + capacity))?;
        }
        let (triangles, device) = (IndexMap::new(), device.clone());
        Ok(DeviceTriangles { n, capacity, blocks, triangles, solver, module, device })
    }
}

impl Triangles for DeviceTriangles {
    fn capacity(&self) -> usize {
        self.capacity
    }

    fn block(&mut self, n_rows: usize) -> Result<(u64, usize)> {
        self.device.bind()?;
        self.blocks.swap(0, 1);
        let block = &mut self.blocks[0];
        block.stream.wait()?;
        block.step = (self.n + n_rows).next_multiple_of(ALIGNED);
        let start = block.rows.fill(0, block.step * self.n, &block.stream)?;
        block.stream.wait()?;
        Ok((start + 8 * self.n as u64, block.step))
    }

    fn eliminate(&mut self, rows: Range<usize>, name: &str) -> Result<()> {
        self.device.bind()?;
        let (n, [block, other]) = (self.n, &self.blocks);
        assert!(n + rows.end <= block.step && block.step * n <= block.rows.capacity());
        // Triangles and the solver's memory are those of the other block, too.
        block.stream.follow(other.stream.raw as u64)?;
        if !self.triangles.contains_key(name) {
            let mut r = Buffer::new(&self.device);
            r.fill(0, n * n, &block.stream)?;
            self.triangles.insert(name.to_owned(), Triangle { r, rows: 0 });
        }
        let triangle = self.triangles.get_mut(name).expect("inserted above");
        let grid = Grid { blocks: (n * n).div_ceil(THREADS), threads: THREADS, shared: 0 };
        for start in rows.clone().step_by(self.capacity) {
            let m = self.capacity.min(rows.end - start);
            let (n32, step, r) = (n as u32, block.step as u64, triangle.r.ptr);
            let top = block.rows.ptr + 8 * start as u64;
            // SAFETY: `n` rows come before row `start` of the block, which has as many as asserted above; R has n² numbers.
            unsafe {
                self.module.launch("triangle_in", grid, &block.stream, arguments![n32, r, top, step])?;
                self.solver.qr([n + m, n], top, block.step, &block.stream)?;
                self.module.launch("triangle_out", grid, &block.stream, arguments![n32, top, step, r])?;
            }
        }
        triangle.rows += rows.len() as u64;
        Ok(())
    }

    fn are_many(&self) -> bool {
        self.triangles.len() * self.n * self.n > self.blocks[0].rows.capacity()
    }

    fn pop(&mut self) -> Result<Option<(String, u64, Vec<f64>)>> {
        let Some((name, triangle)) = self.triangles.pop() else { return Ok(None) };
        self.device.bind()?;
        let [block, other] = &self.blocks;
        other.stream.wait()?;
        let mut r = vec![0.0; self.n * self.n];
        triangle.r.download(&mut r, &block.stream)?;
        match r.iter().all(|x| x.is_finite()) {
            true => Ok(Some((name, triangle.rows, r))),
            false => {
                Err(Error::NotFinite(format!("the triangular factor of the forces of group {name} is not finite")))
            }
        }
    }
}
