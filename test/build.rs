//! The builder: bases, couplings, radial functions and priors of recipes.

mod common;

#[path = "build/cases.rs"]
mod cases;
#[path = "build/golden.rs"]
mod golden_models;
#[path = "build/invariance.rs"]
mod invariance;
#[path = "build/refusals.rs"]
mod refusals;

use acerust::model::Model;
use acerust::model::spec::{AceSpec, PairSpec, PartSpec};

pub fn ace(model: &Model) -> &AceSpec {
    let mut parts = model.spec().parts.iter();
    parts.find_map(|part| if let PartSpec::Ace(ace) = part { Some(ace) } else { None }).expect("a many-body part")
}

pub fn pair(model: &Model) -> &PairSpec {
    let mut parts = model.spec().parts.iter();
    parts.find_map(|part| if let PartSpec::Pair(pair) = part { Some(pair) } else { None }).expect("a pair part")
}

/// Rows of `C`, dense over the products of their class: (first product, row).
pub struct Class {
    /// Sorted by (l, n).
    pub nl: Vec<[u32; 2]>,
    pub columns: Vec<usize>,
    pub rows: Vec<Vec<f64>>,
}

/// The classes of a basis in its order, found from `AA` and `C` alone.
pub fn classes(ace: &AceSpec) -> Vec<Class> {
    let class_of = |k: usize| {
        let mut nl: Vec<[u32; 2]> = ace.aa[k].iter().map(|&v| ace.radial.spec[ace.a[v as usize][0] as usize]).collect();
        nl.sort_unstable_by_key(|&[n, l]| [l, n]);
        nl
    };
    let mut classes: Vec<Class> = Vec::new();
    for k in 0..ace.aa.len() {
        let nl = class_of(k);
        match classes.last_mut() {
            Some(class) if class.nl == nl => class.columns.push(k),
            _ => classes.push(Class { nl, columns: vec![k], rows: vec![] }),
        }
    }
    let mut of_column = vec![0; ace.aa.len()];
    classes.iter().enumerate().for_each(|(c, class)| class.columns.iter().for_each(|&k| of_column[k] = c));
    let mut row_at: Vec<Option<(usize, usize)>> = vec![None; ace.c.shape[0]];
    for ((&row, &col), &x) in ace.c.rows.iter().zip(&ace.c.cols).zip(&ace.c.vals) {
        let c = of_column[col as usize];
        let class = &mut classes[c];
        let (at, r) = *row_at[row as usize].get_or_insert_with(|| {
            class.rows.push(vec![0.0; class.columns.len()]);
            (c, class.rows.len() - 1)
        });
        assert_eq!(at, c, "row {row} mixes classes");
        class.rows[r][col as usize - class.columns[0]] = x;
    }
    classes
}

/// An orthonormal basis of the row span.
pub fn orthonormal(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for row in rows {
        let mut v = row.clone();
        for _ in 0..2 {
            for q in &basis {
                let p = dot(q, &v);
                v.iter_mut().zip(q).for_each(|(v, q)| *v -= p * q);
            }
        }
        let norm = dot(&v, &v).sqrt();
        assert!(norm > 1e-9, "rows are dependent");
        basis.push(v.iter().map(|x| x / norm).collect());
    }
    basis
}
