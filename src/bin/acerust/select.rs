use crate::frames::{bar, for_each};
use crate::options::{self, Options};
use crate::output::{Output, bare};
use crate::uncertainty::Doubts;
use acerust::extxyz::{Frame, Frames, Keys, Writer};
use acerust::plan::ActiveSet;
use anyhow::Result;
use std::path::PathBuf;

/// Selects frames that a potential extrapolates for, to be labelled and trained on
///
/// The extrapolation grade of an atom is up to 1 where it lies within the training set; from 1.5 to 2 frames are worth labelling,
/// above 10 results are not to be trusted. Selected frames have the grade of each atom as the column `grade` and the largest as the key
/// `max_grade`. `fit --active-set` makes the file with the active set.
#[derive(clap::Args)]
pub struct Select {
    /// The model file
    model: PathBuf,
    /// The active set
    active_set: PathBuf,
    /// Structures, extended XYZ; several files follow one another
    #[arg(required = true)]
    structures: Vec<PathBuf>,
    /// The least grade of an atom for which a frame is selected; 0 selects all
    #[arg(long, default_value = "1.5", value_name = "GRADE")]
    above: f64,
    /// Of frames that follow one another within so many, only the first is selected
    #[arg(long, default_value = "1", value_name = "FRAMES")]
    every: std::num::NonZeroU64,
    /// The file to write, extended XYZ [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Select {
    pub fn run(self, options: &Options) -> Result<()> {
        anyhow::ensure!(!self.above.is_nan(), "--above: NaN is no grade");
        let model = options::model(&self.model)?;
        let mut plan = options.plan(&model)?;
        plan.set_active_set(Some(ActiveSet::load(&self.active_set)?))?;
        let mut out = Output::new(self.output.as_deref())?;
        let mut writer = Writer::new(&mut out, &Keys::none());
        let compute = |frame: &Frame| Doubts::new(&plan, &plan.graph(&frame.structure)?, &frame.structure);
        let (mut number, mut next) = (0, 0);
        let bar = bar(self.output.is_some());
        for_each(Frames::new(&self.structures)?, crate::frames::CHUNK_ATOMS, &bar, compute, |mut frame, doubts| {
            let selected = doubts.largest_grade() >= self.above && number >= next;
            number += 1;
            if selected {
                next = number - 1 + self.every.get();
                doubts.label(&mut frame);
                writer.write(&frame).map_err(bare)?;
            }
            Ok(())
        })?;
        out.finish()
    }
}
