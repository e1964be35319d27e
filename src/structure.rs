//! Atoms, cell and periodicity.

use crate::random::Random;
use crate::{Error, Result, element};

/// Below this sine of the angle to the other periodic rows a cell counts as singular.
const FLAT: f64 = 1e-10;

/// A set of atoms. Lengths in Å.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Structure {
    /// Atomic numbers, (n_atoms).
    pub numbers: Vec<u8>,
    /// Cartesian positions, (n_atoms, 3), Å. Atoms may lie outside the cell.
    pub positions: Vec<[f64; 3]>,
    /// Cell vectors as rows, Å. Rows of directions without periodicity are ignored.
    pub cell: [[f64; 3]; 3],
    /// Periodic along each cell vector?
    pub pbc: [bool; 3],
}

impl Structure {
    pub fn n_atoms(&self) -> usize {
        self.positions.len()
    }

    /// Volume spanned by the three cell vectors, Å³, periodic or not; 0 without a cell.
    pub fn volume(&self) -> f64 {
        let [a, b, c] = self.cell;
        dot(a, cross(b, c)).abs()
    }

    /// Checks what every calculation relies on.
    ///
    /// # Errors
    /// As many atomic numbers as positions, each within 1..=118; finite positions and cell;
    /// periodic rows of the cell linearly independent. The message names the atom or the row,
    /// both counted from 0.
    pub fn validate(&self) -> Result<()> {
        let fail = |message| Err(Error::Structure(message));
        if self.numbers.len() != self.positions.len() {
            return fail(format!("{} atomic numbers for {} positions", self.numbers.len(), self.positions.len()));
        }
        if let Some(i) = self.numbers.iter().position(|&z| element::symbol(z).is_none()) {
            return fail(format!("atom {i}: no element has the atomic number {}", self.numbers[i]));
        }
        if let Some(i) = self.positions.iter().position(|x| !finite(x)) {
            return fail(format!("atom {i}: position {:?} is not finite", self.positions[i]));
        }
        if let Some(d) = self.cell.iter().position(|row| !finite(row)) {
            return fail(format!("cell row {d} {:?} is not finite", self.cell[d]));
        }
        self.validate_periodic_rows()
    }

    /// Gram–Schmidt over the periodic rows: what is left of a row must not vanish.
    fn validate_periodic_rows(&self) -> Result<()> {
        let mut basis: Vec<[f64; 3]> = Vec::with_capacity(3);
        for d in (0..3).filter(|&d| self.pbc[d]) {
            let row = self.cell[d];
            let scale = row.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
            if scale == 0.0 {
                return Err(Error::Structure(format!("cell row {d} is zero, yet periodic")));
            }
            // Scaled first, so that squares neither overflow nor vanish.
            let row = row.map(|x| x / scale);
            let length = dot(row, row).sqrt();
            let unit = row.map(|x| x / length);
            let rest = basis.iter().fold(unit, |v, &e| {
                let p = dot(v, e);
                std::array::from_fn(|k| v[k] - p * e[k])
            });
            let height = dot(rest, rest).sqrt();
            if height < FLAT {
                return Err(Error::Structure(format!(
                    "cell row {d} {:?} is periodic but linearly dependent on the periodic rows before it",
                    self.cell[d]
                )));
            }
            basis.push(rest.map(|x| x / height));
        }
        Ok(())
    }

    /// A supercell of `counts` copies along the cell vectors. Whole copies follow one another,
    /// the last direction fastest: atom `i` of copy `(a, b, c)` becomes
    /// `((a·n1 + b)·n2 + c)·n_atoms + i`. A count of 0 leaves no atoms.
    pub fn repeat(&self, counts: [usize; 3]) -> Structure {
        let mut out = Structure {
            cell: std::array::from_fn(|d| self.cell[d].map(|x| x * counts[d] as f64)),
            pbc: self.pbc,
            ..Structure::default()
        };
        for a in 0..counts[0] {
            for b in 0..counts[1] {
                for c in 0..counts[2] {
                    let shift = combine([a as f64, b as f64, c as f64], &self.cell);
                    out.numbers.extend_from_slice(&self.numbers);
                    out.positions.extend(self.positions.iter().map(|&x| add(x, shift)));
                }
            }
        }
        out
    }

    /// The same structure with every coordinate moved by a uniform random number within
    /// `±amplitude` Å. The seed alone determines the numbers, on every machine.
    pub fn rattle(mut self, amplitude: f64, seed: u64) -> Structure {
        let mut random = Random::new(seed);
        for x in self.positions.as_flattened_mut() {
            *x += amplitude * (2.0 * random.uniform() - 1.0);
        }
        self
    }

    /// Diamond, conventional cubic cell of 8 atoms; lattice constant `a` in Å.
    pub fn diamond(number: u8, a: f64) -> Structure {
        let mut sites = FCC.to_vec();
        sites.extend(FCC.map(|s| s.map(|x| x + 0.25)));
        cubic(number, a, &sites)
    }

    /// Face-centred cubic, conventional cell of 4 atoms; lattice constant `a` in Å.
    pub fn fcc(number: u8, a: f64) -> Structure {
        cubic(number, a, &FCC)
    }

    /// Body-centred cubic, conventional cell of 2 atoms; lattice constant `a` in Å.
    pub fn bcc(number: u8, a: f64) -> Structure {
        cubic(number, a, &[[0.0; 3], [0.5; 3]])
    }
}

