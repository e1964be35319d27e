//! Functions of distances on a device (`kernels/ops/radial.cu`): a thread has a distance.

use super::cuda::rowwise::THREADS;
use super::cuda::source::{Source, list};
use super::radial::{Radial, RadialBasis, Transform};
use super::spec::Spec;

pub(crate) fn source(op: &Radial, spec: &Spec) -> String {
    let mut source = Source::checked(spec.storage);
    for (k, name) in ["IDENTITY", "CONSTANT", "BESSEL", "GAUSSIAN", "CHEBYSHEV"].iter().enumerate() {
        source.define(name, k);
    }
    for (k, name) in ["NO_TRANSFORM", "AGNESI", "SOFT"].iter().enumerate() {
        source.define(name, k);
    }
    let basis = match op.basis {
        RadialBasis::Identity => "IDENTITY",
        RadialBasis::Constant => "CONSTANT",
        RadialBasis::Bessel { .. } => "BESSEL",
        RadialBasis::Gaussian { .. } => "GAUSSIAN",
        RadialBasis::Chebyshev { .. } => "CHEBYSHEV",
    };
    let (transform, parameters) = match &op.transform {
        None => ("NO_TRANSFORM", vec![]),
        Some(Transform::Agnesi { a, q, p, .. }) => ("AGNESI", vec![*a, *q, *p]),
        Some(Transform::Soft { alpha, .. }) => ("SOFT", vec![*alpha]),
    };
    let number = |x: f64| format!("{x:e}");
    source.define("BASIS", basis).define("TRANSFORM", transform);
    source.define("PARAMETERS", format!("{{{}}}", list(parameters.into_iter().map(number))));
    source.define("N", op.n_functions()).define("R_MAX", number(op.r_max)).define("SCALE", number(op.scale()));
    source.define("CUTOFF", op.cutoff.unwrap_or(0)).define("THREADS", THREADS);
    source.table("double", "WEIGHT", (0..op.n_functions()).map(|k| number(op.weight(k))));
    // A table without entries cannot be.
    source.table("double", "RADIUS", op.radii().unwrap_or(&[]).iter().copied().chain([0.0]).map(number));
    source.finish(&[include_str!("../../kernels/ops/radial.cu")])
}
