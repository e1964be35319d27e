//! Numbers that carry their gradient with respect to one vector.

use std::ops::{Add, Div, Mul, Neg, Sub};

#[derive(Clone, Copy, Debug, Default)]
pub struct Dual {
    pub value: f64,
    pub gradient: [f64; 3],
}

impl Dual {
    pub fn constant(value: f64) -> Dual {
        Dual { value, gradient: [0.0; 3] }
    }

    /// The components of a vector, differentiated by themselves.
    pub fn vector(x: [f64; 3]) -> [Dual; 3] {
        std::array::from_fn(|a| Dual { value: x[a], gradient: std::array::from_fn(|b| f64::from(u8::from(a == b))) })
    }

    /// `f(x)`, given value and derivative of `f`.
    pub fn chain(self, value: f64, slope: f64) -> Dual {
        Dual { value, gradient: self.gradient.map(|g| slope * g) }
    }

    pub fn powi(self, n: i32) -> Dual {
        match n {
            0 => Dual::constant(1.0),
            _ => self.chain(self.value.powi(n), f64::from(n) * self.value.powi(n - 1)),
        }
    }

    pub fn exp(self) -> Dual {
        self.chain(self.value.exp(), self.value.exp())
    }

    pub fn sqrt(self) -> Dual {
        let root = self.value.sqrt();
        self.chain(root, 0.5 / root)
    }
}

impl Add for Dual {
    type Output = Dual;
    fn add(self, other: Dual) -> Dual {
        let gradient = std::array::from_fn(|a| self.gradient[a] + other.gradient[a]);
        Dual { value: self.value + other.value, gradient }
    }
}

impl Mul for Dual {
    type Output = Dual;
    fn mul(self, other: Dual) -> Dual {
        let gradient = std::array::from_fn(|a| self.gradient[a] * other.value + self.value * other.gradient[a]);
        Dual { value: self.value * other.value, gradient }
    }
}

impl Neg for Dual {
    type Output = Dual;
    fn neg(self) -> Dual {
        self * -1.0
    }
}

impl Sub for Dual {
    type Output = Dual;
    fn sub(self, other: Dual) -> Dual {
        self + -other
    }
}

impl Div for Dual {
    type Output = Dual;
    fn div(self, other: Dual) -> Dual {
        self * other.powi(-1)
    }
}

impl Add<f64> for Dual {
    type Output = Dual;
    fn add(self, other: f64) -> Dual {
        self + Dual::constant(other)
    }
}

impl Mul<f64> for Dual {
    type Output = Dual;
    fn mul(self, other: f64) -> Dual {
        Dual { value: self.value * other, gradient: self.gradient.map(|g| g * other) }
    }
}

impl std::iter::Sum for Dual {
    fn sum<I: Iterator<Item = Dual>>(iter: I) -> Dual {
        iter.fold(Dual::default(), |a, b| a + b)
    }
}
