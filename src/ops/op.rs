//! The front door of operations: checks arguments, brings them into the type and the order of the kernels, dispatches.

use super::kernel::{Call, Kernel, MAX_INPUTS, Pass, Port, Ports, Sizes};
use super::layout::{Layout, transpose_block};
use super::scratch::{Line, Scratch, Workspace, lines};
use super::spec::{Arithmetic, Spec};
use crate::dtype::{Dtype, Storage};
use crate::parallel;
#[cfg(feature = "ops")]
use crate::simd::with_lanes;
use crate::simd::{Isa, Real};
use crate::{Error, Result};
use std::any::Any;
use std::fmt::{self, Debug, Formatter};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// An operation, made once and executed from any number of threads; `S` is the type of all its numbers in memory.
///
/// ```
/// use acerust::ops::{Args, Op, Sizes, Spec, Workspace};
///
/// let spec: Spec = serde_json::from_str(
///     r#"{"operation": {"linear": {"irreps_in": "2x0e", "irreps_out": "1x0e"}}, "storage": "f64"}"#,
/// ).unwrap();
/// let op = Op::<f64>::new(&spec)?;
/// let args = Args { sizes: Sizes { rows: 1, nodes: 0 }, inputs: &[&[1.0, 2.0], &[3.0, 4.0]], indices: &[] };
/// let (mut out, mut workspace) = ([0.0], Workspace::new());
/// op.forward(&args, &mut out, &mut workspace)?;
/// assert!((out[0] - 11.0 / 2f64.sqrt()).abs() < 1e-15);
///
/// // s = Σ cotangent · out, and its gradient with respect to the weights alone.
/// let mut w = [0.0; 2];
/// op.backward(&args, &[1.0], &mut [None, Some(&mut w)], &mut workspace)?;
/// assert!((w[1] - 2.0 / 2f64.sqrt()).abs() < 1e-15);
/// # Ok::<(), acerust::Error>(())
/// ```
pub struct Op<S: Storage> {
    spec: Spec,
    ports: Ports,
    kernel: Box<dyn Kernel<S::Compute>>,
}

/// The arguments of a call. Matrices are row-major, in the order of [`Op::ports`].
#[derive(Clone, Copy, Debug)]
pub struct Args<'a, S> {
    pub sizes: Sizes,
    pub inputs: &'a [&'a [S]],
    pub indices: &'a [&'a [u32]],
}

impl<S: Storage> Debug for Op<S> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Op").field("spec", &self.spec).finish_non_exhaustive()
    }
}

#[cfg(feature = "ops")]
fn kernel_of(spec: &Spec, isa: Isa, storage: Dtype) -> Result<Box<dyn Any>> {
    Ok(match storage {
        Dtype::F64 => Box::new(with_lanes!(isa, f64, V => spec.kernel::<V>())?),
        _ => Box::new(with_lanes!(isa, f32, V => spec.kernel::<V>())?),
    })
}

/// Code that is named is compiled, for every instruction set, though it never runs.
#[cfg(not(feature = "ops"))]
fn kernel_of(_: &Spec, _: Isa, _: Dtype) -> Result<Box<dyn Any>> {
    Err(Error::Device("operations are not in this build: its feature `ops` is off".into()))
}

impl<S: Storage> Op<S> {
    /// For the best instruction set of this processor.
    ///
    /// # Errors
    /// If the operation cannot be, or `spec.storage` is not that of `S`.
    pub fn new(spec: &Spec) -> Result<Op<S>> {
        Op::with_isa(spec, Isa::detect())
    }

    /// # Errors
    /// As [`Op::new`]; if this processor lacks the instruction set.
    pub fn with_isa(spec: &Spec, isa: Isa) -> Result<Op<S>> {
        if spec.storage != S::DTYPE {
            return Err(Error::Argument(format!("storage: {}, expected {}", spec.storage, S::DTYPE)));
        }
        if !isa.is_available() {
            return Err(Error::Device(format!("this processor has no {isa:?}")));
        }
        let ports = spec.ports()?;
        if spec.arithmetic != Arithmetic::Full {
            let arithmetic = spec.arithmetic;
            return Err(Error::Argument(format!("arithmetic: {arithmetic} is for CUDA devices, not for processors")));
        }
        // `S::Compute` is f64 or f32; the box is of one of both.
        let kernel = kernel_of(spec, isa, S::DTYPE)?;
        let kernel = kernel.downcast::<Box<dyn Kernel<S::Compute>>>().map_err(|_| Error::Argument("storage".into()))?;
        Ok(Op { spec: spec.clone(), ports, kernel: *kernel })
    }

    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Names and shapes of the arguments and the result.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Bytes of scratch memory that a pass needs, with the threads of rayon's current pool.
    pub fn scratch(&self, sizes: Sizes, pass: Pass) -> usize {
        self.scratch_lines(sizes, pass) * size_of::<Line>()
    }

