//! Real spherical harmonics of directions.
//!
//! The polynomials are those of `stage::angular`. MACE renames the axes, `Y(x, y, z)` is theirs of `(z, x, y)`, and
//! normalises by `Σ_m Y_lm² = 2l + 1`.

use super::irreps::{Irreps, MAX_L};
use super::kernel::{Call, Extent, Kernel, Pass, Port, Ports, Sizes, Source, Wanted, entries};
use super::scratch::{Scratch, lines};
use crate::parallel::{self, Disjoint};
use crate::simd::{Dual, Lanes, Real, Value};
use crate::stage::angular::{Angular, n_harmonics};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Of rows `vectors`, of any length but 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Harmonics {
    pub lmax: usize,
    #[serde(default)]
    pub normalization: Normalization,
}

/// Which harmonics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalization {
    /// e3nn's: `Σ_m Y_lm² = 2l + 1`, polar axis y.
    #[default]
    Component,
    /// Orthonormal on the sphere, polar axis z: those of ACE models.
    Orthonormal,
}

impl Harmonics {
    pub(crate) fn ports(&self) -> Result<Ports> {
        if self.lmax > MAX_L {
            return Err(Error::Argument(format!("lmax: {}, expected at most {MAX_L}", self.lmax)));
        }
        let output = Port::of_irreps("out", Extent::Rows, &Irreps::harmonics(self.lmax)?);
        Ok(Ports { inputs: vec![Port::new("vectors", Extent::Rows, 3)], indices: vec![], output })
    }

    /// The place of the table's x, y and z in a row.
    pub(crate) fn axes(&self) -> [usize; 3] {
        match self.normalization {
            Normalization::Component => [2, 0, 1],
            Normalization::Orthonormal => [0, 1, 2],
        }
    }

    /// The factor of the table's harmonics.
    pub(crate) fn scale(&self) -> f64 {
        match self.normalization {
            Normalization::Component => (4.0 * std::f64::consts::PI).sqrt(),
            Normalization::Orthonormal => 1.0,
        }
    }

    pub(crate) fn kernel<V: Value<Plain = V>>(&self) -> Box<dyn Kernel<V::Real>> {
        Box::new(HarmonicsKernel::<V> {
            plain: Angular::new(self.lmax, true),
            dual: Angular::new(self.lmax, true),
            axes: self.axes(),
            scale: V::Real::of(self.scale()),
        })
    }
}

struct HarmonicsKernel<V: Lanes> {
    plain: Angular<V>,
    dual: Angular<Dual<V>>,
    axes: [usize; 3],
    scale: V::Real,
}

/// Rows that a thread takes at a time.
const ROWS: usize = 64;

