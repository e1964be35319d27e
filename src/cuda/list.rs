//! A neighbour list that is built, reused and evaluated on the device.

use super::cells::Cells;
use super::workspace::DeviceGraph;
use crate::device::cuda::context::{Buffer, Context};
use crate::device::cuda::kernel::{Grid, Module, arguments};
use crate::device::cuda::staging::{LARGE, Pinned, Staging};
use crate::device::cuda::stream::{Argument, Place, Stream};
use crate::graph::{ListOnDevice, Neighbours, Place as ListPlace};
use crate::part::cuda::THREADS;
use crate::precision::Precision;
use crate::{Error, Result};
use std::any::Any;
use std::sync::Arc;

/// Numbers that a thread sums in the first step of a scan, times the threads of a block.
const CHUNK: usize = 8 * THREADS;
/// Threads of the block that sorts a small system, and its limits: what its shared memory holds, and what it does
/// faster than several launches.
const SMALL: usize = 1024;
const SMALL_CELLS: usize = 8 << 10;
const SMALL_ATOMS: usize = 4 << 10;
const CLEAR: u32 = u32::MAX;
/// Edges of each lane that are kept from counting to writing, in small systems.
pub const KEPT: usize = 8;

/// What the kernels say about a list.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Status {
    /// The first atom whose position is not finite.
    infinite: u32,
    /// The first atom that shares its place with another.
    coincident: u32,
    /// Whether an atom has moved by more than half the skin.
    moved: u32,
    padding: u32,
    n_edges: u64,
}

impl Status {
    /// From the numbers that the kernels left among the results.
    pub fn from_words(words: [f64; 3]) -> Status {
        let [a, b, n_edges] = words.map(f64::to_bits);
        Status { infinite: a as u32, coincident: (a >> 32) as u32, moved: b as u32, padding: 0, n_edges }
    }
}

/// The struct `Slots` of the kernels.
#[repr(C)]
#[derive(Clone, Copy)]
struct Slots {
    atom: u64,
    home: u64,
    sorted: u64,
    built: u64,
    species: u64,
}

/// What a list was built for.
#[derive(PartialEq)]
struct Built {
    numbers: Vec<u8>,
    cell: [[f64; 3]; 3],
    pbc: [bool; 3],
}

/// The list and its memory. See [`crate::graph::Neighbours`].
pub struct DeviceList {
    pub(super) device: Arc<Context>,
    /// Those of the model that it was made for.
    model_species: Vec<u8>,
    pub(super) rcut: f64,
    pub(super) skin: f64,
    built: Option<Built>,
    /// What `species` holds.
    last_species: Vec<u32>,
    builds: usize,
    pub(super) cells: Cells,
    /// Edges that the last build wanted where it lacked memory; else 0.
    wanted: usize,
    pub(super) volume: f64,
    group: usize,
    n_slots: usize,
    pub stream: Arc<Stream>,
    /// With their lanes: for small and for large systems.
    kernels: [(usize, Arc<Module>); 2],
    small: bool,
    /// Whether the reverse edges are those of this list.
    reversed: bool,
    /// Positions of small systems on their way.
    pinned: Pinned,
    x: Buffer<[f64; 3]>,
    sorted: Buffer<[f64; 3]>,
    home: Buffer<[f64; 3]>,
    built_x: Buffer<[f64; 3]>,
    /// Edge vectors of `vector` bytes each.
    r: Buffer<u8>,
    vector: usize,
    species: Buffer<u32>,
    sorted_species: Buffer<u32>,
    key: Buffer<u32>,
    start: Buffer<u32>,
    count: Buffer<u32>,
    atom: Buffer<u32>,
    first: Buffer<u32>,
    neighbour: Buffer<u32>,
    image: Buffer<u32>,
    reverse: Buffer<u32>,
    order: Buffer<u32>,
    sums: Buffer<u32>,
    by_lane: Buffer<u32>,
    kept: Buffer<u32>,
    total: Buffer<u32>,
    pub(super) bounds: Buffer<f64>,
}

/// Where positions are.
pub enum Positions<'a> {
    Host(&'a [[f64; 3]]),
    Device(u64),
}

/// Everything but the positions.
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    pub numbers: &'a [u8],
    pub species: &'a [u32],
    pub cell: [[f64; 3]; 3],
    pub pbc: [bool; 3],
}

