//! The radial functions of a part as device code and numbers: what `kernels/radial.cuh` expects.

use crate::stage::radial::{Coordinates, Functions, Radial};
use crate::stage::spec::{EnvelopeSpec, TransformSpec};
use std::fmt::Write;

/// Numbers of a species pair: transform (rin, 1/(req − rin), a, b0, b1), envelope (three: x1, x2, s; or the cutoff and the inverse of its length scale), spline (x0, width of an
/// interval, their number, first row), powers of the transform (two), kind and powers of the envelope (three: x1, x2, s; or the cutoff and the inverse of its length scale), padding.
pub const PAIR_SIZE: usize = 18;

/// The macros by which the code asks for these numbers; constants where all pairs agree.
const NAMES: [&str; 17] = [
    "Q0", "Q1", "Q2", "Q3", "Q4", "Q5", "Q6", "Q7", "Q8", "Q9", "Q10", "Q11", "POWER_P", "POWER_K", "ENVELOPE",
    "POWER_1", "POWER_2",
];
/// Those of splines begin here.
const SPLINE: usize = 8;
/// Those from here on are whole numbers.
const WHOLE: usize = 12;

/// (n_species², PAIR_SIZE).
pub fn pairs(radial: &Radial) -> Vec<f64> {
    let mut out = Vec::new();
    for pair in 0..radial.n_species.pow(2) {
        let (numbers, whole) = match &radial.coordinates {
            Coordinates::Agnesi { transforms, envelopes } => agnesi(&transforms[pair], &envelopes[pair]),
            Coordinates::Pace(pairs) => {
                let coordinate = &pairs[pair].coordinate;
                (coordinate.constants().to_vec(), [coordinate.kind(), 0, 0, 0, 0, 0])
            }
            Coordinates::Plain(starts) => (vec![starts[pair]], [0; 6]),
        };
        let first = out.len();
        out.extend(numbers);
        match &radial.functions {
            Functions::Polynomial { .. } => {}
            Functions::Spline { grids } => {
                let grid = grids[pair];
                let n = (grid.n_nodes - 1) as f64;
                out.resize(first + SPLINE, 0.0);
                out.extend([grid.x0, (grid.x1 - grid.x0) / n, n, grid.row as f64]);
            }
        }
        out.resize(first + WHOLE, 0.0);
        out.extend(whole.map(f64::from));
    }
    out
}

/// Numbers of transform and envelope, and their powers.
fn agnesi(t: &TransformSpec, envelope: &EnvelopeSpec) -> (Vec<f64>, [u32; 6]) {
    let (numbers, kind, p1, p2) = match *envelope {
        EnvelopeSpec::Poly2sx { x1, x2, p1, p2, s } => ([x1, x2, s], 0, p1, p2),
        EnvelopeSpec::Poly1sr { rcut, p } => ([rcut, 1.0 / rcut, 0.0], 1, p, 0),
        EnvelopeSpec::Ace1Poly1sr { rcut, r0, p } => ([rcut, 1.0 / r0, 0.0], 2, p, 0),
    };
    let mut all = vec![t.rin, 1.0 / (t.req - t.rin), t.a, t.b0, t.b1];
    all.extend(numbers);
    (all, [t.pin.max(t.pcut), t.pin.abs_diff(t.pcut), kind, p1, p2, 0])
}

/// Definitions that precede `radial.cuh`, and the names to be undefined after the part.
pub fn definitions(radial: &Radial, pairs: &[f64]) -> (String, Vec<&'static str>) {
    let mut c = format!("constexpr int N_TERMS = {};\n", radial.n_terms());
    let mut names = vec![];
    for (slot, name) in NAMES.into_iter().enumerate() {
        let mut values = pairs.chunks(PAIR_SIZE).map(|p| p[slot]);
        let first = values.next().unwrap_or(0.0);
        let value = match (values.all(|v| v == first), slot >= WHOLE) {
            (true, true) => format!("{first}"),
            (true, false) => format!("({first:e})"),
            (false, true) => format!("int(q[{slot}])"),
            (false, false) => format!("q[{slot}]"),
        };
        put(&mut c, format_args!("#define {name} {value}\n"));
        names.push(name);
    }
    let coordinates = match radial.coordinates {
        Coordinates::Agnesi { .. } => "AGNESI",
        Coordinates::Pace(_) => "PACE",
        Coordinates::Plain(_) => "PLAIN",
    };
    put(&mut c, format_args!("#define {coordinates}\n"));
    names.push(coordinates);
    match &radial.functions {
        Functions::Spline { .. } => {
            c.push_str("#define SPLINE\n");
            names.push("SPLINE");
        }
        Functions::Polynomial { a, b, c: k } => {
            put(&mut c, format_args!("#define RECURSION(FIRST, SECOND, NEXT) FIRST({:e})", a[0]));
            for q in 1..a.len() {
                match q {
                    1 => put(&mut c, format_args!(" SECOND({:e}, {:e})", a[1], b[1])),
                    _ => put(&mut c, format_args!(" NEXT({q}, {:e}, {:e}, {:e})", a[q], b[q], k[q])),
                }
            }
            c.push('\n');
            names.push("RECURSION");
        }
    }
    (c, names)
}

fn put(c: &mut String, text: std::fmt::Arguments) {
    c.write_fmt(text).expect("writing to a string");
}
