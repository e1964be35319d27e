//! Potentials at random: every base function, cutoff and embedding, against the naive evaluator, and against differences of energies.

use crate::pace_golden::results;
use crate::pace_naive::{Mode, evaluate};
use acerust::model::Model;
use acerust::pace::{Base, Bond, Embedding, Factor, Form, Function, InnerCutoff, Potential};
use acerust::plan::{Device, Options, Plan, Precision, RadialMode};
use acerust::structure::Structure;

/// A fixed sequence of numbers for each seed.
pub struct Random(u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }

    pub fn within(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.below(1 << 30) as f64 / f64::from(1 << 30)
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

pub fn potential(seed: u64) -> Potential {
    let mut r = Random(seed);
    let n = 1 + r.below(3);
    let species = [[13, 28, 6], [1, 8, 39]][r.below(2)][..n].to_vec();
    let inner = r.pick(&[InnerCutoff::Density, InnerCutoff::Distance, InnerCutoff::Zbl]);
    let embeddings: Vec<Embedding> = (0..n)
        .map(|_| Embedding {
            form: r.pick(&[Form::FinnisSinclair, Form::FinnisSinclairShiftedScaled]),
            densities: (0..1 + r.below(6)).map(|_| [r.within(-1.0, 1.0), r.pick(&[1.0, 0.5, 0.75, 1.3])]).collect(),
            core: [r.within(2.0, 20.0), r.pick(&[0.0, 1.5, 250.0])],
        })
        .collect();
    let bonds: Vec<Bond> = (0..n * n)
        .map(|_| {
            let (n_radial, lmax, n_base) = (1 + r.below(2), r.below(3), 1 + r.below(4));
            let mut number = || r.within(-1.0, 1.0);
            let coefficients =
                (0..n_radial).map(|_| (0..=lmax).map(|_| (0..n_base).map(|_| number()).collect()).collect()).collect();
            let base = r.pick(&[Base::ChebExpCos, Base::ChebPow, Base::SBessel, Base::ChebExpCos, Base::Zero]);
            Bond {
                base,
                lambda: r.pick(&[5.25, 2.0, 1.7, 3.0, 1.0]),
                rcut: r.within(3.5, 4.5),
                dcut: r.pick(&[0.01, 0.4, 1.0]),
                inner: r.pick(&[0.0, 0.8, 1.7]),
                inner_width: r.pick(&[0.2, 0.5]),
                core: [r.pick(&[0.0, 2.0, 10.0]), r.pick(&[0.5, 1.0, 5.0])],
                n_base,
                coefficients,
            }
        })
        .collect();
    let mut p = Potential { species, e0: vec![0.5; n], bins: 0.01, inner, embeddings, bonds, functions: vec![] };
    let [n_base, n_radial, lmax] = p.sizes();
    for z in 0..n {
        let list = (0..12).map(|k| {
            let rank = 1 + k % 4;
            let factors: Vec<Factor> = (0..rank)
                .map(|_| Factor {
                    species: r.below(n),
                    n: r.below(if rank == 1 { n_base } else { n_radial }),
                    l: if rank == 1 { 0 } else { r.below(lmax + 1) },
                })
                .collect();
            // Of one neighbour files have one term, and python-ace has room for no more.
            let terms = if rank == 1 { 1 } else { 1 + r.below(3) };
            let m = |r: &mut Random, l: usize| r.below(2 * l + 1) as i32 - l as i32;
            let ms: Vec<i32> = (0..terms)
                .flat_map(|_| factors.iter().map(|f| f.l).collect::<Vec<_>>())
                .map(|l| m(&mut r, l))
                .collect();
            let n_c = terms * p.embeddings[z].densities.len();
            Function { factors, ms, coefficients: (0..n_c).map(|_| r.within(-0.3, 0.3)).collect(), coupling: vec![] }
        });
        p.functions.push(list.collect());
    }
    p
}

/// A few atoms, some of them close.
pub fn structure(p: &Potential, seed: u64) -> Structure {
    let mut r = Random(seed ^ 0x5555);
    let n = 3 + r.below(5);
    let cell = [
        [r.within(3.0, 5.0), 0.0, 0.0],
        [r.within(-1.0, 1.0), r.within(3.0, 5.0), 0.0],
        [0.3, r.within(-1.0, 1.0), 4.0],
    ];
    let periodic = r.below(2) == 0;
    Structure {
        numbers: (0..n).map(|_| r.pick(&p.species)).collect(),
        positions: (0..n).map(|_| [0; 3].map(|_| r.within(0.0, 4.0))).collect(),
        cell: if periodic { cell } else { [[0.0; 3]; 3] },
        pbc: [periodic; 3],
    }
}

pub fn plan(p: &Potential, radial: RadialMode) -> Plan {
    let model = Model::of_potential(p).expect("a model");
    let model = Model::from_json(model.to_json()).expect("what we write is what we read");
    Plan::with_options(&model, Device::Cpu, Precision::F64, Options::new().radial(radial)).expect("a plan")
}

#[test]
fn random_potentials_agree_with_the_naive_evaluator() {
    for seed in 1..=40 {
        let p = potential(seed);
        let structure = structure(&p, seed);
        for (mode, radial) in [(Mode::Exact, RadialMode::Exact), (Mode::Table, RadialMode::PaceTable)] {
            let expected = evaluate(&p, &structure, mode);
            let (energies, forces, virial) = results(&plan(&p, radial), &structure);
            let close = |what: &str, found: &[f64], expected: &[f64]| {
                let scale = expected.iter().fold(1.0_f64, |m, x| m.max(x.abs()));
                let error = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / scale;
                assert!(error < 1e-10, "seed {seed} {mode:?} {:?} {what}: {error:e}", p.inner);
            };
            close("energies", &energies, &expected.energies);
            close("forces", forces.as_flattened(), expected.forces.as_flattened());
            close("virial", virial.as_flattened(), expected.virial.as_flattened());
        }
    }
}

/// Two atoms from 0.1 Å to beyond the cutoff, through every switch.
#[test]
fn slopes_of_dimers_are_differences_of_energies() {
    for seed in 1..=8 {
        let mut p = potential(seed);
        // The other embedding turns too sharply at 0 for differences; it has a test of its own.
        p.embeddings.iter_mut().for_each(|e| e.form = Form::FinnisSinclairShiftedScaled);
        let plan = plan(&p, RadialMode::Exact);
        let n = p.species.len();
        for pair in 0..n * n {
            let dimer = |r: f64| Structure {
                numbers: vec![p.species[pair / n], p.species[pair % n]],
                positions: vec![[0.0; 3], [0.6 * r, 0.0, 0.8 * r]],
                ..Structure::default()
            };
            for k in 0..45 {
                let (r, h) = (0.1 + 0.1 * f64::from(k), 1e-5);
                let energy = |r: f64| plan.energy(&dimer(r)).expect("an energy");
                let (sites, forces, _) = results(&plan, &dimer(r));
                let slope = 0.6 * forces[0][0] + 0.8 * forces[0][2];
                let difference = (energy(r + h) - energy(r - h)) / (2.0 * h);
                // Steps: a switch without a width, and where functions begin without one; differences cross them.
                if difference.abs() > 1e4 * (1.0 + slope.abs()) || steps(&p, pair, r) {
                    continue;
                }
                let scale = 1.0 + slope.abs() + sites.iter().fold(0.0, |m: f64, e| m.max(e.abs())) / r;
                assert!(
                    ((slope - difference) / scale).abs() < 2e-5,
                    "seed {seed} pair {pair} r {r}: {slope} {difference}"
                );
            }
        }
    }
}

/// Is there a jump, or a kink as sharp as one, close to this distance?
fn steps(p: &Potential, pair: usize, r: f64) -> bool {
    let n = p.species.len();
    [pair, pair % n * n + pair / n].into_iter().any(|pair| {
        let b = &p.bonds[pair];
        [b.inner - b.inner_width, b.rcut, b.rcut - b.dcut, b.inner].into_iter().any(|at| (r - at).abs() < 1e-3)
            || b.core[1] * r * r > 49.9 && b.core[1] * r * r < 50.1
    }) || p.embeddings.iter().any(|e| e.core[1] == 0.0)
}

#[test]
fn what_needs_a_linear_model_refuses_an_embedding() {
    let p = potential(1);
    let mut model = Model::of_potential(&p).expect("a model");
    let structure = structure(&p, 1);
    let refusal = "argument: parts[1].ace: its energy is not linear in parameters, and has no basis or design rows";
    assert_eq!(model.set_linear_parameters(&[]).unwrap_err().to_string(), refusal);
    assert_eq!((model.length_basis(), model.linear_parameters().len()), (0, 0));
    let mut plan = plan(&p, RadialMode::Exact);
    let graph = plan.graph(&structure).expect("a graph");
    let jacobian = plan.site_basis_jacobian(&graph, &structure.numbers, None, None);
    assert_eq!(jacobian.unwrap_err().to_string(), refusal);
    assert_eq!(plan.set_committee(&[vec![]]).unwrap_err().to_string(), refusal);
    let mut rows = acerust::plan::Rows::default();
    assert_eq!(plan.assemble(&graph, &structure.numbers, &mut rows).unwrap_err().to_string(), refusal);
}
