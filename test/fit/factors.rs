//! Factors against all rows at once, in any order and split.

use super::{Numbers, assemble, model, synthetic};
use crate::common::assert_close;
use acerust::fit::{self, Factor, Factors, Settings, Solver, System};
use acerust::npz;
use serde_json::{Value, json};
use std::io::Cursor;

/// `AᵀA`, (n, n).
fn gram(rows: &[f64], n: usize) -> Vec<f64> {
    let mut gram = vec![0.0; n * n];
    for row in rows.chunks(n) {
        (0..n * n).for_each(|k| gram[k] += row[k / n] * row[k % n]);
    }
    gram
}

fn gram_of(factor: &Factor) -> Vec<f64> {
    let (rows, n) = (factor.to_rows(), factor.n_columns());
    gram(&(0..rows.nrows() * n).map(|k| rows[(k / n, k % n)]).collect::<Vec<_>>(), n)
}

#[test]
fn a_factor_has_the_products_of_its_rows() {
    for (m, n) in [(1, 1), (5, 3), (3, 5), (1000, 7), (700, 65), (901, 150), (400, 301)] {
        let mut rows = Numbers(m as u64).rows(m, n);
        // A column without data, and one that repeats another.
        if n > 4 {
            rows.chunks_mut(n).for_each(|row| (row[2], row[4]) = (0.0, row[1]));
        }
        let mut factor = Factor::new(n);
        let mut split = Factor::new(n);
        factor.push(&rows);
        rows.chunks(13 * n).for_each(|some| split.push(some));
        let expected = gram(&rows, n);
        for (name, f) in [("one", &factor), ("split", &split)] {
            assert_eq!(f.rows(), m as u64);
            assert_close(&format!("{name}: {m} × {n}"), &gram_of(f), &expected, 1e-13);
            if let Some(t) = f.triangle() {
                assert!((0..n).all(|j| (j + 1..n).all(|i| t[(i, j)] == 0.0)), "no triangle: {m} × {n}");
            }
            let x = Numbers(9).rows(1, n);
            let dot = |row: &[f64]| row.iter().zip(&x).map(|(a, b)| a * b).sum::<f64>().powi(2);
            assert_close("squares", &[f.squares(&x)], &[rows.chunks(n).map(dot).sum()], 1e-12);
        }
    }
}

/// Rows of crystals without forces: rounding, squares of it, numbers that are not even normal.
#[test]
fn tiny_numbers_do_no_harm() {
    let n = 70;
    for scale in [1e-150, 1e-160, 1e-300, 1e-310, 5e-324] {
        let mut rows = Numbers(2).rows(400, n);
        for (k, row) in rows.chunks_mut(n).enumerate() {
            row.iter_mut().skip(1).step_by(2).for_each(|x| *x *= if k % 3 == 0 { scale } else { 0.0 });
        }
        let mut factor = Factor::new(n);
        rows.chunks(150 * n).for_each(|some| factor.push(some));
        assert!(gram_of(&factor).iter().all(|x| x.is_finite()), "{scale}");
        assert_close(&scale.to_string(), &gram_of(&factor), &gram(&rows, n), 1e-13);
    }
}

/// Squares of which overflow or underflow; all of them are scaled alike.
#[test]
fn all_sizes_are_factorised_alike() {
    let (m, n) = (300, 60);
    let rows = Numbers(4).rows(m, n);
    let triangle = |scale: f64| {
        let mut factor = Factor::new(n);
        factor.push(&rows.iter().map(|x| x * scale).collect::<Vec<_>>());
        let t = factor.triangle().unwrap();
        (0..n * n).map(|k| t[(k / n, k % n)] / scale).collect::<Vec<_>>()
    };
    for scale in [1e-200, 1e-140, 1e140, 1e200] {
        assert_close(&scale.to_string(), &triangle(scale), &triangle(1.0), 1e-12);
    }
}

