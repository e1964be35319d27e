//! Multilayer perceptrons on scalars.
//!
//! *Rescaled*: `x ← κ φ(x W/√n)` for all layers but the last, which is `x W/√n`; `W` (in, out), no bias.
//! *Layer norm*: `x ← φ(norm(x Wᵀ + b) · scale + shift)`, the last layer `x Wᵀ + b`; `W` (out, in), no `1/√n`;
//! `norm(a) = (a − mean)/√(variance + ε)`, population variance.

use super::activation::Activation;
use super::irreps::{Irrep, Irreps};
use super::kernel::{Call, Extent, Kernel, MAX_INPUTS, Pass, Port, Ports, Sizes, Source, Wanted, clear};
use super::linear::{Linear, LinearKernel};
use super::mlp_layer::{Nonlinearity, Tangents, column_sums};
use super::scratch::{Scratch, lines};
use super::species::Groups;
use crate::parallel;
use crate::simd::{Dual, Lanes, Real, Value};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Rows `x`, weights `w0`, `w1`, …; with a norm also `b0`, `scale0`, `shift0`, ….
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mlp {
    /// Numbers in the input, between the layers, in the result.
    pub widths: Vec<usize>,
    pub activation: Activation,
    /// κ, which rescales the activation.
    #[serde(default = "one")]
    pub constant: f64,
    /// ε of the layer norm, where there is one.
    #[serde(default)]
    pub layer_norm: Option<f64>,
}

fn one() -> f64 {
    1.0
}

const MAX_LAYERS: usize = 9;
const MAX_WIDTH: usize = 1 << 16;

impl Mlp {
    pub(crate) fn n_layers(&self) -> usize {
        self.widths.len() - 1
    }

    /// Whether weights are (out, in).
    fn transposed(&self) -> bool {
        self.layer_norm.is_some()
    }

    /// The matrices as linear maps, as which they may stand the other way round, and their factor, where it is not `1/√n`.
    pub(crate) fn maps(&self) -> Result<(Vec<Linear>, Option<f64>)> {
        let scalars = |n: usize| Irreps::uniform(n, [Irrep::SCALAR]);
        let map = |pair: &[usize]| {
            let [n_in, n_out] = if self.transposed() { [pair[1], pair[0]] } else { [pair[0], pair[1]] };
            let (irreps_in, irreps_out) = (scalars(n_in)?, scalars(n_out)?);
            Ok(Linear { irreps_in, irreps_out, bias: false, species: None })
        };
        let maps = self.widths.windows(2).map(map).collect::<Result<_>>()?;
        Ok((maps, self.transposed().then_some(1.0)))
    }

    /// Where the parameters of layer `k` are among the arguments.
    pub(crate) fn places(&self, k: usize) -> Places {
        let hidden = k + 1 < self.n_layers();
        match self.transposed() {
            false => Places { w: 1 + k, b: None, scale: None, shift: None },
            true => {
                let at = 1 + 4 * k;
                Places { w: at, b: Some(at + 1), scale: hidden.then_some(at + 2), shift: hidden.then_some(at + 3) }
            }
        }
    }

    pub(crate) fn ports(&self) -> Result<Ports> {
        let widths = &self.widths;
        if !(2..=MAX_LAYERS + 1).contains(&widths.len()) || widths.iter().any(|n| !(1..=MAX_WIDTH).contains(n)) {
            let message = format!("widths: expected 2 to {} numbers, 1 to {MAX_WIDTH}", MAX_LAYERS + 1);
            return Err(Error::Argument(message));
        }
        if !self.constant.is_finite() || self.layer_norm.is_some_and(|e| !(e > 0.0 && e.is_finite())) {
            return Err(Error::Argument("constant, layer_norm: expected finite numbers, the latter positive".into()));
        }
        let mut inputs = vec![Port::new("x", Extent::Rows, widths[0])];
        for k in 0..self.n_layers() {
            let (n_in, n_out) = (widths[k], widths[k + 1]);
            let [rows, columns] = if self.layer_norm.is_some() { [n_out, n_in] } else { [n_in, n_out] };
            inputs.push(Port::new(format!("w{k}"), Extent::Fixed(rows), columns));
            if self.layer_norm.is_some() {
                inputs.push(Port::new(format!("b{k}"), Extent::Fixed(1), n_out));
                if k + 1 < self.n_layers() {
                    inputs.push(Port::new(format!("scale{k}"), Extent::Fixed(1), n_out));
                    inputs.push(Port::new(format!("shift{k}"), Extent::Fixed(1), n_out));
                }
            }
        }
        assert!(inputs.len() < MAX_INPUTS);
        Ok(Ports { inputs, indices: vec![], output: Port::new("out", Extent::Rows, widths[self.n_layers()]) })
    }

