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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_differences_and_functions_are_odd() {
        for form in [Form::FinnisSinclair, Form::FinnisSinclairShiftedScaled] {
            for m in [0.5, 0.75, 1.0, 1.5, 2.0] {
                let embedding = Embedding { form, densities: vec![[1.7, m]], core: [1e5, 250.0] };
                let density = Density::of(&embedding)[0];
                for k in -170..=30 {
                    let rho = 10_f64.powf(f64::from(k) / 20.0);
                    let [f, df] = density.eval(rho);
                    assert_eq!(density.eval(-rho), [-f, df]);
                    let h = 1e-4 * rho;
                    let difference = (density.eval(rho + h)[0] - density.eval(rho - h)[0]) / (2.0 * h);
                    // Rounding of F, which has a constant in it.
                    let rounding = 1e-15 * (1.0 + f.abs()) / h;
                    assert!(
                        (df - difference).abs() < 1e-6 * df.abs() + rounding,
                        "{form:?} {m} {rho}: {df} {difference}"
                    );
                }
                assert!(density.eval(0.0)[0].abs() < 1e-15, "{form:?} {m}");
            }
        }
    }
}
