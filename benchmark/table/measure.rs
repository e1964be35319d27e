//! Times of one model on one structure.

use crate::machine;
use crate::row::Row;
use crate::structures::crystal;
use crate::{evaluate, model_file, naive};
use acerust::bench::nominal_flops;
use acerust::graph::Graph;
use acerust::model::Model;
use acerust::model::spec::{AceSpec, PartSpec};
use acerust::plan::{Device, Isa, Plan, Precision};
use acerust::structure::Structure;
use cpu_time::ThreadTime;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::arch::asm;
use std::collections::BTreeSet;
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Quantity {
    Energy,
    Forces,
    Single,
    Rows,
    List,
    Whole,
}

/// Nominal operations an atom, energy and forces, as other codes' figures were related to them: thousands.
const PEERS: [(&str, f64); 4] = [("si_2_8", 16.7), ("si_3_10", 22.7), ("si_bench", 37.7), ("si_3_16", 89.0)];

pub fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool")
}

type Task<'a> = Box<dyn FnMut() + Send + 'a>;

/// A row for each number of threads, which take `seconds` each.
pub fn measure(
    series: &str,
    name: &str,
    s: &Structure,
    threads: &[usize],
    quantities: &[Quantity],
    seconds: f64,
) -> Vec<Row> {
    let model = Model::load(model_file(name)).expect("a benchmark model");
    let plans = [Precision::F64, Precision::F32].map(|p| Plan::new(&model, Device::Cpu, p).expect("a plan"));
    let graph = plans[0].graph(s).expect("a graph");
    let task = |q| task(q, &plans, &graph, s);
    let times: Vec<f64> = match series {
        "copies" => threads.iter().map(|&n| copies(n, || task(quantities[0]), seconds)).collect(),
        _ => {
            let pools: Vec<ThreadPool> = threads.iter().map(|&n| pool(n)).collect();
            let tasks = pools.iter().flat_map(|pool| quantities.iter().map(move |&q| (pool, task(q))));
            let clock = if series == "threads" { Clock::Wall } else { Clock::Processor };
            shortest(tasks.collect(), clock, seconds * threads.len() as f64)
        }
    };
    let n = s.n_atoms() as f64;
    let naive = quantities.contains(&Quantity::Energy).then(|| reference(&model, &plans[0]));
    let ace = model.spec().parts.iter().find_map(|p| if let PartSpec::Ace(ace) = p { Some(ace) } else { None });
    let ace = ace.expect("a many-body part");
    let row = |(&threads, times): (&usize, &[f64])| {
        let time = |q| quantities.iter().position(|&x| x == q).map(|k| short(times[k] * 1e6 / n));
        Row {
            series: series.into(),
            model: name.into(),
            order: ace.order(),
            degree: degree(ace),
            species: s.numbers.iter().collect::<BTreeSet<_>>().len(),
            atoms: s.n_atoms(),
            neighbours: short(graph.n_edges() as f64 / n),
            threads,
            isa: format!("{:?}", Isa::detect()),
            energy: time(Quantity::Energy),
            forces: time(Quantity::Forces).expect("forces are always measured"),
            forces_f32: time(Quantity::Single),
            rows: time(Quantity::Rows),
            list: time(Quantity::List),
            whole: time(Quantity::Whole),
            naive,
            kflop: short(nominal_flops(&model, &graph) / n * 1e-3),
            kflop_peers: PEERS.iter().find(|p| p.0 == name && series != "neighbours").map(|p| p.1),
            peak: 0.0,
            peak_f32: 0.0,
        }
    };
    threads.iter().zip(times.chunks(quantities.len())).map(row).collect()
}

/// One evaluation of a quantity, with its results.
fn task<'a>(quantity: Quantity, plans: &'a [Plan; 2], graph: &'a Graph, s: &'a Structure) -> Task<'a> {
    let n = s.n_atoms();
    let [double, single] = plans;
    let mut sites = vec![0.0; n];
    let mut forces = vec![[0.0; 3]; n];
    let mut evaluate = move |plan: &Plan, graph: &Graph| {
        evaluate::energy_forces_virial(plan, (graph, &s.numbers), &mut sites, &mut forces).expect("energy and forces");
    };
    let list = || double.graph(s).expect("a graph");
    match quantity {
        Quantity::Energy => {
            let mut sites = vec![0.0; n];
            Box::new(move || {
                evaluate::site_energies(double, (graph, &s.numbers), &mut sites).expect("energies");
            })
        }
        Quantity::Forces => Box::new(move || evaluate(double, graph)),
        Quantity::Single => Box::new(move || evaluate(single, graph)),
        Quantity::List => Box::new(move || drop(list())),
        Quantity::Whole => Box::new(move || evaluate(double, &list())),
        Quantity::Rows => {
            let columns = double.length_basis();
            let mut data = [1, 3 * n, 9].map(|rows| vec![0.0; rows * columns]);
            Box::new(move || {
                let [e, f, v] = &mut data;
                evaluate::design_rows(double, graph, &s.numbers, e, f, v).expect("rows");
            })
        }
    }
}

