//! What is between the matrices of a perceptron: norm and activation, forwards and backwards, values and tangents.

use super::activation::Activation;
use super::kernel::{Source, clear, for_parts};
use super::scratch::Scratch;
use crate::parallel::Disjoint;
use crate::simd::{Dual, Lanes, Portable, Real, Value};

/// Numbers, and their tangents where there are any.
pub(super) struct Tangents<'a, T> {
    pub value: &'a mut [T],
    pub tangent: &'a mut [T],
}

impl<'a, T: Real> Tangents<'a, T> {
    pub fn new(n: usize, tangents: bool, scratch: &mut Scratch<'a>) -> Self {
        Tangents { value: scratch.reals(n), tangent: scratch.reals(if tangents { n } else { 0 }) }
    }

    /// A constant.
    pub fn set(&mut self, x: &[T]) {
        self.value[..x.len()].copy_from_slice(x);
        clear(self.tangent);
    }

    pub fn parts<N: Value>(&self) -> (&[T], Option<&[T]>) {
        self.first::<N>(self.value.len())
    }

    pub fn first<N: Value>(&self, n: usize) -> (&[T], Option<&[T]>) {
        (&self.value[..n], N::HAS_TANGENT.then(|| &self.tangent[..n]))
    }

    pub fn parts_mut<N: Value>(&mut self) -> [Option<&mut [T]>; 2] {
        self.first_mut::<N>(self.value.len())
    }

    pub fn first_mut<N: Value>(&mut self, n: usize) -> [Option<&mut [T]>; 2] {
        [Some(&mut self.value[..n]), N::HAS_TANGENT.then(|| &mut self.tangent[..n])]
    }

    fn disjoint(&mut self) -> [Disjoint<'_, T>; 2] {
        [Disjoint::new(self.value), Disjoint::new(self.tangent)]
    }
}

/// Sums over the rows, in their order.
pub(super) fn column_sums<T: Real>(rows: &[T], out: &mut [T]) {
    out.fill(T::default());
    for row in rows.chunks(out.len().max(1)) {
        out.iter_mut().zip(row).for_each(|(sum, &x)| *sum += x);
    }
}

/// `κ φ(a)`, or `κ φ(norm(a) · scale + shift)`; computed in f64, as norms amplify what rounding leaves.
#[derive(Clone, Copy)]
pub(super) struct Nonlinearity {
    pub activation: Activation,
    pub constant: f64,
    pub epsilon: Option<f64>,
}

/// The lanes are rows.
type W = Portable<f64, 2>;

/// Numbers that a thread takes at a time, about.
const NUMBERS: usize = 4096;

impl Nonlinearity {
    /// `κ φ` and `κ φ'`
    fn apply<N: Value<Real = f64, Plain = W>>(&self, a: N) -> [N; 2] {
        let values = a.value().to_array();
        let f: [[f64; 3]; W::N] = std::array::from_fn(|k| self.activation.eval(values[k]));
        let [y, d, dd] = [0, 1, 2].map(|i| W::from_fn(|k| self.constant * f[k][i]));
        let tangent = if N::HAS_TANGENT { a.result() } else { W::zero() };
        [N::join(y, d * tangent), N::join(d, dd * tangent)]
    }

    /// Runs `f(start, number of rows)` for groups of rows.
    fn for_rows(&self, rows: usize, width: usize, f: impl Fn(usize, usize) + Sync) {
        let many = (NUMBERS / width.max(1)).max(1).next_multiple_of(W::N);
        for_parts(rows, many, |part| {
            for start in part.clone().step_by(W::N) {
                f(start, W::N.min(part.end - start));
            }
        });
    }

    pub fn forward<T: Real>(
        &self,
        width: usize,
        parameters: Option<[Source<T>; 2]>,
        before: &Tangents<T>,
        after: &mut Tangents<T>,
    ) {
        match before.tangent.is_empty() {
            true => self.forward_in::<T, W>(width, parameters, before, after),
            false => self.forward_in::<T, Dual<W>>(width, parameters, before, after),
        }
    }

    fn forward_in<T: Real, N: Value<Real = f64, Plain = W>>(
        &self,
        width: usize,
        parameters: Option<[Source<T>; 2]>,
        before: &Tangents<T>,
        after: &mut Tangents<T>,
    ) {
        let rows = before.value.len() / width;
        let (from, to) = (Block::new(before, width), after.disjoint());
        self.for_rows(rows, width, |start, n| {
            let norm = parameters.map(|_| self.norm::<T, N>(from, start, n));
            for j in 0..width {
                let a: N = from.lanes(start, n, j);
                let c = match (&norm, parameters) {
                    (Some(norm), Some([scale, shift])) => {
                        ((a - norm.mean) * norm.inverse).mul_add(one(scale, j), one(shift, j))
                    }
                    _ => a,
                };
                put(self.apply(c)[0], to, (start, n, j, width));
            }
        });
    }

    /// From `h` with the gradient after the activation: `h` becomes that of the activation's argument, `bar` that before
    /// the norm, `normed` the normed numbers.
    pub fn pull<T: Real>(
        &self,
        width: usize,
        parameters: Option<[Source<T>; 2]>,
        before: &Tangents<T>,
        [h, bar, normed]: [&mut Tangents<T>; 3],
    ) {
        match before.tangent.is_empty() {
            true => self.pull_in::<T, W>(width, parameters, before, [h, bar, normed]),
            false => self.pull_in::<T, Dual<W>>(width, parameters, before, [h, bar, normed]),
        }
    }

