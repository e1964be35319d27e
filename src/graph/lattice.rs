//! The periodic lattice in its most compact basis.

use crate::structure::Structure;

/// Three basis vectors: those of periodic directions span the lattice and are as short as can be,
/// the others are unit vectors perpendicular to everything before them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lattice {
    /// Rows, Å.
    pub vectors: [[f64; 3]; 3],
    /// `fractional = position · inverse`
    pub inverse: [[f64; 3]; 3],
    pub periodic: [bool; 3],
    /// Basis vector `d` in terms of the given cell: `Σ_k transform[d][k] cell[k]`.
    pub transform: [[i64; 3]; 3],
}

impl Lattice {
    /// Expects a validated structure.
    pub fn new(structure: &Structure) -> Lattice {
        let periodic = structure.pbc;
        let mut transform = [[0; 3]; 3];
        let mut vectors = [[0.0; 3]; 3];
        for d in (0..3).filter(|&d| periodic[d]) {
            transform[d][d] = 1;
            vectors[d] = structure.cell[d];
        }
        reduce(&mut vectors, &mut transform, periodic);
        complete(&mut vectors, periodic);
        Lattice { vectors, inverse: invert(&vectors), periodic, transform }
    }

    /// Volume (area, length) of the lattice's cell in its own dimensions; 1 without any.
    pub fn volume(&self) -> f64 {
        let [a, b, c] = self.vectors;
        dot(a, cross(b, c)).abs()
    }

    /// Distance between the lattice planes of direction `d`; 1 where there is no periodicity.
    pub fn height(&self, d: usize) -> f64 {
        1.0 / norm(std::array::from_fn(|k| self.inverse[k][d]))
    }

    #[inline(always)]
    pub fn fractional(&self, x: [f64; 3]) -> [f64; 3] {
        combine(x, &self.inverse)
    }

    /// How many cells a point with these fractional coordinates lies away from the first.
    #[inline(always)]
    pub fn wraps(&self, fractional: [f64; 3]) -> [f64; 3] {
        std::array::from_fn(|d| if self.periodic[d] { fractional[d].floor() } else { 0.0 })
    }

    /// Counts of basis vectors as counts of the vectors of the given cell.
    pub fn given(&self, counts: [i64; 3]) -> [i64; 3] {
        std::array::from_fn(|k| {
            (0..3).fold(0_i64, |sum, d| sum.saturating_add(counts[d].saturating_mul(self.transform[d][k])))
        })
    }
}

/// Subtracts multiples of one periodic vector from another while that shortens it (Gauss, pairwise).
fn reduce(vectors: &mut [[f64; 3]; 3], transform: &mut [[i64; 3]; 3], periodic: [bool; 3]) {
    loop {
        let mut reduced = false;
        for (d, k) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
            if !(periodic[d] && periodic[k]) {
                continue;
            }
            let (v, w) = (vectors[d], vectors[k]);
            let n = (dot(v, w) / dot(w, w)).round();
            let shorter = std::array::from_fn(|a| v[a] - n * w[a]);
            // The margin ends the loop in spite of rounding; a cell that is compact stays as given.
            if dot(shorter, shorter) < dot(v, v) * (1.0 - 1e-6) && n.abs() < 1e15 {
                vectors[d] = shorter;
                let w = transform[k];
                for (t, w) in transform[d].iter_mut().zip(w) {
                    *t = t.saturating_sub((n as i64).saturating_mul(w));
                }
                reduced = true;
            }
        }
        if !reduced {
            return;
        }
    }
}

/// Fills the directions without periodicity with unit vectors perpendicular to all others.
fn complete(vectors: &mut [[f64; 3]; 3], periodic: [bool; 3]) {
    let mut done = periodic;
    while let Some(d) = (0..3).find(|&d| !done[d]) {
        let others: Vec<[f64; 3]> = (0..3).filter(|&k| done[k]).map(|k| vectors[k]).collect();
        let perpendicular = match others[..] {
            [] => {
                let mut axis = [0.0; 3];
                axis[d] = 1.0;
                axis
            }
            // Perpendicular to the axis that the vector leans to least: never close to zero.
            [a] => {
                let least = (0..3).min_by(|&i, &j| a[i].abs().total_cmp(&a[j].abs())).unwrap_or(0);
                let mut axis = [0.0; 3];
                axis[least] = 1.0;
                cross(unit(a), axis)
            }
            [a, b, ..] => cross(unit(a), unit(b)),
        };
        vectors[d] = unit(perpendicular);
        done[d] = true;
    }
}

fn invert(m: &[[f64; 3]; 3]) -> [[f64; 3]; 3] {
    // Unit rows first, so that no product overflows or vanishes.
    let lengths = m.map(norm);
    let [a, b, c] = [unit(m[0]), unit(m[1]), unit(m[2])];
    let columns = [cross(b, c), cross(c, a), cross(a, b)];
    let det = dot(a, columns[0]);
    std::array::from_fn(|k| std::array::from_fn(|d| columns[d][k] / det / lengths[d]))
}

/// `Σ_d weights[d] rows[d]`
#[inline(always)]
pub(super) fn combine(weights: [f64; 3], rows: &[[f64; 3]; 3]) -> [f64; 3] {
    std::array::from_fn(|k| weights[0] * rows[0][k] + weights[1] * rows[1][k] + weights[2] * rows[2][k])
}

fn unit(v: [f64; 3]) -> [f64; 3] {
    let n = norm(v);
    v.map(|x| x / n)
}

fn norm(v: [f64; 3]) -> f64 {
    v[0].hypot(v[1]).hypot(v[2])
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skewed_cell_becomes_compact_and_stays_the_same_lattice() {
        let s = Structure {
            cell: [[3.0, 0.0, 0.0], [31.0, 4.0, 0.0], [-47.0, 82.5, 5.0]],
            pbc: [true; 3],
            ..Structure::default()
        };
        let lattice = Lattice::new(&s);
        assert!(lattice.vectors.iter().all(|&v| norm(v) < 7.0), "{lattice:?}");
        assert!((lattice.volume() - 60.0).abs() < 1e-9);
        for (v, t) in lattice.vectors.iter().zip(lattice.transform) {
            let again = combine(t.map(|n| n as f64), &s.cell);
            assert!((0..3).all(|k| (again[k] - v[k]).abs() < 1e-12));
        }
        let x = [1.0, -2.0, 7.0];
        let again = combine(lattice.fractional(x), &lattice.vectors);
        assert!((0..3).all(|k| (again[k] - x[k]).abs() < 1e-12));
    }

    #[test]
    fn directions_without_periodicity_are_perpendicular_unit_vectors() {
        for pbc in [[false; 3], [true, false, false], [false, true, true], [false, false, true]] {
            let s =
                Structure { cell: [[3.0, 1.0, 0.0], [0.0, 4.0, 2.0], [1.0, 0.0, 5.0]], pbc, ..Structure::default() };
            let v = Lattice::new(&s).vectors;
            for d in (0..3).filter(|&d| !pbc[d]) {
                assert!((norm(v[d]) - 1.0).abs() < 1e-14);
                assert!((0..3).filter(|&k| k != d).all(|k| dot(v[d], v[k]).abs() < 1e-13), "{v:?}");
            }
        }
    }
}
