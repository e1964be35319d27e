//! The neutral form in JSON, for small models.

use super::{Config, MaceSpec, Tensor};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whatever else a file has, such as results to compare with, is left out.
#[derive(Deserialize)]
struct Neutral {
    config: Config,
    tensors: BTreeMap<String, Tensor>,
}

#[derive(Serialize)]
struct Written<'a> {
    config: &'a Config,
    tensors: &'a BTreeMap<String, Tensor>,
}

impl MaceSpec {
    /// The text that [`MaceSpec::from_json`] reads back.
    pub fn to_json(&self) -> String {
        let written = Written { config: &self.config, tensors: &self.tensors };
        serde_json::to_string(&written).expect("plain data with string keys always serialises")
    }

    /// Whether a JSON text is of this form, by its first level.
    pub(crate) fn is_neutral(json: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Head {
            #[serde(rename = "config")]
            _config: serde::de::IgnoredAny,
            #[serde(rename = "tensors")]
            _tensors: serde::de::IgnoredAny,
        }
        serde_json::from_slice::<Head>(json).is_ok()
    }

    /// Reads the neutral form: an object with `config` and `tensors`.
    ///
    /// # Errors
    /// Text that is not JSON or lacks a field, with the path to it.
    pub fn from_json(json: &[u8]) -> Result<MaceSpec> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let parsed: std::result::Result<Neutral, _> = serde_path_to_error::deserialize(&mut reader);
        let Neutral { config, tensors } = parsed.map_err(|e| Error::Model(e.to_string()))?;
        reader.end().map_err(|e| Error::Model(e.to_string()))?;
        Ok(MaceSpec { config, tensors })
    }
}
