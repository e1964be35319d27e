//! Perceptrons on a device: the matrices are those of linear maps, what is between them is in `kernels/ops/mlp.cu`.

use super::cuda::convert::{self, Converted};
use super::cuda::launch::{Input, Module, Output, Target, launch};
use super::cuda::source::{Source, THREADS};
use super::cuda::{Call, DeviceKernel, clear};
use super::kernel::Sizes;
use super::linear::cuda::{self as linear, LinearOnDevice, compute_bytes};
use super::mlp::{Mlp, Places};
use super::spec::Spec;
use crate::Result;
use crate::dtype::Dtype;
use cudarc::driver::DeviceRepr;
use std::sync::Arc;

/// Rows of a block of threads of the kernels between the matrices.
const ROWS: usize = 4;
/// Parts in which rows are summed.
const PARTIAL_SUMS: usize = 256;

/// Scratch pieces: before the linear maps' own end, what hidden layers compute (before and after the activation), gradients.
const SUMS: usize = 8;
const BARS: usize = 9;
const LAYERS: usize = 16;

/// What is computed with: numbers of sixteen bits are widened before.
fn compute(storage: Dtype) -> Dtype {
    if storage == Dtype::F64 { Dtype::F64 } else { Dtype::F32 }
}

fn source(op: &Mlp, storage: Dtype) -> String {
    let mut source = Source::checked(storage);
    source.define("ACTIVATION", op.activation.curve()).define("ACTIVATION_CONSTANT", format!("{:e}", op.constant));
    source.define("NORM", u8::from(op.layer_norm.is_some()));
    source.define("EPSILON", format!("{:e}", op.layer_norm.unwrap_or(0.0))).define("THREADS", 32 * ROWS);
    source.finish(&[
        include_str!("../../kernels/ops/activation.cuh"),
        include_str!("../../kernels/ops/mlp.cu"),
        include_str!("../../kernels/ops/sums.cu"),
    ])
}

/// The kernel files.
pub(crate) fn sources(op: &Mlp, spec: &Spec) -> Vec<(&'static str, String)> {
    let storage = compute(spec.storage);
    let mut all = vec![("mlp", source(op, storage)), ("linear", linear::source(storage, spec.arithmetic))];
    if storage != spec.storage {
        all.push(("sums", convert::source(spec.storage)));
    }
    all
}

pub(crate) fn kernel(op: &Mlp, spec: &Spec, target: &Target) -> Result<Box<dyn DeviceKernel>> {
    let storage = compute(spec.storage);
    let inner = Box::new(MlpOnDevice::new(op, &Spec { storage, ..spec.clone() }, target)?);
    Ok(if storage == spec.storage { inner } else { Box::new(Converted::new(inner, spec, target)?) })
}

/// `Both` of the kernel file: numbers, and their derivatives where there are any.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Both {
    value: u64,
    derivative: u64,
}

// SAFETY: two addresses.
unsafe impl DeviceRepr for Both {}

impl Both {
    fn input(self) -> Input {
        Input { value: self.value, direction: self.derivative }
    }
}

/// `Parameters`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Parameters([Input; 3]);

// SAFETY: addresses.
unsafe impl DeviceRepr for Parameters {}

struct MlpOnDevice {
    layers: Vec<LinearOnDevice>,
    places: Vec<Places>,
    widths: Vec<usize>,
    /// Weights are (out, in).
    transposed: bool,
    module: Module,
    /// Bytes of a number.
    bytes: usize,
}

impl MlpOnDevice {
    fn new(op: &Mlp, spec: &Spec, target: &Target) -> Result<MlpOnDevice> {
        let linear = Arc::new(target.module("linear", &linear::source(spec.storage, spec.arithmetic))?);
        let (maps, scale) = op.maps()?;
        let layer = |map| LinearOnDevice::scaled(map, spec, scale, &linear, target);
        Ok(MlpOnDevice {
            layers: maps.iter().map(layer).collect::<Result<_>>()?,
            places: (0..op.n_layers()).map(|k| op.places(k)).collect(),
            widths: op.widths.clone(),
            transposed: op.layer_norm.is_some(),
            module: target.module("mlp", &source(op, spec.storage))?,
            bytes: compute_bytes(spec.storage),
        })
    }

