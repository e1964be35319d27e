//! One case of an operation, run in every way that there is.

use acerust::Result;
use acerust::dtype::{Dtype, Storage};
#[cfg(feature = "cuda")]
use acerust::ops::cuda::DeviceOp;
use acerust::ops::{Args, Isa, Layout, Op, Port, Ports, Sizes, Spec, Workspace};

/// The passes of an operation; everything is wanted.
pub trait Passes<S> {
    fn forward(&mut self, args: &Args<S>, out: &mut [S]) -> Result<()>;
    fn backward(&mut self, args: &Args<S>, cotangent: &[S], gradients: &mut [Vec<S>]) -> Result<()>;
    fn double_backward(
        &mut self,
        args: &Args<S>,
        cotangent: &[S],
        along: &[Option<&[S]>],
        seconds: &mut [Vec<S>],
    ) -> Result<()>;
}

struct OnProcessor<'a, S: Storage> {
    op: Op<S>,
    workspace: &'a mut Workspace,
}

fn wanted<S>(results: &mut [Vec<S>]) -> Vec<Option<&mut [S]>> {
    results.iter_mut().map(|r| Some(&mut r[..])).collect()
}

impl<S: Storage> Passes<S> for OnProcessor<'_, S> {
    fn forward(&mut self, args: &Args<S>, out: &mut [S]) -> Result<()> {
        self.workspace.soil();
        self.op.forward(args, out, self.workspace)
    }

    fn backward(&mut self, args: &Args<S>, cotangent: &[S], gradients: &mut [Vec<S>]) -> Result<()> {
        self.workspace.soil();
        self.op.backward(args, cotangent, &mut wanted(gradients), self.workspace)
    }

    fn double_backward(
        &mut self,
        args: &Args<S>,
        cotangent: &[S],
        along: &[Option<&[S]>],
        seconds: &mut [Vec<S>],
    ) -> Result<()> {
        self.workspace.soil();
        self.op.double_backward(args, cotangent, along, &mut wanted(seconds), self.workspace)
    }
}

/// An operation with numbers in `mul_ir`, and what is known of its results.
pub struct Case {
    pub name: String,
    pub spec: Spec,
    pub sizes: Sizes,
    pub inputs: Vec<Vec<f64>>,
    pub indices: Vec<Vec<u32>>,
    pub out: Vec<f64>,
    pub cotangent: Vec<f64>,
    pub gradients: Vec<Option<Vec<f64>>>,
    pub directions: Vec<Option<Vec<f64>>>,
    /// By input, and that of the cotangent last.
    pub seconds: Vec<Option<Vec<f64>>>,
}

/// What an operation gives, in `mul_ir`.
pub struct Outcome {
    pub out: Vec<f64>,
    pub gradients: Vec<Vec<f64>>,
    pub seconds: Vec<Vec<f64>>,
}

/// The numbers of a port in the other layout.
fn transposed(port: &Port, x: &[f64], to_ir_mul: bool) -> Vec<f64> {
    if port.blocks.is_empty() || port.width == 0 {
        return x.to_vec();
    }
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks(port.width) {
        let mut start = 0;
        for &[dim, mul] in &port.blocks {
            let [n, m] = if to_ir_mul { [mul, dim] } else { [dim, mul] };
            let block = &row[start..start + n * m];
            out.extend((0..m).flat_map(|j| (0..n).map(move |i| block[i * m + j])));
            start += n * m;
        }
    }
    out
}

impl Case {
    /// All passes, with numbers stored as `S`.
    pub fn run<S: Storage>(&self, layouts: [Layout; 2], isa: Isa) -> Outcome {
        self.run_with::<S>(layouts, isa, &mut Workspace::new())
    }

    pub fn run_with<S: Storage>(&self, layouts: [Layout; 2], isa: Isa, workspace: &mut Workspace) -> Outcome {
        let op = Op::<S>::with_isa(&self.spec_in::<S>(layouts), isa).unwrap_or_else(|e| panic!("{}: {e}", self.name));
        let ports = op.ports().clone();
        self.run_by(layouts, &ports, &mut OnProcessor { op, workspace })
    }

    fn spec_in<S: Storage>(&self, [layout, layout_out]: [Layout; 2]) -> Spec {
        Spec { layout, layout_out: Some(layout_out), storage: S::DTYPE, ..self.spec.clone() }
    }