impl DeviceList {
    pub fn new(
        device: &Arc<Context>,
        kernels: [(usize, Arc<Module>); 2],
        species: &[u8],
        precision: Precision,
        rcut: f64,
        skin: f64,
    ) -> Result<DeviceList> {
        let b = || Buffer::new(device);
        let p = || Buffer::new(device);
        let stream = Arc::new(Stream::new(device)?);
        #[rustfmt::skip]
        let list = DeviceList {
            device: device.clone(), model_species: species.to_vec(), vector: vector_size(precision), rcut, skin, built: None, last_species: Vec::new(), builds: 0, cells: Cells::default(), wanted: 0, volume: 0.0, group: 1, n_slots: 0, stream, kernels, small: true, reversed: false,
            pinned: Pinned::new(device),
            x: p(), sorted: p(), home: p(), built_x: p(), r: Buffer::new(device), species: b(), sorted_species: b(), key: b(), start: b(),
            count: b(), atom: b(), first: b(), neighbour: b(), image: b(), reverse: b(), order: b(), sums: b(), total: b(),
            by_lane: b(), kept: b(), bounds: Buffer::new(device),
        };
        Ok(list)
    }

    /// The list on this device for a model of these species.
    ///
    /// # Errors
    /// A list on the host, and as [`DeviceList::check`].
    pub fn of<'a>(
        list: &'a mut Neighbours,
        device: &Context,
        species: &[u8],
        precision: Precision,
    ) -> Result<&'a mut DeviceList> {
        if let ListPlace::Device(list) = &mut list.0
            && let Some(list) = (&mut **list as &mut dyn Any).downcast_mut::<DeviceList>()
        {
            return list.check(device, species, precision).map(|()| list);
        }
        Err(Error::Argument("the neighbour list belongs to another device".into()))
    }

    /// Whether the list may hold for this structure: all but the positions is as before.
    pub fn may_hold(&self, frame: &Frame) -> bool {
        self.built.as_ref().is_some_and(|b| b.cell == frame.cell && b.pbc == frame.pbc && b.numbers == frame.numbers)
    }

    /// The old list at new positions; the kernels leave a [`Status`] at the address `status`.
    pub fn reuse(&mut self, frame: &Frame, x: u64, status: Place) -> Result<DeviceGraph> {
        let n = frame.numbers.len();
        let limit = (0.5 * self.skin).powi(2) * (1.0 - 1e-9);
        let (count, cells) = (n as u32, self.cells);
        let Slots { atom, home, sorted, built, .. } = self.slots(n)?;
        let (first, neighbour, image, r) = (self.first.ptr, self.neighbour.ptr, self.image.ptr, self.r.ptr);
        self.clear(status)?;
        let status = status.address;
        let arguments = arguments![count, limit, x, atom, home, built, sorted, status];
        self.launch("refresh", per_atom(n), arguments)?;
        let arguments = arguments![cells, count, first, neighbour, image, sorted, r];
        self.launch("vectors", self.per_lanes(n), arguments)?;
        Ok(self.graph(n))
    }

    /// The reverse of each edge, found when it is first asked for.
    pub fn reverse(&mut self, n: usize) -> Result<u64> {
        let (first, neighbour, image, reverse) = (self.first.ptr, self.neighbour.ptr, self.image.ptr, self.reverse.ptr);
        if !self.reversed {
            let n32 = n as u32;
            let arguments = arguments![n32, first, neighbour, image, reverse];
            self.launch("reverse_edges", self.per_lanes(n), arguments)?;
            self.reversed = true;
        }
        Ok(reverse)
    }

    /// Whether the results hold that were computed with this list; else it must be built (again).
    ///
    /// # Errors
    /// What was found wrong with the structure.
    pub fn accepts(&mut self, status: Status, reused: bool) -> Result<bool> {
        let reach = self.rcut + self.skin;
        let failure = if reused {
            None
        } else if status.infinite != CLEAR {
            Some(Error::Structure(format!("atom {}: its position is not finite", status.infinite)))
        } else if status.coincident != CLEAR {
            Some(Error::Graph(format!("atom {} is at the same place as another one", status.coincident)))
        } else if status.n_edges > u64::from(u32::MAX) {
            Some(Error::Graph(format!("more than {} edges within {reach} Å", u32::MAX)))
        } else {
            None
        };
        let holds =
            failure.is_none() && if reused { status.moved == CLEAR } else { status.n_edges <= self.capacity() as u64 };
        if !holds {
            self.built = None;
            self.wanted = if reused { 0 } else { status.n_edges.min(u64::from(u32::MAX)) as usize };
        }
        failure.map_or(Ok(holds), Err)
    }

    /// The number of edges that there is memory for.
    fn capacity(&self) -> usize {
        let least = self.neighbour.capacity().min(self.image.capacity()).min(self.reverse.capacity());
        least.min(self.r.capacity() / self.vector).min(u32::MAX as usize)
    }

    fn clear(&self, status: Place) -> Result<()> {
        let bytes = size_of::<Status>();
        // SAFETY: the caller has room for a status there.
        unsafe { self.stream.fill(status, 0xff, bytes) }
    }

    fn slots(&mut self, n: usize) -> Result<Slots> {
        Ok(Slots {
            atom: self.atom.reserve(n)?,
            home: self.home.reserve(n)?,
            sorted: self.sorted.reserve(n)?,
            built: self.built_x.reserve(n)?,
            species: self.sorted_species.reserve(n)?,
        })
    }

    /// The address of the positions, copied where they are on the host.
    pub fn positions(&mut self, positions: &Positions, staging: &mut Staging) -> Result<u64> {
        match *positions {
            Positions::Host(x) if size_of_val(x) < LARGE => {
                let from = self.pinned.reserve(3 * x.len())?;
                from.copy_from_slice(x.as_flattened());
                let to = self.x.reserve(x.len())?;
                // SAFETY: there is room at either end, and every call waits for its work.
                unsafe { self.stream.upload(self.x.place(0), self.pinned.place(), size_of_val(x)) }?;
                Ok(to)
            }
            Positions::Host(x) => staging.upload(&mut self.x, x, &self.stream),
            Positions::Device(address) => Ok(address),
        }
    }

    /// Whether the launches of the next call can be one graph: reused or built by few kernels, without waiting in between.
    pub fn goes_as_graph(&self, n_atoms: usize, reused: bool) -> bool {
        let n_cells = self.cells.n.iter().map(|&n| n as usize).product::<usize>();
        let few = self.small && n_cells <= SMALL_CELLS && self.cells.periodic == [1; 3];
        if reused { 24 * n_atoms < LARGE } else { few }
    }

    /// The next call builds the list.
    pub fn forget(&mut self) {
        self.built = None;
    }

    /// # Errors
    /// A list of another device, of a model with other species, or with distances in another precision.
    fn check(&self, device: &Context, species: &[u8], precision: Precision) -> Result<()> {
        if self.device.index != device.index {
            let message = format!("the neighbour list is on device {}, not {}", self.device.index, device.index);
            return Err(Error::Argument(message));
        }
        if self.model_species != species {
            return Err(Error::Argument("the neighbour list was made for a model of other species".into()));
        }
        match self.vector == vector_size(precision) {
            true => Ok(()),
            false => Err(Error::Argument("the neighbour list was made for another precision".into())),
        }
    }

    /// Prepares a build: the lattice, its grid, and room for the edges. `x` is needed where a direction is not periodic.
    ///
    /// # Errors
    /// As [`crate::graph::Graph::build`], and cells so small that more than 126 of them lie within the cutoff.
    pub fn prepare(&mut self, frame: &Frame, x: Option<u64>, group: usize) -> Result<()> {
        self.built = None;
        let n = frame.numbers.len();
        if n > u32::MAX as usize / 32 {
            return Err(Error::Graph(format!("{n} atoms are more than a list on the device can hold")));
        }
        self.small = n <= SMALL_ATOMS;
        self.lay_grid(frame, x, n)?;
        self.group = group;
        if self.last_species != frame.species {
            self.species.upload(frame.species, &self.stream)?;
            self.last_species.clear();
            self.last_species.extend_from_slice(frame.species);
        }
        self.make_room(n)
    }

    /// Builds the list anew; the kernels leave a [`Status`] at the address `status`, and an empty graph where the edges
    /// outnumber the memory.
    pub fn build(&mut self, frame: &Frame, x: u64, status: Place) -> Result<DeviceGraph> {
        let (n, n_species) = (frame.numbers.len(), self.model_species.len());
        let (cells, n32) = (self.cells, n as u32);
        let rcut2 = (self.rcut + self.skin).powi(2);
        self.sort(n, n_species, x, status)?;
        let status = status.address;
        let slots = self.slots(n)?;
        let capacity = self.capacity() as u32;
        let (key, start) = (self.key.ptr, self.start.ptr);
        let by_lane = self.by_lane.reserve(n * self.lanes())?;
        let degree = self.count.reserve(n)?;
        let first = self.first.reserve(n + 1)?;
        let (neighbour, image, r) = (self.neighbour.ptr, self.image.ptr, self.r.ptr);
        let kept = self.kept.reserve(2 * KEPT * if self.small { n * self.lanes() } else { 0 })?;
        let arguments = arguments![cells, n32, rcut2, key, start, slots, kept, by_lane, degree, status];
        self.launch("count_edges", self.per_lanes(n), arguments)?;
        self.scan(n, degree, first, status + 16, capacity)?;
        let arguments =
            arguments![cells, n32, rcut2, key, start, slots, kept, by_lane, first, capacity, neighbour, image, r];
        self.launch("fill_edges", self.per_lanes(n), arguments)?;
        if !self.small {
            let sorted = slots.sorted;
            let arguments = arguments![cells, n32, first, neighbour, image, sorted, r];
            self.launch("vectors", self.per_lanes(n), arguments)?;
        }
        self.reversed = false;
        self.built = Some(Built { numbers: frame.numbers.to_vec(), cell: frame.cell, pbc: frame.pbc });
        self.builds += 1;
        Ok(self.graph(n))
    }

    /// Atoms into cells, and slots into the order of evaluation.
    fn sort(&mut self, n: usize, n_species: usize, x: u64, cleared: Place) -> Result<()> {
        let (cells, n32, status) = (self.cells, n as u32, cleared.address);
        let n_cells = cells.n.iter().map(|&n| n as usize).product::<usize>();
        let (key, start) = (self.key.reserve(n)?, self.start.reserve(n_cells + 1)?);
        let (slots, species) = (self.slots(n)?, self.species.ptr);
        let block = THREADS / self.group;
        self.n_slots = if n_species > 1 { n.next_multiple_of(block) + n_species * block } else { n };
        let (n_cells32, n_species32, block) = (n_cells as u32, n_species as u32, block as u32);
        if self.small && n_cells <= SMALL_CELLS {
            let order = self.order.reserve(self.n_slots)?;
            let n_slots = self.n_slots as u32;
            let grid = Grid { blocks: 1, threads: SMALL, shared: 4 * n_cells };
            let arguments = arguments![
                cells,
                n32,
                n_cells32,
                x,
                species,
                key,
                start,
                slots,
                status,
                n_species32,
                block,
                n_slots,
                order
            ];
            return self.launch("sort_small", grid, arguments);
        }
        self.clear(cleared)?;
        let total = self.total.reserve(2)?;
        let count = self.count.fill(0, n_cells, &self.stream)?;
        self.launch("bin", per_atom(n), arguments![cells, n32, x, key, count, status])?;
        self.scan(n_cells, count, start, total, u32::MAX)?;
        self.count.fill(0, n_cells, &self.stream)?;
        let atom = slots.atom;
        self.launch("place", per_atom(n), arguments![n32, key, start, count, atom])?;
        self.launch("settle", per_atom(n_cells), arguments![n_cells32, start, atom])?;
        self.launch("move_in", per_atom(n), arguments![cells, n32, x, species, slots])?;
        if n_species == 1 {
            return Ok(());
        }
        let order = self.order.fill(0xff, self.n_slots, &self.stream)?;
        let (blocks, n_counts) = (n.div_ceil(THREADS), n.div_ceil(THREADS) * n_species);
        let count = self.count.reserve(n_counts)?;
        let before = self.by_lane.reserve(n_counts + 1)?;
        let grid = Grid { blocks, threads: THREADS, shared: 0 };
        let sorted = slots.species;
        self.launch("order_count", grid, arguments![n32, n_species32, sorted, count])?;
        self.scan(n_counts, count, before, total, u32::MAX)?;
        self.launch("order_place", grid, arguments![n32, n_species32, block, sorted, before, order])
    }

    /// Memory for as many edges as the last build wanted, or for a guess.
    fn make_room(&mut self, n: usize) -> Result<()> {
        let guess = || {
            let reach = self.rcut + self.skin;
            let density = match self.cells.periodic {
                [1, 1, 1] => n as f64 / self.volume,
                _ => 0.06,
            };
            let most = (n as f64 * n as f64 * 27.0).max(64.0);
            let edges = 1.2 * n as f64 * (4.2 * reach.powi(3) * density + 4.0);
            edges.min(most).min(f64::from(u32::MAX)) as usize
        };
        let wanted = if self.wanted > 0 { self.wanted } else { guess() };
        self.wanted = 0;
        if self.capacity() == 0 || wanted > self.capacity() {
            self.neighbour.reserve(wanted)?;
            self.image.reserve(wanted)?;
            self.reverse.reserve(wanted)?;
            self.r.reserve(self.vector * wanted)?;
        }
        Ok(())
    }

    /// Launches a kernel of the list.
    pub(super) fn launch(&self, kernel: &str, grid: Grid, arguments: &[Argument]) -> Result<()> {
        // SAFETY: the callers pass what `list.cu` declares, with buffers of the sizes that it works on.
        unsafe { self.kernels[usize::from(!self.small)].1.launch(kernel, grid, &self.stream, arguments) }
    }

    /// Lanes that share an atom.
    fn lanes(&self) -> usize {
        self.kernels[usize::from(!self.small)].0
    }

    fn per_lanes(&self, n: usize) -> Grid {
        Grid { blocks: n.div_ceil(THREADS / self.lanes()), threads: THREADS, shared: 0 }
    }

    fn graph(&self, n: usize) -> DeviceGraph {
        DeviceGraph {
            n_atoms: n,
            n_centres: n,
            n_edges: self.capacity(),
            first: self.first.ptr,
            last: self.first.ptr + 4,
            neighbour: self.neighbour.ptr,
            species: self.sorted_species.ptr,
            r: self.r.ptr,
            incoming_first: self.first.ptr,
            incoming: self.reverse.ptr,
            place: 0,
            order: self.order.ptr,
            n_slots: self.n_slots,
            group: self.group,
            atom: self.atom.ptr,
        }
    }

    /// Exclusive sums of `n` numbers; `out` has room for one more, `total` for 64 bits. Where the total exceeds `capacity`,
    /// all sums are zero.
    fn scan(&mut self, n: usize, input: u64, out: u64, total: u64, capacity: u32) -> Result<()> {
        let n32 = n as u32;
        if n <= 16 * SMALL {
            let grid = Grid { blocks: 1, threads: SMALL, shared: 0 };
            return self.launch("scan_small", grid, arguments![n32, input, out, total, capacity]);
        }
        let chunks = n.div_ceil(CHUNK);
        let sums = self.sums.reserve(chunks)?;
        let n_chunks = chunks as u32;
        let grid = Grid { blocks: chunks, threads: THREADS, shared: 0 };
        self.launch("scan_chunks", grid, arguments![n32, input, out, sums])?;
        self.launch("scan_sums", Grid { blocks: 1, ..grid }, arguments![n_chunks, sums, total])?;
        self.launch("scan_add", grid, arguments![n32, out, sums, total, capacity])
    }
}

impl ListOnDevice for DeviceList {
    fn cutoff(&self) -> f64 {
        self.rcut
    }

    fn builds(&self) -> usize {
        self.builds
    }

    fn replays(&self) -> usize {
        self.stream.replays()
    }

    fn set_timed(&self, timed: bool) -> Result<()> {
        self.stream.set_timed(timed)
    }

    fn milliseconds(&self) -> Option<f64> {
        self.stream.milliseconds()
    }
}

/// Bytes of an edge vector, as in `real3` of the kernels.
fn vector_size(precision: Precision) -> usize {
    if precision.is_single() { 12 } else { 24 }
}

fn per_atom(n: usize) -> Grid {
    Grid { blocks: n.div_ceil(THREADS), threads: THREADS, shared: 0 }
}
