//! MACE on processors: tiles of atoms of one species over threads; the lanes of vector registers are channels.
//!
//! Forwards a layer goes over all atoms and leaves the features that the next one reads. The last layer goes forwards and backwards
//! in one go, then the others backwards. What flows back to neighbours lies with the edges of a chunk of atoms, whose number is
//! bounded, and is then summed by neighbour in the order of the edges: the same for any number of threads.
#![cfg_attr(not(feature = "mace"), allow(dead_code))]

mod atoms;
mod convolve;
mod edges;
mod gate;
mod gemm;
mod layer;
mod product;
mod schedule;
mod table;
mod workspace;

use super::network::{Network, Readout};
use crate::graph::{Exchange, Graph};
use crate::memory::{self, Kept};
use crate::parallel::{self, Disjoint};
use crate::simd::{Lanes, Real, as_reals, as_reals_mut};
use crate::stage::angular::Angular;
use crate::{Error, Result};
use atoms::collect;
pub use atoms::complete;
use convolve::EdgeRows;
use edges::Sites;
use gemm::Rows;
use layer::{Bars, Nodes, Step, Tile};
use schedule::Schedule;
use workspace::{Between, Call, Worker, clear};

/// What is to be evaluated.
#[derive(Debug)]
pub struct Input<'a> {
    pub graph: &'a Graph,
    /// Species index of every atom.
    pub species_of: &'a [u32],
    /// Atoms whose energies count; further centres are ghosts with edges of their own.
    pub n_owned: usize,
    pub head: usize,
    /// Of each property that the model embeds, in its order.
    pub properties: &'a [i64],
    /// Where features of atoms without edges come from.
    pub exchange: Option<&'a mut dyn Exchange>,
}

/// What is written; energies always.
#[derive(Debug)]
pub struct Output<'a> {
    /// (n_owned), eV.
    pub site_energies: &'a mut [f64],
    /// Without the energies of isolated atoms, (n_owned), eV.
    pub interaction: Option<&'a mut [f64]>,
    pub gradients: Option<Gradients<'a>>,
    /// Features after each layer, one layer after another; as many as `Evaluator::n_features` says.
    pub features: Option<(&'a mut [f64], bool)>,
}

#[derive(Debug)]
pub struct Gradients<'a> {
    /// `∂E/∂r_ij`, (n_edges, 3), eV/Å.
    pub edges: &'a mut [[f64; 3]],
}

/// A network packed for an instruction set.
pub struct Cpu<V: Lanes> {
    network: Network,
    steps: Vec<Step<V>>,
    angular: Angular<V>,
    calls: Kept<Call<V>>,
    workers: Kept<Worker<V>>,
}

/// Evaluation of a network, whatever the instruction set.
pub trait Evaluate: Send + Sync {
    /// # Errors
    /// A property beyond its table; what the exchange says.
    fn evaluate(&self, input: Input, out: Output) -> Result<()>;
    fn bytes(&self) -> usize;
    /// The longest row of an exchange.
    fn n_exchanged(&self) -> usize;
    /// How many numbers [`Output::features`] has for an atom: scalars alone, or all components.
    fn n_features(&self, invariant: bool) -> usize;
}

impl<V: Lanes> Cpu<V> {
    pub fn new(network: Network) -> Cpu<V> {
        let tolerance = if size_of::<V::Real>() == 8 { 2e-11 } else { 1e-8 };
        let steps = network.layers.iter().map(|layer| Step::new(layer, network.lmax, tolerance)).collect();
        let (calls, workers) = (Kept::default(), Kept::default());
        Cpu { steps, angular: Angular::new(network.lmax, true), network, calls, workers }
    }

    /// `h^0` and what edges carry of it, by species.
    fn embedding(&self, properties: &[i64]) -> Result<[Vec<V>; 2]> {
        let (net, step) = (&self.network, &self.steps[0]);
        let (nz, k) = (net.species.len(), net.embedding.len() / net.species.len());
        let mut x = net.embedding.clone();
        if let Some(extra) = &net.extra {
            let add = extra.features(properties, k).map_err(Error::Argument)?;
            x.chunks_mut(k).for_each(|row| row.iter_mut().zip(&add).for_each(|(x, a)| *x += a));
        }
        let mut h = vec![V::zero(); nz * step.n_blocks];
        for (row, x) in as_reals_mut(&mut h).chunks_mut(step.n_blocks * V::N).zip(x.chunks(k)) {
            row.iter_mut().zip(x).for_each(|(to, &x)| *to = V::Real::of(x));
        }
        let (rows, stride): (Vec<u32>, usize) = ((0..nz as u32).collect(), step.conv.stride());
        let mut up = vec![V::zero(); nz * stride];
        step.up[0].apply(nz, (&h, Rows::All), (&mut up, Rows::Of(&rows, stride)), false);
        Ok([h, up])
    }

