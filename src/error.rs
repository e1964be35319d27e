//! One error type for the whole library. Every message names the culprit.

use std::path::PathBuf;

/// What went wrong, in one sentence that names the culprit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// A model file is malformed or inconsistent.
    #[error("model: {0}")]
    Model(String),
    /// A structure (or a structure file, with its line) is malformed.
    #[error("structure: {0}")]
    Structure(String),
    /// A neighbour graph is inconsistent or cannot be built.
    #[error("graph: {0}")]
    Graph(String),
    /// An argument has the wrong shape or value.
    #[error("argument: {0}")]
    Argument(String),
    /// A recipe is malformed, or asks for what cannot be built.
    #[error("recipe: {0}")]
    Recipe(String),
    /// A fit lacks data or has no solution.
    #[error("fit: {0}")]
    Fit(String),
    /// The device cannot do what was asked.
    #[error("device: {0}")]
    Device(String),
    /// More memory than there is, or than [`crate::memory::limit`] allows.
    #[error("memory: {0}")]
    Memory(String),
    /// The caller wanted no more of it.
    #[error("cancelled {0}")]
    Cancelled(String),
    /// A result is not a finite number: parameters or distances are beyond what the precision can hold.
    #[error("result: {0}")]
    NotFinite(String),
}

impl Error {
    /// The same about a part of the input, such as `structure 3`. Files have names of their own.
    pub(crate) fn of(self, part: impl std::fmt::Display) -> Error {
        let about = |text: String| format!("{part}: {text}");
        match self {
            Error::Io { .. } => self,
            Error::Model(text) => Error::Model(about(text)),
            Error::Structure(text) => Error::Structure(about(text)),
            Error::Graph(text) => Error::Graph(about(text)),
            Error::Argument(text) => Error::Argument(about(text)),
            Error::Recipe(text) => Error::Recipe(about(text)),
            Error::Fit(text) => Error::Fit(about(text)),
            Error::Device(text) => Error::Device(about(text)),
            Error::Memory(text) => Error::Memory(about(text)),
            Error::Cancelled(_) => self,
            Error::NotFinite(text) => Error::NotFinite(about(text)),
        }
    }
}

pub type Result<T> = std::result::Result<T, Error>;
