//! Equivariant operations across the ABI, on the processor and on a CUDA device where `ACERUST_GPU` demands one.

use crate::call::*;
use crate::refused::REFUSED;
#[cfg(feature = "cuda")]
use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtr};
use std::ffi::{CString, c_void};
#[cfg(feature = "cuda")]
use std::sync::Arc;

type Pass = unsafe extern "C" fn(*const acerust_op, usize, usize, *const acerust_array, usize, *mut c_void) -> i32;

/// Where an operation works.
enum At {
    Host,
    /// Device 0, and a stream there.
    #[cfg(feature = "cuda")]
    Device(Arc<CudaStream>),
}

/// The processor, and where it is demanded the device, with a stream of the caller and the default one.
fn everywhere() -> Vec<At> {
    #[cfg(feature = "cuda")]
    if std::env::var_os("ACERUST_GPU").is_some_and(|v| v != "compile") {
        let context = CudaContext::new(0).expect("a device was demanded");
        let stream = context.new_stream().expect("a stream");
        return vec![At::Host, At::Device(stream), At::Device(context.default_stream())];
    }
    eprintln!("SKIPPED: no operation of the C ABI ran on a GPU: ACERUST_GPU=1 says that there is one");
    vec![At::Host]
}

/// Numbers where an operation works.
enum Memory<T> {
    Host(Vec<T>),
    #[cfg(feature = "cuda")]
    Device(CudaSlice<T>, usize),
}

impl<T: Copy + Default + 'static + DeviceWord> Memory<T> {
    fn address(&mut self) -> *mut c_void {
        match self {
            Memory::Host(x) => x.as_mut_ptr().cast(),
            #[cfg(feature = "cuda")]
            Memory::Device(x, _) => std::ptr::without_provenance_mut(x.device_ptr(x.stream()).0 as usize),
        }
    }

    fn len(&self) -> usize {
        match self {
            Memory::Host(x) => x.len(),
            #[cfg(feature = "cuda")]
            Memory::Device(_, n) => *n,
        }
    }

    fn get(&self) -> Vec<T> {
        match self {
            Memory::Host(x) => x.clone(),
            #[cfg(feature = "cuda")]
            Memory::Device(x, n) => x.stream().clone_dtoh(x).expect("a copy")[..*n].to_vec(),
        }
    }
}

#[cfg(feature = "cuda")]
use cudarc::driver::DeviceRepr as DeviceWord;
#[cfg(not(feature = "cuda"))]
trait DeviceWord {}
#[cfg(not(feature = "cuda"))]
impl<T> DeviceWord for T {}

impl At {
    fn make(&self, json: &str, out: &mut *mut acerust_op) -> i32 {
        let device = if matches!(self, At::Host) { ACERUST_CPU } else { ACERUST_CUDA };
        // SAFETY: a string and a place for a handle.
        unsafe { acerust_op_new(c(json).as_ptr(), device, 0, out) }
    }

    fn op(&self, json: &str) -> OwnedOp {
        let mut op = null_mut();
        ok!(self.make(json, &mut op));
        OwnedOp(op)
    }

    fn stream(&self) -> *mut c_void {
        match self {
            At::Host => null_mut(),
            #[cfg(feature = "cuda")]
            At::Device(stream) => stream.cu_stream().cast(),
        }
    }

    fn memory<T: Copy + Default + 'static + DeviceWord>(&self, x: &[T]) -> Memory<T> {
        match self {
            At::Host => Memory::Host(x.to_vec()),
            #[cfg(feature = "cuda")]
            At::Device(stream) => {
                let some = if x.is_empty() { &[T::default()][..] } else { x };
                Memory::Device(stream.clone_htod(some).expect("memory"), x.len())
            }
        }
    }

    /// The status of a pass and, if that is well, of waiting for it; nodes are as many as species or senders name.
    fn call(
        &self,
        f: Pass,
        op: &OwnedOp,
        [rows, nodes]: [usize; 2],
        arrays: &mut [(&str, &mut [f64])],
        indices: &[(&str, &[u32])],
    ) -> i32 {
        let mut places: Vec<_> = arrays.iter().map(|(_, x)| self.memory(x)).collect();
        let names: Vec<_> =
            arrays.iter().map(|(name, _)| c(name)).chain(indices.iter().map(|(name, _)| c(name))).collect();
        let numbers = places.iter_mut().map(|x| (x.address(), x.len()));
        let all = numbers.chain(indices.iter().map(|(_, x)| (x.as_ptr().cast_mut().cast(), x.len())));
        let all: Vec<_> = names.iter().zip(all).map(|(name, (data, length))| array(name, data, length)).collect();
        // SAFETY: names and data are alive.
        let status = unsafe {
            match f(op.0, rows, nodes, all.as_ptr(), all.len(), self.stream()) {
                ACERUST_OK => acerust_op_wait(op.0, self.stream()),
                status => status,
            }
        };
        arrays.iter_mut().zip(&places).for_each(|((_, x), from)| x.copy_from_slice(&from.get()));
        status
    }
}

fn array(name: &CString, data: *mut c_void, length: usize) -> acerust_array {
    acerust_array { name: name.as_ptr(), data, length }
}

