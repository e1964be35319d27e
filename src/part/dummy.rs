//! A kind that proves the contract: `E_i = Σ_j k[z_i] (1 − r/rcut)²/r`, a repulsive core in the manner of ZBL. It has a file of its own and a
//! line in the list, and works in whole models: files, checks, summaries, stacks with other kinds, every instruction set.

use super::Kind;
use super::check::{At as _, cutoff, vector};
use crate::part::cpu::{Scratch, SitePart};
use crate::simd::{Lanes, Real};
use crate::stage::block::Block;
use crate::stage::table::RadialMode;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DummySpec {
    pub rcut: f64,
    /// (n_species), eV Å.
    pub k: Vec<f64>,
}

impl Kind for DummySpec {
    fn rcut(&self) -> f64 {
        self.rcut
    }

    fn check(&self, n_species: usize) -> Result<(), String> {
        cutoff(self.rcut).at(|| "rcut: ".into())?;
        vector(&self.k, n_species).at(|| "k".into())
    }

    fn memory(&self) -> usize {
        size_of_val(&self.k[..])
    }

    fn compile<V: Lanes>(&self, _: &[u8], _: RadialMode) -> Option<Box<dyn SitePart<V>>> {
        Some(Box::new(Core { spec: self.clone() }))
    }
}

struct Core {
    spec: DummySpec,
}

impl<V: Lanes> SitePart<V> for Core {
    fn rcut(&self) -> f64 {
        self.spec.rcut
    }

    fn by_species(&self) -> bool {
        false
    }

    fn energy(&self, block: &Block<V>, ws: &mut Scratch<V>, first: usize, energy: &mut [V]) {
        let mut gradient = vec![[V::zero(); 3]; energy.len() * block.n_slots];
        self.energy_gradient(block, ws, first, energy, &mut gradient);
    }

    fn energy_gradient(
        &self,
        block: &Block<V>,
        _: &mut Scratch<V>,
        _: usize,
        energy: &mut [V],
        gradient: &mut [[V; 3]],
    ) {
        let splat = |x: f64| V::splat(V::Real::of(x));
        let (k, one, inv) = (splat(self.spec.k[block.species]), splat(1.0), splat(1.0 / self.spec.rcut));
        for (readout, e) in energy.iter_mut().enumerate() {
            for s in 0..block.n_slots {
                let (u, inv_r, k) = (one - block.r[s] * inv, block.inv_r[s], k * block.mask[s]);
                *e = *e + k * u * u * inv_r;
                // ∂/∂r, over r.
                let slope = -(k * u * inv_r) * (u * inv_r + inv + inv) * inv_r;
                let g = &mut gradient[readout * block.n_slots + s];
                *g = [g[0] + slope * block.x[s], g[1] + slope * block.y[s], g[2] + slope * block.z[s]];
            }
        }
    }

    fn bytes(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{Model, PartSpec};
    use crate::plan::{Device, Isa, Options, Outputs, Plan, Precision};
    use crate::structure::Structure;

    fn model() -> Model {
        let text = std::fs::read_to_string("benchmark/models/sio_o2.json").expect("a model");
        let mut file: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let part = serde_json::json!({"k": [3.0, 5.0], "rcut": 4.0, "type": "dummy"});
        file["parts"].as_array_mut().expect("parts").insert(1, part);
        Model::from_json(file.to_string()).expect("a model with a new kind of part")
    }

    #[test]
    fn a_new_kind_needs_nothing_but_itself() {
        let model = model();
        assert_eq!(Model::from_json(model.to_json()).unwrap(), model);
        assert!(model.summary().contains("  1 dummy\n"), "{}", model.summary());
        let s = Structure {
            numbers: vec![14, 8, 8],
            positions: vec![[0.0; 3], [1.7, 0.2, 0.0], [-0.3, 1.5, 0.9]],
            ..Structure::default()
        };
        let core = model.extract(&[1]).unwrap();
        let rest = model.extract(&[0, 2, 3]).unwrap();
        for isa in Isa::available() {
            let plan = |model| Plan::with_options(model, Device::Cpu, Precision::F64, Options::new().isa(isa)).unwrap();
            let (all, core, rest) = (plan(&model), plan(&core), plan(&rest));
            let sum = core.energy(&s).unwrap() + rest.energy(&s).unwrap();
            assert!((all.energy(&s).unwrap() - sum).abs() < 1e-12 * sum.abs());
            let expected: f64 = (0..3)
                .flat_map(|i| (0..3).filter(move |&j| j != i).map(move |j| (i, j)))
                .map(|(i, j)| {
                    let r = (0..3).map(|a| (s.positions[i][a] - s.positions[j][a]).powi(2)).sum::<f64>().sqrt();
                    let k = if s.numbers[i] == 14 { 3.0 } else { 5.0 };
                    k * (1.0 - r / 4.0_f64).max(0.0).powi(2) / r
                })
                .sum();
            assert!((core.energy(&s).unwrap() - expected).abs() < 1e-12);
            let mut forces = [[0.0; 3]; 3];
            core.evaluate(&s, &mut Outputs::new().forces(&mut forces)).unwrap();
            let moved = |step: f64| {
                let mut s = s.clone();
                s.positions[1][0] += step;
                core.energy(&s).unwrap()
            };
            assert!((forces[1][0] + (moved(1e-5) - moved(-1e-5)) / 2e-5).abs() < 1e-8);
        }
    }

    #[test]
    fn parts_are_read_outside_of_model_files_too() {
        let text = r#"{"type": "dummy", "rcut": 4.0, "k": [3.0, 5.0]}"#;
        let part: PartSpec = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&part).unwrap(), text.replace(' ', ""));
        let fault = |text: &str| serde_json::from_str::<PartSpec>(text).unwrap_err().to_string();
        assert!(
            fault(r#"{"rcut": 4.0, "type": "dummy", "k": [3.0, 5.0]}"#).starts_with("`type` is not the first field")
        );
        assert!(fault(r#"{"type": "dummy", "type": "dummy"}"#).starts_with("duplicate field `type`"));
    }

    #[cfg(feature = "cuda")]
    #[test]
    fn a_kind_without_kernels_is_refused_on_devices() {
        let message = crate::cuda::sources(&model(), Precision::F64).unwrap_err().to_string();
        assert!(message.contains("parts[1].dummy: parts of this kind are for the processor"), "{message}");
    }

    #[test]
    fn unknown_kinds_say_which_version_knows_what() {
        let text = model().to_json().replace("\"dummy\"", "\"mystery\"");
        let message = Model::from_json(text).unwrap_err().to_string();
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            "model: parts[1]: type: 'mystery' is unknown; acerust {version} knows onebody, pair, ace, zbl, dummy"
        );
        assert!(message.starts_with(&expected), "{message}");
    }
}
