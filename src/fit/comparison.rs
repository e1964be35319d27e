//! References beside results, by group, and how far they are from each other.

use super::pairs::Pairs;
use super::settings::Settings;
use crate::Result;
use crate::extxyz::Frame;
use crate::model::Model;
use crate::parallel;
use crate::plan::{Device, Outputs, Plan, Precision, Virial};
use crate::structure::Structure;
use indexmap::IndexMap;
use serde::{Serialize, Serializer};
use serde_json::json;

/// Frames to evaluate at a time.
const CHUNK: usize = 256;
/// eV/Å³ in GPa, exact since 2019.
const GPA: f64 = 160.2176634;

/// Reference and result, frame by frame and component by component. Serialised are the errors: those of energies in eV an atom, of
/// force components in eV/Å, of stress components in GPa.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    pub frames: usize,
    pub atoms: usize,
    /// eV an atom.
    pub energies: Pairs,
    /// eV/Å.
    pub forces: Pairs,
    /// GPa.
    pub stresses: Pairs,
}

/// Comparisons by group.
pub type Comparisons = IndexMap<String, Comparison>;

/// The references of a frame: energy, forces, virial.
pub type References<'a> = (Option<f64>, Option<&'a [[f64; 3]]>, Option<Virial>);

/// What is compared: a title, the unit of the errors, how many of it the numbers have, the digits that are shown, and the numbers.
#[derive(Debug)]
pub struct Quantity {
    pub name: &'static str,
    pub unit: &'static str,
    pub factor: f64,
    digits: usize,
    pub pairs: fn(&Comparison) -> &Pairs,
}

pub const QUANTITIES: [Quantity; 3] = [
    Quantity { name: "energy", unit: "meV/atom", factor: 1e3, digits: 2, pairs: |g| &g.energies },
    Quantity { name: "forces", unit: "eV/Å", factor: 1.0, digits: 4, pairs: |g| &g.forces },
    Quantity { name: "stress", unit: "GPa", factor: 1.0, digits: 3, pairs: |g| &g.stresses },
];

/// Results of a model beside references, of the frames that a fit would use. `each` is called after each of them; its errors end the work.
///
/// # Errors
/// What reading and evaluating fail with.
pub fn compare(
    model: &Model,
    settings: &Settings,
    frames: impl IntoIterator<Item = Result<Frame>>,
    mut each: impl FnMut() -> Result<()>,
) -> Result<Comparisons> {
    let plan = Plan::new(model, Device::Cpu, Precision::F64)?;
    let mut groups = Comparisons::new();
    let (mut frames, mut end) = (frames.into_iter(), false);
    while !end {
        let mut chunk = Vec::new();
        while chunk.len() < CHUNK && !end {
            match frames.next().transpose()? {
                Some(frame) => chunk.extend(settings.observe(frame, model.species()).ok()),
                None => end = true,
            }
            each()?;
        }
        let results = parallel::map(&chunk, |o| {
            let s = &o.structure;
            let (mut energy, mut forces, mut virial) = (0.0, vec![[0.0; 3]; s.n_atoms()], [[0.0; 3]; 3]);
            let mut out = Outputs::new().energy(&mut energy).forces(&mut forces[..]).virial(&mut virial);
            parallel::alone(|| plan.evaluate((&plan.graph(s)?, &s.numbers), &mut out))?;
            Ok((energy, forces, virial))
        });
        for (o, result) in chunk.iter().zip(results) {
            let result: Result<_> = result;
            let (energy, forces, virial) = result?;
            let references = (o.energy, o.forces.as_deref(), o.virial.filter(|_| o.structure.volume() > 0.0));
            let group = groups.entry(o.group.clone()).or_default();
            group.add(&o.structure, references, (energy, &forces, virial));
        }
    }
    Ok(groups)
}

/// Errors of every group and of all frames; energies and forces are always there, stresses where there are some.
pub fn table(group_key: &str, groups: &Comparisons) -> String {
    let all = Comparison::sum(groups.values());
    let quantities = if all.stresses.is_empty() { &QUANTITIES[..2] } else { &QUANTITIES };
    let columns = |show: &dyn Fn(&Quantity) -> [String; 2]| -> String {
        quantities.iter().map(show).map(|[a, b]| format!("   {a:>8} {b:>8}")).collect()
    };
    let titles = columns(&|q| [q.name.into(), q.unit.into()]);
    let mut text = format!("{:16} {:>6} {:>7}{titles}\n", "", "", "");
    let titles = columns(&|_| ["RMSE".into(), "MAE".into()]);
    text += &format!("{group_key:16} {:>6} {:>7}{titles}\n", "frames", "atoms");
    for (name, group) in groups.iter().map(|(name, g)| (name.as_str(), g)).chain([("all", &all)]) {
        let errors = columns(&|q| q.shown(group));
        text += &format!("{name:16} {:>6} {:>7}{errors}\n", group.frames, group.atoms);
    }
    text
}

impl Comparison {
    pub fn sum<'a>(groups: impl Iterator<Item = &'a Comparison>) -> Comparison {
        groups.fold(Comparison::default(), |mut all, group| {
            all.frames += group.frames;
            all.atoms += group.atoms;
            all.energies.append(&group.energies);
            all.forces.append(&group.forces);
            all.stresses.append(&group.stresses);
            all
        })
    }

    /// Adds a frame: the references that it has, and all results.
    pub fn add(
        &mut self,
        structure: &Structure,
        (energy, forces, virial): References,
        results: (f64, &[[f64; 3]], Virial),
    ) {
        let n = structure.n_atoms();
        self.frames += 1;
        self.atoms += n;
        if let Some(energy) = energy.filter(|_| n > 0) {
            self.energies.push([energy, results.0].map(|e| e / n as f64));
        }
        if let Some(forces) = forces {
            let pairs = forces.as_flattened().iter().zip(results.1.as_flattened());
            pairs.for_each(|(&a, &b)| self.forces.push([a, b]));
        }
        if let Some(virial) = virial {
            let stress = |v: Virial, [a, b]: [usize; 2]| -0.5 * GPA * (v[a][b] + v[b][a]) / structure.volume();
            let components = [[0, 0], [1, 1], [2, 2], [1, 2], [0, 2], [0, 1]];
            for at in components {
                self.stresses.push([virial, results.2].map(|v| stress(v, at)));
            }
        }
    }
}

impl Serialize for Comparison {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut json = json!({ "frames": self.frames, "atoms": self.atoms });
        for q in &QUANTITIES {
            let errors = (q.pairs)(self).errors();
            json[format!("{}_rmse", q.name)] = json!(errors.map(|e| e[0]));
            json[format!("{}_mae", q.name)] = json!(errors.map(|e| e[1]));
        }
        json.serialize(serializer)
    }
}

impl Quantity {
    /// Root-mean-square and mean absolute error in [`Quantity::unit`]; `-` where there is nothing to compare.
    pub fn shown(&self, group: &Comparison) -> [String; 2] {
        match (self.pairs)(group).errors() {
            None => ["-".into(), "-".into()],
            Some(errors) => errors.map(|e| format!("{:.*}", self.digits, self.factor * e)),
        }
    }
}
