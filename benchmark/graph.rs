//! The neighbour list of rattled silicon on one core: built afresh, rebuilt in place, reused.
//! Throughput is in atoms.

use acerust::graph::{Graph, NeighbourList};
use acerust::structure::Structure;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const RCUT: f64 = 5.5;

fn graph(c: &mut Criterion) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool of one thread");
    let mut group = c.benchmark_group("graph");
    group.sample_size(20);
    for cells in [4, 8, 16] {
        let s = Structure::diamond(14, 5.43).repeat([cells; 3]).rattle(0.1, 3);
        let moved = s.clone().rattle(0.01, 5);
        let n_atoms = s.n_atoms();
        group.throughput(Throughput::Elements(n_atoms as u64));

        group.bench_function(BenchmarkId::new("build", n_atoms), |b| {
            pool.install(|| b.iter(|| black_box(Graph::build(&s, RCUT).expect("a graph"))));
        });
        for (name, skin) in [("rebuild", 0.0), ("reuse", 0.5)] {
            let mut list = NeighbourList::new(RCUT, skin).expect("a list");
            let mut structures = [&s, &moved].into_iter().cycle();
            group.bench_function(BenchmarkId::new(name, n_atoms), |b| {
                pool.install(|| {
                    b.iter(|| {
                        let s = structures.next().expect("a cycle has no end");
                        black_box(list.update(s).expect("a graph").n_edges())
                    });
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, graph);
criterion_main!(benches);
