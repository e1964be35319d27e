//! A layer on a tile of atoms of one species, forwards and backwards.

use super::convolve::{Convolution, EdgeRows};
use super::edges::{Edges, Sites};
use super::gate::GateStep;
use super::gemm::{Gemm, Rows};
use super::product::Product;
use crate::mace::network::{Layer, Norm};
use crate::memory;
use crate::parallel::Disjoint;
use crate::simd::{Lanes, Real};
use crate::stage::angular::Angular;

type Gemms<V> = [Gemm<V>; 2];

/// A layer packed for an instruction set. Maps come with their transposes.
pub struct Step<V: Lanes> {
    pub conv: Convolution<V>,
    pub up: [Gemm<V>; 2],
    message: Vec<[Gemm<V>; 2]>,
    norm: Option<Norm>,
    gate: Option<(GateStep, Gemms<V>, Gemms<V>)>,
    product: Product<V>,
    linear: [Gemm<V>; 2],
    skip: Vec<[Gemm<V>; 2]>,
    /// Channel blocks, and components of the features before and after, of `A`, of the map's output before the gate.
    pub n_blocks: usize,
    pub n_h: usize,
    pub n_next: usize,
    n_mid: usize,
}

/// What a layer needs to know of its atoms when it goes backwards.
pub struct Saved<V> {
    /// `A` (atoms, blocks, components).
    pub a: Vec<V>,
    /// The message over its norm, and the gate's input; empty where there is no gate.
    pub message: Vec<V>,
    pub gated: Vec<V>,
    /// The norm, where it is not constant.
    pub norm: Vec<f64>,
}

impl<V> Default for Saved<V> {
    fn default() -> Self {
        Saved { a: Vec::new(), message: Vec::new(), gated: Vec::new(), norm: Vec::new() }
    }
}

/// Memory of a thread for one tile.
pub struct Tile<V: Lanes> {
    pub edges: Edges<V>,
    pub saved: Saved<V>,
    messages: Vec<V>,
    products: Vec<V>,
    mid: Vec<V>,
    bar: Vec<V>,
    bar2: Vec<V>,
    density_bar: Vec<f64>,
    /// The next features, and the gradient by them.
    pub next: Vec<V>,
    pub next_bar: Vec<V>,
}

impl<V: Lanes> Default for Tile<V> {
    fn default() -> Self {
        let v = Vec::new;
        Tile {
            edges: Edges::default(),
            saved: Saved::default(),
            messages: v(),
            products: v(),
            mid: v(),
            bar: v(),
            bar2: v(),
            density_bar: Vec::new(),
            next: v(),
            next_bar: v(),
        }
    }
}

/// The features that a layer reads: those of nodes, and those of edges made of them, [`Convolution::stride`] apart; rows by [`Sites::rows`].
#[derive(Clone, Copy)]
pub struct Nodes<'a, V> {
    pub h: &'a [V],
    pub up: &'a [V],
    /// Rows of the tile's own atoms.
    pub rows: &'a [u32],
}

/// Where gradients by the features that a layer reads go: those of the tile's own atoms, through skip connections and residuals, and those of
/// edges.
pub struct Bars<'a, V> {
    pub h: &'a mut [V],
    pub up: &'a mut [V],
    pub edges: EdgeRows<'a, V>,
}

impl<V: Lanes> Step<V> {
    pub fn new(layer: &Layer, lmax: usize, tolerance: f64) -> Step<V> {
        let both = |map| [Gemm::new(map), Gemm::transposed(map)];
        Step {
            conv: Convolution::new(layer, lmax, tolerance),
            up: both(&layer.up),
            message: layer.message.iter().map(both).collect(),
            norm: layer.norm,
            gate: layer.gate.as_ref().map(|g| (GateStep::new(g), both(&g.residual), both(&g.after))),
            product: Product::new(&layer.product),
            linear: both(&layer.linear),
            skip: layer.skip.iter().map(both).collect(),
            n_blocks: layer.linear.to.k.div_ceil(V::N),
            n_h: layer.up.from.components(),
            n_next: layer.linear.to.components(),
            n_mid: layer.message[0].to.components(),
        }
    }

    pub fn bytes(&self) -> usize {
        let maps = [&self.up, &self.linear].into_iter().chain(&self.message).chain(&self.skip);
        let gate = self.gate.iter().flat_map(|g| [&g.1, &g.2]);
        let maps: usize = maps.chain(gate).flatten().map(Gemm::bytes).sum();
        maps + self.product.bytes() + self.conv.tables.bytes()
    }

