//! Transform, envelopes, polynomials, splines: the formulas as they stand in the documentation of the spec.

use super::dual::Dual;
use acerust::model::spec::{EnvelopeSpec, FunctionsSpec, RadialSpec, SplineSpec, TransformSpec};

/// All radial functions of an edge of length `r` between species `zi` (centre) and `zj` of `n_species`.
pub fn radial(spec: &RadialSpec, n_species: usize, zi: usize, zj: usize, r: Dual) -> Vec<Dual> {
    // Unordered pairs in the order (0,0), (0,1) … (0,n−1), (1,1) ….
    let unordered: Vec<_> = (0..n_species).flat_map(|i| (i..n_species).map(move |j| (i, j))).collect();
    let u = unordered.iter().position(|&p| p == (zi.min(zj), zi.max(zj))).unwrap();
    let y = transform(&spec.transforms[u], r);
    let e = envelope(&spec.envelopes[u], r, y);
    let ordered = zi * n_species + zj;
    let functions = match &spec.functions {
        FunctionsSpec::Polynomial { a, b, c, w } => {
            let p = polynomials(a, b, c, y);
            w[ordered].iter().map(|w| w.iter().zip(&p).map(|(&w, &p)| p * w).sum()).collect()
        }
        FunctionsSpec::Spline { tables } => spline(&tables[ordered], y),
        FunctionsSpec::Pace { .. } => panic!("functions of pacemaker have a naive evaluator of their own"),
    };
    functions.into_iter().map(|f: Dual| f * e).collect()
}

fn transform(t: &TransformSpec, r: Dual) -> Dual {
    let x = if r.value <= t.rin {
        Dual::constant(1.0)
    } else {
        let s = (r + -t.rin) * (1.0 / (t.req - t.rin));
        let (pin, pcut) = (t.pin as i32, t.pcut as i32);
        Dual::constant(1.0) / (s.powi(pin) / (s.powi(pin - pcut) + 1.0) * t.a + 1.0)
    };
    let y = x * t.b1 + t.b0;
    match y.value {
        y if y > 1.0 => Dual::constant(1.0),
        y if y < -1.0 => Dual::constant(-1.0),
        _ => y,
    }
}

fn envelope(e: &EnvelopeSpec, r: Dual, y: Dual) -> Dual {
    let zero = Dual::constant(0.0);
    match *e {
        EnvelopeSpec::Poly2sx { x1, x2, p1, p2, s } => match x1 < y.value && y.value < x2 {
            true => (y + -x1).powi(p1 as i32) * (-y + x2).powi(p2 as i32) * s,
            false => zero,
        },
        EnvelopeSpec::Poly1sr { rcut, p } => match r.value < rcut {
            true => ((r * (1.0 / rcut)).powi(-(p as i32)) + -1.0) * (r * (-1.0 / rcut) + 1.0),
            false => zero,
        },
        EnvelopeSpec::Ace1Poly1sr { rcut, r0, p } => match r.value < rcut {
            true => {
                let (s, c, p) = (r * (1.0 / r0), rcut / r0, p as i32);
                s.powi(-p) + -c.powi(-p) + (s + -c) * (f64::from(p) * c.powi(-p - 1))
            }
            false => zero,
        },
    }
}

fn polynomials(a: &[f64], b: &[f64], c: &[f64], y: Dual) -> Vec<Dual> {
    let mut p = vec![Dual::constant(a[0])];
    for n in 1..a.len() {
        let g = y * a[n] + b[n];
        p.push(if n == 1 { g } else { g * p[n - 1] + p[n - 2] * c[n] });
    }
    p
}

/// Cubic Hermite interpolation.
fn spline(spline: &SplineSpec, y: Dual) -> Vec<Dual> {
    let n = spline.values.len();
    let h = (spline.x1 - spline.x0) / (n - 1) as f64;
    let k = (((y.value - spline.x0) / h).floor() as usize).min(n - 2);
    let u = (y + -(spline.x0 + k as f64 * h)) * (1.0 / h);
    let (u2, u3) = (u * u, u * u * u);
    let h00 = u3 * 2.0 + u2 * -3.0 + 1.0;
    let h10 = u3 + u2 * -2.0 + u;
    let h01 = u3 * -2.0 + u2 * 3.0;
    let h11 = u3 - u2;
    (0..spline.values[0].len())
        .map(|t| {
            h00 * spline.values[k][t]
                + h10 * (h * spline.slopes[k][t])
                + h01 * spline.values[k + 1][t]
                + h11 * (h * spline.slopes[k + 1][t])
        })
        .collect()
}
