//! Checks of transforms, envelopes and radial functions.

use super::check::{At, Check, cutoff, finite, length, matrix, vector};
use crate::stage::spec::*;

const MAX_POWER: u32 = 64;
const MAX_POLYNOMIALS: usize = 512;
/// How near to its bound `y(rcut)` has to be for an envelope in `y` to vanish there.
const BOUND_TOLERANCE: f64 = 1e-8;

/// The radial basis of a part with `n_functions` radial functions and cutoff `rcut`.
pub fn check(radial: &RadialSpec, n_species: usize, n_functions: usize, rcut: f64) -> Check {
    if let FunctionsSpec::Pace { bins, pairs, w, .. } = &radial.functions {
        for (name, n) in [("transforms", radial.transforms.len()), ("envelopes", radial.envelopes.len())] {
            if n > 0 {
                return Err(format!("{name}: functions of type pace have none"));
            }
        }
        return pace(*bins, pairs, w, (n_species * n_species, n_functions), rcut).at(|| "functions.".into());
    }
    let n_pairs = n_species * (n_species + 1) / 2;
    length(radial.transforms.len(), n_pairs).at(|| "transforms".into())?;
    length(radial.envelopes.len(), n_pairs).at(|| "envelopes".into())?;
    for (i, t) in radial.transforms.iter().enumerate() {
        transform(t, rcut).at(|| format!("transforms[{i}]."))?;
    }
    for (i, (e, t)) in radial.envelopes.iter().zip(&radial.transforms).enumerate() {
        envelope(e, t.unclamped(rcut).value, rcut).at(|| format!("envelopes[{i}]."))?;
    }
    functions(&radial.functions, n_species * n_species, n_functions).at(|| "functions.".into())
}

fn transform(t: &TransformSpec, rcut: f64) -> Check {
    for (name, value) in [("rin", t.rin), ("req", t.req), ("a", t.a), ("b0", t.b0), ("b1", t.b1)] {
        finite(value).at(|| format!("{name}: "))?;
    }
    if t.rin < 0.0 {
        return Err(format!("rin: {} Å is negative", t.rin));
    }
    if t.req <= t.rin {
        return Err(format!("req: {} Å is not above rin, {} Å", t.req, t.rin));
    }
    power("pin", t.pin)?;
    power("pcut", t.pcut)?;
    if t.pcut > t.pin {
        return Err(format!("pcut: {} is above pin, {}", t.pcut, t.pin));
    }
    // With a > 0 the denominator of x never vanishes.
    if t.a <= 0.0 {
        return Err(format!("a: {} is not positive", t.a));
    }
    if t.b1 == 0.0 {
        return Err("b1: 0 takes all distances to one y".into());
    }
    // An overflow in s^pin would make every distance beyond it meaningless.
    if !t.unclamped(rcut).value.is_finite() {
        return Err(format!("req: y is not finite at the cutoff, {rcut} Å"));
    }
    Ok(())
}

/// Radial functions have to vanish at the cutoff of their part: an energy that jumps where an edge appears has no forces.
fn envelope(envelope: &EnvelopeSpec, y_cut: f64, part_rcut: f64) -> Check {
    let within = |rcut: f64| {
        cutoff(rcut).at(|| "rcut: ".into())?;
        if rcut > part_rcut {
            return Err(format!("rcut: {rcut} Å is above the cutoff of the part, {part_rcut} Å"));
        }
        Ok(())
    };
    match *envelope {
        EnvelopeSpec::Poly1sr { rcut, p } => {
            within(rcut)?;
            power("p", p)
        }
        EnvelopeSpec::Ace1Poly1sr { rcut, r0, p } => {
            within(rcut)?;
            power("p", p)?;
            cutoff(r0).at(|| "r0: ".into())
        }
        EnvelopeSpec::Poly2sx { x1, x2, p1, p2, s } => {
            for (name, value) in [("x1", x1), ("x2", x2), ("s", s)] {
                finite(value).at(|| format!("{name}: "))?;
            }
            if x2 <= x1 {
                return Err(format!("x2: {x2} is not above x1, {x1}"));
            }
            power("p1", p1)?;
            power("p2", p2)?;
            let y = y_cut.clamp(-1.0, 1.0);
            if y - x1 > BOUND_TOLERANCE && x2 - y > BOUND_TOLERANCE {
                return Err(format!(
                    "x2: the envelope is not zero at the cutoff, where y = {y} lies between {x1} and {x2}"
                ));
            }
            Ok(())
        }
    }
}

