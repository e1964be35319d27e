//! Memory and time: nothing is allocated after warm-up, little is needed for an atom, and atoms cost the same in any number.

#[path = "common/evaluate.rs"]
#[allow(dead_code)]
mod evaluate;

use acerust::graph::Graph;
use acerust::model::Model;
use acerust::plan::{Device, Plan, Precision};
use acerust::structure::Structure;
use evaluate::{energy_forces_virial, site_energies};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// Counts allocations, and the bytes that live at once.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// One test at a time.
static TURN: Mutex<()> = Mutex::new(());

// SAFETY: all memory is the system's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        PEAK.fetch_max(LIVE.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn model(name: &str) -> Model {
    let path = format!("{}/benchmark/models/{name}.json", env!("CARGO_MANIFEST_DIR"));
    Model::from_json(std::fs::read_to_string(path).unwrap()).unwrap()
}

fn silicon(n: usize) -> Structure {
    // As near to n atoms as whole cells of 8 come.
    let side = (n as f64 / 8.0).cbrt().round() as usize;
    Structure::diamond(14, 5.43).repeat([side; 3]).rattle(0.05, 1)
}

fn on_one_thread<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(f)
}

struct Outputs {
    sites: Vec<f64>,
    forces: Vec<[f64; 3]>,
}

impl Outputs {
    fn new(graph: &Graph) -> Outputs {
        Outputs { sites: vec![0.0; graph.n_centres()], forces: vec![[0.0; 3]; graph.n_atoms()] }
    }

    fn evaluate(&mut self, plan: &Plan, graph: &Graph, numbers: &[u8]) {
        energy_forces_virial(plan, (graph, numbers), &mut self.sites, &mut self.forces).unwrap();
    }
}

#[test]
fn nothing_is_allocated_after_warm_up() {
    let _turn = TURN.lock().unwrap_or_else(|e| e.into_inner());
    for (name, number) in [("si_bench", 14), ("hea_bench", 26), ("sio_o2", 14)] {
        for precision in [Precision::F64, Precision::F32] {
            let plan = Plan::new(&model(name), Device::Cpu, precision).unwrap();
            let (small, large) = (silicon(64), silicon(1000));
            on_one_thread(|| {
                let systems = [small, large].map(|s| {
                    let graph = plan.graph(&s).unwrap();
                    (vec![number; s.n_atoms()], Outputs::new(&graph), graph)
                });
                let mut systems = systems;
                for _ in 0..2 {
                    systems.iter_mut().for_each(|(numbers, out, graph)| out.evaluate(&plan, graph, numbers));
                }
                let before = ALLOCATIONS.load(Relaxed);
                for _ in 0..20 {
                    systems.iter_mut().for_each(|(numbers, out, graph)| {
                        out.evaluate(&plan, graph, numbers);
                        site_energies(&plan, (&*graph, &*numbers), &mut out.sites).unwrap();
                    });
                }
                let allocations = ALLOCATIONS.load(Relaxed) - before;
                assert_eq!(allocations, 0, "{name}, {precision}: allocations in 80 calls");
            });
        }
    }
}

/// Bytes at the peak of an evaluation beyond graph, structure, plan and outputs, per atom.
fn bytes_per_atom(n: usize, precision: Precision) -> f64 {
    let plan = Plan::new(&model("si_bench"), Device::Cpu, precision).unwrap();
    let s = silicon(n);
    let graph = plan.graph(&s).unwrap();
    let mut out = Outputs::new(&graph);
    PEAK.store(LIVE.load(Relaxed), Relaxed);
    let before = LIVE.load(Relaxed);
    on_one_thread(|| out.evaluate(&plan, &graph, &s.numbers));
    (PEAK.load(Relaxed) - before) as f64 / s.n_atoms() as f64
}

#[test]
fn an_atom_takes_less_than_a_kibibyte() {
    let _turn = TURN.lock().unwrap_or_else(|e| e.into_inner());
    for precision in [Precision::F64, Precision::F32] {
        let bytes = bytes_per_atom(8000, precision);
        println!("{precision}: {bytes:.0} bytes per atom");
        assert!(bytes < 1024.0, "{precision}: {bytes:.0} bytes per atom");
    }
}

#[test]
#[ignore = "takes minutes, and a quiet machine"]
fn large_systems_cost_as_much_per_atom_as_small_ones() {
    let _turn = TURN.lock().unwrap_or_else(|e| e.into_inner());
    for precision in [Precision::F64, Precision::F32] {
        println!("{precision}: {:.0} bytes per atom of 100 000", bytes_per_atom(100_000, precision));
        let plan = Plan::new(&model("si_bench"), Device::Cpu, precision).unwrap();
        let mut systems = [1000, 4000, 16_000, 50_000, 100_000].map(|n| {
            let s = silicon(n);
            let graph = plan.graph(&s).unwrap();
            (Outputs::new(&graph), graph, s.numbers)
        });
        let mut times = [f64::INFINITY; 5];
        // Sizes take turns, so that what else the machine does disturbs all of them.
        on_one_thread(|| {
            for _ in 0..12 {
                for (time, (out, graph, numbers)) in times.iter_mut().zip(&mut systems) {
                    let n = numbers.len();
                    for _ in 0..(20_000 / n).max(1) {
                        let start = Instant::now();
                        out.evaluate(&plan, graph, numbers);
                        *time = time.min(1e6 * start.elapsed().as_secs_f64() / n as f64);
                    }
                }
            }
        });
        println!("{precision}: {times:.3?} µs per atom of 1000 … 100 000");
        let (low, high) = times.iter().fold((f64::INFINITY, 0.0f64), |(a, b), &t| (a.min(t), b.max(t)));
        assert!(high <= 1.15 * low, "{precision}: from {low:.3} to {high:.3} µs per atom");
    }
}
