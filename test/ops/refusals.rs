//! What is wrong is refused, by name.

use crate::refused::REFUSED;
use acerust::ops::{Args, Arrays, Isa, Op, Sizes, Spec, Workspace};
use ndarray::{Array1, Array2, ArrayView2, s};

fn spec(operation: &str) -> Result<Spec, serde_json::Error> {
    serde_json::from_str(&format!(r#"{{"operation": {operation}}}"#))
}

#[test]
fn operations_that_cannot_be() {
    for (operation, message) in REFUSED {
        let error = match spec(operation) {
            Ok(spec) => Op::<f64>::new(&spec).err().map(|e| e.to_string()),
            Err(e) => Some(e.to_string()),
        };
        let error = error.unwrap_or_else(|| panic!("not refused: {operation}"));
        assert!(error.contains(message), "{error}, expected {message}");
    }
    // A text of some kilobytes does not take all time and memory.
    let many = |n: usize| vec!["0e"; n].join("+");
    let wide = vec!["11e"; 100].join("+");
    for (operation, message) in [
        (format!(r#"{{"linear": {{"irreps_in": "{}", "irreps_out": "0e"}}}}"#, many(20_000)), "20000 blocks"),
        (
            format!(r#"{{"linear": {{"irreps_in": "{0}", "irreps_out": "{0}"}}}}"#, many(2_000)),
            "4000000 pairs of blocks",
        ),
        (
            format!(r#"{{"channelwise": {{"irreps_in1": "{0}", "irreps_in2": "{0}", "targets": "0e"}}}}"#, many(500)),
            "product: 250000 paths",
        ),
        (
            format!(
                r#"{{"fully_connected": {{"irreps_in1": "{wide}", "irreps_in2": "{wide}", "irreps_out": "{wide}"}}}}"#
            ),
            "product: 1000000 paths",
        ),
    ] {
        let error = match spec(&operation) {
            Ok(spec) => Op::<f64>::new(&spec).expect_err("too much").to_string(),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(message), "{error}, expected {message}");
    }
    let start = cpu_time::ThreadTime::now();
    let blocks = format!(r#"{{"linear": {{"irreps_in": "{0}", "irreps_out": "{0}"}}}}"#, many(500));
    assert!(Op::<f64>::new(&spec(&blocks).unwrap()).is_ok());
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    let linear = spec(r#"{"linear": {"irreps_in": "0e", "irreps_out": "0e"}}"#).unwrap();
    let other = Op::<f32>::new(&linear).err().unwrap().to_string();
    assert_eq!(other, "argument: storage: f64, expected f32");
}

#[test]
fn arithmetic_that_is_not_to_be_had() {
    let refused = |operation: &str, arithmetic: &str| {
        let text = format!(r#"{{"operation": {operation}, "storage": "f32", "arithmetic": "{arithmetic}"}}"#);
        let spec: Spec = serde_json::from_str(&text).unwrap();
        Op::<f32>::new(&spec).err().map(|e| e.to_string())
    };
    let linear = r#"{"linear": {"irreps_in": "0e", "irreps_out": "0e"}}"#;
    assert_eq!(refused(linear, "full"), None);
    let message = "argument: arithmetic: tf32 is for CUDA devices, not for processors";
    assert_eq!(refused(linear, "tf32").as_deref(), Some(message));
    let message = "argument: arithmetic: bf16 is for linear and mlp";
    assert_eq!(refused(r#"{"harmonics": {"lmax": 1}}"#, "bf16").as_deref(), Some(message));
    let wide = spec(linear).map(|spec| Spec { arithmetic: acerust::ops::Arithmetic::Tf32, ..spec }).unwrap();
    let message = "argument: arithmetic: tf32 is for storage in f32, f16 or bf16, not f64";
    assert_eq!(Op::<f64>::new(&wide).err().map(|e| e.to_string()).as_deref(), Some(message));
}

const INDEXED: &str = r#"{"linear": {"irreps_in": "2x0e", "irreps_out": "1x0e", "species": 2}}"#;

/// A call with everything right, of which `change` makes something wrong.
struct Given {
    sizes: Sizes,
    inputs: Vec<Vec<f64>>,
    indices: Vec<Vec<u32>>,
    cotangent: Vec<f64>,
    directions: Vec<Option<Vec<f64>>>,
    gradients: Vec<usize>,
    out: usize,
}

#[track_caller]
fn refused(pass: usize, message: &str, change: impl Fn(&mut Given)) {
    let mut given = Given {
        sizes: Sizes { rows: 2, nodes: 0 },
        inputs: vec![vec![1.0; 4], vec![1.0; 4]],
        indices: vec![vec![0, 1]],
        cotangent: vec![1.0; 2],
        directions: vec![Some(vec![1.0; 4]); 2],
        gradients: vec![4, 4],
        out: 2,
    };
    change(&mut given);
    let op = Op::<f64>::with_isa(&spec(INDEXED).unwrap(), Isa::Portable).unwrap();
    let inputs: Vec<&[f64]> = given.inputs.iter().map(|x| &x[..]).collect();
    let indices: Vec<&[u32]> = given.indices.iter().map(|x| &x[..]).collect();
    let args = Args { sizes: given.sizes, inputs: &inputs, indices: &indices };
    let (mut out, mut workspace) = (vec![0.0; given.out], Workspace::new());
    let mut gradients: Vec<Vec<f64>> = given.gradients.iter().map(|&n| vec![0.0; n]).collect();
    let mut wanted: Vec<Option<&mut [f64]>> = gradients.iter_mut().map(|g| Some(&mut g[..])).collect();
    let done = match pass {
        0 => op.forward(&args, &mut out, &mut workspace),
        1 => op.backward(&args, &given.cotangent, &mut wanted, &mut workspace),
        _ => {
            let directions: Vec<Option<&[f64]>> = given.directions.iter().map(|d| d.as_deref()).collect();
            wanted.push(Some(&mut out));
            op.double_backward(&args, &given.cotangent, &directions, &mut wanted, &mut workspace)
        }
    };
    assert_eq!(done.err().map(|e| e.to_string()), Some(format!("argument: {message}")));
}

#[test]
fn shapes_that_do_not_match() {
    for pass in 0..3 {
        refused(pass, "x: 3 numbers, expected 2 × 2", |g| g.inputs[0].truncate(3));
        refused(pass, "w: 5 numbers, expected 2 × 2", |g| g.inputs[1].push(0.0));
        refused(pass, "inputs: 1 of them, expected 2: x, w", |g| g.inputs.truncate(1));
        refused(pass, "0 arguments of indices, expected 1", |g| g.indices.clear());
        refused(pass, "species: 1 indices, expected 2", |g| g.indices[0].truncate(1));
        refused(pass, "species: 2 at 1, expected less than 2", |g| g.indices[0][1] = 2);
        refused(pass, "4294967295 rows and 0 nodes are too many", |g| g.sizes.rows = u32::MAX as usize);
    }
    refused(0, "out: 3 numbers, expected 2 × 1", |g| g.out = 3);
    for pass in 1..3 {
        refused(pass, "cotangent: 1 numbers, expected 2 × 1", |g| g.cotangent.truncate(1));
    }
    refused(1, "gradient of w: 3 numbers, expected 2 × 2", |g| g.gradients[1] = 3);
    refused(1, "gradient of inputs: 1 of them, expected 2: x, w", |g| g.gradients.truncate(1));
    refused(2, "direction of w: 3 numbers, expected 2 × 2", |g| g.directions[1] = Some(vec![0.0; 3]));
    refused(2, "direction of inputs: 1 of them, expected 2: x, w", |g| g.directions.truncate(1));
    refused(2, "second gradient of x: 1 numbers, expected 2 × 2", |g| g.gradients[0] = 1);
    refused(2, "second gradient of cotangent: 1 numbers, expected 2 × 1", |g| g.out = 1);
    refused(2, "second gradient of inputs: 1 of them, expected 2: x, w", |g| g.gradients.truncate(1));
}

#[test]
fn numbers_that_are_none() {
    for pass in 0..3 {
        refused(pass, "w: NaN at 2, expected a finite number", |g| g.inputs[1][2] = f64::NAN);
    }
    refused(0, "x: inf at 0, expected a finite number", |g| g.inputs[0][0] = f64::INFINITY);
    refused(0, "out: a result of its shape exceeds f64", |g| {
        g.inputs[0][0] = 1e300;
        g.inputs[1][0] = 1e300;
    });
    refused(1, "cotangent: NaN at 1, expected a finite number", |g| g.cotangent[1] = f64::NAN);
    refused(2, "direction: NaN at 3, expected a finite number", |g| {
        g.directions[1] = Some(vec![0.0, 0.0, 0.0, f64::NAN])
    });
}

#[test]
fn arrays_are_taken_by_their_shape() {
    let op = Op::<f64>::new(&spec(INDEXED).unwrap()).unwrap();
    let numbers = |n: usize, m: usize| Array2::from_shape_fn((n, m), |(i, j)| 0.3 + i as f64 - 0.7 * j as f64);
    let (x, w, species) = (numbers(3, 2), numbers(2, 2), Array1::from(vec![1, 0, 1]));
    let (cotangent, direction) = (numbers(3, 1), numbers(3, 2));
    let arrays = Arrays { inputs: &[x.view(), w.view()], indices: &[species.view()] };
    let inputs = [x.as_slice().unwrap(), w.as_slice().unwrap()];
    let sizes = Sizes { rows: 3, nodes: 0 };
    let args = Args { sizes, inputs: &inputs, indices: &[species.as_slice().unwrap()] };
    let mut workspace = Workspace::new();

    let (mut a, mut b) = (Array2::zeros((3, 1)), [0.0; 3]);
    op.forward_arrays(arrays, a.view_mut(), &mut workspace).unwrap();
    op.forward(&args, &mut b, &mut workspace).unwrap();
    assert_eq!(a.as_slice().unwrap(), b);
    let (mut a, mut b) = (Array2::zeros((2, 2)), [0.0; 4]);
    op.backward_arrays(arrays, cotangent.view(), &mut [None, Some(a.view_mut())], &mut workspace).unwrap();
    let g = cotangent.as_slice().unwrap();
    op.backward(&args, g, &mut [None, Some(&mut b)], &mut workspace).unwrap();
    assert_eq!(a.as_slice().unwrap(), b);
    let along = [Some(direction.view()), None];
    let to = &mut [None, Some(a.view_mut()), None];
    op.double_backward_arrays(arrays, cotangent.view(), &along, to, &mut workspace).unwrap();
    let along = [direction.as_slice(), None];
    op.double_backward(&args, g, &along, &mut [None, Some(&mut b), None], &mut workspace).unwrap();
    assert_eq!(a.as_slice().unwrap(), b);

    let mut refused = |x: ArrayView2<f64>, message: &str| {
        let arrays = Arrays { inputs: &[x, w.view()], indices: &[species.view()] };
        let error = op.forward_arrays(arrays, Array2::zeros((3, 1)).view_mut(), &mut workspace).unwrap_err();
        assert_eq!(error.to_string(), format!("argument: {message}"));
    };
    refused(numbers(2, 3).view(), "x: 2 × 3, expected 3 × 2");
    refused(numbers(2, 3).t(), "x: an array with gaps, or not row-major");
    refused(numbers(6, 2).slice(s![..;2, ..]), "x: an array with gaps, or not row-major");
}
