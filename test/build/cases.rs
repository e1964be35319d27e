//! Facts about ten recipes, computed independently.

use super::{ace, classes, orthonormal, pair};
use acerust::build::{self, Prior, Recipe};
use acerust::element;
use acerust::model::Model;
use acerust::model::spec::{EnvelopeSpec, FunctionsSpec, RadialSpec, TransformSpec};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn recipe(input: &Value) -> Recipe {
    let mut recipe = input.as_object().unwrap().clone();
    let preset = recipe.remove("kind").unwrap();
    let symbol = |z: &Value| element::symbol(z.as_u64().unwrap() as u8).unwrap();
    let elements: Vec<_> = recipe.remove("Z").unwrap().as_array().unwrap().iter().map(symbol).collect();
    recipe.insert("preset".into(), preset);
    recipe.insert("elements".into(), json!(elements));
    Recipe::from_json(&Value::Object(recipe).to_string()).unwrap()
}

fn hash(value: &Value) -> String {
    Sha256::digest(value.to_string()).iter().map(|b| format!("{b:02x}")).collect()
}

#[track_caller]
fn close(what: &str, a: f64, b: f64, tolerance: f64) {
    assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{what}: {a} instead of {b}");
}

fn check_lists(name: &str, model: &Model, input: &Value, expected: &Value) {
    let (ace, classes) = (ace(model), classes(ace(model)));
    let n = |key: &str| expected[key].as_u64().unwrap() as usize;
    let (n_aa, n_b) = (ace.aa.len(), ace.c.shape[0]);
    let counts = [("n_R", ace.radial.spec.len()), ("n_A", ace.a.len()), ("n_AA", n_aa), ("n_B", n_b)];
    for (key, found) in counts {
        assert_eq!(found, n(key), "{name}: {key}");
    }
    assert_eq!(model.length_basis(), n("n_params"), "{name}");
    assert_eq!(pair(model).weights[0].len(), n("pair_n_R"), "{name}");
    assert_eq!(classes.len(), n("n_classes"), "{name}");
    assert_eq!(ace.angular.lmax as usize, n("lmax_used"), "{name}");
    for (order, counts) in expected["per_order"].as_object().unwrap() {
        let of: Vec<_> = classes.iter().filter(|c| c.nl.len().to_string() == *order).collect();
        let rows: usize = of.iter().map(|c| c.rows.len()).sum();
        let products: usize = of.iter().map(|c| c.columns.len()).sum();
        assert_eq!(json!([of.len(), rows, products]), *counts, "{name}: order {order}");
    }
    assert_eq!(hash(&json!(ace.radial.spec)), expected["R_spec_sha256"], "{name}: R");
    let a = ace.a.iter().map(|&[t, lm]| {
        let [n, l] = ace.radial.spec[t as usize];
        json!([n, l, i64::from(lm) - i64::from(l * l + l)])
    });
    assert_eq!(hash(&Value::Array(a.collect())), expected["A_sha256"], "{name}: A");
    // There in the order of their levels.
    let (wn, wl) = match input["kind"].as_str() {
        Some("ace1") => (model.species().len() as f64, 1.0 / input["wL"].as_f64().unwrap_or(1.5)),
        _ => (1.0, 2.0 / 3.0),
    };
    let by_level = |nl: &[[u32; 2]]| {
        let mut nl = nl.to_vec();
        nl.sort_by(|a, b| {
            let level = |[n, l]: [u32; 2]| f64::from(n) / wn + f64::from(l) / wl;
            level(*a).total_cmp(&level(*b))
        });
        nl
    };
    let listed: Vec<_> = classes.iter().map(|c| json!([by_level(&c.nl), c.rows.len()])).collect();
    assert_eq!(hash(&json!(listed)), expected["classes_sha256"], "{name}: classes");
    assert_eq!(hash(&json!(ace.aa)), expected["AA_sha256"], "{name}: AA");
}

