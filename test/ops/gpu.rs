//! On a CUDA device: random operations against the processor, whatever is wanted of them, the same bits in every run; nothing of nothing;
//! what is wrong is refused, as on the processor. Nothing runs where `ACERUST_GPU` does not demand a device.

use crate::battery::{Case, Outcome, Passes, close_beside};
use crate::device::OnDevice;
use crate::random::{KINDS, Random};
use acerust::dtype::Storage;
use acerust::ops::cuda::{DeviceOp, Span};
use acerust::ops::harmonics::{Harmonics, Normalization};
use acerust::ops::{Args, Arithmetic, Isa, Layout, Operation, Sizes, Spec};
use half::{bf16, f16};

const LAYOUTS: [[Layout; 2]; 3] = [[Layout::IrMul; 2], [Layout::MulIr, Layout::IrMul], [Layout::IrMul, Layout::MulIr]];

/// Numbers that `S` has.
fn rounded<S: Storage>(mut case: Case) -> Case {
    let round = |x: &mut Vec<f64>| x.iter_mut().for_each(|x| *x = S::of(*x).to_f64());
    case.inputs.iter_mut().for_each(round);
    round(&mut case.cotangent);
    case.directions.iter_mut().flatten().for_each(round);
    case
}

fn parts(o: Outcome) -> Vec<Vec<f64>> {
    [vec![o.out], o.gradients, o.seconds].concat()
}

/// Against the processor in f64. What cancels, of numbers about 1, leaves a rest of rounding.
fn compare<S: Storage>(case: Case, layouts: [Layout; 2], tolerance: f64, rest: f64) {
    let case = rounded::<S>(case);
    let Some(ours) = case.run_on_device::<S>(layouts) else { return };
    let theirs = case.run::<f64>([Layout::MulIr; 2], Isa::detect());
    for (k, (a, b)) in parts(ours).iter().zip(&parts(theirs)).enumerate() {
        close_beside(rest, &format!("{}, {:?}, result {k}", case.name, S::DTYPE), a, b, tolerance);
    }
}

fn sizes(random: &mut Random) -> Sizes {
    Sizes { rows: [1, 7, 20, 150][random.below(4)], nodes: 1 + random.below(40) }
}

#[test]
fn devices_agree_with_the_processor() {
    for kind in 0..KINDS {
        for seed in 0..6 {
            let mut random = Random::new(40_000 + 100 * kind as u64 + seed);
            let sizes = sizes(&mut random);
            compare::<f64>(random.case(kind, sizes), LAYOUTS[seed as usize % 3], 1e-11, 1e-2);
        }
        for seed in 10..13 {
            let mut random = Random::new(40_000 + 100 * kind as u64 + seed);
            let sizes = sizes(&mut random);
            compare::<f32>(random.case(kind, sizes), LAYOUTS[seed as usize % 3], 8e-6, 1.0);
        }
        // Two roundings: sums of two products are in memory between them.
        let mut random = Random::new(40_000 + 100 * kind as u64 + 20);
        let sizes = Sizes { rows: 40, nodes: 9 };
        compare::<f16>(random.case(kind, sizes), LAYOUTS[kind % 3], 2.1 * f16::DTYPE.rounding(), 0.1);
        compare::<bf16>(random.case(kind, sizes), LAYOUTS[(kind + 1) % 3], 2.1 * bf16::DTYPE.rounding(), 0.1);
    }
}

