//! Radial features, and the nets that make the weights of the product from them.
//!
//! All of it is a function of the distance and of the pair of species, which devices keep in tables: [`Radial::columns`] gives its
//! values with two derivatives, in double precision.

use super::jet::Jet;

#[derive(Clone, Debug)]
pub enum Basis {
    /// `prefactor · sin(w t)/t`
    Bessel { weights: Vec<f64>, prefactor: f64 },
    /// `exp(γ (t − μ)²)`
    Gaussian { centres: Vec<f64>, coefficient: f64 },
    /// `T_n(t)`
    Chebyshev { orders: Vec<usize> },
}

/// Of the distance, with covalent radii by species, Å.
#[derive(Clone, Debug)]
pub enum Transform {
    None,
    Agnesi { a: f64, q: f64, p: f64, radii: Vec<f64> },
    Soft { alpha: f64, radii: Vec<f64> },
}

/// From the distance to radial features.
#[derive(Clone, Debug)]
pub struct Features {
    pub basis: Basis,
    pub transform: Transform,
    /// Å.
    pub cutoff: f64,
    /// The power of the polynomial cutoff.
    pub p: f64,
    /// Whether the cutoff multiplies the features; otherwise it multiplies what is made of them.
    pub early: bool,
}

#[derive(Clone, Debug)]
pub enum Net {
    /// `x ← κ silu(x W)`, the last layer without activation. Factors are in the matrices, (in, out).
    Plain { layers: Vec<Dense>, constant: f64 },
    /// `x ← silu(norm(x W + b))`, the last layer `x W + b`.
    LayerNorm { layers: Vec<Dense>, norms: Vec<LayerNorm> },
}

#[derive(Clone, Debug)]
pub struct Dense {
    pub n_out: usize,
    /// (in, out).
    pub w: Vec<f64>,
    /// (out), or empty.
    pub b: Vec<f64>,
}

#[derive(Clone, Debug)]
pub struct LayerNorm {
    pub eps: f64,
    pub w: Vec<f64>,
    pub b: Vec<f64>,
}

/// On which species the columns depend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// On none: one table for all.
    One,
    /// On the pair, whichever is the centre.
    Unordered,
    Ordered,
}

/// Columns of a layer: the weights of its paths, and the edge density after them.
#[derive(Clone, Debug)]
pub struct Radial {
    pub features: Features,
    /// Tables (species, n) of the sender and of the receiver, whose rows follow the features.
    pub tables: Option<[Vec<f64>; 2]>,
    pub net: Net,
    /// `tanh(d²)` of its single output.
    pub density: Option<Net>,
    pub n_weights: usize,
    pub n_species: usize,
}

impl Radial {
    pub fn n_columns(&self) -> usize {
        self.n_weights + usize::from(self.density.is_some())
    }

    pub fn pairs(&self) -> Pairs {
        match (&self.tables, &self.features.transform) {
            (Some(_), _) => Pairs::Ordered,
            (None, Transform::None) => Pairs::One,
            (None, _) => Pairs::Unordered,
        }
    }

    /// Columns with their derivatives at the distance `r` (Å) of a sender from a receiver of these species.
    pub fn columns(&self, sender: usize, receiver: usize, r: f64) -> Vec<Jet> {
        let (mut input, cutoff) = self.features.at(sender, receiver, r);
        if let Some([of_sender, of_receiver]) = &self.tables {
            for (table, species) in [(of_sender, sender), (of_receiver, receiver)] {
                let width = table.len() / self.n_species;
                input.extend(table[species * width..][..width].iter().map(|&x| Jet::constant(x)));
            }
        }
        let mut out = self.net.apply(&input);
        if let Some(density) = &self.density {
            let d = density.apply(&input)[0];
            out.push((d * d).tanh());
        }
        if !self.features.early {
            out.iter_mut().for_each(|w| *w = *w * cutoff);
        }
        out
    }
}

impl Features {
    /// Radial features, with the cutoff where it multiplies them, and the cutoff, at the distance `r` (Å) of a sender from a receiver.
    pub fn at(&self, sender: usize, receiver: usize, r: f64) -> (Vec<Jet>, Jet) {
        let r = Jet { x: r, d: 1.0, dd: 0.0 };
        let cutoff = polynomial_cutoff(r.scale(1.0 / self.cutoff), self.p);
        let mut features = self.basis(sender, receiver, r);
        if self.early {
            features.iter_mut().for_each(|e| *e = *e * cutoff);
        }
        (features, cutoff)
    }

