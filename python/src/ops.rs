//! Equivariant operations on arrays of other libraries; `acerust.torch` makes operators of PyTorch of them.

use crate::dlpack::{Kind, Place, Tensor, Tensors};
use crate::errors::{argument, raise};
use acerust::dtype::{Dtype, Storage};
use acerust::ops::{Args, Arithmetic, Extent, Irreps, Op, Operation as Descriptor, Ports, Sizes, Spec, Workspace};
use half::{bf16, f16};
use pyo3::prelude::*;
use std::cell::RefCell;

#[cfg(feature = "cuda")]
use acerust::ops::cuda::{self, DeviceOp, Span};
#[cfg(feature = "cuda")]
use std::collections::HashMap;
#[cfg(feature = "cuda")]
use std::sync::{Arc, Mutex, PoisonError};

thread_local! {
    /// The scratch memory of the calling thread.
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

/// The same operation in its type of numbers.
enum Host {
    F64(Op<f64>),
    F32(Op<f32>),
    F16(Op<f16>),
    Bf16(Op<bf16>),
}

/// An operation (docs/operations.md) for numbers of one type: f64, f32, f16 or bf16.
#[pyclass(frozen, module = "acerust")]
pub struct Operation {
    host: Host,
    spec: Spec,
    ports: Ports,
    #[cfg(feature = "cuda")]
    devices: Mutex<HashMap<usize, Arc<DeviceOp>>>,
}

/// Shape of an argument: name, `rows`, `nodes` or a number, numbers in a row.
type Shape = (String, String, usize);

#[pymethods]
impl Operation {
    #[new]
    fn new(py: Python, descriptor: &str, storage: &str) -> PyResult<Operation> {
        let spec: Spec = serde_json::from_str(descriptor).map_err(|e| argument(format!("operation: {e}")))?;
        let quoted = format!("{storage:?}");
        let storage: Dtype = serde_json::from_str(&quoted).map_err(|e| argument(format!("storage: {e}")))?;
        let spec = Spec { storage, ..spec };
        py.detach(|| Operation::of(spec)).map_err(raise)
    }

    /// Inputs, indices (name, and how many there are to choose from; None: the nodes), and the result.
    fn ports(&self) -> (Vec<Shape>, Vec<(&'static str, Option<usize>)>, Shape) {
        let shape = |p: &acerust::ops::Port| {
            let extent = match p.extent {
                Extent::Rows => "rows".into(),
                Extent::Nodes => "nodes".into(),
                Extent::Fixed(n) => n.to_string(),
            };
            (p.name.clone(), extent, p.width)
        };
        let indices = self.ports.indices.iter().map(|p| (p.name, p.bound)).collect();
        (self.ports.inputs.iter().map(shape).collect(), indices, shape(&self.ports.output))
    }

    /// Of a product: the blocks of both arguments and the result that each path has, in the order of the weights; and the blocks of the
    /// result, their multiplicities, degrees and parities.
    fn paths(&self) -> PyResult<(Vec<[usize; 3]>, Vec<(usize, usize, i32)>)> {
        let (paths, out) = match &self.spec.operation {
            Descriptor::Channelwise(op) => (op.paths(self.spec.convention), op.irreps_out().map_err(raise)?),
            Descriptor::FullyConnected(op) => (op.paths(self.spec.convention), op.irreps_out.clone()),
            _ => return Err(argument("paths: of channelwise and fully_connected")),
        };
        Ok((paths.iter().map(|p| p.blocks).collect(), blocks(&out)))
    }

    /// One pass on the processor: forward without a cotangent, backward, or double backward with directions (None for zero). Results
    /// are by input, and what has the shape of the result last; None is not wanted. All are arrays by DLPack, row-major.
    #[pyo3(signature = (rows, nodes, inputs, indices, results, cotangent=None, directions=None))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        rows: usize,
        nodes: usize,
        inputs: Vec<Bound<'py, PyAny>>,
        indices: Vec<Bound<'py, PyAny>>,
        results: Vec<Option<Bound<'py, PyAny>>>,
        cotangent: Option<Bound<'py, PyAny>>,
        directions: Option<Vec<Option<Bound<'py, PyAny>>>>,
    ) -> PyResult<()> {
        if self.spec.arithmetic != Arithmetic::Full {
            return Err(argument(format!(
                "arithmetic: {} is for CUDA devices, not for processors",
                self.spec.arithmetic
            )));
        }
        let mut tensors = Tensors::default();
        let indices = self.indices(&mut tensors, &indices)?;
        let call = Call::new(self, &mut tensors, Place::Cpu, inputs, results, cotangent, directions)?;
        let sizes = Sizes { rows, nodes };
        // SAFETY: types and places have been checked, and that results overlap nothing; `tensors` holds the arrays. That nobody else
        // writes them in the meantime is up to the caller, as everywhere with arrays that are not copied.
        let done = py.detach(|| unsafe {
            match &self.host {
                Host::F64(op) => call.run(op, sizes, &indices),
                Host::F32(op) => call.run(op, sizes, &indices),
                Host::F16(op) => call.run(op, sizes, &indices),
                Host::Bf16(op) => call.run(op, sizes, &indices),
            }
        });
        done.map_err(raise)
    }

    /// Compiles the operation for a CUDA device, and copies sorted indices (arrays on the processor) there.
    #[cfg(feature = "cuda")]
    fn prepare<'py>(
        slf: Bound<'py, Self>,
        device: usize,
        rows: usize,
        nodes: usize,
        indices: Vec<Bound<'py, PyAny>>,
    ) -> PyResult<Prepared> {
        let (py, this) = (slf.py(), slf.get());
        let indices = this.indices(&mut Tensors::default(), &indices)?;
        let lists: Vec<&[u32]> = indices.iter().map(|i| &i[..]).collect();
        let (op, at) = py
            .detach(|| {
                let mut devices = this.devices.lock().unwrap_or_else(PoisonError::into_inner);
                let op = match devices.get(&device) {
                    Some(op) => op.clone(),
                    None => {
                        let op = Arc::new(DeviceOp::new(&this.spec, device)?);
                        devices.insert(device, op.clone());
                        op
                    }
                };
                let at = op.prepare(Sizes { rows, nodes }, &lists)?;
                Ok((op, at))
            })
            .map_err(raise)?;
        Ok(Prepared { operation: slf.unbind(), op, at, device })
    }
}

