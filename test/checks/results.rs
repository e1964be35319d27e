//! All that a plan computes for a structure, and comparison against a scale.

use crate::common::evaluate::energy_forces_virial;
pub use crate::common::evaluate::jacobian;
use acerust::graph::Graph;
use acerust::ndarray::{ArrayViewMut2, s};
use acerust::plan::{Plan, Rows, Virial};
use acerust::structure::Structure;
use std::collections::BTreeMap;

/// How a matrix lies in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    RowMajor,
    ColMajor,
}

/// Energies, forces, virial: what a simulation asks for. Outputs start as NaN, so that gaps show.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    pub energy: f64,
    pub site_energies: Vec<f64>,
    pub forces: Vec<[f64; 3]>,
    pub virial: Virial,
}

pub fn results(plan: &Plan, s: &Structure) -> Results {
    on_graph(plan, &plan.graph(s).expect("a graph"), &s.numbers)
}

pub fn on_graph(plan: &Plan, graph: &Graph, numbers: &[u8]) -> Results {
    let mut site_energies = vec![f64::NAN; graph.n_owned()];
    let mut forces = vec![[f64::NAN; 3]; graph.n_atoms()];
    let (energy, virial) =
        energy_forces_virial(plan, (graph, numbers), &mut site_energies, &mut forces).expect("valid input");
    Results { energy, site_energies, forces, virial }
}

/// Energy, force and virial rows, each (n_rows · n_params), whatever the layout they were computed in.
pub fn rows(
    plan: &Plan,
    graph: &Graph,
    numbers: &[u8],
    order: Order,
    padding: usize,
    n_virial: usize,
) -> [Vec<f64>; 3] {
    let p = plan.length_basis();
    let n_rows = [1, 3 * graph.n_atoms(), n_virial];
    let ld = |n: usize| padding + if order == Order::RowMajor { p } else { n };
    let outer = |n: usize| if order == Order::RowMajor { n } else { p };
    // Gaps hold what must stay.
    const GAP: f64 = 12345.0;
    let mut data = n_rows.map(|n| vec![GAP; ld(n) * outer(n)]);
    let [e, f, v] = &mut data;
    let matrix = |data, n: usize| {
        let lines = ArrayViewMut2::from_shape((outer(n), ld(n)), data).expect("a matrix");
        let lines = lines.slice_move(s![.., ..ld(n) - padding]);
        if order == Order::RowMajor { lines } else { lines.reversed_axes() }
    };
    let energy = matrix(&mut e[..], n_rows[0]).index_axis_move(acerust::ndarray::Axis(0), 0);
    let all = Rows::new().energy(energy).forces(matrix(&mut f[..], n_rows[1])).virial(matrix(&mut v[..], n_rows[2]));
    plan.assemble(graph, numbers, &mut { all }).expect("valid input");
    std::array::from_fn(|k| {
        let (n, data) = (n_rows[k], &data[k]);
        let at = |i: usize, j: usize| if order == Order::RowMajor { i * ld(n) + j } else { i + j * ld(n) };
        let out = (0..n).flat_map(|i| (0..p).map(move |j| data[at(i, j)])).collect();
        let untouched = data.iter().filter(|&&x| x == GAP).count();
        assert_eq!(untouched, padding * outer(n), "numbers between the rows or columns are left alone");
        out
    })
}

/// `rows · θ`.
pub fn contract(rows: &[f64], parameters: &[f64]) -> Vec<f64> {
    rows.chunks(parameters.len()).map(|row| row.iter().zip(parameters).map(|(a, b)| a * b).sum()).collect()
}

/// The largest errors met so far, by case and quantity, and those beyond the tolerance.
#[derive(Default)]
pub struct Errors {
    worst: BTreeMap<(String, &'static str), f64>,
    failures: Vec<String>,
}

impl Errors {
    /// Checks `|found − expected| ≤ tolerance · scale` for all entries.
    #[track_caller]
    pub fn check(
        &mut self,
        case: &super::cases::Case,
        on: &str,
        what: &'static str,
        (found, expected): (&[f64], &[f64]),
        scale: f64,
    ) {
        let label = case.label();
        assert_eq!(found.len(), expected.len(), "{label}, {on}: {what}");
        assert!(found.iter().all(|x| x.is_finite()), "{label}, {on}: {what}: an entry is not finite");
        let worst = found.iter().zip(expected).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
        let error = if worst == 0.0 { 0.0 } else { worst / scale };
        if error.is_nan() || error > case.tolerance {
            self.failures.push(format!("{label}, {on}: {what}: error {error:.2e} is above {:.0e}", case.tolerance));
        }
        let entry = self.worst.entry((label, what)).or_default();
        *entry = entry.max(error);
    }

    /// Shows the largest errors with `--nocapture`.
    ///
    /// # Panics
    /// Where one was beyond its tolerance.
    #[track_caller]
    pub fn finish(self) {
        assert!(!self.worst.is_empty(), "nothing was checked");
        for ((case, what), error) in &self.worst {
            println!("{case:<32} {what:<16} {error:.1e}");
        }
        let n = self.failures.len();
        assert!(n == 0, "{n} failures\n{}", self.failures[..n.min(40)].join("\n"));
    }
}

pub fn largest(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |m, x| m.max(x.abs()))
}

/// A column of an (n, n_columns) matrix.
pub fn column(x: &[f64], n_columns: usize, at: usize) -> Vec<f64> {
    x.iter().skip(at).step_by(n_columns).copied().collect()
}
