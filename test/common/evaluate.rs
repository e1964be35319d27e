//! What most checks ask of a plan.

use acerust::Result;
use acerust::graph::Graph;
use acerust::ndarray::{ArrayViewMut2, ArrayViewMut3};
use acerust::plan::{Input, Outputs, Plan, Rows, Virial};

/// Energy and virial; site energies and forces into the slices.
pub fn energy_forces_virial<'a>(
    plan: &Plan,
    input: impl Into<Input<'a>>,
    sites: &mut [f64],
    forces: &mut [[f64; 3]],
) -> Result<(f64, Virial)> {
    let (mut energy, mut virial) = (f64::NAN, [[f64::NAN; 3]; 3]);
    let mut out = Outputs::new().energy(&mut energy).site_energies(sites).forces(forces).virial(&mut virial);
    plan.evaluate(input, &mut out)?;
    Ok((energy, virial))
}

/// The energy; site energies into the slice.
pub fn site_energies<'a>(plan: &Plan, input: impl Into<Input<'a>>, sites: &mut [f64]) -> Result<f64> {
    let mut energy = f64::NAN;
    plan.evaluate(input, &mut Outputs::new().energy(&mut energy).site_energies(sites))?;
    Ok(energy)
}

pub fn site_grads(
    plan: &Plan,
    graph: &Graph,
    numbers: &[u8],
    sites: &mut [f64],
    gradients: &mut [[f64; 3]],
) -> Result<()> {
    plan.evaluate((graph, numbers), &mut Outputs::new().site_energies(sites).edge_gradients(gradients))
}

pub fn site_basis(plan: &Plan, graph: &Graph, numbers: &[u8], basis: &mut [f64]) -> Result<()> {
    let n = plan.n_basis();
    plan.evaluate((graph, numbers), &mut Outputs::new().descriptors(matrix(basis, graph.n_owned(), n)))
}

/// Basis and Jacobian.
pub fn jacobian(plan: &Plan, graph: &Graph, numbers: &[u8]) -> (Vec<f64>, Vec<f64>) {
    let (n, n_edges) = (plan.n_basis(), graph.n_edges());
    let (mut basis, mut jacobian) = (vec![f64::NAN; graph.n_owned() * n], vec![f64::NAN; n_edges * n * 3]);
    let view = ArrayViewMut3::from_shape((n_edges, n, 3), &mut jacobian).expect("as many numbers");
    plan.site_basis_jacobian(graph, numbers, matrix(&mut basis, graph.n_owned(), n), view).expect("valid input");
    (basis, jacobian)
}

/// What a committee says, one member after another.
pub fn committee(
    plan: &Plan,
    graph: &Graph,
    numbers: &[u8],
    [energies, sites]: [&mut [f64]; 2],
    forces: &mut [[f64; 3]],
    virials: &mut [Virial],
) {
    let (k, n) = (plan.committee().len(), graph.n_atoms());
    let forces = ArrayViewMut3::from_shape((k, n, 3), forces.as_flattened_mut()).expect("as many numbers");
    let virials = ArrayViewMut3::from_shape((k, 3, 3), virials.as_flattened_mut().as_flattened_mut());
    let out = Outputs::new().committee_energies(energies).committee_site_energies(matrix(sites, k, graph.n_owned()));
    let out = out.committee_forces(forces).committee_virials(virials.expect("as many numbers"));
    plan.evaluate((graph, numbers), &mut { out }).expect("valid input");
}

/// Row after row.
pub fn matrix(data: &mut [f64], n_rows: usize, n_columns: usize) -> ArrayViewMut2<'_, f64> {
    ArrayViewMut2::from_shape((n_rows, n_columns), data).expect("as many numbers")
}

/// Energy, force and virial rows into slices, row after row.
pub fn design_rows(
    plan: &Plan,
    graph: &Graph,
    numbers: &[u8],
    e: &mut [f64],
    f: &mut [f64],
    v: &mut [f64],
) -> Result<()> {
    let p = plan.length_basis();
    let n_virial = v.len() / p.max(1);
    let rows = Rows::new().energy(e).forces(matrix(f, 3 * graph.n_atoms(), p));
    plan.assemble(graph, numbers, &mut rows.virial(matrix(v, if p == 0 { 9 } else { n_virial }, p)))
}
