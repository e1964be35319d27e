//! Activations and their first two derivatives.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    Identity,
    /// `x σ(x)`
    Silu,
    /// `σ(x) = 1/(1 + exp(−x))`
    Sigmoid,
    Tanh,
    Relu,
    /// Shifted softplus, `log(1 + exp(x)) − log 2`.
    Ssp,
    Abs,
}

impl Activation {
    /// Its function in `kernels/ops/activation.cuh`.
    #[cfg(feature = "cuda")]
    pub(crate) fn curve(self) -> &'static str {
        match self {
            Activation::Identity => "curve_identity",
            Activation::Silu => "curve_silu",
            Activation::Sigmoid => "curve_sigmoid",
            Activation::Tanh => "curve_tanh",
            Activation::Relu => "curve_relu",
            Activation::Ssp => "curve_ssp",
            Activation::Abs => "curve_abs",
        }
    }

    /// `φ`, `φ'`, `φ''`
    #[inline]
    pub fn eval(self, x: f64) -> [f64; 3] {
        match self {
            Activation::Identity => [x, 1.0, 0.0],
            Activation::Silu => {
                let s = sigmoid(x);
                let d = s * (1.0 - s);
                [x * s, s + x * d, d * (2.0 + x * (1.0 - 2.0 * s))]
            }
            Activation::Sigmoid => {
                let s = sigmoid(x);
                let d = s * (1.0 - s);
                [s, d, d * (1.0 - 2.0 * s)]
            }
            Activation::Tanh => {
                let t = x.tanh();
                let d = 1.0 - t * t;
                [t, d, -2.0 * t * d]
            }
            Activation::Relu => [x.max(0.0), if x > 0.0 { 1.0 } else { 0.0 }, 0.0],
            Activation::Ssp => {
                let s = sigmoid(x);
                [x.max(0.0) + (-x.abs()).exp().ln_1p() - std::f64::consts::LN_2, s, s * (1.0 - s)]
            }
            Activation::Abs => [x.abs(), if x == 0.0 { 0.0 } else { x.signum() }, 0.0],
        }
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Activation::*;

    #[test]
    fn derivatives_agree_with_finite_differences() {
        for activation in [Identity, Silu, Sigmoid, Tanh, Relu, Ssp, Abs] {
            for x in [-3.1, -0.4, 0.7, 2.2] {
                let (h, [_, d, dd]) = (1e-5, activation.eval(x));
                let (p, m) = (activation.eval(x + h), activation.eval(x - h));
                assert!((d - (p[0] - m[0]) / (2.0 * h)).abs() < 1e-9, "{activation:?}({x})");
                assert!((dd - (p[1] - m[1]) / (2.0 * h)).abs() < 1e-9, "{activation:?}({x})");
            }
            // Far out nothing is lost to an overflow.
            assert!([-1e3, 1e3].into_iter().flat_map(|x| activation.eval(x)).all(f64::is_finite), "{activation:?}");
        }
    }
}