    fn scratch_lines(&self, sizes: Sizes, pass: Pass) -> usize {
        let converted = |port: &Port| lines::<S::Compute>(port.len(sizes));
        let inputs: usize =
            self.ports.inputs.iter().filter(|p| self.converts(p, self.spec.layout)).map(converted).sum();
        let out = usize::from(self.converts(&self.ports.output, self.layout_out())) * converted(&self.ports.output);
        // Directions and second derivatives are as many again.
        let times = match pass {
            Pass::Forward => (1, 1),
            Pass::Backward => (2, 1),
            Pass::DoubleBackward => (3, 2),
        };
        inputs * times.0 + out * times.1 + self.kernel.scratch(sizes, pass, parallel::n_threads())
    }

    fn layout_out(&self) -> Layout {
        self.spec.layout_out.unwrap_or(self.spec.layout)
    }

    /// Kernels have `ir_mul` and a type to compute with.
    fn converts(&self, port: &Port, layout: Layout) -> bool {
        let same = port.blocks.iter().all(|&[dim, mul]| dim == 1 || mul == 1);
        S::same(&[]).is_none() || (layout == Layout::MulIr && !same)
    }

    /// `out = y(inputs)`
    ///
    /// # Errors
    /// If a length is wrong, an index is out of range, or the result would not be finite.
    pub fn forward(&self, args: &Args<S>, out: &mut [S], workspace: &mut Workspace) -> Result<()> {
        self.check(args)?;
        self.ports.output.check_len("out", args.sizes, out.len())?;
        let mut scratch = Scratch::new(workspace.lines(self.scratch_lines(args.sizes, Pass::Forward))?);
        let mut inputs = [&[][..]; MAX_INPUTS];
        let call = self.call(args, &mut inputs, &mut scratch);
        let mut result =
            Results::new([(&self.ports.output, self.layout_out(), Some(out))], self, args.sizes, &mut scratch);
        let [Some(to), ..] = &mut result.buffers else { unreachable!("it is asked for") };
        self.kernel.forward(call, to, scratch);
        result.finish().map_err(|port| self.culprit(args, &[], port, call))
    }

    /// The gradients of `s = Σ cotangent · out` that are asked for, overwritten; one entry for each input.
    ///
    /// # Errors
    /// As [`Op::forward`].
    pub fn backward(
        &self,
        args: &Args<S>,
        cotangent: &[S],
        gradients: &mut [Option<&mut [S]>],
        workspace: &mut Workspace,
    ) -> Result<()> {
        self.check(args)?;
        self.ports.output.check_len("cotangent", args.sizes, cotangent.len())?;
        self.ports
            .check_inputs("gradient of ", gradients.len(), args.sizes, |k| gradients[k].as_ref().map(|g| g.len()))?;
        let mut scratch = Scratch::new(workspace.lines(self.scratch_lines(args.sizes, Pass::Backward))?);
        let mut inputs = [&[][..]; MAX_INPUTS];
        let call = self.call(args, &mut inputs, &mut scratch);
        let bar = self.enter(&self.ports.output, self.layout_out(), cotangent, &mut scratch);
        let mut result = Results::new(self.outputs(gradients), self, args.sizes, &mut scratch);
        self.kernel.backward(call, bar, &mut result.buffers[..self.ports.inputs.len()], scratch);
        result.finish().map_err(|port| self.culprit(args, &[("cotangent", cotangent)], port, call))
    }

