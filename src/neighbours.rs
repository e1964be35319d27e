//! Neighbour lists on the device of a plan, and structures there.

use crate::Result;
use crate::graph::NeighbourList;

/// A neighbour list for successive structures, on the device of the plan that made it.
pub enum Neighbours {
    Host(Box<NeighbourList>),
    #[cfg(feature = "cuda")]
    Device(Box<crate::cuda::list::DeviceList>),
}

impl Neighbours {
    /// Å.
    pub(crate) fn rcut(&self) -> f64 {
        match self {
            Neighbours::Host(list) => list.rcut(),
            #[cfg(feature = "cuda")]
            Neighbours::Device(list) => list.rcut(),
        }
    }

    /// From now on the device's own time of each call is taken, or no longer; only on a CUDA device.
    ///
    /// # Errors
    /// The device.
    #[cfg_attr(not(feature = "cuda"), allow(unused_variables))]
    pub fn set_timed(&mut self, timed: bool) -> Result<()> {
        match self {
            Neighbours::Host(_) => Ok(()),
            #[cfg(feature = "cuda")]
            Neighbours::Device(list) => list.stream.set_timed(timed),
        }
    }

    /// Milliseconds from the first to the last thing that the device did in the last call: copies (of small systems, both ways),
    /// list, kernels. `None` where it was not timed.
    pub fn device_milliseconds(&self) -> Option<f64> {
        match self {
            Neighbours::Host(_) => None,
            #[cfg(feature = "cuda")]
            Neighbours::Device(list) => list.stream.milliseconds(),
        }
    }

    /// How often all that a call launches on a CUDA device was replayed as one graph.
    pub fn replays(&self) -> usize {
        match self {
            Neighbours::Host(_) => 0,
            #[cfg(feature = "cuda")]
            Neighbours::Device(list) => list.stream.replays(),
        }
    }

    /// How often the list was built rather than reused.
    pub fn builds(&self) -> usize {
        match self {
            Neighbours::Host(list) => list.builds(),
            #[cfg(feature = "cuda")]
            Neighbours::Device(list) => list.builds,
        }
    }
}

/// A structure in the memory of a CUDA device.
#[cfg(feature = "cuda")]
#[derive(Clone, Copy, Debug)]
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
    /// Address for forces, (n_atoms, 3) `f64`, eV/Å, where wanted; the virial is zero without them.
    pub forces: Option<u64>,
    /// The CUDA stream that writes the positions; 0 is the default stream.
    pub stream: u64,
}
