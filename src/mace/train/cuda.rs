//! Tapes on a CUDA device: arrays stay there, operations are those of [`DeviceOp`], other steps `kernels/mace/tape.cu`. All is queued on one
//! stream, in which memory is taken and given back, too.

use super::engine::{Along, Engine};
use super::tape::Curve;
use crate::device::cuda::context::{Context, failed};
use crate::dtype::{Dtype, Storage};
use crate::ops::cuda::launch::{Module, Target, launch};
use crate::ops::cuda::source::{Source, THREADS};
use crate::ops::cuda::{DeviceOp, Prepared, Span};
use crate::ops::{Sizes, Spec};
use crate::{Error, Result, parallel};
use cudarc::driver::result::{self, mem_pool};
use cudarc::driver::{CudaStream, DeviceRepr, sys};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, PoisonError};

pub struct Cuda<S> {
    lane: Arc<Lane>,
    module: Module,
    /// All that were made, for what they say of their results.
    ops: Mutex<Vec<Arc<DeviceOp>>>,
    /// Held by who runs passes: one after another.
    turn: Mutex<()>,
    numbers: PhantomData<S>,
}

/// A stream and memory in its order.
struct Lane {
    device: Arc<Context>,
    stream: Arc<CudaStream>,
    pool: sys::CUmemoryPool,
}

// SAFETY: a handle that any thread may use.
unsafe impl Send for Lane {}
// SAFETY: likewise.
unsafe impl Sync for Lane {}

impl Lane {
    fn new(device: Arc<Context>) -> Result<Lane> {
        device.bind()?;
        let stream = device.context().new_stream().map_err(failed("a stream"))?;
        let what = "a pool of memory";
        // SAFETY: zeros are no handle and no maximum.
        let mut properties: sys::CUmemPoolProps = unsafe { MaybeUninit::zeroed().assume_init() };
        properties.allocType = sys::CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED;
        properties.location.type_ = sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE;
        properties.location.id = device.index as i32;
        // SAFETY: the properties are alive.
        let pool = unsafe { mem_pool::create(&properties) }.map_err(failed(what))?;
        let lane = Lane { device, stream, pool };
        // What is free between two passes stays with the pool.
        let mut kept = u64::MAX;
        let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        // SAFETY: the attribute is a number of 64 bits.
        unsafe { mem_pool::set_attribute(pool, attribute, (&raw mut kept).cast()) }.map_err(failed(what))?;
        Ok(lane)
    }

    fn wait(&self) -> Result<()> {
        self.stream.synchronize().map_err(failed("waiting for the kernels"))
    }
}

/// What is queued is done before what it reads may go, however a call ends.
struct Waits<'a>(&'a Lane);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let _ = self.0.wait();
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: no array is left; the driver keeps the memory until the stream is done.
            let _ = unsafe { mem_pool::destroy(self.pool) };
        }
    }
}

/// Numbers on the device.
pub struct Array {
    address: u64,
    len: usize,
    lane: Arc<Lane>,
}

impl Array {
    fn span(&self) -> Span {
        Span { address: self.address, len: self.len }
    }
}

impl Drop for Array {
    fn drop(&mut self) {
        if self.address != 0 && self.lane.device.bind().is_ok() {
            // SAFETY: of the pool; what was queued before is done before the memory is anybody else's.
            let _ = unsafe { result::free_async(self.address, self.lane.stream.cu_stream()) };
        }
    }
}

/// `Bend` of the kernel file.
#[repr(C)]
#[derive(Clone, Copy)]
struct Bend {
    factor: f64,
    shift: f64,
    kind: u64,
}

// SAFETY: three words.
unsafe impl DeviceRepr for Bend {}

impl From<Curve> for Bend {
    fn from(curve: Curve) -> Bend {
        let (kind, factor, shift) = match curve {
            Curve::Line { factor, shift } => (0, factor, shift),
            Curve::Inverse => (1, 0.0, 0.0),
            Curve::Silu { factor } => (2, factor, 0.0),
            Curve::Density => (3, 0.0, 0.0),
        };
        Bend { factor, shift, kind }
    }
}

/// The kernel file.
pub fn source(storage: Dtype) -> String {
    Source::new(storage)
        .finish(&[include_str!("../../../kernels/ops/activation.cuh"), include_str!("../../../kernels/mace/tape.cu")])
}

fn address(x: Option<&Array>) -> u64 {
    x.map_or(0, |x| x.address)
}

fn spans(arrays: &[Option<Array>]) -> Vec<Option<Span>> {
    arrays.iter().map(|x| x.as_ref().map(Array::span)).collect()
}

impl<S: Storage> Cuda<S> {
    /// # Errors
    /// No such device; the driver's.
    pub fn new(device: usize) -> Result<Cuda<S>> {
        let lane = Lane::new(Context::open(device)?)?;
        let target = Target { device: lane.device.clone(), stream: lane.stream.clone() };
        let module = target.module("tape", &source(S::DTYPE))?;
        let (lane, ops, turn) = (Arc::new(lane), Mutex::default(), Mutex::default());
        Ok(Cuda { lane, module, ops, turn, numbers: PhantomData })
    }

