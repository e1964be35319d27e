//! Gather, product and scatter at once: nothing of the size of edges × results is in memory.
//!
//! A result belongs to one receiver, a gradient of `x` to one sender: whoever has that centre adds up its edges, in an order that
//! depends on nothing but the graph. No two threads write to one place.

use crate::ops::edges::{Edges, edges};
use crate::ops::kernel::{Call, IndexPort, Kernel, Pass, Sizes, Source, Wanted};
use crate::ops::scratch::{Scratch, lines};
use crate::parallel::{self, Disjoint, prefetch, prefetch_disjoint};
use crate::simd::{Dual, Value};

/// Pieces of memory that a product has for itself.
pub(super) const MEMORY: usize = 6;
/// Edges of a centre that a product has at once.
pub(super) const BATCH: usize = 16;

/// The product of some edges of one centre. Their arguments start at `places`: in `x`, in `y`, in the weights.
pub(super) trait Product<V: Value<Plain = V>>: Send + Sync {
    /// Numbers in the pieces of memory.
    fn memory(&self) -> [usize; MEMORY];
    /// Adds the results, or their tangents, in the order of the edges.
    ///
    /// # Safety
    /// Rows of `x`, `y` and the weights are there at `places`, at most [`BATCH`]; here and below.
    unsafe fn sum<N: Value<Real = V::Real, Plain = V>>(
        &self,
        xyw: [Source<V::Real>; 3],
        places: &[[usize; 3]],
        out: &mut [V::Real],
        memory: &mut [&mut [V::Real]; MEMORY],
    );
    /// What [`Product::pull`] needs of `y`.
    fn open<N: Value<Real = V::Real, Plain = V>>(
        &self,
        _y: Source<V::Real>,
        _places: &[[usize; 3]],
        _memory: &mut [&mut [V::Real]; MEMORY],
    ) {
    }
    /// Adds the gradients, or their tangents, of `x` and `w` of edge `k` of those that were opened; that of `y` is overwritten here or by
    /// [`Product::close`], that of `w` if it is `fresh`.
    ///
    /// # Safety
    /// As [`Product::sum`].
    unsafe fn pull<N: Value<Real = V::Real, Plain = V>>(
        &self,
        k: usize,
        xyw: [Source<V::Real>; 3],
        places: &[[usize; 3]],
        cotangent: &[V::Real],
        bars: Bars<V::Real>,
        memory: &mut [&mut [V::Real]; MEMORY],
    );
    /// The gradients of `y` of all edges that were opened.
    fn close(&self, _y_bars: &mut [&mut [V::Real]], _memory: &mut [&mut [V::Real]; MEMORY]) {}
}

/// The gradients that are asked for, of one edge.
pub(super) struct Bars<'a, T> {
    pub x: Option<&'a mut [T]>,
    pub y: Option<&'a mut [T]>,
    pub w: Option<&'a mut [T]>,
    /// Is nothing in `w` yet?
    pub fresh: bool,
}

/// The product over all edges, or over rows, each of which is its own edge.
pub(super) struct Convolution<V, P> {
    product: P,
    /// Numbers in a row of `x`, `y`, the result.
    widths: [usize; 3],
    n_weights: usize,
    shared: bool,
    lanes: std::marker::PhantomData<V>,
}

/// Edges of one centre.
struct Batch {
    places: [[usize; 3]; BATCH],
    /// The edge, and its receiver where the centre is the sender.
    ends: [[usize; 2]; BATCH],
    n: usize,
}

/// Centres that a thread takes at a time.
const CENTRES: usize = 8;
/// Parts in which the gradient of shared weights is summed, whatever the number of threads.
const PARTIAL_SUMS: usize = 64;

impl<V: Value<Plain = V>, P: Product<V>> Convolution<V, P> {
    pub fn new(product: P, widths: [usize; 3], n_weights: usize, shared: bool) -> Self {
        Convolution { product, widths, n_weights, shared, lanes: std::marker::PhantomData }
    }

    fn lines_a_thread(&self) -> usize {
        self.product.memory().into_iter().map(lines::<V::Real>).sum()
    }

