//! Calls across the ABI, as short as in C.

pub use super::short::*;
pub use acerust::capi::active::*;
pub use acerust::capi::basis::*;
pub use acerust::capi::batch::*;
pub use acerust::capi::element::*;
pub use acerust::capi::evaluate::{
    ACERUST_COL_MAJOR, ACERUST_ROW_MAJOR, acerust_evaluate, acerust_input, acerust_outputs, acerust_rows,
};
pub use acerust::capi::fit::*;
pub use acerust::capi::graph::{
    acerust_edges, acerust_graph, acerust_graph_build, acerust_graph_edges, acerust_graph_free, acerust_graph_n_atoms,
    acerust_graph_n_centres, acerust_graph_n_edges, acerust_graph_replace_edges, acerust_graph_update,
};
pub use acerust::capi::list::*;
pub use acerust::capi::model::*;
pub use acerust::capi::op::*;
pub use acerust::capi::plan::*;
pub use acerust::capi::status::*;
pub use acerust::capi::train::*;
pub use acerust::capi::version::*;
use acerust::model::Model;
use acerust::structure::Structure;
use std::ffi::CString;
pub use std::ptr::{null, null_mut};

/// The call succeeds.
macro_rules! ok {
    ($call:expr) => {{
        // SAFETY: the pointers and lengths of the tests are right where they are not wrong on purpose.
        #[allow(unused_unsafe)]
        let status = unsafe { $call };
        assert_eq!(status, ACERUST_OK, "{}: {}", stringify!($call), $crate::call::last_error());
    }};
}

/// The call fails with this status and message.
macro_rules! fails {
    ($status:expr, $message:expr, $call:expr) => {{
        // SAFETY: the library refuses before it uses what is wrong.
        #[allow(unused_unsafe)]
        let status = unsafe { $call };
        assert_eq!((status, $crate::call::last_error()), ($status, $message.to_string()), "{}", stringify!($call));
    }};
}

pub(crate) use {fails, ok};

pub fn last_error() -> String {
    // SAFETY: a null buffer only asks for the length; the second one is as long as it says.
    unsafe {
        let n = acerust_last_error(null_mut(), 0);
        let mut bytes = vec![1_u8; n];
        assert_eq!(acerust_last_error(bytes.as_mut_ptr().cast(), n), n);
        assert_eq!(bytes.pop(), Some(0));
        String::from_utf8(bytes).expect("UTF-8")
    }
}

/// The text that a function returns through (buffer, length, needed).
pub fn text(call: impl Fn(*mut i8, usize, *mut usize) -> i32) -> String {
    let mut needed = 0;
    ok!(call(null_mut(), 0, &mut needed));
    let mut bytes = vec![1_u8; needed];
    ok!(call(bytes.as_mut_ptr().cast(), needed, null_mut()));
    assert_eq!(bytes.pop(), Some(0));
    let short = needed - 1;
    let message = format!("argument: buffer: {short} bytes for a text of {needed}");
    let mut untouched = vec![7_u8; needed];
    fails!(ACERUST_ERROR_ARGUMENT, message, call(untouched.as_mut_ptr().cast(), short, null_mut()));
    assert!(untouched.iter().all(|&b| b == 7));
    String::from_utf8(bytes).expect("UTF-8")
}

pub fn c(text: &str) -> CString {
    CString::new(text).expect("no NUL inside")
}

/// A handle that is freed at the end.
macro_rules! owned {
    ($name:ident, $handle:ident, $free:ident) => {
        pub struct $name(pub *mut $handle);

        impl Drop for $name {
            fn drop(&mut self) {
                assert_eq!($free(self.0), ACERUST_OK);
            }
        }

        // SAFETY: handles are numbers, and the functions that take them may be called from any thread.
        unsafe impl Send for $name {}
        unsafe impl Sync for $name {}
    };
}

owned!(OwnedModel, acerust_model, acerust_model_free);
owned!(OwnedPlan, acerust_plan, acerust_plan_free);
owned!(OwnedGraph, acerust_graph, acerust_graph_free);
owned!(OwnedList, acerust_list, acerust_list_free);
owned!(OwnedOp, acerust_op, acerust_op_free);