#[test]
fn merging_is_associative_and_commutative() {
    let n = 130;
    let parts: Vec<Factor> = [700, 3, 129, 500, 1, 260]
        .iter()
        .map(|&m| {
            let mut factor = Factor::new(n);
            factor.push(&Numbers(m as u64).rows(m, n));
            factor
        })
        .collect();
    let merge = |order: &[usize]| {
        let mut all = Factor::new(n);
        order.iter().for_each(|&k| all.merge(&parts[k]));
        all
    };
    let expected = merge(&[0, 1, 2, 3, 4, 5]);
    let mut tree = merge(&[5, 1]);
    tree.merge(&merge(&[4, 0, 2]));
    tree.merge(&parts[3]);
    for other in [merge(&[5, 4, 3, 2, 1, 0]), merge(&[1, 4, 0, 5, 2, 3]), tree] {
        assert_eq!(other.rows(), expected.rows());
        assert_close("merged", &gram_of(&other), &gram_of(&expected), 1e-13);
    }
}

#[test]
fn one_thread_or_many() {
    let (m, n) = (1500, 300);
    let rows = Numbers(1).rows(m, n);
    let factor = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut factor = Factor::new(n);
            factor.push(&rows);
            factor.to_rows()
        })
    };
    let (one, three) = (factor(1), factor(3));
    assert!((0..n).all(|j| (0..one.nrows()).all(|i| one[(i, j)] == three[(i, j)])));
}

/// The parameters of `min |A x − y|² + λ²|x|²` by a dense factorisation of all rows, with reflections one by one.
fn dense(rows: &[f64], n: usize, lambda: f64) -> Vec<f64> {
    let mut a: Vec<Vec<f64>> = rows.chunks(n + 1).map(<[f64]>::to_vec).collect();
    a.extend((0..n).map(|k| (0..=n).map(|j| if j == k { lambda } else { 0.0 }).collect()));
    for k in 0..n {
        let norm = a[k..].iter().map(|row| row[k] * row[k]).sum::<f64>().sqrt().copysign(a[k][k]);
        let mut v: Vec<f64> = a[k..].iter().map(|row| row[k]).collect();
        v[0] += norm;
        let vv: f64 = v.iter().map(|x| x * x).sum();
        for j in k..=n {
            let dot: f64 = v.iter().zip(&a[k..]).map(|(v, row)| v * row[j]).sum();
            v.iter().zip(&mut a[k..]).for_each(|(v, row)| row[j] -= 2.0 * dot / vv * v);
        }
    }
    let mut x = vec![0.0; n];
    for k in (0..n).rev() {
        let known: f64 = (k + 1..n).map(|j| a[k][j] * x[j]).sum();
        x[k] = (a[k][n] - known) / a[k][k];
    }
    x
}

#[test]
fn ridge_is_the_dense_solution() {
    for (m, n, lambda) in [(200, 30, 0.0), (500, 90, 0.1), (20, 40, 0.3)] {
        let rows = Numbers(5).rows(m, n + 1);
        let mut factor = Factor::new(n + 1);
        factor.push(&rows);
        let mut system = System::new(n);
        system.add(&factor, 1.0, &vec![0.0; n], &[]);
        let solution = Solver::Ridge { lambda, absolute: true }.solve(&system).unwrap();
        assert_close("parameters", &solution.phi, &dense(&rows, n, lambda), 1e-10);
    }
}

#[test]
fn shards_files_and_orders_give_the_same_parameters() {
    let model = model();
    let (frames, _) = synthetic(&model, 24);
    let settings = Settings { solver: Solver::Ridge { lambda: 1e-4, absolute: false }, ..Settings::default() };
    let whole = assemble(&model, &settings, &frames);
    let expected = fit::solve(&whole, &settings).unwrap().model.linear_parameters();
    let folder = tempfile::tempdir().unwrap();
    let shards: Vec<_> = (0..3)
        .map(|k| {
            let path = folder.path().join(format!("{k}.npz"));
            assemble(&model, &settings, frames.iter().skip(k).step_by(3)).save(&path).unwrap();
            path
        })
        .collect();
    for order in [[0, 1, 2], [2, 0, 1]] {
        let mut merged = Factors::new(&model);
        order.iter().for_each(|&k| merged.merge(&Factors::load(&shards[k]).unwrap()).unwrap());
        assert_eq!(merged.frames, 24);
        assert_eq!(merged.groups["a"].frames + merged.groups["b"].frames, 24);
        let found = fit::solve(&merged, &settings).unwrap().model.linear_parameters();
        assert_close("parameters", &found, &expected, 1e-9);
    }
    let path = folder.path().join("whole.npz");
    whole.save(&path).unwrap();
    let again = Factors::load(&path).unwrap();
    assert_eq!(fit::solve(&again, &settings).unwrap().model.linear_parameters(), expected);
    // Half the frames, a file, the other half.
    let first = assemble(&model, &settings, &frames[..11]);
    first.save(&path).unwrap();
    let mut assembler = fit::Assembler::resume(Factors::load(&path).unwrap(), &settings).unwrap();
    frames[11..].iter().for_each(|f| assembler.push(f.clone()).unwrap());
    let found = fit::solve(&assembler.finish().unwrap(), &settings).unwrap().model.linear_parameters();
    assert_close("resumed", &found, &expected, 1e-9);
}

