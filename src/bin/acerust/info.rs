use crate::options::{self, Options};
use crate::output::Output;
use acerust::element;
use acerust::model::PartSpec;
use anyhow::Result;
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;

/// Says what a model is made of
#[derive(clap::Args)]
pub struct Info {
    /// The model file
    model: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Info {
    pub fn run(self, options: &Options) -> Result<()> {
        let model = options::model(&self.model)?;
        let plan = options.plan(&model)?;
        let mut out = Output::new(None)?;
        if self.json {
            let value = json!({
                "name": model.spec().name,
                "source": model.spec().source,
                "species": model.species().iter().map(|&z| element::name(z)).collect::<Vec<_>>(),
                "rcut": model.rcut(),
                "n_parameters": model.length_basis(),
                "parts": model.spec().parts.iter().map(part).collect::<Vec<_>>(),
                "model_bytes": model.memory(),
                "plan_bytes": plan.bytes(),
            });
            writeln!(out, "{value}")?;
        } else {
            writeln!(out, "{model}")?;
            writeln!(out, "  {:.1} KiB in a plan ({})", plan.bytes() as f64 / 1024.0, plan.precision())?;
            if !model.spec().source.is_empty() {
                writeln!(out, "  source: {}", model.spec().source)?;
            }
        }
        out.finish()
    }
}

fn part(part: &PartSpec) -> Value {
    let mut value = json!({ "type": part.kind(), "rcut": part.rcut(), "n_basis": part.n_basis() });
    match part {
        PartSpec::Pair(pair) => value["radial"] = json!(pair.radial.functions.to_string()),
        PartSpec::Ace(ace) => {
            value["radial"] = json!(ace.radial.functions.to_string());
            value["n_radial"] = json!(ace.n_radial_used());
            value["harmonics"] = json!(ace.angular.kind);
            value["lmax"] = json!(ace.angular.lmax);
            value["order"] = json!(ace.order());
            value["n_A"] = json!(ace.a.len());
            value["n_AA"] = json!(ace.aa.len());
        }
        _ => {}
    }
    value
}
