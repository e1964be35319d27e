//! A network on the processor, in a precision.

#[cfg(feature = "mace")]
use super::cpu::Cpu;
use super::cpu::{Evaluate, Input, Output};
use super::network::Network;
use crate::simd::Isa;
#[cfg(feature = "mace")]
use crate::simd::with_lanes;
use crate::{Error, Result};
use std::fmt::{self, Debug, Formatter};

/// A network packed for the instruction set of a processor. Shared freely between threads.
pub struct Evaluator(Box<dyn Evaluate>);

const NOT_BUILT: &str = "MACE models are not in this build: its feature `mace` is off";

/// # Errors
/// A build without the feature `mace`.
pub(super) fn check_built() -> Result<()> {
    if cfg!(feature = "mace") { Ok(()) } else { Err(Error::Device(NOT_BUILT.into())) }
}

#[cfg(feature = "mace")]
fn pack(network: &Network, single: bool, isa: Isa) -> Result<Box<dyn Evaluate>> {
    let network = network.clone();
    Ok(match single {
        false => with_lanes!(isa, f64, V => Box::new(Cpu::<V>::new(network))),
        true => with_lanes!(isa, f32, V => Box::new(Cpu::<V>::new(network))),
    })
}

/// Code that is named is compiled, for every instruction set, though it never runs.
#[cfg(not(feature = "mace"))]
fn pack(_: &Network, _: bool, _: Isa) -> Result<Box<dyn Evaluate>> {
    Err(Error::Device(NOT_BUILT.into()))
}

impl Debug for Evaluator {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Evaluator({} bytes)", self.bytes())
    }
}

impl Evaluator {
    /// In single precision positions are subtracted, and atoms summed, in double precision all the same.
    ///
    /// # Errors
    /// An instruction set that the processor lacks.
    pub fn new(network: &Network, single: bool, isa: Isa) -> Result<Evaluator> {
        if !isa.is_available() {
            return Err(Error::Device(format!("this processor has no {isa:?}")));
        }
        check_built()?;
        Ok(Evaluator(pack(network, single, isa)?))
    }

    /// # Errors
    /// [`Error::Argument`] for a wrong length, or a property that the model does not know; what an exchange says.
    pub fn evaluate(&self, input: Input, output: Output) -> Result<()> {
        self.0.evaluate(input, output)
    }

    /// Bytes of weights and of the tables made so far.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// Numbers in the longest row of an exchange; 0 for a single layer.
    pub fn n_exchanged(&self) -> usize {
        self.0.n_exchanged()
    }

    /// Features of an atom after all layers: scalars alone, or all components.
    pub fn n_features(&self, invariant: bool) -> usize {
        self.0.n_features(invariant)
    }
}