const LINEAR: &str = r#"{"operation": {"linear": {"irreps_in": "2x0e", "irreps_out": "1x0e"}}}"#;
const INDEXED: &str = r#"{"operation": {"linear": {"irreps_in": "1x0e", "irreps_out": "1x0e", "species": 2}}}"#;

#[test]
fn an_operation_forwards_backwards_and_twice_backwards() {
    for at in everywhere() {
        let op = at.op(LINEAR);
        let s = 2f64.sqrt();
        let (mut x, mut w, mut out) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0], [0.0; 2]);
        ok!(at.call(acerust_op_forward, &op, [2, 0], &mut [("out", &mut out), ("w", &mut w), ("x", &mut x)], &[]));
        assert!((out[0] - 17.0 / s).abs() < 1e-14 && (out[1] - 39.0 / s).abs() < 1e-14);
        let (mut cotangent, mut grad) = ([1.0, 2.0], [0.0; 2]);
        let arrays: &mut [(&str, &mut [f64])] =
            &mut [("x", &mut x), ("w", &mut w), ("cotangent", &mut cotangent), ("grad.w", &mut grad)];
        ok!(at.call(acerust_op_backward, &op, [2, 0], arrays, &[]));
        assert!((grad[0] - 7.0 / s).abs() < 1e-14 && (grad[1] - 10.0 / s).abs() < 1e-14);
        let (mut dir, mut second) = ([1.0, 0.0], [0.0; 4]);
        let arrays: &mut [(&str, &mut [f64])] = &mut [
            ("x", &mut x),
            ("w", &mut w),
            ("cotangent", &mut cotangent),
            ("dir.w", &mut dir),
            ("second.x", &mut second),
            ("second.cotangent", &mut out),
        ];
        ok!(at.call(acerust_op_double_backward, &op, [2, 0], arrays, &[]));
        assert!((second[2] - 2.0 / s).abs() < 1e-14 && second[3] == 0.0 && (out[1] - 3.0 / s).abs() < 1e-14);
        // Nothing of nothing, without addresses.
        ok!(at.call(acerust_op_forward, &op, [0, 0], &mut [("out", &mut []), ("w", &mut w), ("x", &mut [])], &[]));
    }
}

/// More graphs than are kept, in turn, and one of them again: each call has its own.
#[test]
fn graphs_take_turns() {
    for at in everywhere() {
        let json = r#"{"operation": {"channelwise": {"irreps_in1": "1x0e", "irreps_in2": "0e", "targets": "0e", "convolution": true}}}"#;
        let op = at.op(json);
        let (mut x, mut y, mut w) = ([1.0, 2.0, 3.0, 4.0], [1.0; 4], [1.0; 4]);
        for k in [0_u32, 1, 2, 3, 4, 5, 5, 0, 3, 6, 2] {
            let sender = [0, 1, 2, 3].map(|i| (i * (1 + k % 3)) % 4);
            let receiver = [0, 1, 2, 3].map(|i| (i + k) % 4);
            let mut out = [0.0; 4];
            let arrays: &mut [(&str, &mut [f64])] =
                &mut [("x", &mut x), ("y", &mut y), ("w", &mut w), ("out", &mut out)];
            ok!(at.call(acerust_op_forward, &op, [4, 4], arrays, &[("sender", &sender), ("receiver", &receiver)]));
            let mut expected = [0.0; 4];
            sender.iter().zip(&receiver).for_each(|(&j, &i)| expected[i as usize] += x[j as usize]);
            assert_eq!(out, expected, "{k}");
        }
    }
}

#[test]
fn sizes_are_told() {
    for at in everywhere() {
        let op = at.op(LINEAR);
        let text = text(|buffer, length, needed| unsafe { acerust_op_sizes(op.0, 7, 0, buffer, length, needed) });
        let sizes: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(sizes["inputs"][0], serde_json::json!({"name": "x", "rows": 7, "width": 2}));
        assert_eq!(sizes["output"]["width"], 1);
        assert_eq!(sizes["scratch"]["forward"].as_u64().unwrap() > 0, matches!(at, At::Host));
    }
}

