//! Many structures over one plan or several, for instance one for each device.

use crate::Result;
use crate::graph::Graph;
use crate::plan::{Device, Plan, Rows};
use std::sync::{Mutex, PoisonError};

/// Structures at a time on a CUDA device: while one is copied another is computed.
const AT_A_TIME: usize = 4;

/// Calls `f` with every item and a plan that is free, and returns the results in the order of the items.
///
/// A CUDA device has four items at a time, each on a thread of its own with a state of its own, made by `start` (a
/// neighbour list, for instance); the processor has one, which has all its threads.
///
/// # Errors
/// That of the first item in order which failed; others may not have been tried then.
///
/// # Panics
/// If `plans` is empty.
pub fn spread<T: Send, S, R: Send>(
    plans: &[Plan],
    items: Vec<T>,
    start: impl Fn(&Plan) -> Result<S> + Sync,
    f: impl Fn(&Plan, &mut S, T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    assert!(!plans.is_empty(), "no plan to spread over");
    let mut results: Vec<Option<Result<R>>> = items.iter().map(|_| None).collect();
    let queue = Mutex::new(items.into_iter().zip(&mut results));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    // An item fails with a state that could not be made.
    let work = |plan: &Plan| {
        let mut state = None;
        while let Some((item, result)) = next() {
            let run = || {
                let state = match &mut state {
                    Some(state) => state,
                    none => none.insert(start(plan)?),
                };
                f(plan, state, item)
            };
            let done = result.insert(run());
            if done.is_err() {
                while next().is_some() {}
            }
        }
    };
    std::thread::scope(|scope| {
        for plan in plans {
            let n = if plan.device() == Device::Cpu { 1 } else { AT_A_TIME };
            (0..n).for_each(|_| drop(scope.spawn(|| work(plan))));
        }
    });
    results.into_iter().flatten().collect()
}

/// As [`Plan::assemble`] for many structures: graph, atomic numbers and design rows of each.
///
/// # Errors
/// As [`spread`] and [`Plan::assemble`].
pub fn assemble(plans: &[Plan], structures: Vec<(&Graph, &[u8], Rows)>) -> Result<()> {
    let assemble = |plan: &Plan, (): &mut (), (graph, numbers, mut rows): (&Graph, &[u8], Rows)| {
        plan.assemble(graph, numbers, &mut rows)
    };
    spread(plans, structures, |_| Ok(()), assemble).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::model::Model;
    use crate::plan::Precision;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn plans(n: usize) -> Vec<Plan> {
        let json = std::fs::read_to_string("benchmark/models/sio_o2.json").expect("a model");
        let mut spec = Model::from_json(json).expect("a model").into_spec();
        spec.parts.retain(|p| p.kind() == "onebody");
        let model = Model::new(spec).expect("a model");
        (0..n).map(|_| Plan::new(&model, Device::Cpu, Precision::F64).expect("a plan")).collect()
    }

    #[test]
    fn results_keep_the_order_of_the_items() {
        let plans = plans(2);
        let states = AtomicUsize::new(0);
        let start = |_: &Plan| Ok(states.fetch_add(1, Ordering::Relaxed));
        let squares = spread(&plans, (0..100).collect(), start, |_, _, k: u32| Ok(k * k)).unwrap();
        assert_eq!(squares, (0..100).map(|k| k * k).collect::<Vec<_>>());
        assert!(states.into_inner() <= 2);
        assert!(spread(&plans, Vec::<u32>::new(), |_| Ok(()), |_, (), k| Ok(k)).unwrap().is_empty());
    }

    #[test]
    fn every_plan_has_its_share() {
        let plans = plans(2);
        // Neither item ends before both have begun.
        let both = std::sync::Barrier::new(2);
        let address = |plan: &Plan, (): &mut (), ()| {
            both.wait();
            Ok(std::ptr::from_ref(plan).addr())
        };
        let found = spread(&plans, vec![(); 2], |_| Ok(()), address).unwrap();
        assert_ne!(found[0], found[1]);
    }

    #[test]
    fn the_first_error_in_order_is_returned() {
        let plans = plans(1);
        let tried = AtomicUsize::new(0);
        let f = |_: &Plan, (): &mut (), k: u32| {
            tried.fetch_add(1, Ordering::Relaxed);
            if k == 3 { Err(Error::Argument(format!("item {k}"))) } else { Ok(k) }
        };
        let message = spread(&plans, (0..100).collect(), |_| Ok(()), f).unwrap_err().to_string();
        assert_eq!((message.as_str(), tried.into_inner()), ("argument: item 3", 4));
        let fails = |_: &Plan| Err::<(), _>(Error::Device("no list".into()));
        let message = spread(&plans, vec![1], fails, |_, (), k: i32| Ok(k)).unwrap_err().to_string();
        assert_eq!(message, "device: no list");
    }
}