/// Operations of a network, and how many roundings in a row their worst error comes to on tensor cores (0: they know none).
const OPERATIONS: [(&str, &str, f64); 9] = [
    ("`harmonics`", r#"{"harmonics": {"lmax": 3}}"#, 0.0),
    ("`linear`", r#"{"linear": {"irreps_in": "70x0e+33x1o", "irreps_out": "130x0e+40x1o"}}"#, 4.0),
    (
        "`linear`, indexed",
        r#"{"linear": {"irreps_in": "128x0e+128x1o", "irreps_out": "128x0e+128x1o", "species": 3}}"#,
        4.0,
    ),
    (
        "`channelwise`",
        r#"{"channelwise": {"irreps_in1": "48x0e+48x1o", "irreps_in2": "0e+1o+2e", "targets": "0e+1o+2e", "convolution": true}}"#,
        0.0,
    ),
    (
        "`fully_connected`",
        r#"{"fully_connected": {"irreps_in1": "9x0e+9x1o", "irreps_in2": "0e+1o", "irreps_out": "17x0e+17x1o", "convolution": true}}"#,
        0.0,
    ),
    (
        "`contraction`",
        r#"{"contraction": {"irreps_in": "40x0e+40x1o+40x2e", "irreps_out": "40x0e+40x1o", "correlation": 3, "species": 3}}"#,
        0.0,
    ),
    ("`radial`", r#"{"radial": {"r_max": 5.0, "basis": {"bessel": {"n": 8}}, "cutoff": 5}}"#, 0.0),
    ("`mlp`", r#"{"mlp": {"widths": [8, 64, 64, 130], "activation": "silu", "constant": 1.68}}"#, 20.0),
    (
        "`gate`",
        r#"{"gate": {"scalars": "40x0e", "gated": "24x1o+16x2e", "activation": "silu", "constant": 1.68,
            "gate_activation": "sigmoid", "gate_constant": 1.85}}"#,
        0.0,
    ),
];

/// The worst errors of results, gradients and second gradients on a device, each in parts of the largest number of its kind: against the processor in
/// f64, with the numbers that `S` has.
fn errors<S: Storage>(json: &str, arithmetic: Arithmetic) -> Option<[f64; 3]> {
    let operation: Operation = serde_json::from_str(json).unwrap();
    let case = || {
        let mut random = Random::new(43);
        let mut case = random.case_of(operation.clone(), Sizes { rows: 150, nodes: 20 });
        for (direction, input) in case.directions.iter_mut().zip(&case.inputs) {
            direction.get_or_insert_with(|| random.numbers(input.len()));
        }
        rounded::<S>(case)
    };
    let mut fast = case();
    fast.spec.arithmetic = arithmetic;
    let (ours, theirs) = (fast.run_on_device::<S>(LAYOUTS[0])?, case().run::<f64>([Layout::MulIr; 2], Isa::detect()));
    let passes =
        [(vec![ours.out], vec![theirs.out]), (ours.gradients, theirs.gradients), (ours.seconds, theirs.seconds)];
    Some(passes.map(|(ours, theirs)| {
        let error = |(a, b): (&Vec<f64>, &Vec<f64>)| {
            // What cancels, of numbers about 1, leaves a rest of rounding.
            let largest = b.iter().fold(0.1, |m: f64, x| m.max(x.abs()));
            a.iter().zip(b).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs())) / largest
        };
        ours.iter().zip(&theirs).map(error).fold(0.0, f64::max)
    }))
}

/// `… -- each_arithmetic --nocapture` prints the tables of `docs/operations.md`.
#[test]
fn each_arithmetic_is_as_good_as_its_roundings() {
    let text = |e: [f64; 3]| e.map(|e| format!("{e:.0e}")).join(", ");
    for (name, json, roundings) in OPERATIONS {
        let full = Arithmetic::Full;
        let halves = [errors::<f16>(json, full), errors::<bf16>(json, full)];
        let all = [errors::<f64>(json, full), errors::<f32>(json, full), halves[0], halves[1]];
        let kinds = [(Arithmetic::Tf32, 2_f64.powi(-11)), (Arithmetic::Bf16, 2_f64.powi(-8))];
        let on_tensor_cores = kinds.map(|(kind, _)| if roundings > 0.0 { errors::<f32>(json, kind) } else { None });
        let [Some(double), Some(single), Some(half), Some(brain)] = all else { continue };
        let all = [double, single, half, brain];
        println!("| {name} | {} |", all.map(text).join(" | "));
        // Of 16 bits two: sums of two products are in memory between them.
        let bounds = [1e-11, 8e-6, 2.1 * f16::DTYPE.rounding(), 2.1 * bf16::DTYPE.rounding()];
        for (errors, bound) in all.iter().zip(bounds) {
            assert!(errors.iter().all(|e| *e <= bound), "{name}: {errors:?}, more than {bound:e}");
        }
        let rounded = half.iter().all(|e| *e > 1e-5) && brain.iter().all(|e| *e > 1e-4);
        assert!(rounded, "{name}: nothing was rounded");
        for ((kind, rounding), errors) in kinds.into_iter().zip(on_tensor_cores) {
            let Some(errors) = errors else { continue };
            println!("{name} on tensor cores, {kind}: {}", text(errors));
            assert!(errors.iter().all(|&e| e <= roundings * rounding), "{kind}, {name}: {errors:?}");
            // Factors were rounded: else nothing was gained.
            assert!(errors[0] > rounding / 100.0, "{kind}, {name}: {errors:?}");
        }
    }
}