fn functions(functions: &FunctionsSpec, n_ordered: usize, n_functions: usize) -> Check {
    match functions {
        FunctionsSpec::Polynomial { a, b, c, w } => {
            if !(1..=MAX_POLYNOMIALS).contains(&a.len()) {
                return Err(format!("A: {} polynomials are not in 1 … {MAX_POLYNOMIALS}", a.len()));
            }
            for (name, coefficients) in [("A", a), ("B", b), ("C", c)] {
                vector(coefficients, a.len()).at(|| name.into())?;
            }
            length(w.len(), n_ordered).at(|| "W".into())?;
            w.iter()
                .enumerate()
                .try_for_each(|(i, matrix_)| matrix(matrix_, n_functions, a.len()).at(|| format!("W[{i}]")))
        }
        FunctionsSpec::Pace { .. } => Ok(()),
        FunctionsSpec::Spline { tables } => {
            length(tables.len(), n_ordered).at(|| "tables".into())?;
            tables
                .iter()
                .enumerate()
                .try_for_each(|(i, table)| spline(table, n_functions).at(|| format!("tables[{i}].")))
        }
    }
}

fn pace(
    bins: f64,
    pairs: &[BaseSpec],
    w: &[Vec<Vec<f64>>],
    (n_ordered, n_functions): (usize, usize),
    rcut: f64,
) -> Check {
    length(pairs.len(), n_ordered).at(|| "pairs".into())?;
    length(w.len(), n_ordered).at(|| "W".into())?;
    let n_base = w.iter().flatten().map(Vec::len).max().unwrap_or(0);
    if !(1..=MAX_POLYNOMIALS).contains(&n_base) {
        return Err(format!("W: {n_base} base functions are not in 1 … {MAX_POLYNOMIALS}"));
    }
    for (p, (pair, w)) in pairs.iter().zip(w).enumerate() {
        let BaseSpec { base, lambda, rcut: own, dcut, inner, inner_width } = *pair;
        crate::pace::check_pair(base, lambda, [own, dcut, inner, inner_width], bins)
            .at(|| format!("pairs[{p}]."))
            .and_then(|()| {
                if own > rcut {
                    Err(format!("pairs[{p}].rcut: {own} Å is above the cutoff of the part, {rcut} Å"))
                } else {
                    Ok(())
                }
            })?;
        matrix(w, n_functions, n_base).at(|| format!("W[{p}]"))?;
    }
    Ok(())
}

fn spline(spline: &SplineSpec, n_functions: usize) -> Check {
    finite(spline.x0).at(|| "x0: ".into())?;
    finite(spline.x1).at(|| "x1: ".into())?;
    if spline.x0 > -1.0 || spline.x1 < 1.0 {
        return Err(format!("x0: the grid from {} to {} does not cover y from -1 to 1", spline.x0, spline.x1));
    }
    let n_nodes = spline.values.len();
    if n_nodes < 2 {
        return Err(format!("values: a spline has at least 2 nodes, got {n_nodes}"));
    }
    matrix(&spline.values, n_nodes, n_functions).at(|| "values".into())?;
    matrix(&spline.slopes, n_nodes, n_functions).at(|| "slopes".into())
}

fn power(name: &str, power: u32) -> Check {
    if (1..=MAX_POWER).contains(&power) { Ok(()) } else { Err(format!("{name}: {power} is not in 1 … {MAX_POWER}")) }
}
