//! Where the force rows of frames go on a device: into one block, group after group.

use super::assemble::Waiting;
use super::data::Observation;
use crate::potential::Triangles;
use crate::{Result, parallel};
use std::ops::Range;

/// The rows of some frames on a device.
pub struct Block<'a> {
    address: u64,
    step: usize,
    /// The first row of each frame, if it has forces.
    first: Vec<Option<usize>>,
    /// Which rows are of which group.
    groups: Vec<(&'a str, Range<usize>)>,
    calls: usize,
}

/// Where the rows of a frame begin, as in [`Stored`](crate::potential::Stored).
pub struct Place {
    pub address: u64,
    pub step: usize,
    pub calls: usize,
}

impl<'a> Block<'a> {
    pub fn new(triangles: &mut dyn Triangles, frames: &'a [Waiting]) -> Result<Block<'a>> {
        let mut order: Vec<usize> = (0..frames.len()).filter(|&k| frames[k].1.forces.is_some()).collect();
        order.sort_by_key(|&k| &frames[k].1.group);
        let (mut first, mut groups, mut end) = (vec![None; frames.len()], Vec::<(&str, Range<usize>)>::new(), 0);
        for k in order {
            let Observation { group, structure, .. } = &frames[k].1;
            if groups.last().is_none_or(|(name, _)| name != group) {
                groups.push((group, end..end));
            }
            first[k] = Some(end);
            end += 3 * structure.n_atoms();
            groups.last_mut().expect("there is one").1.end = end;
        }
        let (address, step) = triangles.block(end)?;
        Ok(Block { address, step, first, groups, calls: parallel::n_threads() })
    }

    /// Of the frame of this number.
    pub fn place(&self, frame: usize) -> Option<Place> {
        let address = self.address + 8 * self.first[frame]? as u64;
        Some(Place { address, step: self.step, calls: self.calls })
    }

    /// Queues the elimination of all rows, which are there.
    pub fn eliminate(self, triangles: &mut dyn Triangles) -> Result<()> {
        self.groups.into_iter().try_for_each(|(name, rows)| triangles.eliminate(rows, name))
    }
}