pub fn model(model: &Model) -> OwnedModel {
    let json = model.to_json();
    let mut out = null_mut();
    ok!(acerust_model_from_json(json.as_ptr().cast(), json.len(), &mut out));
    OwnedModel(out)
}

/// A plan in double precision whose radial functions are exact: tables take long to build without optimisation.
pub fn plan(model: &OwnedModel) -> OwnedPlan {
    plan_with(model, ACERUST_F64, options())
}

pub fn plan_with(model: &OwnedModel, precision: i32, options: acerust_options) -> OwnedPlan {
    let mut out = null_mut();
    ok!(acerust_plan_new(model.0, ACERUST_CPU, 0, precision, &options, &mut out));
    OwnedPlan(out)
}

pub fn options() -> acerust_options {
    acerust_options { size: size_of::<acerust_options>(), radial: ACERUST_RADIAL_EXACT, ..Default::default() }
}

/// A structure in the caller's arrays.
#[derive(Clone)]
pub struct Atoms {
    pub numbers: Vec<i32>,
    pub positions: Vec<f64>,
    pub cell: Vec<f64>,
    pub pbc: Vec<i32>,
}

impl Atoms {
    pub fn new(structure: &Structure) -> Atoms {
        Atoms {
            numbers: structure.numbers.iter().map(|&z| z.into()).collect(),
            positions: structure.positions.as_flattened().to_vec(),
            cell: structure.cell.as_flattened().to_vec(),
            pbc: structure.pbc.iter().map(|&p| p.into()).collect(),
        }
    }

    pub fn n(&self) -> usize {
        self.numbers.len()
    }

    pub fn graph(&self, rcut: f64, skin: f64, n_threads: usize) -> OwnedGraph {
        let (mut out, [z, pbc], [x, cell]) = (null_mut(), self.integers(), self.reals());
        ok!(acerust_graph_build(self.n(), z, x, cell, pbc, rcut, skin, n_threads, &mut out));
        OwnedGraph(out)
    }

    pub fn integers(&self) -> [*const i32; 2] {
        [self.numbers.as_ptr(), self.pbc.as_ptr()]
    }

    pub fn reals(&self) -> [*const f64; 2] {
        [self.positions.as_ptr(), self.cell.as_ptr()]
    }
}

/// What `energy_forces_virial` returns; compared bit by bit.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    pub energy: f64,
    pub site_energies: Vec<f64>,
    pub forces: Vec<f64>,
    pub virial: [f64; 9],
}

impl Results {
    pub fn room(n_centres: usize, n_atoms: usize) -> Results {
        let (nan, site_energies) = (f64::NAN, vec![f64::NAN; n_centres]);
        Results { energy: nan, site_energies, forces: vec![nan; 3 * n_atoms], virial: [nan; 9] }
    }

    pub fn of_structure(plan: &OwnedPlan, atoms: &Atoms) -> Results {
        let n = atoms.n();
        let (mut found, [z, pbc], [x, cell]) = (Results::room(n, n), atoms.integers(), atoms.reals());
        let (e, v) = (&raw mut found.energy, found.virial.as_mut_ptr());
        let (s, f) = (found.site_energies.as_mut_ptr(), found.forces.as_mut_ptr());
        ok!(acerust_energy_forces_virial(plan.0, n, z, x, cell, pbc, e, s, n, f, 3 * n, v));
        found
    }

    pub fn of_graph(plan: &OwnedPlan, graph: &OwnedGraph, n_centres: usize, n_atoms: usize) -> Results {
        let mut found = Results::room(n_centres, n_atoms);
        let (e, v) = (&raw mut found.energy, found.virial.as_mut_ptr());
        let (s, f) = (found.site_energies.as_mut_ptr(), found.forces.as_mut_ptr());
        ok!(acerust_graph_energy_forces_virial(plan.0, graph.0, e, s, n_centres, f, 3 * n_atoms, v));
        found
    }
}
