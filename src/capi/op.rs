//! Equivariant operations: few functions for all of them, with named arguments.

use super::buffer;
use super::handle::Table;
use super::status::{Failure, Result, guard};
use crate::dtype::{Dtype, Storage};
use crate::ops::{Args, Op, Pass, Sizes, Spec, Workspace};
use crate::shared::check;
use half::{bf16, f16};
use std::ffi::{c_char, c_void};
use std::sync::{Mutex, PoisonError};

/// An equivariant operation, made from a descriptor.
#[allow(non_camel_case_types)]
pub struct acerust_op(());

/// A named argument or result. `data` has `length` numbers of the operation's `storage`, row-major; indices are `uint32_t`.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types)]
pub struct acerust_array {
    pub name: *const c_char,
    pub data: *mut c_void,
    pub length: usize,
}

/// One operation in its type of numbers, with scratch memory that calls take and give back.
struct Typed<S: Storage> {
    op: Op<S>,
    workspaces: Mutex<Vec<Workspace>>,
}

enum AnyOp {
    F64(Typed<f64>),
    F32(Typed<f32>),
    F16(Typed<f16>),
    Bf16(Typed<bf16>),
}

macro_rules! for_type {
    ($any:expr, $op:ident => $run:expr) => {
        match $any {
            AnyOp::F64($op) => $run,
            AnyOp::F32($op) => $run,
            AnyOp::F16($op) => $run,
            AnyOp::Bf16($op) => $run,
        }
    };
}

static OPS: Table<AnyOp> = Table::new("operation");

/// An operation from its descriptor, such as `{"operation": {"linear": {"irreps_in": "128x0e", "irreps_out": "64x0e"}}, "storage": "f32"}`.
///
/// `operation` is one of `harmonics` (lmax, normalization: component or orthonormal), `linear` (irreps_in, irreps_out, bias, species),
/// `channelwise` (irreps_in1, irreps_in2, targets, shared_weights, convolution), `fully_connected` (irreps_in1, irreps_in2, irreps_out,
/// shared_weights, convolution), `contraction` (irreps_in, irreps_out, correlation, species, basis, projection), `radial` (r_max, basis,
/// cutoff, transform), `mlp` (widths, activation, constant, layer_norm) and `gate` (scalars, gated, activation, constant,
/// gate_activation, gate_constant). `layout` and `layout_out` are ir_mul (as kernels have it) or mul_ir, `storage` is f64, f32, f16
/// or bf16, `convention` is O3_e3nn or O3, `arithmetic` is full (tf32 and bf16, on tensor cores, are for CUDA devices, from Rust).
///
/// @param json The descriptor, UTF-8.
/// @param out The operation; to be freed with `acerust_op_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_op_new(json: *const c_char, out: *mut *mut acerust_op) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let (json, out) = (buffer::text("json", json)?, buffer::result("out", out)?);
        let json = json.to_str().map_err(|_| Failure::argument("json is not UTF-8"))?;
        let mut reader = serde_json::Deserializer::from_str(json);
        let spec: Spec = serde_path_to_error::deserialize(&mut reader)
            .map_err(|e| Failure::argument(format!("json: {}: {}", e.path(), e.inner())))?;
        reader.end().map_err(|e| Failure::argument(format!("json: {e}")))?;
        let op = match spec.storage {
            Dtype::F64 => AnyOp::F64(Typed::new(&spec)?),
            Dtype::F32 => AnyOp::F32(Typed::new(&spec)?),
            Dtype::F16 => AnyOp::F16(Typed::new(&spec)?),
            Dtype::Bf16 => AnyOp::Bf16(Typed::new(&spec)?),
        };
        OPS.insert(op, out);
        Ok(())
    })
}

/// Frees an operation, as soon as no other thread works with it. Null is ignored.
///
/// @return `ACERUST_ERROR_HANDLE` for a handle that was freed before.
#[unsafe(no_mangle)]
pub extern "C" fn acerust_op_free(op: *mut acerust_op) -> i32 {
    guard(|| OPS.remove(op))
}

/// Names and shapes of arguments and result, and bytes of scratch memory, as JSON:
/// `{"inputs": [{"name": …, "rows": …, "width": …}], "indices": [{"name": …, "rows": …, "bound": …}], "output": {…}, "scratch":
/// {"forward": …, "backward": …, "double_backward": …}}`.
///
/// @param rows,nodes As for `acerust_op_forward`.
/// @param buffer,length,needed The text, with a NUL at the end; null where it, or the bytes it needs, are not wanted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_op_sizes(
    op: *const acerust_op,
    rows: usize,
    nodes: usize,
    buffer: *mut c_char,
    length: usize,
    needed: *mut usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let sizes = sizes(rows, nodes)?;
        let text = for_type!(&*OPS.get(op)?, op => op.describe(sizes));
        buffer::return_text(&text, buffer, length, needed)
    })
}

