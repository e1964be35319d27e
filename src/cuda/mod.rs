//! The CUDA backend: one pass over the centres for energies and edge gradients, one over the atoms for forces.
//!
//! Kernels are compiled for the model at hand: `part` and `source` write its layout as code, the kernels
//! themselves are in `kernels/`. Radial functions are evaluated exactly: their rows are the same for all lanes
//! of a warp, while those of a table would have to be gathered.

mod basis;
mod cells;
pub(crate) mod list;
mod mace;
mod run;
mod source;
mod triangles;
mod workspace;

pub use crate::device::cuda::compile;
use crate::device::cuda::context::{Buffer, Context, reals};
use crate::device::cuda::kernel::{Grid, KernelSource, Module, arguments};
use crate::device::cuda::stream::{Place, Stream};
use crate::graph::{Neighbours, OnDevice, Place as ListPlace, Sites};
use crate::memory;
use crate::model::{Model, PartSpec};
use crate::part::Compiled;
use crate::part::cuda::{At, PartKernels, THREADS};
use crate::potential::stack::{Engine, Gradients, Pass, Stack};
use crate::potential::{Potential, Rows, Triangles, Virial};
use crate::precision::Precision;
use crate::stage::features::Features;
use crate::stage::table::RadialMode;
use crate::structure::Structure;
use crate::{Error, Result};
use list::DeviceList;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use triangles::DeviceTriangles;
use workspace::{DeviceGraph, Shape, Workspace, Workspaces};

/// Lanes that share an atom when forces are gathered.
const FORCE_LANES: usize = 8;
/// Lanes that share an atom in neighbour lists of small and of large systems.
const LIST_LANES: [usize; 2] = [32, 8];
/// Sums over all atoms: nine of the virial, the energy.
const SUMS: usize = 10;

