//! Random operations against their definition: results, first and second derivatives along random directions; and
//! what must not change a single bit.

use crate::battery::{Case, close_beside};
use crate::naive::{self, Hyper};
use acerust::ops::activation::Activation;
use acerust::ops::contraction::{Basis, Contraction};
use acerust::ops::gate::Gate;
use acerust::ops::harmonics::{Harmonics, Normalization};
use acerust::ops::linear::Linear;
use acerust::ops::mlp::Mlp;
use acerust::ops::product::channelwise::Channelwise;
use acerust::ops::product::fully_connected::FullyConnected;
use acerust::ops::radial::{Radial, RadialBasis, Transform};
use acerust::ops::{Block, Convention, Irrep, Irreps, Isa, Layout, Operation, Parity, Sizes, Spec, Workspace};

/// Numbers that look random, the same in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Less than `n`.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.next() >> 33) % n as u64) as usize
    }

    /// Between −1 and 1.
    pub fn number(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    pub fn numbers(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.number()).collect()
    }

    /// Blocks with up to `mul` copies of degrees up to `lmax`; now and then none at all.
    fn irreps(&mut self, n: usize, mul: usize, lmax: usize) -> Irreps {
        let mut block = || {
            let parity = if self.below(2) == 0 { Parity::Even } else { Parity::Odd };
            Block { mul: self.below(mul + 1), irrep: Irrep { l: self.below(lmax + 1), parity } }
        };
        Irreps::new((0..n).map(|_| block()).collect()).unwrap()
    }

    pub fn operation(&mut self, kind: usize) -> Operation {
        let mul = [1, 3, 5, 17, 20][self.below(5)];
        match kind {
            0 => Operation::Harmonics(Harmonics { lmax: self.below(6), normalization: Normalization::Component }),
            1 => {
                let n = self.below(4);
                let mut irreps_in = self.irreps(n, mul, 2);
                // Partners are likely.
                let irreps_out = self.irreps(4, mul + 13, 2);
                if self.below(4) > 0 {
                    let both = irreps_in.blocks().iter().chain(irreps_out.blocks());
                    irreps_in = Irreps::new(both.map(|b| Block { mul: b.mul.min(7), ..*b }).collect()).unwrap();
                }
                let species = if self.below(2) == 0 { Some(1 + self.below(4)) } else { None };
                let bias = species.is_none() && self.below(2) == 0;
                Operation::Linear(Linear { irreps_in, irreps_out, bias, species })
            }
            2 => Operation::Channelwise(Channelwise {
                irreps_in1: self.irreps(2, mul, 3),
                irreps_in2: Irreps::new(self.irreps(3, 1, 3).blocks().iter().map(|b| Block { mul: 1, ..*b }).collect())
                    .unwrap(),
                targets: self.irreps(4, 1, 4),
                shared_weights: self.below(2) == 0,
                convolution: self.below(3) > 0,
            }),
            3 => Operation::FullyConnected(FullyConnected {
                irreps_in1: self.irreps(2, mul.min(5), 2),
                irreps_in2: self.irreps(2, 3, 2),
                irreps_out: self.irreps(3, mul.min(17), 2),
                shared_weights: self.below(2) == 0,
                convolution: self.below(3) > 0,
            }),
            4 => {
                let correlation = 1 + self.below(4);
                let lmax = [3, 2, 2, 1][correlation - 1];
                let some = |irreps: Irreps| Irreps::uniform(mul, irreps.blocks().iter().map(|b| b.irrep)).unwrap();
                let n = 1 + self.below(2);
                let irreps_in = match self.below(2) {
                    0 => Irreps::uniform(mul, (0..=lmax).map(Irrep::natural)).unwrap(),
                    _ => some(self.irreps(n, 1, lmax)),
                };
                let irreps_out = some(self.irreps(2, 1, 2));
                let species = 1 + self.below(3);
                let basis = Basis::E3nn;
                Operation::Contraction(Contraction {
                    irreps_in,
                    irreps_out,
                    correlation,
                    species,
                    basis,
                    projection: None,
                })
            }
            5 => {
                let n = 2 + self.below(7);
                let basis = match self.below(5) {
                    0 => RadialBasis::Identity,
                    1 => RadialBasis::Constant,
                    2 => RadialBasis::Gaussian { n },
                    3 => RadialBasis::Chebyshev { n },
                    _ => RadialBasis::Bessel { n, weights: None, prefactor: None },
                };
                let radii = vec![0.7, 1.1, 0.3];
                let transform = match self.below(3) {
                    0 => Some(Transform::Agnesi { radii, a: 1.0805, q: 0.9183, p: 4.5791 }),
                    1 => Some(Transform::Soft { radii, alpha: 4.0 }),
                    _ => None,
                };
                let cutoff = [None, Some(5), Some(6)][self.below(3)];
                Operation::Radial(Radial { r_max: 2.5, basis, cutoff, transform })
            }
            6 => {
                let n = 2 + self.below(4);
                let widths = (0..n).map(|_| 1 + self.below(40)).collect();
                let activation = [Activation::Silu, Activation::Tanh, Activation::Sigmoid][self.below(3)];
                let layer_norm = [None, Some(1e-2)][self.below(2)];
                Operation::Mlp(Mlp { widths, activation, constant: 1.68, layer_norm })
            }
            _ => Operation::Gate(Gate {
                scalars: Irreps::uniform(self.below(5), [Irrep::SCALAR]).unwrap(),
                gated: self.irreps(2, mul, 2),
                activation: Activation::Silu,
                constant: 1.68,
                gate_activation: Activation::Sigmoid,
                gate_constant: 1.85,
            }),
        }
    }

    /// An operation with numbers and directions.
    pub fn case(&mut self, kind: usize, sizes: Sizes) -> Case {
        let operation = self.operation(kind);
        self.case_of(operation, sizes)
    }

    pub fn case_of(&mut self, operation: Operation, sizes: Sizes) -> Case {
        let convention = [Convention::O3E3nn, Convention::O3][self.below(2)];
        let spec = Spec { convention, ..Spec::new(operation) };
        let ports = spec.ports().unwrap();
        let mut inputs: Vec<Vec<f64>> = ports.inputs.iter().map(|p| self.numbers(p.len(sizes))).collect();
        if let Operation::Radial(op) = &spec.operation {
            // Beyond 1, Chebyshev's polynomials are too large for what cancels at the cutoff.
            let chebyshev = matches!(op.basis, RadialBasis::Chebyshev { .. });
            let [middle, half] = if chebyshev { [0.5, 0.45] } else { [1.6, 1.0] };
            inputs[0].iter_mut().for_each(|r| *r = middle + half * *r);
        }
        let bound = |p: &acerust::ops::IndexPort| p.bound.unwrap_or(sizes.nodes);
        let indices =
            ports.indices.iter().map(|p| (0..sizes.rows).map(|_| self.below(bound(p)) as u32).collect()).collect();
        let directions = ports.inputs.iter().map(|p| (self.below(4) > 0).then(|| self.numbers(p.len(sizes)))).collect();
        Case {
            name: format!("{:?}, {sizes:?}", spec.operation),
            cotangent: self.numbers(ports.output.len(sizes)),
            spec,
            sizes,
            inputs,
            indices,
            out: vec![],
            gradients: vec![],
            directions,
            seconds: vec![],
        }
    }
}

