//! The naive reference against the golden files: every structure, every intermediate.

use super::models::{floats, golden, read};
use super::naive::evaluate;
use serde_json::Value;

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
