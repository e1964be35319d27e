//! Passes on arrays of `ndarray`: their shapes say how much there is to do.

use super::kernel::{Extent, MAX_INPUTS, Port, Sizes};
use super::op::{Args, Op};
use super::scratch::Workspace;
use crate::dtype::Storage;
use crate::{Error, Result};
use ndarray::{ArrayView1, ArrayView2, ArrayViewMut2};

/// The arguments of a call, in the order of [`Op::ports`]: matrices (rows, width), row-major, without gaps.
///
/// ```
/// use acerust::ops::{Arrays, Op, Spec, Workspace};
/// use ndarray::array;
///
/// let spec: Spec = serde_json::from_str(
///     r#"{"operation": {"linear": {"irreps_in": "2x0e", "irreps_out": "1x0e"}}}"#,
/// ).unwrap();
/// let op = Op::<f64>::new(&spec)?;
/// let (x, w, mut out) = (array![[1.0, 2.0], [5.0, 6.0]], array![[3.0, 4.0]], array![[0.0], [0.0]]);
/// let arrays = Arrays { inputs: &[x.view(), w.view()], indices: &[] };
/// op.forward_arrays(arrays, out.view_mut(), &mut Workspace::new())?;
/// assert!((out[[1, 0]] - 39.0 / 2f64.sqrt()).abs() < 1e-14);
/// # Ok::<(), acerust::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Arrays<'a, S> {
    pub inputs: &'a [ArrayView2<'a, S>],
    pub indices: &'a [ArrayView1<'a, u32>],
}

impl<S: Storage> Op<S> {
    /// [`Op::forward`] on matrices.
    ///
    /// # Errors
    /// As there; if a matrix has another shape, or gaps.
    pub fn forward_arrays(
        &self,
        arrays: Arrays<S>,
        mut out: ArrayViewMut2<S>,
        workspace: &mut Workspace,
    ) -> Result<()> {
        self.with_args(arrays, |args| {
            let out = to_mut("out", &self.ports().output, args.sizes, &mut out)?;
            self.forward(args, out, workspace)
        })
    }

    /// [`Op::backward`] on matrices.
    ///
    /// # Errors
    /// As [`Op::forward_arrays`].
    pub fn backward_arrays(
        &self,
        arrays: Arrays<S>,
        cotangent: ArrayView2<S>,
        gradients: &mut [Option<ArrayViewMut2<S>>],
        workspace: &mut Workspace,
    ) -> Result<()> {
        self.with_args(arrays, |args| {
            let ports = self.ports();
            let cotangent = of("cotangent", &ports.output, args.sizes, &cotangent)?;
            let mut to = std::array::from_fn::<_, MAX_INPUTS, _>(|_| None);
            let n = results("gradient of ", ports.inputs.iter(), args.sizes, gradients, &mut to)?;
            self.backward(args, cotangent, &mut to[..n], workspace)
        })
    }

    /// [`Op::double_backward`] on matrices.
    ///
    /// # Errors
    /// As [`Op::forward_arrays`].
    pub fn double_backward_arrays(
        &self,
        arrays: Arrays<S>,
        cotangent: ArrayView2<S>,
        directions: &[Option<ArrayView2<S>>],
        seconds: &mut [Option<ArrayViewMut2<S>>],
        workspace: &mut Workspace,
    ) -> Result<()> {
        self.with_args(arrays, |args| {
            let ports = self.ports();
            let cotangent = of("cotangent", &ports.output, args.sizes, &cotangent)?;
            let mut along = [None; MAX_INPUTS];
            for ((to, x), port) in along.iter_mut().zip(directions).zip(&ports.inputs) {
                let name = || format!("direction of {}", port.name);
                *to = x.as_ref().map(|x| of(&name(), port, args.sizes, x)).transpose()?;
            }
            let along = &along[..directions.len().min(MAX_INPUTS)];
            let mut to = std::array::from_fn::<_, { MAX_INPUTS + 1 }, _>(|_| None);
            let all = ports.inputs.iter().chain([&ports.output]);
            let n = results("second gradient of ", all, args.sizes, seconds, &mut to)?;
            self.double_backward(args, cotangent, along, &mut to[..n], workspace)
        })
    }

    fn with_args(&self, arrays: Arrays<S>, run: impl FnOnce(&Args<S>) -> Result<()>) -> Result<()> {
        let ports = self.ports();
        let first = |extent: Extent| {
            let mut all = ports.inputs.iter().zip(arrays.inputs);
            all.find(|(port, _)| port.extent == extent).map_or(0, |(_, x)| x.nrows())
        };
        let rows = arrays.indices.first().map_or_else(|| first(Extent::Rows), |index| index.len());
        let sizes = Sizes { rows, nodes: first(Extent::Nodes) };
        let (mut inputs, mut indices) = ([&[][..]; MAX_INPUTS], [&[][..]; MAX_INPUTS]);
        for ((to, x), port) in inputs.iter_mut().zip(arrays.inputs).zip(&ports.inputs) {
            *to = of(&port.name, port, sizes, x)?;
        }
        for ((to, x), port) in indices.iter_mut().zip(arrays.indices).zip(&ports.indices) {
            *to = x.to_slice().ok_or_else(|| gaps(port.name))?;
        }
        let n = [arrays.inputs.len(), arrays.indices.len()].map(|n| n.min(MAX_INPUTS));
        run(&Args { sizes, inputs: &inputs[..n[0]], indices: &indices[..n[1]] })
    }
}

fn gaps(name: &str) -> Error {
    Error::Argument(format!("{name}: an array with gaps, or not row-major"))
}

fn check(name: &str, port: &Port, sizes: Sizes, found: (usize, usize)) -> Result<()> {
    let expected = (port.n_rows(sizes), port.width);
    match found == expected {
        true => Ok(()),
        false => {
            let shapes = format!("{} × {}, expected {} × {}", found.0, found.1, expected.0, expected.1);
            Err(Error::Argument(format!("{name}: {shapes}")))
        }
    }
}

fn of<'a, S>(name: &str, port: &Port, sizes: Sizes, x: &ArrayView2<'a, S>) -> Result<&'a [S]> {
    check(name, port, sizes, x.dim())?;
    x.to_slice().ok_or_else(|| gaps(name))
}

fn to_mut<'a, S>(name: &str, port: &Port, sizes: Sizes, x: &'a mut ArrayViewMut2<S>) -> Result<&'a mut [S]> {
    check(name, port, sizes, x.dim())?;
    x.as_slice_mut().ok_or_else(|| gaps(name))
}

/// Results as slices; how many there are.
fn results<'a, S>(
    what: &str,
    ports: impl Iterator<Item = &'a Port>,
    sizes: Sizes,
    from: &'a mut [Option<ArrayViewMut2<S>>],
    to: &mut [Option<&'a mut [S]>],
) -> Result<usize> {
    let n = from.len().min(to.len());
    for ((to, x), port) in to.iter_mut().zip(from).zip(ports) {
        if let Some(x) = x {
            *to = Some(to_mut(&format!("{what}{}", port.name), port, sizes, x)?);
        }
    }
    Ok(n)
}
