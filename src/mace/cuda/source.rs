//! The kernel files of a network: sizes, tables and programs in front of what is in `kernels/mace` and `kernels/ops`.

use crate::device::cuda::kernel::KernelSource;
use crate::mace::network::{Contraction, DECAY, Layer, Network, ReadoutKind};
use crate::ops::Irrep;
use crate::ops::contraction::cuda::nested;
use crate::ops::contraction::{Program, Run};
use crate::ops::coupling::{Convention, coupling};
use crate::ops::cuda::source::{Source, across, list};
use crate::ops::harmonics_cuda::define as harmonics;
use crate::ops::product::channelwise_cuda::Paths;
use crate::precision::Precision;
use crate::stage::angular::n_harmonics;
use std::collections::BTreeMap;

/// Threads of kernels over atoms.
pub const THREADS: usize = 128;
/// Threads side by side for channels.
const MOST_ACROSS: usize = 128;

pub fn threads(channels: usize) -> usize {
    across(channels, MOST_ACROSS)
}

/// How polynomials in radial tables are kept, whose traffic is what bounds a convolution.
#[derive(Clone, Copy)]
pub struct Polynomials {
    pub degree: usize,
    /// Of the largest value and slope.
    pub tolerance: f64,
    /// Coefficients in pairs.
    pub pairs: usize,
    /// Parabolas in the place of a pair.
    pub packed: bool,
}

impl Polynomials {
    pub fn of(precision: Precision) -> Polynomials {
        let (degree, tolerance, pairs) = match (precision.is_single(), precision.packed_tables) {
            (false, _) => (5, 2e-11, 3),
            (true, false) => (3, 5e-7, 2),
            (true, true) => (2, 2e-5, 1),
        };
        Polynomials { degree, tolerance, pairs, packed: precision.packed_tables }
    }
}

fn begin(net: &Network, precision: Precision) -> Source {
    let mut source = Source::new(precision.storage);
    let Polynomials { pairs, packed, .. } = Polynomials::of(precision);
    source.define("N_SPECIES", net.species.len()).define("CUTOFF", format!("{:e}", net.cutoff));
    source.define("N_Y", n_harmonics(net.lmax)).define("PAIRS", pairs).define("PACKED", u8::from(packed));
    source
}

fn finish(name: &'static str, source: Source, kernels: &[&str]) -> KernelSource {
    KernelSource { name, text: source.finish(kernels), shared: 0, shared_gradient: 0 }
}

/// The convolution of layer `t`.
pub fn convolution(net: &Network, t: usize, precision: Precision) -> KernelSource {
    let single = precision.is_single();
    let layer = &net.layers[t];
    let (edge, messages) = (layer.edge(), layer.messages());
    let (x, out) = (edge.offsets(), messages.offsets());
    let mut paths = Paths::default();
    for (p, path) in layer.paths.iter().enumerate() {
        let irreps = [path.l1, path.l2, path.l3].map(Irrep::natural);
        let mut entries = coupling(irreps[0], irreps[1], irreps[2], Convention::O3E3nn);
        entries.retain(|e| e.value.abs() > 1e-12);
        paths.add(p, &entries, irreps.map(|i| i.dim()), [x[path.block], path.l2 * path.l2, out[p]]);
    }
    let mut source = begin(net, precision);
    source.define("FIRST", u8::from(t == 0)).define("MUL", edge.k).define("THREADS", threads(edge.k));
    source.define("N_X", edge.components()).define("N_OUT", messages.components());
    source.define("N_PATHS", layer.paths.len());
    // What fits twenty thousand bytes of shared memory, a number for each harmonic and warp included.
    let real = if single { 4 } else { 8 };
    let edge_bytes = real * (paths.n_entries() + n_harmonics(net.lmax).next_power_of_two() * threads(edge.k) / 32);
    source.define("TILE", [32, 16].into_iter().find(|tile| tile * edge_bytes <= 20_000).unwrap_or(8));
    let narrow = messages.components() <= 40;
    source.define("UNROLL", if messages.components() <= 16 { 2 } else { 1 });
    source.define("BLOCKS", if narrow && !single { 3 } else { 1 });
    paths.define(&mut source);
    let files = [include_str!("../../../kernels/mace/edges.cuh"), include_str!("../../../kernels/mace/convolution.cu")];
    finish("mace_convolution", source, &files)
}

/// Atoms that a thread has in the symmetric contraction, forwards and backwards.
pub fn atoms_of_a_thread(layer: &Layer) -> [usize; 2] {
    if layer.product.from.components() <= 16 { [4, 2] } else { [2, 1] }
}

