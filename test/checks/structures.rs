//! Structures that exercise every kind of graph.

use super::random::Random;
use crate::naive;
use acerust::structure::Structure;

/// Nearest that two atoms come, Å.
const NEAREST: f64 = 1.5;

/// `n` atoms of these species at random in a cell, none nearer than [`NEAREST`] to another.
pub fn random(seed: u64, numbers: &[u8], n: usize, cell: [[f64; 3]; 3], pbc: [bool; 3]) -> Structure {
    let mut random = Random::new(seed);
    let mut s = Structure { cell, pbc, ..Structure::default() };
    let mut tries = 0;
    while s.n_atoms() < n {
        tries += 1;
        assert!(tries < 100_000, "no room for {n} atoms");
        let f: [f64; 3] = std::array::from_fn(|_| random.between(-0.2, 1.1));
        s.positions.push(std::array::from_fn(|k| (0..3).map(|d| f[d] * cell[d][k]).sum()));
        s.numbers.push(numbers[random.integer(0, numbers.len() - 1)]);
        let last = s.n_atoms() - 1;
        if naive::edges(&s, NEAREST).iter().any(|e| e.i == last && e.j != last) {
            s.positions.pop();
            s.numbers.pop();
        }
    }
    s
}

pub const CUBE: [[f64; 3]; 3] = [[7.0, 0.0, 0.0], [0.0, 7.0, 0.0], [0.0, 0.0, 7.0]];
pub const TRICLINIC: [[f64; 3]; 3] = [[6.0, 0.3, -0.4], [1.5, 5.5, 0.2], [-1.0, 2.0, 6.5]];

/// A crystal of low symmetry.
pub fn bulk(seed: u64, numbers: &[u8]) -> Structure {
    random(seed, numbers, 9, TRICLINIC, [true; 3])
}

/// Bulk, a cell far smaller than the cutoff, a slab, a wire, and a cluster with atoms that have no neighbours.
pub fn all(seed: u64, numbers: &[u8]) -> Vec<(&'static str, Structure)> {
    let small = [[2.4, 0.2, 0.0], [0.9, 2.5, 0.1], [-0.3, 0.4, 2.7]];
    let mut slab_cell = TRICLINIC;
    slab_cell[1] = [0.0; 3];
    let mut slab = random(seed + 2, numbers, 8, TRICLINIC, [true, false, true]);
    slab.cell = slab_cell;
    let mut wire = random(seed + 3, numbers, 6, CUBE, [false, true, false]);
    wire.cell[0] = [0.0; 3];
    let mut cluster = random(seed + 4, numbers, 30, CUBE, [false; 3]);
    for (at, x) in [(0, 60.0), (13, -80.0), (32, 99.0)] {
        cluster.positions.insert(at, [x, 0.0, 5.0]);
        cluster.numbers.insert(at, numbers[at % numbers.len()]);
    }
    vec![
        ("bulk", bulk(seed, numbers)),
        ("small cell", random(seed + 1, numbers, 1, small, [true; 3])),
        ("slab", slab),
        ("wire", wire),
        ("cluster", cluster),
    ]
}
