//! `E_i = ½ Σ_j V(r_ij)`: nuclei that repel each other, screened by their electrons, up to a cutoff of each pair of species.

use super::Kind;
use super::check::{At as _, cutoff, length};
#[cfg(feature = "cuda")]
use super::{At, PartKernels};
use crate::part::cpu::{Scratch, SitePart};
use crate::simd::{Lanes, Real, as_reals_mut};
use crate::stage::block::{Block, NONE};
use crate::stage::core::{Core, One};
use crate::stage::spec::{CorePairSpec, CoreSpec, InnerCutoff};
use crate::stage::table::RadialMode;
use serde::{Deserialize, Serialize};

/// `E_i = ½ Σ_j V(r_ij)` with `V = (K Z_i Z_j φ(r/a)/r + S(r)) (1 − f(r))` of Ziegler, Biersack and Littmark (1985): `S` takes the repulsion
/// and its first two derivatives to 0 at the cutoff, `f` rises from 0 to 1 over the last stretch before it (pacemaker's form).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZblSpec {
    /// `[rcut, dcut]` of each unordered pair of species, in the order (0,0), (0,1) … (0,n−1), (1,1) …: where the repulsion ends, and the length
    /// of the stretch before, Å.
    pub pairs: Vec<[f64; 2]>,
}

impl ZblSpec {
    /// `numbers` are those of the model's species.
    fn core(&self, numbers: &[u8]) -> Core {
        let n = numbers.len();
        let pair = |p: usize| {
            let (a, b) = ((p / n).min(p % n), (p / n).max(p % n));
            let [rcut, dcut] = self.pairs[a * n - a * (a + 1) / 2 + b];
            CorePairSpec { rcut, dcut, inner: 0.0, inner_width: 0.0, prefactor: 1.0, lambda: 0.0 }
        };
        let pairs = (0..n * n).map(pair).collect();
        Core::new(&CoreSpec { inner: InnerCutoff::Zbl, pairs }, numbers, None)
    }
}

impl Kind for ZblSpec {
    fn rcut(&self) -> f64 {
        self.pairs.iter().fold(0.0, |most, &[rcut, _]| most.max(rcut))
    }

    fn check(&self, n_species: usize) -> Result<(), String> {
        length(self.pairs.len(), n_species * (n_species + 1) / 2).at(|| "pairs".into())?;
        self.pairs.iter().enumerate().try_for_each(|(k, &[rcut, dcut])| {
            cutoff(rcut).at(|| format!("pairs[{k}]: "))?;
            match dcut > 0.0 && dcut <= rcut {
                true => Ok(()),
                false => Err(format!("pairs[{k}]: a stretch of {dcut} Å is not above 0 and at most {rcut}")),
            }
        })
    }

    fn describe(&self) -> String {
        format!(": cutoff {} Å", self.rcut())
    }

    fn memory(&self) -> usize {
        size_of_val(&self.pairs[..])
    }

    fn compile<V: Lanes>(&self, species: &[u8], _: RadialMode) -> Option<Box<dyn SitePart<V>>> {
        Some(Box::new(Zbl { rcut: self.rcut(), core: self.core(species), n_species: species.len() }))
    }

    #[cfg(feature = "cuda")]
    fn compile_cuda(&self, at: &At) -> Result<Option<PartKernels>, String> {
        Ok(Some(PartKernels::zbl(self.core(at.species), self.rcut(), at)))
    }
}

/// On the processor: few edges are so short, so they are looked at one by one, in double precision.
struct Zbl {
    rcut: f64,
    core: Core,
    n_species: usize,
}