impl Case {
    /// The same operation and numbers, of which some will be others.
    pub fn like(&self) -> Case {
        Case {
            name: self.name.clone(),
            spec: self.spec.clone(),
            sizes: self.sizes,
            inputs: self.inputs.clone(),
            indices: self.indices.clone(),
            cotangent: self.cotangent.clone(),
            directions: self.directions.clone(),
            out: vec![],
            gradients: vec![],
            seconds: vec![],
        }
    }
}

pub const KINDS: usize = 8;

fn sizes(random: &mut Random) -> Sizes {
    Sizes { rows: [1, 2, 7, 20][random.below(4)], nodes: 1 + random.below(6) }
}

/// Results of the definition, and those of the library in f64 for one layout and instruction set each.
#[test]
fn operations_are_what_the_text_says() {
    let n = std::env::var("ACERUST_CASES").map_or(40, |n| n.parse().unwrap());
    for kind in 0..KINDS {
        for seed in 0..n {
            let mut random = Random::new(1000 * kind as u64 + seed);
            let sizes = sizes(&mut random);
            let case = random.case(kind, sizes);
            let layouts = [[Layout::MulIr; 2], [Layout::IrMul; 2], [Layout::MulIr, Layout::IrMul]][random.below(3)];
            let isas = Isa::available();
            let isa = isas[random.below(isas.len())];
            let ours = case.run::<f64>(layouts, isa);

            // One more direction, for all derivatives at once.
            let other: Vec<Vec<f64>> = case.inputs.iter().map(|x| random.numbers(x.len())).collect();
            let other_cotangent = random.numbers(case.cotangent.len());
            let hyper = |k: usize| -> Vec<Hyper> {
                let along = case.directions[k].as_ref();
                let number = |(i, (&x, &o)): (usize, (&f64, &f64))| Hyper([x, along.map_or(0.0, |d| d[i]), o, 0.0]);
                case.inputs[k].iter().zip(&other[k]).enumerate().map(number).collect()
            };
            let inputs: Vec<Vec<Hyper>> = (0..case.inputs.len()).map(hyper).collect();
            let out = naive::evaluate(&case.spec, sizes, &inputs, &case.indices);
            let value: Vec<f64> = out.iter().map(|x| x.0[0]).collect();
            // What cancels, of numbers about 1 and, next to a cutoff, 35, leaves a rest of rounding: 1e-13.
            let (tolerance, rest) = (1e-11, 1e-2);
            close_beside(rest, &case.name, &ours.out, &value, tolerance);
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let size = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a * b).abs()).sum::<f64>();
            // ⟨∂s/∂x, other⟩
            let first: f64 = out.iter().zip(&case.cotangent).map(|(x, c)| x.0[2] * c).sum();
            let gradient: f64 = ours.gradients.iter().zip(&other).map(|(g, o)| dot(g, o)).sum();
            let scale: f64 = ours.gradients.iter().zip(&other).map(|(g, o)| size(g, o)).sum();
            let near = |a: f64, b: f64, scale: f64| (a - b).abs() <= tolerance * (scale + rest);
            assert!(near(gradient, first, scale), "{}: {gradient}, expected {first}", case.name);
            // The change of t along the other direction, and along another cotangent.
            let mixed: f64 = out.iter().zip(&case.cotangent).map(|(x, c)| x.0[3] * c).sum();
            let along: f64 = out.iter().zip(&other_cotangent).map(|(x, c)| x.0[1] * c).sum();
            let (second_cotangent, seconds) = ours.seconds.split_last().unwrap();
            let second: f64 = seconds.iter().zip(&other).map(|(g, o)| dot(g, o)).sum();
            let scale: f64 = seconds.iter().zip(&other).map(|(g, o)| size(g, o)).sum();
            assert!(near(second, mixed, scale), "{}: second {second}, expected {mixed}", case.name);
            let (ours_along, scale) =
                (dot(second_cotangent, &other_cotangent), size(second_cotangent, &other_cotangent));
            assert!(near(ours_along, along, scale), "{}: {ours_along}, expected {along}", case.name);
        }
    }
}

