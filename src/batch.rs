//! Many structures over one plan or several, for instance one for each device.

use crate::graph::Graph;
use crate::parallel;
use crate::plan::{Conditions, Device, Outputs, Plan, Rows, Virial};
use crate::potential::total;
use crate::structure::Structure;
use crate::{Error, Result};
use ndarray::{Array2, s};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Structures at a time on a CUDA device: while one is copied another is computed.
const AT_A_TIME: usize = 4;
/// Atoms that go to a CUDA device together, about: enough to fill it, few enough that the neighbours of some are found while others are
/// evaluated.
const TOGETHER: usize = 1 << 13;
/// Structures of up to so many atoms are each for one thread.
const SMALL: usize = 256;
/// What structures that go to a device together may be asked for.
const JOINED: [&str; 5] = ["energy", "site_energies", "forces", "virial", "descriptors"];

/// A structure of a batch, and what is wanted of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Item<'a> {
    pub structure: &'a Structure,
    /// Nothing said: those of the plan.
    pub conditions: Conditions,
    pub outputs: Outputs<'a>,
}

impl<'a> Item<'a> {
    pub fn new(structure: &'a Structure, outputs: Outputs<'a>) -> Item<'a> {
        Item { structure, conditions: Conditions::new(), outputs }
    }

    /// Under a head, a charge or a spin of its own.
    pub fn at(self, conditions: Conditions) -> Item<'a> {
        Item { conditions, ..self }
    }
}

/// Evaluates many structures, each for its own outputs.
///
/// On processors threads take structures; results are those of [`Plan::evaluate`] to the last bit. A CUDA device has many structures in one
/// sequence of launches, as many as it takes to be busy and its memory holds, those with the same conditions together; they do not know of each other, and
/// results are the same every time.
///
/// ```
/// # use acerust::{batch::{self, Item}, model::Model, plan::{Device, Outputs, Plan, Precision}, structure::Structure};
/// # let model = Model::load("benchmark/models/si_fit.json")?;
/// # let plan = Plan::new(&model, Device::Cpu, Precision::F64)?;
/// let crystals: Vec<_> = (0..9).map(|seed| Structure::diamond(14, 5.47).rattle(0.05, seed)).collect();
/// let (mut energies, mut forces) = (vec![0.0; 9], vec![[[0.0; 3]; 8]; 9]);
/// let outputs = energies.iter_mut().zip(&mut forces).map(|(e, f)| Outputs::new().energy(e).forces(&mut f[..]));
/// let mut items: Vec<_> = crystals.iter().zip(outputs).map(|(s, outputs)| Item::new(s, outputs)).collect();
/// batch::evaluate(&plan, &mut items)?;
/// # assert_eq!(energies[3], plan.energy(&crystals[3])?);
/// # Ok::<(), acerust::Error>(())
/// ```
///
/// # Errors
/// As [`Plan::evaluate`] and [`Plan::at`], with the number of a structure that fails; outputs of others may have been written then.
pub fn evaluate(plan: &Plan, items: &mut [Item]) -> Result<()> {
    let mut plans: HashMap<Conditions, Plan> = HashMap::new();
    for (k, item) in items.iter().enumerate() {
        let name = |e: Error| e.of(format_args!("structure {k}"));
        plan.check_outputs(item.structure, &item.outputs).map_err(name)?;
        if item.conditions != Conditions::new() && !plans.contains_key(&item.conditions) {
            plans.insert(item.conditions.clone(), plan.at(&item.conditions).map_err(name)?);
        }
    }
    let numbered = items.iter_mut().enumerate().map(|(number, item)| Numbered { number, item });
    let mut groups: HashMap<Conditions, Vec<Numbered>> = HashMap::new();
    if plan.device() == Device::Cpu {
        let mut all: Vec<Numbered> = numbered.collect();
        return on_threads(&mut all, |item| plans.get(&item.conditions).unwrap_or(plan));
    }
    numbered.for_each(|n| groups.entry(n.item.conditions.clone()).or_default().push(n));
    // In the order of their first structures.
    let mut groups: Vec<Vec<Numbered>> = groups.into_values().collect();
    groups.sort_by_key(|group| group[0].number);
    groups.iter_mut().try_for_each(|group| together(plans.get(&group[0].item.conditions).unwrap_or(plan), group))
}

/// An item and its place in the batch.
struct Numbered<'a, 'b> {
    number: usize,
    item: &'a mut Item<'b>,
}

impl Numbered<'_, '_> {
    fn named<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|e| e.of(format_args!("structure {}", self.number)))
    }

    fn evaluate(&mut self, plan: &Plan) -> Result<()> {
        let done = plan.evaluate(self.item.structure, &mut self.item.outputs);
        self.named(done)
    }
}

/// # Errors
/// That of the first structure that fails.
fn on_threads<'p>(items: &mut [Numbered], plan: impl Fn(&Item) -> &'p Plan + Sync) -> Result<()> {
    let first: Mutex<Option<(usize, Error)>> = Mutex::new(None);
    parallel::for_each_mut(items, |_, n| {
        let own = plan(n.item);
        let done = match n.item.structure.n_atoms() <= SMALL {
            true => parallel::alone(|| n.evaluate(own)),
            false => n.evaluate(own),
        };
        if let Err(error) = done {
            let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
            if first.as_ref().is_none_or(|(number, _)| n.number < *number) {
                *first = Some((n.number, error));
            }
        }
    });
    let first = first.into_inner().unwrap_or_else(PoisonError::into_inner);
    first.map_or(Ok(()), |(_, error)| Err(error))
}