/// Small enough for tools that watch every access (`compute-sanitizer --tool racecheck`), and all ways through the kernels: whole pieces and parts,
/// several blocks, terms and species.
#[test]
fn few_rows_of_linear_maps() {
    let maps = [
        r#"{"linear": {"irreps_in": "16x0e+4x0e+16x1o", "irreps_out": "144x0e+16x1o", "bias": true}}"#,
        r#"{"linear": {"irreps_in": "7x0e+3x1o", "irreps_out": "5x0e+9x1o", "species": 2}}"#,
    ];
    for json in maps {
        let operation: Operation = serde_json::from_str(json).unwrap();
        let case = || Random::new(44).case_of(operation.clone(), Sizes { rows: 70, nodes: 0 });
        compare::<f32>(case(), LAYOUTS[0], 8e-6, 1.0);
        compare::<f64>(case(), LAYOUTS[1], 1e-11, 1e-2);
    }
}

#[test]
fn harmonics_of_high_degree_and_both_kinds() {
    let mut random = Random::new(77);
    for (lmax, normalization) in [(11, Normalization::Component), (3, Normalization::Orthonormal)] {
        let operation = Operation::Harmonics(Harmonics { lmax, normalization });
        compare::<f64>(random.case_of(operation, Sizes { rows: 50, nodes: 0 }), LAYOUTS[0], 1e-11, 1e-2);
    }
}

#[test]
fn nothing_comes_of_nothing_on_devices() {
    for kind in 0..KINDS {
        // The kernels of another test: the same seeds.
        let mut random = Random::new(40_000 + 100 * kind as u64);
        let sizes = sizes(&mut random);
        let like = random.case(kind, sizes);
        for sizes in [Sizes { rows: 0, nodes: 0 }, Sizes { rows: 0, nodes: 3 }, Sizes { rows: 1, nodes: 1 }] {
            compare::<f64>(random.case_of(like.spec.operation.clone(), sizes), LAYOUTS[0], 1e-11, 1e-2);
        }
    }
}

/// Twice the same, with other sizes between; and what is wanted alone is what it is among all.
#[test]
fn the_same_bits_whatever_is_wanted() {
    for kind in 0..KINDS {
        let mut random = Random::new(40_000 + 100 * kind as u64);
        let sizes = sizes(&mut random);
        let case = random.case(kind, sizes);
        let Some(mut device) = case.on_device::<f64>(LAYOUTS[0]) else { return };
        let ports = device.device.ports().clone();
        let one = parts(case.run_by::<f64>(LAYOUTS[0], &ports, &mut device));
        let larger = random.case_of(case.spec.operation.clone(), Sizes { rows: 400, nodes: 77 });
        larger.run_by::<f64>(LAYOUTS[0], &ports, &mut device);
        let two = parts(case.run_by::<f64>(LAYOUTS[0], &ports, &mut device));
        assert!(one == two, "{}", case.name);
        alone(&case, &device);
    }
}