    fn basis(&self, sender: usize, receiver: usize, r: Jet) -> Vec<Jet> {
        let t = self.transform.apply(sender, receiver, r);
        match &self.basis {
            Basis::Bessel { weights, prefactor } => weights.iter().map(|&w| t.bessel(w).scale(*prefactor)).collect(),
            Basis::Gaussian { centres, coefficient } => {
                let gaussian = |&mu: &f64| {
                    let x = t - Jet::constant(mu);
                    (x * x).scale(*coefficient).exp()
                };
                centres.iter().map(gaussian).collect()
            }
            Basis::Chebyshev { orders } => {
                let mut all = vec![Jet::constant(1.0), t];
                for n in 2..=orders.iter().copied().max().unwrap_or(0) {
                    all.push((t * all[n - 1]).scale(2.0) - all[n - 2]);
                }
                orders.iter().map(|&n| all[n]).collect()
            }
        }
    }
}

impl Transform {
    fn apply(&self, sender: usize, receiver: usize, r: Jet) -> Jet {
        let one = Jet::constant(1.0);
        match self {
            Transform::None => r,
            Transform::Agnesi { a, q, p, radii } => {
                let s = r.scale(2.0 / (radii[sender] + radii[receiver]));
                // The same with powers of one sign, so that it is finite at the origin.
                let x = match p > q {
                    true => s.powf(*p).scale(*a) * (one + s.powf(p - q)).recip(),
                    false => s.powf(*q).scale(*a) * (one + s.powf(q - p)).recip(),
                };
                (one + x).recip()
            }
            Transform::Soft { alpha, radii } => {
                let r0 = radii[sender] + radii[receiver];
                let (p0, p1) = (0.75 * r0, 4.0 / 3.0 * r0);
                let m = 0.5 * (p0 + p1);
                let step = ((r - Jet::constant(m)).scale(alpha / (p1 - p0))).tanh() + one;
                Jet::constant(p0) + (r - Jet::constant(p0)) * step.scale(0.5)
            }
        }
    }
}

/// `1 − (p+1)(p+2)/2 u^p + p(p+2) u^(p+1) − p(p+1)/2 u^(p+2)`, 0 from `u = 1` on.
pub fn polynomial_cutoff(u: Jet, p: f64) -> Jet {
    if u.x >= 1.0 {
        return Jet::default();
    }
    Jet::constant(1.0) - u.powf(p).scale(0.5 * (p + 1.0) * (p + 2.0)) + u.powf(p + 1.0).scale(p * (p + 2.0))
        - u.powf(p + 2.0).scale(0.5 * p * (p + 1.0))
}

impl Net {
    fn layers(&self) -> &[Dense] {
        match self {
            Net::Plain { layers, .. } | Net::LayerNorm { layers, .. } => layers,
        }
    }

    fn apply(&self, input: &[Jet]) -> Vec<Jet> {
        let layers = self.layers();
        let mut x = layers[0].apply(input);
        for (k, layer) in layers.iter().enumerate().skip(1) {
            match self {
                Net::Plain { constant, .. } => x.iter_mut().for_each(|x| *x = x.silu().scale(*constant)),
                Net::LayerNorm { norms, .. } => {
                    norms[k - 1].apply(&mut x);
                    x.iter_mut().for_each(|x| *x = x.silu());
                }
            }
            x = layer.apply(&x);
        }
        x
    }
}

impl Dense {
    fn apply(&self, x: &[Jet]) -> Vec<Jet> {
        let n = self.n_out;
        // Values and derivatives apart: plain loops over what lies side by side.
        let mut out = [vec![0.0; n], vec![0.0; n], vec![0.0; n]];
        out[0][..self.b.len()].copy_from_slice(&self.b);
        for (x, row) in x.iter().zip(self.w.chunks(n)) {
            for (out, x) in out.iter_mut().zip([x.x, x.d, x.dd]) {
                out.iter_mut().zip(row).for_each(|(o, w)| *o += x * w);
            }
        }
        (0..n).map(|k| Jet { x: out[0][k], d: out[1][k], dd: out[2][k] }).collect()
    }
}

impl LayerNorm {
    fn apply(&self, x: &mut [Jet]) {
        let n = x.len() as f64;
        let sum = |f: &dyn Fn(Jet) -> Jet| x.iter().fold(Jet::default(), |s, &x| s + f(x)).scale(1.0 / n);
        let mean = sum(&|x| x);
        let variance = sum(&|x| (x - mean) * (x - mean));
        let inverse = (variance + Jet::constant(self.eps)).sqrt().recip();
        for (k, x) in x.iter_mut().enumerate() {
            *x = ((*x - mean) * inverse).scale(self.w[k]) + Jet::constant(self.b[k]);
        }
    }
}
