//! The same input gives the same bits: for any number of threads, in any company, after anything else.

use super::cases::Case;
use super::models::random_model;
use super::results::{Order, Results, jacobian, results, rows};
use super::structures;
use acerust::plan::Plan;
use acerust::structure::Structure;

fn large(numbers: &[u8]) -> Structure {
    structures::bulk(9, numbers).repeat([5, 6, 4]).rattle(0.1, 4)
}

fn everything(plan: &Plan, s: &Structure) -> (Results, Vec<f64>, Vec<f64>, [Vec<f64>; 3]) {
    let graph = plan.graph(s).unwrap();
    let (basis, jacobian) = jacobian(plan, &graph, &s.numbers);
    let rows = rows(plan, &graph, &s.numbers, Order::ColMajor, 1, 6);
    (results(plan, s), basis, jacobian, rows)
}

pub fn any_number_of_threads(cases: &[Case]) {
    for seed in [1, 4] {
        let model = random_model(seed);
        let (small, large) = (structures::all(seed, model.species()), large(model.species()));
        for case in cases {
            let plan = case.plan(&model);
            let run = || {
                let all: Vec<_> = small.iter().map(|(_, s)| everything(&plan, s)).collect();
                (all, results(&plan, &large))
            };
            let reference = run();
            for threads in [1, 2, 3, 5] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                assert!(pool.install(run) == reference, "{}: {threads} threads", case.label());
            }
        }
    }
}

/// A plan that has seen a large system treats a small one as a fresh plan does.
pub fn used_memory(cases: &[Case]) {
    for seed in [1, 5] {
        let model = random_model(seed);
        let large = large(model.species());
        let small = structures::all(seed, model.species());
        for case in cases {
            let used = case.plan(&model);
            results(&used, &large);
            everything(&used, &small[4].1);
            for (name, s) in &small {
                let fresh = case.plan(&model);
                let expected = everything(&fresh, s);
                assert!(everything(&used, s) == expected, "{}: {name}", case.label());
                assert!(everything(&used, s) == expected, "{}: {name}, again", case.label());
            }
        }
    }
}

/// One plan, four threads, different structures.
pub fn concurrent_calls(cases: &[Case]) {
    let model = random_model(1);
    let small = structures::all(2, model.species());
    for case in cases {
        let plan = case.plan(&model);
        let expected: Vec<_> = small.iter().map(|(_, s)| everything(&plan, s)).collect();
        std::thread::scope(|scope| {
            for t in 0..4 {
                let (plan, small, expected) = (&plan, &small, &expected);
                scope.spawn(move || {
                    for k in 0..10 {
                        let k = (k + t) % small.len();
                        assert!(everything(plan, &small[k].1) == expected[k], "{}: thread {t}", case.label());
                    }
                });
            }
        });
    }
}