    /// A piece of scratch memory for so many numbers, and their derivatives.
    fn both(&self, call: &mut Call, piece: usize, n: usize, dual: bool) -> Result<Both> {
        let bytes = n * self.bytes;
        let value = call.reserve(piece, if dual { 2 * bytes } else { bytes })?;
        Ok(Both { value, derivative: if dual { value + bytes as u64 } else { 0 } })
    }

    /// What hidden layer `k` has before its activation, and after it; `which` is 0 or 1.
    fn hidden(&self, call: &mut Call, k: usize, which: usize, dual: bool) -> Result<Both> {
        self.both(call, LAYERS + 2 * k + which, call.sizes.rows * self.widths[k + 1], dual)
    }

    /// `from W`, or `from Wᵀ` where `back`, and the derivative: where there are places for them.
    fn affine(&self, call: &mut Call, k: usize, back: bool, from: Input, value: Output, tangent: Output) -> Result<()> {
        let (layer, turned) = (&self.layers[k], back != self.transposed);
        let w = call.input(self.places[k].w, tangent.wanted());
        if value.wanted() {
            layer.multiply(call, turned, [from.value, w.value, 0], value, false)?;
        }
        if !tangent.wanted() {
            return Ok(());
        }
        if from.direction != 0 {
            layer.multiply(call, turned, [from.direction, w.value, 0], tangent, false)?;
        }
        if w.direction != 0 {
            layer.multiply(call, turned, [from.value, w.direction, 0], tangent, from.direction != 0)?;
        }
        if from.direction == 0 && w.direction == 0 {
            let width = self.widths[if back { k } else { k + 1 }];
            clear(call, tangent.to, call.sizes.rows * width * self.bytes)?;
        }
        Ok(())
    }

    /// Bias, scale and shift of layer `k`.
    fn parameters(&self, call: &Call, k: usize, dual: bool) -> Parameters {
        let Places { b, scale, shift, .. } = self.places[k];
        Parameters([b, scale, shift].map(|at| at.map_or(Input::constant(0), |at| call.input(at, dual))))
    }

    /// What layer `k` reads.
    fn from(&self, call: &mut Call, k: usize, dual: bool) -> Result<Input> {
        Ok(if k == 0 { call.input(0, dual) } else { self.hidden(call, k - 1, 1, dual)?.input() })
    }

    /// All layers; the result, or its derivative, if it is wanted.
    fn run(&self, call: &mut Call, dual: bool, out: Output) -> Result<()> {
        let (last, rows) = (self.layers.len() - 1, call.sizes.rows);
        for k in 0..last {
            let (before, after) = (self.hidden(call, k, 0, dual)?, self.hidden(call, k, 1, dual)?);
            let from = self.from(call, k, dual)?;
            self.affine(call, k, false, from, Output::inner(before.value), Output::inner(before.derivative))?;
            let kernel = if dual { "mlp_forward_dual" } else { "mlp_forward" };
            let (n, width, parameters) = (rows as u32, self.widths[k + 1] as u32, self.parameters(call, k, dual));
            let (before, grid) = (before.input(), [rows.div_ceil(ROWS), 1, 1]);
            launch!(self.module, kernel, call, grid, 32 * ROWS, [n, width, before, parameters, after]);
        }
        if !out.wanted() {
            return Ok(());
        }
        let from = self.from(call, last, dual)?;
        let none = Output::default();
        let into = |to: Output| if dual { [none, to] } else { [to, none] };
        let Some(b) = self.places[last].b else {
            let [value, tangent] = into(out);
            return self.affine(call, last, false, from, value, tangent);
        };
        let n = rows * self.widths[last + 1];
        let to = self.both(call, BARS, n, false)?.value;
        let [value, tangent] = into(Output::inner(to));
        self.affine(call, last, false, from, value, tangent)?;
        let b = call.input(b, dual);
        let bias = if dual { b.direction } else { b.value };
        let (count, width, grid) = (n as u64, self.widths[last + 1] as u32, [n.div_ceil(THREADS), 1, 1]);
        launch!(self.module, "mlp_bias", call, grid, THREADS, [count, width, to, bias, out]);
        Ok(())
    }

