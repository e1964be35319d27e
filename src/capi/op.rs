//! Equivariant operations: few functions for all of them, with named arguments.

use super::buffer;
use super::handle::Table;
use super::passes::{Call, Passes, passes};
use super::plan::device_of;
use super::status::{Failure, Result, guard};
use crate::ops::{IndexPort, Pass, Port, Sizes, Spec};
use std::ffi::{c_char, c_void};

/// An equivariant operation, made from a descriptor for the processor or a CUDA device.
#[allow(non_camel_case_types)]
pub struct acerust_op(());

/// A named argument or result. `data` has `length` numbers of the operation's `storage`, row-major, in the memory of the device that the operation
/// is for; indices are `uint32_t`, and always in the memory of the host.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types)]
pub struct acerust_array {
    pub name: *const c_char,
    pub data: *mut c_void,
    pub length: usize,
}

static OPS: Table<Box<dyn Passes>> = Table::new("operation");

/// An operation from its descriptor, such as `{"operation": {"linear": {"irreps_in": "128x0e", "irreps_out": "64x0e"}}, "storage": "f32"}`.
///
/// `operation` is one of `harmonics` (lmax, normalization: component or orthonormal), `linear` (irreps_in, irreps_out, bias, species),
/// `channelwise` (irreps_in1, irreps_in2, targets, shared_weights, convolution), `fully_connected` (irreps_in1, irreps_in2, irreps_out,
/// shared_weights, convolution), `contraction` (irreps_in, irreps_out, correlation, species, basis, projection), `radial` (r_max, basis,
/// cutoff, transform), `mlp` (widths, activation, constant, layer_norm) and `gate` (scalars, gated, activation, constant,
/// gate_activation, gate_constant). `layout` and `layout_out` are ir_mul (as kernels have it) or mul_ir, `storage` is f64, f32, f16
/// or bf16, `convention` is O3_e3nn or O3, `arithmetic` is full, or, for `linear` and `mlp` on CUDA devices, tf32 or bf16, on tensor cores.
///
/// @param json The descriptor, UTF-8.
/// @param device `ACERUST_CPU` or `ACERUST_CUDA`.
/// @param index Of the CUDA device; 0 for the processor.
/// @param out The operation; to be freed with `acerust_op_free`.
/// @return `ACERUST_ERROR_DEVICE` for a device that is missing, `ACERUST_ERROR_ARGUMENT` for an operation that cannot be.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_op_new(
    json: *const c_char,
    device: i32,
    index: i32,
    out: *mut *mut acerust_op,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let (json, out) = (buffer::text("json", json)?, buffer::result("out", out)?);
        let json = json.to_str().map_err(|_| Failure::argument("json is not UTF-8"))?;
        let mut reader = serde_json::Deserializer::from_str(json);
        let spec: Spec = serde_path_to_error::deserialize(&mut reader)
            .map_err(|e| Failure::argument(format!("json: {}: {}", e.path(), e.inner())))?;
        reader.end().map_err(|e| Failure::argument(format!("json: {e}")))?;
        OPS.insert(passes(&spec, device_of(device, index)?)?, out);
        Ok(())
    })
}

/// Frees an operation, as soon as no other thread works with it and its device has done what was queued. Null is ignored.
///
/// @return `ACERUST_ERROR_HANDLE` for a handle that was freed before.
#[unsafe(no_mangle)]
pub extern "C" fn acerust_op_free(op: *mut acerust_op) -> i32 {
    guard(|| OPS.remove(op))
}

/// Names and shapes of arguments and result, and bytes of scratch memory, as JSON:
/// `{"inputs": [{"name": …, "rows": …, "width": …}], "indices": [{"name": …, "rows": …, "bound": …}], "output": {…}, "scratch":
/// {"forward": …, "backward": …, "double_backward": …}}`. Scratch memory on devices grows to what it takes, once for each stream, and counts 0 here.
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
        let (op, sizes) = (OPS.get(op)?, Sizes { rows, nodes });
        sizes.check()?;
        buffer::return_text(&describe(&**op, sizes), buffer, length, needed)
    })
}

