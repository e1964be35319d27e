//! Embedding of densities: `E = Σ_p w_p F(ρ_p; m_p)`, odd in `ρ`, in double precision, one centre to a lane.

use super::spec::{Embedding, Form};
use crate::simd::Lanes;
use crate::simd::elementary::{exp, pow};

/// From here on the power itself, below it a straight line.
const OMEGA: f64 = 1e6;

/// One density: its weight and function.
#[derive(Clone, Copy, Debug)]
pub struct Density {
    weight: f64,
    function: Function,
}

#[derive(Clone, Copy, Debug)]
enum Function {
    Identity,
    /// `|ρ|^m`, made linear where `|ρ|` is below about `1/ω`.
    Power {
        m: f64,
        slope: f64,
    },
    /// `(X + a)^m − Y`, `a = |ρ|`, with `X` and `Y` at `a = 0`.
    Shifted {
        m: f64,
        x: f64,
        y: f64,
    },
}

impl Density {
    pub fn of(embedding: &Embedding) -> Vec<Density> {
        let density = |&[weight, m]: &[f64; 2]| {
            let function = match embedding.form {
                Form::FinnisSinclair if m == 1.0 => Function::Identity,
                Form::FinnisSinclair => Function::Power { m, slope: OMEGA.powf(1.0 - m) },
                Form::FinnisSinclairShiftedScaled if (m - 1.0).abs() < 1e-10 => Function::Identity,
                Form::FinnisSinclairShiftedScaled => {
                    let n = 1.0 / m;
                    Function::Shifted { m, x: n.powf(n / (1.0 - n)), y: n.powf(1.0 / (1.0 - n)) }
                }
            };
            Density { weight, function }
        };
        embedding.densities.iter().map(density).collect()
    }

    /// Weight, kind (0: identity, 1: power, 2: shifted) and parameters, for device code.
    #[cfg(feature = "cuda")]
    pub fn numbers(&self) -> [f64; 5] {
        match self.function {
            Function::Identity => [self.weight, 0.0, 1.0, 0.0, 0.0],
            Function::Power { m, slope } => [self.weight, 1.0, m, slope, 0.0],
            Function::Shifted { m, x, y } => [self.weight, 2.0, m, x, y],
        }
    }

    /// `w F(ρ)` and its derivative.
    #[inline(always)]
    pub fn eval<D: Lanes<Real = f64>>(&self, rho: D) -> [D; 2] {
        let (number, weight) = (D::splat, D::splat(self.weight));
        let (zero, one, a) = (D::zero(), number(1.0), rho.max(-rho));
        let [f, df] = match self.function {
            Function::Identity => return [weight * rho, weight],
            Function::Power { m, slope } => {
                let (x, slope) = (a.max(number(1e-10)), number(slope));
                let power = pow(x, number(m));
                let below = number(m) * power.div(x);
                // 0 from where its share is below the last bit.
                let omega = number(OMEGA);
                let q = omega * x * (omega * x) * (omega * x);
                let gamma = number(30.0).select_lt(q, zero, exp(-q));
                let d_gamma = number(-3.0 * OMEGA) * (omega * x) * (omega * x);
                let d_gamma = number(30.0).select_lt(q, zero, d_gamma * gamma);
                let line = slope * x;
                let f = (one - gamma) * power + gamma * line;
                let df = (one - gamma) * below + gamma * slope + d_gamma * (line - power);
                let tiny = |small, f| number(1e-10).select_lt(a, f, small);
                [tiny(slope * a, f), tiny(slope, df)]
            }
            Function::Shifted { m, x, y } => {
                let decay = exp(-a);
                let (x, y) = (number(x) * decay, number(y) * decay);
                let base = x + a;
                let power = if m == 0.5 { base.sqrt() } else { pow(base, number(m)) };
                [power - y, y + number(m) * (one - x) * power.div(base)]
            }
        };
        [weight * rho.select_lt(zero, -f, f), weight * df]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Portable;

    type One = Portable<f64, 2>;

    #[test]
    fn slopes_are_differences_and_functions_are_odd() {
        for form in [Form::FinnisSinclair, Form::FinnisSinclairShiftedScaled] {
            for m in [0.5, 0.75, 1.0, 1.5, 2.0] {
                let embedding = Embedding { form, densities: vec![[1.7, m]], core: [1e5, 250.0] };
                let density = Density::of(&embedding)[0];
                let at = |rho: f64| density.eval(One::splat(rho)).map(|x| x.to_array()[0]);
                for k in -170..=30 {
                    let rho = 10_f64.powf(f64::from(k) / 20.0);
                    let [f, df] = at(rho);
                    assert_eq!(at(-rho), [-f, df]);
                    let h = 1e-4 * rho;
                    let difference = (at(rho + h)[0] - at(rho - h)[0]) / (2.0 * h);
                    // Rounding of F, which has a constant in it.
                    let rounding = 1e-15 * (1.0 + f.abs()) / h;
                    assert!(
                        (df - difference).abs() < 1e-6 * df.abs() + rounding,
                        "{form:?} {m} {rho}: {df} {difference}"
                    );
                }
                assert!(at(0.0)[0].abs() < 1e-15, "{form:?} {m}");
            }
        }
    }
}