    fn pull_in<T: Real, N: Value<Real = f64, Plain = W>>(
        &self,
        width: usize,
        parameters: Option<[Source<T>; 2]>,
        before: &Tangents<T>,
        [h, bar, normed]: [&mut Tangents<T>; 3],
    ) {
        let rows = before.value.len() / width;
        let from = Block::new(before, width);
        let (h, bar, normed) = (h.disjoint(), bar.disjoint(), normed.disjoint());
        let inverse_width = N::splat(1.0 / width as f64);
        self.for_rows(rows, width, |start, n| {
            let at = |j: usize| (start, n, j, width);
            let Some([scale, shift]) = parameters else {
                for j in 0..width {
                    put(self.apply::<N>(from.lanes(start, n, j))[1] * get::<T, N>(h, at(j)), bar, at(j));
                }
                return;
            };
            let norm = self.norm::<T, N>(from, start, n);
            // Means of the gradient of the normed numbers, plain and times these.
            let (mut plain, mut along) = (N::zero(), N::zero());
            for j in 0..width {
                let y = (from.lanes::<N>(start, n, j) - norm.mean) * norm.inverse;
                let c = y.mul_add(one(scale, j), one(shift, j));
                let c_bar = self.apply(c)[1] * get::<T, N>(h, at(j));
                let y_bar = c_bar * one(scale, j);
                (plain, along) = (plain + y_bar, y_bar.mul_add(y, along));
                put(y, normed, at(j));
                put(c_bar, h, at(j));
            }
            (plain, along) = (plain * inverse_width, along * inverse_width);
            for j in 0..width {
                let (y, y_bar) = (get::<T, N>(normed, at(j)), get::<T, N>(h, at(j)) * one(scale, j));
                put((y_bar - plain - y * along) * norm.inverse, bar, at(j));
            }
        });
    }

    /// Gradients of scale and shift, or their tangents, from what `pull` left of `n` numbers.
    pub fn pull_parameters<T: Real>(
        &self,
        n: usize,
        c_bar: &Tangents<T>,
        normed: &Tangents<T>,
        [scale, shift]: [Option<&mut [T]>; 2],
    ) {
        let tangents = !c_bar.tangent.is_empty();
        if let Some(out) = shift {
            column_sums(if tangents { &c_bar.tangent[..n] } else { &c_bar.value[..n] }, out);
        }
        if let Some(out) = scale {
            out.fill(T::default());
            let width = out.len().max(1);
            for k in 0..n {
                out[k % width] += match tangents {
                    true => c_bar.tangent[k] * normed.value[k] + c_bar.value[k] * normed.tangent[k],
                    false => c_bar.value[k] * normed.value[k],
                };
            }
        }
    }

    /// Mean and inverse deviation of some rows.
    fn norm<T: Real, N: Value<Real = f64, Plain = W>>(&self, from: Block<T>, start: usize, n: usize) -> Norm<N> {
        let inverse_width = N::splat(1.0 / from.width as f64);
        let mean = (0..from.width).fold(N::zero(), |sum, j| sum + from.lanes(start, n, j)) * inverse_width;
        let square = |sum: N, j: usize| {
            let d = from.lanes::<N>(start, n, j) - mean;
            d.mul_add(d, sum)
        };
        let variance = (0..from.width).fold(N::zero(), square) * inverse_width;
        let epsilon = N::splat(self.epsilon.unwrap_or(0.0));
        Norm { mean, inverse: N::splat(1.0).div((variance + epsilon).sqrt()) }
    }
}

struct Norm<N> {
    mean: N,
    inverse: N,
}

/// Rows of numbers that are read with rows as lanes.
#[derive(Clone, Copy)]
struct Block<'a, T> {
    source: Source<'a, T>,
    width: usize,
}

impl<'a, T: Real> Block<'a, T> {
    fn new(x: &'a Tangents<T>, width: usize) -> Self {
        let tangent = (!x.tangent.is_empty()).then_some(&*x.tangent);
        Block { source: Source { value: x.value, tangent }, width }
    }

    fn lanes<N: Value<Real = f64, Plain = W>>(&self, start: usize, n: usize, j: usize) -> N {
        let lanes = |x: &[T]| W::from_fn(|r| if r < n { x[(start + r) * self.width + j].to_f64() } else { 0.0 });
        N::join(lanes(self.source.value), self.source.tangent.map_or(W::zero(), lanes))
    }
}

/// One parameter, in all lanes.
fn one<T: Real, N: Value<Real = f64, Plain = W>>(x: Source<T>, j: usize) -> N {
    let tangent = if N::HAS_TANGENT { x.tangent.map_or(0.0, |t| t[j].to_f64()) } else { 0.0 };
    N::join(W::splat(x.value[j].to_f64()), W::splat(tangent))
}

/// The place of column `j` of `n` rows from `start` on.
type Place = (usize, usize, usize, usize);

/// As lanes.
fn get<T: Real, N: Value<Real = f64, Plain = W>>([value, tangent]: [Disjoint<T>; 2], (start, n, j, width): Place) -> N {
    // SAFETY: rows are one task's alone, and no reference outlives the call.
    let entry = |x: Disjoint<T>, r: usize| unsafe { x.entry((start + r) * width + j).to_f64() };
    let lanes = |x: Disjoint<T>| W::from_fn(|r| if r < n { entry(x, r) } else { 0.0 });
    N::join(lanes(value), if N::HAS_TANGENT { lanes(tangent) } else { W::zero() })
}

fn put<T: Real, N: Value<Real = f64, Plain = W>>(
    x: N,
    [value, tangent]: [Disjoint<T>; 2],
    (start, n, j, width): Place,
) {
    let (v, t) = (x.value().to_array(), x.result().to_array());
    for r in 0..n {
        // SAFETY: as in `get`.
        unsafe {
            *value.entry((start + r) * width + j) = T::of(v[r]);
            if N::HAS_TANGENT {
                *tangent.entry((start + r) * width + j) = T::of(t[r]);
            }
        }
    }
}