/// Fractional coordinates of the face-centred cubic lattice.
const FCC: [[f64; 3]; 4] = [[0.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]];

fn cubic(number: u8, a: f64, sites: &[[f64; 3]]) -> Structure {
    Structure {
        numbers: vec![number; sites.len()],
        positions: sites.iter().map(|s| s.map(|x| x * a)).collect(),
        cell: [[a, 0.0, 0.0], [0.0, a, 0.0], [0.0, 0.0, a]],
        pbc: [true; 3],
    }
}

fn finite(v: &[f64; 3]) -> bool {
    v.iter().all(|x| x.is_finite())
}

fn add(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|k| a[k] + b[k])
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// `Σ_d weights[d] rows[d]`.
fn combine(weights: [f64; 3], rows: &[[f64; 3]; 3]) -> [f64; 3] {
    std::array::from_fn(|k| (0..3).map(|d| weights[d] * rows[d][k]).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(s: &Structure) -> String {
        s.validate().unwrap_err().to_string()
    }

    #[test]
    fn cubic_cells_have_their_nearest_neighbour_distances() {
        let a = 4.0;
        for (s, n, nearest) in [
            (Structure::diamond(14, a), 8, a * 3f64.sqrt() / 4.0),
            (Structure::fcc(29, a), 4, a / 2f64.sqrt()),
            (Structure::bcc(42, a), 2, a * 3f64.sqrt() / 2.0),
        ] {
            s.validate().unwrap();
            assert_eq!((s.n_atoms(), s.volume()), (n, a * a * a));
            let s = s.repeat([2, 2, 2]);
            let closest = (1..s.n_atoms())
                .map(|j| {
                    let d = add(s.positions[j], s.positions[0].map(|x| -x));
                    dot(d, d).sqrt()
                })
                .fold(f64::INFINITY, f64::min);
            assert!((closest - nearest).abs() < 1e-12, "{closest} {nearest}");
        }
    }

    #[test]
    fn copies_follow_one_another_last_direction_fastest() {
        let cell = [[3.0, 0.0, 0.0], [1.0, 4.0, 0.0], [0.5, 0.25, 5.0]];
        let unit = Structure { numbers: vec![1, 8], positions: vec![[0.0; 3], [1.0; 3]], cell, pbc: [true; 3] };
        let s = unit.repeat([2, 3, 4]);
        assert_eq!(s.n_atoms(), 48);
        assert_eq!(s.volume(), 24.0 * unit.volume());
        let atom = ((3 + 2) * 4 + 3) * 2 + 1;
        assert_eq!(s.numbers[atom], 8);
        assert_eq!(s.positions[atom], add([1.0; 3], combine([1.0, 2.0, 3.0], &cell)));
        assert_eq!(unit.repeat([1, 1, 1]), unit);
        assert_eq!(unit.repeat([2, 0, 1]).n_atoms(), 0);
    }

    #[test]
    fn rattling_depends_on_the_seed_alone_and_keeps_within_its_amplitude() {
        let s = Structure::diamond(14, 5.43).repeat([3, 3, 3]);
        let r = s.clone().rattle(0.1, 7);
        assert_eq!(r, s.clone().rattle(0.1, 7));
        assert_ne!(r, s.clone().rattle(0.1, 8));
        let moved = r.positions.as_flattened().iter().zip(s.positions.as_flattened());
        let moved: Vec<f64> = moved.map(|(a, b)| a - b).collect();
        assert!(moved.iter().all(|d| d.abs() <= 0.1 + 1e-14));
        assert!(moved.iter().any(|&d| d > 0.08) && moved.iter().any(|&d| d < -0.08));
    }

    #[test]
    fn volume_of_a_left_handed_cell_is_positive() {
        let mut s = Structure::bcc(42, 2.0);
        s.cell.swap(0, 1);
        assert_eq!(s.volume(), 8.0);
    }

    #[test]
    fn validation_names_the_culprit() {
        let good = Structure::fcc(29, 3.6);
        let mut s = good.clone();
        s.numbers.pop();
        assert_eq!(message(&s), "structure: 3 atomic numbers for 4 positions");
        let mut s = good.clone();
        s.numbers[2] = 119;
        assert_eq!(message(&s), "structure: atom 2: no element has the atomic number 119");
        let mut s = good.clone();
        s.positions[3][1] = f64::NAN;
        assert!(message(&s).starts_with("structure: atom 3: position"), "{}", message(&s));
        let mut s = good.clone();
        s.cell[1][0] = f64::INFINITY;
        assert!(message(&s).starts_with("structure: cell row 1"), "{}", message(&s));
        let mut s = good.clone();
        s.cell[2] = [0.0; 3];
        assert_eq!(message(&s), "structure: cell row 2 is zero, yet periodic");
        s.pbc = [true, true, false];
        s.validate().unwrap();
        s.cell[1] = [-7.2, 0.0, 0.0];
        assert!(message(&s).contains("cell row 1 [-7.2, 0.0, 0.0] is periodic but linearly dependent"));
        s.pbc = [false, true, false];
        s.validate().unwrap();
        // Independent however large or small the rows are.
        s.pbc = [true; 3];
        for scale in [1e-200, 1e200] {
            s.cell = good.cell.map(|row| row.map(|x| x * scale));
            s.validate().unwrap();
        }
        Structure::default().validate().unwrap();
    }
}