    /// The sum of the readouts of a layer at rows of features; the gradient times `scale` is added to `bar`.
    fn read(&self, t: usize, head: usize, features: &[V], energies: &mut [f64], bar: Option<(&mut [V], f64)>) {
        let step = &self.steps[t];
        let width = step.n_blocks * step.n_next;
        let readouts: Vec<&Readout> = self.network.readouts[head].iter().filter(|r| r.layer == t).collect();
        if readouts.is_empty() {
            return;
        }
        let k = self.network.layers[t].linear.to.k;
        let (mut x, mut g) = (vec![0.0; k], vec![0.0; k]);
        let mut bar = bar;
        for (atom, e) in energies.iter_mut().enumerate() {
            let row = as_reals(&features[atom * width..][..width]);
            for (u, x) in x.iter_mut().enumerate() {
                *x = row[u / V::N * step.n_next * V::N + u % V::N].to_f64();
            }
            for readout in &readouts {
                *e += readout.evaluate(&x, &mut g);
                if let Some((bar, scale)) = &mut bar {
                    let row = as_reals_mut(&mut bar[atom * width..][..width]);
                    for (u, g) in g.iter().enumerate() {
                        row[u / V::N * step.n_next * V::N + u % V::N] += V::Real::of(*scale * g);
                    }
                }
            }
        }
    }

    /// Rows of `f64` for an exchange, and back.
    fn exchange(x: &mut [V], f: impl FnOnce(&mut [f64]) -> Result<()>) -> Result<()> {
        let reals = as_reals_mut(x);
        let mut rows: Vec<f64> = reals.iter().map(|x| x.to_f64()).collect();
        f(&mut rows)?;
        reals.iter_mut().zip(&rows).for_each(|(x, &r)| *x = V::Real::of(r));
        Ok(())
    }
}

impl<V: Lanes> Evaluate for Cpu<V> {
    fn bytes(&self) -> usize {
        self.steps.iter().map(Step::bytes).sum()
    }

    fn n_exchanged(&self) -> usize {
        self.steps[1..].iter().map(|step| step.conv.stride() * V::N).max().unwrap_or(0)
    }

    fn n_features(&self, invariant: bool) -> usize {
        let n = |l: &super::network::Layer| l.linear.to.k * if invariant { 1 } else { l.linear.to.components() };
        self.network.layers.iter().map(n).sum()
    }

    fn evaluate(&self, input: Input, mut out: Output) -> Result<()> {
        let Input { graph, species_of, n_owned, head, properties, mut exchange } = input;
        let (n_centres, n_atoms, n_layers) = (graph.n_centres(), graph.n_atoms(), self.steps.len());
        let net = &self.network;
        let scale = net.scale[head];
        let with_gradients = out.gradients.is_some();
        if exchange.is_none() {
            complete(graph, n_owned, n_layers)?;
        }
        memory::check(self.call_bytes(graph, with_gradients), || format!("MACE of {n_atoms} atoms"))?;
        self.prepare(graph, species_of)?;
        let schedule = Schedule::new(graph, species_of, self.tile_atoms());
        let [h0, up0] = self.embedding(properties)?;
        let sites = |t: usize| Sites { graph, species_of, rows: (t == 0).then_some(species_of), cutoff: net.cutoff };

        let mut call = self.calls.take();
        let Call { between, edge_bars, last, energies } = &mut *call;
        let width = |t: usize| self.steps[t].n_blocks * self.steps[t].n_h;
        let up_width = |t: usize| self.steps[t].conv.width();
        let stride = |t: usize| self.steps[t].conv.stride();
        between.resize_with(n_layers - 1, Between::default);
        for (Between { h, up, h_bar, up_bar, own_bar, saved }, t) in between.iter_mut().zip(1..) {
            memory::resize(h, n_atoms * width(t), V::zero());
            memory::resize(up, n_atoms * stride(t), V::zero());
            // Those of atoms without edges come from elsewhere, or act on nothing that counts; what an earlier call left may be no number.
            up[n_centres * stride(t)..].fill(V::zero());
            let wanted = |n: usize, wanted: bool| if wanted && with_gradients { n } else { 0 };
            clear(h_bar, wanted(n_centres * width(t), true), V::zero());
            clear(up_bar, wanted(n_atoms * stride(t), true), V::zero());
            clear(own_bar, wanted(n_centres * up_width(t), self.steps[t].has_gate()), V::zero());
            self.steps[t - 1].make_room(saved, wanted(n_centres, true));
        }
        let nodes = |t: usize, between: &'_ [Between<V>]| -> [*const [V]; 2] {
            match t {
                0 => [&h0[..], &up0[..]],
                t => [&between[t - 1].h[..], &between[t - 1].up[..]],
            }
        };
        let energies = clear(energies, n_centres, 0.0);