#[test]
fn what_is_wrong_is_refused_and_named() {
    for at in everywhere() {
        let refused = |message: &str, json: &str| {
            let mut op = null_mut();
            assert_eq!(at.make(json, &mut op), ACERUST_ERROR_ARGUMENT);
            assert!(last_error().contains(message), "{}", last_error());
            assert!(op.is_null());
        };
        for (operation, message) in REFUSED {
            refused(message, &format!(r#"{{"operation": {operation}}}"#));
        }
        refused("json", r#"{"operation": {"harmonics": {"lmax": 1}}} x"#);
        if matches!(at, At::Host) {
            let tensor = format!(r#"{}, "storage": "f32", "arithmetic": "tf32"}}"#, &LINEAR[..LINEAR.len() - 1]);
            refused("arithmetic: tf32 is for CUDA devices", &tensor);
        }

        let op = at.op(LINEAR);
        let (mut x, mut w, mut out) = ([1.0, 2.0], [5.0, 6.0], [0.0]);
        let fails = |message: &str, rows: usize, arrays: &mut [(&str, &mut [f64])]| {
            let status = at.call(acerust_op_forward, &op, [rows, 0], arrays, &[]);
            assert_eq!(status, ACERUST_ERROR_ARGUMENT, "{message}");
            assert_eq!(last_error(), format!("argument: {message}"));
        };
        fails("w: it is missing", 1, &mut [("x", &mut x), ("out", &mut out)]);
        fails("out: it is missing", 1, &mut [("x", &mut x), ("w", &mut w)]);
        fails("x: 2 numbers, expected 2 × 2", 2, &mut [("x", &mut x), ("w", &mut w), ("out", &mut out)]);
        fails("y: unknown here", 1, &mut [("x", &mut x), ("w", &mut w), ("out", &mut out), ("y", &mut [])]);
        fails("w: it is there twice", 1, &mut [("w", &mut x), ("w", &mut w), ("out", &mut out)]);
        fails(
            "w: NaN at 1, expected a finite number",
            1,
            &mut [("x", &mut x), ("w", &mut [1.0, f64::NAN]), ("out", &mut out)],
        );
        fails(
            "4294967295 rows and 0 nodes are too many",
            u32::MAX as usize,
            &mut [("x", &mut x), ("w", &mut w), ("out", &mut out)],
        );
        // What was told is over.
        ok!(at.call(acerust_op_forward, &op, [1, 0], &mut [("x", &mut x), ("w", &mut w), ("out", &mut out)], &[]));

        let op = at.op(INDEXED);
        let arrays: &mut [(&str, &mut [f64])] = &mut [("x", &mut [1.0]), ("w", &mut w), ("out", &mut out)];
        let status = at.call(acerust_op_forward, &op, [1, 0], arrays, &[("species", &[2])]);
        assert_eq!(status, ACERUST_ERROR_ARGUMENT);
        assert_eq!(last_error(), "argument: species: 2 at 0, expected less than 2");
    }
}

/// A result in the place of an argument, no address, one that is not aligned, one in other memory.
#[test]
fn addresses_are_looked_at() {
    for at in everywhere() {
        let op = at.op(INDEXED);
        let names = ["x", "w", "species", "out"].map(c);
        let (mut x, mut w, mut out) = (at.memory(&[1.0]), at.memory(&[5.0, 6.0]), at.memory(&[0.0]));
        let (species, mut elsewhere) = ([1_u32], [0.0]);
        let [x, w, out] = [x.address(), w.address(), out.address()];
        let species = species.as_ptr().cast_mut().cast::<c_void>();
        let call = |[x, w, species, out]: [*mut c_void; 4]| {
            let all = [
                array(&names[0], x, 1),
                array(&names[1], w, 2),
                array(&names[2], species, 1),
                array(&names[3], out, 1),
            ];
            // SAFETY: arrays that are wrong are refused before they are touched.
            unsafe { acerust_op_forward(op.0, 1, 0, all.as_ptr(), 4, at.stream()) }
        };
        let refused = |message: &str, arrays: [*mut c_void; 4]| {
            assert_eq!(call(arrays), ACERUST_ERROR_ARGUMENT, "{message}");
            assert_eq!(last_error(), format!("argument: {message}"));
        };
        ok!(call([x, w, species, out]));
        ok!(acerust_op_wait(op.0, at.stream()));
        refused("out overlaps w", [x, w, species, w.wrapping_byte_add(8)]);
        refused("out overlaps x", [x, w, species, x]);
        refused("out is null", [x, w, species, null_mut()]);
        refused("x is null", [null_mut(), w, species, out]);
        refused("species is null", [x, w, null_mut(), out]);
        let odd = x.wrapping_byte_add(4);
        refused(&format!("x at {odd:p} is not aligned to 8 bytes"), [odd, w, species, out]);
        if !matches!(at, At::Host) {
            let elsewhere = elsewhere.as_mut_ptr().cast::<c_void>();
            refused(&format!("x: {elsewhere:p} is no address of device 0"), [elsewhere, w, species, out]);
            refused(&format!("result out: {elsewhere:p} is no address of device 0"), [x, w, species, elsewhere]);
            refused(&format!("species: {w:p} is in the memory of a device, expected the host's"), [x, w, w, out]);
        }
    }
}

#[test]
fn devices_are_refused_that_are_not_there() {
    let mut op = null_mut();
    let json = c(LINEAR);
    // SAFETY: a string and a place for a handle.
    let mut new = |device, index| unsafe { acerust_op_new(json.as_ptr(), device, index, &mut op) };
    fails!(ACERUST_ERROR_ARGUMENT, "argument: no device 7", new(7, 0));
    fails!(ACERUST_ERROR_ARGUMENT, "argument: no device with the index 1", new(ACERUST_CPU, 1));
    fails!(ACERUST_ERROR_ARGUMENT, "argument: no device with the index -1", new(ACERUST_CUDA, -1));
    assert_eq!(new(ACERUST_CUDA, 97), ACERUST_ERROR_DEVICE);
    assert!(last_error().contains("CUDA"), "{}", last_error());
    assert!(op.is_null());
}
