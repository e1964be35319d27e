//! Site models written down from their definition: no cleverness, every derivative by dual numbers.
//!
//! Independent of the library but for the plain data of model, structure and graph.
#![allow(dead_code)]
// Formulas as they stand, index by index.
#![allow(clippy::needless_range_loop, clippy::suspicious_arithmetic_impl)]

pub mod dual;
mod harmonics;
mod radial;
mod repulsion;

use acerust::model::spec::{AceSpec, HarmonicsKind, ModelSpec, PartSpec, ZblSpec};
use acerust::structure::Structure;
use dual::Dual;

/// A directed edge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edge {
    pub i: usize,
    pub j: usize,
    pub shift: [i16; 3],
    pub r: [f64; 3],
}

/// All edges with `0 < r ≤ rcut`, over all images.
pub fn edges(s: &Structure, rcut: f64) -> Vec<Edge> {
    let cell = complete(s);
    let volume = dot(cell[0], cross(cell[1], cell[2]));
    let reciprocal: [[f64; 3]; 3] =
        std::array::from_fn(|d| cross(cell[(d + 1) % 3], cell[(d + 2) % 3]).map(|x| x / volume));
    let mut edges = Vec::new();
    for i in 0..s.n_atoms() {
        for j in 0..s.n_atoms() {
            let apart: [f64; 3] = std::array::from_fn(|k| s.positions[j][k] - s.positions[i][k]);
            // |f + n| ≤ rcut |b_d| for the fractional component of any edge.
            let range = |d: usize| match s.pbc[d] {
                true => {
                    let (f, reach) = (dot(apart, reciprocal[d]), rcut * dot(reciprocal[d], reciprocal[d]).sqrt());
                    (-f - reach).floor() as i16..=(-f + reach).ceil() as i16
                }
                false => 0..=0,
            };
            for a in range(0) {
                for b in range(1) {
                    for c in range(2) {
                        let shift = [a, b, c];
                        let r: [f64; 3] = std::array::from_fn(|k| {
                            apart[k] + (0..3).map(|d| f64::from(shift[d]) * s.cell[d][k]).sum::<f64>()
                        });
                        let length = dot(r, r).sqrt();
                        if length > 1e-8 && length <= rcut {
                            edges.push(Edge { i, j, shift, r });
                        }
                    }
                }
            }
        }
    }
    edges
}

/// The cell, with directions that are not periodic replaced by normal ones.
fn complete(s: &Structure) -> [[f64; 3]; 3] {
    let mut cell = s.cell;
    let periodic: Vec<usize> = (0..3).filter(|&d| s.pbc[d]).collect();
    let free: Vec<usize> = (0..3).filter(|&d| !s.pbc[d]).collect();
    match free[..] {
        [] => {}
        [d] => cell[d] = unit(cross(cell[periodic[0]], cell[periodic[1]])),
        [d, e] => {
            let p = unit(cell[periodic[0]]);
            let least = (0..3).min_by(|&a, &b| p[a].abs().total_cmp(&p[b].abs())).unwrap();
            let mut axis = [0.0; 3];
            axis[least] = 1.0;
            cell[d] = unit(cross(p, axis));
            cell[e] = cross(p, cell[d]);
        }
        _ => cell = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    }
    cell
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    (0..3).map(|k| a[k] * b[k]).sum()
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|k| a[(k + 1) % 3] * b[(k + 2) % 3] - a[(k + 2) % 3] * b[(k + 1) % 3])
}

fn unit(a: [f64; 3]) -> [f64; 3] {
    a.map(|x| x / dot(a, a).sqrt())
}

/// Everything that follows from a model and a list of edges.
pub struct Answer {
    pub edges: Vec<Edge>,
    pub site_energies: Vec<f64>,
    /// (n_edges), `∂E_i/∂r_ij`.
    pub gradients: Vec<[f64; 3]>,
    pub forces: Vec<[f64; 3]>,
    pub virial: [[f64; 3]; 3],
    /// (n_atoms, n_basis), the parts side by side.
    pub basis: Vec<Vec<f64>>,
    /// (n_edges, n_basis).
    pub jacobian: Vec<Vec<[f64; 3]>>,
    /// (n_params).
    pub energy_row: Vec<f64>,
    /// (3 n_atoms, n_params).
    pub force_rows: Vec<Vec<f64>>,
    /// (9, n_params).
    pub virial_rows: Vec<Vec<f64>>,
    pub scale: Scale,
}

/// The largest sum of magnitudes behind a result: what rounding is relative to where terms cancel.
#[derive(Default)]
pub struct Scale {
    pub site_energy: f64,
    pub gradient: f64,
    /// (n_basis), over all atoms.
    pub basis: Vec<f64>,
    /// (n_basis), over all edges.
    pub jacobian: Vec<f64>,
}

impl Answer {
    pub fn energy(&self) -> f64 {
        self.site_energies.iter().sum()
    }
}

/// Evaluates the model on a structure.
pub fn evaluate(model: &ModelSpec, s: &Structure) -> Answer {
    evaluate_edges(model, s, edges(s, model.parts.iter().map(PartSpec::rcut).fold(0.0, f64::max)))
}