/// The symmetric contraction of a layer, and the term of each of its coefficients.
pub fn contraction(layer: &Layer, precision: Precision) -> (KernelSource, Vec<usize>) {
    let c = &layer.product;
    let (program, order) = program(c);
    let components = |n: usize| (0..n).map(|q| [q * c.from.k, 1]).collect::<Vec<_>>();
    let (n_in, n_out) = (c.from.components(), c.to.components());
    let [forward, backward] = atoms_of_a_thread(layer);
    let mut source = Source::new(precision.storage);
    for (name, value) in [
        ("N_IN", n_in),
        ("N_OUT", n_out),
        ("N_ENTRIES", order.len()),
        ("MUL", c.from.k),
        ("DIM_IN", n_in * c.from.k),
        ("DIM_OUT", n_out * c.from.k),
        ("THREADS", threads(c.from.k)),
        ("NODES", forward),
        ("NODES_BACKWARD", backward),
        ("TRAINING", 0),
    ] {
        source.define(name, value);
    }
    source.components("IN", &components(n_in)).components("OUT", &components(n_out));
    source.define("PROGRAM(BEGIN, OPEN, LEAF, CLOSE, END)", nested(&program));
    (finish("mace_contraction", source, &[include_str!("../../../kernels/ops/contraction.cu")]), order)
}

/// The polynomials of all output components, with the terms in the order of the leaves.
fn program(c: &Contraction) -> (Program, Vec<usize>) {
    let mut program = Program {
        d: c.from.components(),
        n_paths: 0,
        n_out: c.to.components(),
        products: Vec::new(),
        runs: Vec::new(),
        leaves: Vec::new(),
        first_fold: Vec::new(),
        fold: Vec::new(),
    };
    let mut order = Vec::new();
    let mut known: BTreeMap<&[u16], u32> = BTreeMap::from([(&[][..], 0)]);
    for out in 0..program.n_out {
        // Sorted by all factors but the last: shorter prefixes come before those that they begin.
        let mut by_prefix: BTreeMap<&[u16], Vec<(u16, usize)>> = BTreeMap::new();
        for (k, term) in c.terms.iter().enumerate().filter(|(_, t)| t.out as usize == out) {
            let (&last, prefix) = term.factors[..term.order as usize].split_last().expect("a factor at least");
            by_prefix.entry(prefix).or_default().push((last, k));
        }
        for (prefix, leaves) in by_prefix {
            let mut product = 0;
            for n in 1..=prefix.len() {
                product = *known.entry(&prefix[..n]).or_insert_with(|| {
                    program.products.push([product, prefix[n - 1].into()]);
                    program.products.len() as u32
                });
            }
            let first_leaf = program.leaves.len() as u32;
            for (last, term) in leaves {
                program.leaves.push(last.into());
                order.push(term);
            }
            program.runs.push(Run { out: out as u32, product, first_leaf, end_leaf: program.leaves.len() as u32 });
        }
    }
    (program, order)
}

/// What is done with edges and atoms beside.
pub fn atoms(net: &Network, precision: Precision) -> KernelSource {
    let mut source = begin(net, precision);
    source.define("THREADS", THREADS);
    harmonics(&mut source, net.lmax, 1.0);
    let [width, layers] = readout_sizes(net);
    source.define("READ_WIDTH", width).define("READ_LAYERS", layers);
    source.define("HAS_ZBL", u8::from(net.zbl.is_some()));
    if let Some(zbl) = &net.zbl {
        let numbers = |x: &[f64]| format!("{{{}}}", list(x.iter().map(|x| format!("{x:e}"))));
        source.define("ZBL_POWER", format!("{:e}", zbl.p)).define("ZBL_C", numbers(&zbl.c));
        source.define("ZBL_B", numbers(&DECAY));
    }
    let files = [
        include_str!("../../../kernels/ops/harmonics.cuh"),
        include_str!("../../../kernels/ops/activation.cuh"),
        include_str!("../../../kernels/mace/edges.cuh"),
        include_str!("../../../kernels/mace/atoms.cu"),
    ];
    finish("mace_atoms", source, &files)
}

/// Hidden numbers, and layers with an activation, of readouts at most.
pub fn readout_sizes(net: &Network) -> [usize; 2] {
    let (mut width, mut n_layers) = (1, 1);
    for readout in net.readouts.iter().flatten() {
        if let ReadoutKind::Mlp { layers, .. } = &readout.kind {
            width = layers.iter().map(|l| l.n_out).fold(width, usize::max);
            n_layers = n_layers.max(layers.len() - 1);
        }
    }
    [width, n_layers]
}
