//! Active sets and grades.

use super::{Numbers, model, synthetic};
use acerust::fit::{ActiveSet, Selector, max_volume};
use acerust::plan::{Device, Plan, Precision};
use acerust::structure::Structure;
use faer::{Mat, MatRef};

fn volume(rows: MatRef<f64>, chosen: &[usize]) -> f64 {
    let n = rows.ncols();
    Mat::from_fn(n, n, |i, j| rows[(chosen[i], j)]).determinant().abs()
}

#[test]
fn small_sets_have_nearly_the_largest_volume() {
    for seed in 0..20 {
        let (m, n) = (9, 3);
        let numbers = Numbers(seed).rows(m, n);
        let rows = MatRef::from_row_major_slice(&numbers, m, n);
        let mut largest = 0.0_f64;
        for a in 0..m {
            for b in 0..a {
                (0..b).for_each(|c| largest = largest.max(volume(rows, &[a, b, c])));
            }
        }
        let chosen = max_volume(rows).unwrap();
        let found = volume(rows, &chosen);
        // No single swap makes it larger by more than the tolerance; all of them together hardly do.
        for place in 0..n {
            for i in 0..m {
                let mut other = chosen.clone();
                other[place] = i;
                assert!(volume(rows, &other) <= 1.0011 * found, "seed {seed}");
            }
        }
        assert!(found > 0.7 * largest, "seed {seed}: {found} of {largest}");
    }
}

#[test]
fn dependent_rows_are_refused() {
    let mut numbers = Numbers(1).rows(20, 4);
    assert!(max_volume(MatRef::from_row_major_slice(&numbers[..12], 3, 4)).is_none());
    numbers.chunks_mut(4).for_each(|row| row[3] = row[0] - row[1]);
    assert!(max_volume(MatRef::from_row_major_slice(&numbers, 20, 4)).is_none());
    numbers.chunks_mut(4).for_each(|row| row[3] = 0.0);
    assert!(max_volume(MatRef::from_row_major_slice(&numbers, 20, 4)).is_none());
}

#[test]
fn what_was_trained_on_is_graded_up_to_one() {
    let model = model();
    let plan = Plan::new(&model, Device::Cpu, Precision::F64).unwrap();
    let structures: Vec<Structure> = synthetic(&model, 60).0.into_iter().map(|f| f.structure).collect();
    let mut selector = Selector::new(&plan);
    selector.push(&plan, &structures).unwrap();
    let active = selector.finish().unwrap();
    let grades = |s: &Structure| active.grades(&plan, &plan.graph(s).unwrap(), s).unwrap();
    let mut ones = 0;
    for s in &structures {
        for g in grades(s) {
            assert!(g <= 1.0015, "{g}");
            ones += usize::from(g > 0.9985);
        }
    }
    // The active rows themselves.
    assert!(ones >= 2 * plan.n_basis(), "{ones}");
    let mut squeezed = structures[5].clone();
    squeezed.positions[1] = std::array::from_fn(|k| squeezed.positions[0][k] + [1.1, 0.3, 0.0][k]);
    assert!(grades(&squeezed)[0] > 5.0, "{:?}", grades(&squeezed));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.asi");
    active.save(&path).unwrap();
    let again = ActiveSet::load(&path).unwrap();
    assert_eq!(again.grades(&plan, &plan.graph(&squeezed).unwrap(), &squeezed).unwrap(), grades(&squeezed));
    let mut few = Selector::new(&plan);
    few.push(&plan, &structures[..1]).unwrap();
    assert!(few.finish().unwrap_err().to_string().contains("independent rows"));
}
