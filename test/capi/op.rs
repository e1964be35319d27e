//! Equivariant operations across the ABI.

use crate::call::*;
use crate::refused::REFUSED;

fn op(json: &str) -> OwnedOp {
    let mut op = null_mut();
    ok!(acerust_op_new(c(json).as_ptr(), &mut op));
    OwnedOp(op)
}

/// Arrays by name; the names live as long as the call.
fn call(
    f: unsafe extern "C" fn(*const acerust_op, usize, usize, *const acerust_array, usize) -> i32,
    op: &OwnedOp,
    rows: usize,
    arrays: &mut [(&str, &mut [f64])],
) -> i32 {
    let names: Vec<_> = arrays.iter().map(|(name, _)| c(name)).collect();
    let array = |(name, (_, x)): (&std::ffi::CString, &mut (&str, &mut [f64]))| acerust_array {
        name: name.as_ptr(),
        data: x.as_mut_ptr().cast(),
        length: x.len(),
    };
    let arrays: Vec<_> = names.iter().zip(arrays.iter_mut()).map(array).collect();
    // SAFETY: names and data are alive.
    unsafe { f(op.0, rows, 0, arrays.as_ptr(), arrays.len()) }
}

const LINEAR: &str = r#"{"operation": {"linear": {"irreps_in": "2x0e", "irreps_out": "1x0e"}}}"#;

#[test]
fn an_operation_forwards_backwards_and_twice_backwards() {
    let op = op(LINEAR);
    let s = 2f64.sqrt();
    let (mut x, mut w, mut out) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0], [0.0; 2]);
    ok!(call(acerust_op_forward, &op, 2, &mut [("out", &mut out), ("w", &mut w), ("x", &mut x)]));
    assert!((out[0] - 17.0 / s).abs() < 1e-14 && (out[1] - 39.0 / s).abs() < 1e-14);
    let (mut cotangent, mut grad) = ([1.0, 2.0], [0.0; 2]);
    let arrays: &mut [(&str, &mut [f64])] =
        &mut [("x", &mut x), ("w", &mut w), ("cotangent", &mut cotangent), ("grad.w", &mut grad)];
    ok!(call(acerust_op_backward, &op, 2, arrays));
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
    ok!(call(acerust_op_double_backward, &op, 2, arrays));
    assert!((second[2] - 2.0 / s).abs() < 1e-14 && second[3] == 0.0 && (out[1] - 3.0 / s).abs() < 1e-14);
}

#[test]
fn sizes_are_told() {
    let op = op(LINEAR);
    let text = text(|buffer, length, needed| unsafe { acerust_op_sizes(op.0, 7, 0, buffer, length, needed) });
    let sizes: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(sizes["inputs"][0], serde_json::json!({"name": "x", "rows": 7, "width": 2}));
    assert_eq!(sizes["output"]["width"], 1);
    assert!(sizes["scratch"]["forward"].as_u64().unwrap() > 0);
}

#[test]
fn what_is_wrong_is_refused_and_named() {
    let refused = |message: &str, json: &str| {
        let mut op = null_mut();
        // SAFETY: a string and a place for a handle.
        let status = unsafe { acerust_op_new(c(json).as_ptr(), &mut op) };
        assert_eq!(status, ACERUST_ERROR_ARGUMENT);
        assert!(last_error().contains(message), "{}", last_error());
        assert!(op.is_null());
    };
    for (operation, message) in REFUSED {
        refused(message, &format!(r#"{{"operation": {operation}}}"#));
    }
    refused("json", r#"{"operation": {"harmonics": {"lmax": 1}}} x"#);

    let op = op(LINEAR);
    let (mut x, mut w, mut out) = ([1.0, 2.0], [5.0, 6.0], [0.0]);
    let fails = |message: &str, rows: usize, arrays: &mut [(&str, &mut [f64])]| {
        assert_eq!(call(acerust_op_forward, &op, rows, arrays), ACERUST_ERROR_ARGUMENT, "{message}");
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

    // The result in the place of an argument.
    let name = [c("x"), c("w"), c("out")];
    let array = |k: usize, x: &mut [f64]| acerust_array {
        name: name[k].as_ptr(),
        data: x.as_mut_ptr().cast(),
        length: x.len(),
    };
    let arrays = [array(0, &mut x), array(1, &mut w), array(2, &mut w[1..])];
    fails!(ACERUST_ERROR_ARGUMENT, "argument: out overlaps w", acerust_op_forward(op.0, 1, 0, arrays.as_ptr(), 3));
    let arrays =
        [array(0, &mut x), array(1, &mut w), acerust_array { name: name[2].as_ptr(), data: null_mut(), length: 1 }];
    // SAFETY: the library refuses before it uses what is wrong.
    assert_eq!(unsafe { acerust_op_forward(op.0, 1, 0, arrays.as_ptr(), 3) }, ACERUST_ERROR_ARGUMENT);
    assert!(last_error().contains("out is null"), "{}", last_error());
}

#[test]
fn indices_out_of_range_are_refused() {
    let op = op(r#"{"operation": {"linear": {"irreps_in": "1x0e", "irreps_out": "1x0e", "species": 2}}}"#);
    let (mut x, mut w, mut out, mut species) = ([1.0], [5.0, 6.0], [0.0], [2_u32]);
    let names = [c("x"), c("w"), c("out"), c("species")];
    let array = |k: usize, data: *mut std::ffi::c_void, length| acerust_array { name: names[k].as_ptr(), data, length };
    let arrays = [
        array(0, x.as_mut_ptr().cast(), 1),
        array(1, w.as_mut_ptr().cast(), 2),
        array(2, out.as_mut_ptr().cast(), 1),
        array(3, species.as_mut_ptr().cast(), 1),
    ];
    let message = "argument: species: 2 at 0, expected less than 2";
    fails!(ACERUST_ERROR_ARGUMENT, message, acerust_op_forward(op.0, 1, 0, arrays.as_ptr(), 4));
}
