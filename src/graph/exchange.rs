//! What engines that split space do between the layers of a network.

use crate::Result;
use std::fmt::Debug;

/// Features of ghosts, from and to the processes that own them. A row of numbers for each atom of the graph, owned or not.
pub trait Exchange: Debug + Send {
    /// Fills in the rows of ghosts, which are no numbers before, from those of the atoms that they are images of.
    ///
    /// # Errors
    /// Whatever the other side says.
    fn forward(&mut self, layer: usize, width: usize, rows: &mut [f64]) -> Result<()>;

    /// Adds the rows of ghosts to those of the atoms that they are images of.
    ///
    /// # Errors
    /// As above.
    fn backward(&mut self, layer: usize, width: usize, rows: &mut [f64]) -> Result<()>;
}
