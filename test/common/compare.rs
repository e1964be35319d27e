//! Comparison of a plan with the results in a golden file.

use super::evaluate::{design_rows, energy_forces_virial, site_basis, site_energies, site_grads};
use super::{assert_close, flat, structure};
use acerust::plan::Plan;
use serde_json::Value;

/// Compares all that the plan computes for the structure `value` with what the file says.
pub fn compare(label: &str, plan: &Plan, tolerance: f64, value: &Value, expected: &Value) {
    let structure = structure(value);
    let graph = plan.graph(&structure).unwrap();
    let n = structure.n_atoms();
    if plan.rcut() > 0.0 {
        assert_eq!(graph.n_edges() as f64, value["n_edges"].as_f64().unwrap(), "{label}: edges");
    }
    let close = |what: &str, found: &[f64], expected: &Value| {
        assert_close(&format!("{label}: {what}"), found, &flat(expected), tolerance)
    };

    let (mut sites, mut forces) = (vec![f64::NAN; n], vec![[f64::NAN; 3]; n]);
    let (energy, virial) = energy_forces_virial(plan, (&graph, &structure.numbers), &mut sites, &mut forces).unwrap();
    let scale = flat(&expected["site_energies"]).iter().map(|e| e.abs()).sum::<f64>();
    let error = (energy - expected["energy"].as_f64().unwrap()).abs();
    assert!(error <= tolerance * scale, "{label}: energy off by {error:.2e}");
    close("site energies", &sites, &expected["site_energies"]);
    close("forces", forces.as_flattened(), &expected["forces"]);
    close("virial", virial.as_flattened(), &expected["virial"]);
    let mut alone = vec![f64::NAN; n];
    let energy_alone = site_energies(plan, (&graph, &structure.numbers), &mut alone).unwrap();
    close("site energies without forces", &alone, &expected["site_energies"]);
    // But for the order of the sum.
    assert!((energy_alone - alone.iter().sum::<f64>()).abs() <= 1e-14 * scale, "{label}: the sum of site energies");

    if let Some(gradients) = expected.get("edge_grads") {
        let mut found = vec![[f64::NAN; 3]; graph.n_edges()];
        site_grads(plan, &graph, &structure.numbers, &mut sites, &mut found).unwrap();
        close("site energies with edge gradients", &sites, &expected["site_energies"]);
        // Our edges in the order of the file.
        let file = &value["edges"];
        let key = |i: f64, j: f64, s: &[f64]| [i, j, s[0], s[1], s[2]].map(|x| x as i64);
        let ours: std::collections::HashMap<_, _> = (0..graph.n_centres())
            .flat_map(|i| graph.edges(i).map(move |e| (i, e)))
            .map(|(i, e)| (key(i as f64, graph.neighbours()[e] as f64, &graph.shifts()[e].map(f64::from)), e))
            .collect();
        let shifts = flat(&file["shift"]);
        let found: Vec<f64> = (flat(&file["i"]).iter().zip(flat(&file["j"])).zip(shifts.chunks(3)))
            .flat_map(|((&i, j), s)| found[ours[&key(i, j, s)]])
            .collect();
        close("edge gradients", &found, gradients);
    }
    if let Some(basis) = expected.get("basis") {
        let mut found = vec![f64::NAN; n * plan.n_basis()];
        site_basis(plan, &graph, &structure.numbers, &mut found).unwrap();
        close("basis", &found, basis);
        let p = plan.length_basis();
        let (mut e, mut f, mut v) = (vec![f64::NAN; p], vec![f64::NAN; 3 * n * p], vec![f64::NAN; 9 * p]);
        design_rows(plan, &graph, &structure.numbers, &mut e, &mut f, &mut v).unwrap();
        close("energy row", &e, &expected["energy_row"]);
        close("force rows", &f, &expected["force_rows"]);
        close("virial rows", &v, &expected["virial_rows"]);
    }
}