/// Threads, instruction by instruction the same sums; layouts, the same numbers; memory that was used before.
#[test]
fn results_do_not_depend_on_threads_or_layouts() {
    let pools: Vec<_> = [1, 3].map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap()).into();
    for kind in 0..KINDS {
        for seed in 0..12 {
            let mut random = Random::new(7_000 + 100 * kind as u64 + seed);
            let case = random.case(kind, Sizes { rows: 150, nodes: 40 });
            let run = |pool: usize, layouts| {
                let run = || case.run_with::<f32>(layouts, Isa::detect(), &mut Workspace::with_bytes(1 << 20).unwrap());
                let o = pools[pool].install(run);
                [vec![o.out], o.gradients, o.seconds].concat()
            };
            let one = run(0, [Layout::IrMul; 2]);
            for (pool, layouts) in
                [(1, [Layout::IrMul; 2]), (1, [Layout::MulIr; 2]), (0, [Layout::MulIr, Layout::IrMul])]
            {
                assert!(one == run(pool, layouts), "{}: {layouts:?}, pool {pool}", case.name);
            }
        }
    }
}

/// Edges may come in any order, also where there are several between the same two nodes.
#[test]
fn results_do_not_depend_on_the_order_of_edges() {
    for seed in 0..24 {
        let mut random = Random::new(50 + seed);
        let sizes = Sizes { rows: 40, nodes: 3 };
        let case = loop {
            let case = random.case(2 + seed as usize % 2, sizes);
            if case.indices.len() == 2 {
                break case;
            }
        };
        let ports = case.spec.ports().unwrap();
        let mut order: Vec<usize> = (0..sizes.rows).collect();
        (0..sizes.rows).for_each(|k| order.swap(k, k + random.below(sizes.rows - k)));
        let permuted = |port: &acerust::ops::Port, x: &[f64]| -> Vec<f64> {
            match port.extent {
                acerust::ops::Extent::Rows => {
                    order.iter().flat_map(|&e| &x[e * port.width..(e + 1) * port.width]).copied().collect()
                }
                _ => x.to_vec(),
            }
        };
        let all = |x: &[Vec<f64>]| ports.inputs.iter().zip(x).map(|(p, x)| permuted(p, x)).collect::<Vec<_>>();
        let other = Case {
            inputs: all(&case.inputs),
            indices: case.indices.iter().map(|x| order.iter().map(|&e| x[e]).collect()).collect(),
            directions: ports
                .inputs
                .iter()
                .zip(&case.directions)
                .map(|(p, d)| d.as_ref().map(|d| permuted(p, d)))
                .collect(),
            ..case.like()
        };
        let [a, b] = [&case, &other].map(|c| c.run::<f64>([Layout::IrMul; 2], Isa::detect()));
        assert_eq!(a.out, b.out, "{}", case.name);
        assert_eq!(all(&a.gradients), b.gradients, "{}", case.name);
        let (mut seconds, last) = (a.seconds.clone(), a.seconds.last().unwrap());
        seconds.pop();
        assert_eq!(
            (all(&seconds), last),
            (b.seconds[..seconds.len()].to_vec(), b.seconds.last().unwrap()),
            "{}",
            case.name
        );
    }
}