    /// With the gradients `g` of [`Op::backward`] and `t = Σ_k ⟨g_k, directions_k⟩` (none for zero), the gradients of `t` with respect to
    /// every input and, last, to the cotangent: those that are asked for, overwritten.
    ///
    /// # Errors
    /// As [`Op::forward`].
    pub fn double_backward(
        &self,
        args: &Args<S>,
        cotangent: &[S],
        directions: &[Option<&[S]>],
        seconds: &mut [Option<&mut [S]>],
        workspace: &mut Workspace,
    ) -> Result<()> {
        let n = self.ports.inputs.len();
        self.check(args)?;
        self.ports.output.check_len("cotangent", args.sizes, cotangent.len())?;
        self.ports.check_inputs("direction of ", directions.len(), args.sizes, |k| directions[k].map(<[S]>::len))?;
        self.ports.check_seconds(seconds.len(), args.sizes, |k| seconds[k].as_ref().map(|g| g.len()))?;
        let (second_cotangent, rest) = seconds.split_last_mut().expect("as many as counted");
        let mut scratch = Scratch::new(workspace.lines(self.scratch_lines(args.sizes, Pass::DoubleBackward))?);
        let mut inputs = [&[][..]; MAX_INPUTS];
        let call = self.call(args, &mut inputs, &mut scratch);
        let bar = self.enter(&self.ports.output, self.layout_out(), cotangent, &mut scratch);
        let mut along = [None; MAX_INPUTS];
        for ((to, port), direction) in along.iter_mut().zip(&self.ports.inputs).zip(directions) {
            *to = direction.map(|d| self.enter(port, self.spec.layout, d, &mut scratch));
        }
        let last = (&self.ports.output, self.layout_out(), second_cotangent.as_deref_mut());
        let mut result = Results::new(self.outputs(rest).chain([last]), self, args.sizes, &mut scratch);
        self.kernel.double_backward(call, bar, &along[..n], &mut result.buffers[..n + 1], scratch);
        let extra = directions.iter().filter_map(|d| d.map(|d| ("direction", d)));
        let mut others = [("", &[][..]); MAX_INPUTS];
        others.iter_mut().zip([("cotangent", cotangent)].into_iter().chain(extra)).for_each(|(to, x)| *to = x);
        result.finish().map_err(|port| self.culprit(args, &others, port, call))
    }

    /// Lengths of all arguments and ranges of all indices.
    fn check(&self, args: &Args<S>) -> Result<()> {
        let sizes = args.sizes;
        sizes.check()?;
        self.ports.check_inputs("", args.inputs.len(), sizes, |k| Some(args.inputs[k].len()))?;
        self.ports.check_indices(sizes, args.indices)
    }

    /// The arguments as the kernels have them.
    fn call<'a>(
        &self,
        args: &Args<'a, S>,
        inputs: &'a mut [&'a [S::Compute]; MAX_INPUTS],
        scratch: &mut Scratch<'a>,
    ) -> Call<'a, S::Compute> {
        for ((to, port), x) in inputs.iter_mut().zip(&self.ports.inputs).zip(args.inputs) {
            *to = self.enter(port, self.spec.layout, x, scratch);
        }
        Call { sizes: args.sizes, inputs: &inputs[..args.inputs.len()], indices: args.indices }
    }

    fn enter<'a>(&self, port: &Port, layout: Layout, x: &'a [S], scratch: &mut Scratch<'a>) -> &'a [S::Compute] {
        match S::same(x) {
            Some(x) if !self.converts(port, layout) => x,
            _ => {
                let to = scratch.reals::<S::Compute>(x.len());
                parallel::for_chunks_mut(to, whole_rows(port), |k, to| {
                    let x = &x[k * whole_rows(port)..][..to.len()];
                    match layout {
                        Layout::MulIr if !port.blocks.is_empty() => rows(port, x, to, true, S::up),
                        _ => S::widen(x, to),
                    }
                });
                to
            }
        }
    }

    fn outputs<'a, 'b>(
        &'a self,
        gradients: &'b mut [Option<&mut [S]>],
    ) -> impl Iterator<Item = (&'a Port, Layout, Option<&'b mut [S]>)> {
        let gradients = gradients.iter_mut().map(|g| g.as_deref_mut());
        self.ports.inputs.iter().zip(gradients).map(|(port, g)| (port, self.spec.layout, g))
    }

    /// Why result `k` is not finite: the gradient of an input, or what has the shape of the output.
    #[cfg(feature = "cuda")]
    pub(crate) fn explain(&self, args: &Args<S>, others: &[(&str, &[S])], k: usize) -> Result<Error> {
        let mut workspace = Workspace::new();
        let mut scratch = Scratch::new(workspace.lines(self.scratch_lines(args.sizes, Pass::Forward))?);
        let mut inputs = [&[][..]; MAX_INPUTS];
        let call = self.call(args, &mut inputs, &mut scratch);
        Ok(self.culprit(args, others, self.ports.inputs.get(k).unwrap_or(&self.ports.output), call))
    }

    /// Why a result is not finite.
    fn culprit(&self, args: &Args<S>, others: &[(&str, &[S])], port: &Port, call: Call<S::Compute>) -> Error {
        let names = self.ports.inputs.iter().map(|p| &p.name[..]);
        let inputs = names.zip(args.inputs.iter().copied()).chain(others.iter().copied());
        for (name, x) in inputs {
            if let Some(k) = x.iter().position(|x| !x.to_f64().is_finite()) {
                return Error::Argument(format!("{name}: {} at {k}, expected a finite number", x[k].to_f64()));
            }
        }
        let known = self.kernel.diagnose(call);
        Error::Argument(known.unwrap_or_else(|| format!("{}: a result of its shape exceeds {}", port.name, S::DTYPE)))
    }
}

