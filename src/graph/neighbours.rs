//! Neighbour lists on the device of a plan, and structures there.

use super::NeighbourList;
use crate::Result;
use std::any::Any;
use std::fmt::{self, Debug, Formatter};

/// A neighbour list for successive structures, on the device of the plan that made it.
#[derive(Debug)]
pub struct Neighbours(pub(crate) Place);

#[derive(Debug)]
pub(crate) enum Place {
    Host(Box<NeighbourList>),
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
    Device(Box<dyn ListOnDevice>),
}

/// A list in the memory of a device, as its own kernels have it.
pub(crate) trait ListOnDevice: Any + Send {
    /// Å.
    fn cutoff(&self) -> f64;
    fn builds(&self) -> usize;
    fn replays(&self) -> usize;
    fn set_timed(&self, timed: bool) -> Result<()>;
    fn milliseconds(&self) -> Option<f64>;
}

impl Debug for dyn ListOnDevice {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "a list on a device, cutoff {} Å, built {} times", self.cutoff(), self.builds())
    }
}

impl Neighbours {
    pub(crate) fn on_host(cutoff: f64, skin: f64) -> Result<Neighbours> {
        Ok(Neighbours(Place::Host(Box::new(NeighbourList::new(cutoff, skin)?))))
    }

    /// Structures have all their edges up to this length, Å.
    pub fn cutoff(&self) -> f64 {
        match &self.0 {
            Place::Host(list) => list.cutoff(),
            Place::Device(list) => list.cutoff(),
        }
    }

    /// How often the list was built rather than reused.
    pub fn builds(&self) -> usize {
        match &self.0 {
            Place::Host(list) => list.builds(),
            Place::Device(list) => list.builds(),
        }
    }

    /// How often all that a call launches on a CUDA device was replayed as one graph.
    pub fn replays(&self) -> usize {
        match &self.0 {
            Place::Host(_) => 0,
            Place::Device(list) => list.replays(),
        }
    }

    /// From now on the device's own time of each call is taken, or no longer; only on a CUDA device.
    ///
    /// # Errors
    /// The device.
    pub fn set_timed(&mut self, timed: bool) -> Result<()> {
        match &self.0 {
            Place::Host(_) => Ok(()),
            Place::Device(list) => list.set_timed(timed),
        }
    }

    /// Milliseconds from the first to the last thing that the device did in the last call: copies (of small systems, both ways),
    /// list, kernels. `None` where it was not timed.
    pub fn device_milliseconds(&self) -> Option<f64> {
        match &self.0 {
            Place::Host(_) => None,
            Place::Device(list) => list.milliseconds(),
        }
    }
}

/// A structure in the memory of a device, and addresses there for results.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnDevice<'a> {
    /// Atomic numbers, (n_atoms), on the host.
    pub numbers: &'a [u8],
    /// Rows, Å, and which of them are periodic, as in [`Structure`](crate::structure::Structure).
    pub cell: [[f64; 3]; 3],
    pub pbc: [bool; 3],
    /// Address of the positions, (n_atoms, 3) `f64`, Å.
    pub positions: u64,
    /// Address for site energies, (n_atoms) `f64`, eV, where wanted.
    pub site_energies: Option<u64>,
    /// Address for forces, (n_atoms, 3) `f64`, eV/Å, where wanted.
    pub forces: Option<u64>,
    /// The CUDA stream that writes the positions; 0 is the default stream.
    pub stream: u64,
}