#[test]
fn files_that_are_damaged_are_refused() {
    let model = model();
    let (frames, _) = synthetic(&model, 3);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.npz");
    assemble(&model, &Settings::default(), &frames).save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let mut numbers = Numbers(1);
    for k in 0..60 {
        let mut damaged = bytes.clone();
        if k % 2 == 0 {
            damaged.truncate((numbers.draw().abs() * bytes.len() as f64) as usize);
        } else {
            let at = (numbers.draw().abs() * (bytes.len() - 1) as f64) as usize;
            damaged[at] ^= 1 << (k % 8);
        }
        std::fs::write(&path, &damaged).unwrap();
        // A flipped bit of a number is caught by the archive's checksum.
        let loaded = Factors::load(&path);
        assert!(loaded.is_err() || damaged == bytes || k % 2 == 1, "cut to {} bytes", damaged.len());
    }
}

/// Counts that nobody has counted to, and fewer rows than there are.
#[test]
fn headers_that_lie_are_refused() {
    let model = model();
    let (frames, _) = synthetic(&model, 3);
    let factors = assemble(&model, &Settings::default(), &frames);
    let (bytes, n) = (factors.to_bytes(), factors.n_columns());
    let altered = |at: &str, value: Value| {
        let mut old = npz::Reader::new(Cursor::new(&bytes), "old").unwrap();
        let mut new = npz::Writer::new(Cursor::new(Vec::new()));
        for name in old.names() {
            if name == "header" {
                let mut header: Value = serde_json::from_slice(&old.bytes(&name).unwrap()).unwrap();
                *header.pointer_mut(at).unwrap_or_else(|| panic!("no {at}")) = value.clone();
                let header = header.to_string();
                new.start(&name, "|u1", &[header.len()]).unwrap();
                new.write(header.bytes().map(|b| [b])).unwrap();
            } else {
                let numbers = old.matrix(&name, n).unwrap();
                new.start(&name, "<f8", &[numbers.len() / n, n]).unwrap();
                new.write(numbers.iter().map(|x| x.to_le_bytes())).unwrap();
            }
        }
        Factors::from_bytes(&new.finish().unwrap().into_inner(), "new")
    };
    assert_eq!(altered("/frames", json!(3)).unwrap().to_bytes(), bytes);
    for (at, value, message) in [
        ("/frames", json!(u64::MAX), "counts to 18446744073709551615"),
        ("/groups/0/frames", json!(u64::MAX), "counts to"),
        ("/groups/0/atoms", json!(u64::MAX), "counts to"),
        ("/groups/0/rows", json!(vec![u64::MAX; 4]), "counts to"),
        ("/groups/0/rows", json!(vec![0; 4]), "the factor of group 0, energy, is damaged"),
        ("/isolated/0", json!([0.0, u64::MAX]), "counts to"),
        ("/remarks/duplicates", json!(u64::MAX), "counts to"),
        ("/remarks/skipped", json!({ "none": [u64::MAX, 0] }), "counts to"),
    ] {
        let error = altered(at, value).unwrap_err().to_string();
        assert!(error.starts_with("fit: new: ") && error.contains(message), "{at}: {error}");
    }
}
