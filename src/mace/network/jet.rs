//! A number with its first and second derivative by the distance.

use std::ops::{Add, Mul, Sub};

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Jet {
    pub x: f64,
    pub d: f64,
    pub dd: f64,
}

impl Jet {
    pub fn constant(x: f64) -> Jet {
        Jet { x, d: 0.0, dd: 0.0 }
    }

    /// `f(self)` from `f`, `f'` and `f''` there.
    pub fn chain(self, [f, f1, f2]: [f64; 3]) -> Jet {
        Jet { x: f, d: f1 * self.d, dd: f2 * self.d * self.d + f1 * self.dd }
    }

    pub fn scale(self, k: f64) -> Jet {
        Jet { x: k * self.x, d: k * self.d, dd: k * self.dd }
    }

    pub fn recip(self) -> Jet {
        let f = 1.0 / self.x;
        self.chain([f, -f * f, 2.0 * f * f * f])
    }

    /// `self^p` for `self ≥ 0`, `p` above 2 where it may be 0.
    pub fn powf(self, p: f64) -> Jet {
        let at = |q: f64| if q == 0.0 { 1.0 } else { self.x.powf(q) };
        self.chain([at(p), p * at(p - 1.0), if p == 1.0 { 0.0 } else { p * (p - 1.0) * at(p - 2.0) }])
    }

    pub fn exp(self) -> Jet {
        let f = self.x.exp();
        self.chain([f; 3])
    }

    pub fn tanh(self) -> Jet {
        let f = self.x.tanh();
        let f1 = 1.0 - f * f;
        self.chain([f, f1, -2.0 * f * f1])
    }

    pub fn sqrt(self) -> Jet {
        let f = self.x.sqrt();
        self.chain([f, 0.5 / f, -0.25 / (f * self.x)])
    }

    /// `x σ(x)`
    pub fn silu(self) -> Jet {
        let s = 1.0 / (1.0 + (-self.x).exp());
        let d = s * (1.0 - s);
        self.chain([self.x * s, s + self.x * d, 2.0 * d + self.x * d * (1.0 - 2.0 * s)])
    }

    /// `sin(w self) / self`
    pub fn bessel(self, w: f64) -> Jet {
        let t = self.x;
        let (sin, cos) = (w * t).sin_cos();
        if (w * t).abs() < 1e-3 {
            let u = (w * t) * (w * t);
            let w3 = w * w * w;
            return self.chain([
                w * (1.0 - u / 6.0 + u * u / 120.0),
                -w3 * t * (1.0 / 3.0 - u / 30.0),
                -w3 * (1.0 / 3.0 - u / 10.0),
            ]);
        }
        let f = sin / t;
        let f1 = (w * cos - f) / t;
        self.chain([f, f1, (-w * w * sin - 2.0 * f1) / t])
    }
}

impl Add for Jet {
    type Output = Jet;
    fn add(self, o: Jet) -> Jet {
        Jet { x: self.x + o.x, d: self.d + o.d, dd: self.dd + o.dd }
    }
}

impl Sub for Jet {
    type Output = Jet;
    fn sub(self, o: Jet) -> Jet {
        self + o.scale(-1.0)
    }
}

impl Mul for Jet {
    type Output = Jet;
    fn mul(self, o: Jet) -> Jet {
        Jet { x: self.x * o.x, d: self.d * o.x + self.x * o.d, dd: self.dd * o.x + 2.0 * self.d * o.d + self.x * o.dd }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_agree_with_finite_differences() {
        let functions: [fn(Jet) -> Jet; 9] = [
            |r| r.recip(),
            |r| r.powf(3.7),
            |r| r.exp(),
            |r| r.tanh(),
            |r| r.sqrt(),
            |r| r.silu(),
            |r| r.bessel(2.5),
            |r| r.scale(1e-4).bessel(1.5),
            |r| (r * r - r.scale(0.3)) * r.silu(),
        ];
        for (k, f) in functions.into_iter().enumerate() {
            let (r, h) = (0.83, 1e-4);
            let at = |x: f64| f(Jet { x, d: 1.0, dd: 0.0 });
            let (a, b, c) = (at(r - h), at(r), at(r + h));
            assert!((b.d - (c.x - a.x) / (2.0 * h)).abs() < 1e-6, "function {k}");
            assert!((b.dd - (c.d - a.d) / (2.0 * h)).abs() < 1e-6, "function {k}");
        }
    }
}