impl<V: Value<Plain = V>> HarmonicsKernel<V> {
    /// The harmonics, or their tangents, where there is `out`; the gradient, or its tangent, where there is `bar`.
    fn run<N: Value<Real = V::Real, Plain = V>>(
        &self,
        angular: &Angular<N>,
        vectors: Source<V::Real>,
        cotangent: &[V::Real],
        [out, bar]: [Option<&mut [V::Real]>; 2],
        scratch: Scratch,
    ) {
        let (n_rows, n_y) = (vectors.value.len() / 3, n_harmonics(angular.lmax));
        let shares = scratch.shares(parallel::n_threads(), 2 * lines::<N>(n_y));
        let init = || {
            let mut scratch = shares.next();
            [scratch.values::<N>(n_y), scratch.values::<N>(n_y)]
        };
        let (out, bar) = (out.map(Disjoint::new), bar.map(Disjoint::new));
        parallel::for_each_init(n_rows.div_ceil(ROWS), init, |[y, y_bar], k| {
            let rows = k * ROWS..n_rows.min((k + 1) * ROWS);
            // SAFETY: every row is in one task.
            let mut out = out.as_ref().map(|out| unsafe { out.slice(rows.start * n_y, rows.len() * n_y) });
            let mut bar = bar.as_ref().map(|bar| unsafe { bar.slice(rows.start * 3, rows.len() * 3) });
            V::vectorize(
                #[inline(always)]
                || {
                    for start in rows.clone().step_by(V::N) {
                        let n = V::N.min(rows.end - start);
                        let xyz = self.vectors::<N>(vectors, start, n);
                        angular.eval(xyz, y);
                        if let Some(out) = &mut out {
                            let out = &mut out[(start - rows.start) * n_y..][..n * n_y];
                            for (lm, y) in y.iter().enumerate() {
                                let y = (y.result() * V::splat(self.scale)).to_array();
                                out.iter_mut().skip(lm).step_by(n_y).zip(y).for_each(|(out, y)| *out = y);
                            }
                        }
                        if let Some(bar) = &mut bar {
                            let o = &cotangent[start * n_y..(start + n) * n_y];
                            for (lm, y_bar) in y_bar.iter_mut().enumerate() {
                                let lanes = V::from_fn(|r| if r < n { o[r * n_y + lm] } else { V::Real::default() });
                                *y_bar = N::join(lanes * V::splat(self.scale), V::zero());
                            }
                            let g = angular.pullback(xyz, y, y_bar);
                            let bar = &mut bar[(start - rows.start) * 3..][..n * 3];
                            for (g, axis) in g.into_iter().zip(self.axes) {
                                let g = g.result().to_array();
                                bar.iter_mut().skip(axis).step_by(3).zip(g).for_each(|(bar, g)| *bar = g);
                            }
                        }
                    }
                },
            );
        });
    }

    /// The vectors of some rows, and one over their lengths.
    #[inline(always)]
    fn vectors<N: Value<Real = V::Real, Plain = V>>(&self, rows: Source<V::Real>, start: usize, n: usize) -> [N; 4] {
        let [x, y, z] = entries!(k < 3, N::zero() => {
            let tangent = if let Some(t) = rows.tangent { column(t, self.axes[k], start, n) } else { V::zero() };
            N::join(column(rows.value, self.axes[k], start, n), tangent)
        });
        let r = x.mul_add(x, y.mul_add(y, z * z)).sqrt();
        [x, y, z, N::splat(V::Real::of(1.0)).div(r)]
    }
}

/// One coordinate of some vectors; 1 where there are none.
#[inline(always)]
fn column<V: Lanes>(x: &[V::Real], axis: usize, start: usize, n: usize) -> V {
    V::from_fn(|r| if r < n { x[(start + r) * 3 + axis] } else { V::Real::of(1.0) })
}

impl<V: Value<Plain = V>> Kernel<V::Real> for HarmonicsKernel<V> {
    fn scratch(&self, _: Sizes, _: Pass, threads: usize) -> usize {
        threads * 2 * lines::<Dual<V>>(n_harmonics(self.plain.lmax))
    }

    fn forward(&self, call: Call<V::Real>, out: &mut [V::Real], scratch: Scratch) {
        self.run::<V>(&self.plain, Source::constant(call.inputs[0]), &[], [Some(out), None], scratch);
    }

    fn backward(&self, call: Call<V::Real>, cotangent: &[V::Real], gradients: Wanted<V::Real>, scratch: Scratch) {
        let results = [None, gradients[0].as_deref_mut()];
        self.run::<V>(&self.plain, Source::constant(call.inputs[0]), cotangent, results, scratch);
    }

    fn double_backward(
        &self,
        call: Call<V::Real>,
        cotangent: &[V::Real],
        directions: &[Option<&[V::Real]>],
        seconds: Wanted<V::Real>,
        scratch: Scratch,
    ) {
        let source = Source { value: call.inputs[0], tangent: directions[0] };
        let [x, out] = seconds else { unreachable!("one input and the cotangent") };
        self.run::<Dual<V>>(&self.dual, source, cotangent, [out.as_deref_mut(), x.as_deref_mut()], scratch);
    }

    fn diagnose(&self, call: Call<V::Real>) -> Option<String> {
        let short = |v: &[V::Real]| v.iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>() < 1e-37;
        call.inputs[0].chunks(3).position(short).map(|row| format!("vectors: row {row} has no direction"))
    }
}