/// A model on a device.
struct Cuda {
    device: Arc<Context>,
    /// Atomic numbers.
    species: Vec<u8>,
    precision: Precision,
    parts: Vec<PartKernels>,
    n_basis: usize,
    e0: Buffer<f64>,
    /// Radial rows and numbers of the pairs, by part.
    fixed: Vec<(Buffer<u8>, Buffer<f64>)>,
    /// From products to the basis, by part.
    couplings: Vec<Option<basis::CouplingBuffers>>,
    /// Folded coefficients by readout and part.
    folded: Vec<Vec<Buffer<u8>>>,
    modules: Mutex<HashMap<(&'static str, usize), Arc<Module>>>,
    workspaces: Workspaces,
}

/// The potential of a model on a CUDA device.
///
/// # Errors
/// No driver, device, NVRTC or memory; tables, which kernels have not.
pub(crate) fn potential(
    model: &Model,
    index: usize,
    precision: Precision,
    mode: RadialMode,
) -> Result<Box<dyn Potential>> {
    if let RadialMode::Table { .. } = mode
        && model.mace().is_none()
    {
        let message = "radial tables are for the processor: on CUDA devices radial functions are always exact";
        return Err(Error::Argument(message.into()));
    }
    if let Some(mace) = model.mace() {
        return Ok(Box::new(mace::MacePotential::new(mace.network().clone(), index, precision)?));
    }
    Ok(Box::new(Stack::new(Cuda::new(model, index, precision, mode)?)))
}

/// # Errors
/// A part that kernels have no code for.
fn compile(model: &Model, single: bool, mode: RadialMode) -> Result<Compiled<PartKernels>> {
    let (spec, real) = (model.spec(), if single { 4 } else { 8 });
    let compile = |part: &PartSpec, offset| part.compile_cuda(&At { species: &spec.species, mode, offset, real });
    let compiled = Compiled::new(spec.species.len(), &spec.parts, compile);
    compiled.map_err(|fault| Error::Device(format!("CUDA: {fault}")))
}

/// Every kernel file that a plan may load, as text: for compiling without a device.
pub fn sources(model: &Model, precision: Precision) -> Result<Vec<KernelSource>> {
    if let Some(mace) = model.mace() {
        let mut all = crate::mace::cuda::sources(mace.network(), precision);
        all.push(forces(precision));
        all.extend(LIST_LANES.map(|lanes| list_source(precision, lanes)));
        return Ok(all);
    }
    let Compiled { parts, .. } = compile(model, precision.is_single(), RadialMode::Exact)?;
    let code = source::Kernels { n_species: model.species().len(), precision, parts: &parts };
    let mut all: Vec<KernelSource> = GROUPS.iter().map(|&(_, group)| code.site(group)).collect();
    all.push(forces(precision));
    if model.check_linear().is_ok() {
        all.push(code.basis());
    }
    all.extend(LIST_LANES.map(|lanes| list_source(precision, lanes)));
    Ok(all)
}

/// Where results go on the device.
#[derive(Clone, Copy)]
struct Targets {
    totals: u64,
    /// Of a list; else cleared.
    status: Place,
    energies: u64,
    forces: u64,
}

fn list_source(precision: Precision, lanes: usize) -> KernelSource {
    let kept = if lanes == LIST_LANES[0] { list::KEPT } else { 0 };
    source::plain("list", include_str!("../../kernels/list.cu"), precision, lanes, &format!("#define KEPT {kept}\n"))
}

fn forces(precision: Precision) -> KernelSource {
    let kernels = concat!(include_str!("../../kernels/forces.cu"), include_str!("../../kernels/edges.cu"));
    source::plain("forces", kernels, precision, FORCE_LANES, "")
}

/// Lanes that share a centre, for systems up to so many centres.
const GROUPS: [(usize, usize); 3] = [(6_000, 32), (40_000, 4), (usize::MAX, 1)];

fn group(n_centres: usize) -> usize {
    GROUPS.iter().find(|g| n_centres <= g.0).map_or(1, |g| g.1)
}

impl Cuda {
    /// # Errors
    /// No driver, device, NVRTC or memory.
    pub fn new(model: &Model, index: usize, precision: Precision, mode: RadialMode) -> Result<Cuda> {
        let single = precision.is_single();
        let Compiled { e0, parts, n_basis } = compile(model, single, mode)?;
        let device = Context::open(index)?;
        let stream = Stream::new(&device)?;
        let mut e0_buffer = Buffer::new(&device);
        e0_buffer.upload(&e0, &stream)?;
        let mut fixed = Vec::new();
        for part in &parts {
            let mut both = (Buffer::new(&device), Buffer::new(&device));
            both.0.upload(&reals(&part.matrix, single), &stream)?;
            both.1.upload(&part.pairs, &stream)?;
            fixed.push(both);
        }
        let couplings = basis::couplings(&parts, &device, &stream)?;
        stream.wait()?;
        let mut cuda = Cuda {
            device,
            species: model.species().to_vec(),
            precision,
            parts,
            n_basis,
            e0: e0_buffer,
            fixed,
            couplings,
            folded: Vec::new(),
            modules: Mutex::default(),
            workspaces: Workspaces::default(),
        };
        cuda.set_readouts(&[model.linear_parameters()])?;
        Ok(cuda)
    }

    fn real(&self) -> usize {
        if self.precision.is_single() { 4 } else { 8 }
    }

    /// The module of kernel file `name` with `group` lanes a centre (or atom), compiled where it is not yet loaded.
    fn module(&self, name: &'static str, group: usize) -> Result<Arc<Module>> {
        let mut modules = self.modules.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(module) = modules.get(&(name, group)) {
            return Ok(module.clone());
        }
        let code = source::Kernels { n_species: self.species.len(), precision: self.precision, parts: &self.parts };
        let source = match name {
            "site" => code.site(group),
            "basis" => code.basis(),
            "list" => list_source(self.precision, group),
            _ => forces(self.precision),
        };
        let module = Arc::new(Module::load(&self.device, &source)?);
        modules.insert((name, group), module.clone());
        Ok(module)
    }

