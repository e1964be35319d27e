//! A graph that outlives small moves of the atoms.

use super::search::Workspace;
use super::{Graph, for_chunks};
use crate::structure::Structure;
use crate::{Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};

/// A neighbour graph for a sequence of similar structures, as of a simulation.
///
/// It is built with `cutoff + skin` and holds while no atom has moved by more than half the skin: until
/// then only the vectors are computed anew. Its graph may therefore have edges longer than
/// `cutoff`, which are passed over.
#[derive(Clone, Debug)]
pub struct NeighbourList {
    cutoff: f64,
    skin: f64,
    graph: Graph,
    /// The structure of the last build; `None` if there is none or it failed.
    built: Option<Structure>,
    workspace: Workspace,
    builds: usize,
}

impl NeighbourList {
    /// An empty list with cutoff and skin in Å.
    ///
    /// # Errors
    /// The cutoff must be positive, the skin at least 0, both finite.
    pub fn new(cutoff: f64, skin: f64) -> Result<NeighbourList> {
        if !(cutoff > 0.0 && cutoff.is_finite()) {
            return Err(Error::Graph(format!("cutoff {cutoff} Å is not positive and finite")));
        }
        if !(skin >= 0.0 && skin.is_finite()) {
            return Err(Error::Graph(format!("skin {skin} Å is negative or not finite")));
        }
        let (graph, workspace) = Default::default();
        Ok(NeighbourList { cutoff, skin, graph, built: None, workspace, builds: 0 })
    }

    pub fn cutoff(&self) -> f64 {
        self.cutoff
    }

    pub fn skin(&self) -> f64 {
        self.skin
    }

    /// The graph of the last update.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// How often the graph was built rather than reused.
    pub fn builds(&self) -> usize {
        self.builds
    }

    /// The graph of this structure, with all edges up to `cutoff` and perhaps some up to `cutoff + skin`.
    ///
    /// # Errors
    /// As [`Graph::build`]; the next update then builds anew.
    pub fn update(&mut self, structure: &Structure) -> Result<&Graph> {
        if self.holds(structure) {
            // Nothing to do for atoms that are where they were, as for forces after an energy.
            let last = self.graph.moved().map(|moved| moved.positions);
            if self.graph.broken
                || last.or(self.built.as_ref().map(|built| &built.positions[..])) != Some(&structure.positions)
            {
                self.graph.update_vectors(structure)?;
            }
            return Ok(&self.graph);
        }
        let mut built = self.built.take().unwrap_or_default();
        self.graph.rebuild(structure, (self.cutoff, self.skin), &mut self.workspace)?;
        built.clone_from(structure);
        self.built = Some(built);
        self.builds += 1;
        Ok(&self.graph)
    }

    fn holds(&self, structure: &Structure) -> bool {
        let Some(built) = &self.built else { return false };
        let same_cell = built.pbc == structure.pbc
            && built.cell == structure.cell
            && built.numbers.len() == structure.numbers.len()
            && built.positions.len() == structure.positions.len();
        if !same_cell {
            return false;
        }
        // A hair less than half, for the rounding of the vectors.
        let limit = (0.5 * self.skin).powi(2) * (1.0 - 1e-9);
        let near = AtomicBool::new(true);
        for_chunks(built.positions.len(), |atoms| {
            let moves = built.positions[atoms.clone()].iter().zip(&structure.positions[atoms]);
            // Not a number counts as far: the build then names the atom.
            let all = moves.fold(true, |near, (a, b)| {
                let d = [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
                near & (d[0] * d[0] + d[1] * d[1] + d[2] * d[2] <= limit)
            });
            if !all {
                near.store(false, Ordering::Relaxed);
            }
        });
        near.into_inner()
    }
}