/// Numbers that a thread converts at a time: whole rows.
fn whole_rows(port: &Port) -> usize {
    port.width.max(1) * (8192 / port.width.max(1)).max(1)
}

/// Converts row by row, between layouts: from (mul, 2l + 1) where `enter`, to it otherwise.
fn rows<A: Copy, B>(port: &Port, from: &[A], to: &mut [B], enter: bool, convert: impl Fn(A) -> B) {
    for (from, to) in from.chunks(port.width).zip(to.chunks_mut(port.width)) {
        let mut start = 0;
        for &[dim, mul] in &port.blocks {
            let shape = if enter { [mul, dim] } else { [dim, mul] };
            let block = start..start + dim * mul;
            transpose_block(shape, &from[block.clone()], &mut to[block.clone()], &convert);
            start = block.end;
        }
    }
}

/// Results as the kernels write them, and where they go.
struct Results<'a, S: Storage> {
    buffers: [Option<&'a mut [S::Compute]>; MAX_INPUTS + 1],
    converted: [Option<&'a mut [S]>; MAX_INPUTS + 1],
    ports: [Option<(&'a Port, Layout)>; MAX_INPUTS + 1],
}

impl<'a, S: Storage> Results<'a, S> {
    fn new(
        outputs: impl IntoIterator<Item = (&'a Port, Layout, Option<&'a mut [S]>)>,
        op: &Op<S>,
        sizes: Sizes,
        scratch: &mut Scratch<'a>,
    ) -> Self {
        let mut results = Results {
            buffers: std::array::from_fn(|_| None),
            converted: std::array::from_fn(|_| None),
            ports: [None; MAX_INPUTS + 1],
        };
        for (k, (port, layout, out)) in outputs.into_iter().enumerate() {
            results.ports[k] = Some((port, layout));
            match out {
                Some(out) if op.converts(port, layout) => {
                    results.buffers[k] = Some(scratch.reals(port.len(sizes)));
                    results.converted[k] = Some(out);
                }
                out => results.buffers[k] = out.and_then(S::same_mut),
            }
        }
        results
    }

    /// Brings results into their type and layout; what is not finite is an error, its port.
    fn finish(self) -> std::result::Result<(), &'a Port> {
        for ((buffer, converted), port) in self.buffers.into_iter().zip(self.converted).zip(self.ports) {
            let (Some(buffer), Some((port, layout))) = (buffer, port) else { continue };
            if !finite(buffer) {
                return Err(port);
            }
            if let Some(out) = converted {
                parallel::for_chunks_mut(out, whole_rows(port), |k, out| {
                    let from = &buffer[k * whole_rows(port)..][..out.len()];
                    match layout {
                        Layout::MulIr if !port.blocks.is_empty() => rows(port, from, out, false, S::down),
                        _ => S::narrow(from, out),
                    }
                });
                // Sixteen bits end where thirty-two do not.
                if S::same(&[]).is_none() && out.iter().any(|x| !x.to_f64().is_finite()) {
                    return Err(port);
                }
            }
        }
        Ok(())
    }
}

/// Are all numbers finite?
fn finite<T: Real>(x: &[T]) -> bool {
    let good = AtomicBool::new(true);
    super::kernel::for_parts(x.len(), 1 << 14, |part| {
        // `0 · x` is zero or NaN; sums beside each other, so that they are vectors.
        let mut sums = [T::default(); 32];
        for chunk in x[part].chunks(32) {
            sums.iter_mut().zip(chunk).for_each(|(sum, &x)| *sum += T::default() * x);
        }
        if sums.iter().any(|&sum| sum != T::default()) {
            good.store(false, Relaxed);
        }
    });
    good.into_inner()
}