    fn stream(&self) -> u64 {
        self.lane.stream.cu_stream() as u64
    }

    /// What `f` queues for each of `n` numbers, into a new array.
    fn made(&self, n: usize, f: impl FnOnce(&Lane, u64) -> Result<()>) -> Result<Array> {
        let out = self.array(n)?;
        f(&self.lane, out.address)?;
        Ok(out)
    }

    /// The first result since the last time that is not finite. What was queued is done.
    fn overflow(&self) -> Option<String> {
        let ops = self.ops.lock().unwrap_or_else(PoisonError::into_inner);
        ops.iter().fold(None, |found, op| op.overflow(&self.lane.stream).or(found))
    }
}

fn blocks(n: usize) -> [usize; 3] {
    [n.div_ceil(THREADS), 1, 1]
}

impl<S: Storage> Engine for Cuda<S> {
    type Number = S;
    type Array = Array;
    type Op = Arc<DeviceOp>;
    type Lists = Prepared;
    type Scratch = ();

    fn op(&self, spec: &Spec) -> Result<Arc<DeviceOp>> {
        let op = Arc::new(DeviceOp::new(spec, self.lane.device.index)?);
        // Its tables were copied in a stream of its own.
        op.synchronize()?;
        self.ops.lock().unwrap_or_else(PoisonError::into_inner).push(op.clone());
        Ok(op)
    }

    fn lists(&self, op: &Arc<DeviceOp>, sizes: Sizes, indices: Vec<Arc<[u32]>>) -> Result<Prepared> {
        self.lane.device.bind()?;
        op.prepare(sizes, &indices.iter().map(|i| &i[..]).collect::<Vec<_>>())
    }

    fn check<'a>(
        &self,
        numbers: f64,
        _: impl Iterator<Item = (&'a Arc<DeviceOp>, Sizes)>,
        what: impl FnOnce() -> String,
    ) -> Result<()> {
        let (bytes, all) = (numbers * size_of::<S>() as f64, self.lane.device.memory as f64);
        if bytes <= all {
            return Ok(());
        }
        let (what, [bytes, all]) = (what(), [bytes, all].map(|b| b * 1e-9));
        Err(Error::Memory(format!("{what} would take about {bytes:.3} GB, the device has {all:.3} GB")))
    }

