//! Stacks of linear site models: outputs from passes over the centres, which the engine of a device does.

use super::outputs::{matrices, numbers, total, vectors};
use super::{LinearPotential, Outputs, Potential, Reach, Rows, Triangles, Virial};
use crate::graph::{Exchange, Graph, Neighbours, OnDevice, Sites};
use crate::memory::{self, Kept};
use crate::stage::features::Features;
use crate::structure::Structure;
use crate::{Error, Result};
use ndarray::{ArrayViewMut2, ArrayViewMut3};
use std::ops::Range;

/// What one pass writes; every slice for each readout in turn.
pub(crate) struct Pass<'a> {
    /// (n_readouts, n_owned), eV.
    pub site_energies: &'a mut [f64],
    pub gradients: Option<Gradients<'a>>,
}

pub(crate) struct Gradients<'a> {
    /// (n_readouts, 3, 3), eV.
    pub virials: &'a mut [Virial],
    /// (n_readouts, n_atoms, 3), eV/Å.
    pub forces: Option<&'a mut [[f64; 3]]>,
    /// (n_readouts, n_atoms, 3, 3), eV.
    pub site_virials: Option<&'a mut [Virial]>,
    /// (n_readouts, n_edges, 3), eV/Å.
    pub edges: Option<&'a mut [[f64; 3]]>,
}

/// Passes over the centres of linear site models, in one precision, on one device.
pub(crate) trait Engine: Send + Sync {
    /// Å.
    fn cutoff(&self) -> f64;
    fn n_basis(&self) -> usize;
    fn bytes(&self) -> usize;
    fn set_readouts(&mut self, parameters: &[Vec<f64>]) -> Result<()>;
    fn pass(&self, sites: Sites, readouts: Range<usize>, pass: Pass) -> Result<()>;
    /// `basis` (n_owned, n_basis), `jacobian` (n_edges, n_basis, 3).
    fn basis(&self, sites: Sites, basis: &mut [f64], jacobian: Option<&mut [f64]>) -> Result<()>;
    /// As [`Potential::features`].
    fn features(&self, n_species: usize) -> Result<Features> {
        match self.n_basis() {
            0 => Err(Error::Argument("grade: the potential has no basis functions".into())),
            n => Ok(Features::linear(n, n_species)),
        }
    }

    fn write_features(&self, sites: Sites, out: &mut [f64]) -> Result<()> {
        self.basis(sites, out, None)
    }

    /// What is not finite is an error.
    fn assemble(&self, sites: Sites, rows: &mut Rows) -> Result<()>;

    /// As [`LinearPotential::triangles`].
    fn triangles(&self, _n_columns: usize) -> Result<Option<Box<dyn Triangles>>> {
        Ok(None)
    }

    fn neighbours(&self, cutoff: f64, skin: f64) -> Result<Neighbours> {
        Neighbours::on_host(cutoff, skin)
    }

    /// As [`Engine::pass`] with the first readout and a list of the device; returns the energy. Slices that are empty are not wanted.
    fn list(&self, _: &mut Neighbours, _: &Structure, _: &[u32], _: Pass) -> Result<f64> {
        Err(Error::Argument("the neighbour list belongs to another device".into()))
    }

    /// As [`Engine::list`] in the memory of the device; returns energy and virial.
    ///
    /// # Safety
    /// As [`Potential::evaluate_on_device`].
    unsafe fn on_device(&self, _: &mut Neighbours, _: &OnDevice, _: &[u32]) -> Result<(f64, Virial)> {
        Err(Error::Argument("device addresses need a plan on a CUDA device".into()))
    }
}

/// A stack of site models on an engine. Readout 0 is the model's own, those of the committee follow.
pub(crate) struct Stack<E> {
    engine: E,
    n_readouts: usize,
    /// Site energies that nobody asked for; they keep their memory.
    energies: Kept<Vec<f64>>,
}

impl<E: Engine> Stack<E> {
    pub fn new(engine: E) -> Stack<E> {
        Stack { engine, n_readouts: 1, energies: Kept::default() }
    }

    fn own(&self, sites: Sites, out: &mut Outputs) -> Result<()> {
        let mut virial = [[[0.0; 3]; 3]];
        let with_gradients = wants_gradients(out);
        let Outputs { energy, site_energies, forces, virial: wanted, site_virials, edge_gradients, .. } = out;
        if energy.is_none() && site_energies.is_none() && !with_gradients {
            return Ok(());
        }
        let own = &mut *self.energies.take();
        let site_energies = numbers(site_energies).unwrap_or_else(|| memory::at_least(own, sites.graph.n_owned(), 0.0));
        let gradients = with_gradients.then(|| Gradients {
            virials: &mut virial,
            forces: vectors(forces),
            site_virials: matrices(site_virials),
            edges: vectors(edge_gradients),
        });
        self.engine.pass(sites, 0..1, Pass { site_energies, gradients })?;
        let sum = total(site_energies);
        check(sum, site_energies, virial[0], vectors(forces).as_deref())?;
        energy.iter_mut().for_each(|e| **e = sum);
        wanted.iter_mut().for_each(|v| v.assign(&ndarray::aview2(&virial[0])));
        Ok(())
    }

