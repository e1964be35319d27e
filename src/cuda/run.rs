//! What evaluations on a device have in common, whatever computes energies and edge gradients: the sums that come after them, and
//! neighbour lists that hold or do not.

use super::list::{DeviceList, Frame, Positions};
use super::workspace::{DeviceGraph, Workspace};
use super::{FORCE_LANES, SUMS, Targets};
use crate::Result;
use crate::device::cuda::kernel::{Grid, Module, arguments};
use crate::device::cuda::stream::Stream;
use crate::graph::OnDevice;
use crate::memory;
use crate::part::cuda::THREADS;
use crate::potential::Virial;
use crate::potential::stack::{Gradients, Pass};
use crate::structure::Structure;

/// From site energies and, where `gradients`, those of edges in the workspace to forces and the sums over all atoms.
pub fn sum(
    forces: &Module,
    graph: &DeviceGraph,
    gradients: bool,
    energies: u64,
    to: Targets,
    stream: &Stream,
    w: &mut Workspace,
) -> Result<()> {
    let DeviceGraph { n_atoms, n_centres, first, last, r, incoming_first, incoming, place, atom, .. } = *graph;
    let n_partial = match gradients {
        true => n_atoms.div_ceil(THREADS / FORCE_LANES),
        false => n_centres.div_ceil(8 * THREADS),
    };
    // A single block has the totals already.
    let partial = if n_partial == 1 { to.totals } else { w.partial.reserve(n_partial * SUMS)? };
    let grid = Grid { blocks: n_partial, threads: THREADS, shared: 0 };
    let (n_atoms, n_centres, g) = (n_atoms as u32, n_centres as u32, w.gradients.ptr);
    // SAFETY: the targets have a number for every centre and atom, `partial` one for every block, the workspace one for every edge; the
    // graph is the caller's.
    unsafe {
        if gradients {
            let arguments = arguments![
                n_atoms,
                n_centres,
                first,
                last,
                incoming_first,
                incoming,
                place,
                g,
                r,
                energies,
                atom,
                to.forces,
                to.energies,
                partial
            ];
            forces.launch("forces", grid, stream, arguments)?;
        } else {
            let arguments = arguments![n_centres, energies, atom, to.energies, partial];
            forces.launch("energy_sums", grid, stream, arguments)?;
        }
    }
    if n_partial == 1 {
        return Ok(());
    }
    let n_partial = n_partial as u32;
    let grid = Grid { blocks: SUMS, threads: THREADS, shared: 0 };
    // SAFETY: `partial` has the sums of `n_partial` blocks, the totals their `SUMS`.
    unsafe { forces.launch("totals", grid, stream, arguments![n_partial, partial, to.totals]) }
}

/// From edge gradients in the workspace the virial of each of the structures in a graph, whose atoms are `starts[k]..starts[k + 1]`. Waits.
pub fn virials(
    forces: &Module,
    graph: &DeviceGraph,
    starts: &[usize],
    out: &mut [Virial],
    stream: &Stream,
    w: &mut Workspace,
) -> Result<()> {
    let starts: Vec<u32> = starts.iter().map(|&i| i as u32).collect();
    let (starts, to) = (w.starts.upload(&starts, stream)?, w.partial.reserve(9 * out.len())?);
    let (first, r, g) = (graph.first, graph.r, w.gradients.ptr);
    let grid = Grid { blocks: out.len(), threads: THREADS, shared: 0 };
    // SAFETY: there is an offset for each structure and one more, a gradient for each edge, and room for each virial.
    unsafe { forces.launch("virials", grid, stream, arguments![starts, first, g, r, to]) }?;
    w.partial.download(out.as_flattened_mut().as_flattened_mut(), stream)
}

/// Queues site energies and, where told so, edge gradients and forces; then the sums over all atoms.
pub type Launch<'a> = dyn FnMut(&DeviceGraph, bool, Targets, &Stream, &mut Workspace) -> Result<()> + 'a;