/// On one thread time of the processor, in which other programs do not take part; else time on the wall.
#[derive(Clone, Copy)]
enum Clock {
    Processor,
    Wall,
}

impl Clock {
    /// How long a turn of one task is: a few calls, after which it has its caches.
    fn turn(self) -> Duration {
        match self {
            Clock::Processor => TURN,
            Clock::Wall => 4 * TURN,
        }
    }

    /// Seconds that `task` takes.
    fn time(self, task: &mut Task) -> f64 {
        let (processor, wall) = (ThreadTime::now(), Instant::now());
        task();
        let elapsed = match self {
            Clock::Processor => processor.elapsed(),
            Clock::Wall => wall.elapsed(),
        };
        elapsed.as_secs_f64()
    }
}

const TURN: Duration = Duration::from_millis(15);

/// The shortest time of each task. They take turns, so that a disturbance meets all; a turn is long enough for the
/// task to find its caches again.
fn shortest(mut tasks: Vec<(&ThreadPool, Task)>, clock: Clock, seconds: f64) -> Vec<f64> {
    let mut best = vec![f64::INFINITY; tasks.len()];
    tasks.iter_mut().for_each(|(pool, task)| pool.install(task));
    let (start, mut turns) = (Instant::now(), 0);
    while turns < 3 || start.elapsed().as_secs_f64() < seconds {
        for ((pool, task), best) in tasks.iter_mut().zip(&mut best) {
            let turn = Instant::now();
            pool.install(|| {
                while turn.elapsed() < clock.turn() {
                    *best = clock.time(task).min(*best);
                }
            });
        }
        turns += 1;
    }
    best
}

/// Seconds a task where `working` of the machine's processors do one after another at the same time and share nothing: what
/// they do beside each other. Others take their place turn by turn, since another machine's work may hold one up; the best turn.
fn copies<'a>(working: usize, task: impl Fn() -> Task<'a> + Sync, seconds: f64) -> f64 {
    let n = machine::cores();
    let turns = (seconds / TURN.as_secs_f64()).ceil() as usize;
    let rates: Vec<_> = (0..turns.max(n)).map(|_| Mutex::new(0.0)).collect();
    let meet = Barrier::new(n);
    let copy = |k: usize| {
        let mut task = task();
        task();
        let mut turn = |(t, rate): (usize, &Mutex<f64>)| {
            meet.wait();
            if (t + k) % n >= working {
                return;
            }
            let (start, mut tasks) = (Instant::now(), 0);
            while start.elapsed() < TURN {
                task();
                tasks += 1;
            }
            *rate.lock().expect("a rate") += f64::from(tasks) / start.elapsed().as_secs_f64();
        };
        pool(1).install(|| rates.iter().enumerate().for_each(&mut turn));
    };
    thread::scope(|scope| (0..n).for_each(|k| drop(scope.spawn(move || copy(k)))));
    1.0 / rates.into_iter().map(|rate| rate.into_inner().expect("a rate")).fold(0.0, f64::max)
}

/// How many times as many additions of integers in registers `n` threads do as one. Nothing but the cores bounds them.
pub fn additions(n: usize, seconds: f64) -> f64 {
    let task = || -> Task {
        Box::new(|| {
            // As many chains as a core adds at once. The comment is an instruction to the compiler, which has to do each sum before it.
            let mut sums = [0_u64; 6];
            for _ in 0..10_000 {
                for sum in &mut sums {
                    *sum += 1;
                    // SAFETY: a comment.
                    unsafe { asm!("/* {0} */", inout(reg) * sum, options(nomem, nostack, preserves_flags)) }
                }
            }
        })
    };
    copies(1, task, seconds) / copies(n, task, seconds)
}

/// µs an atom of the naive reference, on one conventional cell; its energy has to be the same.
fn reference(model: &Model, plan: &Plan) -> f64 {
    let cell = crystal(&model.spec().name, 1);
    let start = ThreadTime::now();
    let answer = naive::evaluate(model.spec(), &cell);
    let time = short(start.elapsed().as_secs_f64() * 1e6 / cell.n_atoms() as f64);
    let energy = plan.energy(&cell).expect("an energy");
    let error = (energy - answer.energy()).abs();
    assert!(error < 1e-9 * answer.scale.site_energy, "{}: the energy is wrong by {error} eV", model.spec().name);
    time
}

/// The largest `Σ n + 1.5 l` of a product.
fn degree(ace: &AceSpec) -> f64 {
    let level = |&v: &u32| {
        let [n, l] = ace.radial.spec[ace.a[v as usize][0] as usize];
        f64::from(n) + 1.5 * f64::from(l)
    };
    ace.c.cols.iter().map(|&k| ace.aa[k as usize].iter().map(level).sum()).fold(0.0, f64::max)
}

/// Four digits: what a time is worth.
pub fn short(x: f64) -> f64 {
    format!("{x:.3e}").parse().expect("a number")
}
