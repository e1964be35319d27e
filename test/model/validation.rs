//! Each rule of the model file, by one file that breaks it and nothing else.

use super::small;
use acerust::model::Model;
use acerust::model::spec::*;
use serde_json::{Value, json};

/// Replaces the value at a JSON pointer and expects exactly this message, after `model: `.
fn check(pointer: &str, value: Value, message: &str) {
    let mut file = small::model();
    *file.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
    assert_eq!(small::refusal(&file.to_string()), format!("model: {message}"), "{pointer}");
}

#[test]
fn the_file() {
    check(
        "/format",
        json!("acerust-model/2"),
        "format: 'acerust-model/2' is unknown; this version reads 'acerust-model/1'",
    );
    check("/species", json!([]), "species: a model has at least one");
    check("/species", json!([14, 0]), "species[1]: 0 is not an atomic number in 1 … 118");
    check("/species", json!([119, 8]), "species[0]: 119 is not an atomic number in 1 … 118");
    check("/species", json!([14, 14]), "species[1]: Si repeats species[0]");
    check("/parts", json!([]), "parts: a model has at least one");
}

#[test]
fn parts() {
    check("/parts/0/E0", json!([1.0]), "parts[0].onebody.E0: expected 2 entries, got 1");
    check("/parts/1/rcut", json!(0.0), "parts[1].pair.rcut: 0 Å is not above 0 and at most 100");
    check("/parts/3/rcut", json!(-5.0), "parts[3].ace.rcut: -5 Å is not above 0 and at most 100");
    check("/parts/3/rcut", json!(100.5), "parts[3].ace.rcut: 100.5 Å is not above 0 and at most 100");
    check("/parts/1/weights", json!([[0.1, 0.2]]), "parts[1].pair.weights: expected 2 entries, got 1");
    check("/parts/3/weights/1", json!([0.1]), "parts[3].ace.weights[1]: expected 2 entries, got 1");
    check("/parts/1/weights", json!([[], []]), "parts[1].pair.weights[0]: a part has at least one basis function");
    check("/parts/4/pairs", json!([[1.8, 0.9]]), "parts[4].zbl.pairs: expected 3 entries, got 1");
    check("/parts/4/pairs/1/0", json!(0.0), "parts[4].zbl.pairs[1]: 0 Å is not above 0 and at most 100");
    for (width, name) in [(0.0, "0"), (1.9, "1.9")] {
        let message = format!("parts[4].zbl.pairs[0]: a stretch of {name} Å is not above 0 and at most 1.8");
        check("/parts/4/pairs/0/1", json!(width), &message);
    }
    let mut file = small::model();
    file["parts"][1]["radial"]["spec"] = json!([[1, 0]]);
    assert_eq!(small::refusal(&file.to_string()), "model: parts[1].pair.radial.spec: a pair part has none");
}

#[test]
fn transforms() {
    let t = |key: &str, value: Value, message: &str| {
        check(
            &format!("/parts/3/radial/transforms/1/{key}"),
            value,
            &format!("parts[3].ace.radial.transforms[1].{key}: {message}"),
        );
    };
    check("/parts/3/radial/transforms", json!([]), "parts[3].ace.radial.transforms: expected 3 entries, got 0");
    t("rin", json!(-0.5), "-0.5 Å is negative");
    t("req", json!(0.0), "0 Å is not above rin, 0 Å");
    t("pin", json!(0), "0 is not in 1 … 64");
    t("pin", json!(65), "65 is not in 1 … 64");
    t("pcut", json!(0), "0 is not in 1 … 64");
    t("pcut", json!(65), "65 is not in 1 … 64");
    t("pcut", json!(3), "3 is above pin, 2");
    t("a", json!(0.0), "0 is not positive");
    t("b1", json!(0.0), "0 takes all distances to one y");
    // s = 4e300, so s^pin and s^(pin − pcut) both overflow.
    let overflow = json!({"rin": 0.0, "req": 1e-300, "pin": 4, "pcut": 1, "a": 0.1, "b0": 1.0, "b1": -2.0});
    check(
        "/parts/3/radial/transforms/1",
        overflow,
        "parts[3].ace.radial.transforms[1].req: y is not finite at the cutoff, 4 Å",
    );
}

