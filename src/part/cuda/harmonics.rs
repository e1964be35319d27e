//! The real solid harmonics as straight-line code, from the recursion of [`crate::stage::angular`].

use crate::simd::Portable;
use crate::stage::angular::{Angular, n_harmonics, triangle};
use std::fmt::Write;

/// `harmonics(x, y, z, Y)`: the values, `harmonics_pullback(Y, bar)`: `Σ_lm bar ∇Y`, and
/// `harmonics_gradients(Y, D)`: all gradients.
pub fn code(lmax: usize) -> String {
    let angular = Angular::<Portable<f64, 2>>::new(lmax, false);
    let mut c = format!("constexpr int N_Y = {};\n", n_harmonics(lmax));
    values(&angular, &mut c);
    pullback(&angular, &mut c);
    gradients(&angular, &mut c);
    c
}

macro_rules! line {
    ($c:expr, $($t:tt)*) => { writeln!($c, $($t)*).expect("writing to a string") };
}

type A = Angular<Portable<f64, 2>>;

fn values(angular: &A, c: &mut String) {
    line!(c, "DEVICE void harmonics(real x, real y, real z, real* Y) {{");
    line!(c, "  real r2 = x * x + y * y + z * z;");
    line!(c, "  Y[0] = real({:e});", angular.y00);
    for l in 1..=angular.lmax {
        let (row, below) = (l * l + l, l * l - l);
        let (top, k) = (row + l, angular.top[l]);
        let cos = format!("Y[{}]", below + l - 1);
        if l > 1 {
            let sin = format!("Y[{}]", below - (l - 1));
            line!(c, "  Y[{top}] = real({k:e}) * (x * {cos} - y * {sin});");
            line!(c, "  Y[{}] = real({k:e}) * (x * {sin} + y * {cos});", row - l);
        } else {
            line!(c, "  Y[{top}] = real({k:e}) * x * {cos};");
            line!(c, "  Y[{}] = real({k:e}) * y * {cos};", row - l);
        }
        for m in 0..l as isize {
            let [a, b] = angular.recursion[triangle(l, m as usize)];
            for m in if m > 0 { vec![m, -m] } else { vec![0] } {
                let at = |centre: usize| (centre as isize + m) as usize;
                let (to, one) = (at(row), at(below));
                if m.unsigned_abs() + 2 <= l {
                    let two = at(below - (2 * l - 2));
                    line!(c, "  Y[{to}] = real({a:e}) * z * Y[{one}] - real({b:e}) * r2 * Y[{two}];");
                } else {
                    line!(c, "  Y[{to}] = real({a:e}) * z * Y[{one}];");
                }
            }
        }
    }
    line!(c, "}}");
}

/// The terms of `∇Y_{l,m}` for `m` and `−m`: (axis, coefficient, index of the harmonic below).
fn terms(angular: &A, l: usize, m: isize) -> Vec<(usize, f64, usize)> {
    let low = (l * l - l) as isize;
    let k = m.unsigned_abs();
    let [alpha, down, up] = angular.gradient[triangle(l, k)];
    let mut terms = Vec::new();
    let mut put = |axis: usize, c: f64, below: isize| {
        if below.unsigned_abs() < l && c != 0.0 {
            terms.push((axis, c, (low + below) as usize));
        }
    };
    let k = k as isize;
    if m == 0 {
        put(0, -up, 1);
        put(1, -up, -1);
    } else if m > 0 {
        put(0, down, k - 1);
        put(0, -up, k + 1);
        if k > 1 {
            put(1, -down, 1 - k);
        }
        put(1, -up, -k - 1);
    } else {
        if k > 1 {
            put(0, down, 1 - k);
        }
        put(0, -up, -k - 1);
        put(1, down, k - 1);
        put(1, up, k + 1);
    }
    put(2, alpha, m);
    terms
}

fn pullback(angular: &A, c: &mut String) {
    line!(c, "DEVICE real3 harmonics_pullback(const real* Y, const real* bar) {{");
    line!(c, "  real x = 0, y = 0, z = 0;");
    for l in 1..=angular.lmax {
        let (row, low) = (l * l + l, l * l - l);
        for m in 0..=l {
            let [alpha, down, up] = angular.gradient[triangle(l, m)];
            let (a, b) = (format!("bar[{}]", row + m), format!("bar[{}]", row - m));
            if m == 0 {
                line!(c, "  z += real({alpha:e}) * {a} * Y[{low}];");
                if l > 1 {
                    line!(c, "  {{ real t = real({up:e}) * {a}; x -= t * Y[{}]; y -= t * Y[{}]; }}", low + 1, low - 1);
                }
                continue;
            }
            if m < l {
                line!(c, "  z += real({alpha:e}) * ({a} * Y[{}] + {b} * Y[{}]);", low + m, low - m);
            }
            let p = format!("Y[{}]", low + m - 1);
            if m > 1 {
                let q = format!("Y[{}]", low + 1 - m);
                line!(c, "  x += real({down:e}) * ({a} * {p} + {b} * {q});");
                line!(c, "  y += real({down:e}) * ({b} * {p} - {a} * {q});");
            } else {
                line!(c, "  x += real({down:e}) * {a} * {p};\n  y += real({down:e}) * {b} * {p};");
            }
            if m + 1 < l {
                let (p, q) = (format!("Y[{}]", low + m + 1), format!("Y[{}]", low - m - 1));
                line!(c, "  x -= real({up:e}) * ({a} * {p} + {b} * {q});");
                line!(c, "  y += real({up:e}) * ({b} * {p} - {a} * {q});");
            }
        }
    }
    line!(c, "  return {{x, y, z}};\n}}");
}

fn gradients(angular: &A, c: &mut String) {
    line!(c, "DEVICE void harmonics_gradients(const real* Y, real3* D) {{");
    line!(c, "  D[0] = {{0, 0, 0}};");
    for l in 1..=angular.lmax {
        for m in -(l as isize)..=l as isize {
            let lm = ((l * l + l) as isize + m) as usize;
            let mut sums = [String::new(), String::new(), String::new()];
            for (axis, k, below) in terms(angular, l, m) {
                write!(sums[axis], " + real({k:e}) * Y[{below}]").expect("writing to a string");
            }
            let [x, y, z] = sums.map(|s| if s.is_empty() { "0".into() } else { s[3..].to_string() });
            line!(c, "  D[{lm}] = {{{x}, {y}, {z}}};");
        }
    }
    line!(c, "}}");
}
