//! What basis functions are made of, how smooth their parameters are to be, and splines in place of polynomials.

use super::buffer;
use super::model::{MODELS, acerust_model};
use super::status::{Failure, Result, guard};
use crate::build::Prior;
use crate::build::prior::labels;
use crate::model::Model;

/// `Σ (l / wl)^p + (n / wn)^p` over the factors of a basis function.
pub const ACERUST_PRIOR_ALGEBRAIC: i32 = 0;
/// `exp Σ (l / wl + n / wn)`
pub const ACERUST_PRIOR_EXPONENTIAL: i32 = 1;
/// `exp Σ ((l / wl)² + (n / wn)²)`
pub const ACERUST_PRIOR_GAUSSIAN: i32 = 2;

/// The factors of every basis function that has linear parameters, in the order of the columns of the site basis. A result whose pointer is
/// null is not wanted.
///
/// @param first (n_basis + 1) offsets: the factors of function b are first[b] … first[b + 1] − 1.
/// @param factors (first[n_basis], 2), row-major: n from 1 and l of the radial functions. A pair function has one factor, n and 0.
/// @return `ACERUST_ERROR_ARGUMENT` for a wrong length; each must be the number of entries as given here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_model_basis_labels(
    model: *const acerust_model,
    first: *mut usize,
    n_first: usize,
    factors: *mut u32,
    n_factors: usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let (offsets, pairs) = flat_labels(&*MODELS.get(model)?);
        if !first.is_null() {
            buffer::output("first", first, n_first, offsets.len())?.copy_from_slice(&offsets);
        }
        if !factors.is_null() {
            buffer::output("factors", factors, n_factors, pairs.len())?.copy_from_slice(&pairs);
        }
        Ok(())
    })
}

/// The offsets and the numbers of `acerust_model_basis_labels`.
pub fn flat_labels(model: &Model) -> (Vec<usize>, Vec<u32>) {
    let (mut offsets, mut pairs) = (vec![0], vec![]);
    for class in model.spec().parts.iter().flat_map(labels) {
        pairs.extend(class.as_flattened());
        offsets.push(pairs.len() / 2);
    }
    (offsets, pairs)
}

/// The logarithm of the diagonal `Γ` of a smoothness prior: `Γ θ` is what a regularised fit keeps small.
///
/// @param kind `ACERUST_PRIOR_…`.
/// @param p The power of the algebraic prior; others pass over it.
/// @param wl,wn Above 0.
/// @param diagonal (n_params); `length` must be n_params.
/// @return `ACERUST_ERROR_ARGUMENT` for another kind, for weights or a power that are not above 0, and for a wrong length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_model_log_prior(
    model: *const acerust_model,
    kind: i32,
    p: f64,
    wl: f64,
    wn: f64,
    diagonal: *mut f64,
    length: usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let model = MODELS.get(model)?;
        let found = log_prior(&model, kind, [p, wl, wn])?;
        buffer::output("diagonal", diagonal, length, found.len())?.copy_from_slice(&found);
        Ok(())
    })
}

/// What `acerust_model_log_prior` finds.
///
/// # Errors
/// Those that it names.
pub fn log_prior(model: &Model, kind: i32, [p, wl, wn]: [f64; 3]) -> Result<Vec<f64>> {
    let prior = match kind {
        ACERUST_PRIOR_ALGEBRAIC => Prior::Algebraic { p, wl, wn },
        ACERUST_PRIOR_EXPONENTIAL => Prior::Exponential { wl, wn },
        ACERUST_PRIOR_GAUSSIAN => Prior::Gaussian { wl, wn },
        other => return Err(Failure::argument(format!("prior {other} is none of ACERUST_PRIOR_…"))),
    };
    prior.check().map_err(Failure::argument)?;
    Ok(prior.log_diagonal(model))
}

/// The model with natural cubic splines in place of radial polynomials; splines stay as they are.
///
/// @param nodes Of each spline, 2 to 10 000.
/// @param out The new model; to be freed with `acerust_model_free`.
/// @return `ACERUST_ERROR_ARGUMENT` for another number of nodes, for too many of them, and for functions that are no polynomials.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_model_splinify(
    model: *const acerust_model,
    nodes: usize,
    out: *mut *mut acerust_model,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let out = buffer::result("out", out)?;
        MODELS.insert(crate::build::splinify(&*MODELS.get(model)?, nodes)?, out);
        Ok(())
    })
}
