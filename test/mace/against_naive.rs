//! The naive reference against the golden files: every structure, every intermediate.

use super::models::{floats, forces_are_derivatives, golden, read, triples};
use super::naive::evaluate;
use serde_json::{Value, json};

#[test]
fn the_naive_reference_meets_every_intermediate() {
    let (mut structures, mut intermediates) = (0, 0);
    for path in golden() {
        let file: Value = serde_json::from_slice(&read(&path)).unwrap();
        for (k, s) in file["structures"].as_array().unwrap().iter().enumerate() {
            let naive = evaluate(&file, s);
            let close = |what: &str, is: &[f64], should: &[f64]| {
                assert_eq!(is.len(), should.len(), "{what}");
                let largest = should.iter().fold(1e-3, |m: f64, x| m.max(x.abs()));
                let error = is.iter().zip(should).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()));
                assert!(error <= 1e-10 * largest, "{} structure {k} {what}: {error:e} of {largest:e}", path.display());
            };
            close("energies", &naive.energies, &floats(&s["node_energy"]));
            structures += 1;
            for (name, should) in s["intermediates"].as_object().into_iter().flatten() {
                if let Some(table) = naive.seen.get(name) {
                    close(name, &table.concat(), &floats(&should["data"]));
                    intermediates += 1;
                }
            }
        }
    }
    assert!(structures >= 10 && intermediates >= 50, "{structures} structures, {intermediates} intermediates");
}

/// The training program has no derivatives of Chebyshev polynomials: what it calls forces are those of radial functions that stay as
/// they are while atoms move. Of all other models they are the derivatives of the energies.
#[test]
fn golden_forces_are_derivatives_where_the_training_program_has_them() {
    for path in golden() {
        let file: Value = serde_json::from_slice(&read(&path)).unwrap();
        let s = &file["structures"][1];
        let (x, forces) = (triples(&s["positions"]), triples(&s["forces"]));
        let h = 1e-4;
        for (i, d) in [(0, 0), (1, 2)] {
            let moved = |step: f64, all: bool| {
                let mut s = s.clone();
                let mut x = x.clone();
                x[i][d] += step;
                s["positions"] = json!(x);
                if !all {
                    s["basis_positions"] = file["structures"][1]["positions"].clone();
                }
                evaluate(&file, &s).energies.iter().sum::<f64>()
            };
            let slope = |all| {
                let of = |h| moved(h, all) - moved(-h, all);
                -(8.0 * of(h) - of(2.0 * h)) / (12.0 * h)
            };
            let is_force = |x: f64| (x - forces[i][d]).abs() < 1e-7;
            let name = path.display();
            assert!(is_force(slope(forces_are_derivatives(&file))), "{name}: {} {}", slope(true), forces[i][d]);
            assert!(forces_are_derivatives(&file) || !is_force(slope(true)), "{name}: derivatives after all");
        }
    }
}
