//! The flags of `fit` and `refit` that say how to solve; what they leave open, the recipe says.

use acerust::build::Prior;
use acerust::fit::{OneBody, Settings, Solver, Weights};
use anyhow::Result;
use serde_json::json;

#[derive(clap::Args)]
pub struct Solving {
    /// blr, ridge[=LAMBDA], svd[=TOLERANCE], ard or asp[=PARAMETERS]
    #[arg(long, value_parser = solver)]
    solver: Option<Solver>,
    /// identity, algebraic[=P], exponential or gaussian
    #[arg(long, value_parser = prior)]
    prior: Option<Prior>,
    /// Weights of a group (or `default`): energy, force, virial
    #[arg(long, value_name = "GROUP=E,F,V", value_parser = weights)]
    weights: Vec<(String, Weights)>,
    /// Energies of single atoms: given, isolated or composition
    #[arg(long, value_name = "HOW", value_parser = one_body)]
    e0: Option<OneBody>,
    /// Members of the committee
    #[arg(long, value_name = "N")]
    committee: Option<usize>,
    /// Of the committee
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Errors of each group under a fit to all others
    #[arg(long)]
    pub leave_one_out: bool,
}

impl Solving {
    /// The settings with what the flags say.
    pub fn apply(&self, mut settings: Settings) -> Result<Settings> {
        settings.solver = self.solver.unwrap_or(settings.solver);
        settings.prior = self.prior.unwrap_or(settings.prior);
        settings.one_body = self.e0.unwrap_or(settings.one_body);
        settings.committee = self.committee.unwrap_or(settings.committee);
        settings.seed = self.seed.unwrap_or(settings.seed);
        for (group, weights) in &self.weights {
            settings.weights.retain(|name, _| !name.eq_ignore_ascii_case(group));
            settings.weights.insert(group.clone(), *weights);
        }
        settings.check()?;
        Ok(settings)
    }
}

fn number<'a>(text: &'a str, key: &str) -> Result<(&'a str, Option<f64>), String> {
    match text.split_once('=') {
        None => Ok((text, None)),
        Some((name, x)) => match x.parse() {
            Ok(x) => Ok((name, Some(x))),
            Err(_) => Err(format!("{key}: '{x}' is no number")),
        },
    }
}

fn solver(text: &str) -> Result<Solver, String> {
    let (name, x) = number(text, "solver")?;
    let mut value = json!({ "type": name });
    let key = match name {
        "ridge" => "lambda",
        "svd" => "tolerance",
        "asp" => "parameters",
        _ => "number",
    };
    if let Some(x) = x {
        value[key] = if name == "asp" && x >= 0.0 && x.fract() == 0.0 { json!(x as u64) } else { json!(x) };
    }
    serde_json::from_value(value)
        .map_err(|_| "none of blr, ridge[=LAMBDA], svd[=TOLERANCE], ard, asp[=PARAMETERS]".into())
}

fn prior(text: &str) -> Result<Prior, String> {
    let (name, x) = number(text, "prior")?;
    let mut value = json!({ "type": name });
    if let Some(x) = x {
        value["p"] = json!(x);
    }
    serde_json::from_value(value).map_err(|_| "none of identity, algebraic[=P], exponential, gaussian".into())
}

fn weights(text: &str) -> Result<(String, Weights), String> {
    let wrong = || "no GROUP=ENERGY,FORCE,VIRIAL".to_owned();
    let (group, numbers) = text.rsplit_once('=').ok_or_else(wrong)?;
    let numbers: Result<Vec<f64>, _> = numbers.split(',').map(str::parse).collect();
    match numbers.as_deref() {
        Ok(&[energy, force, virial]) => Ok((group.into(), Weights { energy, force, virial })),
        Ok(&[energy, force]) => Ok((group.into(), Weights { energy, force, ..Weights::default() })),
        _ => Err(wrong()),
    }
}

fn one_body(text: &str) -> Result<OneBody, String> {
    match text {
        "given" => Ok(OneBody::Given),
        "isolated" => Ok(OneBody::Isolated),
        "composition" => Ok(OneBody::Composition),
        _ => Err("none of given, isolated, composition".into()),
    }
}
