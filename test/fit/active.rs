//! Active sets and grades.

use super::{Numbers, model, synthetic};
use acerust::fit::{Selector, max_volume};
use acerust::ndarray::Array2;
use acerust::plan::{ActiveSet, Device, Outputs, Plan, Precision};
use acerust::structure::Structure;
use faer::linalg::solvers::Solve;
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
    let graded = |active: &ActiveSet, s: &Structure| {
        let mut plan = Plan::new(&model, Device::Cpu, Precision::F64).unwrap();
        plan.set_active_set(Some(active.clone())).unwrap();
        let mut grades = vec![f64::NAN; s.n_atoms()];
        plan.evaluate(s, &mut Outputs::new().grade(&mut grades[..])).unwrap();
        grades
    };
    let grades = |s: &Structure| graded(&active, s);
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
    assert_eq!(graded(&again, &squeezed), grades(&squeezed));
    assert_eq!(graded(&ActiveSet::from_bytes(&active.to_bytes()).unwrap(), &squeezed), grades(&squeezed));
    for bytes in [&b"PK"[..], &active.to_bytes()[..200]] {
        assert!(ActiveSet::from_bytes(bytes).unwrap_err().to_string().starts_with("fit: active set: "));
    }
    let mut few = Selector::new(&plan);
    few.push(&plan, &structures[..1]).unwrap();
    assert!(few.finish().unwrap_err().to_string().contains("independent rows"));
}

/// The definition, γ = max |c| where c Â = B, one atom after another.
#[test]
fn grades_are_those_of_the_definition() {
    let model = model();
    let mut plan = Plan::new(&model, Device::Cpu, Precision::F64).unwrap();
    let structures: Vec<Structure> = synthetic(&model, 60).0.into_iter().map(|f| f.structure).collect();
    let rows = |s: &Structure| {
        let mut rows = Array2::zeros((s.n_atoms(), plan.n_basis()));
        plan.evaluate(s, &mut Outputs::new().descriptors(rows.view_mut())).unwrap();
        rows
    };
    let mut selector = Selector::new(&plan);
    selector.push(&plan, &structures).unwrap();
    let (z, n) = (structures[0].numbers[0], plan.n_basis());
    let of_element: Vec<f64> = structures
        .iter()
        .flat_map(|s| {
            let rows = rows(s);
            let atoms = (0..s.n_atoms()).filter(|&i| s.numbers[i] == z);
            atoms.flat_map(|i| rows.row(i).to_vec()).collect::<Vec<_>>()
        })
        .collect();
    let all = MatRef::from_row_major_slice(&of_element, of_element.len() / n, n);
    let chosen = max_volume(all).unwrap();
    let active = Mat::from_fn(n, n, |i, j| all[(chosen[j], i)]);
    let other = structures[7].clone();
    let (mut grades, mut known) = (vec![f64::NAN; other.n_atoms()], rows(&other));
    let expected = known.clone();
    plan.set_active_set(Some(selector.finish().unwrap())).unwrap();
    known.fill(f64::NAN);
    plan.evaluate(&other, &mut Outputs::new().grade(&mut grades[..]).descriptors(known.view_mut())).unwrap();
    assert_eq!(known, expected);
    for i in (0..other.n_atoms()).filter(|&i| other.numbers[i] == z) {
        let b = Mat::from_fn(n, 1, |j, _| expected[(i, j)]);
        let c = active.partial_piv_lu().solve(b);
        let grade = c.col(0).iter().fold(0.0, |g: f64, x| g.max(x.abs()));
        assert!((grades[i] - grade).abs() < 1e-6 * grade, "{} {grade}", grades[i]);
    }
}

#[test]
fn active_sets_belong_to_a_basis() {
    let model = model();
    let plan = Plan::new(&model, Device::Cpu, Precision::F64).unwrap();
    let structures: Vec<Structure> = synthetic(&model, 60).0.into_iter().map(|f| f.structure).collect();
    let mut selector = Selector::new(&plan);
    selector.push(&plan, &structures).unwrap();
    let active = selector.finish().unwrap();
    let other = acerust::model::Model::load("benchmark/models/sio_o2.json").unwrap();
    let mut plan = Plan::new(&other, Device::Cpu, Precision::F64).unwrap();
    let error = plan.set_active_set(Some(active)).unwrap_err().to_string();
    assert!(error.starts_with("argument: the active set is that of another model: "), "{error}");
    let mut grades = vec![0.0; structures[0].n_atoms()];
    let error = plan.evaluate(&structures[0], &mut Outputs::new().grade(&mut grades[..])).unwrap_err().to_string();
    assert_eq!(error, "argument: grade: the plan has no active set");
}
