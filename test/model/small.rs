//! A small valid model with one part of each kind, as JSON.

use acerust::model::Model;
use serde_json::{Value, json};

/// Takes `r = 0` to `y = −1` and the cutoff, 4 Å, where `x = 1/2`, to `y = 1`, both exactly.
fn transform() -> Value {
    json!({"rin": 0.0, "req": 2.0, "pin": 2, "pcut": 2, "a": 0.5, "b0": 3.0, "b1": -4.0})
}

fn radial(envelope: Value, functions: Value) -> Value {
    json!({"transforms": vec![transform(); 3], "envelopes": vec![envelope; 3], "functions": functions})
}

fn polynomial() -> Value {
    let w = json!([[0.5, -0.25], [1.0, 0.125]]);
    json!({"type": "polynomial", "A": [0.7, 1.2], "B": [0.0, 0.1], "C": [0.0, 0.0], "W": vec![w; 4]})
}

fn spline() -> Value {
    let nodes = json!([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]);
    let table = json!({"x0": -1.0, "x1": 1.0, "values": nodes, "slopes": nodes});
    json!({"type": "spline", "tables": vec![table; 4]})
}

/// Parts: one-body, pair of polynomials, pair of splines, ACE, repulsion. Two species, two radial functions everywhere.
pub fn model() -> Value {
    let weights = json!([[0.1, 0.2], [0.3, 0.4]]);
    let mut ace = radial(json!({"type": "poly2sx", "x1": -1.0, "x2": 1.0, "p1": 2, "p2": 2, "s": 1.0}), polynomial());
    ace["spec"] = json!([[1, 0], [1, 1]]);
    json!({
        "format": "acerust-model/1",
        "name": "small",
        "source": "a test",
        "species": [14, 8],
        "parts": [
            {"type": "onebody", "E0": [-158.5, -2042.0]},
            {"type": "pair", "rcut": 4.0, "weights": weights,
             "radial": radial(json!({"type": "poly1sr", "rcut": 4.0, "p": 1}), polynomial())},
            {"type": "pair", "rcut": 4.0, "weights": weights,
             "radial": radial(json!({"type": "ace1_poly1sr", "rcut": 3.0, "r0": 2.0, "p": 2}), spline())},
            {"type": "ace", "rcut": 4.0, "weights": weights, "radial": ace,
             "angular": {"kind": "solid", "lmax": 1},
             "A": [[0, 0], [1, 1], [1, 2], [1, 3]],
             "AA": [[0], [1, 3], [2, 2]],
             "C": {"shape": [2, 3], "rows": [0, 1, 1], "cols": [0, 1, 2], "vals": [1.0, -1.5, 0.5]}},
            {"type": "zbl", "pairs": [[1.8, 0.9], [1.5, 0.5], [1.2, 1.2]]}
        ]
    })
}

/// What `Model::from_json` says to a file that has to be refused.
pub fn refusal(json: &str) -> String {
    match Model::from_json(json) {
        Ok(_) => panic!("accepted: {json}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_small_model_is_valid() {
    let model = Model::from_json(model().to_string()).unwrap();
    assert_eq!(model.length_basis(), 12);
    assert_eq!(Model::from_json(model.to_json()).unwrap(), model);
}
