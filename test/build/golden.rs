//! The golden models, built anew.

use super::{ace, classes, orthonormal, pair};
use crate::common::{NAMES, golden, golden_json};
use acerust::build::{self, Recipe};
use acerust::element;
use acerust::model::Model;
use acerust::model::spec::{FunctionsSpec, HarmonicsKind};
use serde_json::json;

/// The hyper-parameters of `test/golden/README.md`.
fn recipe(name: &str, model: &Model) -> Recipe {
    let (order, degree, maxl, pair_n) = match name {
        "si_o3" | "sio_spl" => (3, 8, 4, 8),
        "sio_o2" => (2, 8, 4, 8),
        "sio_o3" => (3, 10, 6, 10),
        "tial_o3" => (3, 8, 3, 8),
        "si_fit" => (3, 13, 5, 8),
        "si_bench" => (3, 12, 6, 12),
        "hea_bench" => (3, 10, 4, 10),
        _ => panic!("unknown"),
    };
    let mut recipe = json!({
        "preset": "ace",
        "elements": model.species().iter().map(|&z| element::symbol(z)).collect::<Vec<_>>(),
        "order": order, "degree": degree, "maxl": maxl, "pair_degree": pair_n,
        "rcut": model.rcut(),
        "harmonics": if name == "tial_o3" { "spherical" } else { "solid" },
        "pair_splines": 0,
    });
    if name == "hea_bench" {
        recipe["r0"] = json!(2.5);
    }
    if name == "sio_spl" {
        recipe["splines"] = json!(60);
        // The origin of the splines stands in the reference file.
        let reference = golden_json("sio_spl.json");
        recipe["weights"] = json!({ "given": reference["ace"]["radial"]["W"] });
    }
    Recipe::from_json(&recipe.to_string()).unwrap()
}

#[test]
fn golden_models_are_rebuilt() {
    for name in NAMES {
        let golden = golden(name).model;
        let built = build::model(&recipe(name, &golden)).unwrap();
        let (a, b) = (ace(&built), ace(&golden));
        assert_eq!(a.radial.spec, b.radial.spec, "{name}: R");
        assert_eq!(a.a, b.a, "{name}: A");
        assert_eq!(a.aa, b.aa, "{name}: AA");
        assert_eq!(a.rcut, b.rcut, "{name}");
        assert_eq!(a.angular.kind == HarmonicsKind::Solid, name != "tial_o3", "{name}");
        for (x, y) in classes(a).iter().zip(&classes(b)) {
            assert_eq!(x.rows.len(), y.rows.len(), "{name}: rank of {:?}", x.nl);
            let (p, q) = (orthonormal(&x.rows), orthonormal(&y.rows));
            // Equal spans: the projections of one basis on the other lose nothing.
            for v in &p {
                let dot = |u: &Vec<f64>| u.iter().zip(v).map(|(a, b)| a * b).sum::<f64>();
                let kept: f64 = q.iter().map(|u| dot(u).powi(2)).sum();
                assert!((kept - 1.0).abs() < 1e-10, "{name}: span of {:?}", x.nl);
            }
        }
        assert_eq!(a.radial.envelopes, b.radial.envelopes, "{name}");
        for (part, a, b) in [("ace", &a.radial, &b.radial), ("pair", &pair(&built).radial, &pair(&golden).radial)] {
            assert_eq!(a.transforms.len(), b.transforms.len(), "{name}");
            for (x, y) in a.transforms.iter().zip(&b.transforms) {
                assert_eq!((x.rin, x.req, x.pin, x.pcut), (y.rin, y.req, y.pin, y.pcut), "{name}: {part}");
                assert!([x.a - y.a, x.b0 - y.b0, x.b1 - y.b1].iter().all(|d| d.abs() < 1e-13), "{name}: {part}");
            }
            match (&a.functions, &b.functions) {
                (FunctionsSpec::Polynomial { a, b, c, .. }, FunctionsSpec::Polynomial { a: a2, b: b2, c: c2, .. }) => {
                    for (x, y) in [(a, a2), (b, b2), (c, c2)] {
                        assert_eq!(x.len(), y.len(), "{name}: {part}");
                        assert!(x.iter().zip(y).all(|(x, y)| (x - y).abs() < 1e-13), "{name}: {part}");
                    }
                }
                (FunctionsSpec::Spline { tables: a }, FunctionsSpec::Spline { tables: b }) => {
                    assert_eq!(a.len(), b.len());
                    for (a, b) in a.iter().zip(b) {
                        assert_eq!((a.x0, a.x1), (b.x0, b.x1));
                        crate::common::assert_close(name, &a.values.concat(), &b.values.concat(), 1e-13);
                        crate::common::assert_close(name, &a.slopes.concat(), &b.slopes.concat(), 1e-11);
                    }
                }
                _ => panic!("{name}: {part}: another kind of functions"),
            }
        }
    }
}