    fn of<T>(maps: &[T], species: usize) -> Option<&T> {
        maps.get(if maps.len() > 1 { species } else { 0 })
    }

    /// From the features to `tile.next` and `tile.saved`.
    pub fn forward(
        &self,
        tile: &mut Tile<V>,
        sites: Sites,
        (species, atoms): (usize, &[u32]),
        nodes: Nodes<V>,
        angular: &Angular<V>,
    ) {
        let n = atoms.len();
        let Tile { edges, saved, messages, products, mid, next, .. } = tile;
        edges.fill(sites, atoms, &self.conv, angular);
        messages.resize(n * self.conv.n_blocks * self.conv.n_m, V::zero());
        self.conv.forward(edges, nodes.up, messages);
        let [message, _] = Self::of(&self.message, species).expect("a map of the messages");
        saved.norm.clear();
        if let Some(Norm { alpha, beta }) = self.norm {
            let density = |atom| edges.of(atom).map(|e| edges.density[e][0]).sum::<f64>();
            saved.norm.extend((0..n).map(|atom| alpha + beta * density(atom)));
        }
        let divide = |x: &mut [V]| {
            for (x, norm) in x.chunks_mut(x.len() / n).zip(&saved.norm) {
                let inverse = V::splat(V::Real::of(1.0 / norm));
                x.iter_mut().for_each(|x| *x = *x * inverse);
            }
        };
        let a_len = n * self.n_blocks * self.product.n_a;
        saved.a.resize(a_len, V::zero());
        match &self.gate {
            None => {
                message.apply(n, (messages, Rows::All), (&mut saved.a, Rows::All), false);
                divide(&mut saved.a);
            }
            Some((gate, [residual, _], [after, _])) => {
                saved.message.resize(n * self.n_blocks * self.n_mid, V::zero());
                message.apply(n, (messages, Rows::All), (&mut saved.message, Rows::All), false);
                divide(&mut saved.message);
                saved.gated.clear();
                saved.gated.extend_from_slice(&saved.message);
                residual.apply(
                    n,
                    (nodes.up, Rows::Of(nodes.rows, self.conv.stride())),
                    (&mut saved.gated, Rows::All),
                    true,
                );
                mid.resize(a_len, V::zero());
                gate.forward(&saved.gated, mid);
                after.apply(n, (mid, Rows::All), (&mut saved.a, Rows::All), false);
            }
        }
        products.resize(n * self.n_blocks * self.product.n_b, V::zero());
        self.product.forward(species, n, &saved.a, products);
        next.resize(n * self.n_blocks * self.n_next, V::zero());
        self.linear[0].apply(n, (products, Rows::All), (next, Rows::All), false);
        if let Some([skip, _]) = Self::of(&self.skip, species) {
            skip.apply(n, (nodes.h, Rows::Of(nodes.rows, self.n_blocks * self.n_h)), (next, Rows::All), true);
        }
    }

    /// From `tile.next_bar` and `tile.saved` to the gradients by the edges, which `f` takes, and, if they are wanted, by the atoms' own
    /// features through skip connections, which are added, and by the features of edges.
    pub fn backward(
        &self,
        tile: &mut Tile<V>,
        (species, n): (usize, usize),
        nodes: Nodes<V>,
        angular: &Angular<V>,
        features: Option<Bars<V>>,
        f: impl FnMut(u32, [f64; 3]),
    ) {
        let Tile { edges, saved, messages, products, mid, bar, bar2, density_bar, next_bar, .. } = tile;
        products.resize(n * self.n_blocks * self.product.n_b, V::zero());
        self.linear[1].apply(n, (next_bar, Rows::All), (products, Rows::All), false);
        bar.resize(n * self.n_blocks * self.product.n_a, V::zero());
        self.product.backward(species, n, &saved.a, products, bar);
        let (mut h_bar, mut up_bar, mut x_bar) = (None, None, None);
        if let Some(Bars { h, up, edges }) = features {
            (h_bar, up_bar, x_bar) = (Some(h), Some(up), Some(edges));
        }
        if let (Some(h_bar), Some([_, skip])) = (&mut h_bar, Self::of(&self.skip, species)) {
            skip.apply(n, (next_bar, Rows::All), (h_bar, Rows::All), false);
        }
        if let Some((gate, [_, residual], [_, after])) = &self.gate {
            mid.resize(bar.len(), V::zero());
            after.apply(n, (bar, Rows::All), (mid, Rows::All), false);
            bar2.resize(saved.gated.len(), V::zero());
            gate.backward(&saved.gated, mid, bar2);
            if let Some(up_bar) = &mut up_bar {
                residual.apply(n, (bar2, Rows::All), (up_bar, Rows::All), false);
            }
            std::mem::swap(bar, bar2);
        }
        density_bar.clear();
        if let Some(Norm { beta, .. }) = self.norm {
            let message = if self.gate.is_some() { &saved.message } else { &saved.a };
            let width = bar.len() / n;
            for ((bar, message), norm) in bar.chunks_mut(width).zip(message.chunks(width)).zip(&saved.norm) {
                let dot: f64 = bar.iter().zip(message).map(|(b, m)| sum(*b * *m)).sum();
                density_bar.push(-beta * dot / norm);
                let inverse = V::splat(V::Real::of(1.0 / norm));
                bar.iter_mut().for_each(|b| *b = *b * inverse);
            }
        }
        let [_, message] = Self::of(&self.message, species).expect("a map of the messages");
        messages.resize(n * self.conv.n_blocks * self.conv.n_m, V::zero());
        message.apply(n, (bar, Rows::All), (messages, Rows::All), false);
        self.conv.backward(edges, nodes.up, messages, x_bar);
        edges.gradients(&self.conv, angular, density_bar, f);
    }
}