/// Blocks of irreps: multiplicities, degrees, parities.
#[pyfunction]
pub fn irreps(text: &str) -> PyResult<Vec<(usize, usize, i32)>> {
    text.parse().map(|irreps| blocks(&irreps)).map_err(raise)
}

fn blocks(irreps: &Irreps) -> Vec<(usize, usize, i32)> {
    let parity = |p| if p == acerust::ops::Parity::Even { 1 } else { -1 };
    irreps.blocks().iter().map(|b| (b.mul, b.irrep.l, parity(b.irrep.parity))).collect()
}

impl Operation {
    fn of(spec: Spec) -> acerust::Result<Operation> {
        // Tensor cores are those of devices alone.
        let own = Spec { arithmetic: Arithmetic::Full, ..spec.clone() };
        let host = match spec.storage {
            Dtype::F64 => Host::F64(Op::new(&own)?),
            Dtype::F32 => Host::F32(Op::new(&own)?),
            Dtype::F16 => Host::F16(Op::new(&own)?),
            Dtype::Bf16 => Host::Bf16(Op::new(&own)?),
            _ => return Err(acerust::Error::Argument(format!("storage: {}", spec.storage))),
        };
        let ports = spec.ports()?;
        Ok(Operation {
            host,
            spec,
            ports,
            #[cfg(feature = "cuda")]
            devices: Mutex::default(),
        })
    }

    fn kind(&self) -> Kind {
        match self.host {
            Host::F64(_) => Kind::F64,
            Host::F32(_) => Kind::F32,
            Host::F16(_) => Kind::F16,
            Host::Bf16(_) => Kind::BF16,
        }
    }

    /// Indices as the operations have them; ranges are checked there.
    fn indices<'py>(&self, tensors: &mut Tensors<'py>, given: &[Bound<'py, PyAny>]) -> PyResult<Vec<Vec<u32>>> {
        let each = given.iter().enumerate();
        each.map(|(k, object)| {
            let name = self.ports.indices.get(k).map_or("indices", |p| p.name);
            let tensor = tensors.read(name, object)?;
            let (numbers, place) = (tensor.kind, tensor.place);
            // SAFETY: of these types, on the processor.
            let wide: Vec<i64> = match (numbers, place) {
                (Kind::I64, Place::Cpu) => unsafe { tensor.slice::<i64>() }.to_vec(),
                (Kind::I32, Place::Cpu) => unsafe { tensor.slice::<i32>() }.iter().map(|&i| i.into()).collect(),
                _ => return Err(argument(format!("{name}: {numbers} on {place}, expected int32 or int64"))),
            };
            let narrow = |(k, &i): (usize, &i64)| {
                u32::try_from(i).map_err(|_| argument(format!("{name}: {i} at {k}, expected an index")))
            };
            wide.iter().enumerate().map(narrow).collect()
        })
        .collect()
    }
}

/// The arrays of a pass.
struct Call {
    inputs: Vec<Tensor>,
    cotangent: Option<Tensor>,
    directions: Option<Vec<Option<Tensor>>>,
    results: Vec<Option<Tensor>>,
}

