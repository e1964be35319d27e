//! Frames of files on all threads.

use crate::output::is_io;
use acerust::extxyz::{Found, Frame};
use anyhow::{Context, Result};
use indicatif::ProgressBar;
use rayon::prelude::*;

/// Atoms to work on at a time: enough for every thread, little for the memory.
pub const CHUNK_ATOMS: usize = 1 << 14;

/// Applies `compute` to every frame, `chunk_atoms` at a time, and hands frame and result to `sink`, in the order of the files.
///
/// Where one fails, those before it have reached `sink`.
pub fn for_each<'a, T: Send>(
    frames: impl Iterator<Item = acerust::Result<Found<'a>>>,
    chunk_atoms: usize,
    bar: &ProgressBar,
    compute: impl Fn(&Frame) -> Result<T> + Sync,
    sink: impl FnMut(Frame, T) -> Result<()>,
) -> Result<()> {
    for_each_chunk(frames, chunk_atoms, bar, |chunk| each(chunk, &compute), sink)
}

/// The frames of a chunk on all threads.
pub fn each<T: Send>(chunk: &[Found], compute: impl Fn(&Frame) -> Result<T> + Sync) -> Vec<Result<T>> {
    chunk.par_iter().map(|found| compute(&found.frame)).collect()
}

/// [`for_each`] with the results of a chunk of frames at a time.
pub fn for_each_chunk<'a, T>(
    mut frames: impl Iterator<Item = acerust::Result<Found<'a>>>,
    chunk_atoms: usize,
    bar: &ProgressBar,
    compute: impl Fn(&[Found]) -> Vec<Result<T>>,
    mut sink: impl FnMut(Frame, T) -> Result<()>,
) -> Result<()> {
    loop {
        let mut chunk = Vec::new();
        let mut atoms = 0;
        let mut end = None;
        while atoms < chunk_atoms && end.is_none() {
            match frames.next() {
                Some(Ok(found)) => {
                    atoms += found.frame.structure.n_atoms().max(1);
                    chunk.push(found);
                }
                Some(Err(error)) => end = Some(Err(error.into())),
                None => end = Some(Ok(())),
            }
        }
        let results = compute(&chunk);
        for (found, result) in chunk.into_iter().zip(results) {
            let origin = found.origin();
            match result.and_then(|result| sink(found.frame, result)) {
                // That the output fails is no fault of the frame.
                Err(error) if is_io(&error) => return Err(error),
                done => done.context(origin)?,
            }
            bar.inc(1);
        }
        if let Some(end) = end {
            bar.finish_and_clear();
            return end;
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
