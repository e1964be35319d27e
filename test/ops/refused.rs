//! Descriptors that are refused, and what the message says, whatever the language of the caller.

pub const REFUSED: &[(&str, &str)] = &[
    (
        r#"{"linear": {"irreps_in": "2x0z", "irreps_out": "0e"}}"#,
        "irreps `2x0z`: irrep `0z`: expected a degree up to 11",
    ),
    (r#"{"linear": {"irreps_in": "2x0e", "irreps_out": "1x12e"}}"#, "irreps `1x12e`: irrep `12e`: expected a degree"),
    (r#"{"linear": {"irreps_in": "-1x0e", "irreps_out": "0e"}}"#, "irreps `-1x0e`: `-1` is no number of copies"),
    (r#"{"linear": {"irreps_in": "99999999999x0e", "irreps_out": "0e"}}"#, "irreps `99999999999x0e`: irreps: at most"),
    (r#"{"linear": {"irreps_in": "0e", "irreps_out": "0e", "weights": 1}}"#, "unknown field `weights`"),
    (r#"{"linear": {"irreps_in": "0e"}}"#, "missing field `irreps_out`"),
    (r#"{"lineal": {}}"#, "unknown variant `lineal`"),
    (
        r#"{"linear": {"irreps_in": "0e", "irreps_out": "0e", "bias": true, "species": 3}}"#,
        "there is no bias by species",
    ),
    (r#"{"linear": {"irreps_in": "60000x0e", "irreps_out": "60000x0e", "species": 2}}"#, "3600000000 weights for each"),
    (
        r#"{"fully_connected": {"irreps_in1": "16777216x0e", "irreps_in2": "16777216x0e", "irreps_out": "65536x0e"}}"#,
        "product: 18446744073709552000 weights are too many",
    ),
    (r#"{"harmonics": {"lmax": 12}}"#, "lmax: 12, expected at most 11"),
    (
        r#"{"channelwise": {"irreps_in1": "0e", "irreps_in2": "2x1o", "targets": "1o"}}"#,
        "irreps_in2: 2 copies of 1o, expected 1",
    ),
    (
        r#"{"contraction": {"irreps_in": "4x0e", "irreps_out": "4x0e", "correlation": 5, "species": 1}}"#,
        "correlation: 5, expected 1 to 4",
    ),
    (
        r#"{"contraction": {"irreps_in": "4x0e+3x1o", "irreps_out": "4x0e", "correlation": 2, "species": 1}}"#,
        "irreps_in: 3 copies of 1o, expected 4",
    ),
    (
        r#"{"contraction": {"irreps_in": "4x0e+4x1o", "irreps_out": "3x0e", "correlation": 2, "species": 1}}"#,
        "irreps_out: 3 copies of 0e, expected 4",
    ),
    (
        r#"{"contraction": {"irreps_in": "4x0e", "irreps_out": "4x0e", "correlation": 1, "species": 1, "basis": {"couplings": []}}}"#,
        "basis: expected tensors of 1 orders for each of 1 irreps",
    ),
    (
        r#"{"contraction": {"irreps_in": "0e", "irreps_out": "0e", "correlation": 1, "species": 1,
            "basis": {"couplings": [[{"paths": 1, "index": [1], "value": [1.0]}]]}}}"#,
        "basis: tensor of 0e (0) and order 1: number 1 at 1 of 1",
    ),
    (
        r#"{"contraction": {"irreps_in": "0e", "irreps_out": "0e", "correlation": 1, "species": 1, "projection": []}}"#,
        "projection: 0 × 0, expected 1 rows",
    ),
    (
        r#"{"radial": {"r_max": 1e-200, "basis": {"gaussian": {"n": 8}}}}"#,
        "radial: prefactor = -inf, expected a finite",
    ),
    (r#"{"radial": {"r_max": -1.0, "basis": {"bessel": {"n": 8}}}}"#, "radial: r_max = -1, expected a length"),
    (r#"{"mlp": {"widths": [3], "activation": "silu"}}"#, "widths: expected 2 to 10 numbers, 1 to 65536"),
    (r#"{"mlp": {"widths": [3, 0, 1], "activation": "silu"}}"#, "widths: expected 2 to 10 numbers, 1 to 65536"),
    (r#"{"mlp": {"widths": [3, 4], "activation": "swish"}}"#, "unknown variant `swish`"),
    (
        r#"{"gate": {"scalars": "1o", "gated": "", "activation": "silu", "constant": 1.0, "gate_activation": "sigmoid", "gate_constant": 1.0}}"#,
        "scalars: 1o, expected 0e",
    ),
];
