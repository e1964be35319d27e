//! Single stages of many-body models on one block of centres, and whole models on 64 atoms; f64, the best instruction set, one core.
//! Throughput is in edges.

#[path = "../test/common/evaluate.rs"]
#[allow(dead_code)]
mod evaluate;

use acerust::bench;
use acerust::model::Model;
use acerust::plan::{Device, Plan, Precision, Rows};
use acerust::structure::Structure;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::path::Path;

const MODELS: [&str; 3] = ["si_2_8", "si_bench", "si_3_16"];

fn model(name: &str) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benchmark/models/{name}.json"));
    Model::load(path).expect("a benchmark model")
}

fn silicon(cells: usize) -> Structure {
    Structure::diamond(14, 5.43).repeat([cells; 3]).rattle(0.1, 1)
}

fn stages(c: &mut Criterion) {
    for name in MODELS {
        let mut group = c.benchmark_group(format!("{name} stages"));
        group.sample_size(20);
        let measured = bench::stages(&model(name), |stage| {
            group.throughput(Throughput::Elements(stage.n_edges as u64));
            group.bench_function(stage.name, |b| b.iter(&mut *stage.run));
        });
        measured.expect("a model of silicon");
        group.finish();
    }
}

fn models(c: &mut Criterion) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool of one thread");
    let s = silicon(2);
    let n = s.n_atoms();
    for name in MODELS {
        let plan = Plan::new(&model(name), Device::Cpu, Precision::F64).expect("a plan");
        let graph = plan.graph(&s).expect("a graph");
        let columns = plan.length_basis();
        let (mut sites, mut forces) = (vec![0.0; n], vec![[0.0; 3]; n]);
        let mut rows = vec![0.0; 3 * n * columns];
        let mut group = c.benchmark_group(name);
        group.sample_size(20).throughput(Throughput::Elements(graph.n_edges() as u64));
        group.bench_function("energy", |b| {
            pool.install(|| {
                b.iter(|| evaluate::site_energies(&plan, (&graph, &s.numbers), &mut sites).expect("energies"))
            });
        });
        group.bench_function("forces", |b| {
            let mut evaluate = || {
                evaluate::energy_forces_virial(&plan, (&graph, &s.numbers), &mut sites, &mut forces).expect("forces")
            };
            pool.install(|| b.iter(&mut evaluate));
        });
        group.bench_function("rows", |b| {
            pool.install(|| {
                b.iter(|| {
                    let mut rows = Rows::new().forces(evaluate::matrix(&mut rows, 3 * n, columns));
                    plan.assemble(&graph, &s.numbers, &mut rows).expect("rows");
                });
            });
        });
        group.finish();
    }
}

criterion_group!(benches, stages, models);
criterion_main!(benches);