        for t in 0..n_layers - 1 {
            let [h, up] = nodes(t, between);
            // SAFETY: features of layer t are not written while layer t reads them: the next ones are.
            let (h, up) = unsafe { (&*h, &*up) };
            let step = &self.steps[t];
            let Between { h: next_h, up: next_up, saved, .. } = &mut between[t];
            let (next_h, next_up) = (Disjoint::new(next_h), Disjoint::new(next_up));
            let (saved, energies) = (step.disjoint(saved), Disjoint::new(energies));
            parallel::for_each_init(
                schedule.tiles.len(),
                || self.workers.take(),
                |worker, k| {
                    let Worker { tile, rows, energies: e, up: next, .. } = &mut **worker;
                    let (species, atoms) = schedule.tile(k);
                    own_rows(t, species_of, atoms, rows);
                    step.forward(tile, sites(t), (species, atoms), Nodes { h, up, rows }, &self.angular);
                    let e = clear(e, atoms.len(), 0.0);
                    self.read(t, head, &tile.next, e, None);
                    let (width, up_width, stride) = (width(t + 1), up_width(t + 1), stride(t + 1));
                    memory::resize(next, atoms.len() * up_width, V::zero());
                    self.steps[t + 1].up[0].apply(atoms.len(), (&tile.next, Rows::All), (next, Rows::All), false);
                    for (a, &i) in atoms.iter().enumerate() {
                        let i = i as usize;
                        // SAFETY: an atom belongs to one tile.
                        unsafe {
                            *energies.entry(i) += e[a];
                            next_h.slice(i * width, width).copy_from_slice(&tile.next[a * width..][..width]);
                            next_up.slice(i * stride, up_width).copy_from_slice(&next[a * up_width..][..up_width]);
                            if with_gradients {
                                saved.keep(&tile.saved, a, i);
                            }
                        }
                    }
                },
            );
            if let Some(exchange) = &mut exchange {
                let n = stride(t + 1) * V::N;
                Self::exchange(&mut between[t].up, |rows| {
                    // What nobody fills in is no number, and is found.
                    rows[n_owned * n..].fill(f64::NAN);
                    exchange.forward(t + 1, n, rows)
                })?;
            }
        }