fn check_couplings(name: &str, model: &Model, expected: &Value) {
    let mut norms = Vec::new();
    let mut probes = Vec::new();
    for class in classes(ace(model)) {
        let norm = |row: &Vec<f64>| row.iter().map(|x| x * x).sum::<f64>().sqrt();
        let of: Vec<f64> = class.rows.iter().map(norm).collect();
        for (a, ra) in class.rows.iter().enumerate() {
            for rb in &class.rows[..a] {
                close(name, ra.iter().zip(rb).map(|(a, b)| a * b).sum(), 0.0, 1e-10);
            }
        }
        let aa = |k: &usize| ((*k + 1) as f64).cos();
        let probe = |q: &Vec<f64>| q.iter().zip(&class.columns).map(|(q, k)| q * aa(k)).sum::<f64>().powi(2);
        let probe: f64 = orthonormal(&class.rows).iter().map(probe).sum();
        for listed in expected["multi_row_classes"].as_array().unwrap() {
            if listed[0] == json!(class.nl) {
                assert_eq!(of.len() as u64, listed[1].as_u64().unwrap());
                of.iter()
                    .zip(listed[2].as_array().unwrap())
                    .for_each(|(a, b)| close(name, *a, b.as_f64().unwrap(), 1e-10));
                close(name, probe, listed[3].as_f64().unwrap(), 1e-10);
            }
        }
        norms.push(of);
        probes.push(probe);
    }
    close(name, norms.iter().flatten().sum(), expected["class_norms_sum"].as_f64().unwrap(), 1e-10);
    close(name, probes.iter().sum(), expected["span_probe_sum"].as_f64().unwrap(), 1e-10);
    for (k, probe) in expected["span_probe"].as_array().iter().flat_map(|p| p.iter()).enumerate() {
        close(&format!("{name}: span of class {k}"), probes[k], probe.as_f64().unwrap(), 1e-10);
    }
    for (k, row) in expected["row_norms"].as_array().iter().flat_map(|p| p.iter()).enumerate() {
        let row = crate::common::flat(row);
        norms[k].iter().zip(&row).for_each(|(a, b)| close(name, *a, *b, 1e-10));
    }
}

fn y_of(t: &TransformSpec, r: f64) -> f64 {
    let s = (r - t.rin) / (t.req - t.rin);
    let x = match r <= t.rin {
        true => 1.0,
        false => 1.0 / (1.0 + t.a * s.powi(t.pin as i32) / (1.0 + s.powi(t.pin as i32 - t.pcut as i32))),
    };
    (t.b1 * x + t.b0).clamp(-1.0, 1.0)
}

/// The polynomials, read off the functions that are one of them for neighbours of the species `j`.
fn functions(radial: &RadialSpec, n_species: usize, (i, j): (usize, usize), y: f64) -> Vec<f64> {
    match &radial.functions {
        FunctionsSpec::Polynomial { a, b, c, .. } => {
            let mut p = vec![a[0]];
            p.extend((a.len() > 1).then(|| a[1] * y + b[1]));
            (2..a.len()).for_each(|k| p.push((a[k] * y + b[k]) * p[k - 1] + c[k] * p[k - 2]));
            p
        }
        FunctionsSpec::Spline { tables } => {
            let t = &tables[i * n_species + j];
            let h = (t.x1 - t.x0) / (t.values.len() - 1) as f64;
            let k = (((y - t.x0) / h) as usize).min(t.values.len() - 2);
            let u = (y - t.x0) / h - k as f64;
            let at = |n: usize| {
                let (f0, f1, g0, g1) = (t.values[k][n], t.values[k + 1][n], h * t.slopes[k][n], h * t.slopes[k + 1][n]);
                f0 + u * (g0 + u * (3.0 * (f1 - f0) - 2.0 * g0 - g1 + u * (2.0 * (f0 - f1) + g0 + g1)))
            };
            let ns: Vec<u32> = match radial.spec.is_empty() {
                true => (1..=t.values[0].len() as u32).collect(),
                false => radial.spec.iter().filter(|s| s[1] == 0).map(|s| s[0]).collect(),
            };
            (0..ns.len()).filter(|&k| (ns[k] as usize - 1) % n_species == j).map(at).collect()
        }
        FunctionsSpec::Pace { .. } => unreachable!("the builder makes none of them"),
    }
}