fn sum<V: Lanes>(v: V) -> f64 {
    v.to_array()[..V::N].iter().map(|x| x.to_f64()).sum()
}

impl<V: Lanes> Step<V> {
    pub fn has_gate(&self) -> bool {
        self.gate.is_some()
    }

    /// Numbers of an atom in each part of what is saved.
    fn widths(&self) -> [usize; 3] {
        let gate = if self.has_gate() { self.n_blocks * self.n_mid } else { 0 };
        [self.n_blocks * self.product.n_a, gate, gate]
    }

    /// Vectors that are kept of an atom for the way back.
    pub fn kept(&self) -> usize {
        self.widths().iter().sum()
    }

    /// Room for what atoms need on the way back.
    pub fn make_room(&self, saved: &mut Saved<V>, n: usize) {
        let Saved { a, message, gated, norm } = saved;
        for (part, width) in [a, message, gated].into_iter().zip(self.widths()) {
            memory::resize(part, n * width, V::zero());
        }
        memory::resize(norm, if self.norm.is_some() { n } else { 0 }, 0.0);
    }

    /// [`Step::make_room`] to be written by several threads.
    pub fn disjoint<'a>(&self, saved: &'a mut Saved<V>) -> Keeper<'a, V> {
        let Saved { a, message, gated, norm } = saved;
        Keeper {
            parts: [Disjoint::new(a), Disjoint::new(message), Disjoint::new(gated)],
            widths: self.widths(),
            norm: self.norm.is_some().then(|| Disjoint::new(norm)),
        }
    }

    /// Gathers what was kept of the atoms of a tile.
    pub fn recall(&self, tile: &mut Tile<V>, from: &Saved<V>, atoms: &[u32]) {
        let to = &mut tile.saved;
        let parts = [(&mut to.a, &from.a), (&mut to.message, &from.message), (&mut to.gated, &from.gated)];
        for ((to, from), width) in parts.into_iter().zip(self.widths()) {
            to.clear();
            atoms.iter().for_each(|&i| to.extend_from_slice(&from[i as usize * width..][..width]));
        }
        to.norm.clear();
        if self.norm.is_some() {
            to.norm.extend(atoms.iter().map(|&i| from.norm[i as usize]));
        }
    }
}

/// Where tiles leave what their atoms need on the way back.
pub struct Keeper<'a, V> {
    parts: [Disjoint<'a, V>; 3],
    widths: [usize; 3],
    norm: Option<Disjoint<'a, f64>>,
}

impl<V: Lanes> Keeper<'_, V> {
    /// Keeps what a tile has of its atom `a` as that of atom `i`.
    ///
    /// # Safety
    /// Nobody else does the same for atom `i` at this time.
    pub unsafe fn keep(&self, saved: &Saved<V>, a: usize, i: usize) {
        for ((to, from), &w) in self.parts.iter().zip([&saved.a, &saved.message, &saved.gated]).zip(&self.widths) {
            if w > 0 {
                // SAFETY: the caller's word.
                unsafe { to.slice(i * w, w) }.copy_from_slice(&from[a * w..][..w]);
            }
        }
        if let Some(norm) = &self.norm {
            // SAFETY: as above.
            unsafe { *norm.entry(i) = saved.norm[a] };
        }
    }
}
