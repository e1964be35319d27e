//! The screened repulsion of nuclei of Ziegler, Biersack and Littmark.

use super::jet::Jet;
use super::radial::polynomial_cutoff;

/// e²/4πε0, eV Å, as the training program has it.
const COULOMB: f64 = 14.3996;
/// The Bohr radius, Å, as the training program has it.
const BOHR: f64 = 0.529;
/// What the distance over the screening length decays by.
pub const DECAY: [f64; 4] = [3.2, 0.9423, 0.4028, 0.2016];

/// `P_i = ½ Σ_j 14.3996 Z_i Z_j/r φ(r/a) f(r)`, with the cutoff f at the sum of covalent radii.
#[derive(Clone, Debug)]
pub struct Zbl {
    pub c: [f64; 4],
    pub p: f64,
    pub exponent: f64,
    pub prefactor: f64,
    /// Nuclear charges and covalent radii (Å) by species.
    pub charges: Vec<f64>,
    pub radii: Vec<f64>,
}

impl Zbl {
    /// The largest cutoff of all pairs, Å.
    pub fn cutoff(&self) -> f64 {
        2.0 * self.radii.iter().copied().fold(0.0, f64::max)
    }

    /// Of a pair of species: the cutoff, Å; the screening length, Å; half of e²/4πε0 times both charges, eV Å.
    pub fn constants(&self, a: usize, b: usize) -> [f64; 3] {
        let (za, zb) = (self.charges[a], self.charges[b]);
        let length = self.prefactor * BOHR / (za.powf(self.exponent) + zb.powf(self.exponent));
        [self.radii[a] + self.radii[b], length, 0.5 * COULOMB * za * zb]
    }

    /// The centre's share of a pair's energy and its derivative by `r`, eV and eV/Å, before the model's scale.
    pub fn pair(&self, a: usize, b: usize, r: f64) -> [f64; 2] {
        let [cutoff, length, charge] = self.constants(a, b);
        if r >= cutoff {
            return [0.0; 2];
        }
        let r = Jet { x: r, d: 1.0, dd: 0.0 };
        let screen = |s: Jet, (c, b): (f64, f64)| s + r.scale(-b / length).exp().scale(c);
        let phi = self.c.into_iter().zip(DECAY).fold(Jet::default(), screen);
        let e = r.recip().scale(charge) * phi * polynomial_cutoff(r.scale(1.0 / cutoff), self.p);
        [e.x, e.d]
    }
}