    pub fn run_by<S: Storage>(&self, layouts: [Layout; 2], ports: &Ports, passes: &mut dyn Passes<S>) -> Outcome {
        let [layout, layout_out] = layouts;
        let store = |x: &[f64], port: &Port, layout: Layout| -> Vec<S> {
            let x = if layout == Layout::IrMul { transposed(port, x, true) } else { x.to_vec() };
            x.into_iter().map(S::of).collect()
        };
        let load = |x: &[S], port: &Port, layout: Layout| -> Vec<f64> {
            let x: Vec<f64> = x.iter().map(|x| x.to_f64()).collect();
            if layout == Layout::IrMul { transposed(port, &x, false) } else { x }
        };
        let good = |done: Result<()>| done.unwrap_or_else(|e| panic!("{}: {e}", self.name));
        let inputs: Vec<Vec<S>> = ports.inputs.iter().zip(&self.inputs).map(|(p, x)| store(x, p, layout)).collect();
        let inputs: Vec<&[S]> = inputs.iter().map(|x| &x[..]).collect();
        let indices: Vec<&[u32]> = self.indices.iter().map(|x| &x[..]).collect();
        let args = Args { sizes: self.sizes, inputs: &inputs, indices: &indices };
        let junk = S::of(f64::NAN);

        let mut out = vec![junk; ports.output.len(self.sizes)];
        good(passes.forward(&args, &mut out));
        let cotangent = store(&self.cotangent, &ports.output, layout_out);
        let mut gradients: Vec<Vec<S>> = inputs.iter().map(|x| vec![junk; x.len()]).collect();
        good(passes.backward(&args, &cotangent, &mut gradients));

        let mut directions: Vec<Option<Vec<S>>> =
            ports.inputs.iter().zip(&self.directions).map(|(p, d)| d.as_ref().map(|d| store(d, p, layout))).collect();
        directions.resize(inputs.len(), None);
        let along: Vec<Option<&[S]>> = directions.iter().map(|d| d.as_deref()).collect();
        let mut seconds: Vec<Vec<S>> = inputs.iter().map(|x| vec![junk; x.len()]).collect();
        seconds.push(vec![junk; out.len()]);
        good(passes.double_backward(&args, &cotangent, &along, &mut seconds));

        let second_cotangent = load(&seconds.pop().unwrap(), &ports.output, layout_out);
        let back =
            |all: Vec<Vec<S>>| ports.inputs.iter().zip(all).map(|(p, x)| load(&x, p, layout)).collect::<Vec<_>>();
        let mut seconds = back(seconds);
        seconds.push(second_cotangent);
        Outcome { out: load(&out, &ports.output, layout_out), gradients: back(gradients), seconds }
    }

    /// Against what is known, in f64 and f32, every layout and instruction set.
    pub fn check(&self) {
        use Layout::{IrMul, MulIr};
        for isa in Isa::available() {
            for layouts in [[MulIr, MulIr], [IrMul, IrMul], [MulIr, IrMul], [IrMul, MulIr]] {
                self.compare(&self.run::<f64>(layouts, isa), 1e-12, &format!("{isa:?}, {layouts:?}, f64"));
                self.compare(&self.run::<f32>(layouts, isa), 2e-6, &format!("{isa:?}, {layouts:?}, f32"));
            }
        }
        // Kernels are compiled for each layout: both are seen on both sides.
        #[cfg(feature = "cuda")]
        {
            if let Some(outcome) = self.run_on_device::<f64>([MulIr, IrMul]) {
                self.compare(&outcome, 1e-12, "device, f64");
            }
            if let Some(outcome) = self.run_on_device::<f32>([IrMul, MulIr]) {
                self.compare(&outcome, 2e-6, "device, f32");
            }
        }
    }

    /// The same on a CUDA device where `ACERUST_GPU` demands one; with `ACERUST_GPU=compile` the kernels are compiled and kept (`ACERUST_CACHE`) for
    /// a machine that has one.
    #[cfg(feature = "cuda")]
    pub fn run_on_device<S: Storage>(&self, layouts: [Layout; 2]) -> Option<Outcome> {
        let mut device = self.on_device::<S>(layouts)?;
        let ports = device.device.ports().clone();
        Some(self.run_by::<S>(layouts, &ports, &mut device))
    }

    #[cfg(feature = "cuda")]
    pub fn on_device<S: Storage>(&self, layouts: [Layout; 2]) -> Option<crate::device::OnDevice> {
        let (wanted, spec) = (std::env::var_os("ACERUST_GPU")?, self.spec_in::<S>(layouts));
        let good = |e: acerust::Error| -> ! { panic!("{}: {e}", self.name) };
        if wanted == "compile" {
            for (name, source) in acerust::ops::cuda::sources(&spec).unwrap_or_else(|e| good(e)) {
                acerust::cuda::compile::cubin(name, &source, 90).unwrap_or_else(|e| good(e));
            }
            return None;
        }
        Some(crate::device::OnDevice { device: DeviceOp::new(&spec, 0).unwrap_or_else(|e| good(e)) })
    }

    pub fn compare(&self, outcome: &Outcome, tolerance: f64, how: &str) {
        let label = |what: String| format!("{}, {how}: {what}", self.name);
        close(&label("out".into()), &outcome.out, &self.out, tolerance);
        for (k, (ours, theirs)) in outcome.gradients.iter().zip(&self.gradients).enumerate() {
            if let Some(theirs) = theirs {
                close(&label(format!("gradient {k}")), ours, theirs, tolerance);
            }
        }
        for (k, (ours, theirs)) in outcome.seconds.iter().zip(&self.seconds).enumerate() {
            if let Some(theirs) = theirs {
                close(&label(format!("second {k}")), ours, theirs, tolerance);
            }
        }
    }
}

/// Equal to a part of the largest entry.
pub fn close(label: &str, ours: &[f64], theirs: &[f64], tolerance: f64) {
    close_beside(0.0, label, ours, theirs, tolerance);
}

/// Equal to a part of the largest entry, or of what stood beside it in the sums.
pub fn close_beside(other: f64, label: &str, ours: &[f64], theirs: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), theirs.len(), "{label}: length");
    let largest = theirs.iter().fold(other, |m: f64, x| m.max(x.abs()));
    for (k, (a, b)) in ours.iter().zip(theirs).enumerate() {
        let good = (a - b).abs() <= tolerance * largest;
        assert!(good, "{label}[{k}]: {a}, expected {b} (largest {largest}, off by {:.1e})", (a - b).abs() / largest);
    }
}

/// The rounding of a type.
#[allow(dead_code)]
pub fn rounding(dtype: Dtype) -> f64 {
    dtype.rounding()
}
