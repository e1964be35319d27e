//! Single stages of many-body models on one block of centres, and whole models on 64 atoms; f64, the best instruction set, one core.
//! Throughput is in edges.

use acerust::graph::Graph;
use acerust::matrix::MatrixMut;
use acerust::model::Model;
use acerust::model::spec::{AceSpec, PartSpec};
use acerust::plan::{Device, Plan, Precision, Rows};
use acerust::simd::{Isa, Lanes, Portable};
use acerust::site::ace::Program;
use acerust::stage::angular::{Angular, n_harmonics};
use acerust::stage::block::{Block, Sites};
use acerust::stage::pool::{self, Slots};
use acerust::stage::rows::{self, RowsScratch};
use acerust::structure::Structure;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::path::Path;

const MODELS: [&str; 3] = ["si_2_8", "si_bench", "si_3_16"];

fn model(name: &str) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benchmark/models/{name}.json"));
    Model::load(path).expect("a benchmark model")
}

fn many_body(model: &Model) -> &AceSpec {
    let parts = &mut model.spec().parts.iter();
    parts.find_map(|p| if let PartSpec::Ace(ace) = p { Some(ace) } else { None }).expect("a many-body part")
}

fn silicon(cells: usize) -> Structure {
    Structure::diamond(14, 5.43).repeat([cells; 3]).rattle(0.1, 1)
}

fn stages(c: &mut Criterion) {
    for name in MODELS {
        match Isa::detect() {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => stages_of::<acerust::simd::F64x8>(c, name),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => stages_of::<acerust::simd::F64x4>(c, name),
            _ => stages_of::<Portable<f64, 2>>(c, name),
        }
    }
}

fn stages_of<V: Lanes<Real = f64>>(c: &mut Criterion, name: &str) {
    let model = model(name);
    let ace = many_body(&model);
    let program = Program::new(1, ace);
    let radial = rows::Rows::<V>::new(program.radial.clone(), None);
    let angular = Angular::<V>::new(program.lmax, program.spherical);
    let s = silicon(4);
    let graph = Graph::build(&s, ace.rcut).expect("a graph");
    let species = vec![0; s.n_atoms()];
    let sites = Sites { graph: &graph, species_of: &species, n_species: 1 };
    let centres: Vec<u32> = (0..V::N as u32).collect();
    let mut block = Block::<V>::default();
    block.pack(sites, 0, &centres, (ace.rcut, false), |_| {});

    let (n, n_r, n_y) = (block.n_slots, radial.stride(), n_harmonics(program.lmax));
    let zeros = |n: usize| vec![V::zero(); n];
    let (mut r, mut dr, mut y) = (zeros(n * n_r), zeros(n * n_r), zeros(n * n_y));
    let (mut a, mut a_bar, mut y_bar) = (zeros(program.n_a), zeros(program.n_a), zeros(n_y));
    let mut scratch = RowsScratch::default();
    let mut group = c.benchmark_group(format!("{name} stages"));
    group.sample_size(20).throughput(Throughput::Elements(block.n_edges as u64));

    group.bench_function("pack", |b| b.iter(|| block.pack(black_box(sites), 0, &centres, (ace.rcut, false), |_| {})));
    group.bench_function("radial", |b| {
        b.iter(|| radial.eval_slots::<true>(black_box(&block), 0..n, &mut scratch, &mut r, &mut dr));
    });
    group.bench_function("angular", |b| b.iter(|| angular.eval_slots(black_box(&block), 0..n, &mut y)));
    let slots = Slots { r: &r, dr: &dr, y: &y, n_r, n_y };
    group.bench_function("pool", |b| {
        b.iter(|| {
            a.fill(V::zero());
            pool::pool(&program.shells, black_box(slots), n, 0, &mut a);
        });
    });

    let c = program.fold(&ace.weights[0]);
    let (mut p, mut sums) = (zeros(program.trie.n_inner()), zeros(program.trie.n_inner()));
    group.bench_function("product", |b| {
        b.iter(|| {
            V::vectorize(
                #[inline(always)]
                || program.trie.eval::<V, true>(&c, black_box(&a), &mut a_bar, &mut p, &mut sums),
            )
            .to_array()
        });
    });
    let mut gradient = vec![[V::zero(); 3]; n];
    group.bench_function("adjoint", |b| {
        b.iter(|| {
            V::vectorize(
                #[inline(always)]
                || {
                    for (s, g) in gradient.iter_mut().enumerate() {
                        let radial = pool::pullback(&program.shells, black_box(slots), s, &a_bar, &mut y_bar);
                        *g = angular.pullback(block.vectors(s), &y[s * n_y..][..n_y], &y_bar);
                        g[0] = g[0] + radial;
                    }
                },
            );
        });
    });

    let coupling = &program.coupling;
    let (mut monomials, mut basis) = (zeros(coupling.n_monomials()), zeros(program.n_basis));
    let mut derivatives = zeros(coupling.n_derivatives());
    group.bench_function("basis", |b| {
        b.iter(|| {
            V::vectorize(
                #[inline(always)]
                || {
                    coupling.monomials(black_box(&a), &mut monomials);
                    coupling.basis(&monomials, &mut basis);
                    coupling.derivatives(&monomials, &mut derivatives);
                },
            );
        });
    });
    group.finish();
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
            pool.install(|| b.iter(|| plan.site_energies(&graph, &s.numbers, &mut sites).expect("energies")));
        });
        group.bench_function("forces", |b| {
            let mut evaluate =
                || plan.energy_forces_virial(&graph, &s.numbers, &mut sites, &mut forces).expect("forces");
            pool.install(|| b.iter(&mut evaluate));
        });
        group.bench_function("rows", |b| {
            pool.install(|| {
                b.iter(|| {
                    let forces = Some(MatrixMut::rows(&mut rows, 3 * n, columns).expect("a matrix"));
                    let mut rows = Rows { energy: None, forces, virial: None };
                    plan.assemble(&graph, &s.numbers, &mut rows).expect("rows");
                });
            });
        });
        group.finish();
    }
}

criterion_group!(benches, stages, models);
criterion_main!(benches);
