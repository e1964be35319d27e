//! Frames of files into factors: shares of them, and what an interrupted one goes on from.

use super::assemble::Assembler;
use super::factors::Factors;
use crate::extxyz::{Frames, is_standard};
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Which frames of some files are taken, and where factors are kept meanwhile.
#[derive(Clone, Debug)]
pub struct Share {
    /// Every `of`-th frame, from the `number`-th on, which counts from 1.
    pub number: u64,
    pub of: u64,
    /// A file for the factors of so many frames at a time, to go on from after an end that was not foreseen.
    pub checkpoint: Option<(PathBuf, u64)>,
}

impl Default for Share {
    /// All frames.
    fn default() -> Self {
        Share { number: 1, of: 1, checkpoint: None }
    }
}

impl Assembler {
    /// Takes the frames of files in extended XYZ, compressed by gzip or not, or the share of them, and notes what they are the data of.
    /// Where the checkpoint is there, its frames are not looked at again. `each` is called after every frame; its errors end the reading.
    ///
    /// # Errors
    /// No files; no such share; a checkpoint of another model, or beside data that were taken before; what cannot be read.
    pub fn read(
        &mut self,
        paths: &[PathBuf],
        share: &Share,
        mut each: impl FnMut(&mut Assembler) -> Result<()>,
    ) -> Result<()> {
        let Share { number, of, checkpoint } = share;
        if paths.is_empty() {
            return Err(Error::Fit("no frames: name files in extended XYZ".into()));
        }
        if !(1..=*of).contains(number) {
            return Err(Error::Argument(format!("there is no share {number} of {of}")));
        }
        let mut done = 0;
        if let Some((path, every)) = checkpoint {
            if *every == 0 {
                return Err(Error::Argument("a checkpoint is of one frame or more".into()));
            }
            if self.frames() > 0 {
                return Err(Error::Fit(
                    "a checkpoint is of the frames of files alone; there are others already".into(),
                ));
            }
            if path.exists() {
                let part = Factors::load(path)?;
                done = part.frames;
                self.go_on(part).map_err(|e| e.of(path.display()))?;
            }
        }
        for path in paths.iter().filter(|path| done == 0 && !is_standard(path)) {
            self.note(digest(path)?);
        }
        let mine = Frames::new(paths)?.zip(0..).filter(|(_, i)| i % of == number - 1).map(|(found, _)| found);
        for found in mine.skip(done as usize) {
            self.push(found?.frame)?;
            each(self)?;
            if let Some((path, every)) = checkpoint
                && self.frames().is_multiple_of(*every)
            {
                self.factors()?.save(path)?;
            }
        }
        Ok(())
    }
}

/// The name of a file with the hash of what is in it.
fn digest(path: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let io = |source| Error::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(io)?;
    loop {
        match file.read(&mut buffer).map_err(io)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    let hex: String = hasher.finalize().iter().map(|b| format!("{b:02x}")).collect();
    Ok(format!("{} sha256:{hex}", path.file_name().unwrap_or(path.as_os_str()).display()))
}
