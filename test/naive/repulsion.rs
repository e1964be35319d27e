//! Nuclei that repel each other, from the formulas of Ziegler, Biersack and Littmark and of pacemaker.

use super::dual::Dual;
use acerust::model::spec::ZblSpec;

/// `½ V(|r|)` between atoms of these species.
pub fn zbl(spec: &ZblSpec, numbers: &[u8], [a, b]: [usize; 2], r: [f64; 3]) -> Dual {
    let (n, low, high) = (numbers.len(), a.min(b), a.max(b));
    // Unordered pairs, row by row.
    let [rcut, dcut] = spec.pairs[(0..low).map(|i| n - i).sum::<usize>() + high - low];
    let x = Dual::vector(r);
    let r = (x[0] * x[0] + x[1] * x[1] + x[2] * x[2]).sqrt();
    if r.value >= rcut {
        return Dual::default();
    }
    let [zi, zj] = [a, b].map(|s| f64::from(numbers[s]));
    let length = 0.4685 / (zi.powf(0.23) + zj.powf(0.23));
    let charges = 14.399645351950543 * zi * zj;
    // The bare repulsion and two derivatives by r.
    let bare = |r: Dual| {
        let terms = [(0.18175, 3.1998), (0.50986, 0.94229), (0.28022, 0.4029), (0.02817, 0.20162)];
        let phi = |power: i32| {
            let term = |(c, q): (f64, f64)| (r * (-q / length)).exp() * (c * (-q / length).powi(power));
            terms.map(term).into_iter().fold(Dual::default(), |sum, t| sum + t)
        };
        let (f, df, ddf) = (phi(0) / r, (phi(1) - phi(0) / r) / r, phi(2));
        [f, df, (ddf - df * 2.0) / r].map(|v| v * charges)
    };
    let [v, dv, ddv] = bare(Dual::constant(rcut)).map(|v| v.value);
    let a = (dcut * ddv - 3.0 * dv) / dcut.powi(2);
    let b = (2.0 * dv - dcut * ddv) / dcut.powi(3);
    let c = -v + dcut * dv / 2.0 - dcut * dcut * ddv / 12.0;
    let mut shift = Dual::constant(c);
    let mut fall = Dual::constant(1.0);
    if r.value > rcut - dcut {
        let u = r + Dual::constant(dcut - rcut);
        shift = shift + u * u * u * (a / 3.0) + u * u * u * u * (b / 4.0);
        let x = (r + Dual::constant(-rcut)) * (2.0 / dcut) + Dual::constant(1.0);
        let x3 = x * x * x;
        fall = Dual::constant(0.5) - (x * 0.25 - x3 * (1.0 / 6.0) + x3 * x * x * 0.05) * (15.0 / 4.0);
    }
    (bare(r)[0] + shift) * fall * 0.5
}
