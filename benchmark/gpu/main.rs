//! Times the CUDA backend: a table on the screen, and `benchmark/results/gpu-<device>.csv` where that can be written.
//! Arguments choose lines by parts of their names.

use acerust::matrix::MatrixMut;
use acerust::model::{Model, PartSpec};
use acerust::plan::{Device, Neighbours, OnDevice, Plan, Precision, Rows};
use acerust::structure::Structure;
use cudarc::driver::{CudaContext, CudaStream, DevicePtr};
use rayon::prelude::*;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

struct Bench {
    only: Vec<String>,
    lines: Vec<String>,
    stream: Arc<CudaStream>,
}

fn model(name: &str) -> Model {
    let root = std::env::var("ACERUST_ROOT").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").into());
    Model::load(Path::new(&root).join(format!("benchmark/models/{name}.json"))).expect("a benchmark model")
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

/// Median of the times of `f` in ms, after two runs to warm up.
fn median(mut f: impl FnMut(usize)) -> f64 {
    f(0);
    f(1);
    let start = Instant::now();
    let mut times = Vec::new();
    while times.len() < 5 || (times.len() < 200 && start.elapsed().as_secs_f64() < 0.4) {
        let t = Instant::now();
        f(times.len());
        times.push(t.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

impl Bench {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|o| name.contains(o.as_str()))
    }

    fn line(&mut self, name: &str, precision: Precision, n: usize, ms: f64) {
        let per_atom = ms * 1e3 / n as f64;
        println!(
            "{name:<44} {precision:?} {n:>9} {ms:>11.4} ms {per_atom:>9.4} µs/atom {:>9.2} M atom/s",
            1.0 / per_atom
        );
        self.lines.push(format!("\"{name}\",{precision:?},{n},{ms:.5},{per_atom:.5}"));
    }

    /// Host arrays in and out; positions differ from call to call, so that a list without skin is built every time.
    fn host(&mut self, name: &str, model: &Model, s: &Structure, skin: f64, precision: Precision) {
        if !self.wants(name) {
            return;
        }
        let plan = Plan::new(model, Device::Cuda(0), precision).expect("a plan");
        let n = s.n_atoms();
        let moved = [s.clone(), s.clone().rattle(0.01, 2)];
        let (mut e, mut f) = (vec![0.0; n], vec![[0.0; 3]; n]);
        let mut list = plan.neighbours(skin).expect("a list");
        let ms = median(|k| {
            plan.structure_energies(&mut list, &moved[k % 2], &mut e).expect("energies");
        });
        self.line(&format!("{name}, energy"), precision, n, ms);
        let ms = median(|k| {
            plan.structure_energy_forces_virial(&mut list, &moved[k % 2], &mut e, &mut f).expect("forces");
        });
        self.line(&format!("{name}, forces+virial"), precision, n, ms);
    }

    /// Positions and forces on the device.
    fn device(&mut self, name: &str, model: &Model, s: &Structure, precision: Precision) {
        if !self.wants(name) {
            return;
        }
        let plan = Plan::new(model, Device::Cuda(0), precision).expect("a plan");
        let n = s.n_atoms();
        let x = self.stream.clone_htod(s.positions.as_flattened()).expect("memory");
        let f = self.stream.alloc_zeros::<f64>(3 * n).expect("memory");
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
            // SAFETY: the buffers hold n vectors each.
            unsafe { plan.device_energy_forces_virial(list, at) }.expect("forces");
        };
        let mut list = plan.neighbours(0.1).expect("a list");
        let reused = median(|_| run(&mut list, &at));
        self.line(&format!("{name}, E+F+V, list reused"), precision, n, reused);
        let only = OnDevice { forces: None, ..at };
        let ms = median(|_| run(&mut list, &only));
        self.line(&format!("{name}, E, list reused"), precision, n, ms);
        // Without a skin the list must be built whenever the cell changes by a hair.
        drop(list);
        let mut list = plan.neighbours(0.0).expect("a list");
        let built = median(|k| {
            let mut at = at;
            at.cell[0][0] *= 1.0 + 1e-12 * (k % 2) as f64;
            run(&mut list, &at);
        });
        let exact = median(|_| run(&mut list, &at));
        self.line(&format!("{name}, E+F+V, list reused, no skin"), precision, n, exact);
        self.line(&format!("{name}, list alone"), precision, n, built - exact);
    }

    fn rows(&mut self, name: &str, model: &Model, structures: &[Structure], precision: Precision) {
        if !self.wants(name) {
            return;
        }
        let plan = Plan::new(model, Device::Cuda(0), precision).expect("a plan");
        let p = plan.length_basis();
        let graphs: Vec<_> = structures.iter().map(|s| plan.graph(s).expect("a graph")).collect();
        let n_atoms = structures.iter().map(Structure::n_atoms).sum();
        let mut outputs: Vec<_> =
            structures.iter().map(|s| (vec![0.0; p], vec![0.0; 3 * s.n_atoms() * p], vec![0.0; 6 * p])).collect();
        let assemble = |s: &Structure, graph, (e, f, v): &mut (Vec<f64>, Vec<f64>, Vec<f64>)| {
            let mut rows = Rows {
                energy: Some(MatrixMut::rows(e, 1, p).expect("a row")),
                forces: Some(MatrixMut::rows(f, 3 * s.n_atoms(), p).expect("rows")),
                virial: Some(MatrixMut::rows(v, 6, p).expect("rows")),
            };
            plan.assemble(graph, &s.numbers, &mut rows).expect("rows");
        };
        let ms = median(|_| {
            for ((s, graph), out) in structures.iter().zip(&graphs).zip(&mut outputs) {
                assemble(s, graph, out);
            }
        });
        self.line(&format!("{name}, one after another"), precision, n_atoms, ms);
        // Four at a time: copies and kernels of different structures overlap.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().expect("threads");
        let ms = pool.install(|| {
            median(|_| {
                let all = structures.par_iter().zip(&graphs).zip(&mut outputs).with_max_len(1);
                all.for_each(|((s, graph), out)| assemble(s, graph, out));
            })
        });
        self.line(&format!("{name}, four at a time"), precision, n_atoms, ms);
    }
}

fn main() {
    let only = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    // SAFETY: asking whether the driver's library can be opened.
    if !unsafe { cudarc::driver::sys::is_culib_present() } {
        return println!("no NVIDIA driver: nothing to measure");
    }
    let context = CudaContext::new(0).expect("a device");
    let device = context.name().expect("a name").replace(' ', "-");
    let mut b = Bench {
        only,
        lines: vec!["name,precision,atoms,ms,us_per_atom".into()],
        stream: context.new_stream().unwrap(),
    };
    let sio = model("sio_o2");
    let mut ace = sio.clone().into_spec();
    ace.parts.retain(|p| p.kind() == "ace");
    let ace = Model::new(ace).expect("a model");
    let s800 = crystal("sio_o2", [5, 5, 4]);
    for precision in [Precision::F64, Precision::F32] {
        b.host("sio_o2 ace, host, list built", &ace, &s800, 0.0, precision);
        b.host("sio_o2 stack, host, list built", &sio, &s800, 0.0, precision);
        b.host("sio_o2 stack, host, list reused", &sio, &s800, 0.5, precision);
        let si = model("si_bench");
        for n in [[5, 5, 5], [10, 10, 13], [20, 25, 25], [50, 50, 50]] {
            b.device("si_bench", &si, &crystal("si_bench", n), precision);
        }
        b.host("si_bench stack, host, list reused", &si, &crystal("si_bench", [50, 50, 50]), 0.5, precision);
        b.device("hea_bench", &model("hea_bench"), &crystal("hea_bench", [30, 30, 28]), precision);
        let structures: Vec<_> = (0..10).map(|k| crystal("si_bench", [5, 5, 5]).rattle(0.05, k)).collect();
        let mut ace = si.clone().into_spec();
        ace.parts.retain(|p| matches!(p, PartSpec::Ace(_)));
        b.rows("si_bench ace, design rows", &Model::new(ace).expect("a model"), &structures, precision);
    }
    if b.only.iter().any(|o| o == "huge") {
        b.device("huge si_bench", &model("si_bench"), &crystal("si_bench", [136, 136, 136]), Precision::F32);
        b.device("huge si_bench", &model("si_bench"), &crystal("si_bench", [136, 136, 136]), Precision::F64);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benchmark/results");
    let file = folder.join(format!("gpu-{device}.csv"));
    if std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, b.lines.join("\n") + "\n")).is_ok() {
        println!("written to {}", file.display());
    }
}