impl Call {
    fn new<'py>(
        operation: &Operation,
        tensors: &mut Tensors<'py>,
        place: Place,
        inputs: Vec<Bound<'py, PyAny>>,
        results: Vec<Option<Bound<'py, PyAny>>>,
        cotangent: Option<Bound<'py, PyAny>>,
        directions: Option<Vec<Option<Bound<'py, PyAny>>>>,
    ) -> PyResult<Call> {
        let kind = operation.kind();
        let names: Vec<&str> = operation.ports.inputs.iter().map(|p| &p.name[..]).collect();
        let name = |k: usize| names.get(k).copied().unwrap_or("out");
        // A result alone is that of the forward pass.
        let first = if cotangent.is_none() { names.len() } else { 0 };
        let mut open = |what: String, object: &Bound<'py, PyAny>, write: bool| {
            let tensor = if write { tensors.write(&what, object) } else { tensors.read(&what, object) }?;
            tensor.expect(kind, place)?;
            Ok(tensor)
        };
        let inputs: PyResult<Vec<_>> = inputs.iter().enumerate().map(|(k, x)| open(name(k).into(), x, false)).collect();
        let cotangent = cotangent.map(|x| open("cotangent".into(), &x, false)).transpose()?;
        let mut each = |prefix: &str, objects: Vec<Option<Bound<'py, PyAny>>>, first: usize, write: bool| {
            let one = |(k, x): (usize, Option<Bound<'py, PyAny>>)| {
                x.map(|x| open(format!("{prefix}{}", name(first + k)), &x, write)).transpose()
            };
            objects.into_iter().enumerate().map(one).collect::<PyResult<Vec<_>>>()
        };
        let directions = directions.map(|d| each("direction of ", d, 0, false)).transpose()?;
        let results = each("result ", results, first, true)?;
        tensors.disjoint()?;
        if directions.is_some() && cotangent.is_none() {
            return Err(argument("cotangent: it is missing"));
        }
        Ok(Call { inputs: inputs?, cotangent, directions, results })
    }

    /// # Safety
    /// The arrays are on the processor, of type `S`; results overlap nothing; nobody else writes any of them.
    unsafe fn run<S: Storage>(&self, op: &Op<S>, sizes: Sizes, indices: &[Vec<u32>]) -> acerust::Result<()> {
        // SAFETY (of all): the caller's word.
        let read = |t: &Tensor| unsafe { t.slice::<S>() };
        let inputs: Vec<&[S]> = self.inputs.iter().map(read).collect();
        let indices: Vec<&[u32]> = indices.iter().map(|i| &i[..]).collect();
        let mut results: Vec<Option<&mut [S]>> =
            self.results.iter().map(|r| r.as_ref().map(|t| unsafe { t.slice_mut::<S>() })).collect();
        let args = Args { sizes, inputs: &inputs, indices: &indices };
        WORKSPACE.with_borrow_mut(|workspace| match (&self.cotangent, &self.directions) {
            (None, _) => match results.pop().flatten() {
                Some(out) => op.forward(&args, out, workspace),
                None => Err(acerust::Error::Argument("out: it is missing".into())),
            },
            (Some(cotangent), None) => op.backward(&args, read(cotangent), &mut results, workspace),
            (Some(cotangent), Some(directions)) => {
                let directions: Vec<Option<&[S]>> = directions.iter().map(|d| d.as_ref().map(read)).collect();
                op.double_backward(&args, read(cotangent), &directions, &mut results, workspace)
            }
        })
    }
}

/// An operation on a CUDA device, with the indices of one graph.
#[cfg(feature = "cuda")]
#[pyclass(frozen, module = "acerust")]
pub struct Prepared {
    operation: Py<Operation>,
    op: Arc<DeviceOp>,
    at: cuda::Prepared,
    device: usize,
}

#[cfg(feature = "cuda")]
#[pymethods]
impl Prepared {
    /// Queues a pass on a stream, as `Operation.run`. Arrays stay where they are, and so does this, until it has been done.
    #[pyo3(signature = (stream, inputs, results, cotangent=None, directions=None))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        stream: u64,
        inputs: Vec<Bound<'py, PyAny>>,
        results: Vec<Option<Bound<'py, PyAny>>>,
        cotangent: Option<Bound<'py, PyAny>>,
        directions: Option<Vec<Option<Bound<'py, PyAny>>>>,
    ) -> PyResult<()> {
        let mut tensors = Tensors::default();
        let place = Place::Cuda(self.device);
        let call = Call::new(self.operation.get(), &mut tensors, place, inputs, results, cotangent, directions)?;
        let span = |t: &Tensor| Span { address: t.address, len: t.len };
        let spans = |all: &[Option<Tensor>]| all.iter().map(|t| t.as_ref().map(span)).collect::<Vec<_>>();
        let (op, at) = (&self.op, &self.at);
        // SAFETY: arrays of this device and type; the caller keeps them, and its stream, by the order of that stream.
        let done = py.detach(|| unsafe {
            let inputs: Vec<Span> = call.inputs.iter().map(span).collect();
            let results = spans(&call.results);
            match (&call.cotangent, &call.directions) {
                (None, _) => match results.first().copied().flatten() {
                    Some(out) => op.forward(at, &inputs, out, stream),
                    None => Err(acerust::Error::Argument("out: it is missing".into())),
                },
                (Some(cotangent), None) => op.backward(at, &inputs, span(cotangent), &results, stream),
                (Some(cotangent), Some(directions)) => {
                    op.double_backward(at, &inputs, span(cotangent), &spans(directions), &results, stream)
                }
            }
        });
        done.map_err(raise)
    }
}