#[test]
fn envelopes() {
    let e = |pointer: &str, value: Value, message: &str| {
        let (part, kind) = (&pointer[..1], if pointer.starts_with('3') { "ace" } else { "pair" });
        let key = &pointer[2..];
        check(
            &format!("/parts/{part}/radial/envelopes/2/{key}"),
            value,
            &format!("parts[{part}].{kind}.radial.envelopes[2].{key}: {message}"),
        );
    };
    check("/parts/1/radial/envelopes", json!([]), "parts[1].pair.radial.envelopes: expected 3 entries, got 0");
    e("1/rcut", json!(4.5), "4.5 Å is above the cutoff of the part, 4 Å");
    e("1/rcut", json!(0.0), "0 Å is not above 0 and at most 100");
    e("1/p", json!(0), "0 is not in 1 … 64");
    e("2/rcut", json!(4.5), "4.5 Å is above the cutoff of the part, 4 Å");
    e("2/r0", json!(0.0), "0 Å is not above 0 and at most 100");
    e("2/p", json!(65), "65 is not in 1 … 64");
    e("3/p1", json!(0), "0 is not in 1 … 64");
    e("3/p2", json!(65), "65 is not in 1 … 64");
    e("3/x2", json!(-1.0), "-1 is not above x1, -1");
    e("3/x2", json!(1.5), "the envelope is not zero at the cutoff, where y = 1 lies between -1 and 1.5");
    e("3/x2", json!(1.0 + 2e-8), "the envelope is not zero at the cutoff, where y = 1 lies between -1 and 1.00000002");
}

#[test]
fn an_envelope_in_y_has_to_end_at_the_cutoff_of_its_part() {
    let mut file = small::model();
    file["parts"][3]["rcut"] = json!(3.0);
    let message = small::refusal(&file.to_string());
    assert!(message.starts_with("model: parts[3].ace.radial.envelopes[0].x2: the envelope is not zero at the cutoff"));
    // Beyond 4 Å y stays at 1: such a part only looks at more neighbours than it needs.
    file["parts"][3]["rcut"] = json!(6.0);
    Model::from_json(file.to_string()).unwrap();
    // Rounding in b0 or b1 is no fault.
    file["parts"][3]["rcut"] = json!(4.0);
    file["parts"][3]["radial"]["transforms"][0]["b0"] = json!(3.0 - 5e-9);
    Model::from_json(file.to_string()).unwrap();
}

#[test]
fn radial_functions() {
    let f = |pointer: &str, value: Value, message: &str| {
        check(
            &format!("/parts/3/radial/functions/{pointer}"),
            value,
            &format!("parts[3].ace.radial.functions.{message}"),
        );
    };
    f("A", json!([]), "A: 0 polynomials are not in 1 … 512");
    f("A", json!(vec![1.0; 513]), "A: 513 polynomials are not in 1 … 512");
    f("B", json!([1.0]), "B: expected 2 entries, got 1");
    f("C", json!([1.0, 1.0, 1.0]), "C: expected 2 entries, got 3");
    f("W", json!([]), "W: expected 4 entries, got 0");
    f("W/2", json!([[1.0, 1.0]]), "W[2]: expected 2 entries, got 1");
    f("W/2/1", json!([1.0]), "W[2][1]: expected 2 entries, got 1");

    let s = |pointer: &str, value: Value, message: &str| {
        check(
            &format!("/parts/2/radial/functions/tables{pointer}"),
            value,
            &format!("parts[2].pair.radial.functions.tables{message}"),
        );
    };
    s("", json!([]), ": expected 4 entries, got 0");
    s("/3/x0", json!(-0.5), "[3].x0: the grid from -0.5 to 1 does not cover y from -1 to 1");
    s("/3/x1", json!(0.5), "[3].x0: the grid from -1 to 0.5 does not cover y from -1 to 1");
    s("/3/x1", json!(-1.0), "[3].x0: the grid from -1 to -1 does not cover y from -1 to 1");
    s("/3/values", json!([[1.0, 1.0]]), "[3].values: a spline has at least 2 nodes, got 1");
    s("/3/values/2", json!([1.0]), "[3].values[2]: expected 2 entries, got 1");
    s("/3/slopes", json!([[1.0, 1.0], [1.0, 1.0]]), "[3].slopes: expected 3 entries, got 2");
    s("/3/slopes/2", json!([1.0]), "[3].slopes[2]: expected 2 entries, got 1");
}

