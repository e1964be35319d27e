//! Embedding of densities: `E = Σ_p w_p F(ρ_p; m_p)`, odd in `ρ`, one centre at a time in double precision.

use super::spec::{Embedding, Form};

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

    /// `w F(ρ)` and its derivative.
    pub fn eval(&self, rho: f64) -> [f64; 2] {
        let a = rho.abs();
        let [f, df] = match self.function {
            Function::Identity => return [self.weight * rho, self.weight],
            Function::Power { slope, .. } if a <= 1e-10 => [slope * a, slope],
            Function::Power { m, slope } => {
                let q = (OMEGA * a).powi(3);
                let (power, below) = (a.powf(m), m * a.powf(m - 1.0));
                if q > 30.0 {
                    [power, below]
                } else {
                    let gamma = (-q).exp();
                    let d_gamma = -3.0 * OMEGA * (OMEGA * a).powi(2) * gamma;
                    let line = slope * a;
                    [
                        (1.0 - gamma) * power + gamma * line,
                        (1.0 - gamma) * below + gamma * slope + d_gamma * (line - power),
                    ]
                }
            }
            Function::Shifted { m, x, y } => {
                let decay = (-a).exp();
                let (x, y) = (x * decay, y * decay);
                let base = x + a;
                let power = if m == 0.5 { base.sqrt() } else { base.powf(m) };
                [power - y, y + m * (1.0 - x) * (power / base)]
            }
        };
        [self.weight * if rho < 0.0 { -f } else { f }, self.weight * df]
    }
}