    /// Where the arguments of some edges start, and how many there are.
    #[inline(always)]
    fn batch(&self, edges: &mut impl Iterator<Item = (usize, usize)>, by_sender: Option<usize>) -> Batch {
        let mut batch = Batch { places: [[0; 3]; BATCH], ends: [[0; 2]; BATCH], n: 0 };
        let [n_x, n_y, _] = self.widths;
        while batch.n < BATCH {
            let Some((e, other)) = edges.next() else { break };
            let (j, i) = by_sender.map_or((other, 0), |j| (j, other));
            let weights = if self.shared { 0 } else { e * self.n_weights };
            batch.places[batch.n] = [j * n_x, e * n_y, weights];
            batch.ends[batch.n] = [e, i];
            batch.n += 1;
        }
        batch
    }

    fn sources<'a>(&self, call: Call<'a, V::Real>, directions: &[Option<&'a [V::Real]>]) -> [Source<'a, V::Real>; 3] {
        std::array::from_fn(|k| Source { value: call.inputs[k], tangent: directions.get(k).copied().flatten() })
    }

    /// The result, or its tangent; edges are by receiver.
    fn sum<N: Value<Real = V::Real, Plain = V>>(
        &self,
        edges: Edges,
        sources: [Source<V::Real>; 3],
        out: &mut [V::Real],
        scratch: Scratch,
    ) {
        let shares = scratch.shares(parallel::n_threads(), self.lines_a_thread());
        let (n_out, out) = (self.widths[2], Disjoint::new(out));
        let init = || {
            let mut scratch = shares.next();
            self.product.memory().map(|n| scratch.reals::<V::Real>(n))
        };
        parallel::for_each_init(edges.len().div_ceil(CENTRES), init, |memory, k| {
            for i in k * CENTRES..edges.len().min((k + 1) * CENTRES) {
                // SAFETY: every centre is in one task.
                let out = unsafe { out.slice(i * n_out, n_out) };
                V::vectorize(
                    #[inline(always)]
                    || {
                        out.fill(V::Real::default());
                        let mut list = edges.of(i);
                        loop {
                            let batch = self.batch(&mut list, None);
                            if batch.n == 0 {
                                break;
                            }
                            // SAFETY: rows of nodes and edges, which the front door has counted.
                            unsafe { self.product.sum::<N>(sources, &batch.places[..batch.n], out, memory) };
                        }
                    },
                );
            }
        });
    }

    /// The gradients that are asked for, or their tangents; edges are by sender.
    fn pull<N: Value<Real = V::Real, Plain = V>>(
        &self,
        edges: Edges,
        sources: [Source<V::Real>; 3],
        cotangent: &[V::Real],
        [x_bar, y_bar, w_bar]: [Option<&mut [V::Real]>; 3],
        mut scratch: Scratch,
    ) {
        let ([n_x, n_y, n_out], n_w) = (self.widths, self.n_weights);
        let (shared_bar, own_bar) = if self.shared { (w_bar, None) } else { (None, w_bar) };
        let (centres, partial) = match shared_bar {
            Some(_) => (edges.len().div_ceil(PARTIAL_SUMS).max(1), scratch.reals::<V::Real>(PARTIAL_SUMS * n_w)),
            None => (CENTRES, &mut [][..]),
        };
        partial.fill(V::Real::default());
        let shares = scratch.shares(parallel::n_threads(), self.lines_a_thread());
        let [x_bar, y_bar, own_bar] = [x_bar, y_bar, own_bar].map(|bar| bar.map(Disjoint::new));
        let partial_sums = shared_bar.is_some().then_some(Disjoint::new(&mut *partial));
        let init = || {
            let mut scratch = shares.next();
            self.product.memory().map(|n| scratch.reals::<V::Real>(n))
        };
        parallel::for_each_init(edges.len().div_ceil(centres), init, |memory, task| {
            for j in task * centres..edges.len().min((task + 1) * centres) {
                // SAFETY (of all slices): every centre is in one task, every edge has one centre, every task its own sums.
                let mut x_row = x_bar.as_ref().map(|x| unsafe { x.slice(j * n_x, n_x) });
                V::vectorize(
                    #[inline(always)]
                    || {
                        if let Some(x) = &mut x_row {
                            x.fill(V::Real::default());
                        }
                        let mut list = edges.of(j);
                        loop {
                            let Batch { places, ends, n } = self.batch(&mut list, Some(j));
                            if n == 0 {
                                break;
                            }
                            // Rows of edges by sender lie anywhere: those of the next one are asked for while this one is computed.
                            let next_centre = || edges.of((j + 1).min(edges.len() - 1)).next();
                            let ahead = list.clone().next().or_else(next_centre);
                            let places = &places[..n];
                            self.product.open::<N>(sources[1], places, memory);
                            let mut y_rows: [&mut [V::Real]; BATCH] = std::array::from_fn(|_| &mut [][..]);
                            for (k, &[e, i]) in ends[..n].iter().enumerate() {
                                let next = ends[..n].get(k + 1).map(|&[e, i]| (e, i)).or(ahead);
                                if let Some((e, i)) = next {
                                    let own = e * n_w..(e + 1) * n_w;
                                    prefetch(cotangent, i * n_out..(i + 1) * n_out);
                                    if !self.shared {
                                        prefetch(sources[2].value, own.clone());
                                    }
                                    if let Some(w) = &own_bar {
                                        prefetch_disjoint(w, own);
                                    }
                                }
                                if let Some(y) = &y_bar {
                                    y_rows[k] = unsafe { y.slice(e * n_y, n_y) };
                                }
                                let y_row = y_bar.is_some().then_some(&mut *y_rows[k]);
                                let w_row = match (&own_bar, &partial_sums) {
                                    (Some(w), _) => Some(unsafe { w.slice(e * n_w, n_w) }),
                                    (None, sums) => sums.as_ref().map(|sums| unsafe { sums.slice(task * n_w, n_w) }),
                                };
                                let o = &cotangent[i * n_out..(i + 1) * n_out];
                                let bars =
                                    Bars { x: x_row.as_deref_mut(), y: y_row, w: w_row, fresh: own_bar.is_some() };
                                // Rows of nodes and edges, which the front door has counted.
                                unsafe { self.product.pull::<N>(k, sources, places, o, bars, memory) };
                            }
                            if y_bar.is_some() {
                                self.product.close(&mut y_rows[..n], memory);
                            }
                        }
                    },
                );
            }
        });
        if let Some(bar) = shared_bar {
            bar.fill(V::Real::default());
            for part in partial.chunks(n_w.max(1)) {
                bar.iter_mut().zip(part).for_each(|(sum, &x)| *sum += x);
            }
        }
    }
}