/// Each gradient alone, against all.
fn alone(case: &Case, device: &OnDevice) {
    let inputs: Vec<&[f64]> = case.inputs.iter().map(|x| &x[..]).collect();
    let indices: Vec<&[u32]> = case.indices.iter().map(|x| &x[..]).collect();
    let args = Args { sizes: case.sizes, inputs: &inputs, indices: &indices };
    let at = device.prepare(&args).unwrap();
    let given = device.all(&inputs).unwrap();
    let cotangent = device.upload(&case.cotangent).unwrap();
    let along: Vec<_> = case.directions.iter().map(|d| d.as_ref().map(|d| device.upload(d).unwrap())).collect();
    let along: Vec<Option<Span>> = along.iter().map(|d| d.as_ref().map(|d| device.span(d))).collect();
    let run = |twice: bool, which: &dyn Fn(usize) -> bool| -> Vec<Vec<f64>> {
        let mut to: Vec<Vec<f64>> = case.inputs.iter().map(|x| vec![f64::NAN; x.len()]).collect();
        if twice {
            to.push(vec![f64::NAN; case.cotangent.len()]);
        }
        let places = device.all(&to).unwrap();
        let wanted: Vec<Option<Span>> =
            places.iter().enumerate().map(|(k, x)| which(k).then(|| device.span(x))).collect();
        let (inputs, g) = (device.spans(&given), device.span(&cotangent));
        // SAFETY: everything was uploaded above, and stays until `wait` is done.
        unsafe {
            match twice {
                false => device.device.backward(&at, &inputs, g, &wanted, 0),
                true => device.device.double_backward(&at, &inputs, g, &along, &wanted, 0),
            }
        }
        .unwrap();
        device.wait().unwrap();
        to.iter_mut().zip(&places).for_each(|(to, from)| device.download(from, to).unwrap());
        to
    };
    for twice in [false, true] {
        let all = run(twice, &|_| true);
        for (k, expected) in all.iter().enumerate() {
            let one = run(twice, &|q| q == k);
            assert!(one[k] == *expected, "{}: {k} alone, {twice}", case.name);
            assert!((0..all.len()).all(|q| q == k || one[q].iter().all(|x| x.is_nan())), "{}: {k}", case.name);
        }
    }
}

