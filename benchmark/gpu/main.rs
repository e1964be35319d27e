//! Times the CUDA backend: a table on the screen, and `benchmark/results/gpu-<device>.csv` where that can be written.
//!
//! Arguments choose lines by parts of their names; `huge` adds 20 million atoms; `--errors` prints what each precision costs
//! in accuracy instead. Times are medians: by CUDA events where device time is meant, else by the clock on the wall.

mod errors;
#[path = "../../test/common/evaluate.rs"]
#[allow(dead_code)]
mod evaluate;
mod peaks;

use acerust::batch;
use acerust::bench::nominal_flops;
use acerust::graph::Graph;
use acerust::model::{Model, PartSpec};
use acerust::plan::{Device, Input, Neighbours, OnDevice, Outputs, Plan, Precision, Rows};
use acerust::structure::Structure;
use cudarc::driver::{CudaContext, CudaStream, DevicePtr};
use evaluate::{energy_forces_virial, matrix, site_energies};
use peaks::Peaks;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const PRECISIONS: [Precision; 3] = [Precision::F64, Precision::F32, Precision::F32_DISTANCES];

struct Bench {
    only: Vec<String>,
    lines: Vec<String>,
    stream: Arc<CudaStream>,
    peaks: Peaks,
}

fn load(path: &str) -> Model {
    let root = std::env::var("ACERUST_ROOT").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").into());
    Model::load(Path::new(&root).join(path)).expect("a benchmark model")
}

fn model(name: &str) -> Model {
    load(&format!("benchmark/models/{name}.json"))
}

/// The model without its one-body and pair parts.
fn many_body(model: &Model) -> Model {
    let mut spec = model.clone().into_spec();
    spec.parts.retain(|p| matches!(p, PartSpec::Ace(_)));
    Model::new(spec).expect("a model")
}

/// Diamond or fcc crystals near the density of the model's own training data, rattled.
fn crystal(name: &str, n: [usize; 3]) -> Structure {
    let s = match name {
        "hea_bench" => Structure::fcc(24, 3.6).repeat(n),
        _ => Structure::diamond(14, 5.43).repeat(n),
    };
    let mut s = s.rattle(0.05, 1);
    let species = model(name).species().to_vec();
    // Neighbours differ in species without any order that a cache could use.
    for (i, z) in s.numbers.iter_mut().enumerate() {
        *z = species[(i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) as usize % species.len()];
    }
    s
}

/// Medians of the times of `f` in ms, on the wall and as `f` says, after a few runs to warm up.
fn medians(mut f: impl FnMut(usize) -> f64) -> [f64; 2] {
    for k in 0..4 {
        f(k);
    }
    let start = Instant::now();
    let mut times = [Vec::new(), Vec::new()];
    while times[0].len() < 7 || (times[0].len() < 300 && start.elapsed().as_secs_f64() < 0.3) {
        let t = Instant::now();
        let own = f(times[0].len());
        times[0].push(t.elapsed().as_secs_f64() * 1e3);
        times[1].push(own);
    }
    times.map(|mut t| {
        t.sort_by(f64::total_cmp);
        t[t.len() / 2]
    })
}

/// What a line is about.
#[derive(Clone, Copy)]
struct Case<'a> {
    name: &'a str,
    precision: Precision,
    n: usize,
    /// Nominal operations of energy and forces.
    flops: f64,
}

