//! What to compute: plain data, as JSON too.

use super::contraction::Contraction;
use super::coupling::Convention;
use super::gate::Gate;
use super::harmonics::Harmonics;
use super::kernel::{Kernel, Ports};
use super::layout::Layout;
use super::linear::Linear;
use super::mlp::Mlp;
use super::product::channelwise::Channelwise;
use super::product::fully_connected::FullyConnected;
use super::radial::Radial;
pub use crate::dtype::Arithmetic;
use crate::dtype::Dtype;
use crate::simd::Value;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// An operation, and how its arguments lie in memory.
///
/// ```
/// use acerust::ops::Spec;
/// let spec: Spec = serde_json::from_str(
///     r#"{"operation": {"linear": {"irreps_in": "4x0e+3x1o", "irreps_out": "2x1o"}}, "storage": "f32"}"#,
/// )?;
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    pub operation: Operation,
    #[serde(default)]
    pub layout: Layout,
    /// Of the result, where it is another one.
    #[serde(default)]
    pub layout_out: Option<Layout>,
    #[serde(default)]
    pub storage: Dtype,
    #[serde(default)]
    pub convention: Convention,
    /// Of products of matrices.
    #[serde(default)]
    pub arithmetic: Arithmetic,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Harmonics(Harmonics),
    Linear(Linear),
    Channelwise(Channelwise),
    FullyConnected(FullyConnected),
    Contraction(Contraction),
    Radial(Radial),
    Mlp(Mlp),
    Gate(Gate),
}

impl Spec {
    /// In `ir_mul`, f64 and the convention of e3nn.
    pub fn new(operation: Operation) -> Spec {
        Spec {
            operation,
            layout: Layout::default(),
            layout_out: None,
            storage: Dtype::default(),
            convention: Convention::default(),
            arithmetic: Arithmetic::default(),
        }
    }

    /// # Errors
    /// If the operation cannot be.
    pub fn ports(&self) -> Result<Ports> {
        if self.arithmetic != Arithmetic::Full {
            self.check_arithmetic()?;
        }
        match &self.operation {
            Operation::Harmonics(op) => op.ports(),
            Operation::Linear(op) => op.ports(),
            Operation::Channelwise(op) => op.ports(),
            Operation::FullyConnected(op) => op.ports(),
            Operation::Contraction(op) => op.ports(self.convention),
            Operation::Radial(op) => op.ports(),
            Operation::Mlp(op) => op.ports(),
            Operation::Gate(op) => op.ports(),
        }
    }

    fn check_arithmetic(&self) -> Result<()> {
        let refused = |why: &str| Err(Error::Argument(format!("arithmetic: {} {why}", self.arithmetic)));
        if !matches!(self.operation, Operation::Linear(_) | Operation::Mlp(_)) {
            return refused("is for linear and mlp");
        }
        if self.storage == Dtype::F64 { refused("is for storage in f32, f16 or bf16, not f64") } else { Ok(()) }
    }

    pub(crate) fn kernel<V: Value<Plain = V>>(&self) -> Result<Box<dyn Kernel<V::Real>>> {
        match &self.operation {
            Operation::Harmonics(op) => Ok(op.kernel::<V>()),
            Operation::Linear(op) => Ok(op.kernel::<V>()),
            Operation::Channelwise(op) => op.kernel::<V>(self.convention),
            Operation::FullyConnected(op) => Ok(op.kernel::<V>(self.convention)),
            Operation::Contraction(op) => op.kernel::<V>(self.convention),
            Operation::Radial(op) => Ok(op.kernel::<V::Real>()),
            Operation::Mlp(op) => op.kernel::<V>(),
            Operation::Gate(op) => Ok(op.kernel::<V::Real>()),
        }
    }
}
