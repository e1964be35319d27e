//! What frames say of themselves beyond their atoms, for models that know such things: keys `head`, `total_charge`, `total_spin`.

use acerust::extxyz::{Frame, Value};
use acerust::plan::{Conditions, Plan};
use anyhow::{Result, anyhow, ensure};

#[derive(clap::Args)]
#[group(skip)]
pub struct Flags {
    /// The head of a MACE model that has several; a frame's own `head` comes first, if the model has it
    #[arg(long, value_name = "NAME")]
    head: Option<String>,
}

impl Flags {
    /// Calls `f` with the plan at the conditions of a frame.
    pub fn at<T>(&self, plan: &Plan, frame: &Frame, f: impl FnOnce(&Plan) -> Result<T>) -> Result<T> {
        let conditions = self.conditions(plan, frame)?;
        match conditions == Conditions::new() {
            true => f(plan),
            false => f(&plan.at(&conditions)?),
        }
    }

    /// Those of a frame; nothing said: those of the plan.
    pub fn conditions(&self, plan: &Plan, frame: &Frame) -> Result<Conditions> {
        let flag = self.head.as_deref();
        let mut conditions = Conditions::new();
        let Some(mace) = plan.model().mace() else {
            ensure!(flag.is_none(), "--head: the model has no heads");
            return Ok(conditions);
        };
        let own = frame.info.get("head").and_then(Value::as_str);
        // A frame may name its head for other models' sake: one that this model lacks counts where nothing else is said.
        let known = |own: &&str| mace.network().heads.iter().any(|head| head == own);
        if let Some(head) = own.filter(|own| flag.is_none() || known(own)).or(flag) {
            conditions = conditions.head(head);
        }
        let whole = |key: &str| match frame.info.get(key) {
            None => Ok(None),
            Some(Value::Int(x)) => Ok(Some(*x)),
            Some(Value::Real(x)) if x.fract() == 0.0 => Ok(Some(*x as i64)),
            Some(_) => Err(anyhow!("`{key}` is no whole number")),
        };
        conditions.total_charge = whole("total_charge")?;
        conditions.total_spin = whole("total_spin")?;
        Ok(conditions)
    }
}