    pub(crate) fn kernel<V: Value<Plain = V>>(&self) -> Result<Box<dyn Kernel<V::Real>>> {
        let (maps, scale) = self.maps()?;
        let layers = maps.iter().map(|map| map.scaled_kernel::<V>(scale)).collect();
        Ok(Box::new(MlpKernel::<V> {
            layers,
            places: (0..self.n_layers()).map(|k| self.places(k)).collect(),
            widths: self.widths.clone(),
            transposed: self.transposed(),
            nonlinearity: Nonlinearity {
                activation: self.activation,
                constant: self.constant,
                epsilon: self.layer_norm,
            },
        }))
    }
}

struct MlpKernel<V: Lanes> {
    layers: Vec<LinearKernel<V>>,
    places: Vec<Places>,
    widths: Vec<usize>,
    /// Weights are (out, in).
    transposed: bool,
    nonlinearity: Nonlinearity,
}

/// Where the parameters of a layer are among the arguments.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    pub w: usize,
    pub b: Option<usize>,
    pub scale: Option<usize>,
    pub shift: Option<usize>,
}

/// What the layers compute, values and tangents: before and after each activation.
struct Inner<'a, T> {
    before: [Tangents<'a, T>; MAX_LAYERS],
    after: [Tangents<'a, T>; MAX_LAYERS],
}

impl<V: Value<Plain = V>> MlpKernel<V> {
    fn widest(&self) -> usize {
        self.widths.iter().copied().max().unwrap_or(0)
    }

    fn inner<'a>(&self, rows: usize, tangents: bool, scratch: &mut Scratch<'a>) -> Inner<'a, V::Real> {
        let mut layer = |k: usize| {
            let n = if k + 1 < self.layers.len() { rows * self.widths[k + 1] } else { 0 };
            Tangents::new(n, tangents, scratch)
        };
        Inner { before: std::array::from_fn(&mut layer), after: std::array::from_fn(&mut layer) }
    }

    /// `to = from W + b` of layer `k`, and the tangent; `back` for `Wᵀ`, without `b`.
    #[allow(clippy::too_many_arguments)]
    fn affine(
        &self,
        k: usize,
        back: bool,
        groups: &Groups,
        from: (&[V::Real], Option<&[V::Real]>),
        call: Call<V::Real>,
        directions: &[Option<&[V::Real]>],
        [value, tangent]: [Option<&mut [V::Real]>; 2],
        scratch: &mut Scratch,
    ) {
        let (layer, places) = (&self.layers[k], self.places[k]);
        let w = call.inputs[places.w];
        let dw = directions.get(places.w).copied().flatten();
        let turned = back != self.transposed;
        if let Some(to) = value {
            layer.map(turned, groups, (from.0, w), false, to, scratch.again());
            if let Some(b) = places.b.filter(|_| !back) {
                add_to_rows(call.inputs[b], to);
            }
        }
        if let Some(to) = tangent {
            match from.1 {
                Some(tangent) => layer.map(turned, groups, (tangent, w), false, to, scratch.again()),
                None => clear(to),
            }
            if let Some(dw) = dw {
                layer.map(turned, groups, (from.0, dw), true, to, scratch.again());
            }
            if let Some(db) = places.b.filter(|_| !back).and_then(|b| directions[b]) {
                add_to_rows(db, to);
            }
        }
    }

    /// All layers; the result, or its tangent, where it is asked for.
    fn run<N: Value<Real = V::Real, Plain = V>>(
        &self,
        groups: &Groups,
        call: Call<V::Real>,
        directions: &[Option<&[V::Real]>],
        inner: &mut Inner<V::Real>,
        out: Option<&mut [V::Real]>,
        scratch: &mut Scratch,
    ) {
        let last = self.layers.len() - 1;
        let mut out = out;
        for k in 0..=last {
            let from = match k {
                0 => (call.inputs[0], directions.first().copied().flatten()),
                _ => inner.after[k - 1].parts::<N>(),
            };
            if k == last {
                let Some(out) = out.take() else { return };
                let to = if N::HAS_TANGENT { [None, Some(out)] } else { [Some(out), None] };
                return self.affine(k, false, groups, from, call, directions, to, scratch);
            }
            let to = inner.before[k].parts_mut::<N>();
            self.affine(k, false, groups, from, call, directions, to, scratch);
            let parameters = self.parameters(k, call, directions);
            self.nonlinearity.forward(self.widths[k + 1], parameters, &inner.before[k], &mut inner.after[k]);
        }
    }

    /// Scale and shift of layer `k`.
    fn parameters<'a>(
        &self,
        k: usize,
        call: Call<'a, V::Real>,
        directions: &[Option<&'a [V::Real]>],
    ) -> Option<[Source<'a, V::Real>; 2]> {
        let places = self.places[k];
        let source = |at: usize| Source { value: call.inputs[at], tangent: directions.get(at).copied().flatten() };
        Some([source(places.scale?), source(places.shift?)])
    }

    /// The gradients that are asked for, or their tangents.
    #[allow(clippy::too_many_arguments)]
    fn pull<N: Value<Real = V::Real, Plain = V>>(
        &self,
        groups: &Groups,
        call: Call<V::Real>,
        cotangent: &[V::Real],
        directions: &[Option<&[V::Real]>],
        inner: &Inner<V::Real>,
        bars: Wanted<V::Real>,
        scratch: &mut Scratch,
    ) {
        let rows = call.sizes.rows;
        let [mut bar, mut next, mut normed] =
            std::array::from_fn(|_| Tangents::<V::Real>::new(rows * self.widest(), N::HAS_TANGENT, scratch));
        let last = self.layers.len() - 1;
        bar.set(cotangent);
        for k in (0..=last).rev() {
            let (n_in, n_out) = (rows * self.widths[k], rows * self.widths[k + 1]);
            let places = self.places[k];
            let from = match k {
                0 => (call.inputs[0], directions.first().copied().flatten()),
                _ => inner.after[k - 1].parts::<N>(),
            };
            let this = bar.first::<N>(n_out);
            if let Some(w) = &mut bars[places.w] {
                self.pull_weights::<N>(k, groups, from, this, w, scratch);
            }
            if let Some(b) = places.b.and_then(|b| bars[b].as_deref_mut()) {
                column_sums(if N::HAS_TANGENT { this.1.unwrap_or(&[]) } else { this.0 }, b);
            }
            if k == 0 {
                if let Some(x) = &mut bars[0] {
                    let to = if N::HAS_TANGENT { [None, Some(&mut **x)] } else { [Some(&mut **x), None] };
                    self.affine(0, true, groups, this, call, directions, to, scratch);
                }
                return;
            }
            self.affine(k, true, groups, this, call, directions, next.first_mut::<N>(n_in), scratch);
            let parameters = self.parameters(k - 1, call, directions);
            let places = self.places[k - 1];
            self.nonlinearity.pull(
                self.widths[k],
                parameters,
                &inner.before[k - 1],
                [&mut next, &mut bar, &mut normed],
            );
            if let Some(at) = places.scale {
                let [scale, shift] = bars.get_disjoint_mut([at, at + 1]).expect("two places");
                let bars = [scale.as_deref_mut(), shift.as_deref_mut()];
                self.nonlinearity.pull_parameters(n_in, &next, &normed, bars);
            }
        }
    }

    fn pull_weights<N: Value<Real = V::Real, Plain = V>>(
        &self,
        k: usize,
        groups: &Groups,
        from: (&[V::Real], Option<&[V::Real]>),
        bar: (&[V::Real], Option<&[V::Real]>),
        out: &mut [V::Real],
        scratch: &mut Scratch,
    ) {
        let layer = &self.layers[k];
        let mut sum = |x: &[V::Real], y: &[V::Real], add: bool| {
            let factors = if self.transposed { [y, x] } else { [x, y] };
            layer.weights(groups, factors, add, out, scratch.again());
        };
        if !N::HAS_TANGENT {
            return sum(from.0, bar.0, false);
        }
        sum(from.0, bar.1.unwrap_or(&[]), false);
        if let Some(tangent) = from.1 {
            sum(tangent, bar.0, true);
        }
    }

    fn groups<'a>(&self, call: Call<V::Real>, scratch: &mut Scratch<'a>) -> Groups<'a> {
        Groups::new(call.sizes.rows, 1, None, scratch)
    }
}