    fn committee(&self, sites: Sites, out: &mut Outputs) -> Result<()> {
        let Outputs { committee_energies, committee_site_energies, committee_forces, committee_virials, .. } = out;
        let with_gradients = committee_forces.is_some() || committee_virials.is_some();
        if !(with_gradients || committee_energies.is_some() || committee_site_energies.is_some()) {
            return Ok(());
        }
        let (k, n, n_atoms) = (self.n_readouts - 1, sites.graph.n_owned(), sites.graph.n_atoms());
        let mut virials = vec![Virial::default(); k];
        let own = &mut *self.energies.take();
        let site_energies = numbers(committee_site_energies).unwrap_or_else(|| memory::at_least(own, k * n, 0.0));
        let gradients = with_gradients.then(|| Gradients {
            virials: &mut virials,
            forces: vectors(committee_forces),
            site_virials: None,
            edges: None,
        });
        self.engine.pass(sites, 1..1 + k, Pass { site_energies, gradients })?;
        for (m, &virial) in virials.iter().enumerate() {
            let site_energies = &site_energies[m * n..][..n];
            let sum = total(site_energies);
            let forces = vectors(committee_forces).map(|f| &f[m * n_atoms..][..n_atoms]);
            let checked = check(sum, site_energies, virial, forces);
            checked.map_err(|e| Error::NotFinite(format!("committee member {m}: {e}")))?;
            committee_energies.iter_mut().for_each(|e| e[m] = sum);
        }
        matrices(committee_virials).into_iter().for_each(|v| v.copy_from_slice(&virials));
        Ok(())
    }
}

pub(crate) fn wants_gradients(out: &Outputs) -> bool {
    out.forces.is_some() || out.virial.is_some() || out.site_virials.is_some() || out.edge_gradients.is_some()
}

/// What is not finite anywhere shows in the sums over all atoms; only then the atom is looked for.
///
/// # Errors
/// [`Error::NotFinite`].
pub(crate) fn check(energy: f64, site_energies: &[f64], virial: Virial, forces: Option<&[[f64; 3]]>) -> Result<()> {
    if energy.is_finite() && virial.as_flattened().iter().all(|v| v.is_finite()) {
        return Ok(());
    }
    let hint = "parameters or distances are beyond what the precision can hold";
    let finite = |f: &[f64; 3]| f.iter().all(|f| f.is_finite());
    let atom = site_energies.iter().position(|e| !e.is_finite());
    let on = forces.and_then(|forces| forces.iter().position(|f| !finite(f)).map(|i| (i, forces[i])));
    Err(Error::NotFinite(match (atom, on) {
        (Some(i), _) => format!("the energy of atom {i} is {}: {hint}", site_energies[i]),
        (_, Some((i, f))) => format!("the force on atom {i} is {f:?}: {hint}"),
        _ => format!("the energy is {energy}, the virial {virial:?}: {hint}"),
    }))
}

/// As [`check`], for numbers that no sum has seen.
fn check_all(name: &str, numbers: &[f64], n_per_row: usize, row: impl Fn(usize) -> usize) -> Result<()> {
    // Zero times anything finite is zero.
    if numbers.iter().map(|x| x * 0.0).sum::<f64>() == 0.0 {
        return Ok(());
    }
    let at = numbers.iter().position(|x| !x.is_finite()).unwrap_or(0) / n_per_row.max(1);
    Err(Error::NotFinite(format!("the {name} of atom {} is not finite", row(at))))
}

impl<E: Engine> Potential for Stack<E> {
    fn reach(&self) -> Reach {
        Reach::new(self.engine.cutoff(), 1)
    }

    fn bytes(&self) -> usize {
        self.engine.bytes()
    }

    fn evaluate(&self, sites: Sites, _: Option<&mut dyn Exchange>, out: &mut Outputs) -> Result<()> {
        self.own(sites, out)?;
        self.committee(sites, out)?;
        match &mut out.descriptors {
            Some(basis) => self.jacobian(sites, Some(basis.view_mut()), None),
            None => Ok(()),
        }
    }

    fn n_descriptors(&self) -> usize {
        self.engine.n_basis()
    }

    fn features(&self, n_species: usize) -> Result<Features> {
        self.engine.features(n_species)
    }

