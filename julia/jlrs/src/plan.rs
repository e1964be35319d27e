//! Plans, and what is evaluated with them.

use crate::arrays::{Array1, Array2, Array3, count, input, output};
use crate::graph::{Graph, fill};
use crate::held::Held;
use crate::model::Model;
use crate::outcome::{Outcome, attempt};
use acerust::capi::buffer::utf8;
use acerust::capi::status::{Failure, Result};
use acerust::ndarray::Axis;
use acerust::plan::{Conditions, Device, Options, Precision, RadialMode, Rows};
use acerust::shared::{Buffers, SharedPlan, Sites, Taken, matrix};
use acerust::structure::Structure;
use jlrs::data::managed::array::dimensions::Dims;
use jlrs::data::managed::value::typed::TypedValue;
use jlrs::prelude::*;
use std::sync::Arc;

#[derive(OpaqueType)]
#[jlrs(super_type = "crate::held::PlanType")]
pub struct Plan(Held<SharedPlan>);

impl Model {
    /// `device` −1 is the processor, else the index of a CUDA device; `precision` the number of a preset; `tolerance`
    /// of radial tables, 0 for none, NaN for what the library prefers.
    pub fn plan(&self, device: isize, precision: isize, tolerance: f64, n_threads: isize) -> Outcome<Plan> {
        attempt(|| {
            let device = match device {
                -1 => Device::Cpu,
                index => Device::Cuda(count("device", index)?),
            };
            let preset = usize::try_from(precision).ok().and_then(|n| Precision::PRESETS.get(n));
            let &(_, precision) = preset.ok_or_else(|| Failure::argument(format!("no precision {precision}")))?;
            let radial = match tolerance {
                t if t.is_nan() => None,
                0.0 => Some(RadialMode::Exact),
                tolerance => Some(RadialMode::Table { tolerance }),
            };
            let mut options = Options::new();
            options.radial = radial;
            let n_threads = count("n_threads", n_threads)?;
            Ok(Plan(Held::new(SharedPlan::new(&*self.get()?, device, precision, options, n_threads)?)))
        })
    }
}

impl Plan {
    pub fn get(&self) -> Result<Arc<SharedPlan>> {
        self.0.get("plan")
    }

    pub fn set_linear_parameters(&self, parameters: Array1<f64>) -> Outcome<()> {
        // SAFETY: the caller leaves its arguments alone while the call lasts, here and below.
        attempt(|| Ok(self.get()?.set_linear_parameters(unsafe { input(&parameters) })?))
    }

    /// One member a column, (n_params, n_members).
    pub fn set_committee(&self, parameters: Array2<f64>) -> Outcome<()> {
        attempt(|| {
            let n_members = parameters.dimensions().n_elements(1).unwrap_or(0);
            Ok(self.get()?.set_committee(unsafe { input(&parameters) }, n_members)?)
        })
    }

    pub fn set_threads(&self, n: isize) -> Outcome<()> {
        attempt(|| Ok(self.get()?.set_threads(count("n_threads", n)?)?))
    }

    /// The plan under other conditions, each of which is empty where it is not given; a head ends in NUL.
    pub fn at(&self, head: Array1<u8>, charge: Array1<isize>, spin: Array1<isize>) -> Outcome<Plan> {
        attempt(|| {
            // SAFETY: as above.
            let (head, charge, spin) = unsafe { (input(&head), input(&charge), input(&spin)) };
            let mut conditions = Conditions::new();
            if let Some((_, head)) = head.split_last() {
                conditions = conditions.head(utf8("head", head)?);
            }
            conditions.total_charge = charge.first().map(|&n| n as i64);
            conditions.total_spin = spin.first().map(|&n| n as i64);
            Ok(Plan(Held::new(self.get()?.at(&conditions)?)))
        })
    }

    pub fn model(&self) -> Outcome<Model> {
        attempt(|| Ok(Model::new(self.get()?.with(|p| p.model().clone()))))
    }

    /// Runs `f` with the plan on the atoms of a graph.
    fn on<T>(
        &self,
        graph: TypedValue<Graph>,
        f: impl FnOnce(&SharedPlan, &Sites, &mut Taken) -> Result<T>,
    ) -> Outcome<T> {
        // SAFETY: a graph is only ever borrowed shared.
        let graph = unsafe { graph.data_ptr().cast::<Graph>().as_ref() };
        attempt(|| {
            let plan = self.get()?;
            graph.get()?.sites(|sites| f(&plan, sites, &mut Taken::default()))
        })
    }

