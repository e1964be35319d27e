//! Labels of basis functions, priors and splines across the ABI.

use crate::call::*;
use crate::common::golden;
use acerust::build::{self, Prior, prior};
use acerust::model::PartSpec;
use acerust::model::spec::FunctionsSpec;

#[test]
fn labels() {
    let expected = golden("sio_o3").model;
    let handle = model(&expected);
    let n_basis = expected.n_basis();
    let mut first = vec![99; n_basis + 1];
    ok!(acerust_model_basis_labels(handle.0, first.as_mut_ptr(), first.len(), null_mut(), 0));
    let n = first[n_basis];
    let mut factors = vec![99; 2 * n];
    ok!(acerust_model_basis_labels(handle.0, null_mut(), 0, factors.as_mut_ptr(), factors.len()));
    // Pair functions count up; a function of the many-body part has the factors of each of its products.
    let n_pair = expected.spec().parts[1].n_basis();
    assert!((0..n_pair).all(|b| first[b] == b && factors[2 * b..2 * b + 2] == [b as u32 + 1, 0]));
    let PartSpec::Ace(ace) = &expected.spec().parts[2] else { panic!("the third part is many-body") };
    for (&row, &col) in ace.c.rows.iter().zip(&ace.c.cols) {
        let b = n_pair + row as usize;
        let mut of_product: Vec<_> =
            ace.aa[col as usize].iter().map(|&v| ace.radial.spec[ace.a[v as usize][0] as usize]).collect();
        let mut listed = factors[2 * first[b]..2 * first[b + 1]].as_chunks::<2>().0.to_vec();
        of_product.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, of_product);
    }
    let message = format!("argument: first: expected a length of {}, got 3", n_basis + 1);
    fails!(ACERUST_ERROR_ARGUMENT, message, acerust_model_basis_labels(handle.0, first.as_mut_ptr(), 3, null_mut(), 0));
    let message = format!("argument: factors: expected a length of {}, got 1", 2 * n);
    fails!(
        ACERUST_ERROR_ARGUMENT,
        message,
        acerust_model_basis_labels(handle.0, null_mut(), 0, factors.as_mut_ptr(), 1)
    );
}

#[test]
fn priors() {
    let expected = golden("sio_o3").model;
    let handle = model(&expected);
    let mut found = vec![0.0; expected.length_basis()];
    let (p, wl, wn) = (3.0, 0.7, 1.5);
    for (kind, prior) in [
        (ACERUST_PRIOR_ALGEBRAIC, Prior::Algebraic { p, wl, wn }),
        (ACERUST_PRIOR_EXPONENTIAL, Prior::Exponential { wl, wn }),
        (ACERUST_PRIOR_GAUSSIAN, Prior::Gaussian { wl, wn }),
    ] {
        ok!(acerust_model_log_prior(handle.0, kind, p, wl, wn, found.as_mut_ptr(), found.len()));
        assert_eq!(found, prior.log_diagonal(&expected));
    }
    // SAFETY: the length is that of the vector.
    let mut call = |kind, p, wl, wn| unsafe {
        acerust_model_log_prior(handle.0, kind, p, wl, wn, found.as_mut_ptr(), found.len())
    };
    fails!(ACERUST_ERROR_ARGUMENT, "argument: prior 3 is none of ACERUST_PRIOR_…", call(3, 1.0, 1.0, 1.0));
    fails!(ACERUST_ERROR_ARGUMENT, "argument: wl is 0, not above 0", call(0, 1.0, 0.0, 1.0));
    fails!(ACERUST_ERROR_ARGUMENT, "argument: wn is inf, not above 0", call(1, 1.0, 1.0, f64::INFINITY));
    fails!(ACERUST_ERROR_ARGUMENT, "argument: p is NaN, not above 0", call(0, f64::NAN, 1.0, 1.0));
    ok!(call(1, f64::NAN, 1.0, 1.0));
}

#[test]
fn labels_are_those_of_the_prior() {
    let model = golden("sio_o3").model;
    let ln = Prior::Exponential { wl: 1.0, wn: 1.0 }.log_diagonal(&model);
    let mut k = 0;
    for part in &model.spec().parts {
        for _ in part.weights() {
            for class in prior::labels(part) {
                assert_eq!(ln[k], f64::from(class.iter().flatten().sum::<u32>()));
                k += 1;
            }
        }
    }
    assert_eq!(k, ln.len());
}

#[test]
fn splines() {
    let expected = golden("sio_o3").model;
    let handle = model(&expected);
    let mut out = null_mut();
    ok!(acerust_model_splinify(handle.0, 200, &mut out));
    let splined = OwnedModel(out);
    // SAFETY: `text` passes pointers and lengths that fit.
    let json = text(|buffer, n, needed| unsafe { acerust_model_to_json(splined.0, buffer.cast(), n, needed) });
    let splined = acerust::model::Model::from_json(json).unwrap();
    assert_eq!(splined, build::splinify(&expected, 200).unwrap());
    assert_eq!(build::splinify(&splined, 50).unwrap(), splined);
    assert_eq!(splined.linear_parameters(), expected.linear_parameters());
    for part in &splined.spec().parts {
        let radial = match part {
            PartSpec::Pair(pair) => &pair.radial,
            PartSpec::Ace(ace) => &ace.radial,
            _ => continue,
        };
        assert!(matches!(&radial.functions, FunctionsSpec::Spline { tables } if tables[0].values.len() == 200));
    }
    for nodes in [1, 10_001] {
        // SAFETY: a place for a handle.
        let status = unsafe { acerust_model_splinify(handle.0, nodes, &mut out) };
        assert_eq!(status, ACERUST_ERROR_ARGUMENT);
        assert!(last_error().starts_with(&format!("argument: {nodes} nodes are not in 2 … 10000")), "{}", last_error());
    }
}