    /// The list, if it goes with this plan.
    fn own<'a>(&self, list: &'a mut Neighbours) -> Result<&'a mut DeviceList> {
        DeviceList::of(list, &self.device, &self.species, self.precision)
    }

    /// With one that has the edges of this edition, if there is one.
    fn with_workspace<T>(&self, edition: u64, f: impl FnOnce(&mut Workspace) -> Result<T>) -> Result<T> {
        self.workspaces.with(&self.device, edition, f)
    }

    /// The struct `Parts` of the kernels.
    fn arguments(&self, readout: usize) -> Vec<u64> {
        let mut words = vec![self.e0.ptr];
        for (fixed, folded) in self.fixed.iter().zip(&self.folded[readout]) {
            words.extend([folded.ptr, fixed.0.ptr, fixed.1.ptr]);
        }
        words.resize(words.len().max(4), 0);
        words
    }

    /// Site energies and, where `gradients`, edge gradients and forces; the sums over all atoms.
    fn launch(
        &self,
        graph: &DeviceGraph,
        readout: usize,
        gradients: bool,
        to: Targets,
        stream: &Stream,
        w: &mut Workspace,
    ) -> Result<()> {
        let group = graph.group;
        let site = self.module("site", group)?;
        let forces = self.module("forces", 0)?;
        let parts = self.arguments(readout);
        // Energies are written in place unless they have to be put in order.
        let energies = if graph.atom == 0 { to.energies } else { w.energies.reserve(graph.n_centres)? };
        let n_slots = graph.n_slots as u32;
        let mut grid = Grid { blocks: graph.n_slots.div_ceil(THREADS / group), threads: THREADS, shared: site.shared };
        let DeviceGraph { order, first, last, neighbour, species, r, .. } = *graph;
        if gradients {
            let g = w.gradients.reserve(3 * graph.n_edges * self.real())?;
            grid.shared = site.shared_gradient;
            // SAFETY: `reserve` made the outputs large enough; graph and targets belong to the caller.
            unsafe {
                let arguments = arguments![parts[..], order, n_slots, first, last, neighbour, species, r, energies, g];
                site.launch("site_gradients", grid, stream, arguments)?;
            }
        } else {
            // SAFETY: the targets have a number for every centre; the graph is the caller's.
            unsafe {
                let arguments = arguments![parts[..], order, n_slots, first, last, neighbour, species, r, energies];
                site.launch("site_energies", grid, stream, arguments)?;
            }
        }
        run::sum(&forces, graph, gradients, energies, to, stream, w)
    }
}

impl Engine for Cuda {
    fn set_readouts(&mut self, parameters: &[Vec<f64>]) -> Result<()> {
        let stream = Stream::new(&self.device)?;
        let mut folded = Vec::new();
        for parameters in parameters {
            let mut buffers = Vec::new();
            for part in &self.parts {
                let weights = &parameters[part.offset.parameter..][..self.species.len() * part.n_basis];
                let mut buffer = Buffer::new(&self.device);
                buffer.upload(&reals(&part.fold(weights), self.precision.is_single()), &stream)?;
                buffers.push(buffer);
            }
            folded.push(buffers);
        }
        stream.wait()?;
        self.folded = folded;
        Ok(())
    }