    pub fn energy_forces_virial(
        &self,
        graph: TypedValue<Graph>,
        forces: Array2<f64>,
        virial: Array2<f64>,
    ) -> Outcome<f64> {
        self.on(graph, |plan, sites, taken| unsafe {
            let (mut energy, forces) = (0.0, output(taken, "forces", forces)?);
            let virial = output(taken, "virial", virial)?;
            sites.evaluate(plan, Buffers { energy: Some(&mut energy), forces, virial, ..Buffers::default() })?;
            Ok(energy)
        })
    }

    pub fn committee_energy_forces_virial(
        &self,
        graph: TypedValue<Graph>,
        energies: Array1<f64>,
        forces: Array3<f64>,
        virials: Array3<f64>,
    ) -> Outcome<()> {
        self.on(graph, |plan, sites, taken| unsafe {
            let out = Buffers {
                committee_energies: output(taken, "energies", energies)?,
                committee_forces: output(taken, "forces", forces)?,
                committee_virials: output(taken, "virials", virials)?,
                ..Buffers::default()
            };
            Ok(sites.evaluate(plan, out)?)
        })
    }

    pub fn site_energies(&self, graph: TypedValue<Graph>, energies: Array1<f64>) -> Outcome<()> {
        self.on(graph, |plan, sites, taken| unsafe {
            let site_energies = output(taken, "site_energies", energies)?;
            Ok(sites.evaluate(plan, Buffers { site_energies, ..Buffers::default() })?)
        })
    }

    pub fn site_grads(&self, graph: TypedValue<Graph>, gradients: Array2<f64>) -> Outcome<()> {
        self.on(graph, |plan, sites, taken| unsafe {
            let edge_gradients = output(taken, "gradients", gradients)?;
            Ok(sites.evaluate(plan, Buffers { edge_gradients, ..Buffers::default() })?)
        })
    }

    /// (n_basis, n_centres).
    pub fn site_basis(&self, graph: TypedValue<Graph>, basis: Array2<f64>) -> Outcome<()> {
        self.on(graph, |plan, sites, taken| unsafe {
            let descriptors = output(taken, "basis", basis)?;
            Ok(sites.evaluate(plan, Buffers { descriptors, ..Buffers::default() })?)
        })
    }

    /// (n_basis, n_centres) and (3, n_basis, n_edges).
    pub fn site_basis_jacobian(
        &self,
        graph: TypedValue<Graph>,
        basis: Array2<f64>,
        jacobian: Array3<f64>,
    ) -> Outcome<()> {
        self.on(graph, |plan, sites, outputs| unsafe {
            let basis = output(outputs, "basis", basis)?;
            Ok(sites.site_basis_jacobian(plan, basis, output(outputs, "jacobian", jacobian)?)?)
        })
    }

    /// `layout`: the number of rows, the first entry (from 0) and the distance of columns in each of the three matrices.
    #[allow(clippy::too_many_arguments)]
    pub fn assemble(
        &self,
        numbers: Array1<i32>,
        positions: Array2<f64>,
        cell: Array2<f64>,
        pbc: Array1<i32>,
        energy: Array2<f64>,
        forces: Array2<f64>,
        virial: Array2<f64>,
        layout: Array1<isize>,
    ) -> Outcome<()> {
        attempt(|| {
            let plan = self.get()?;
            let n_params = plan.with(|p| p.length_basis());
            let (layout, rest) = unsafe { input(&layout) }.as_chunks::<3>();
            let (&[e, f, v], []) = (layout, rest) else { return Err(Failure::argument("layout is not of 9 numbers")) };
            let mut structure = Structure::default();
            unsafe { fill(&mut structure, &numbers, &positions, &cell, &pbc) }?;
            let mut taken = Taken::default();
            let mut view = |name, array, [n_rows, start, ld]: [isize; 3]| {
                let Some(data) = (unsafe { output(&mut taken, name, array) })? else { return Ok(None) };
                let (n_rows, start, ld) = (count(name, n_rows)?, count(name, start)?, count(name, ld)?);
                let data = data.get_mut(start..).unwrap_or_default();
                matrix(data, (n_rows, n_params), true, ld).map(Some)
            };
            let mut rows = Rows::new();
            rows.energy = view("energy row", energy, e)?.map(|row| row.index_axis_move(Axis(0), 0));
            rows.forces = view("force rows", forces, f)?;
            rows.virial = view("virial rows", virial, v)?;
            Ok(Sites::Structure(structure).assemble(&plan, &mut rows)?)
        })
    }

    pub fn is_open(&self) -> bool {
        self.0.is_open()
    }

    pub fn release(&self) {
        self.0.release();
    }
}