        let mut edge_gradients: &mut [[f64; 3]] = &mut [];
        if let Some(g) = &mut out.gradients {
            edge_gradients = g.edges;
            edge_gradients.fill([0.0; 3]);
        }
        let features = self.steps[n_layers - 1].n_blocks * self.steps[n_layers - 1].n_next;
        clear(last, if out.features.is_some() { n_centres * features } else { 0 }, V::zero());
        let with_last = !last.is_empty();
        for t in (0..n_layers).rev() {
            let is_last = t + 1 == n_layers;
            if !is_last && !with_gradients {
                break;
            }
            let step = &self.steps[t];
            let n_next = step.n_blocks * step.n_next;
            // What comes before this layer, and what comes after it.
            let (before, after) = between.split_at_mut(t);
            let after = after.first_mut();
            let mut before = before.last_mut();
            let (h, up): (&[V], &[V]) = match &mut before {
                None => (&h0, &up0),
                // SAFETY: features are read, gradients beside them are written.
                Some(b) => unsafe { (&*std::ptr::from_ref(&b.h[..]), &*std::ptr::from_ref(&b.up[..])) },
            };
            let n_up = if t > 0 && with_gradients { up_width(t) } else { 0 };
            for chunk in &schedule.chunks {
                let base = graph.first()[chunk.atoms.start] as usize;
                let n_chunk = graph.first()[chunk.atoms.end] as usize - base;
                // Every edge of the chunk is written: memory keeps what the last chunk left.
                let bars = Disjoint::new(memory::at_least(edge_bars, n_chunk * n_up, V::zero()));
                // SAFETY: an edge belongs to one atom, an atom to one tile.
                let bars = (n_up > 0).then(|| unsafe { EdgeRows::new(bars, (base, n_chunk), step.conv.n_x) });
                let clear_edge = |e: usize| {
                    let blocks = bars.iter().flat_map(|bars| (0..step.conv.n_blocks).map(|block| bars.at(e, block)));
                    blocks.for_each(|bar| bar.fill(V::zero()));
                };
                let gradients = Disjoint::new(edge_gradients);
                let energies = Disjoint::new(&mut *energies);
                let features = Disjoint::new(&mut *last);
                let mut none = [Vec::new(), Vec::new()];
                let [none_a, none_b] = &mut none;
                let (h_bar, own_bar) = match &mut before {
                    Some(b) => (&mut b.h_bar, &mut b.own_bar),
                    None => (none_a, none_b),
                };
                let (h_bar, own_bar) = (Disjoint::new(h_bar), Disjoint::new(own_bar));
                let after = after.as_deref();
                parallel::for_each_init(
                    chunk.tiles.len(),
                    || self.workers.take(),
                    |worker, k| {
                        let Worker { tile, rows, energies: e, up: bar, counted, own_h, own_up } = &mut **worker;
                        let (species, atoms) = schedule.tile(chunk.tiles.start + k);
                        // Energies of ghosts do not count.
                        let n_counted = atoms.iter().filter(|&&i| (i as usize) < n_owned).count();
                        if is_last && n_counted == 0 && !with_last {
                            atoms.iter().flat_map(|&i| graph.edges(i as usize)).for_each(clear_edge);
                            return;
                        }
                        let n = atoms.len();
                        own_rows(t, species_of, atoms, rows);
                        let nodes = Nodes { h, up, rows };
                        let e = clear(e, n, 0.0);
                        clear(&mut tile.next_bar, n * n_next, V::zero());
                        match after {
                            None => step.forward(tile, sites(t), (species, atoms), nodes, &self.angular),
                            Some(after) => {
                                // Through what the next layer made of these features.
                                step.recall(tile, &after.saved, atoms);
                                tile.edges.fill(sites(t), atoms, &step.conv, &self.angular);
                                tile.next.resize(n * n_next, V::zero());
                                let n_up = up_width(t + 1);
                                memory::resize(bar, n * n_up, V::zero());
                                for (a, &i) in atoms.iter().enumerate() {
                                    let i = i as usize;
                                    tile.next[a * n_next..][..n_next].copy_from_slice(&after.h[i * n_next..][..n_next]);
                                    tile.next_bar[a * n_next..][..n_next]
                                        .copy_from_slice(&after.h_bar[i * n_next..][..n_next]);
                                    bar[a * n_up..][..n_up].copy_from_slice(&after.up_bar[i * stride(t + 1)..][..n_up]);
                                    if let Some(own) = after.own_bar.get(i * n_up..(i + 1) * n_up) {
                                        bar[a * n_up..][..n_up].iter_mut().zip(own).for_each(|(b, o)| *b = *b + *o);
                                    }
                                }
                                let Tile { next_bar, .. } = &mut *tile;
                                self.steps[t + 1].up[1].apply(n, (bar, Rows::All), (next_bar, Rows::All), true);
                            }
                        }
                        let counted = clear(counted, if with_gradients { n * n_next } else { 0 }, V::zero());
                        let bar = with_gradients.then_some((&mut *counted, scale));
                        self.read(t, head, &tile.next, e, bar);
                        if is_last {
                            for (a, &i) in atoms.iter().enumerate() {
                                // SAFETY: an atom belongs to one tile.
                                unsafe {
                                    *energies.entry(i as usize) += e[a];
                                    if with_last {
                                        features
                                            .slice(i as usize * n_next, n_next)
                                            .copy_from_slice(&tile.next[a * n_next..][..n_next]);
                                    }
                                }
                            }
                        }
                        if !with_gradients {
                            return;
                        }
                        // Owned atoms come first in a tile.
                        let seeds = tile.next_bar.iter_mut().zip(&*counted).take(n_counted * n_next);
                        seeds.for_each(|(b, c)| *b = *b + *c);
                        let features = bars.map(|edges| Bars {
                            h: clear(own_h, n * width(t), V::zero()),
                            up: clear(own_up, n * n_up, V::zero()),
                            edges,
                        });
                        // SAFETY: an edge belongs to one atom, an atom to one tile.
                        step.backward(tile, (species, n), nodes, &self.angular, features, |e, g| unsafe {
                            let to = gradients.entry(e as usize);
                            (0..3).for_each(|d| to[d] += g[d]);
                        });
                        if t > 0 {
                            // Edges beyond the cutoff carry nothing.
                            let mut within = tile.edges.id.iter().peekable();
                            for e in atoms.iter().flat_map(|&i| graph.edges(i as usize)) {
                                if within.next_if(|id| **id as usize == e).is_none() {
                                    clear_edge(e);
                                }
                            }
                            for (a, &i) in atoms.iter().enumerate() {
                                let (i, width) = (i as usize, width(t));
                                // SAFETY: as above.
                                unsafe {
                                    h_bar.slice(i * width, width).copy_from_slice(&own_h[a * width..][..width]);
                                    if step.has_gate() {
                                        own_bar.slice(i * n_up, n_up).copy_from_slice(&own_up[a * n_up..][..n_up]);
                                    }
                                }
                            }
                        }
                    },
                );
                if let Some(b) = &mut before
                    && with_gradients
                {
                    collect(graph, base..base + n_chunk, edge_bars, &step.conv, &mut b.up_bar);
                }
            }
            if let (Some(exchange), Some(b), true) = (&mut exchange, &mut before, with_gradients) {
                Self::exchange(&mut b.up_bar, |rows| exchange.backward(t, stride(t) * V::N, rows))?;
            }
        }
        self.repulsion(graph, species_of, n_owned, energies, with_gradients.then_some((edge_gradients, scale)));
        for i in 0..n_owned {
            let interaction = scale * energies[i] + net.shift[head];
            out.site_energies[i] = net.e0[head][species_of[i] as usize] + interaction;
            if let Some(x) = &mut out.interaction {
                x[i] = interaction;
            }
        }
        if let Some((to, invariant)) = out.features {
            let mut all: Vec<&[V]> = between.iter().map(|b| &b.h[..]).collect();
            all.push(last);
            self.write_features(n_owned, &all, invariant, to);
        }
        Ok(())
    }
}