/// The result, into the array `out`.
///
/// @param rows Rows; the edges of a convolution.
/// @param nodes Nodes of a convolution, 0 for other operations.
/// @param arrays,n_arrays Every input and every index by its name, and `out`. Results overlap nothing.
/// @return `ACERUST_ERROR_ARGUMENT` where a name is missing or unknown, a length is wrong, an index is out of range, a result overlaps
/// another array, or the result would not be finite.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_op_forward(
    op: *const acerust_op,
    rows: usize,
    nodes: usize,
    arrays: *const acerust_array,
    n_arrays: usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe { run(Pass::Forward, op, rows, nodes, arrays, n_arrays) })
}

/// The gradients of `Σ cotangent · out` with respect to the inputs.
///
/// @param op,rows,nodes As for `acerust_op_forward`.
/// @param arrays,n_arrays Every input and every index by its name, `cotangent`, and for every gradient that is wanted `grad.` and the
/// name of its input.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_op_backward(
    op: *const acerust_op,
    rows: usize,
    nodes: usize,
    arrays: *const acerust_array,
    n_arrays: usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe { run(Pass::Backward, op, rows, nodes, arrays, n_arrays) })
}

/// The gradients of `Σ grad · dir`, of the gradients along directions, with respect to the inputs and the cotangent.
///
/// @param op,rows,nodes As for `acerust_op_forward`.
/// @param arrays,n_arrays Every input and every index by its name, `cotangent`, `dir.` and the name of an input for every direction that
/// is not zero, and what is wanted of `second.` with the name of an input and `second.cotangent`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_op_double_backward(
    op: *const acerust_op,
    rows: usize,
    nodes: usize,
    arrays: *const acerust_array,
    n_arrays: usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe { run(Pass::DoubleBackward, op, rows, nodes, arrays, n_arrays) })
}

fn sizes(rows: usize, nodes: usize) -> Result<Sizes> {
    match rows.max(nodes) < u32::MAX as usize {
        true => Ok(Sizes { rows, nodes }),
        false => Err(Failure::argument(format!("{rows} rows and {nodes} nodes are too many"))),
    }
}

unsafe fn run(
    pass: Pass,
    op: *const acerust_op,
    rows: usize,
    nodes: usize,
    arrays: *const acerust_array,
    n_arrays: usize,
) -> Result {
    let (op, sizes) = (OPS.get(op)?, sizes(rows, nodes)?);
    // SAFETY: `n_arrays` of them by the caller's word, the promise of the module.
    let arrays = unsafe { buffer::input("arrays", arrays, n_arrays) }?;
    // SAFETY: names and data of the arrays are what the caller says they are; lengths are checked against the operation's.
    for_type!(&*op, op => unsafe { op.run(pass, sizes, &mut Arrays::new(arrays)?) })
}

/// The arrays of a call, each to be taken once.
struct Arrays<'a> {
    names: Vec<&'a str>,
    arrays: &'a [acerust_array],
    taken: Vec<bool>,
    /// Addresses of what is read, and of what is written.
    reads: Vec<(usize, usize, &'a str)>,
    writes: Vec<(usize, usize, &'a str)>,
}

impl<'a> Arrays<'a> {
    /// # Safety
    /// Names are strings.
    unsafe fn new(arrays: &'a [acerust_array]) -> Result<Arrays<'a>> {
        let mut names = Vec::new();
        for array in arrays {
            // SAFETY: the caller's names are strings that end.
            let name = unsafe { buffer::text("name of an array", array.name) }?;
            let name = name.to_str().map_err(|_| Failure::argument("name of an array: not UTF-8"))?;
            if names.contains(&name) {
                return Err(Failure::argument(format!("{name}: it is there twice")));
            }
            names.push(name);
        }
        Ok(Arrays { names, arrays, taken: vec![false; arrays.len()], reads: vec![], writes: vec![] })
    }

    fn find<T>(&mut self, name: &str, write: bool) -> Result<Option<(*mut T, usize)>> {
        let Some(k) = self.names.iter().position(|n| *n == name) else { return Ok(None) };
        self.taken[k] = true;
        let (data, length) = (self.arrays[k].data.cast::<T>(), self.arrays[k].length);
        if length > 0 {
            check(name, data, length)?;
            let to = if write { &mut self.writes } else { &mut self.reads };
            to.push((data.addr(), data.addr() + length * size_of::<T>(), self.names[k]));
        }
        Ok(Some((data, length)))
    }

    /// # Safety
    /// As `buffer::input`.
    unsafe fn read<T>(&mut self, name: &str) -> Result<Option<&'a [T]>> {
        Ok(self.find::<T>(name, false)?.map(|(data, n)| match n {
            0 => &[][..],
            // SAFETY: checked, and valid by the caller's word.
            n => unsafe { std::slice::from_raw_parts(data, n) },
        }))
    }

    unsafe fn needed<T>(&mut self, name: &str) -> Result<&'a [T]> {
        // SAFETY: the caller's arrays are as long as it says, the promise of the module.
        unsafe { self.read(name) }?.ok_or_else(|| Failure::argument(format!("{name}: it is missing")))
    }

    /// Where a result goes; to be made a slice of after [`Arrays::finish`].
    fn write<T>(&mut self, name: &str) -> Result<Option<(*mut T, usize)>> {
        self.find(name, true)
    }

    /// No result overlaps anything, and nothing is left over.
    fn finish(&self) -> Result {
        if let Some(k) = self.taken.iter().position(|t| !t) {
            return Err(Failure::argument(format!("{}: unknown here", self.names[k])));
        }
        for (k, a) in self.writes.iter().enumerate() {
            for b in self.reads.iter().chain(&self.writes[k + 1..]) {
                if a.0 < b.1 && b.0 < a.1 {
                    return Err(Failure::argument(format!("{} overlaps {}", a.2, b.2)));
                }
            }
        }
        Ok(())
    }
}

