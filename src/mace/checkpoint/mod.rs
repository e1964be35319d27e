//! Checkpoints of the training program (`*.model`): a torch module, pickled, read without Python and without trust.
//!
//! The zip archive has the pickle (`data.pkl`) and a file for each storage of numbers (`data/7`). The pickle becomes plain data
//! ([`pickle`]), tensors are read from the archive where they are asked for ([`archive`]), and the attributes of the modules
//! become the configuration ([`module`], [`convert`]). Nothing in the file is executed.

mod archive;
mod convert;
mod module;
mod pickle;

use super::spec::MaceSpec;
use crate::{Error, Result};
use archive::Archive;

impl MaceSpec {
    /// Reads the bytes of a checkpoint.
    ///
    /// # Errors
    /// Bytes that are no checkpoint of a MACE model, and whatever this library does not cover, by name.
    pub fn from_checkpoint(bytes: &[u8]) -> Result<MaceSpec> {
        let read = || {
            let archive = Archive::open(bytes)?;
            convert::convert(&archive)
        };
        read().map_err(|message: String| Error::Model(format!("checkpoint: {message}")))
    }
}