    fn write_features(&self, sites: Sites, out: &mut [f64]) -> Result<()> {
        self.engine.write_features(sites, out)?;
        check_all("basis", out, out.len() / sites.graph.n_owned().max(1), |i| i)
    }

    fn linear(&self) -> Option<&dyn LinearPotential> {
        Some(self)
    }

    fn linear_mut(&mut self) -> Option<&mut dyn LinearPotential> {
        Some(self)
    }

    fn neighbours(&self, skin: f64) -> Result<Neighbours> {
        self.engine.neighbours(self.engine.cutoff().max(1e-3), skin)
    }

    fn evaluate_list(
        &self,
        list: &mut Neighbours,
        structure: &Structure,
        species: &[u32],
        out: &mut Outputs,
    ) -> Result<()> {
        from_list(out, |pass| self.engine.list(list, structure, species, pass))
    }

    unsafe fn evaluate_on_device(
        &self,
        list: &mut Neighbours,
        at: &OnDevice,
        species: &[u32],
        out: &mut Outputs,
    ) -> Result<()> {
        // SAFETY: the addresses are as large as the caller promises; nothing here changes them.
        on_device(at, out, || unsafe { self.engine.on_device(list, at, species) })
    }
}

/// Outputs from a list on a device, by an evaluation as [`Engine::list`] is.
pub(crate) fn from_list(out: &mut Outputs, evaluate: impl FnOnce(Pass) -> Result<f64>) -> Result<()> {
    refuse_others(out, &["energy", "site_energies", "forces", "virial"])?;
    let gradients = wants_gradients(out);
    let Outputs { energy, site_energies, forces, virial: wanted, .. } = out;
    let mut virial = [[[0.0; 3]; 3]];
    let pass = Pass {
        site_energies: numbers(site_energies).unwrap_or_default(),
        gradients: gradients.then(|| Gradients {
            virials: &mut virial,
            forces: vectors(forces),
            site_virials: None,
            edges: None,
        }),
    };
    let sum = evaluate(pass)?;
    check(sum, numbers(site_energies).unwrap_or_default(), virial[0], vectors(forces).as_deref())?;
    energy.iter_mut().for_each(|e| **e = sum);
    wanted.iter_mut().for_each(|v| v.assign(&ndarray::aview2(&virial[0])));
    Ok(())
}

/// The same with addresses in the memory of the device, by an evaluation as [`Engine::on_device`] is.
pub(crate) fn on_device(
    at: &OnDevice,
    out: &mut Outputs,
    evaluate: impl FnOnce() -> Result<(f64, Virial)>,
) -> Result<()> {
    refuse_others(out, &["energy", "virial"])?;
    if out.virial.is_some() && at.forces.is_none() {
        return Err(Error::Argument("the virial comes with forces alone, which have no address".into()));
    }
    let (sum, virial) = evaluate()?;
    check(sum, &[], virial, None)?;
    out.energy.iter_mut().for_each(|e| **e = sum);
    out.virial.iter_mut().for_each(|v| v.assign(&ndarray::aview2(&virial)));
    Ok(())
}

/// # Errors
/// An output that is wanted and not among the `known`.
fn refuse_others(out: &Outputs, known: &[&str]) -> Result<()> {
    match out.wanted().into_iter().find(|name| !known.contains(name)) {
        Some(name) => Err(Error::Argument(format!("{name}: not from a list on a device; evaluate on a graph for it"))),
        None => Ok(()),
    }
}

impl<E: Engine> LinearPotential for Stack<E> {
    fn set_readouts(&mut self, parameters: &[Vec<f64>]) -> Result<()> {
        self.engine.set_readouts(parameters)?;
        self.n_readouts = parameters.len();
        Ok(())
    }

    fn jacobian(
        &self,
        sites: Sites,
        mut basis: Option<ArrayViewMut2<f64>>,
        mut jacobian: Option<ArrayViewMut3<f64>>,
    ) -> Result<()> {
        let n_basis = self.engine.n_basis();
        let graph: &Graph = sites.graph;
        let own = &mut *self.energies.take();
        let basis = match numbers(&mut basis) {
            Some(basis) => basis,
            None => memory::at_least(own, graph.n_owned() * n_basis, 0.0),
        };
        self.engine.basis(sites, basis, numbers(&mut jacobian))?;
        check_all("basis", basis, n_basis, |i| i)?;
        let centre = |e: usize| graph.first().partition_point(|&first| first as usize <= e) - 1;
        check_all("Jacobian", numbers(&mut jacobian).unwrap_or_default(), 3 * n_basis, centre)
    }

    fn assemble(&self, sites: Sites, rows: &mut Rows) -> Result<()> {
        self.engine.assemble(sites, rows)
    }

    fn triangles(&self, n_columns: usize) -> Result<Option<Box<dyn Triangles>>> {
        self.engine.triangles(n_columns)
    }
}