fn operation(json: &str) -> Option<OnDevice> {
    if std::env::var_os("ACERUST_GPU").is_none_or(|v| v == "compile") {
        return None;
    }
    let spec: Spec = serde_json::from_str(&format!(r#"{{"operation": {json}}}"#)).unwrap();
    Some(OnDevice { device: DeviceOp::new(&spec, 0).unwrap() })
}

#[test]
fn devices_name_what_is_not_finite() {
    let said = |json: &str, inputs: &[&[f64]], cotangent: Option<&[f64]>| -> Option<String> {
        let mut op = operation(json)?;
        let rows = inputs[0].len() / op.device.ports().inputs[0].width;
        let sizes = Sizes { rows, nodes: 0 };
        let args = Args { sizes, inputs, indices: &[] };
        let out_len = op.device.ports().output.len(sizes);
        let done = match cotangent {
            None => op.forward(&args, &mut vec![0.0; out_len]),
            Some(g) => op.backward(&args, g, &mut inputs.iter().map(|x| vec![0.0; x.len()]).collect::<Vec<_>>()),
        };
        // What was told is over.
        op.wait().unwrap();
        Some(done.err().map_or("fine".into(), |e| e.to_string()))
    };
    let linear = r#"{"linear": {"irreps_in": "2x0e", "irreps_out": "1x0e"}}"#;
    let check = |json: &str, inputs: &[&[f64]], cotangent: Option<&[f64]>, message: &str| {
        if let Some(said) = said(json, inputs, cotangent) {
            assert_eq!(said, message);
        }
    };
    check(linear, &[&[1.0; 4], &[1.0; 2]], None, "fine");
    check(linear, &[&[1.0; 4], &[1.0, f64::NAN]], None, "argument: w: NaN at 1, expected a finite number");
    check(
        linear,
        &[&[1.0; 4], &[1.0; 2]],
        Some(&[0.0, f64::INFINITY]),
        "argument: cotangent: inf at 1, expected a finite number",
    );
    check(linear, &[&[1e300; 4], &[1e300; 2]], None, "argument: out: a result of its shape exceeds f64");
    let harmonics = r#"{"harmonics": {"lmax": 2}}"#;
    check(harmonics, &[&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0]], None, "argument: vectors: row 1 has no direction");
    let radial = r#"{"radial": {"r_max": 2.0, "basis": {"bessel": {"n": 3}}}}"#;
    check(radial, &[&[1.0, 0.0]], None, "argument: r: 0 in row 1, expected a distance");
    let mlp = r#"{"mlp": {"widths": [2, 3, 1], "activation": "silu"}}"#;
    check(mlp, &[&[1.0, f64::NAN], &[1.0; 6], &[1.0; 3]], None, "argument: x: NaN at 1, expected a finite number");
}

#[test]
fn devices_refuse_what_the_processor_refuses() {
    let Some(op) = operation(r#"{"linear": {"irreps_in": "2x0e", "irreps_out": "1x0e", "species": 2}}"#) else {
        return;
    };
    let sizes = Sizes { rows: 2, nodes: 0 };
    let refused = |error: acerust::Result<()>, message: &str| {
        assert_eq!(error.err().map(|e| e.to_string()), Some(format!("argument: {message}")));
    };
    let prepared = |indices: &[&[u32]]| op.device.prepare(sizes, indices).map(|_| ());
    refused(prepared(&[]), "0 arguments of indices, expected 1");
    refused(prepared(&[&[0]]), "species: 1 indices, expected 2");
    refused(prepared(&[&[0, 2]]), "species: 2 at 1, expected less than 2");
    let at = op.device.prepare(sizes, &[&[0, 1]]).unwrap();
    let numbers = op.all(&[vec![1.0; 4], vec![1.0; 4], vec![0.0; 2]]).unwrap();
    let [x, w, out] = [0, 1, 2].map(|k| op.span(&numbers[k]));
    let shorter = |s: Span, len: usize| Span { len, ..s };
    // SAFETY: lengths are those of what was uploaded, or refused.
    let forward = |at, inputs: &[Span], out| unsafe { op.device.forward(at, inputs, out, 0) };
    forward(&at, &[x, w], out).unwrap();
    refused(forward(&at, &[shorter(x, 3), w], out), "x: 3 numbers, expected 2 × 2");
    refused(forward(&at, &[x], out), "inputs: 1 of them, expected 2: x, w");
    refused(forward(&at, &[x, w], shorter(out, 3)), "out: 3 numbers, expected 2 × 1");
    refused(forward(&at, &[x, w], Span { len: 2, ..w }), "result out overlaps w");
    let host = [0.0; 2];
    let address = host.as_ptr().addr() as u64;
    let message = format!("result out: {address:#x} is no address of device 0");
    refused(forward(&at, &[x, w], Span { address, len: 2 }), &message);
    // SAFETY: as above.
    let backward = |gradients: &[Option<Span>]| unsafe { op.device.backward(&at, &[x, w], out, gradients, 0) };
    refused(backward(&[None]), "gradient of inputs: 1 of them, expected 2: x, w");
    refused(backward(&[None, Some(shorter(w, 3))]), "gradient of w: 3 numbers, expected 2 × 2");
    refused(backward(&[Some(x), None]), "result x overlaps x");
    // SAFETY: as above.
    let twice =
        |seconds: &[Option<Span>]| unsafe { op.device.double_backward(&at, &[x, w], out, &[None, None], seconds, 0) };
    refused(twice(&[]), "0 second gradients, expected 3");
    refused(twice(&[None, None, Some(shorter(w, 1))]), "second gradient of cotangent: 1 numbers, expected 2 × 1");
    let other = operation(r#"{"linear": {"irreps_in": "2x0e", "irreps_out": "1x0e", "species": 2}}"#).unwrap();
    let elsewhere = other.device.prepare(sizes, &[&[0, 1]]).unwrap();
    refused(forward(&elsewhere, &[x, w], out), "what was prepared belongs to another operation");
    op.wait().unwrap();
}