#[test]
fn many_body_basis() {
    let a = |pointer: &str, value: Value, message: &str| {
        check(&format!("/parts/3/{pointer}"), value, &format!("parts[3].ace.{message}"));
    };
    a("radial/spec/1", json!([1, 33]), "radial.spec[1]: l = 33 is above 32");
    a("radial/spec/1", json!([1, 0]), "radial.spec[1]: [1, 0] repeats entry 0");
    a("radial/spec", json!([[1, 0]]), "radial.functions.W[0]: expected 1 entries, got 2");
    a("angular/lmax", json!(33), "angular.lmax: 33 is above 32");
    a("angular/lmax", json!(0), "A[1]: harmonic 1 is not below 1");
    a("A", json!([]), "A: a many-body part has at least one");
    a("A/2", json!([2, 2]), "A[2]: radial index 2 is not below 2");
    a("A/2", json!([1, 4]), "A[2]: harmonic 4 is not below 4");
    a("A/2", json!([0, 2]), "A[2]: radial function 0 has l = 0, harmonic 2 has l = 1");
    a("A/2", json!([1, 3]), "A[3]: [1, 3] repeats entry 2");
    a("AA", json!([]), "AA: a many-body part has at least one");
    a("AA/1", json!([]), "AA[1]: 0 factors are not in 1 … 8");
    a("AA/1", json!(vec![0; 9]), "AA[1]: 9 factors are not in 1 … 8");
    a("AA/1", json!([0, 4]), "AA[1]: factor 4 is not below 4");
    a("AA/1", json!([2, 2]), "AA[2]: [2, 2] repeats entry 1");
    a("C/shape", json!([3, 3]), "C.shape: expected 2 × 3, as many as weights and AA, got 3 × 3");
    a("C/shape", json!([2, 4]), "C.shape: expected 2 × 3, as many as weights and AA, got 2 × 4");
    a("C/cols", json!([0]), "C.cols: expected 3 entries, got 1");
    a("C/vals", json!([1.0]), "C.vals: expected 3 entries, got 1");
    a("C/rows/2", json!(2), "C.rows[2]: row 2 is not below 2");
    a("C/cols/2", json!(3), "C.cols[2]: column 3 is not below 3");
    a("C/cols/2", json!(1), "C.rows[2]: (1, 1) repeats entry 1");

    let mut file = small::model();
    file["parts"][3]["radial"]["spec"] = json!([]);
    file["parts"][3]["radial"]["functions"]["W"] = json!([[], [], [], []]);
    let message = "model: parts[3].ace.radial.spec: a many-body part has at least one radial function";
    assert_eq!(small::refusal(&file.to_string()), message);
}

#[test]
fn factors_are_sorted_before_they_are_compared() {
    let mut file = small::model();
    file["parts"][3]["AA"] = json!([[0], [3, 1], [2, 2]]);
    let small = Model::from_json(small::model().to_string()).unwrap();
    assert_eq!(Model::from_json(file.to_string()).unwrap(), small);
    file["parts"][3]["AA"] = json!([[3, 1], [1, 3], [2, 2]]);
    assert_eq!(small::refusal(&file.to_string()), "model: parts[3].ace.AA[1]: [1, 3] repeats entry 0");
}

