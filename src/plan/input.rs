//! What is evaluated.

use crate::graph::{Exchange, Graph, Neighbours, OnDevice};
use crate::structure::Structure;

/// Atoms and how their neighbours are known.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input<'a> {
    /// A structure whose graph is built for this call.
    Structure(&'a Structure),
    /// A structure, and a list of the plan's device that is kept for the next call: the way for small systems and simulations.
    List(&'a Structure, &'a mut Neighbours),
    /// A graph, and the atomic numbers of its atoms, (n_atoms).
    Graph(&'a Graph, &'a [u8]),
    /// A graph whose ghosts have no edges: what a network needs to know of them comes from the processes that own them.
    Exchanged(&'a Graph, &'a [u8], &'a mut dyn Exchange),
    /// Made by [`Input::on_device`].
    #[doc(hidden)]
    OnDevice(AtAddresses<'a>),
}

/// A structure in the memory of a device, and its list.
#[derive(Debug)]
pub struct AtAddresses<'a>(pub(super) OnDevice<'a>, pub(super) &'a mut Neighbours);

impl<'a> Input<'a> {
    /// A structure whose positions are in the memory of the plan's device, where site energies and forces are left as well. An
    /// evaluation waits for the result; [`Outputs`](super::Outputs) may have energy and virial besides.
    ///
    /// # Safety
    /// The addresses must be those of memory on the device, as large as [`OnDevice`] says, until the evaluation is over.
    pub unsafe fn on_device(at: OnDevice<'a>, list: &'a mut Neighbours) -> Input<'a> {
        Input::OnDevice(AtAddresses(at, list))
    }
}

impl<'a> From<&'a Structure> for Input<'a> {
    fn from(structure: &'a Structure) -> Input<'a> {
        Input::Structure(structure)
    }
}

impl<'a> From<(&'a Structure, &'a mut Neighbours)> for Input<'a> {
    fn from((structure, list): (&'a Structure, &'a mut Neighbours)) -> Input<'a> {
        Input::List(structure, list)
    }
}

impl<'a, N: AsRef<[u8]> + ?Sized> From<(&'a Graph, &'a N)> for Input<'a> {
    fn from((graph, numbers): (&'a Graph, &'a N)) -> Input<'a> {
        Input::Graph(graph, numbers.as_ref())
    }
}
