//! Neighbour lists on the device of a plan.

use crate::arrays::{Array1, Array2, input, output};
use crate::graph::{cell_and_pbc, fill};
use crate::held::Held;
use crate::outcome::{Outcome, attempt};
use crate::plan::Plan;
use acerust::capi::status::Failure;
use acerust::shared::{Addresses, Buffers, SharedList, Taken, atomic_numbers};
use acerust::structure::Structure;
use jlrs::data::managed::value::typed::TypedValue;
use jlrs::prelude::*;

#[derive(OpaqueType)]
#[jlrs(super_type = "crate::held::ListType")]
pub struct List(Held<SharedList>);

impl Plan {
    pub fn list(&self, skin: f64) -> Outcome<List> {
        attempt(|| Ok(List(Held::new(SharedList::new(&*self.get()?, skin)?))))
    }
}

impl List {
    #[allow(clippy::too_many_arguments)]
    pub fn energy_forces_virial(
        &self,
        plan: TypedValue<Plan>,
        numbers: Array1<i32>,
        positions: Array2<f64>,
        cell: Array2<f64>,
        pbc: Array1<i32>,
        forces: Array2<f64>,
        virial: Array2<f64>,
    ) -> Outcome<f64> {
        // SAFETY: a plan is only ever borrowed shared; the caller leaves its arguments alone while the call lasts.
        attempt(|| unsafe {
            let plan = plan.data_ptr().cast::<Plan>().as_ref().get()?;
            let (mut energy, mut taken) = (0.0, Taken::default());
            let forces = output(&mut taken, "forces", forces)?;
            let virial = output(&mut taken, "virial", virial)?;
            let fill = |structure: &mut Structure| fill(structure, &numbers, &positions, &cell, &pbc);
            let out = Buffers { energy: Some(&mut energy), forces, virial, ..Buffers::default() };
            self.0.get("list")?.evaluate(&plan, fill, out)?;
            Ok(energy)
        })
    }

    /// With the positions at a device address, where forces are left as well; `stream` writes the positions.
    #[allow(clippy::too_many_arguments)]
    pub fn device_energy_forces_virial(
        &self,
        plan: TypedValue<Plan>,
        numbers: Array1<i32>,
        cell: Array2<f64>,
        pbc: Array1<i32>,
        positions: usize,
        forces: usize,
        stream: usize,
        virial: Array2<f64>,
    ) -> Outcome<f64> {
        // SAFETY: as above, and so are the addresses.
        attempt(|| unsafe {
            let plan = plan.data_ptr().cast::<Plan>().as_ref().get()?;
            let fill = |structure: &mut Structure| {
                (structure.cell, structure.pbc) = cell_and_pbc(&cell, &pbc)?;
                Ok::<_, Failure>(atomic_numbers(&mut structure.numbers, input(&numbers))?)
            };
            let [positions, forces, stream] = [positions, forces, stream].map(|address| address as u64);
            let at = Addresses { positions, forces, stream, ..Addresses::default() };
            let mut energy = 0.0;
            let virial = output(&mut Taken::default(), "virial", virial)?;
            let out = Buffers { energy: Some(&mut energy), virial, ..Buffers::default() };
            self.0.get("list")?.evaluate_on_device(&plan, fill, at, out)?;
            Ok(energy)
        })
    }

    pub fn is_open(&self) -> bool {
        self.0.is_open()
    }

    pub fn release(&self) {
        self.0.release();
    }
}
