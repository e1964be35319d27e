//! Numbers with their first and second derivative along one variable.

use std::ops::{Add, Div, Mul, Sub};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Jet {
    pub value: f64,
    pub first: f64,
    pub second: f64,
}

impl Jet {
    pub fn constant(value: f64) -> Jet {
        Jet { value, first: 0.0, second: 0.0 }
    }

    pub fn variable(value: f64) -> Jet {
        Jet { value, first: 1.0, second: 0.0 }
    }

    /// `f` with this inside, given `f`, `f'` and `f''` there.
    fn chain(self, [f, df, ddf]: [f64; 3]) -> Jet {
        Jet { value: f, first: df * self.first, second: ddf * self.first * self.first + df * self.second }
    }

    pub fn sin(self) -> Jet {
        let (s, c) = self.value.sin_cos();
        self.chain([s, c, -s])
    }

    pub fn exp(self) -> Jet {
        let e = self.value.exp();
        self.chain([e; 3])
    }

    pub fn tanh(self) -> Jet {
        let t = self.value.tanh();
        let d = 1.0 - t * t;
        self.chain([t, d, -2.0 * t * d])
    }

    pub fn powi(self, n: i32) -> Jet {
        let (x, k) = (self.value, f64::from(n));
        // Of order 0 and 1 there is no power left to take.
        let power = |n: i32| if n < 0 { 0.0 } else { x.powi(n) };
        self.chain([power(n), k * power(n - 1), k * (k - 1.0) * power(n - 2)])
    }

    pub fn powf(self, p: f64) -> Jet {
        let (x, y) = (self.value, self.value.powf(p));
        self.chain([y, p * y / x, p * (p - 1.0) * y / (x * x)])
    }
}

impl Add for Jet {
    type Output = Jet;
    fn add(self, o: Jet) -> Jet {
        Jet { value: self.value + o.value, first: self.first + o.first, second: self.second + o.second }
    }
}

impl Sub for Jet {
    type Output = Jet;
    fn sub(self, o: Jet) -> Jet {
        self + o * -1.0
    }
}

impl Mul for Jet {
    type Output = Jet;
    fn mul(self, o: Jet) -> Jet {
        Jet {
            value: self.value * o.value,
            first: self.value * o.first + self.first * o.value,
            second: self.value * o.second + 2.0 * self.first * o.first + self.second * o.value,
        }
    }
}

impl Mul<f64> for Jet {
    type Output = Jet;
    fn mul(self, k: f64) -> Jet {
        Jet { value: self.value * k, first: self.first * k, second: self.second * k }
    }
}

impl Div for Jet {
    type Output = Jet;
    fn div(self, o: Jet) -> Jet {
        let x = 1.0 / o.value;
        self * o.chain([x, -x * x, 2.0 * x * x * x])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_agree_with_finite_differences() {
        let f = |x: Jet| (x.sin() / x + (x * -0.3).exp() * x.tanh() - x.powi(3)).powi(2) + x.powf(1.7) + x.powi(1);
        for x in [0.4, 1.3, 2.9] {
            let at = |x: f64| f(Jet::variable(x));
            let (h, jet) = (1e-5, at(x));
            let (p, m) = (at(x + h), at(x - h));
            assert!((jet.first - (p.value - m.value) / (2.0 * h)).abs() < 1e-8 * (1.0 + jet.first.abs()));
            assert!((jet.second - (p.first - m.first) / (2.0 * h)).abs() < 1e-8 * (1.0 + jet.second.abs()));
        }
    }
}