    fn run<T>(&self, f: impl FnOnce(&mut ()) -> Result<T>) -> Result<T> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.lane.device.bind()?;
        // Of passes that were broken off.
        self.lane.wait()?;
        self.overflow();
        let waits = Waits(&self.lane);
        // Who waits for its turn could otherwise be given to this thread to run.
        let done = parallel::alone(|| f(&mut ()));
        drop(waits);
        self.lane.wait()?;
        match (done, self.overflow()) {
            (Ok(_), Some(what)) => Err(Error::NotFinite(what)),
            (done, _) => done,
        }
    }

    fn array(&self, n: usize) -> Result<Array> {
        let lane = self.lane.clone();
        let bytes = n.saturating_mul(size_of::<S>());
        if bytes == 0 {
            return Ok(Array { address: 0, len: n, lane });
        }
        lane.device.bind()?;
        let what = format!("allocating {:.2} GB", bytes as f64 / 1e9);
        // SAFETY: pool and stream are alive; the array gives it back.
        let taken = unsafe { mem_pool::alloc_async(lane.pool, bytes, lane.stream.cu_stream()) };
        Ok(Array { address: taken.map_err(failed(&what))?, len: n, lane })
    }

    fn zeros(&self, n: usize) -> Result<Array> {
        self.made(n, |lane, to| match n {
            0 => Ok(()),
            // SAFETY: there is as much.
            n => unsafe { result::memset_d8_async(to, 0, n * size_of::<S>(), lane.stream.cu_stream()) }
                .map_err(failed("clearing")),
        })
    }

    fn upload(&self, x: Vec<S>) -> Result<Array> {
        self.made(x.len(), |lane, to| match x.is_empty() {
            true => Ok(()),
            // SAFETY: there is as much; the driver has read pageable memory when the call returns.
            false => unsafe { result::memcpy_htod_async(to, &x, lane.stream.cu_stream()) }
                .map_err(failed("copying to the device")),
        })
    }

    fn download(&self, x: &Array) -> Result<Vec<S>> {
        let mut to = vec![S::default(); x.len];
        if x.len > 0 {
            // SAFETY: as long; `to` is alive until the copy is done.
            unsafe { result::memcpy_dtoh_async(&mut to, x.address, self.lane.stream.cu_stream()) }
                .map_err(failed("copying to the host"))?;
            self.lane.wait()?;
        }
        Ok(to)
    }

    fn forward(
        &self,
        (op, lists): (&Arc<DeviceOp>, &Prepared),
        inputs: &[&Array],
        out: &mut Array,
        (): &mut (),
    ) -> Result<()> {
        let inputs: Vec<Span> = inputs.iter().map(|x| x.span()).collect();
        // SAFETY: arrays are in the memory of the device, and given back in the order of the stream; lists are kept with the values until
        // passes have been waited for.
        unsafe { op.forward(lists, &inputs, out.span(), self.stream()) }
    }

    fn backward(
        &self,
        (op, lists): (&Arc<DeviceOp>, &Prepared),
        inputs: &[&Array],
        cotangent: &Array,
        gradients: &mut [Option<Array>],
        (): &mut (),
    ) -> Result<()> {
        let inputs: Vec<Span> = inputs.iter().map(|x| x.span()).collect();
        // SAFETY: as in `forward`.
        unsafe { op.backward(lists, &inputs, cotangent.span(), &spans(gradients), self.stream()) }
    }

    fn double_backward(
        &self,
        (op, lists): (&Arc<DeviceOp>, &Prepared),
        inputs: &[&Array],
        cotangent: &Array,
        directions: &[Option<&Array>],
        seconds: &mut [Option<Array>],
        (): &mut (),
    ) -> Result<()> {
        let inputs: Vec<Span> = inputs.iter().map(|x| x.span()).collect();
        let along: Vec<Option<Span>> = directions.iter().map(|d| d.map(Array::span)).collect();
        let (seconds, stream) = (spans(seconds), self.stream());
        // SAFETY: as in `forward`.
        unsafe { op.double_backward(lists, &inputs, cotangent.span(), &along, &seconds, stream) }
    }

    fn map(&self, curve: Curve, order: usize, x: &Array, factors: &[&Array]) -> Result<Array> {
        let (bend, order, n) = (Bend::from(curve), order as u32, x.len as u64);
        let [y, z] = [0, 1].map(|k| address(factors.get(k).copied()));
        self.made(x.len, |lane, out| {
            launch!(self.module, "tape_map", lane, blocks(x.len), THREADS, [bend, order, x.address, y, z, n, out]);
            Ok(())
        })
    }

    fn scale(
        &self,
        curve: Curve,
        width: usize,
        s: Along<Array>,
        a: Option<&Array>,
        b: Option<&Array>,
    ) -> Result<Array> {
        let n = s.value.len * width;
        let (bend, columns, count) = (Bend::from(curve), width as u32, n as u64);
        let [ds, a, b] = [s.tangent, a, b].map(address);
        self.made(n, |lane, out| {
            let s = s.value.address;
            launch!(self.module, "tape_scale", lane, blocks(n), THREADS, [bend, columns, s, ds, a, b, count, out]);
            Ok(())
        })
    }

    fn contract(
        &self,
        curve: Curve,
        width: usize,
        s: Along<Array>,
        c: &Array,
        a: Option<&Array>,
        b: Option<&Array>,
    ) -> Result<Array> {
        let n = s.value.len;
        let (bend, columns, count) = (Bend::from(curve), width as u32, n as u64);
        let [ds, a, b] = [s.tangent, a, b].map(address);
        self.made(n, |lane, out| {
            let (s, c, grid) = (s.value.address, c.address, blocks(32 * n));
            launch!(self.module, "tape_contract", lane, grid, THREADS, [bend, columns, s, ds, c, a, b, count, out]);
            Ok(())
        })
    }

    fn add(&self, to: &mut Array, more: &Array) -> Result<()> {
        let (lane, n) = (&*self.lane, more.len as u64);
        launch!(self.module, "tape_add", lane, blocks(more.len), THREADS, [more.address, n, to.address]);
        Ok(())
    }

    fn copy(&self, x: &Array) -> Result<Array> {
        self.made(x.len, |lane, to| match x.len {
            0 => Ok(()),
            // SAFETY: both are as long.
            n => unsafe { result::memcpy_dtod_async(to, x.address, n * size_of::<S>(), lane.stream.cu_stream()) }
                .map_err(failed("copying")),
        })
    }

    fn columns(
        &self,
        n: usize,
        (from, [from_width, from_at]): (&Array, [usize; 2]),
        (to, [to_width, to_at]): (&mut Array, [usize; 2]),
    ) -> Result<()> {
        let width = (from_width - from_at).min(to_width - to_at);
        let place = |x: &Array, at: usize| x.address + (at * size_of::<S>()) as u64;
        let (from, to, lane) = (place(from, from_at), place(to, to_at), &*self.lane);
        let [from_width, to_width, columns] = [from_width, to_width, width].map(|n| n as u32);
        let (grid, n) = (blocks(n * width), n as u64);
        launch!(self.module, "tape_columns", lane, grid, THREADS, [from, from_width, to, to_width, columns, n]);
        Ok(())
    }

    fn part(&self, width: usize, [own, parts]: [usize; 2], x: &Array) -> Result<Array> {
        let ([columns, own, parts], n) = ([width, own, parts].map(|n| n as u32), x.len as u64);
        self.made(x.len, |lane, out| {
            let grid = blocks(x.len);
            launch!(self.module, "tape_part", lane, grid, THREADS, [x.address, columns, own, parts, n, out]);
            Ok(())
        })
    }
}