impl Bench {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|o| name.contains(o.as_str()))
    }

    fn line(&mut self, case: &Case, what: &str, clock: &str, ms: f64) {
        let Case { name, precision, n, flops } = *case;
        let per_atom = ms * 1e3 / n as f64;
        let peak = if precision != Precision::F64 { self.peaks.f32 } else { self.peaks.f64 };
        let share = if what.starts_with("E+F+V") && clock == "device" { flops / ms * 1e-6 / peak } else { 0.0 };
        let percent = if share > 0.0 { format!("{:5.1} %", 100.0 * share) } else { String::new() };
        let precision = precision.to_string();
        println!(
            "{:<46} {precision:<5} {n:>9} {clock:<6} {ms:>10.4} ms {per_atom:>9.4} µs/atom {:>8.2} M/s {percent}",
            format!("{name}, {what}"),
            1.0 / per_atom
        );
        self.lines.push(format!("\"{name}, {what}\",{precision},{n},{clock},{ms:.5},{per_atom:.6},{share:.4}"));
    }

    /// Host arrays in and out; positions differ from call to call, so that a list without skin is built every time.
    fn host(&mut self, name: &str, model: &Model, s: &Structure, skin: f64, precision: Precision) {
        if !self.wants(name) {
            return;
        }
        let plan = Plan::new(model, Device::Cuda(0), precision).expect("a plan");
        let case = Case { name, precision, n: s.n_atoms(), flops: 0.0 };
        let moved = [s.clone(), s.clone().rattle(0.01, 2)];
        let (mut e, mut f) = (vec![0.0; case.n], vec![[0.0; 3]; case.n]);
        let mut list = plan.neighbours(skin).expect("a list");
        let [wall, _] = medians(|k| {
            site_energies(&plan, (&moved[k % 2], &mut list), &mut e).expect("energies");
            0.0
        });
        self.line(&case, "E", "wall", wall);
        let [wall, _] = medians(|k| {
            energy_forces_virial(&plan, (&moved[k % 2], &mut list), &mut e, &mut f).expect("forces");
            0.0
        });
        self.line(&case, "E+F+V", "wall", wall);
        list.set_timed(true).expect("events");
        let [_, device] = medians(|k| {
            energy_forces_virial(&plan, (&moved[k % 2], &mut list), &mut e, &mut f).expect("forces");
            list.device_milliseconds().expect("timed")
        });
        self.line(&case, "E+F+V", "device", device);
    }

    /// Positions and forces on the device.
    fn device(&mut self, name: &str, model: &Model, s: &Structure, precision: Precision) {
        if !self.wants(name) {
            return;
        }
        let plan = Plan::new(model, Device::Cuda(0), precision).expect("a plan");
        let flops = match s.n_atoms() > 2_000_000 {
            true => 0.0,
            false => nominal_flops(model, &Graph::build(s, model.rcut()).expect("a graph")),
        };
        let case = Case { name, precision, n: s.n_atoms(), flops };
        let x = self.stream.clone_htod(s.positions.as_flattened()).expect("memory");
        let f = self.stream.alloc_zeros::<f64>(3 * case.n).expect("memory");
        let at = OnDevice {
            numbers: &s.numbers,
            cell: s.cell,
            pbc: s.pbc,
            positions: x.device_ptr(&self.stream).0,
            site_energies: None,
            forces: Some(f.device_ptr(&self.stream).0),
            stream: self.stream.cu_stream() as u64,
        };
        let run = |list: &mut Neighbours, at: &OnDevice| {
            let (mut energy, mut virial) = (0.0, [[0.0; 3]; 3]);
            let mut out = Outputs::new().energy(&mut energy);
            if at.forces.is_some() {
                out = out.virial(&mut virial);
            }
            // SAFETY: the buffers hold n vectors each.
            let input = unsafe { Input::on_device(*at, list) };
            plan.evaluate(input, &mut out).expect("forces");
            list.device_milliseconds().expect("timed")
        };
        let new = |skin| {
            let mut list = plan.neighbours(skin).expect("a list");
            list.set_timed(true).expect("events");
            list
        };
        let mut list = new(0.1);
        let [wall, reused] = medians(|_| run(&mut list, &at));
        self.line(&case, "E+F+V, list reused", "wall", wall);
        self.line(&case, "E+F+V, list reused", "device", reused);
        let only = OnDevice { forces: None, ..at };
        let [_, ms] = medians(|_| run(&mut list, &only));
        self.line(&case, "E, list reused", "device", ms);
        // Without a skin the list must be built whenever the cell changes by a hair.
        drop(list);
        let mut list = new(0.0);
        let [_, built] = medians(|k| {
            let mut at = at;
            at.cell[0][0] *= 1.0 + 1e-12 * (k % 2) as f64;
            run(&mut list, &at)
        });
        let [_, exact] = medians(|_| run(&mut list, &at));
        self.line(&case, "E+F+V, list reused, no skin", "device", exact);
        self.line(&case, "list alone", "device", built - exact);
    }

    /// The same work on all threads of the processor, the list at hand.
    fn processor(&mut self, name: &str, model: &Model, s: &Structure, precision: Precision) {
        if !self.wants(name) {
            return;
        }
        let plan = Plan::new(model, Device::Cpu, precision).expect("a plan");
        let graph = plan.graph(s).expect("a graph");
        let (mut e, mut f) = (vec![0.0; s.n_atoms()], vec![[0.0; 3]; s.n_atoms()]);
        let [wall, _] = medians(|_| {
            energy_forces_virial(&plan, (&graph, &s.numbers), &mut e, &mut f).expect("forces");
            0.0
        });
        let case = Case { name, precision, n: s.n_atoms(), flops: 0.0 };
        let what = format!("E+F+V, processor, {} threads", rayon::current_num_threads());
        self.line(&case, &what, "wall", wall);
    }

    /// Design rows to the host: one structure after another, and all of them in one call.
    fn rows(&mut self, name: &str, model: &Model, structures: &[Structure], precision: Precision) {
        if !self.wants(name) {
            return;
        }
        let plan = Plan::new(model, Device::Cuda(0), precision).expect("a plan");
        let p = plan.length_basis();
        let graphs: Vec<_> = structures.iter().map(|s| plan.graph(s).expect("a graph")).collect();
        let mut outputs: Vec<_> =
            structures.iter().map(|s| (vec![0.0; p], vec![0.0; 3 * s.n_atoms() * p], vec![0.0; 6 * p])).collect();
        let case = Case { name, precision, n: structures.iter().map(Structure::n_atoms).sum(), flops: 0.0 };
        let mut time = |together: bool| {
            let [wall, _] = medians(|_| {
                let items = structures.iter().zip(&graphs).zip(&mut outputs);
                let mut items: Vec<(&Graph, &[u8], Rows)> = items
                    .map(|((s, graph), (e, f, v))| {
                        let rows = Rows::new().energy(&mut e[..]).virial(matrix(v, 6, p));
                        let rows = rows.forces(matrix(f, 3 * s.n_atoms(), p));
                        (graph, &s.numbers[..], rows)
                    })
                    .collect();
                match together {
                    true => batch::assemble(std::slice::from_ref(&plan), items).expect("rows"),
                    false => items.iter_mut().for_each(|(g, z, rows)| plan.assemble(g, z, rows).expect("rows")),
                }
                0.0
            });
            wall
        };
        let [alone, together] = [false, true].map(&mut time);
        self.line(&case, "one after another", "wall", alone);
        self.line(&case, "in one call", "wall", together);
    }

    /// Many structures in one call, lists built, on one device and on all.
    fn batch(&mut self, name: &str, model: &Model, s: &Structure, copies: usize, precision: Precision) {
        if !self.wants(name) {
            return;
        }
        let count = usize::try_from(CudaContext::device_count().expect("a number")).expect("a number");
        let plan = |d| Plan::new(model, Device::Cuda(d), precision).expect("a plan");
        let plans: Vec<_> = (0..count).map(plan).collect();
        let n = s.n_atoms();
        let structures: Vec<_> = (0..copies).map(|k| s.clone().rattle(0.01, k as u64)).collect();
        let case = Case { name, precision, n: n * copies, flops: 0.0 };
        for k in [1, count].into_iter().take(count) {
            let [wall, _] = medians(|_| {
                let start = |plan: &Plan| Ok((plan.neighbours(0.0)?, vec![0.0; n], vec![[0.0; 3]; n]));
                let one = |plan: &Plan, (list, e, f): &mut (Neighbours, Vec<f64>, Vec<[f64; 3]>), s: &Structure| {
                    energy_forces_virial(plan, (s, list), e, f).map(|r| r.0)
                };
                batch::spread(&plans[..k], structures.iter().collect(), start, one).expect("energies").len() as f64
            });
            self.line(&case, &format!("E+F+V, {copies} structures, devices: {k}"), "wall", wall);
        }
    }

    fn all(&mut self) {
        let (sio, si, hea) = (model("sio_o2"), model("si_bench"), model("hea_bench"));
        let pace = load("test/golden/pace/si-rank4.yace");
        let [s800, si1m, hea100k] = [("sio_o2", [5, 5, 4]), ("si_bench", [50, 50, 50]), ("hea_bench", [30, 30, 28])]
            .map(|(m, n)| crystal(m, n));
        let ten: Vec<_> = (0..10).map(|k| crystal("si_bench", [5, 5, 5]).rattle(0.05, k)).collect();
        for precision in PRECISIONS {
            self.host("sio_o2 ace, host, list built", &many_body(&sio), &s800, 0.0, precision);
            self.host("sio_o2 stack, host, list built", &sio, &s800, 0.0, precision);
            self.host("sio_o2 stack, host, list reused", &sio, &s800, 0.5, precision);
            for n in [[5, 5, 5], [10, 10, 13], [20, 25, 25], [50, 50, 50]] {
                self.device("si_bench", &si, &crystal("si_bench", n), precision);
            }
            self.host("si_bench, host, list reused", &si, &si1m, 0.1, precision);
            self.device("hea_bench", &hea, &hea100k, precision);
            for n in [[20, 25, 25], [50, 50, 50]] {
                self.device("pace si-rank4", &pace, &crystal("si_bench", n), precision);
            }
            self.batch("si_bench, batch", &si, &crystal("si_bench", [10, 10, 13]), 64, precision);
            if precision != Precision::F32_DISTANCES {
                self.processor("hea_bench", &hea, &hea100k, precision);
                self.rows("si_bench ace, design rows", &many_body(&si), &ten, precision);
            }
        }
        if self.only.iter().any(|o| o == "huge") {
            for precision in PRECISIONS {
                self.device("huge si_bench", &si, &crystal("si_bench", [136, 136, 136]), precision);
            }
        }
    }
}

fn main() {
    // SAFETY: asking whether the driver's library can be opened.
    if !unsafe { cudarc::driver::sys::is_culib_present() } {
        return println!("no NVIDIA driver: nothing to measure");
    }
    if std::env::args().any(|a| a == "--errors") {
        return errors::print();
    }
    let context = CudaContext::new(0).expect("a device");
    let device = context.name().expect("a name").replace(' ', "-");
    let peaks = Peaks::measure(&context);
    println!(
        "{device}: {:.0} Gflop/s f64, {:.0} f32; {:.0} GB/s in its memory, {:.1} and {:.1} GB/s from and to the host",
        peaks.f64, peaks.f32, peaks.copy, peaks.upload, peaks.download
    );
    let mut b = Bench {
        only: std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect(),
        lines: vec!["name,precision,atoms,clock,ms,us_per_atom,share_of_peak".into()],
        stream: context.new_stream().expect("a stream"),
        peaks,
    };
    b.all();
    let root = std::env::var("ACERUST_ROOT").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").into());
    let folder = Path::new(&root).join("benchmark/results");
    let file = folder.join(format!("gpu-{device}.csv"));
    if std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, b.lines.join("\n") + "\n")).is_ok() {
        println!("written to {}", file.display());
    }
}