/// Evaluates the model on these edges between the atoms of a structure.
pub fn evaluate_edges(model: &ModelSpec, s: &Structure, edges: Vec<Edge>) -> Answer {
    let n_species = model.species.len();
    let species: Vec<usize> =
        s.numbers.iter().map(|z| model.species.iter().position(|x| x == z).expect("a species of the model")).collect();
    let (n, n_edges) = (s.n_atoms(), edges.len());
    let mut answer = Answer {
        site_energies: vec![0.0; n],
        gradients: vec![[0.0; 3]; n_edges],
        forces: vec![[0.0; 3]; n],
        virial: [[0.0; 3]; 3],
        basis: vec![vec![]; n],
        jacobian: vec![vec![]; n_edges],
        energy_row: vec![],
        force_rows: vec![vec![]; 3 * n],
        virial_rows: vec![vec![]; 9],
        scale: Scale::default(),
        edges,
    };
    for part in &model.parts {
        if let PartSpec::OneBody(one) = part {
            (0..n).for_each(|i| answer.site_energies[i] += one.e0[species[i]]);
            answer.scale.site_energy += one.e0.iter().fold(0.0, |m, e| e.abs().max(m));
            continue;
        }
        if let PartSpec::Zbl(zbl) = part {
            answer.repel(zbl, &model.species, &species);
            continue;
        }
        let basis = part_basis(part, n_species, &species, &answer.edges);
        answer.scale.add(part, &species, &answer.edges, &basis);
        answer.add(part, n_species, &species, basis);
    }
    answer
}

impl Answer {
    fn repel(&mut self, zbl: &ZblSpec, numbers: &[u8], species: &[usize]) {
        let (mut energies, mut gradient) = (vec![0.0; species.len()], 0.0f64);
        for (e, &Edge { i, j, r, .. }) in self.edges.iter().enumerate() {
            let v = repulsion::zbl(zbl, numbers, [species[i], species[j]], r);
            self.site_energies[i] += v.value;
            energies[i] += v.value.abs();
            for x in 0..3 {
                let g = v.gradient[x];
                self.gradients[e][x] += g;
                self.forces[i][x] += g;
                self.forces[j][x] -= g;
                (0..3).for_each(|y| self.virial[x][y] -= g * r[y]);
                gradient = gradient.max(g.abs());
            }
        }
        self.scale.site_energy += energies.into_iter().fold(0.0, f64::max);
        self.scale.gradient += gradient;
    }

    fn add(
        &mut self,
        part: &PartSpec,
        n_species: usize,
        species: &[usize],
        PartBasis { basis, jacobian, .. }: PartBasis,
    ) {
        let (n_b, first) = (part.n_basis(), self.energy_row.len());
        let n_params = first + n_species * n_b;
        let rows = self.force_rows.iter_mut().chain(&mut self.virial_rows).chain([&mut self.energy_row]);
        rows.for_each(|row| row.resize(n_params, 0.0));
        for (i, &z) in species.iter().enumerate() {
            for b in 0..n_b {
                self.site_energies[i] += part.weights()[z][b] * basis[i][b];
                self.energy_row[first + z * n_b + b] += basis[i][b];
            }
        }
        for (e, edge) in self.edges.iter().enumerate() {
            let z = species[edge.i];
            for (b, g) in jacobian[e].iter().enumerate() {
                let (p, w) = (first + z * n_b + b, part.weights()[z][b]);
                for x in 0..3 {
                    self.gradients[e][x] += w * g[x];
                    self.forces[edge.i][x] += w * g[x];
                    self.forces[edge.j][x] -= w * g[x];
                    self.force_rows[3 * edge.i + x][p] += g[x];
                    self.force_rows[3 * edge.j + x][p] -= g[x];
                    for y in 0..3 {
                        self.virial[x][y] -= w * g[x] * edge.r[y];
                        self.virial_rows[3 * x + y][p] -= g[x] * edge.r[y];
                    }
                }
            }
        }
        self.basis.iter_mut().zip(basis).for_each(|(all, part)| all.extend(part));
        self.jacobian.iter_mut().zip(jacobian).for_each(|(all, part)| all.extend(part));
    }
}

impl Scale {
    fn add(&mut self, part: &PartSpec, species: &[usize], edges: &[Edge], basis: &PartBasis) {
        let (mut energy, mut gradient) = (0.0f64, 0.0f64);
        let mut largest = vec![Dual::default(); part.n_basis()];
        for (i, row) in basis.magnitude.iter().enumerate() {
            let weights = &part.weights()[species[i]];
            energy = energy.max(weights.iter().zip(row).map(|(w, b)| w.abs() * b).sum());
            largest.iter_mut().zip(row).for_each(|(l, &b)| l.value = l.value.max(b));
        }
        for (edge, row) in edges.iter().zip(&basis.jacobian_magnitude) {
            let weights = &part.weights()[species[edge.i]];
            gradient = gradient.max(weights.iter().zip(row).map(|(w, g)| w.abs() * g).sum());
            largest.iter_mut().zip(row).for_each(|(l, &g)| l.gradient[0] = l.gradient[0].max(g));
        }
        self.site_energy += energy;
        self.gradient += gradient;
        self.basis.extend(largest.iter().map(|l| l.value));
        self.jacobian.extend(largest.iter().map(|l| l.gradient[0]));
    }
}