/// JSON has no NaN, a spec may: every number of every kind is checked.
#[test]
fn numbers_are_finite() {
    type Edit = fn(&mut [PartSpec], f64);
    fn pair(parts: &mut [PartSpec], p: usize) -> &mut PairSpec {
        let PartSpec::Pair(pair) = &mut parts[p] else { panic!() };
        pair
    }
    fn ace(parts: &mut [PartSpec]) -> &mut AceSpec {
        let PartSpec::Ace(ace) = &mut parts[3] else { panic!() };
        ace
    }
    fn polynomial(parts: &mut [PartSpec]) -> [&mut [f64]; 4] {
        let FunctionsSpec::Polynomial { a, b, c, w } = &mut ace(parts).radial.functions else { panic!() };
        [a, b, c, &mut w[2][1]]
    }
    fn table(parts: &mut [PartSpec]) -> &mut SplineSpec {
        let FunctionsSpec::Spline { tables } = &mut pair(parts, 2).radial.functions else { panic!() };
        &mut tables[1]
    }
    fn onebody(parts: &mut [PartSpec]) -> &mut [f64] {
        let PartSpec::OneBody(one) = &mut parts[0] else { panic!() };
        &mut one.e0
    }
    fn envelope(parts: &mut [PartSpec]) -> [&mut f64; 3] {
        let EnvelopeSpec::Poly2sx { x1, x2, s, .. } = &mut ace(parts).radial.envelopes[1] else { panic!() };
        [x1, x2, s]
    }
    let edits: [(&str, Edit); 20] = [
        ("parts[0].onebody.E0[1]", |p, x| onebody(p)[1] = x),
        ("parts[1].pair.weights[1][0]", |p, x| pair(p, 1).weights[1][0] = x),
        ("parts[3].ace.weights[0][1]", |p, x| ace(p).weights[0][1] = x),
        ("parts[3].ace.radial.transforms[2].rin", |p, x| ace(p).radial.transforms[2].rin = x),
        ("parts[3].ace.radial.transforms[2].req", |p, x| ace(p).radial.transforms[2].req = x),
        ("parts[3].ace.radial.transforms[2].a", |p, x| ace(p).radial.transforms[2].a = x),
        ("parts[3].ace.radial.transforms[2].b0", |p, x| ace(p).radial.transforms[2].b0 = x),
        ("parts[3].ace.radial.transforms[2].b1", |p, x| ace(p).radial.transforms[2].b1 = x),
        ("parts[3].ace.radial.functions.A[1]", |p, x| polynomial(p)[0][1] = x),
        ("parts[3].ace.radial.functions.B[0]", |p, x| polynomial(p)[1][0] = x),
        ("parts[3].ace.radial.functions.C[0]", |p, x| polynomial(p)[2][0] = x),
        ("parts[3].ace.radial.functions.W[2][1][0]", |p, x| polynomial(p)[3][0] = x),
        ("parts[2].pair.radial.functions.tables[1].x0", |p, x| table(p).x0 = x),
        ("parts[2].pair.radial.functions.tables[1].x1", |p, x| table(p).x1 = x),
        ("parts[2].pair.radial.functions.tables[1].slopes[2][0]", |p, x| table(p).slopes[2][0] = x),
        ("parts[2].pair.radial.functions.tables[1].values[0][1]", |p, x| table(p).values[0][1] = x),
        ("parts[3].ace.radial.envelopes[1].x1", |p, x| *envelope(p)[0] = x),
        ("parts[3].ace.radial.envelopes[1].x2", |p, x| *envelope(p)[1] = x),
        ("parts[3].ace.radial.envelopes[1].s", |p, x| *envelope(p)[2] = x),
        ("parts[3].ace.C.vals[2]", |p, x| ace(p).c.vals[2] = x),
    ];
    let cutoffs: [(&str, Edit); 3] = [
        ("parts[1].pair.rcut", |p, x| pair(p, 1).rcut = x),
        ("parts[1].pair.radial.envelopes[0].rcut", |p, x| {
            pair(p, 1).radial.envelopes[0] = EnvelopeSpec::Poly1sr { rcut: x, p: 1 }
        }),
        ("parts[2].pair.radial.envelopes[0].r0", |p, x| {
            pair(p, 2).radial.envelopes[0] = EnvelopeSpec::Ace1Poly1sr { rcut: 3.0, r0: x, p: 1 }
        }),
    ];
    let small = Model::from_json(small::model().to_string()).unwrap();
    let refusal = |edit: Edit, x: f64| {
        let mut spec = small.clone().into_spec();
        edit(&mut spec.parts, x);
        Model::new(spec).expect_err("a number that is not finite").to_string()
    };
    for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for (path, edit) in edits {
            assert_eq!(refusal(edit, x), format!("model: {path}: {x} is not finite"));
        }
        for (path, edit) in cutoffs {
            assert_eq!(refusal(edit, x), format!("model: {path}: {x} Å is not above 0 and at most 100"));
        }
    }
}
