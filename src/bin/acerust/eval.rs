use crate::conditions;
use crate::frames;
use crate::options::{self, Options};
use crate::output::{Output, bare};
use crate::results::Results;
use crate::uncertainty::{self, Doubts};
use acerust::batch::{self, Item};
use acerust::extxyz::{Found, Frame, Frames, Keys, Writer};
use acerust::model::Model;
use acerust::plan::{Device, Plan};
use anyhow::Result;
use serde_json::{Map, json};
use std::io::Write;
use std::path::PathBuf;

/// Computes energies, forces and virials
///
/// The results are written as extended XYZ under `energy` (and `free_energy`, the same), `forces`, `virial` and, where there is a cell,
/// `stress`, all else of the input beside them. What the input holds under these names, or as `energies` or `stresses`, moves to
/// `ref_energy`, `ref_forces` …; where such a name is taken, to `ref_energy_2` ….
#[derive(clap::Args)]
pub struct Eval {
    /// The model file
    model: PathBuf,
    /// Structures, extended XYZ; several files follow one another
    #[arg(required = true)]
    structures: Vec<PathBuf>,
    /// The file to write, compressed where it is named `….gz` [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the energy of every atom as well, in a column `energies`
    #[arg(long, conflicts_with = "json")]
    site_energies: bool,
    /// Write one JSON object a frame instead: energy, site_energies, forces, virial
    #[arg(long, conflicts_with_all = ["grade", "committee"])]
    json: bool,
    /// With --json: the same of each part of the model, under `parts` (onebody, pair, ace, then pair_2 …)
    #[arg(long, requires = "json")]
    parts: bool,
    #[command(flatten)]
    conditions: conditions::Flags,
    #[command(flatten)]
    uncertainty: uncertainty::Flags,
}

impl Eval {
    pub fn run(self, options: &Options) -> Result<()> {
        let model = options::model(&self.model)?;
        anyhow::ensure!(!self.parts || model.mace().is_none(), "--parts: a MACE model has none");
        let mut plan = options.plan(&model)?;
        self.uncertainty.ready(&mut plan)?;
        let parts = if self.parts { parts(&model, options)? } else { Vec::new() };
        let mut out = Output::new(self.output.as_deref())?;
        let bar = frames::bar(out.is_file());
        let compute = |frame: &Frame| {
            let graph = plan.graph(&frame.structure)?;
            let of = |plan: &Plan| Results::new(plan, &graph, &frame.structure);
            let parts = parts.iter().map(|(name, plan)| Ok((name, of(plan)?))).collect::<Result<Vec<_>>>()?;
            let results = self.conditions.at(&plan, frame, of)?;
            Ok((results, parts, Doubts::new(&plan, &graph, &frame.structure)?))
        };
        // On a device the frames of a chunk go together; what is wrong with one of them is found where each goes alone.
        let alone =
            plan.device() == Device::Cpu || self.parts || plan.active_set().is_some() || !plan.committee().is_empty();
        let compute = |chunk: &[Found]| match if alone { None } else { self.together(&plan, chunk) } {
            Some(all) => all.into_iter().map(|results| Ok((results, Vec::new(), Doubts::default()))).collect(),
            None => frames::each(chunk, compute),
        };
        let structures = Frames::new(&self.structures)?;
        if self.json {
            frames::for_each_chunk(structures, frames::CHUNK_ATOMS, &bar, compute, |_, (results, parts, _)| {
                let mut line = serde_json::to_value(results)?;
                if self.parts {
                    line["parts"] =
                        parts.into_iter().map(|(name, r)| (name.clone(), json!(r))).collect::<Map<_, _>>().into();
                }
                Ok(writeln!(out, "{line}")?)
            })?;
        } else {
            let mut writer = Writer::new(&mut out, &Keys::default());
            frames::for_each_chunk(
                structures,
                frames::CHUNK_ATOMS,
                &bar,
                compute,
                |mut frame, (results, _, doubts)| {
                    results.label(&mut frame, self.site_energies);
                    doubts.label(&mut frame);
                    writer.write(&frame).map_err(bare)
                },
            )?;
        }
        out.finish()
    }

    /// The results of all frames in one sequence of launches, if nothing is wrong with any of them.
    fn together(&self, plan: &Plan, chunk: &[Found]) -> Option<Vec<Results>> {
        let mut results: Vec<Results> = chunk.iter().map(|f| Results::room(f.frame.structure.n_atoms())).collect();
        let mut items = Vec::new();
        for (found, results) in chunk.iter().zip(&mut results) {
            let conditions = self.conditions.conditions(plan, &found.frame).ok()?;
            items.push(Item::new(&found.frame.structure, results.outputs()).at(conditions));
        }
        batch::evaluate(plan, &mut items).ok()?;
        Some(results)
    }
}

/// A plan for each part of the model, by name.
fn parts(model: &Model, options: &Options) -> Result<Vec<(String, Plan)>> {
    let mut parts = Vec::<(String, Plan)>::new();
    for (p, part) in model.spec().parts.iter().enumerate() {
        let same = model.spec().parts[..p].iter().filter(|other| other.kind() == part.kind()).count();
        let name = if same == 0 { part.kind().to_owned() } else { format!("{}_{}", part.kind(), same + 1) };
        let alone = acerust::model::ModelSpec { parts: vec![part.clone()], ..model.spec().clone() };
        parts.push((name, options.plan(&Model::new(alone)?)?));
    }
    Ok(parts)
}
