//! Calls that repeat are replayed as one graph; whatever changes is noticed.

use crate::*;

#[test]
fn repeated_calls_are_replayed_and_changes_are_noticed() {
    if !device() {
        return;
    }
    let model = benchmark("sio_o2");
    for (precision, tolerance) in [(Precision::F64, 1e-12), (Precision::F32, 1e-6)] {
        let mut gpu = plan(&model, precision);
        let mut s = random(&model, 300, [true; 3], 5);
        let mut list = gpu.neighbours(0.4).unwrap();
        // What a list that knows nothing of the past gives.
        let fresh = |gpu: &Plan, s: &Structure| evaluate(gpu, &mut gpu.neighbours(0.0).unwrap(), s);
        let check = |what: &str, gpu: &Plan, list: &mut Neighbours, s: &Structure| {
            for _ in 0..3 {
                let (found, expected) = (evaluate(gpu, list, s), fresh(gpu, s));
                assert_close(&format!("{what}: energies"), &found.1, &expected.1, tolerance);
                assert_close(&format!("{what}: forces"), found.2.as_flattened(), expected.2.as_flattened(), tolerance);
                assert_close(&format!("{what}: virial"), found.3.as_flattened(), expected.3.as_flattened(), tolerance);
            }
        };
        check("at first", &gpu, &mut list, &s);
        let replays = list.replays();
        assert!(replays >= 1, "{replays} replays");
        for k in 0..10 {
            s = s.rattle(0.01, k);
            check("small moves", &gpu, &mut list, &s);
        }
        assert!(list.replays() >= replays + 28, "{} replays", list.replays());
        for row in &mut s.cell {
            row.iter_mut().for_each(|x| *x *= 1.02);
        }
        check("another cell", &gpu, &mut list, &s);
        s.numbers.swap(0, 1);
        s.numbers.swap(3, 5);
        check("other species", &gpu, &mut list, &s);
        s.numbers.pop();
        s.positions.pop();
        check("fewer atoms", &gpu, &mut list, &s);
        let large = random(&model, 2000, [true; 3], 6);
        check("more atoms", &gpu, &mut list, &large);
        check("fewer atoms again", &gpu, &mut list, &s);
        s.pbc = [true, false, true];
        check("another periodicity", &gpu, &mut list, &s);
        s.pbc = [true; 3];
        let other: Vec<f64> = model.linear_parameters().iter().map(|w| 0.7 * w).collect();
        gpu.set_linear_parameters(&other).unwrap();
        check("other parameters", &gpu, &mut list, &s);
        // Energies alone, in between.
        let mut e = vec![f64::NAN; s.n_atoms()];
        for _ in 0..3 {
            site_energies(&gpu, (&s, &mut list), &mut e).unwrap();
            assert_close("energies alone", &e, &fresh(&gpu, &s).1, tolerance.max(1e-5));
        }
        // A list outlives its plan; the kernels of the next plan are others.
        drop(gpu);
        let gpu = plan(&model, precision);
        check("another plan", &gpu, &mut list, &s);
    }
}