/// # Safety
/// Checked, writable and nobody else's.
unsafe fn slice<'a, T>((data, n): (*mut T, usize)) -> &'a mut [T] {
    match n {
        0 => &mut [],
        // SAFETY: the caller's word.
        n => unsafe { std::slice::from_raw_parts_mut(data, n) },
    }
}

impl<S: Storage> Typed<S> {
    fn new(spec: &Spec) -> Result<Typed<S>> {
        Ok(Typed { op: Op::new(spec)?, workspaces: Mutex::default() })
    }

    fn describe(&self, sizes: Sizes) -> String {
        let ports = self.op.ports();
        let port =
            |p: &crate::ops::Port| serde_json::json!({"name": p.name, "rows": p.n_rows(sizes), "width": p.width});
        let index = |p: &crate::ops::IndexPort| serde_json::json!({"name": p.name, "rows": sizes.rows, "bound": p.bound.unwrap_or(sizes.nodes)});
        let scratch = |pass| self.op.scratch(sizes, pass);
        let description = serde_json::json!({
            "inputs": ports.inputs.iter().map(port).collect::<Vec<_>>(),
            "indices": ports.indices.iter().map(index).collect::<Vec<_>>(),
            "output": port(&ports.output),
            "scratch": {
                "forward": scratch(Pass::Forward),
                "backward": scratch(Pass::Backward),
                "double_backward": scratch(Pass::DoubleBackward),
            },
        });
        description.to_string()
    }

    /// # Safety
    /// Arrays are what the caller says.
    unsafe fn run(&self, pass: Pass, sizes: Sizes, arrays: &mut Arrays) -> Result {
        let ports = self.op.ports();
        let names: Vec<&str> = ports.inputs.iter().map(|p| &p.name[..]).collect();
        // SAFETY (of all): pointers and lengths are those of the caller; results are made slices of after it is known that they overlap nothing.
        unsafe {
            let inputs: Vec<&[S]> = names.iter().map(|n| arrays.needed(n)).collect::<Result<_>>()?;
            let indices: Vec<&[u32]> = ports.indices.iter().map(|p| arrays.needed(p.name)).collect::<Result<_>>()?;
            let args = Args { sizes, inputs: &inputs, indices: &indices };
            let prefixed = |prefix: &str| names.iter().map(|n| format!("{prefix}.{n}")).collect::<Vec<_>>();
            let cotangent: &[S] = if pass == Pass::Forward { &[] } else { arrays.needed("cotangent")? };
            let directions: Vec<Option<&[S]>> = match pass {
                Pass::DoubleBackward => prefixed("dir").iter().map(|n| arrays.read(n)).collect::<Result<_>>()?,
                _ => vec![],
            };
            let results = match pass {
                Pass::Forward => vec!["out".to_string()],
                Pass::Backward => prefixed("grad"),
                Pass::DoubleBackward => [prefixed("second"), vec!["second.cotangent".into()]].concat(),
            };
            let results: Vec<_> = results.iter().map(|n| arrays.write::<S>(n)).collect::<Result<_>>()?;
            arrays.finish()?;
            let mut results: Vec<Option<&mut [S]>> = results.into_iter().map(|r| r.map(|r| slice(r))).collect();
            let mut workspace = self.lock().pop().unwrap_or_default();
            let done = match pass {
                Pass::Forward => match results.pop().flatten() {
                    Some(out) => self.op.forward(&args, out, &mut workspace),
                    None => return Err(Failure::argument("out: it is missing")),
                },
                Pass::Backward => self.op.backward(&args, cotangent, &mut results, &mut workspace),
                Pass::DoubleBackward => {
                    self.op.double_backward(&args, cotangent, &directions, &mut results, &mut workspace)
                }
            };
            self.lock().push(workspace);
            Ok(done?)
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Workspace>> {
        self.workspaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