impl<V: Value<Plain = V>, P: Product<V>> Kernel<V::Real> for Convolution<V, P> {
    fn scratch(&self, sizes: Sizes, pass: Pass, threads: usize) -> usize {
        let sums = if self.shared && pass != Pass::Forward { PARTIAL_SUMS * self.n_weights } else { 0 };
        Edges::lines(sizes.rows, sizes.nodes) + lines::<V::Real>(sums) + threads * self.lines_a_thread()
    }

    fn forward(&self, call: Call<V::Real>, out: &mut [V::Real], mut scratch: Scratch) {
        let mut scratch = scratch.again();
        let edges = edges(call, false, &[], &mut scratch);
        self.sum::<V>(edges, self.sources(call, &[]), out, scratch);
    }

    fn backward(&self, call: Call<V::Real>, cotangent: &[V::Real], gradients: Wanted<V::Real>, mut scratch: Scratch) {
        let mut scratch = scratch.again();
        let edges = edges(call, true, &[], &mut scratch);
        let [x, y, w] = gradients else { unreachable!("three inputs") };
        let bars = [x, y, w].map(|bar| bar.as_deref_mut());
        self.pull::<V>(edges, self.sources(call, &[]), cotangent, bars, scratch);
    }

    fn double_backward(
        &self,
        call: Call<V::Real>,
        cotangent: &[V::Real],
        directions: &[Option<&[V::Real]>],
        seconds: Wanted<V::Real>,
        mut scratch: Scratch,
    ) {
        let [x, y, w, out] = seconds else { unreachable!("three inputs and the cotangent") };
        let bars = [x, y, w].map(|bar| bar.as_deref_mut());
        if bars.iter().any(Option::is_some) {
            let mut scratch = scratch.again();
            let edges = edges(call, true, directions, &mut scratch);
            self.pull::<Dual<V>>(edges, self.sources(call, directions), cotangent, bars, scratch);
        }
        if let Some(out) = out {
            let mut scratch = scratch.again();
            let edges = edges(call, false, directions, &mut scratch);
            self.sum::<Dual<V>>(edges, self.sources(call, directions), out, scratch);
        }
    }
}

/// The indices of a convolution.
pub(super) fn ends(convolution: bool) -> Vec<IndexPort> {
    let end = |name| IndexPort { name, bound: None };
    if convolution { vec![end("sender"), end("receiver")] } else { vec![] }
}