/// Rows of the features of a tile's own atoms.
fn own_rows(t: usize, species_of: &[u32], atoms: &[u32], rows: &mut Vec<u32>) {
    rows.clear();
    match t {
        0 => rows.extend(atoms.iter().map(|&i| species_of[i as usize])),
        _ => rows.extend_from_slice(atoms),
    }
}

impl<V: Lanes> Cpu<V> {
    /// Makes the tables of all pairs of species that are neighbours.
    fn prepare(&self, graph: &Graph, species_of: &[u32]) -> Result<()> {
        let nz = self.network.species.len();
        let mut seen = vec![nz == 1; nz * nz];
        for i in (0..graph.n_centres()).filter(|_| nz > 1) {
            let row = &mut seen[species_of[i] as usize * nz..][..nz];
            graph.edges(i).for_each(|e| row[species_of[graph.neighbours()[e] as usize] as usize] = true);
        }
        for pair in (0..nz * nz).filter(|&pair| seen[pair]) {
            self.steps.iter().try_for_each(|step| step.conv.tables.prepare(pair % nz, pair / nz))?;
        }
        Ok(())
    }

    /// About what a call takes, bytes.
    fn call_bytes(&self, graph: &Graph, with_gradients: bool) -> f64 {
        let real = size_of::<V>() as f64;
        let layers = self.steps.iter().skip(1).zip(&self.steps);
        let between = layers.map(|(next, step)| {
            let features = next.n_blocks * next.n_h + next.conv.stride();
            let kept = if with_gradients { features + step.kept() } else { 0 };
            (features + kept) as f64 * real
        });
        between.sum::<f64>() * graph.n_atoms() as f64 + if with_gradients { 24.0 * graph.n_edges() as f64 } else { 0.0 }
    }

    /// Atoms of a tile: as many as keep its messages in the second cache.
    fn tile_atoms(&self) -> usize {
        let widest = self.steps.iter().map(|s| s.conv.n_blocks * s.conv.n_m * size_of::<V>()).max().unwrap_or(1);
        (TILE_BYTES / widest).clamp(4, 32)
    }
}

/// A part of the second cache.
const TILE_BYTES: usize = 512 << 10;