fn check_radial(name: &str, model: &Model, expected: &Value) {
    let n_species = model.species().len();
    let index = |i: usize, j: usize| {
        let (i, j) = (i.min(j), i.max(j));
        i * n_species - i * (i + 1) / 2 + j
    };
    let (ace, pair) = (ace(model), pair(model));
    for (key, radial) in [("transform", &ace.radial), ("pair_transform", &pair.radial)] {
        let listed = expected[key].as_array().unwrap();
        assert_eq!(listed.len(), radial.transforms.len(), "{name}: {key}");
        for (t, expected) in radial.transforms.iter().zip(listed) {
            let fields = [("a", t.a), ("b0", t.b0), ("b1", t.b1), ("rin", t.rin), ("req", t.req)];
            let powers = [("pin", f64::from(t.pin)), ("pcut", f64::from(t.pcut))];
            for (field, x) in fields.into_iter().chain(powers) {
                close(&format!("{name}: {key}.{field}"), x, expected[field].as_f64().unwrap(), 1e-13);
            }
        }
    }
    let heads = [("polys_head", &ace.radial, "n_q"), ("pair_polys_head", &pair.radial, "pair_n_q")];
    for (key, radial, n_q) in heads {
        if let FunctionsSpec::Polynomial { a, b, c, .. } = &radial.functions {
            assert_eq!(a.len() as u64, expected[n_q].as_u64().unwrap(), "{name}: {n_q}");
            for (field, found) in [("A", a), ("B", b), ("C", c)] {
                let listed = crate::common::flat(&expected[key][field]);
                listed.iter().zip(found).for_each(|(e, x)| close(&format!("{name}: {key}"), *x, *e, 1e-13));
            }
        }
    }
    for point in expected["radial"].as_array().unwrap() {
        let ij = [0, 1].map(|k| point["pair"][k].as_u64().unwrap() as usize);
        let (r, at) = (point["r"].as_f64().unwrap(), index(ij[0], ij[1]));
        let label = format!("{name}: pair {ij:?}, {r} Å");
        let y = y_of(&ace.radial.transforms[at], r);
        close(&label, y, point["y"].as_f64().unwrap(), 1e-13);
        assert_eq!(
            ace.radial.envelopes[at],
            EnvelopeSpec::Poly2sx { x1: -1.0, x2: 1.0, p1: 2, p2: 2, s: 1.0 },
            "{label}"
        );
        close(&label, (1.0 - y * y).powi(2), point["env"].as_f64().unwrap(), 1e-12);
        let y_pair = y_of(&pair.radial.transforms[at], r);
        close(&label, y_pair, point["y_pair"].as_f64().unwrap(), 1e-13);
        let envelope = match pair.radial.envelopes[at] {
            EnvelopeSpec::Poly1sr { rcut, p } if r < rcut => ((r / rcut).powi(-(p as i32)) - 1.0) * (1.0 - r / rcut),
            EnvelopeSpec::Ace1Poly1sr { rcut, r0, p } if r < rcut => {
                let (s, c, p) = (r / r0, rcut / r0, p as i32);
                s.powi(-p) - c.powi(-p) + f64::from(p) * c.powi(-p - 1) * (s - c)
            }
            _ => 0.0,
        };
        close(&label, envelope, point["env_pair"].as_f64().unwrap(), 1e-12);
        for (key, radial, y) in [("P", &ace.radial, y), ("P_pair", &pair.radial, y_pair)] {
            let splined = matches!(radial.functions, FunctionsSpec::Spline { .. });
            let key = if splined { format!("{key}_splined") } else { key.into() };
            let listed = crate::common::flat(&point[&key]);
            let found = functions(radial, n_species, (ij[0], ij[1]), y);
            assert!(!found.is_empty(), "{label}: {key}");
            listed.iter().zip(&found).for_each(|(e, x)| close(&format!("{label}: {key}"), *x, *e, 1e-11));
        }
    }
}

fn check_priors(name: &str, model: &Model, expected: &Value) {
    // Upstream's order: many-body before pair.
    let n_pair = pair(model).weights.iter().map(Vec::len).sum::<usize>();
    let prior = |text: &str| serde_json::from_str::<Prior>(text).unwrap();
    for (key, prior, log) in [
        ("algebraic_p4", Prior::default(), false),
        ("algebraic_p2_wl1_wn2", prior(r#"{"type":"algebraic","p":2,"wl":1,"wn":2}"#), false),
        ("exponential", prior(r#"{"type":"exponential"}"#), false),
        ("log_gaussian", prior(r#"{"type":"gaussian"}"#), true),
    ] {
        let label = format!("{name}: {key}");
        let ln = prior.log_diagonal(model);
        let (pair, many) = ln.split_at(n_pair);
        let expected = &expected["prior"][key];
        assert_eq!(ln.len() as u64, expected["n"].as_u64().unwrap(), "{label}");
        let shown = |ln: f64| if log { ln } else { ln.exp() };
        for (list, found) in [("first", many), ("pair_first", pair)] {
            let listed = crate::common::flat(&expected[list]);
            listed.iter().zip(found).for_each(|(e, x)| close(&label, shown(*x), *e, 1e-12));
        }
        close(&label, shown(*many.last().unwrap()), expected["last_manybody"].as_f64().unwrap(), 1e-12);
        close(&label, ln.iter().sum(), expected["sum_log"].as_f64().unwrap(), 1e-12);
    }
}

#[test]
fn all_cases() {
    let cases: Value = serde_json::from_str(include_str!("cases.json")).unwrap();
    let cases = cases["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 10);
    for case in cases {
        let (name, expected) = (case["name"].as_str().unwrap(), &case["expected"]);
        let model = build::model(&recipe(&case["input"])).unwrap_or_else(|e| panic!("{name}: {e}"));
        check_lists(name, &model, &case["input"], expected);
        check_couplings(name, &model, expected);
        check_radial(name, &model, expected);
        check_priors(name, &model, expected);
    }
}