/// As [`Engine::list`](crate::potential::stack::Engine::list), with `group` lanes that share a centre.
pub fn from_list(
    list: &mut DeviceList,
    structure: &Structure,
    species: &[u32],
    group: usize,
    out: Pass,
    w: &mut Workspace,
    launch: &mut Launch,
) -> Result<f64> {
    let Structure { numbers, positions, cell, pbc } = structure;
    let (frame, n) = (Frame { numbers, species, cell: *cell, pbc: *pbc }, numbers.len());
    let to = w.targets(n, n)?;
    let positions = Positions::Host(positions);
    let Pass { site_energies, gradients } = out;
    let Some(Gradients { virials, forces, .. }) = gradients else {
        let with = With { frame: &frame, positions: &positions, gradients: false, group };
        return Ok(with_list(list, with, to, (site_energies, &mut []), w, launch)?[9]);
    };
    let forces = forces.unwrap_or_default();
    // Results are fetched from the first energy to the last force.
    let mut own = Vec::new();
    let site_energies = match site_energies.is_empty() && !forces.is_empty() {
        true => memory::at_least(&mut own, n, 0.0),
        false => site_energies,
    };
    let with = With { frame: &frame, positions: &positions, gradients: true, group };
    let totals = with_list(list, with, to, (site_energies, forces), w, launch)?;
    virials[0] = virial(&totals);
    Ok(totals[9])
}

/// As [`Engine::on_device`](crate::potential::stack::Engine::on_device), with `group` lanes that share a centre.
pub fn on_device(
    list: &mut DeviceList,
    at: &OnDevice,
    species: &[u32],
    group: usize,
    w: &mut Workspace,
    launch: &mut Launch,
) -> Result<(f64, Virial)> {
    let addresses = [("positions", Some(at.positions)), ("site_energies", at.site_energies), ("forces", at.forces)];
    for (name, address) in addresses {
        if let Some(address) = address.filter(|_| !at.numbers.is_empty()) {
            list.device.check_address(name, address)?;
        }
    }
    let frame = Frame { numbers: at.numbers, species, cell: at.cell, pbc: at.pbc };
    let n = at.numbers.len();
    let mut to = w.targets(n, n)?;
    to.forces = at.forces.unwrap_or(to.forces);
    to.energies = at.site_energies.unwrap_or(to.energies);
    list.stream.follow(at.stream)?;
    let positions = Positions::Device(at.positions);
    let with = With { frame: &frame, positions: &positions, gradients: at.forces.is_some(), group };
    let totals = with_list(list, with, to, (&mut [], &mut []), w, launch)?;
    Ok((totals[9], virial(&totals)))
}

/// Of the sums over all atoms.
pub fn virial(totals: &[f64; SUMS]) -> Virial {
    std::array::from_fn(|a| std::array::from_fn(|b| totals[3 * a + b]))
}

/// What is evaluated with a list.
struct With<'a> {
    frame: &'a Frame<'a>,
    positions: &'a Positions<'a>,
    gradients: bool,
    group: usize,
}

/// Evaluates at positions with a list that is reused where it holds, and copies the results to the host slices; returns the sums.
fn with_list(
    list: &mut DeviceList,
    With { frame, positions, gradients, group }: With,
    to: Targets,
    (energies, forces): (&mut [f64], &mut [[f64; 3]]),
    w: &mut Workspace,
    launch: &mut Launch,
) -> Result<[f64; SUMS]> {
    let n = frame.numbers.len();
    let stream = list.stream.clone();
    loop {
        let reused = list.may_hold(frame);
        let mut x = None;
        if !reused {
            if frame.pbc != [true; 3] {
                x = Some(list.positions(positions, &mut w.staging)?);
            }
            list.prepare(frame, x, group)?;
        }
        let as_graph = list.goes_as_graph(n, reused);
        let mut queue = || {
            let x = x.map_or_else(|| list.positions(positions, &mut w.staging), Ok)?;
            let mut graph = match reused {
                true => list.reuse(frame, x, to.status)?,
                false => list.build(frame, x, to.status)?,
            };
            if gradients {
                graph.incoming = list.reverse(n)?;
            }
            launch(&graph, gradients, to, &stream, w)?;
            w.fetch(&stream, energies.len(), forces.len())
        };
        stream.mark(0)?;
        let queued = if as_graph { stream.as_graph(queue) } else { queue() };
        match queued.and_then(|()| stream.mark(1)).and_then(|()| w.download(&stream, energies, forces)) {
            Ok((totals, status)) => {
                if list.accepts(status, reused)? {
                    return Ok(totals);
                }
            }
            Err(e) => {
                // Nothing may use what the next call overwrites.
                let _ = stream.wait();
                list.forget();
                return Err(e);
            }
        }
    }
}
