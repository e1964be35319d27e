//! Linear maps of channels: matrices times rows, in tiles that stay in registers. The lanes are output channels.

// Indices run over rows of several arrays at once.
#![allow(clippy::needless_range_loop)]

use crate::mace::network::Map;
use crate::simd::{Lanes, Real, as_reals};

/// A map, packed. Features lie as (atom, channel block, component), a vector of channels each.
pub struct Gemm<V> {
    /// Channels, channel blocks and components of the input.
    k: usize,
    n_blocks: usize,
    n_components: usize,
    /// Channel blocks and components of the output.
    to_blocks: usize,
    to_components: usize,
    outputs: Vec<Output<V>>,
}

struct Output<V> {
    /// The first component, and how many.
    offset: usize,
    width: usize,
    /// The first component of each input.
    inputs: Vec<usize>,
    /// (channel block of the output, input, channel).
    w: Vec<V>,
}

/// Rows of features: where the first component of each atom of the tile is.
#[derive(Clone, Copy)]
pub enum Rows<'a> {
    /// One after another.
    All,
    /// By index, so many vectors apart.
    Of(&'a [u32], usize),
}

impl Rows<'_> {
    #[inline(always)]
    fn start(self, k: usize, width: usize) -> usize {
        match self {
            Rows::All => k * width,
            Rows::Of(rows, stride) => rows[k] as usize * stride,
        }
    }
}

impl<V: Lanes> Gemm<V> {
    pub fn new(map: &Map) -> Gemm<V> {
        Gemm::pack(map, false)
    }

    /// The transposed map.
    pub fn transposed(map: &Map) -> Gemm<V> {
        Gemm::pack(map, true)
    }

    fn pack(map: &Map, transposed: bool) -> Gemm<V> {
        let (from, to) = if transposed { (&map.to, &map.from) } else { (&map.from, &map.to) };
        let (from_offsets, to_offsets) = (from.offsets(), to.offsets());
        let to_blocks = to.k.div_ceil(V::N);
        let output = |b: usize| {
            let ends = |m: &crate::mace::network::MapBlock| if transposed { (m.to, m.from) } else { (m.from, m.to) };
            let parts: Vec<_> = map.blocks.iter().filter(|m| ends(m).1 == b).collect();
            let mut w = Vec::with_capacity(to_blocks * parts.len() * from.k);
            for block in 0..to_blocks {
                for part in &parts {
                    for u in 0..from.k {
                        w.push(V::from_fn(|lane| {
                            let v = block * V::N + lane;
                            let at = if transposed { v * from.k + u } else { u * to.k + v };
                            V::Real::of(if v < to.k { part.w[at] } else { 0.0 })
                        }));
                    }
                }
            }
            let inputs = parts.iter().map(|m| from_offsets[ends(m).0]).collect();
            Output { offset: to_offsets[b], width: 2 * to.ls[b] + 1, inputs, w }
        };
        Gemm {
            k: from.k,
            n_blocks: from.k.div_ceil(V::N),
            n_components: from.components(),
            to_blocks,
            to_components: to.components(),
            outputs: (0..to.ls.len()).map(output).collect(),
        }
    }

    pub fn bytes(&self) -> usize {
        self.outputs.iter().map(|o| size_of_val(&o.w[..])).sum()
    }

    /// Overwrites the rows of `y` with the map of the rows of `x`, or adds it, for `n` atoms.
    pub fn apply(&self, n: usize, x: (&[V], Rows), y: (&mut [V], Rows), add: bool) {
        V::vectorize(
            #[inline(always)]
            || {
                let (out, rows) = y;
                for output in &self.outputs {
                    // Twelve rows of two blocks fill 24 of 32 registers, six of them 12 of 16.
                    match V::REGISTERS {
                        32 => self.output::<12>(output, n, x, out, rows, add),
                        _ => self.output::<6>(output, n, x, out, rows, add),
                    }
                }
            },
        );
    }

    #[inline(always)]
    fn output<const R: usize>(&self, o: &Output<V>, n: usize, x: (&[V], Rows), y: &mut [V], rows: Rows, add: bool) {
        let n_rows = n * o.width;
        let mut block = 0;
        while block < self.to_blocks {
            let two = block + 1 < self.to_blocks;
            let mut row = 0;
            while row < n_rows {
                // What does not fill a tile goes by fours: single rows wait for each other's sums.
                let size = if row + R <= n_rows {
                    R
                } else if row + 4 <= n_rows {
                    4
                } else {
                    1
                };
                match (two, size) {
                    (true, 1) => self.tile::<1, 2>(o, (row, block), x, y, rows, add),
                    (true, 4) => self.tile::<4, 2>(o, (row, block), x, y, rows, add),
                    (true, _) => self.tile::<R, 2>(o, (row, block), x, y, rows, add),
                    (false, 1) => self.tile::<1, 1>(o, (row, block), x, y, rows, add),
                    (false, 4) => self.tile::<4, 1>(o, (row, block), x, y, rows, add),
                    (false, _) => self.tile::<R, 1>(o, (row, block), x, y, rows, add),
                }
                row += size;
            }
            block += if two { 2 } else { 1 };
        }
    }

    /// `R` rows times `B` channel blocks of the output.
    #[inline(always)]
    fn tile<const R: usize, const B: usize>(
        &self,
        o: &Output<V>,
        (row, block): (usize, usize),
        (x, x_rows): (&[V], Rows),
        y: &mut [V],
        y_rows: Rows,
        add: bool,
    ) {
        let x = as_reals(x);
        let (atom, m): ([usize; R], [usize; R]) =
            (std::array::from_fn(|r| (row + r) / o.width), std::array::from_fn(|r| (row + r) % o.width));
        let (width, to_width) = (self.n_blocks * self.n_components, self.to_blocks * self.to_components);
        let base: [usize; R] = std::array::from_fn(|r| x_rows.start(atom[r], width) + m[r]);
        let mut acc = [[V::zero(); B]; R];
        let n_w = o.inputs.len() * self.k;
        let w: [&[V]; B] = std::array::from_fn(|b| &o.w[(block + b) * n_w..][..n_w]);
        let mut at = 0;
        for input in &o.inputs {
            for from in 0..self.n_blocks {
                let lanes = V::N.min(self.k - from * V::N);
                let x: [&[V::Real]; R] =
                    std::array::from_fn(|r| &x[(base[r] + from * self.n_components + input) * V::N..][..V::N]);
                let w: [&[V]; B] = std::array::from_fn(|b| &w[b][at..at + lanes]);
                for u in 0..lanes {
                    for r in 0..R {
                        // SAFETY: `u` is below `lanes`, the length of each `w`, which is at most `N`, that of each `x`.
                        unsafe {
                            let x = V::splat(*x[r].get_unchecked(u));
                            for b in 0..B {
                                acc[r][b] = x.mul_add(*w[b].get_unchecked(u), acc[r][b]);
                            }
                        }
                    }
                }
                at += lanes;
            }
        }
        for r in 0..R {
            for b in 0..B {
                let to = y_rows.start(atom[r], to_width) + (block + b) * self.to_components + o.offset + m[r];
                y[to] = if add { y[to] + acc[r][b] } else { acc[r][b] };
            }
        }
    }
}
