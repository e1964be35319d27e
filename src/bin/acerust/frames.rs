//! Frames of a file on all threads.

use acerust::extxyz::{Frame, Keys, Reader};
use anyhow::{Context, Result};
use indicatif::ProgressBar;
use rayon::prelude::*;
use std::path::Path;

/// Atoms to work on at a time: enough for every thread, little for the memory.
pub const CHUNK_ATOMS: usize = 1 << 14;

/// Applies `compute` to every frame of a file, `chunk_atoms` at a time, and hands frame and result to `sink`,
/// in the order of the file.
///
/// The frames keep all columns and pairs as they are. Where one fails, those before it have reached `sink`.
pub fn for_each<T: Send>(
    path: &Path,
    chunk_atoms: usize,
    bar: &ProgressBar,
    compute: impl Fn(&Frame) -> Result<T> + Sync,
    mut sink: impl FnMut(Frame, T) -> Result<()>,
) -> Result<()> {
    let mut reader = Reader::open(path, &Keys::none())?;
    let mut number = 0;
    loop {
        let mut chunk = Vec::new();
        let mut atoms = 0;
        let mut end = None;
        while atoms < chunk_atoms && end.is_none() {
            match reader.next() {
                Some(Ok(frame)) => {
                    atoms += frame.structure.n_atoms().max(1);
                    chunk.push(frame);
                }
                Some(Err(error)) => end = Some(Err(error)),
                None => end = Some(Ok(())),
            }
        }
        let results: Vec<Result<T>> = chunk.par_iter().map(&compute).collect();
        for (frame, result) in chunk.into_iter().zip(results) {
            let named = || format!("{}: frame {number}", path.display());
            sink(frame, result.with_context(named)?).with_context(named)?;
            number += 1;
            bar.inc(1);
        }
        if let Some(end) = end {
            bar.finish_and_clear();
            return Ok(end?);
        }
    }
}

/// A count of frames on the standard error, where that is a terminal and nothing else appears there.
pub fn bar(visible: bool) -> ProgressBar {
    match visible {
        true => ProgressBar::new_spinner().with_message("frames").with_style(
            indicatif::ProgressStyle::with_template("{spinner} {pos} {msg}, {per_sec}, {elapsed}")
                .expect("a valid template"),
        ),
        false => ProgressBar::hidden(),
    }
}