/// Adds `b` to every row.
fn add_to_rows<T: Real>(b: &[T], rows: &mut [T]) {
    parallel::for_chunks_mut(rows, b.len() * 64, |_, rows| {
        for row in rows.chunks_mut(b.len()) {
            row.iter_mut().zip(b).for_each(|(x, &b)| *x += b);
        }
    });
}

impl<V: Value<Plain = V>> Kernel<V::Real> for MlpKernel<V> {
    fn scratch(&self, sizes: Sizes, pass: Pass, threads: usize) -> usize {
        let hidden = &self.widths[1..self.layers.len()];
        let parts = if pass == Pass::DoubleBackward { 2 } else { 1 };
        let array = |width: usize| lines::<V::Real>(sizes.rows * width) * parts;
        let inner: usize = hidden.iter().map(|&n| 2 * array(n)).sum();
        let bars = if pass == Pass::Forward { 0 } else { 3 * array(self.widest()) };
        let packed = self.layers.iter().map(|l| l.lines(threads)).max().unwrap_or(0);
        Groups::lines(sizes.rows, 1) + inner + bars + packed
    }

    fn forward(&self, call: Call<V::Real>, out: &mut [V::Real], mut scratch: Scratch) {
        let groups = self.groups(call, &mut scratch);
        let mut inner = self.inner(call.sizes.rows, false, &mut scratch);
        self.run::<V>(&groups, call, &[], &mut inner, Some(out), &mut scratch);
    }

    fn backward(&self, call: Call<V::Real>, cotangent: &[V::Real], gradients: Wanted<V::Real>, mut scratch: Scratch) {
        let groups = self.groups(call, &mut scratch);
        let mut inner = self.inner(call.sizes.rows, false, &mut scratch);
        self.run::<V>(&groups, call, &[], &mut inner, None, &mut scratch);
        self.pull::<V>(&groups, call, cotangent, &[], &inner, gradients, &mut scratch);
    }

    fn double_backward(
        &self,
        call: Call<V::Real>,
        cotangent: &[V::Real],
        directions: &[Option<&[V::Real]>],
        seconds: Wanted<V::Real>,
        mut scratch: Scratch,
    ) {
        let groups = self.groups(call, &mut scratch);
        let mut inner = self.inner(call.sizes.rows, true, &mut scratch);
        let (out, seconds) = seconds.split_last_mut().expect("that of the cotangent");
        self.run::<Dual<V>>(&groups, call, directions, &mut inner, out.as_deref_mut(), &mut scratch);
        self.pull::<Dual<V>>(&groups, call, cotangent, directions, &inner, seconds, &mut scratch);
    }
}
