//! Spherical harmonics on a device (`kernels/ops/harmonics.cu`): a thread has a vector.

use super::cuda::rowwise::THREADS;
use super::cuda::source::Source;
use super::harmonics::Harmonics;
use super::spec::Spec;
use crate::simd::{Lanes, Portable};
use crate::stage::angular::{Angular, n_harmonics};
use std::fmt::Write;

type One = Portable<f64, 2>;

/// Of a block, whose rows are in shared memory once.
pub(crate) fn threads(lmax: usize) -> usize {
    [THREADS, 64].into_iter().find(|threads| threads * n_harmonics(lmax) <= 128 * 36).unwrap_or(32)
}

/// What `harmonics.cuh` needs but `N_Y`: harmonics up to `lmax`, of which the first one is `first`.
pub(crate) fn define(source: &mut Source, lmax: usize, first: f64) {
    let angular = Angular::<One>::new(lmax, true);
    source.define("LMAX", lmax).define("Y_FIRST", format!("{first:e}"));
    source.table("real", "TOP", angular.top.iter().map(|x| format!("{x:e}")));
    let rows: Vec<Vec<String>> =
        angular.recursion.iter().map(|r| r.iter().map(|x| format!("{x:e}")).collect()).collect();
    source.rows("real", "RECURSION", &rows);
    source.define("GRADIENT(TERM)", gradient(lmax));
}

/// `∂_d Y_b = Σ c Y_a` of solid harmonics as `TERM(d, c, b, a)`: what the processor's pullback does to single numbers.
fn gradient(lmax: usize) -> String {
    let angular = Angular::<One>::new(lmax, false);
    let n = n_harmonics(lmax);
    let unit = |k: usize| -> Vec<One> { (0..n).map(|q| One::splat(f64::from(u8::from(q == k)))).collect() };
    let mut text = String::new();
    for (b, a) in (1..n).flat_map(|b| (0..n).map(move |a| (b, a))) {
        let pulled = angular.pullback([One::splat(1.0); 4], &unit(a), &unit(b));
        for (d, c) in pulled.map(|c| c.to_array()[0]).into_iter().enumerate().filter(|(_, c)| *c != 0.0) {
            write!(text, " TERM({d}, {c:e}, {b}, {a})").expect("writing to a string");
        }
    }
    text
}

pub(crate) fn source(op: &Harmonics, spec: &Spec) -> String {
    let mut source = Source::checked(spec.storage);
    let y00 = Angular::<One>::new(0, true).y00;
    define(&mut source, op.lmax, op.scale() * y00);
    let [x, y, z] = op.axes();
    source
        .define("N_Y", n_harmonics(op.lmax))
        .define("AXIS_0", x)
        .define("AXIS_1", y)
        .define("AXIS_2", z)
        .define("THREADS", threads(op.lmax));
    source.finish(&[include_str!("../../kernels/ops/harmonics.cuh"), include_str!("../../kernels/ops/harmonics.cu")])
}
