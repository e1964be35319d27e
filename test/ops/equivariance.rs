//! Turned and inverted arguments give turned and inverted results.

use crate::battery::{Case, close};
use crate::random::Random;
use acerust::ops::contraction::{Basis, Contraction};
use acerust::ops::coupling::{Convention, w3j};
use acerust::ops::harmonics::{Harmonics, Normalization};
use acerust::ops::linear::Linear;
use acerust::ops::product::channelwise::Channelwise;
use acerust::ops::product::fully_connected::FullyConnected;
use acerust::ops::{Irrep, Irreps, Isa, Layout, Operation, Parity, Sizes};

/// An element of O(3): a rotation, and whether space is inverted.
struct Element {
    rotation: [[f64; 3]; 3],
    inverts: bool,
}

impl Element {
    /// From a quaternion.
    fn random(random: &mut Random, inverts: bool) -> Element {
        let q: Vec<f64> = random.numbers(4);
        let n = q.iter().map(|x| x * x).sum::<f64>().sqrt();
        let [w, x, y, z] = [q[0] / n, q[1] / n, q[2] / n, q[3] / n];
        let rotation = [
            [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - z * w), 2.0 * (x * z + y * w)],
            [2.0 * (x * y + z * w), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - x * w)],
            [2.0 * (x * z - y * w), 2.0 * (y * z + x * w), 1.0 - 2.0 * (x * x + y * y)],
        ];
        Element { rotation, inverts }
    }

    /// Its matrix on an irrep: that of l = 1 is the rotation itself, the next is in the product of the last one with it.
    fn matrix(&self, irrep: Irrep) -> Vec<Vec<f64>> {
        let mut d = vec![vec![1.0]];
        for l in 1..=irrep.l {
            let (n, m) = (2 * l + 1, 2 * l - 1);
            let w = w3j(l - 1, 1, l, Convention::O3E3nn);
            let c = |i: usize, j: usize, k: usize| (n as f64).sqrt() * w[(i * 3 + j) * n + k];
            let entry = |k: usize, k2: usize| {
                let mut sum = 0.0;
                for (i, j) in (0..m).flat_map(|i| (0..3).map(move |j| (i, j))) {
                    for (i2, j2) in (0..m).flat_map(|i| (0..3).map(move |j| (i, j))) {
                        sum += c(i, j, k) * c(i2, j2, k2) * d[i][i2] * self.rotation[j][j2];
                    }
                }
                sum
            };
            d = (0..n).map(|k| (0..n).map(|k2| entry(k, k2)).collect()).collect();
        }
        let sign = if self.inverts && irrep.parity == Parity::Odd { -1.0 } else { 1.0 };
        d.iter_mut().flatten().for_each(|x| *x *= sign);
        d
    }

    /// Rows in `mul_ir`.
    fn act(&self, irreps: &Irreps, x: &[f64]) -> Vec<f64> {
        let mut out = Vec::with_capacity(x.len());
        for row in x.chunks(irreps.dim().max(1)) {
            for (block, slice) in irreps.blocks().iter().zip(irreps.slices()) {
                let d = self.matrix(block.irrep);
                for channel in row[slice].chunks(block.irrep.dim()) {
                    out.extend(d.iter().map(|d| d.iter().zip(channel).map(|(d, x)| d * x).sum::<f64>()));
                }
            }
        }
        out
    }
}

fn irreps(text: &str) -> Irreps {
    text.parse().unwrap()
}

/// Operations with the irreps of those arguments that turn, and of the result.
fn operations() -> Vec<(Operation, Vec<Option<Irreps>>, Irreps)> {
    let all = irreps("3x0e+2x0o+3x1o+2x1e+2x2e+1x2o+2x3o+1x3e+2x4e+1x4o");
    let (few, one) = (irreps("2x0e+1x0o+3x1o+1x1e+2x4e"), irreps("1x0e+1x1o+1x1e+1x2e+1x2o+1x3o+1x4e"));
    let linear = Linear { irreps_in: all.clone(), irreps_out: all.clone(), bias: true, species: None };
    let channelwise = Channelwise {
        irreps_in1: few.clone(),
        irreps_in2: one.clone(),
        targets: irreps("0e+0o+1o+1e+2e+2o+3o+4e+4o"),
        shared_weights: false,
        convolution: true,
    };
    let connected = FullyConnected {
        irreps_in1: few.clone(),
        irreps_in2: irreps("2x0e+1x1o+1x2o+1x4e"),
        irreps_out: irreps("2x0e+1x0o+2x1o+1x1e+1x3o+1x4e"),
        shared_weights: false,
        convolution: true,
    };
    let contraction = |input: &str, output: &str, correlation| Contraction {
        irreps_in: irreps(input),
        irreps_out: irreps(output),
        correlation,
        species: 2,
        basis: Basis::E3nn,
        projection: None,
    };
    let natural = |lmax: usize| Irreps::uniform(3, (0..=lmax).map(Irrep::natural)).unwrap().to_string();
    let contractions = [
        contraction(&natural(4), "3x0e+3x1o+3x4e", 2),
        contraction(&natural(2), "3x0e+3x1o+3x2e", 3),
        contraction(&natural(1), "3x0e+3x1o", 4),
        contraction("2x1e+2x0o+2x1o", "2x0e+2x1e+2x2o", 3),
    ];
    let y = Harmonics { lmax: 4, normalization: Normalization::Component };
    let mut found = vec![
        (Operation::Harmonics(y), vec![Some(irreps("1o"))], Irreps::harmonics(4).unwrap()),
        (Operation::Linear(linear), vec![Some(all.clone()), None, None], all),
        (
            Operation::Channelwise(channelwise.clone()),
            vec![Some(few.clone()), Some(one), None],
            channelwise.irreps_out().unwrap(),
        ),
        (
            Operation::FullyConnected(connected.clone()),
            vec![Some(few), Some(connected.irreps_in2.clone()), None],
            connected.irreps_out.clone(),
        ),
    ];
    for c in contractions {
        let d: Vec<Irrep> = c.irreps_in.blocks().iter().map(|b| b.irrep).collect();
        // A channel has all irreps beside each other.
        let channels = c.irreps_in.blocks()[0].mul;
        let one = (0..channels).flat_map(|_| d.iter().map(|&irrep| acerust::ops::Block { mul: 1, irrep })).collect();
        found.push((
            Operation::Contraction(c.clone()),
            vec![Some(Irreps::new(one).unwrap()), None],
            c.irreps_out.clone(),
        ));
    }
    found
}

#[test]
fn operations_are_equivariant() {
    for (operation, inputs, output) in operations() {
        for inverts in [false, true] {
            let mut random = Random::new(5);
            let case = random.case_of(operation.clone(), Sizes { rows: 6, nodes: 3 });
            let element = Element::random(&mut random, inverts);
            let turned = inputs.iter().zip(&case.inputs).map(|(irreps, x)| match irreps {
                Some(irreps) => element.act(irreps, x),
                None => x.clone(),
            });
            let turned =
                Case { inputs: turned.collect(), cotangent: element.act(&output, &case.cotangent), ..case.like() };
            let [a, b] = [&case, &turned].map(|c| c.run::<f64>([Layout::MulIr; 2], Isa::detect()));
            close(&case.name, &b.out, &element.act(&output, &a.out), 1e-12);
            for ((a, b), irreps) in a.gradients.iter().zip(&b.gradients).zip(&inputs) {
                let expected = irreps.as_ref().map_or(a.clone(), |irreps| element.act(irreps, a));
                close(&format!("gradients of {}", case.name), b, &expected, 1e-11);
            }
        }
    }
}