impl Zbl {
    /// Calls `each` with slot, lane, energy and slope of the edges that repel.
    fn for_each<V: Lanes>(&self, block: &Block<V>, mut each: impl FnMut(usize, usize, f64, f64)) {
        for slot in 0..block.n_slots {
            let (pairs, r) = (block.pairs(slot, self.n_species), block.r[slot].to_array());
            for lane in 0..V::N {
                let r = r[lane].to_f64();
                if r < self.core.pairs[pairs[lane]].reach && block.edges(slot)[lane] != NONE {
                    let [value, slope] = self.core.eval(pairs[lane], One::splat(r)).map(|x| x.to_array()[0]);
                    each(slot, lane, value, slope);
                }
            }
        }
    }
}

impl<V: Lanes> SitePart<V> for Zbl {
    fn rcut(&self) -> f64 {
        self.rcut
    }

    fn by_species(&self) -> bool {
        false
    }

    fn energy(&self, block: &Block<V>, _: &mut Scratch<V>, _: usize, energy: &mut [V]) {
        self.for_each(block, |_, lane, value, _| {
            energy.iter_mut().for_each(|e| as_reals_mut(std::slice::from_mut(e))[lane] += V::Real::of(value));
        });
    }

    fn energy_gradient(
        &self,
        block: &Block<V>,
        _: &mut Scratch<V>,
        _: usize,
        energy: &mut [V],
        gradient: &mut [[V; 3]],
    ) {
        self.for_each(block, |slot, lane, value, slope| {
            let [x, y, z, inv_r] = block.vectors(slot).map(|v| v.to_array()[lane].to_f64());
            for (readout, e) in energy.iter_mut().enumerate() {
                as_reals_mut(std::slice::from_mut(e))[lane] += V::Real::of(value);
                for (g, x) in gradient[readout * block.n_slots + slot].iter_mut().zip([x, y, z]) {
                    as_reals_mut(std::slice::from_mut(g))[lane] += V::Real::of(slope * x * inv_r);
                }
            }
        });
    }

    fn bytes(&self) -> usize {
        size_of_val(&self.core.pairs[..])
    }
}

#[cfg(test)]
mod tests {
    use crate::model::Model;
    use crate::plan::{Device, Outputs, Plan, Precision};
    use crate::structure::Structure;

    #[test]
    fn two_derivatives_are_continuous_down_to_a_tenth_of_an_angstrom() {
        let parts = serde_json::json!([{"type": "zbl", "pairs": [[2.0, 0.8], [1.6, 1.0], [1.2, 1.2]]}]);
        let file = serde_json::json!({"format": "acerust-model/1", "name": "", "source": "", "species": [14, 8], "parts": parts});
        let plan = Plan::new(&Model::from_json(file.to_string()).unwrap(), Device::Cpu, Precision::F64).unwrap();
        // Energy and slope of a pair of silicon and oxygen.
        let at = |r: f64| {
            let positions = vec![[0.0; 3], [r, 0.0, 0.0]];
            let pair = Structure { numbers: vec![14, 8], positions, ..Structure::default() };
            let (mut energy, mut forces) = (0.0, [[0.0; 3]; 2]);
            plan.evaluate(&pair, &mut Outputs::new().energy(&mut energy).forces(&mut forces[..])).unwrap();
            [energy, forces[0][0]]
        };
        let h = 1e-5;
        for k in 0..151 {
            let r = 0.1 + 0.01 * f64::from(k);
            let (slope, difference) = (at(r)[1], (at(r + h)[0] - at(r - h)[0]) / (2.0 * h));
            assert!(
                slope <= 0.0 && (slope - difference).abs() < 1e-6 * (1.0 + slope.abs()),
                "{r}: {slope} {difference}"
            );
        }
        // Where the way to zero begins, and where it ends.
        for r in [0.6, 1.6] {
            let [below, above] = [-1.0, 1.0].map(|side| (at(r + side * 2.0 * h)[1] - at(r + side * h)[1]) / (side * h));
            assert!((above - below).abs() < 1e-3 * (1.0 + below.abs()), "{r}: {below} {above}");
        }
        assert!(at(0.1)[0] > 1e3 && at(1.6) == [0.0; 2] && at(1.599)[0] > 0.0);
    }
}