/// The result, into the array `out`. On a CUDA device passes are queued and not waited for: arrays stay until `acerust_op_wait`, which also tells
/// whether results are finite, or until the stream is done by another account. Indices are read before a call returns; those of the last
/// graphs are kept on the device, so that calls with the same ones copy nothing.
///
/// @param rows Rows; the edges of a convolution.
/// @param nodes Nodes of a convolution, 0 for other operations.
/// @param arrays,n_arrays Every input and every index by its name, and `out`. Results overlap nothing.
/// @param stream Of the operation's CUDA device (`CUstream` or `cudaStream_t`): what writes the inputs was queued there before; null is the default
/// stream. The processor has none.
/// @return `ACERUST_ERROR_ARGUMENT` where a name is missing or unknown, a length is wrong, an index is out of range, an address is in other memory
/// than the operation's, a result overlaps another array, or, on the processor, the result would not be finite.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_op_forward(
    op: *const acerust_op,
    rows: usize,
    nodes: usize,
    arrays: *const acerust_array,
    n_arrays: usize,
    stream: *mut c_void,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe { run(Pass::Forward, op, Sizes { rows, nodes }, arrays, n_arrays, stream) })
}

/// The gradients of `Σ cotangent · out` with respect to the inputs.
///
/// @param op,rows,nodes,stream As for `acerust_op_forward`.
/// @param arrays,n_arrays Every input and every index by its name, `cotangent`, and for every gradient that is wanted `grad.` and the
/// name of its input.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_op_backward(
    op: *const acerust_op,
    rows: usize,
    nodes: usize,
    arrays: *const acerust_array,
    n_arrays: usize,
    stream: *mut c_void,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe { run(Pass::Backward, op, Sizes { rows, nodes }, arrays, n_arrays, stream) })
}

/// The gradients of `Σ grad · dir`, of the gradients along directions, with respect to the inputs and the cotangent.
///
/// @param op,rows,nodes,stream As for `acerust_op_forward`.
/// @param arrays,n_arrays Every input and every index by its name, `cotangent`, `dir.` and the name of an input for every direction that
/// is not zero, and what is wanted of `second.` with the name of an input and `second.cotangent`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_op_double_backward(
    op: *const acerust_op,
    rows: usize,
    nodes: usize,
    arrays: *const acerust_array,
    n_arrays: usize,
    stream: *mut c_void,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe { run(Pass::DoubleBackward, op, Sizes { rows, nodes }, arrays, n_arrays, stream) })
}

/// Waits for what was queued on a stream of a CUDA device. On the processor there is nothing to wait for.
///
/// @param stream As for `acerust_op_forward`. What the last call on it read is still there.
/// @return `ACERUST_ERROR_ARGUMENT` where a result of the calls on this stream since the last wait is not finite; the message names the argument that
/// is not, where the last call has one. `ACERUST_ERROR_DEVICE` for failures of the device.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_op_wait(op: *const acerust_op, stream: *mut c_void) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe { OPS.get(op)?.wait(stream) })
}

/// # Safety
/// The promise of the module.
unsafe fn run(
    pass: Pass,
    op: *const acerust_op,
    sizes: Sizes,
    arrays: *const acerust_array,
    n_arrays: usize,
    stream: *mut c_void,
) -> Result {
    let op = OPS.get(op)?;
    sizes.check()?;
    // SAFETY: there are `n_arrays` of them, with names and data as the caller says; the stream is alive.
    unsafe {
        let call = Call::new(pass, &**op, sizes, buffer::input("arrays", arrays, n_arrays)?)?;
        op.run(&call, stream)
    }
}

fn describe(op: &dyn Passes, sizes: Sizes) -> String {
    let ports = op.ports();
    let port = |p: &Port| serde_json::json!({"name": p.name, "rows": p.n_rows(sizes), "width": p.width});
    let index = |p: &IndexPort| serde_json::json!({"name": p.name, "rows": sizes.rows, "bound": p.bound.unwrap_or(sizes.nodes)});
    let description = serde_json::json!({
        "inputs": ports.inputs.iter().map(port).collect::<Vec<_>>(),
        "indices": ports.indices.iter().map(index).collect::<Vec<_>>(),
        "output": port(&ports.output),
        "scratch": {
            "forward": op.scratch(sizes, Pass::Forward),
            "backward": op.scratch(sizes, Pass::Backward),
            "double_backward": op.scratch(sizes, Pass::DoubleBackward),
        },
    });
    description.to_string()
}