/// Structures under the same conditions, on a device.
fn together(plan: &Plan, items: &mut [Numbered]) -> Result<()> {
    let others = |n: &Numbered| n.item.outputs.wanted().iter().any(|name| !JOINED.contains(name));
    if items.iter().any(others) {
        return items.iter_mut().try_for_each(|n| n.evaluate(plan));
    }
    let (mut pieces, mut rest) = (Vec::new(), items);
    while !rest.is_empty() {
        let mut atoms = 0;
        let more = rest.iter().take_while(|n| {
            let before = atoms;
            atoms += n.item.structure.n_atoms();
            before == 0 || atoms <= TOGETHER
        });
        let (piece, others) = rest.split_at_mut(more.count());
        pieces.push(piece);
        rest = others;
    }
    // One after another, so that the device has work while the neighbours of the next are looked for.
    let searching = Mutex::new(());
    let one = |plan: &Plan, (): &mut (), piece: &mut [Numbered]| {
        let turn = searching.lock().unwrap_or_else(PoisonError::into_inner);
        let graphs = graphs(plan, piece)?;
        drop(turn);
        as_one(plan, piece, &graphs)
    };
    match parallel::n_threads() {
        1 => pieces.into_iter().try_for_each(|piece| one(plan, &mut (), piece)),
        _ => spread(std::slice::from_ref(plan), pieces, |_| Ok(()), one).map(drop),
    }
}

fn graphs(plan: &Plan, items: &[Numbered]) -> Result<Vec<Graph>> {
    let graphs = parallel::map(items, |n| match n.item.structure.n_atoms() <= SMALL {
        true => parallel::alone(|| plan.graph(n.item.structure)),
        false => plan.graph(n.item.structure),
    });
    items.iter().zip(graphs).map(|(n, graph)| n.named(graph)).collect()
}

/// One graph, or several where the device has not the memory.
fn as_one(plan: &Plan, items: &mut [Numbered], graphs: &[Graph]) -> Result<()> {
    let wants = |f: fn(&Outputs) -> bool| items.iter().any(|n| f(&n.item.outputs));
    let (forces, virials) = (wants(|out| out.forces.is_some()), wants(|out| out.virial.is_some()));
    let descriptors = wants(|out| out.descriptors.is_some());
    let [atoms, edges] = [Graph::n_atoms, Graph::n_edges].map(|count| graphs.iter().map(count).sum::<usize>());
    if items.len() > 1 && !plan.fits(AT_A_TIME * atoms, AT_A_TIME * edges, forces || virials) {
        let half = items.len() / 2;
        let (a, b) = items.split_at_mut(half);
        return as_one(plan, a, &graphs[..half]).and_then(|()| as_one(plan, b, &graphs[half..]));
    }
    let mut first = vec![0];
    graphs.iter().for_each(|g| first.push(first[first.len() - 1] + g.n_atoms()));
    let numbers: Vec<u8> = items.iter().flat_map(|n| &n.item.structure.numbers).copied().collect();
    let mut joined = Joined {
        site_energies: vec![0.0; atoms],
        forces: vec![[0.0; 3]; if forces { atoms } else { 0 }],
        virials: vec![Virial::default(); if virials { items.len() } else { 0 }],
        descriptors: Array2::zeros((atoms, if descriptors { plan.n_descriptors() } else { 0 })),
    };
    let done = Graph::side_by_side(graphs).and_then(|graph| {
        let mut out = Outputs::new().site_energies(&mut joined.site_energies[..]);
        if forces {
            out = out.forces(&mut joined.forces[..]);
        }
        if descriptors {
            out = out.descriptors(&mut joined.descriptors);
        }
        plan.evaluate_joined((&graph, &numbers), &first, &mut joined.virials, &mut out)
    });
    if done.is_err() {
        // One of them is at fault, and says so alone.
        return items.iter_mut().try_for_each(|n| n.evaluate(plan));
    }
    for (k, (n, ends)) in items.iter_mut().zip(first.windows(2)).enumerate() {
        joined.hand_out(k, ends[0]..ends[1], &mut n.item.outputs);
    }
    Ok(())
}

/// Results of structures side by side; empty where nobody wants them.
struct Joined {
    site_energies: Vec<f64>,
    forces: Vec<[f64; 3]>,
    virials: Vec<Virial>,
    descriptors: Array2<f64>,
}

impl Joined {
    /// Those of structure `k` with these atoms.
    fn hand_out(&self, k: usize, atoms: std::ops::Range<usize>, out: &mut Outputs) {
        let energies = &self.site_energies[atoms.clone()];
        out.energy.iter_mut().for_each(|e| **e = total(energies));
        out.site_energies.iter_mut().for_each(|v| v.assign(&ndarray::aview1(energies)));
        out.forces.iter_mut().for_each(|v| v.assign(&ndarray::aview2(&self.forces[atoms.clone()])));
        out.virial.iter_mut().for_each(|v| v.assign(&ndarray::aview2(&self.virials[k])));
        out.descriptors.iter_mut().for_each(|v| v.assign(&self.descriptors.slice(s![atoms.clone(), ..])));
    }
}

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