/// Of one part: values and derivatives, (n_atoms, n_b) and (n_edges, n_b), and what their terms add up to
/// without signs.
struct PartBasis {
    basis: Vec<Vec<f64>>,
    jacobian: Vec<Vec<[f64; 3]>>,
    magnitude: Vec<Vec<f64>>,
    jacobian_magnitude: Vec<Vec<f64>>,
}

fn part_basis(part: &PartSpec, n_species: usize, species: &[usize], edges: &[Edge]) -> PartBasis {
    let n_b = part.n_basis();
    let mut basis = vec![vec![0.0; n_b]; species.len()];
    let mut jacobian = vec![vec![[0.0; 3]; n_b]; edges.len()];
    let mut magnitude = basis.clone();
    let mut jacobian_magnitude = vec![vec![0.0; n_b]; edges.len()];
    let largest = |g: [f64; 3]| g.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    // What one edge adds to the pooled quantities of its centre: B for a pair part, A for a many-body one.
    let one_edge = |edge: &Edge| -> Vec<Dual> {
        let x = Dual::vector(edge.r);
        let r = (x[0] * x[0] + x[1] * x[1] + x[2] * x[2]).sqrt();
        let (zi, zj) = (species[edge.i], species[edge.j]);
        match part {
            PartSpec::Pair(pair) => radial::radial(&pair.radial, n_species, zi, zj, r),
            PartSpec::Ace(ace) => {
                let radial = radial::radial(&ace.radial, n_species, zi, zj, r);
                ace.a.iter().map(|&[t, lm]| radial[t as usize] * harmonic(ace, lm as usize, x, r)).collect()
            }
            _ => unreachable!(),
        }
    };
    for i in 0..species.len() {
        let own: Vec<usize> =
            (0..edges.len()).filter(|&e| edges[e].i == i && dot(edges[e].r, edges[e].r).sqrt() < part.rcut()).collect();
        let terms: Vec<Vec<Dual>> = own.iter().map(|&e| one_edge(&edges[e])).collect();
        match part {
            PartSpec::Ace(ace) => {
                let pool = |f: fn(f64) -> f64| -> Vec<f64> {
                    (0..ace.a.len()).map(|v| terms.iter().map(|t| f(t[v].value)).sum()).collect()
                };
                let values = |a: &[f64], f| -> Vec<f64> {
                    couple(ace, a.iter().map(|&a| Dual::constant(a)).collect(), f).iter().map(|b| b.value).collect()
                };
                let gradients = |a: &[f64], term: &[Dual], f: fn(f64) -> f64| -> Vec<[f64; 3]> {
                    let dual = |(&value, t): (&f64, &Dual)| Dual { value, gradient: t.gradient.map(f) };
                    couple(ace, a.iter().zip(term).map(dual).collect(), f).iter().map(|b| b.gradient).collect()
                };
                let (a, bound) = (pool(|x| x), pool(f64::abs));
                basis[i] = values(&a, |x| x);
                magnitude[i] = values(&bound, f64::abs);
                for (&e, term) in own.iter().zip(&terms) {
                    jacobian[e] = gradients(&a, term, |x| x);
                    jacobian_magnitude[e] = gradients(&bound, term, f64::abs).into_iter().map(largest).collect();
                }
            }
            _ => {
                for (&e, term) in own.iter().zip(&terms) {
                    for (b, dual) in term.iter().enumerate() {
                        basis[i][b] += dual.value;
                        magnitude[i][b] += dual.value.abs();
                        jacobian[e][b] = dual.gradient;
                        jacobian_magnitude[e][b] = largest(dual.gradient);
                    }
                }
            }
        }
    }
    PartBasis { basis, jacobian, magnitude, jacobian_magnitude }
}

fn harmonic(ace: &AceSpec, lm: usize, x: [Dual; 3], r: Dual) -> Dual {
    let l = lm.isqrt();
    let m = lm as isize - (l * l + l) as isize;
    match ace.angular.kind {
        HarmonicsKind::Solid => harmonics::solid(l, m, x),
        HarmonicsKind::Spherical => harmonics::solid(l, m, x.map(|x| x / r)),
    }
}

/// `B_b = Σ_k f(C[b,k]) Π A_v`.
fn couple(ace: &AceSpec, a: Vec<Dual>, f: fn(f64) -> f64) -> Vec<Dual> {
    let products: Vec<Dual> =
        (ace.aa.iter()).map(|factors| factors.iter().fold(Dual::constant(1.0), |p, &v| p * a[v as usize])).collect();
    let mut b = vec![Dual::default(); ace.c.shape[0]];
    for ((&row, &col), &c) in ace.c.rows.iter().zip(&ace.c.cols).zip(&ace.c.vals) {
        b[row as usize] = b[row as usize] + products[col as usize] * f(c);
    }
    b
}