    /// The gradients that are wanted, or their derivatives, after `run`.
    fn pull(&self, call: &mut Call, dual: bool, cotangent: u64, bars: &[Output]) -> Result<()> {
        let rows = call.sizes.rows;
        let n = self.layers.len();
        let widest = self.widths[1..n].iter().copied().max().unwrap_or(0) * rows;
        let [bar, next, normed] = [0, 1, 2].map(|k| self.both(call, BARS + k, widest, dual));
        let (bar, next, normed) = (bar?, next?, normed?);
        let mut this = Input::constant(cotangent);
        for k in (0..n).rev() {
            let (places, from) = (self.places[k], self.from(call, k, dual)?);
            if bars[places.w].wanted() {
                self.pull_weights(call, k, from, this, bars[places.w], dual)?;
            }
            if let Some(b) = places.b {
                self.columns(call, self.widths[k + 1], this, Input::constant(0), bars[b], dual)?;
            }
            let none = Output::default();
            if k == 0 {
                let [value, tangent] = if dual { [none, bars[0]] } else { [bars[0], none] };
                return self.affine(call, 0, true, this, value, tangent);
            }
            self.affine(call, k, true, this, Output::inner(next.value), Output::inner(next.derivative))?;
            let before = self.hidden(call, k - 1, 0, dual)?.input();
            let kernel = if dual { "mlp_backward_dual" } else { "mlp_backward" };
            let (count, width) = (rows as u32, self.widths[k] as u32);
            let (parameters, grid) = (self.parameters(call, k - 1, dual), [rows.div_ceil(ROWS), 1, 1]);
            launch!(self.module, kernel, call, grid, 32 * ROWS, [count, width, before, parameters, next, normed, bar]);
            if let Places { scale: Some(scale), shift: Some(shift), .. } = self.places[k - 1] {
                self.columns(call, self.widths[k], next.input(), normed.input(), bars[scale], dual)?;
                self.columns(call, self.widths[k], next.input(), Input::constant(0), bars[shift], dual)?;
            }
            this = bar.input();
        }
        Ok(())
    }

    fn pull_weights(&self, call: &mut Call, k: usize, from: Input, bar: Input, to: Output, dual: bool) -> Result<()> {
        let pairs = match dual {
            false => [[from.value, bar.value], [0; 2]],
            true => [[from.value, bar.direction], [from.direction, bar.value]],
        };
        let mut written = false;
        for [x, y] in pairs.into_iter().filter(|pair| !pair.contains(&0)) {
            let factors = if self.transposed { [y, x] } else { [x, y] };
            self.layers[k].weights(call, factors, to, written)?;
            written = true;
        }
        if written { Ok(()) } else { clear(call, to.to, self.widths[k] * self.widths[k + 1] * self.bytes) }
    }

    /// Sums over the rows of `x`, times `y` if there is one.
    fn columns(&self, call: &mut Call, width: usize, x: Input, y: Input, to: Output, dual: bool) -> Result<()> {
        if !to.wanted() {
            return Ok(());
        }
        let rows = call.sizes.rows;
        let chunk = rows.div_ceil(PARTIAL_SUMS).max(1);
        let n_chunks = rows.div_ceil(chunk);
        let partial = call.reserve(SUMS, n_chunks * width * self.bytes)?;
        let kernel = if dual { "mlp_columns_dual" } else { "mlp_columns" };
        let (n, wide, chunk, blocks) = (rows as u32, width as u32, chunk as u32, width.div_ceil(THREADS));
        launch!(self.module, kernel, call, [blocks, n_chunks, 1], THREADS, [n, wide, chunk, x, y, partial]);
        let (chunks, n) = (n_chunks as u32, width as u64);
        launch!(self.module, "sum_rows_stored", call, [blocks, 1, 1], THREADS, [partial, chunks, n, to]);
        Ok(())
    }
}

impl DeviceKernel for MlpOnDevice {
    /// As a linear map, that with most weights.
    fn prepare(&self, sizes: Sizes, indices: &[&[u32]]) -> Vec<Vec<u32>> {
        let largest = self.layers.iter().max_by_key(|layer| layer.n_weights());
        largest.expect("a layer at least").prepare(sizes, indices)
    }

    fn forward(&self, call: &mut Call, out: Output) -> Result<()> {
        self.run(call, false, out)
    }

    fn backward(&self, call: &mut Call, cotangent: u64, gradients: &[Output]) -> Result<()> {
        self.run(call, false, Output::default())?;
        self.pull(call, false, cotangent, gradients)
    }

    fn double_backward(&self, call: &mut Call, cotangent: u64, seconds: &[Output]) -> Result<()> {
        let (&out, bars) = seconds.split_last().expect("that of the cotangent");
        self.run(call, true, out)?;
        self.pull(call, true, cotangent, bars)
    }
}