#[test]
fn nothing_comes_of_nothing() {
    for kind in 0..KINDS {
        for seed in 0..10 {
            let mut random = Random::new(300 + 10 * kind as u64 + seed);
            for sizes in [Sizes { rows: 0, nodes: 0 }, Sizes { rows: 0, nodes: 3 }, Sizes { rows: 1, nodes: 1 }] {
                let case = random.case(kind, sizes);
                let outcome = case.run::<f64>([Layout::MulIr; 2], Isa::detect());
                let expected = naive::evaluate(&case.spec, sizes, &case.inputs, &case.indices);
                close_beside(1e-3, &case.name, &outcome.out, &expected, 1e-11);
                if sizes.rows == 0 {
                    let all = [vec![outcome.out], outcome.gradients, outcome.seconds].concat().concat();
                    assert!(all.iter().all(|&x| x == 0.0), "{}", case.name);
                }
            }
        }
    }
}

/// The worst error of each operation, in parts of the largest number of a result: out, gradients, second gradients; printed, as in
/// `docs/operations.md`. With numbers of sixteen bits it is that of one rounding, at the end.
#[test]
fn results_are_as_good_as_their_type() {
    fn errors<S: acerust::dtype::Storage>(kind: usize) -> [f64; 3] {
        let mut worst: [f64; 3] = [0.0; 3];
        for seed in 0..12 {
            let mut random = Random::new(900 + 10 * kind as u64 + seed);
            let mut case = random.case(kind, Sizes { rows: 20, nodes: 5 });
            // The same numbers for both: those that the type has.
            let round = |x: &mut Vec<f64>| x.iter_mut().for_each(|x| *x = S::of(*x).to_f64());
            case.inputs.iter_mut().for_each(round);
            round(&mut case.cotangent);
            case.directions.iter_mut().flatten().for_each(round);
            let [a, b] =
                [case.run::<S>([Layout::MulIr; 2], Isa::detect()), case.run::<f64>([Layout::MulIr; 2], Isa::detect())];
            let results = [(vec![a.out], vec![b.out]), (a.gradients, b.gradients), (a.seconds, b.seconds)];
            for (pass, (a, b)) in results.iter().enumerate() {
                for (a, b) in a.iter().zip(b) {
                    let largest = b.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
                    // Behind a norm of one number all is zero: there is nothing to compare with.
                    if largest == 0.0 {
                        continue;
                    }
                    let error = a.iter().zip(b).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()));
                    // The sums are those of f32, of numbers about 1; the smallest numbers of f16 are 6e-8 apart.
                    let bound = 1.01 * S::DTYPE.rounding() * largest + 6e-8 + 4e-6 * largest.max(1.0);
                    assert!(error <= bound, "{}: {error:e} of {largest:e}", case.name);
                    worst[pass] = worst[pass].max(if largest > 1e-3 { error / largest } else { 0.0 });
                }
            }
        }
        worst
    }
    use half::{bf16, f16};
    let names = ["harmonics", "linear", "channelwise", "fully_connected", "contraction", "radial", "mlp", "gate"];
    let text = |e: [f64; 3]| e.map(|e| format!("{e:.0e}")).join(", ");
    for (kind, name) in names.iter().enumerate() {
        let (single, half, brain) = (errors::<f32>(kind), errors::<f16>(kind), errors::<bf16>(kind));
        println!("| {name} | {} | {} | {} |", text(single), text(half), text(brain));
        assert!(half[0] > 1e-5 && brain[0] > 1e-4, "{name}: nothing was rounded");
    }
}