    fn pass(&self, sites: Sites, readouts: Range<usize>, out: Pass) -> Result<()> {
        let graph = sites.graph;
        let forces = self.module("forces", 0)?;
        self.with_workspace(graph.edition(), |w| {
            let (n_owned, n_atoms, n_edges) = (graph.n_owned(), graph.n_atoms(), graph.n_edges());
            let Pass { site_energies, mut gradients } = out;
            // Gradients of edges are asked for by the places that these have.
            let by_edge = gradients.as_ref().is_some_and(|g| g.edges.is_some() || g.site_virials.is_some());
            let shape = Shape { n_centres: n_owned, group: group(n_owned), near: (!by_edge).then(|| self.cutoff()) };
            let on_device = w.upload(sites, shape, self.precision, &forces)?;
            for (k, readout) in readouts.enumerate() {
                let to = w.targets(n_owned, n_atoms)?;
                let stream = w.stream.clone();
                // SAFETY: `targets` made room. There is no list, but the header is read as a whole.
                unsafe { stream.fill(to.status, 0xff, size_of::<list::Status>()) }?;
                if gradients.is_some() && on_device.place == 0 && graph.n_owned_edges() < n_edges {
                    // Rows of centres that are not owned have no energy.
                    w.gradients.fill(0, 3 * n_edges * self.real(), &stream)?;
                }
                self.launch(&on_device, readout, gradients.is_some(), to, &stream, w)?;
                let energies = &mut site_energies[k * n_owned..][..n_owned];
                let Some(Gradients { virials, forces, site_virials, edges }) = &mut gradients else {
                    w.fetch(&stream, energies.len(), 0)?;
                    w.download(&stream, energies, &mut [])?;
                    continue;
                };
                let forces = forces.as_deref_mut().map_or(&mut [][..], |f| &mut f[k * n_atoms..][..n_atoms]);
                w.fetch(&stream, energies.len(), forces.len())?;
                let (totals, _) = w.download(&stream, energies, forces)?;
                virials[k].as_flattened_mut().copy_from_slice(&totals[..9]);
                let mut own = Vec::new();
                let edges = match edges {
                    Some(edges) => &mut edges[k * n_edges..][..n_edges],
                    None if site_virials.is_some() => memory::at_least(&mut own, n_edges, [0.0; 3]),
                    None => continue,
                };
                w.download_gradients(edges, self.precision)?;
                if let Some(site_virials) = site_virials {
                    crate::potential::site_virials(graph, edges, &mut site_virials[k * n_atoms..][..n_atoms]);
                }
            }
            Ok(())
        })
    }

    fn neighbours(&self, cutoff: f64, skin: f64) -> Result<Neighbours> {
        let [small, large] = LIST_LANES.map(|lanes| Ok((lanes, self.module("list", lanes)?)));
        let kernels = [small?, large?];
        let list = DeviceList::new(&self.device, kernels, &self.species, self.precision, cutoff, skin)?;
        Ok(Neighbours(ListPlace::Device(Box::new(list))))
    }

    fn list(&self, list: &mut Neighbours, structure: &Structure, species: &[u32], out: Pass) -> Result<f64> {
        let (list, group) = (self.own(list)?, group(structure.n_atoms()));
        self.with_workspace(0, |w| {
            run::from_list(list, structure, species, group, out, w, &mut |graph, gradients, to, stream, w| {
                self.launch(graph, 0, gradients, to, stream, w)
            })
        })
    }

    unsafe fn on_device(&self, list: &mut Neighbours, at: &OnDevice, species: &[u32]) -> Result<(f64, Virial)> {
        let (list, group) = (self.own(list)?, group(at.numbers.len()));
        self.with_workspace(0, |w| {
            run::on_device(list, at, species, group, w, &mut |graph, gradients, to, stream, w| {
                self.launch(graph, 0, gradients, to, stream, w)
            })
        })
    }

    fn basis(&self, sites: Sites, basis: &mut [f64], jacobian: Option<&mut [f64]>) -> Result<()> {
        self.basis_and_jacobian(sites, basis, jacobian)
    }

    fn features(&self, n_species: usize) -> Result<Features> {
        match self.n_basis {
            0 => Err(Error::Argument("grade: on CUDA devices of linear potentials alone".into())),
            n => Ok(Features::linear(n, n_species)),
        }
    }

    fn assemble(&self, sites: Sites, rows: &mut Rows) -> Result<()> {
        self.assemble_rows(sites, rows)
    }

    fn triangles(&self, n_columns: usize) -> Result<Option<Box<dyn Triangles>>> {
        let triangles = DeviceTriangles::new(&self.device, self.module("basis", 0)?, n_columns)?;
        Ok(Some(Box::new(triangles)))
    }

    fn cutoff(&self) -> f64 {
        self.parts.iter().map(|part| part.rcut).fold(0.0, f64::max)
    }

    fn n_basis(&self) -> usize {
        self.n_basis
    }

    fn bytes(&self) -> usize {
        let fixed: usize = self.fixed.iter().map(|(m, p)| m.capacity() + 8 * p.capacity()).sum();
        fixed + self.folded.iter().flatten().map(|b| b.capacity()).sum::<usize>()
    }
}
