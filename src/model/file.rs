//! Reading and writing model files.

use super::{MAX_FILE_BYTES, Model, ModelSpec, spec::FORMAT, tensors, validate};
use crate::file::NewFile;
use crate::mace::spec::MaceSpec;
use crate::part::with_kinds;
use crate::{Error, Result, memory};
use memmap2::Mmap;
use serde::{Deserialize, de::DeserializeOwned};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

impl Model {
    /// Reads and validates a model file's text, or that of a MACE model in its neutral form.
    ///
    /// # Errors
    /// Text that is too long, is not JSON, has unknown, missing or repeated fields, or describes no valid model; [`Error::Memory`] for more
    /// than memory allows.
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self> {
        let json = json.as_ref();
        if !MaceSpec::is_neutral(json) {
            return Self::new(parse::<ModelSpec>(json, FORMAT)?);
        }
        limit(json)?;
        Self::from_mace(MaceSpec::from_json(json)?, "MACE")
    }

    /// The model file's text; [`Model::from_json`] returns the same model, bit by bit.
    pub fn to_json(&self) -> String {
        match self.mace() {
            Some(mace) => mace.spec().to_json(),
            None => serde_json::to_string(self.spec()).expect("plain data with string keys always serialises"),
        }
    }

    /// As [`Model::from_json`] for the text of a model file, as [`Model::from_pace`] for that of a potential of pacemaker.
    ///
    /// # Errors
    /// Whatever these refuse.
    pub fn from_text(text: impl AsRef<[u8]>) -> Result<Self> {
        let text = text.as_ref();
        // Potentials begin with a key, or a comment.
        let is_json = text.trim_ascii_start().first().is_none_or(|&c| b"{[\"".contains(&c));
        if is_json { Self::from_json(text) } else { Self::from_pace(text) }
    }

    /// Reads and validates a model file of any kind, told apart by content: JSON or safetensors, a potential of pacemaker, and MACE models as
    /// safetensors or as a checkpoint of the training program, of which nothing is executed.
    ///
    /// # Errors
    /// A file that cannot be read, and whatever is refused in it, with the file's name.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::read(path).map_err(|error| match error {
            Error::Model(message) => Error::Model(format!("{}: {message}", path.display())),
            other => other,
        })
    }

    fn read(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(|source| io(path, source))?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(16).read_to_end(&mut bytes).map_err(|source| io(path, source))?;
        if let Start::Text = start(&bytes) {
            // One byte beyond the limit tells a file that is too long, whatever its metadata say.
            let rest = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
            rest.map_err(|source| io(path, source))?;
            return Self::from_text(bytes);
        }
        // SAFETY: the file is only read, and copied before this returns; whoever shortens it meanwhile ends the program.
        let bytes = unsafe { Mmap::map(&file) }.map_err(|source| io(path, source))?;
        let name = path.file_stem().map_or_else(|| "MACE".into(), |name| name.to_string_lossy());
        Self::from_bytes(&bytes, &name)
    }

    /// As [`Model::load`] for the bytes of a file; `name` is for models whose files have none.
    ///
    /// # Errors
    /// As there.
    pub fn from_bytes(bytes: &[u8], name: &str) -> Result<Self> {
        match start(bytes) {
            Start::Checkpoint => Self::from_mace(MaceSpec::from_checkpoint(bytes)?, name),
            Start::Tensors => match tensors::read(bytes)? {
                Some(spec) => Self::new(spec),
                None => Self::from_mace(MaceSpec::from_safetensors(bytes)?, name),
            },
            Start::Text => Self::from_text(bytes),
        }
    }

    /// The bytes of the model as safetensors; [`Model::from_bytes`] returns the same model, bit by bit.
    ///
    /// # Errors
    /// A tensor of a MACE model whose shape is too large to be written in full.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        match self.mace() {
            Some(mace) => mace.spec().to_safetensors(),
            None => Ok(tensors::write(self.spec())),
        }
    }

    /// Writes the model file: safetensors for MACE models and where the name ends so, else JSON. A file of that name is replaced as a whole or not at all, see [`NewFile`].
    ///
    /// # Errors
    /// A path that cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let bytes = match self.mace().is_some() || path.extension().is_some_and(|e| e == "safetensors") {
            true => self.to_safetensors()?,
            false => (self.to_json() + "\n").into_bytes(),
        };
        let write = |mut file: NewFile| {
            file.write_all(&bytes)?;
            file.finish()
        };
        NewFile::create(path).and_then(write).map_err(|source| io(path, source))
    }
}

/// What a file begins like.
enum Start {
    Checkpoint,
    Tensors,
    Text,
}

fn start(bytes: &[u8]) -> Start {
    match bytes {
        [b'P', b'K', ..] => Start::Checkpoint,
        // The length of the header, then an object.
        [_, _, _, _, _, 0, 0, 0, b'{', ..] => Start::Tensors,
        _ => Start::Text,
    }
}

fn io(path: &Path, source: std::io::Error) -> Error {
    Error::Io { path: path.to_owned(), source }
}

/// # Errors
/// A text that is too long, or could take more memory than there is.
fn limit(json: &[u8]) -> Result<()> {
    if json.len() as u64 > MAX_FILE_BYTES {
        return Err(Error::Model(format!("the file is longer than {} MiB", MAX_FILE_BYTES >> 20)));
    }
    grant(json)
}

/// Parses a JSON file whose `format` field must be the given one.
pub(super) fn parse<T: DeserializeOwned>(json: &[u8], format: &str) -> Result<T> {
    limit(json)?;
    let mut reader = serde_json::Deserializer::from_slice(json);
    let parsed = with_kinds(json, || serde_path_to_error::deserialize(&mut reader).map_err(|error| error.to_string()));
    let parsed = parsed.and_then(|value| reader.end().map(|()| value).map_err(|error| error.to_string()));
    // In a file of another format all else is noise: the format comes first.
    if let Ok(header) = serde_json::from_slice::<Header>(json) {
        validate::format(&header.format, format).map_err(Error::Model)?;
    }
    parsed.map_err(Error::Model)
}

/// Refuses a text whose values could take more memory than there is: each list its header and the least that is allocated, each number
/// its place, both in memory that grows by doubling.
///
/// # Errors
/// [`Error::Memory`].
pub(super) fn grant(text: &[u8]) -> Result<()> {
    const LIST: usize = 3 * size_of::<Vec<f64>>() + 4 * size_of::<f64>() + 16;
    const NUMBER: usize = 3 * size_of::<f64>();
    let count = |byte: u8| text.iter().filter(|&&b| b == byte).count();
    let bytes = count(b'[') * LIST + count(b',') * NUMBER;
    memory::check(bytes as f64, || format!("a model of {} bytes of text", text.len()))
}

#[derive(Deserialize)]
struct Header {
    format: String,
}
